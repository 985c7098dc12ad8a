//! The values of settings. Literals are checked here; constants, which only the compiler knows, by
//! the setters.

use std::{fmt, time::Duration};

use syn::{Error, Expr, ExprLit, ExprPath, ExprUnary, Lit, UnOp};

/// What a setting takes.
pub(crate) enum Kind {
    Bool,
    Integer {
        min: u32,
        max: u32,
    },
    Real {
        min: f64,
        max: f64,
    },
    Duration,
    Window,
    /// One of several words, each a variant of a type in `__private`.
    Choice {
        ty: &'static str,
        variants: &'static [(&'static str, &'static str)],
    },
}

/// A valid value.
#[derive(Clone)]
pub(crate) enum Value {
    Bool(bool),
    Integer(u32),
    Real(f64),
    Duration(Duration),
    Window(Window),
    Choice { ty: &'static str, variant: &'static str },
    Constant(ExprPath),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    Calls(u32),
    Time(Duration),
}

/// Why a literal will not do.
enum Problem {
    Type,
    Range,
    Other(String),
}

type Checked<T> = Result<T, Problem>;

/// A literal with its sign.
struct Literal<'a> {
    negative: bool,
    lit: &'a Lit,
}

const SHORTEST_WINDOW: Duration = Duration::from_millis(10);

impl Kind {
    pub(crate) fn parse(&self, key: &str, expr: &Expr) -> syn::Result<Value> {
        let expr = bare(expr);
        if let Expr::Path(path) = expr
            && self.constant_type().is_some()
        {
            return Ok(Value::Constant(path.clone()));
        }
        let checked = match literal(expr) {
            Some(literal) => self.literal(&literal),
            None => Err(Problem::Type),
        };
        checked.map_err(|problem| {
            let message = match problem {
                Problem::Type => match self.constant_type() {
                    Some(ty) => {
                        format!("`{key}` takes {self}, or the path of a constant of type `{ty}`")
                    }
                    None => format!("`{key}` takes {self}"),
                },
                Problem::Range => format!("`{key}` is out of range: it takes {self}"),
                Problem::Other(message) => format!("`{key}` {message}"),
            };
            Error::new_spanned(expr, message)
        })
    }

    /// The type of the constants that may stand for a literal.
    fn constant_type(&self) -> Option<&'static str> {
        match self {
            Self::Integer { .. } => Some("u32"),
            Self::Real { .. } => Some("f64"),
            Self::Duration => Some("Duration"),
            Self::Bool | Self::Window | Self::Choice { .. } => None,
        }
    }

    fn literal(&self, literal: &Literal<'_>) -> Checked<Value> {
        match self {
            Self::Bool => match literal.lit {
                Lit::Bool(lit) => Ok(Value::Bool(lit.value)),
                _ => Err(Problem::Type),
            },
            Self::Integer { min, max } => integer(literal, *min, *max).map(Value::Integer),
            Self::Real { min, max } => real(literal, *min, *max).map(Value::Real),
            Self::Duration => duration(literal).map(Value::Duration),
            Self::Window => match literal.lit {
                Lit::Str(lit) => window(&lit.value()).map(Value::Window),
                _ => Err(Problem::Type),
            },
            Self::Choice { ty, variants } => match literal.lit {
                Lit::Str(lit) => variants
                    .iter()
                    .find(|(word, _)| *word == lit.value())
                    .map(|(_, variant)| Value::Choice { ty, variant })
                    .ok_or(Problem::Type),
                _ => Err(Problem::Type),
            },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("`true` or `false`"),
            Self::Integer { min, max: u32::MAX } => write!(f, "an integer of at least {min}"),
            Self::Integer { min, max } => write!(f, "an integer from {min} to {max}"),
            Self::Real { min, max: f64::MAX } => write!(f, "a finite number of at least {min:?}"),
            Self::Real { min, max } => write!(f, "a number from {min:?} to {max:?}"),
            Self::Duration => {
                f.write_str("a duration such as \"250ms\" or \"1m 30s\", a number of seconds")
            }
            Self::Window => {
                f.write_str("a number of calls or a time, such as \"100 calls\" or \"30s\"")
            }
            Self::Choice { variants, .. } => {
                for (i, (word, _)) in variants.iter().enumerate() {
                    let or = if i == 0 { "" } else { " or " };
                    write!(f, "{or}\"{word}\"")?;
                }
                Ok(())
            }
        }
    }
}

