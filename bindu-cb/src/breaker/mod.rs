//! The circuit: one packed atomic word that decides, a lock for what is rare.
//!
//! # Who writes what
//!
//! The word changes in two ways. A *count* in closed state is one compare-and-swap, by any thread,
//! without the lock. A *change of state*, and everything in half-open state, happens under the
//! lock, and still by compare-and-swap where a count may race it. So a thread that holds the lock
//! and sees any state but closed knows that the word will not move.
//!
//! The deadline of an opening is beside the word, in one of two slots chosen by the generation's
//! parity. It is stored before the word of its generation is, and a reader takes the word again
//! after it: see [`CircuitBreaker::deadline`]. Nothing that happens here moves it; only who leads the
//! circuit from outside may, under the lock, which is why a call at the end of the wait looks at it
//! once more.

mod admission;
mod classes;
mod counters;
mod health;
#[cfg(any(feature = "redis", loom))]
#[cfg_attr(loom, expect(dead_code, reason = "the models use a part of it"))]
pub(crate) mod hold;
mod leases;
mod mode;
#[cfg(all(test, loom))]
pub(crate) mod models;
mod permit;
mod queue;
mod ramp;
mod rare;
#[cfg(any(feature = "redis", loom))]
#[cfg_attr(loom, expect(dead_code, reason = "the models use a part of it"))]
pub(crate) mod remote;
mod settling;
mod snapshot;
#[cfg(feature = "otel")]
mod tally;
mod threads;
mod transition;
mod window;
mod word;

use std::any::type_name;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::num::NonZero;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::{CallError, CircuitBreakerOpenError};
use crate::event::{Cause, Listeners};
use crate::name::{Name, Opening, Why};
use crate::settings::{CircuitBreakerSettings, Resolved, Source};
use crate::sync::{self, AtomicU32, AtomicU64, Mutex, MutexGuard};
pub(crate) use classes::{MOST_CLASSES, OTHER_CLASS};
pub use counters::CallCounts;
use counters::Counters;
pub(crate) use counters::Outcome;
use health::{LazyHealth, Measure};
#[cfg(feature = "redis")]
pub(crate) use hold::Wanted;
use leases::{Leases, Nanos};
pub(crate) use mode::Mode;
pub use permit::Permit;
pub(crate) use permit::{Admission, Ticket};
use queue::EventQueue;
use ramp::Ramp;
use rare::Rare;
#[cfg(feature = "redis")]
pub(crate) use remote::{Force, RemoteOpening};
pub use snapshot::{CircuitState, FunctionSnapshot, Snapshot, WindowSnapshot};
#[cfg(feature = "otel")]
pub(crate) use tally::Transition;
use window::cells::WindowCells;
#[cfg(any(feature = "redis", loom))]
pub(crate) use word::Generation;
use word::Word;

/// A circuit breaker.
///
/// Annotated functions use the circuit of their operation by themselves, see
/// [`get_circuit_breaker`](crate::get_circuit_breaker) for those. One made here belongs to no
/// registry: it takes no settings from the environment, and works whatever `enabled` says.
///
/// ```
/// use bindu_cb::{CallError, CircuitBreaker, CircuitBreakerSettings, CircuitState};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let circuit = CircuitBreaker::new("docs", CircuitBreakerSettings::default().failure_threshold(1));
/// let failed = circuit.call(|| async { Err::<(), _>("connection refused") }).await;
/// assert!(matches!(failed, Err(CallError::Inner("connection refused"))));
/// assert_eq!(circuit.state(), CircuitState::Open);
///
/// let rejected = circuit.call(|| async { Ok::<_, &str>(()) }).await;
/// assert!(matches!(rejected, Err(CallError::Open(_))));
/// # })
/// ```
///
// The gate is what every call reads, and must be on a line that is written only when something
// happens. It stands in the middle, with what is rarely written for more than 64 bytes on either
// side: an alignment would cost the circuit of a key, of which there may be thousands, half as much
// again.
#[repr(C)]
pub struct CircuitBreaker {
    cold: Mutex<Cold>,
    changed: Notify,
    listeners: Arc<Listeners>,
    name: &'static Name,
    /// Of the circuit of a key under an operation.
    key: Option<Box<str>>,
    gate: Gate,
    /// Tells circuits of one name apart.
    id: u64,
    /// Zero of this circuit's clock.
    epoch: Instant,
    rare: OnceLock<Box<Rare>>,
    ramp: Ramp,
    /// Of a circuit that has, or once had, a sliding window.
    window_cells: OnceLock<WindowCells>,
    /// Calls that an operation's retry budget has been told of.
    budgeted: AtomicU64,
    counters: Counters,
}

