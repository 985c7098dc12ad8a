//! What a circuit shows of itself.

use std::fmt;
use std::time::Duration;

use super::counters::CallCounts;
use crate::retry::RetryBudgetSnapshot;
use crate::settings::SettingValue;

/// The state of a circuit.
///
/// ```
/// assert_eq!(bindu_cb::CircuitState::HalfOpen.to_string(), "half_open");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitState {
    /// Calls go through and are counted.
    Closed,
    /// Calls are rejected until the wait of this opening has passed.
    Open,
    /// A few calls go through as probes; their outcomes decide.
    HalfOpen,
    /// Every call is rejected until somebody says otherwise.
    ForcedOpen,
    /// Every call goes through; nothing decides.
    ForcedClosed,
}

impl CircuitState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
        }
    }
}

impl fmt::Display for CircuitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A circuit at one moment.
///
/// State, time and failure figures belong together; the counts of calls are read beside them and
/// may be a few calls ahead while calls go on.
///
/// ```
/// let circuit = bindu_cb::CircuitBreaker::new("snapshot", Default::default());
/// circuit.try_acquire().unwrap().failure();
/// let snapshot = circuit.snapshot();
/// assert_eq!((snapshot.calls.failure, snapshot.consecutive_failures), (1, 1));
/// let threshold = snapshot.settings.iter().find(|s| s.key == "failure_threshold").unwrap();
/// assert_eq!(threshold.value, "3");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The name of the operation.
    pub operation: &'static str,
    /// The key, of a circuit that a key has under its operation.
    pub key: Option<String>,
    /// The state.
    pub state: CircuitState,
    /// How long it has been in that state.
    pub in_state_for: Duration,
    /// Calls by outcome since the circuit was made.
    pub calls: CallCounts,
    /// Closed: failures in a row.
    pub consecutive_failures: u32,
    /// Half-open: probe successes in a row.
    pub probe_successes: u32,
    /// The sliding window, if the circuit has one.
    pub window: Option<WindowSnapshot>,
    /// Closed again, and not yet for everybody: the part of the calls that is let through, from
    /// 0.1 to 1.
    pub ramp_up: Option<f64>,
    /// How often in a row it opened again without having closed, with a ramp to the end of it.
    pub reopens: u32,
    /// Open: how long until a call becomes a probe. Zero: the next call will, unless the circuit is
    /// shared and the probe is another process's: then it is held open past its wait.
    pub half_open_in: Option<Duration>,
    /// The text of the last recorded failure.
    pub last_failure: Option<String>,
    /// Every setting of the circuit with its source. Not filled in by the registry for the circuit
    /// of a key, which has those of its operation.
    pub settings: Vec<SettingValue>,
    /// How the retries stand, if a function of the operation has, or had, a `retry_budget`. Filled in
    /// by the registry.
    pub retry_budget: Option<RetryBudgetSnapshot>,
    /// The guarded functions of the circuit. Filled in by the registry; a circuit alone knows
    /// none.
    pub functions: Vec<FunctionSnapshot>,
}

/// What the sliding window of a circuit holds. The figures belong together.
///
/// ```
/// use bindu_cb::{CircuitBreaker, CircuitBreakerSettings, Window};
///
/// let settings = CircuitBreakerSettings::default().window(Window::Calls(100));
/// let circuit = CircuitBreaker::new("window-snapshot", settings);
/// circuit.try_acquire().unwrap().success();
/// circuit.try_acquire().unwrap().failure();
/// let window = circuit.snapshot().window.unwrap();
/// assert_eq!((window.calls, window.failures, window.failure_rate), (2, 1, 50.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct WindowSnapshot {
    /// Calls in the window.
    pub calls: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Those of them that were slow.
    pub slow: u64,
    /// Failures in percent of the calls; zero without calls.
    pub failure_rate: f64,
    /// Slow calls in percent of the calls; zero without calls.
    pub slow_call_rate: f64,
    /// The failure rate, in percent, at which the circuit opens: the setting, or with `adaptive`
    /// what it has come to.
    pub threshold: f64,
    /// With `adaptive`: the failure rate, in percent, that is normal.
    pub baseline: Option<f64>,
    /// With `adaptive`: how far, in percentage points, it normally is from that.
    pub deviation: Option<f64>,
}

/// A guarded function: what it has beside its circuit.
///
/// ```
/// # #[cfg(feature = "macros")] {
/// #[bindu_cb::retry_storage_operation(attempts = 2)]
/// async fn load() -> std::io::Result<()> {
///     Ok(())
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// load().await?;
/// let snapshots = bindu_cb::registry().snapshot();
/// let function = &snapshots.iter().find(|s| s.operation == "storage:load").unwrap().functions[0];
/// let attempts = function.settings.iter().find(|s| s.key == "attempts").unwrap();
/// assert_eq!(attempts.value, "2");
/// assert_eq!(attempts.source.to_string(), function.location);
/// assert!(function.name.unwrap().ends_with("::load"));
/// # Ok::<(), std::io::Error>(()) }).unwrap(); }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FunctionSnapshot {
    /// Module path and name of an annotated function; `None` of an [`Operation`](crate::Operation).
    pub name: Option<&'static str>,
    /// File, line and column of the attribute or builder.
    pub location: String,
    /// Every setting of the retry loop with its source.
    pub settings: Vec<SettingValue>,
}
