//! What is shown: snapshots, in the order and the form in which they go out.
//!
//! The names of the fields are those of `docs/DASHBOARD.md`, which others build on.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::history::{History, LastMinute, by_operation};
use crate::breaker::{CallCounts, CircuitState, FunctionSnapshot, Snapshot, WindowSnapshot};
use crate::registry::Inner;
use crate::retry::RetryBudgetSnapshot;
use crate::settings::SettingValue;

/// Keys of an operation that are shown.
const MOST_KEYS: usize = 20;

#[derive(Serialize)]
pub(super) struct View {
    at: String,
    /// Always null without the feature `redis`.
    shared: Option<Shared>,
    circuits: Vec<Circuit>,
}

#[derive(Serialize)]
struct Shared {
    server: String,
    namespace: String,
    quorum: u32,
    connected: bool,
    errors: u64,
}

#[derive(Serialize)]
struct Circuit {
    operation: &'static str,
    key: Option<String>,
    state: String,
    since: String,
    in_state_ms: u64,
    half_open_in_ms: Option<u64>,
    last_failure: Option<String>,
    calls: Calls,
    last_minute: LastMinute,
    consecutive_failures: u32,
    probe_successes: u32,
    reopens: u32,
    ramp_up: Option<f64>,
    window: Option<Window>,
    retry_budget: Option<RetryBudget>,
    keys: Option<Keys>,
    #[serde(flatten)]
    settings: Option<OfCode>,
    #[serde(skip)]
    urgency: Urgency,
}

/// The circuits of an operation's keys.
#[derive(Serialize)]
struct Keys {
    total: usize,
    not_closed: usize,
    shown: Vec<Circuit>,
}

/// What does not change by itself.
#[derive(Default, Serialize)]
struct OfCode {
    settings: Vec<Setting>,
    functions: Vec<Function>,
}

/// The settings of every circuit: sent only when one of them is another.
#[derive(Serialize)]
pub(super) struct AllSettings {
    circuits: Vec<SettingsOf>,
}

#[derive(Serialize)]
struct SettingsOf {
    operation: &'static str,
    #[serde(flatten)]
    settings: OfCode,
}

#[derive(Serialize)]
struct Setting {
    key: &'static str,
    value: String,
    source: String,
}

#[derive(Serialize)]
struct Function {
    location: String,
    settings: Vec<Setting>,
}

#[derive(Serialize)]
struct Calls {
    success: u64,
    failure: u64,
    ignored: u64,
    cancelled: u64,
    rejected: u64,
    stale: u64,
}

#[derive(Serialize)]
struct Window {
    calls: u64,
    failures: u64,
    slow: u64,
    failure_rate: f64,
    slow_call_rate: f64,
    threshold: f64,
    baseline: Option<f64>,
    deviation: Option<f64>,
}

#[derive(Serialize)]
struct RetryBudget {
    saved: u64,
    granted: u64,
    refused: u64,
}

/// How much a circuit wants to be looked at; the least comes last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Closed,
    RampingUp,
    ForcedClosed,
    HalfOpen,
    Open,
    ForcedOpen,
}

impl View {
    /// Of the snapshots of a registry, in which those of its keys follow an operation.
    pub(super) fn new(
        at: SystemTime,
        registry: &Inner,
        snapshots: &[Snapshot],
        history: &History,
    ) -> Self {
        let mut circuits: Vec<Circuit> = Vec::new();
        for of_operation in by_operation(snapshots) {
            let Some((operation, keys)) = of_operation.split_first() else { continue };
            let mut circuit = Circuit::new(at, operation, history);
            circuit.settings = Some(OfCode::new(operation));
            circuit.keys = Keys::new(at, keys, history);
            circuits.push(circuit);
        }
        circuits.sort_by_key(|circuit| Reverse(circuit.with_keys()));
        Self { at: rfc3339(at), shared: shared(registry), circuits }
    }

    /// Leaves the rest without settings.
    pub(super) fn take_settings(&mut self) -> AllSettings {
        let settings = |circuit: &mut Circuit| SettingsOf {
            operation: circuit.operation,
            settings: circuit.settings.take().unwrap_or_default(),
        };
        let mut circuits: Vec<_> = self.circuits.iter_mut().map(settings).collect();
        // Not in the order of states, which would make them new whenever one of those is.
        circuits.sort_by_key(|circuit| circuit.operation);
        AllSettings { circuits }
    }
}