struct Gate {
    word: AtomicU64,
    mode: AtomicU64,
    failure_threshold: AtomicU32,
    /// A call that takes longer is slow; the maximum where none is.
    slow_call: AtomicU64,
    /// How successes are counted: see [`health`].
    measure: Measure,
    /// When the opening of an even and of an odd generation ends.
    deadlines: [AtomicU64; 2],
    /// Half-open: before this moment no permit can be had. A hint that keeps callers off the lock.
    full_until: AtomicU64,
    /// The wait of the last opening, the most that a half-open circuit tells a caller to wait.
    last_wait: AtomicU64,
}

struct Cold {
    settings: Arc<Resolved<CircuitBreakerSettings>>,
    since: Nanos,
    last_failure: Option<Arc<str>>,
    leases: Leases,
    health: LazyHealth,
    events: EventQueue,
}

impl CircuitBreaker {
    /// A circuit of its own. Settings that are out of range are moved into it and logged as an
    /// error; call [`validate`](CircuitBreakerSettings::validate) first to hear of them.
    pub fn new(name: impl Into<Cow<'static, str>>, settings: CircuitBreakerSettings) -> Self {
        let name = Name::intern(&name.into());
        if let Err(error) = settings.validate() {
            tracing::error!(operation = name.as_str(), %error, "circuit breaker settings out of range");
        }
        let source = Source::Code("CircuitBreaker::new".to_owned());
        let settings =
            Resolved::from_one_source(settings.clamped(), CircuitBreakerSettings::KEYS, source);
        Self::with_listeners(name, settings, Arc::default())
    }

    pub(crate) fn with_listeners(
        name: &'static Name,
        settings: Resolved<CircuitBreakerSettings>,
        listeners: Arc<Listeners>,
    ) -> Self {
        Self::build((name, None), Arc::new(settings), listeners, Counters::new())
    }

    /// The circuit of a key under this operation, with its settings: closed, and small.
    pub(crate) fn of_key(&self, key: Box<str>) -> Self {
        let settings = Arc::clone(&self.cold().settings);
        let listeners = Arc::clone(&self.listeners);
        Self::build((self.name, Some(key)), settings, listeners, Counters::compact())
    }

    fn build(
        (name, key): (&'static Name, Option<Box<str>>),
        settings: Arc<Resolved<CircuitBreakerSettings>>,
        listeners: Arc<Listeners>,
        counters: Counters,
    ) -> Self {
        static NEXT_ID: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let mode = Mode::of(&settings.settings).0;
        #[cfg(feature = "otel")]
        let mode = mode | if listeners.watchers.wants_attempts() { Mode::WATCHED } else { 0 };
        let circuit = Self {
            key,
            gate: Gate {
                word: AtomicU64::new(Word::NEW.bits()),
                mode: AtomicU64::new(mode),
                failure_threshold: AtomicU32::new(settings.settings.failure_threshold),
                slow_call: AtomicU64::new(NEVER),
                measure: Measure::default(),
                deadlines: Default::default(),
                full_until: AtomicU64::new(0),
                last_wait: AtomicU64::new(0),
            },
            counters,
            budgeted: AtomicU64::new(0),
            ramp: Ramp::new(settings.settings.ramp_up.map_or(0, nanos)),
            window_cells: OnceLock::new(),
            name,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            epoch: Instant::now(),
            changed: Notify::new(),
            listeners,
            rare: OnceLock::new(),
            cold: Mutex::new(Cold {
                settings,
                since: 0,
                last_failure: None,
                leases: Leases::default(),
                health: LazyHealth::default(),
                events: EventQueue::default(),
            }),
        };
        circuit.reshape(&mut circuit.cold());
        circuit
    }

    /// The name of the operation.
    pub fn name(&self) -> &'static str {
        self.name.as_str()
    }

