//! An operation as it stands in the registry: the circuit, and one function's retry policy.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::breaker::{Admission, CircuitBreaker, FunctionSnapshot, Mode};
use crate::keyed::Keys;
use crate::registry::Inner;
use crate::retry::{Budget, Shutdown};
use crate::settings::{Given, Resolved, RetrySettings, Settings, kind_of};

/// Which kind's presets a function starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Those of the operation's own kind.
    OfKind,
    /// Workers.
    Worker,
    /// Storage.
    Storage,
    /// Schedulers.
    Scheduler,
    /// Calls to APIs.
    Api,
}

impl Preset {
    /// Attempts, `min_wait` and `max_wait`. `None`: the defaults.
    fn values(self, op: &str) -> Option<(&'static str, u32, Duration, Duration)> {
        let secs = Duration::from_secs;
        let preset = match (self, kind_of(op)) {
            (Self::Worker, _) | (Self::OfKind, "worker") => ("worker", 3, secs(1), secs(10)),
            (Self::Storage, _) | (Self::OfKind, "storage") => {
                ("storage", 5, Duration::from_millis(500), secs(5))
            }
            (Self::Scheduler, _) | (Self::OfKind, "scheduler") => {
                ("scheduler", 3, secs(1), secs(8))
            }
            (Self::Api, _) | (Self::OfKind, "api") => ("api", 4, secs(1), secs(15)),
            (Self::OfKind, _) => return None,
        };
        Some(preset)
    }
}

/// Where a guarded function comes from and what it says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) preset: Preset,
    /// One attempt, no loop.
    pub(crate) once: bool,
    /// Its module path and name. `None`: not one of an attribute.
    pub(crate) name: Option<&'static str>,
    /// Whether the function can return a timeout: settings alone must not impose one on it.
    pub(crate) may_time_out: bool,
    pub(crate) given: Vec<Given>,
    pub(crate) at: &'static Location<'static>,
    /// The module of a function whose operation's name was made from its own.
    pub(crate) derived_in: Option<&'static str>,
    /// Whether its errors have classes, whose circuits may be asked for before there is one of them.
    pub(crate) has_classes: bool,
}

/// The retry policy in force.
pub(crate) struct Policy {
    pub(crate) settings: RetrySettings,
    pub(crate) no_wait: bool,
    sources: Resolved<RetrySettings>,
}

/// An operation as it stands in the registry.
pub(crate) struct Core {
    pub(crate) circuit: Arc<CircuitBreaker>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) shutdown: Arc<Shutdown>,
    origin: Origin,
    registry: Weak<Inner>,
    /// The time limit of an attempt in nanoseconds; the maximum stands for none. Beside the
    /// policy, because the first attempt needs it and must not lock.
    timeout: AtomicU64,
    has_deadline: AtomicBool,
    #[cfg(feature = "tower")]
    may_retry: AtomicBool,
    policy: Mutex<Arc<Policy>>,
}

pub(crate) const NO_TIMEOUT: u64 = u64::MAX;

impl Core {
    pub(crate) fn new(
        (circuit, budget, keys): (Arc<CircuitBreaker>, Arc<Budget>, Arc<Keys>),
        origin: Origin,
        registry: &Inner,
        settings: &Settings,
    ) -> Self {
        let policy = Self::resolve(circuit.name(), &origin, settings);
        Self {
            timeout: AtomicU64::new(Self::nanos_of_timeout(&policy.settings)),
            has_deadline: AtomicBool::new(policy.settings.deadline.is_some()),
            #[cfg(feature = "tower")]
            may_retry: AtomicBool::new(policy.settings.attempts > 1),
            policy: Mutex::new(Arc::new(policy)),
            circuit,
            budget,
            keys,
            shutdown: registry.shutdown(),
            origin,
            registry: registry.downgrade(),
        }
    }

    fn resolve(op: &str, origin: &Origin, settings: &Settings) -> Policy {
        let mut sources = settings.retry(op, origin.preset.values(op), &origin.given);
        if !origin.may_time_out {
            sources.settings.timeout = None;
        }
        Policy { settings: sources.settings.clone(), no_wait: settings.switches.no_wait, sources }
    }