/// The expression without the groups that `macro_rules` and parentheses put around it.
pub(crate) fn bare(mut expr: &Expr) -> &Expr {
    loop {
        expr = match expr {
            Expr::Group(group) => &group.expr,
            Expr::Paren(paren) => &paren.expr,
            _ => return expr,
        };
    }
}

fn literal(expr: &Expr) -> Option<Literal<'_>> {
    match expr {
        Expr::Lit(ExprLit { lit, .. }) => Some(Literal { negative: false, lit }),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => match bare(expr) {
            Expr::Lit(ExprLit { lit, .. }) => Some(Literal { negative: true, lit }),
            _ => None,
        },
        _ => None,
    }
}

fn integer(literal: &Literal<'_>, min: u32, max: u32) -> Checked<u32> {
    let Lit::Int(lit) = literal.lit else {
        return Err(Problem::Type);
    };
    no_suffix(lit.suffix())?;
    lit.base10_parse()
        .ok()
        .filter(|value| !literal.negative && (min..=max).contains(value))
        .ok_or(Problem::Range)
}

fn real(literal: &Literal<'_>, min: f64, max: f64) -> Checked<f64> {
    let (digits, suffix) = number(literal.lit).ok_or(Problem::Type)?;
    no_suffix(suffix)?;
    let value: f64 = digits.parse().map_err(|_| Problem::Type)?;
    let value = if literal.negative { -value } else { value };
    // Negative zero is in every range that begins with zero, but has no business in a schedule.
    Some(value + 0.0).filter(|value| (min..=max).contains(value)).ok_or(Problem::Range)
}

fn number(lit: &Lit) -> Option<(&str, &str)> {
    match lit {
        Lit::Int(lit) => Some((lit.base10_digits(), lit.suffix())),
        Lit::Float(lit) => Some((lit.base10_digits(), lit.suffix())),
        _ => None,
    }
}

fn no_suffix(suffix: &str) -> Checked<()> {
    if suffix.is_empty() {
        return Ok(());
    }
    Err(Problem::Other(format!("takes a number without the suffix `{suffix}`")))
}

fn duration(literal: &Literal<'_>) -> Checked<Duration> {
    if let Lit::Str(lit) = literal.lit {
        return duration_text(&lit.value());
    }
    let (digits, suffix) = number(literal.lit).ok_or(Problem::Type)?;
    if !suffix.is_empty() {
        return Err(Problem::Other(format!("needs quotes here: \"{digits}{suffix}\"")));
    }
    let duration = seconds(digits)?;
    if literal.negative && !duration.is_zero() {
        return Err(Problem::Other(String::from("cannot be negative")));
    }
    Ok(duration)
}

fn duration_text(text: &str) -> Checked<Duration> {
    let text = text.trim();
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    if text.chars().all(is_number)
        && let Ok(duration) = seconds(text)
    {
        return Ok(duration);
    }
    humantime::parse_duration(text).map_err(|error| {
        Problem::Other(format!(
            "is no duration: {error}; \
             write one such as \"250ms\" or \"1m 30s\", or a number of seconds"
        ))
    })
}

fn seconds(digits: &str) -> Checked<Duration> {
    if let Ok(whole) = digits.parse() {
        return Ok(Duration::from_secs(whole));
    }
    let seconds: f64 = digits.parse().map_err(|_| Problem::Type)?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Problem::Other(String::from("is longer than a duration can be")))
}