    /// The key, of a circuit that a key has under its operation: see
    /// [`Registry::get_keyed`](crate::Registry::get_keyed).
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The state at this moment. An open circuit says so until a call makes it half-open, also
    /// when its wait has passed.
    pub fn state(&self) -> CircuitState {
        self.word().state()
    }

    /// The state and, of an open circuit, how long until a call becomes a probe. Without the lock.
    pub(crate) fn stands(&self) -> (CircuitState, Option<Duration>) {
        loop {
            let word = self.word();
            if word.state() != CircuitState::Open {
                return (word.state(), None);
            }
            // `None`: it has moved on meanwhile.
            if let Some(end) = self.deadline(word) {
                let left = self.left_until(end, self.now());
                return (CircuitState::Open, Some(Duration::from_nanos(left)));
            }
        }
    }

    /// Everything that there is to know, at this moment. Takes the circuit's lock for a copy;
    /// calls of a closed circuit do not notice.
    pub fn snapshot(&self) -> Snapshot {
        let (snapshot, settings) = self.figures();
        Snapshot { settings: settings.values(), ..snapshot }
    }

    /// A snapshot without settings, and the settings: their texts are made without the lock.
    pub(crate) fn figures(&self) -> (Snapshot, Arc<Resolved<CircuitBreakerSettings>>) {
        let now = self.now();
        let mut cold = self.cold();
        self.end_ramp();
        // Under the lock the state cannot change, so its deadline belongs to it.
        let word = self.word();
        let state = word.state();
        let count_in = |of: CircuitState| if state == of { word.count() } else { 0 };
        // Relaxed: stored under the lock that is held.
        let deadline = self.gate.deadlines[word.generation().slot()].load(Ordering::Relaxed);
        let snapshot = Snapshot {
            operation: self.name(),
            key: self.key().map(str::to_owned),
            state,
            in_state_for: Duration::from_nanos(now.saturating_sub(cold.since)),
            calls: self.counters.total(),
            consecutive_failures: count_in(CircuitState::Closed),
            probe_successes: count_in(CircuitState::HalfOpen),
            window: self.window_figures(&mut cold, now),
            ramp_up: word.is_ramping_up().then(|| self.ramp.part(now)).flatten(),
            reopens: u32::from(word.reopens()),
            half_open_in: (state == CircuitState::Open)
                .then(|| Duration::from_nanos(self.left_until(deadline, now))),
            last_failure: cold.last_failure.as_deref().map(str::to_owned),
            settings: Vec::new(),
            retry_budget: None,
            functions: Vec::new(),
        };
        let settings = Arc::clone(&cold.settings);
        let moved = cold.health.take_move();
        drop(cold);
        self.tell_move(moved.as_ref());
        (snapshot, settings)
    }

