//! The keys: their names, what each takes, and how a value is read, checked and written.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Count, Key, Nested, OnCancel, Window};
use crate::error::SettingProblem;

/// A value of any key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Flag(bool),
    Number(u32),
    Duration(Duration),
    Factor(f64),
    Window(Window),
    Count(Count),
    OnCancel(OnCancel),
    Nested(Nested),
    /// An optional key that is not set.
    Unset,
}

/// The type of a key in the settings.
pub(crate) trait Setting: Sized {
    fn into_value(self) -> Value;
    /// `None` if the value is of another type.
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! setting {
    ($($variant:ident($ty:ty)),* $(,)?) => {$(
        impl Setting for $ty {
            fn into_value(self) -> Value {
                Value::$variant(self)
            }
            fn from_value(value: Value) -> Option<Self> {
                if let Value::$variant(value) = value { Some(value) } else { None }
            }
        }
    )*};
}

setting! {
    Flag(bool), Number(u32), Duration(Duration), Factor(f64), Window(Window), Count(Count),
    OnCancel(OnCancel), Nested(Nested),
}

impl<T: Setting> Setting for Option<T> {
    fn into_value(self) -> Value {
        self.map_or(Value::Unset, T::into_value)
    }

    fn from_value(value: Value) -> Option<Self> {
        if value == Value::Unset { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Duration(duration) => humantime::format_duration(*duration).fmt(f),
            Self::Factor(factor) => factor.fmt(f),
            Self::Window(window) => window.fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::OnCancel(on_cancel) => on_cancel.fmt(f),
            Self::Nested(nested) => nested.fmt(f),
            Self::Unset => f.write_str("none"),
        }
    }
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    Flag,
    Number(u32, u32),
    Duration,
    Factor(f64, f64),
    Window,
    Count,
    OnCancel,
    Nested,
}

impl Key {
    pub(crate) const fn expected(self) -> Expected {
        match self {
            Self::Enabled | Self::DryRun | Self::Adaptive => Expected::Flag,
            Self::FailureThreshold | Self::SuccessThreshold => Expected::Number(1, 65_535),
            Self::HalfOpenPermits => Expected::Number(1, 128),
            Self::FailureRate | Self::SlowCallRate | Self::AdaptiveMin | Self::AdaptiveMax => {
                Expected::Number(1, 100)
            }
            Self::ProbeAttempts | Self::MinimumCalls | Self::MaxKeys | Self::Attempts => {
                Expected::Number(1, u32::MAX)
            }
            Self::RetryBudgetReserve => Expected::Number(0, u32::MAX),
            Self::RecoveryTimeout
            | Self::ProbeTimeout
            | Self::MaxRecoveryTimeout
            | Self::SlowCall
            | Self::RampUp
            | Self::MinWait
            | Self::MaxWait
            | Self::Deadline
            | Self::Timeout => Expected::Duration,
            Self::RecoveryMultiplier | Self::Multiplier => Expected::Factor(1.0, f64::MAX),
            Self::RecoveryJitter | Self::Jitter | Self::RetryBudget => Expected::Factor(0.0, 1.0),
            Self::Window => Expected::Window,
            Self::Count => Expected::Count,
            Self::OnCancel => Expected::OnCancel,
            Self::Nested => Expected::Nested,
        }
    }

    /// Whether `none` is a value.
    pub(crate) fn is_optional(self) -> bool {
        matches!(
            self,
            Self::HalfOpenPermits
                | Self::Window
                | Self::MinimumCalls
                | Self::SlowCall
                | Self::RampUp
                | Self::Deadline
                | Self::Timeout
                | Self::RetryBudget
        )
    }

    /// Reads a value as it is written in the environment.
    pub(crate) fn parse(self, text: &str) -> Option<Value> {
        let text = text.trim();
        if self.is_optional() && text.eq_ignore_ascii_case("none") {
            return Some(Value::Unset);
        }
        let value = match self.expected() {
            Expected::Flag => Value::Flag(parse_flag(text)?),
            Expected::Number(..) => Value::Number(text.parse().ok()?),
            Expected::Duration => Value::Duration(parse_duration(text)?),
            Expected::Factor(..) => Value::Factor(text.parse().ok()?),
            Expected::Window => Value::Window(text.parse().ok()?),
            Expected::Count => Value::Count(text.parse().ok()?),
            Expected::OnCancel => Value::OnCancel(text.parse().ok()?),
            Expected::Nested => Value::Nested(text.parse().ok()?),
        };
        self.accepts(value).then_some(value)
    }

