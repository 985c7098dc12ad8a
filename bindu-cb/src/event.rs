//! What a circuit tells the outside: its changes of state.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

#[cfg(any(feature = "redis", loom))]
use crate::breaker::Generation;
use crate::breaker::{CircuitState, WindowSnapshot};
#[cfg(feature = "otel")]
use crate::watch::Watchers;

/// A circuit has changed its state.
///
/// ```
/// use bindu_cb::{CircuitState, Event, registry};
///
/// registry().subscribe(|event: &Event| {
///     if event.to == CircuitState::Open {
///         println!("{} is down: {:?}", event.operation, event.last_failure);
///     }
/// });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The name of the operation.
    pub operation: &'static str,
    /// The key, if it is the circuit of a key under its operation.
    pub key: Option<Arc<str>>,
    /// The state before.
    pub from: CircuitState,
    /// The state now.
    pub to: CircuitState,
    /// What brought the change about.
    pub cause: Cause,
    /// Failures of this process that led to it, in a row or in the window; zero unless it opened.
    pub failures: u64,
    /// What the sliding window held when it opened the circuit.
    pub window: Option<WindowSnapshot>,
    /// The text of the failure that opened it.
    pub last_failure: Option<Arc<str>>,
    /// How long the circuit stays open; `None` unless it opened by itself, here or in a process
    /// that it is shared with.
    pub wait: Option<Duration>,
    /// The circuit's own generation, which the change began.
    #[cfg(any(feature = "redis", loom))]
    #[cfg_attr(
        not(all(test, not(loom))),
        expect(dead_code, reason = "of use to who leads circuits")
    )]
    pub(crate) generation: Generation,
}

/// What brought a change of state about.
///
/// ```
/// assert_eq!(bindu_cb::Cause::Manual.to_string(), "manual");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// This process's own calls, or the end of the wait.
    Local,
    /// The outcome of a probe.
    Probe,
    /// `force_open`, `force_closed` or `reset`.
    Manual,
    /// Another process, which the circuit is shared with: it opened or closed there, or was forced
    /// or reset for all.
    Remote,
}

impl Cause {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Probe => "probe",
            Self::Manual => "manual",
            Self::Remote => "remote",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Hears the changes of state of every circuit of a registry.
///
/// It runs outside every lock, on the thread whose call changed the state, in the order of the
/// changes of each circuit. It may call back into the circuit. It should be quick: the call that
/// brought the change waits for it. A panic is logged and does no harm.
///
/// ```
/// use bindu_cb::{Event, Listener};
///
/// struct Pager;
///
/// impl Listener for Pager {
///     fn on_event(&self, event: &Event) {
///         println!("{}: {} -> {}", event.operation, event.from, event.to);
///     }
/// }
///
/// bindu_cb::registry().subscribe(Pager);
/// ```
///
/// Any `Fn(&Event)` that is `Send + Sync + 'static` is one; see
/// [`Registry::subscribe`](crate::Registry::subscribe).
pub trait Listener: Send + Sync + 'static {
    /// A circuit has changed its state.
    fn on_event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Listener for F {
    fn on_event(&self, event: &Event) {
        self(event);
    }
}

/// The listeners of a registry, shared with its circuits.
#[derive(Default)]
pub(crate) struct Listeners {
    next_id: AtomicU64,
    list: RwLock<Vec<(u64, Arc<dyn Listener>)>>,
    #[cfg(feature = "otel")]
    pub(crate) watchers: Watchers,
}

impl Listeners {
    pub(crate) fn add(self: &Arc<Self>, listener: impl Listener) -> Subscription {
        // Relaxed: any number that nobody else has.
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.list.write().unwrap_or_else(PoisonError::into_inner).push((id, Arc::new(listener)));
        Subscription { id, listeners: Arc::downgrade(self) }
    }

    /// Tells the log, then every listener. The caller holds no lock. Never panics: the circuit's
    /// other events wait for its return.
    pub(crate) fn tell(&self, event: &Event) {
        let listeners = self.list.read().unwrap_or_else(PoisonError::into_inner).clone();
        // AssertUnwindSafe: of what a panic may leave half done, we look at nothing.
        let _ = catch_unwind(AssertUnwindSafe(|| log(event)));
        for (_, listener) in listeners {
            if catch_unwind(AssertUnwindSafe(|| listener.on_event(event))).is_err() {
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    tracing::error!(
                        operation = event.operation,
                        "a circuit breaker listener panicked; the circuit is not affected"
                    );
                }));
            }
        }
    }
}

/// Ends a subscription when asked to; dropping it leaves the listener in place.
///
/// ```
/// let subscription = bindu_cb::registry().subscribe(|_: &bindu_cb::Event| {});
/// subscription.unsubscribe();
/// ```
#[derive(Clone)]
pub struct Subscription {
    id: u64,
    listeners: Weak<Listeners>,
}

impl Subscription {
    /// Removes the listener. An event that is being told at this moment may still reach it.
    pub fn unsubscribe(self) {
        if let Some(listeners) = self.listeners.upgrade() {
            listeners
                .list
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|(id, _)| *id != self.id);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The listener that is always there.
fn log(event: &Event) {
    let Event { operation, key, from, to, cause, failures, window, last_failure, wait, .. } = event;
    let (calls, slow) = (window.map(|w| w.calls), window.map(|w| w.slow));
    let threshold = window.filter(|w| w.baseline.is_some()).map(|w| w.threshold);
    let (key, last_failure) = (key.as_deref(), last_failure.as_deref());
    match to {
        CircuitState::Open | CircuitState::ForcedOpen => tracing::warn!(
            operation, key, %from, %to, %cause, failures, calls, slow, threshold, last_failure, wait = wait.map(tracing::field::debug),
            "circuit breaker opened"
        ),
        CircuitState::HalfOpen => {
            tracing::info!(operation, key, %from, %to, %cause, "circuit breaker half-open");
        }
        CircuitState::Closed => {
            tracing::info!(operation, key, %from, %to, %cause, "circuit breaker closed");
        }
        // From here on nothing is protected, however bad it gets: no good news.
        CircuitState::ForcedClosed => {
            tracing::warn!(operation, key, %from, %to, %cause, "circuit breaker closed");
        }
    }
}