impl Circuit {
    fn new(at: SystemTime, snapshot: &Snapshot, history: &History) -> Self {
        let since = at.checked_sub(snapshot.in_state_for).unwrap_or(SystemTime::UNIX_EPOCH);
        Self {
            operation: snapshot.operation,
            key: snapshot.key.clone(),
            state: snapshot.state.to_string(),
            since: rfc3339(since),
            in_state_ms: millis(snapshot.in_state_for),
            half_open_in_ms: snapshot.half_open_in.map(millis),
            last_failure: snapshot.last_failure.clone(),
            calls: snapshot.calls.into(),
            last_minute: history.of(snapshot),
            consecutive_failures: snapshot.consecutive_failures,
            probe_successes: snapshot.probe_successes,
            reopens: snapshot.reopens,
            ramp_up: snapshot.ramp_up,
            window: snapshot.window.map(Into::into),
            retry_budget: snapshot.retry_budget.map(Into::into),
            keys: None,
            settings: None,
            urgency: Urgency::of(snapshot),
        }
    }

    /// An operation is as urgent as the most urgent of its keys.
    fn with_keys(&self) -> Urgency {
        let keys = self.keys.iter().flat_map(|keys| &keys.shown).map(|key| key.urgency);
        keys.fold(self.urgency, Ord::max)
    }
}

impl Keys {
    /// Those that are not closed first, then those that fail.
    fn new(at: SystemTime, keys: &[Snapshot], history: &History) -> Option<Self> {
        let mut order: Vec<_> = keys.iter().collect();
        order.sort_by_key(|key| Reverse((Urgency::of(key), key.consecutive_failures)));
        let is_closed = |key: &&Snapshot| key.state == CircuitState::Closed;
        let shown = order.iter().take(MOST_KEYS).map(|key| Circuit::new(at, key, history));
        (!keys.is_empty()).then(|| Self {
            total: keys.len(),
            not_closed: keys.len() - keys.iter().filter(is_closed).count(),
            shown: shown.collect(),
        })
    }
}

impl Urgency {
    fn of(snapshot: &Snapshot) -> Self {
        match snapshot.state {
            CircuitState::Closed if snapshot.ramp_up.is_some() => Self::RampingUp,
            CircuitState::Closed => Self::Closed,
            CircuitState::ForcedClosed => Self::ForcedClosed,
            CircuitState::HalfOpen => Self::HalfOpen,
            CircuitState::Open => Self::Open,
            CircuitState::ForcedOpen => Self::ForcedOpen,
        }
    }
}

impl OfCode {
    fn new(operation: &Snapshot) -> Self {
        let function = |function: &FunctionSnapshot| Function {
            location: function.location.clone(),
            settings: function.settings.iter().map(Into::into).collect(),
        };
        Self {
            settings: operation.settings.iter().map(Into::into).collect(),
            functions: operation.functions.iter().map(function).collect(),
        }
    }
}

impl From<&SettingValue> for Setting {
    fn from(setting: &SettingValue) -> Self {
        let SettingValue { key, value, source } = setting;
        Self { key, value: value.clone(), source: source.to_string() }
    }
}

impl From<CallCounts> for Calls {
    fn from(calls: CallCounts) -> Self {
        let CallCounts { success, failure, ignored, cancelled, rejected, stale } = calls;
        Self { success, failure, ignored, cancelled, rejected, stale }
    }
}

impl From<WindowSnapshot> for Window {
    fn from(window: WindowSnapshot) -> Self {
        Self {
            calls: window.calls,
            failures: window.failures,
            slow: window.slow,
            failure_rate: window.failure_rate,
            slow_call_rate: window.slow_call_rate,
            threshold: window.threshold,
            baseline: window.baseline,
            deviation: window.deviation,
        }
    }
}

impl From<RetryBudgetSnapshot> for RetryBudget {
    fn from(budget: RetryBudgetSnapshot) -> Self {
        let RetryBudgetSnapshot { saved, granted, refused } = budget;
        Self { saved, granted, refused }
    }
}

#[cfg(feature = "redis")]
fn shared(registry: &Inner) -> Option<Shared> {
    let shared = registry.shared_snapshot()?;
    Some(Shared {
        // Without user and password.
        server: shared.settings.address().map(ToString::to_string).unwrap_or_default(),
        namespace: shared.settings.namespace,
        quorum: shared.settings.quorum,
        connected: shared.connected,
        errors: shared.errors,
    })
}

#[cfg(not(feature = "redis"))]
fn shared(_: &Inner) -> Option<Shared> {
    None
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