    /// Whether a value of the right type is in range. `const`, so that an attribute's constants
    /// are checked when they are compiled.
    pub(crate) const fn accepts(self, value: Value) -> bool {
        match (self.expected(), value) {
            (Expected::Number(min, max), Value::Number(number)) => min <= number && number <= max,
            (Expected::Factor(min, max), Value::Factor(factor)) => min <= factor && factor <= max,
            (Expected::Window, Value::Window(window)) => window.is_valid(),
            _ => true,
        }
    }

    /// The nearest value in range.
    pub(crate) fn clamp(self, value: Value) -> Value {
        match (self.expected(), value) {
            (Expected::Number(min, max), Value::Number(n)) => Value::Number(n.clamp(min, max)),
            (Expected::Factor(min, _), Value::Factor(factor)) if factor.is_nan() => {
                Value::Factor(min)
            }
            (Expected::Factor(min, max), Value::Factor(factor)) => {
                Value::Factor(factor.clamp(min, max))
            }
            (Expected::Window, Value::Window(window)) if !window.is_valid() => Value::Unset,
            _ => value,
        }
    }

    /// Says that a value cannot be used.
    pub(crate) fn problem(self, value: String) -> SettingProblem {
        SettingProblem { name: self.name().to_owned(), value: Some(value), advice: self.advice() }
    }

    /// What to write instead, for an error message.
    fn advice(self) -> String {
        let mut advice = match self.expected() {
            Expected::Flag => "expected true or false (1/0, yes/no, on/off)".to_owned(),
            Expected::Number(min, u32::MAX) => {
                format!("expected a whole number, {min} or more")
            }
            Expected::Number(min, max) => format!("expected a whole number from {min} to {max}"),
            Expected::Duration => {
                r#"expected a duration such as "30s", "250ms", "1m 30s" or a number of seconds"#
                    .to_owned()
            }
            Expected::Factor(min, f64::MAX) => format!("expected a number, {min} or more"),
            Expected::Factor(min, max) => format!("expected a number from {min} to {max}"),
            Expected::Window => {
                r#"expected a number of calls such as "100 calls" or a duration of 10ms or more such as "30s""#.to_owned()
            }
            Expected::Count => r#"expected "call" or "attempt""#.to_owned(),
            Expected::OnCancel => r#"expected "ignore" or "failure""#.to_owned(),
            Expected::Nested => r#"expected "once" or "multiply""#.to_owned(),
        };
        if self.is_optional() {
            advice.push_str(", or none");
        }
        advice
    }
}

fn parse_flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

/// The text is no value of this type.
///
/// ```
/// let error = "hourly".parse::<bindu_cb::Count>().unwrap_err();
/// assert_eq!(error.to_string(), r#"expected "call" or "attempt""#);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseValueError(&'static str);

impl fmt::Display for ParseValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ParseValueError {}

const WINDOW_SYNTAX: ParseValueError = ParseValueError(
    r#"expected a number of calls such as "100 calls" or a duration of 10ms or more such as "30s""#,
);

impl Window {
    /// Shorter than this a window would be finer than the timer.
    const SHORTEST: Duration = Duration::from_millis(10);

    const fn is_valid(self) -> bool {
        match self {
            Self::Calls(calls) => calls > 0,
            Self::Time(time) => time.as_nanos() >= Self::SHORTEST.as_nanos(),
        }
    }
}

impl FromStr for Window {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let calls = text.strip_suffix("calls").or_else(|| text.strip_suffix("call"));
        let window = match calls {
            Some(number) => number.trim().parse().ok().map(Self::Calls),
            None => humantime::parse_duration(text).ok().map(Self::Time),
        };
        window.filter(|window| window.is_valid()).ok_or(WINDOW_SYNTAX)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calls(calls) => write!(f, "{calls} calls"),
            Self::Time(time) => humantime::format_duration(*time).fmt(f),
        }
    }
}

macro_rules! words {
    ($ty:ident, $expected:literal, $($variant:ident = $word:literal),*) => {
        impl FromStr for $ty {
            type Err = ParseValueError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $(if text.trim().eq_ignore_ascii_case($word) {
                    return Ok(Self::$variant);
                })*
                Err(ParseValueError($expected))
            }
        }

        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),* })
            }
        }
    };
}

words!(Count, r#"expected "call" or "attempt""#, Call = "call", Attempt = "attempt");
words!(Nested, r#"expected "once" or "multiply""#, Once = "once", Multiply = "multiply");
words!(OnCancel, r#"expected "ignore" or "failure""#, Ignore = "ignore", Failure = "failure");
