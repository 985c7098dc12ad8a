//! Between the circuits of a process and its supervisor.
//!
//! The circuits' side runs on the threads of guarded calls: it leaves a note and goes. The supervisor
//! takes the notes on its own thread. What it has learnt of operations that nobody here has called yet
//! is kept here, so that a circuit that is made while the fleet's is open begins open.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

#[cfg(feature = "otel")]
use super::measure::FleetStates;
use super::protocol::Phase;
use super::replica::{Change, GRACE, News};
use crate::breaker::{CircuitBreaker, Force, RemoteOpening, Wanted};
use crate::event::{Event, Listener};
use crate::registry::Inner as Registry;
use crate::registry::link::Link;

/// What is known of operations without a circuit here, at most: names are the fleet's, and many.
const MOST_REMEMBERED: usize = 10_000;

/// A note to the supervisor.
#[derive(Debug)]
pub(super) enum Note {
    Made(Arc<CircuitBreaker>),
    Changed(&'static str, Change),
    /// A call has come that would have probed.
    Wanted(&'static str),
}

#[derive(Default)]
struct Inbox {
    notes: VecDeque<Note>,
    remembered: HashMap<Arc<str>, Remembered>,
}

/// Of an operation without a circuit here.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    news: News,
    at: Instant,
}

impl Remembered {
    /// As it would be told now.
    pub(super) fn at_last(&self) -> News {
        let passed = super::millis(self.at.elapsed());
        let mut news = self.news.clone();
        news.left = news.left.saturating_sub(passed);
        if let Some((_, left)) = &mut news.lease {
            *left = left.saturating_sub(passed);
        }
        news
    }
}

#[derive(Default)]
pub(crate) struct Hub {
    inbox: Mutex<Inbox>,
    arrived: Notify,
    stopped: AtomicBool,
    /// Whose circuits these are.
    pub(super) registry: Weak<Registry>,
    pub(super) status: Status,
    #[cfg(feature = "otel")]
    pub(super) fleet: FleetStates,
}

/// What can be seen of a supervisor from outside.
#[derive(Default)]
pub(super) struct Status {
    pub(super) connected: AtomicBool,
    pub(super) errors: AtomicU64,
}

impl Hub {
    pub(super) fn new(registry: Weak<Registry>) -> Self {
        Self { registry, ..Self::default() }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // Nothing of a user's runs under the lock, so a poisoned one is as good as new.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False once it is stopped: nobody takes a note any more.
    fn leave(&self, note: Note) -> bool {
        let mut inbox = self.inbox();
        // Under the lock: what was left before the end is found by who takes the notes after it.
        let is_stopped = self.is_stopped();
        if !is_stopped {
            inbox.notes.push_back(note);
            drop(inbox);
            self.arrived.notify_one();
        }
        !is_stopped
    }

    /// Waits for an answer, and lets those know who measure how long that takes.
    pub(super) async fn exchange<T>(&self, answer: impl Future<Output = T>) -> T {
        #[cfg(feature = "otel")]
        let began = Instant::now();
        let answer = answer.await;
        #[cfg(feature = "otel")]
        self.tell_exchange(began.elapsed());
        answer
    }

    /// Resolves when there is something to take, or the end has come.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub(super) fn take(&self) -> VecDeque<Note> {
        std::mem::take(&mut self.inbox().notes)
    }

    /// Keeps what is known of an operation for the moment at which it has a circuit here.
    pub(super) fn remember(&self, operation: &Arc<str>, news: &News) {
        let remembered = Remembered { news: news.clone(), at: Instant::now() };
        let known = &mut self.inbox().remembered;
        let is_newer = known.get(operation).is_none_or(|before| before.news.stamp <= news.stamp);
        if is_newer && (known.len() < MOST_REMEMBERED || known.contains_key(operation)) {
            known.insert(Arc::clone(operation), remembered);
        }
    }

    pub(super) fn remembered(&self, operation: &str) -> Option<Remembered> {
        self.inbox().remembered.get(operation).cloned()
    }

    /// The operations that something is remembered of.
    pub(super) fn known(&self) -> Vec<Arc<str>> {
        self.inbox().remembered.keys().cloned().collect()
    }

    /// Another process has told of an operation without a circuit here, or it was told of before
    /// its function was: if it is a class of errors of one that is here, calls of that are to ask
    /// it from now on. Runs what makes circuits, so without the lock.
    pub(super) fn make_class(&self, name: &str) {
        if let Some(registry) = self.registry.upgrade() {
            registry.make_class(name);
        }
    }

    fn not_closed_under(&self, operation: &str) -> Vec<Arc<str>> {
        let is_under =
            |name: &str| name.strip_prefix(operation).is_some_and(|label| label.starts_with('/'));
        let inbox = self.inbox();
        let known = inbox
            .remembered
            .iter()
            .filter(|(name, known)| known.news.phase != Phase::Closed && is_under(name));
        known.map(|(name, _)| Arc::clone(name)).collect()
    }

    pub(super) fn forget(&self, operation: &str) {
        self.inbox().remembered.remove(operation);
    }

    pub(crate) fn stop(&self) {
        // Release: partner of the Acquire in `is_stopped`; the notification alone would do.
        self.stopped.store(true, Ordering::Release);
        self.arrived.notify_one();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl Wanted for Hub {
    fn wanted(&self, operation: &'static str) {
        self.leave(Note::Wanted(operation));
    }
}

/// The circuits' side. What it does is done on the thread of a guarded call.
#[derive(Debug)]
pub(crate) struct Side(pub(crate) Arc<Hub>);

impl Listener for Arc<Side> {
    fn on_event(&self, event: &Event) {
        // The circuits of keys are each process's own.
        if event.key.is_some() {
            return;
        }
        let change = Change {
            from: event.from,
            to: event.to,
            cause: event.cause,
            wait: event.wait.map_or(0, super::millis),
            // The supervisor asks the circuit.
            reopens: 0,
        };
        self.0.leave(Note::Changed(event.operation, change));
    }
}

impl Link for Side {
    fn made(&self, circuit: &Arc<CircuitBreaker>) {
        circuit.lead(Arc::<Hub>::clone(&self.0));
        if let Some(remembered) = self.0.remembered(circuit.name()) {
            begin_as(circuit, &remembered.at_last());
        }
        if !self.0.leave(Note::Made(Arc::clone(circuit))) {
            let wanted: Arc<dyn Wanted> = Arc::<Hub>::clone(&self.0);
            circuit.unlead(&wanted);
        }
    }

    fn has_classes(&self, operation: &Arc<CircuitBreaker>) {
        for name in self.0.not_closed_under(operation.name()) {
            self.0.make_class(&name);
        }
    }
}

/// A circuit that is made while the fleet's is not closed begins like it. The supervisor, which knows
/// more, goes on from there.
fn begin_as(circuit: &CircuitBreaker, news: &News) {
    match news.phase {
        Phase::Open => {
            let lease = news.lease.as_ref().map_or(0, |(_, left)| *left);
            let hold = news.left.max(lease).saturating_add(GRACE);
            circuit.remote_open(RemoteOpening {
                left: Duration::from_millis(news.left),
                wait: Duration::from_millis(news.wait),
                reopens: news.reopens,
                text: None,
                hold: Some(Duration::from_millis(hold)),
            });
        }
        Phase::ForcedOpen => circuit.remote_force(Force::Open),
        Phase::ForcedClosed => circuit.remote_force(Force::Closed),
        Phase::Closed => {}
    }
}
