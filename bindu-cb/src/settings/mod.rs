//! Settings: typed, validated once, each value with its source.

mod env;
mod key;
mod layers;
mod resolve;
mod table;

use std::time::Duration;

use crate::error::{SettingProblem, SettingsError};
#[cfg(feature = "redis")]
pub(crate) use env::{PREFIX, SHARED, distance};
pub use key::ParseValueError;
pub(crate) use key::{Setting, Value};
pub use layers::Settings;
#[cfg(feature = "test-util")]
pub(crate) use layers::Switches;
pub(crate) use resolve::{Given, Resolved, Subject, kind_of};
pub use resolve::{SettingValue, Source};
pub(crate) use table::each_key;

/// What a sliding window holds.
///
/// A time window is exact to a tenth of its length.
///
/// ```
/// use bindu_cb::Window;
/// use std::time::Duration;
///
/// assert_eq!("100 calls".parse(), Ok(Window::Calls(100)));
/// assert_eq!("1m 30s".parse(), Ok(Window::Time(Duration::from_secs(90))));
/// assert_eq!(Window::Calls(100).to_string(), "100 calls");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Window {
    /// The last so many calls.
    Calls(u32),
    /// The calls that ended within the last so long, 10 ms or more.
    Time(Duration),
}

/// What one outcome is.
///
/// ```
/// assert_eq!("attempt".parse(), Ok(bindu_cb::Count::Attempt));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Count {
    /// The whole call with all its attempts.
    #[default]
    Call,
    /// Each attempt.
    Attempt,
}

/// What a call counts as that is dropped before any attempt of it had failed.
///
/// ```
/// assert_eq!("failure".parse(), Ok(bindu_cb::OnCancel::Failure));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnCancel {
    /// Nothing that decides.
    #[default]
    Ignore,
    /// A failure: for callers that impose their own time limits.
    Failure,
}

/// What a loop does whose function was called inside a second or later attempt of another loop of
/// the same task.
///
/// ```
/// assert_eq!("multiply".parse(), Ok(bindu_cb::Nested::Multiply));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Nested {
    /// It makes one attempt: the outer loop repeats it anyway.
    #[default]
    Once,
    /// It makes all its attempts, at each attempt of the outer loop. On the outer loop: so do all
    /// inner ones.
    Multiply,
}