    fn nanos_of_timeout(settings: &RetrySettings) -> u64 {
        let nanos = settings.timeout.map(|timeout| u64::try_from(timeout.as_nanos()));
        nanos.and_then(Result::ok).unwrap_or(NO_TIMEOUT)
    }

    /// New settings, in force for calls that begin, or fail for the first time, afterwards.
    /// Returns what contradicted and had to give way.
    pub(crate) fn apply(&self, settings: &Settings) -> Vec<String> {
        let policy = Self::resolve(self.circuit.name(), &self.origin, settings);
        let adjusted = policy.sources.adjusted.clone();
        self.install(policy);
        adjusted
    }

    fn install(&self, policy: Policy) {
        // Relaxed: settings, not messages; a call takes the old ones or the new ones.
        self.timeout.store(Self::nanos_of_timeout(&policy.settings), Ordering::Relaxed);
        self.has_deadline.store(policy.settings.deadline.is_some(), Ordering::Relaxed);
        #[cfg(feature = "tower")]
        self.may_retry.store(policy.settings.attempts > 1, Ordering::Relaxed);
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// The circuit of a class of errors, made if it is new. `None` if its registry is gone.
    pub(crate) fn class(&self, label: &'static str) -> Option<Arc<CircuitBreaker>> {
        match self.circuit.class(label) {
            Some(class) => Some(Arc::clone(class)),
            None => Some(self.registry.upgrade()?.circuit_of_class(&self.circuit, label)),
        }
    }

    pub(crate) fn has_classes(&self) -> bool {
        self.origin.has_classes
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn adjusted(&self) -> Vec<String> {
        self.policy().sources.adjusted.clone()
    }

    /// The time limit of an attempt, or [`NO_TIMEOUT`]. In nanoseconds, which is half the size of
    /// a duration in the future that keeps it.
    #[inline]
    pub(crate) fn timeout_nanos(&self) -> u64 {
        self.timeout.load(Ordering::Relaxed)
    }

    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn time_limit(&self) -> Option<Duration> {
        let limit = self.timeout_nanos();
        (limit != NO_TIMEOUT).then(|| Duration::from_nanos(limit))
    }

    #[inline]
    pub(crate) fn has_deadline(&self) -> bool {
        self.has_deadline.load(Ordering::Relaxed)
    }

    /// Whether a call has more than one attempt: requests are copied before it is known whether they
    /// are needed again.
    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn may_retry(&self) -> bool {
        self.may_retry.load(Ordering::Relaxed)
    }

    /// Every way into a call but the simplest. One function for all of them, so that there is one
    /// call to it in each guarded function.
    #[inline(never)]
    pub(crate) fn admit(&self, circuit: &CircuitBreaker, mode: Mode) -> Admission {
        let admission = if mode.enabled() {
            circuit.through_gate(mode)
        } else {
            self.note_off(circuit, mode);
            Admission::NOT_ASKED
        };
        if self.has_deadline() { circuit.begin(admission) } else { admission }
    }

    /// A call runs without protection: says so once, if nothing at all is protected (rule S5).
    fn note_off(&self, circuit: &CircuitBreaker, mode: Mode) {
        if mode.is_off_and_noted() {
            return;
        }
        circuit.noted_off(mode);
        if let Some(registry) = self.registry.upgrade() {
            registry.warn_if_all_disabled();
        }
    }

    pub(crate) fn has_budget(&self) -> bool {
        self.policy().settings.retry_budget.is_some()
    }

    pub(crate) fn snapshot(&self) -> FunctionSnapshot {
        let mut settings = self.policy().sources.values();
        settings.retain(|value| match value.key {
            "timeout" => self.origin.may_time_out,
            _ => !self.origin.once,
        });
        let Origin { name, at, .. } = &self.origin;
        FunctionSnapshot { name: *name, location: at.to_string(), settings }
    }
}
