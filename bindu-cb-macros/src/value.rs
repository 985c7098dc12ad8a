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