/// From the table: the settings structs with their setters, `Overrides`, and `Key`, whose
/// upper-cased name ends an environment variable.
macro_rules! keys {
    ($(
        $(#[$struct_doc:meta])*
        $settings:ident ($all:ident) {$(
            $(#[$doc:meta])*
            $variant:ident $name:ident: $ty:ident => $field:ty = $default:expr;
        )*}
    )*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Key { $($($variant,)*)* }

        impl Key {
            pub(crate) const ALL: &[Self] = &[$($(Self::$variant,)*)*];

            pub(crate) const fn name(self) -> &'static str {
                match self { $($(Self::$variant => stringify!($name),)*)* }
            }
        }

        $(
            $(#[$struct_doc])*
            #[derive(Clone, Debug, PartialEq)]
            #[non_exhaustive]
            pub struct $settings {
                $($(#[$doc])* pub $name: $field,)*
            }

            impl Default for $settings {
                fn default() -> Self {
                    Self { $($name: $default,)* }
                }
            }

            impl $settings {
                pub(crate) const $all: &[Key] = &[$(Key::$variant,)*];

                $(
                    $(#[$doc])*
                    #[must_use]
                    pub fn $name(mut self, $name: $ty) -> Self {
                        self.$name = $name.into();
                        self
                    }
                )*

                pub(crate) fn value(&self, key: Key) -> Value {
                    match key {
                        $(Key::$variant => self.$name.into_value(),)*
                        _ => Value::Unset,
                    }
                }

                /// A value of another type, which no caller has, is passed over.
                pub(crate) fn set(&mut self, key: Key, value: Value) {
                    match key {
                        $(Key::$variant => {
                            if let Some(value) = Setting::from_value(value) {
                                self.$name = value;
                            }
                        })*
                        _ => {}
                    }
                }
            }
        )*

        /// The settings that are given at one level; the others are left to the weaker levels.
        ///
        /// ```
        /// let mut settings = bindu_cb::Settings::default();
        /// settings.all().enabled(true).attempts(4);
        /// settings.operation("storage:save").failure_threshold(10);
        /// assert_eq!(settings.all().attempts, Some(4));
        /// ```
        #[derive(Clone, Debug, Default, PartialEq)]
        #[non_exhaustive]
        pub struct Overrides {
            $($($(#[$doc])* pub $name: Option<$ty>,)*)*
        }

        impl Overrides {
            pub(crate) const NONE: Self = Self { $($($name: None,)*)* };

            $($(
                $(#[$doc])*
                pub fn $name(&mut self, $name: $ty) -> &mut Self {
                    self.$name = Some($name);
                    self
                }
            )*)*

            pub(crate) fn get(&self, key: Key) -> Option<Value> {
                match key {
                    $($(Key::$variant => self.$name.map(Setting::into_value),)*)*
                }
            }
        }
    };
}

each_key!(keys);

pub(crate) fn problem(key: Key, value: Value) -> Option<SettingProblem> {
    (!key.accepts(value)).then(|| key.problem(value.to_string()))
}

fn problems(keys: &[Key], value: impl Fn(Key) -> Value) -> Vec<SettingProblem> {
    keys.iter().filter_map(|key| problem(*key, value(*key))).collect()
}

impl Overrides {
    /// Values given together that contradict each other.
    pub(crate) fn contradictions(&self) -> Vec<SettingProblem> {
        let mut problems = Vec::new();
        if let (Some(min), Some(max)) = (self.min_wait, self.max_wait) {
            problems.extend(min_above_max(min, max));
        }
        if let (Some(minimum), Some(window)) = (self.minimum_calls, self.window) {
            problems.extend(minimum_above_window(minimum, window));
        }
        if let (Some(threshold), Some(_)) = (self.failure_threshold, self.window) {
            let advice = "counts failures in a row, in place of which a window is given".to_owned();
            problems.push(SettingProblem {
                advice,
                ..Key::FailureThreshold.problem(threshold.to_string())
            });
        }
        if let (Some(min), Some(max)) = (self.adaptive_min, self.adaptive_max) {
            problems.extend(adaptive_min_above_max(min, max));
        }
        if let (Some(true), Some(rate)) = (self.adaptive, self.failure_rate) {
            problems.push(rate_with_adaptive(rate));
        }
        problems
    }
}

fn adaptive_min_above_max(min: u32, max: u32) -> Option<SettingProblem> {
    let advice = format!("expected at most adaptive_max, which is {max}");
    let problem = Key::AdaptiveMin.problem(min.to_string());
    (min > max).then_some(SettingProblem { advice, ..problem })
}

fn rate_with_adaptive(rate: u32) -> SettingProblem {
    let advice = "is fixed, and adaptive is given in place of that: bound what is learnt by \
                  adaptive_min and adaptive_max"
        .to_owned();
    SettingProblem { advice, ..Key::FailureRate.problem(rate.to_string()) }
}

fn min_above_max(min: Duration, max: Duration) -> Option<SettingProblem> {
    let advice = format!("expected at most max_wait, which is {}", Value::Duration(max));
    let problem = Key::MinWait.problem(Value::Duration(min).to_string());
    (min > max).then_some(SettingProblem { advice, ..problem })
}

fn minimum_above_window(minimum: u32, window: Window) -> Option<SettingProblem> {
    let Window::Calls(calls) = window else { return None };
    let advice = format!("expected at most {calls}, the calls that the window holds");
    let problem = Key::MinimumCalls.problem(minimum.to_string());
    (minimum > calls).then_some(SettingProblem { advice, ..problem })
}

impl CircuitBreakerSettings {
    /// Checks every value, `minimum_calls` against the window, and that `adaptive` has a window, no
    /// `failure_rate` but the default beside it, and bounds in order.
    ///
    /// # Errors
    ///
    /// Names every key whose value is out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let mut problems = problems(Self::KEYS, |key| self.value(key));
        if let (Some(minimum), Some(window)) = (self.minimum_calls, self.window) {
            problems.extend(minimum_above_window(minimum, window));
        }
        problems.extend(adaptive_min_above_max(self.adaptive_min, self.adaptive_max));
        if self.adaptive && self.window.is_none() {
            let advice = "learns from a window, and none is given".to_owned();
            problems.push(SettingProblem { advice, ..Key::Adaptive.problem("true".to_owned()) });
        }
        if self.adaptive && self.failure_rate != Self::default().failure_rate {
            problems.push(rate_with_adaptive(self.failure_rate));
        }
        SettingsError::check(problems)
    }

    /// Every value brought into range, for a constructor that must not fail.
    pub(crate) fn clamped(mut self) -> Self {
        for key in Self::KEYS {
            let value = self.value(*key);
            self.set(*key, key.clamp(value));
        }
        self.adaptive_max = self.adaptive_max.max(self.adaptive_min);
        self
    }

    pub(crate) fn effective_half_open_permits(&self) -> usize {
        let permits = self.half_open_permits.unwrap_or(self.success_threshold.min(128));
        usize::try_from(permits).unwrap_or(usize::MAX)
    }
}

impl RetrySettings {
    /// Checks every value, and `min_wait` against `max_wait`.
    ///
    /// # Errors
    ///
    /// Names every key whose value is out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let mut problems = problems(Self::KEYS, |key| self.value(key));
        problems.extend(min_above_max(self.min_wait, self.max_wait));
        SettingsError::check(problems)
    }

    /// Every value brought into range, for an entry that must not fail.
    pub(crate) fn clamped(mut self) -> Self {
        for key in Self::KEYS {
            let value = self.value(*key);
            self.set(*key, key.clamp(value));
        }
        self.max_wait = self.max_wait.max(self.min_wait);
        self
    }
}