fn window(text: &str) -> Checked<Window> {
    let text = text.trim();
    if let Some(calls) = text.strip_suffix("calls").or_else(|| text.strip_suffix("call")) {
        return match calls.trim_end().parse() {
            Ok(0) => Err(Problem::Other(String::from("must hold at least 1 call"))),
            Ok(calls) => Ok(Window::Calls(calls)),
            Err(_) => Err(Problem::Type),
        };
    }
    let time = duration_text(text).map_err(|_| Problem::Type)?;
    if time < SHORTEST_WINDOW {
        return Err(Problem::Other(String::from("must be at least 10ms long")));
    }
    Ok(Window::Time(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_str;

    fn parsed(kind: &Kind, text: &str) -> Result<Value, String> {
        kind.parse("key", &parse_str(text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("5", Duration::from_secs(5)),
            ("0.1", Duration::from_millis(100)),
            ("1e-3", Duration::from_millis(1)),
            ("(5)", Duration::from_secs(5)),
            ("-0", Duration::ZERO),
            ("\"250ms\"", Duration::from_millis(250)),
            ("\"1m 30s\"", Duration::from_secs(90)),
            ("\"30\"", Duration::from_secs(30)),
            ("\" 0.5 \"", Duration::from_millis(500)),
            ("18446744073709551615", Duration::from_secs(u64::MAX)),
        ] {
            let value = parsed(&Kind::Duration, text);
            assert!(matches!(value, Ok(Value::Duration(d)) if d == expected), "{text}");
        }
        for text in [
            "-1",
            "-0.5",
            "1e30",
            "30s",
            "'x'",
            "true",
            "\"\"",
            "\"-1s\"",
            "\"1e3\"",
            "\".\"",
            "\"1 2\"",
            "\"inf\"",
            "1 + 1",
            "f()",
            "18446744073709551616",
        ] {
            assert!(parsed(&Kind::Duration, text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_end_where_their_ranges_do() {
        let integer = Kind::Integer { min: 1, max: 100 };
        for (text, valid) in [("0", false), ("1", true), ("100", true), ("101", false)] {
            assert_eq!(parsed(&integer, text).is_ok(), valid, "{text}");
        }
        let real = Kind::Real { min: 0.0, max: 1.0 };
        for (text, valid) in [("-0.0", true), ("0", true), ("1.0", true), ("1.0000001", false)] {
            assert_eq!(parsed(&real, text).is_ok(), valid, "{text}");
        }
        let unbounded = Kind::Real { min: 1.0, max: f64::MAX };
        assert!(parsed(&unbounded, "1e308").is_ok());
        assert!(parsed(&unbounded, "1e999").is_err_and(|error| error.contains("finite")));
    }

    #[test]
    fn a_negative_number_is_out_of_range_and_not_of_the_wrong_type() {
        let error = parsed(&Kind::Integer { min: 1, max: u32::MAX }, "-3").err();
        assert_eq!(
            error.as_deref(),
            Some("`key` is out of range: it takes an integer of at least 1")
        );
    }

    #[test]
    fn windows() {
        for (text, expected) in [
            ("\"100 calls\"", Window::Calls(100)),
            ("\"1 call\"", Window::Calls(1)),
            ("\"30s\"", Window::Time(Duration::from_secs(30))),
            ("\"10ms\"", Window::Time(Duration::from_millis(10))),
        ] {
            let value = parsed(&Kind::Window, text);
            assert!(matches!(value, Ok(Value::Window(w)) if w == expected), "{text}");
        }
        for text in ["\"0 calls\"", "\"calls\"", "\"-1 calls\"", "\"9ms\"", "100", "\"\"", "W"] {
            assert!(parsed(&Kind::Window, text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_to_constants() {
        for kind in [Kind::Duration, Kind::Integer { min: 1, max: 2 }] {
            assert!(matches!(parsed(&kind, "config::LIMIT"), Ok(Value::Constant(_))));
        }
        assert!(parsed(&Kind::Bool, "ENABLED").is_err());
    }
}