    /// Asks for the right to run one call.
    ///
    /// # Errors
    ///
    /// [`CircuitBreakerOpenError`] if the circuit is open, or half-open with all its probes in
    /// flight.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>, CircuitBreakerOpenError> {
        let admission = self.admit(self.mode());
        match admission.rejection() {
            None => Ok(Permit::new(self, admission)),
            Some((opening, retry_after)) => Err(self.open_error(opening, retry_after)),
        }
    }

    /// Runs one call: every `Err` is a failure, since nothing is known of `E`. Where it has a
    /// meaning, or may be an inner circuit's rejection, use [`call_with`](Self::call_with).
    ///
    /// # Errors
    ///
    /// [`CallError::Open`] if the circuit is open, and `f` was not called; [`CallError::Inner`] is
    /// the call's own error.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it ends, the call is counted as cancelled and its permit is free again.
    pub async fn call<T, E, Fut>(&self, f: impl FnOnce() -> Fut) -> Result<T, CallError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let permit = self.try_acquire()?;
        match f().await {
            Ok(value) => {
                permit.success();
                Ok(value)
            }
            Err(error) => {
                permit.failure_as(type_name::<E>());
                Err(CallError::Inner(error))
            }
        }
    }

    /// Closes the circuit, whatever state it is in; its re-opens start over.
    pub fn reset(&self) {
        self.set(CircuitState::Closed, Cause::Manual);
    }

    /// Rejects every call until [`reset`](Self::reset) or [`force_closed`](Self::force_closed).
    /// Loops that wait between two attempts hear of it at once.
    pub fn force_open(&self) {
        self.set(CircuitState::ForcedOpen, Cause::Manual);
    }

    /// Lets every call through, counts outcomes and decides nothing, until
    /// [`reset`](Self::reset) or [`force_open`](Self::force_open).
    pub fn force_closed(&self) {
        self.set(CircuitState::ForcedClosed, Cause::Manual);
    }

    /// Closed, forced open or forced closed, by somebody's hand.
    fn set(&self, state: CircuitState, cause: Cause) {
        let now = self.now();
        let _leaving = self.leave_rest();
        let mut cold = self.cold();
        self.start_measuring(&mut cold);
        let (before, after) = self.change(|word| Some(transition::manual(word, state)));
        cold.since = now;
        cold.leases.clear();
        if let (Some(key), CircuitState::ForcedOpen) = (&self.key, state) {
            // For rejections to know whose they are.
            self.name.remember(Opening {
                circuit: self.id,
                generation: after.generation().as_u64(),
                why: Why::ByHand,
                last_failure: None,
                key: Some(key.clone()),
            });
        }
        if before.state() != state {
            self.tell_later(&mut cold, self.event(before, after, cause));
        }
        drop(cold);
        self.announce();
    }

    #[inline]
    pub(crate) fn mode(&self) -> Mode {
        // Relaxed: a switch, not a message; a call takes the old one or the new one.
        Mode(self.gate.mode.load(Ordering::Relaxed))
    }

    /// New settings; the state stays. They are in force for everything that begins afterwards.
    pub(crate) fn apply(&self, settings: &Arc<Resolved<CircuitBreakerSettings>>) {
        let _leaving = self.leave_rest();
        let mut cold = self.cold();
        let inner = &settings.settings;
        // Relaxed, all three: settings and a hint, not messages.
        self.set_mode(Mode::of(inner));
        self.gate.failure_threshold.store(inner.failure_threshold, Ordering::Relaxed);
        let full_until = cold.leases.full_until(inner.effective_half_open_permits());
        self.gate.full_until.store(full_until, Ordering::Relaxed);
        self.ramp.set_length(inner.ramp_up.map_or(0, nanos));
        cold.settings = Arc::clone(settings);
        self.reshape(&mut cold);
    }

    /// Calls, or attempts where those are counted, that have ended and were not rejected: those
    /// that nobody has been told of before.
    pub(crate) fn newly_ran(&self) -> u64 {
        let ran = self.counters.ran();
        // Relaxed: whoever moves it forward owns the difference, and nothing else depends on it.
        ran.saturating_sub(self.budgeted.fetch_max(ran, Ordering::Relaxed))
    }

    /// The calls that have ended, by outcome.
    #[cfg(feature = "otel")]
    pub(crate) fn calls(&self) -> CallCounts {
        self.counters.total()
    }

    /// Whether calls are to note when their attempts begin: those that begin from now on.
    #[cfg(feature = "otel")]
    pub(crate) fn watch_attempts(&self, watched: bool) {
        // Relaxed: a switch, as in `mode`.
        if watched {
            self.gate.mode.fetch_or(Mode::WATCHED, Ordering::Relaxed);
        } else {
            self.gate.mode.fetch_and(!Mode::WATCHED, Ordering::Relaxed);
        }
    }

    /// An attempt that began at this moment has ended.
    #[cfg(feature = "otel")]
    pub(crate) fn tell_attempt(&self, outcome: Outcome, began: Nanos) {
        let took = Duration::from_nanos(self.now().saturating_sub(began));
        self.listeners.watchers.tell(|watcher| watcher.attempt(self.name(), outcome, took));
    }

    pub(crate) fn max_keys(&self) -> usize {
        usize::try_from(self.cold().settings.settings.max_keys).unwrap_or(usize::MAX)
    }

    /// Whether each key of this operation has a circuit of its own at this moment. A state that
    /// was set by hand is one for all keys.
    #[inline]
    pub(crate) fn leaves_it_to_keys(&self) -> bool {
        self.mode().enabled()
            && !matches!(self.word().state(), CircuitState::ForcedOpen | CircuitState::ForcedClosed)
    }

    pub(crate) fn recovery_timeout(&self) -> Duration {
        self.cold().settings.settings.recovery_timeout
    }

    /// Whether a new circuit in its place would be further from opening. With a window: whether it
    /// ever was, for what the window holds is not worth the time to look.
    pub(crate) fn has_counted_failures(&self) -> bool {
        let word = self.word();
        word.state() == CircuitState::Closed
            && (word.count() > 0 || self.has_window() && self.counters.total().failure > 0)
    }

    /// Whether a circuit that no call is using would let the next one run, as a new circuit does.
    pub(crate) fn is_idle(&self) -> bool {
        let word = self.word();
        let now = self.now();
        match word.state() {
            CircuitState::Closed => !word.is_ramping_up() || self.ramp.left(now) == 0,
            CircuitState::Open => self.deadline(word).is_some_and(|end| end <= now),
            // Its probe has come to nothing, and the time of another opening has passed.
            CircuitState::HalfOpen => self.cold().since.saturating_add(self.last_wait()) <= now,
            CircuitState::ForcedOpen | CircuitState::ForcedClosed => false,
        }
    }

    pub(crate) fn probe_attempts(&self) -> u32 {
        self.cold().settings.settings.probe_attempts
    }

    /// The circuit is off, and that has been noted. New settings want it noted anew.
    pub(crate) fn noted_off(&self, mode: Mode) {
        // If the settings have changed meanwhile, this was about the old ones. Relaxed: as `mode`.
        let _ = self.gate.mode.compare_exchange(
            mode.0,
            mode.0 | Mode::OFF_AND_NOTED,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// Whether the circuit protects annotated functions.
    pub(crate) fn is_enabled(&self) -> bool {
        self.mode().enabled()
    }

    fn cold(&self) -> MutexGuard<'_, Cold> {
        // Nothing of a user's runs under the lock, so a poisoned one is as good as new.
        self.cold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn word(&self) -> Word {
        // Acquire: partner of the Release in `swap`. Who sees a generation sees its deadline.
        Word::from_bits(self.gate.word.load(Ordering::Acquire))
    }

    fn swap(&self, from: Word, to: Word) -> Result<(), Word> {
        if sync::mutated("store_for_swap") {
            self.gate.word.store(to.bits(), Ordering::Release);
            return Ok(());
        }
        // Release: partner of the Acquire in `word`, for the deadline stored before it.
        self.gate
            .word
            .compare_exchange(from.bits(), to.bits(), Ordering::AcqRel, Ordering::Acquire)
            .map_err(Word::from_bits)?;
        if from.generation() != to.generation() {
            self.note_generation();
        }
        Ok(())
    }

    /// Moves the word, under the lock: only a count in closed state can come in between.
    fn change(&self, next: impl Fn(Word) -> Option<Word>) -> (Word, Word) {
        let mut before = self.word();
        loop {
            let Some(after) = next(before) else { return (before, before) };
            match self.swap(before, after) {
                Ok(()) => return (before, after),
                Err(now) => before = now,
            }
        }
    }

    fn last_wait(&self) -> Nanos {
        // Relaxed: the word, or the deadline, loaded before, has acquired it.
        self.gate.last_wait.load(Ordering::Relaxed)
    }

    /// When a call began, for those that must know.
    fn moment(&self) -> NonZero<Nanos> {
        NonZero::new(self.now()).unwrap_or(NonZero::<Nanos>::MIN)
    }

    /// This moment on the circuit's own clock.
    pub(crate) fn now(&self) -> Nanos {
        #[cfg(all(test, loom))]
        return models::now();
        #[cfg(not(all(test, loom)))]
        nanos(Instant::now().saturating_duration_since(self.epoch))
    }
}

/// Later than any moment of a circuit's clock.
const NEVER: Nanos = Nanos::MAX;

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.name())
            .field("key", &self.key())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Drop for CircuitBreaker {
    fn drop(&mut self) {
        self.name.forget(self.id);
    }
}
