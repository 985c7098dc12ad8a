//! The retry budget: a token bucket for each operation, so that retries are a small part of its
//! calls also while everything fails.
//!
//! A token bucket in the manner of Finagle's `RetryBudget`, with one difference: a call deposits
//! nothing. What calls have deposited is worked out from the circuit's counters when somebody wants
//! a retry, so that a success costs what it costs without a budget.

use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "otel")]
use super::Reasons;
use crate::breaker::CircuitBreaker;
use crate::operation::Core;
use crate::settings::RetrySettings;

/// One retry, in the unit of the bucket. A billion, so that a reserve of ten in ten seconds is one
/// unit a nanosecond, and nothing is lost by rounding.
const TOKEN: u64 = 1_000_000_000;
/// The most that can be saved.
const FULL: u64 = 1_000 * TOKEN;
/// The reserve is given evenly over ten seconds: a tenth of it, in units, each nanosecond.
const NANOS_OF_A_RESERVE_UNIT: u64 = 10;
const SECOND: u64 = 1_000_000_000;
/// So often at most are the calls of all the operation's circuits gathered.
const GATHERED: u64 = SECOND / 10;

/// What an operation may still retry.
///
/// `calls` and `until` say up to where deposits have been made. Who moves one of them forward owns
/// the difference and puts it into the bucket: each call and each moment is deposited once.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    saved: AtomicU64,
    /// Calls of all the operation's circuits, as far as those have told of them.
    ran: AtomicU64,
    calls: AtomicU64,
    /// A moment of the operation's clock, plus one. Zero: none yet. Each key's circuit has a clock of
    /// its own, which begins when the key comes.
    until: AtomicU64,
    /// Calls that the circuit does not count: those of them that have failed.
    uncounted: AtomicU64,
    granted: AtomicU64,
    refused: AtomicU64,
    /// When the last line was logged, plus one.
    logged: AtomicU64,
    /// When the circuits were last asked, plus one.
    gathered: AtomicU64,
    /// Of all retries, whether there is a budget or not.
    #[cfg(feature = "otel")]
    pub(crate) reasons: Reasons,
}

/// How the retries of an operation stand against its budget.
///
/// ```
/// use bindu_cb::Operation;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// let quote = Operation::builder("api:budget-docs").retry_budget(0.1).attempts(2).build()?;
/// quote.call(|| async { Err::<(), _>("busy") }).await.unwrap_err();
///
/// let snapshots = bindu_cb::registry().snapshot();
/// let snapshot = snapshots.iter().find(|s| s.operation == "api:budget-docs").unwrap();
/// let budget = snapshot.retry_budget.unwrap();
/// assert_eq!((budget.granted, budget.refused), (1, 0));
/// # Ok::<(), bindu_cb::SettingsError>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryBudgetSnapshot {
    /// Retries that could be made at once, as far as they have been worked out.
    pub saved: u64,
    /// Retries that were made.
    pub granted: u64,
    /// Retries that were not made because the budget was used up.
    pub refused: u64,
}

/// Who counts the call, or attempt, that wants a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The budget, now: the circuit is off, or it has counted a rejection that dry run did not make.
    pub(crate) here: bool,
    /// Retries are counted, too.
    pub(crate) attempts: bool,
}

impl Budget {
    /// Takes one retry, if there is one. `ratio` of the calls may be retried. The circuit is the
    /// call's own: the operation's, or that of a key.
    pub(crate) fn take(
        &self,
        ratio: f64,
        settings: &RetrySettings,
        (core, circuit): (&Core, &CircuitBreaker),
        counted: Counted,
    ) -> bool {
        // Relaxed, here and below: amounts, of which no other memory depends. Each is moved by one
        // atomic operation, and that every move is made once is all that counts.
        if counted.here {
            self.uncounted.fetch_add(1, Ordering::Relaxed);
        }
        let now = core.circuit.now();
        self.deposit(self.new_calls(circuit, counted), ratio);
        self.deposit_reserve(now, settings.retry_budget_reserve);
        let taken = self.take_saved()
            || self.is_time_to_gather(now) && {
                self.deposit(self.calls_of_all(core, counted), ratio);
                self.take_saved()
            };
        if taken {
            self.granted.fetch_add(1, Ordering::Relaxed);
        } else {
            let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
            self.log(now, circuit.name(), refused);
        }
        taken
    }

    fn take_saved(&self) -> bool {
        let left = |saved: u64| saved.checked_sub(TOKEN);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }

    /// In a storm every failure finds the bucket empty, and there may be thousands of circuits.
    fn is_time_to_gather(&self, now: u64) -> bool {
        let now = now.saturating_add(1);
        let due = |last: u64| (last == 0 || now >= last.saturating_add(GATHERED)).then_some(now);
        self.gathered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }

    fn new_calls(&self, circuit: &CircuitBreaker, counted: Counted) -> u64 {
        self.new_calls_of(circuit.newly_ran(), counted)
    }

    /// Those of the circuits, too, that want no retry: the operation's own and those of all keys.
    fn calls_of_all(&self, core: &Core, counted: Counted) -> u64 {
        self.new_calls_of(core.circuit.newly_ran() + core.keys.newly_ran(), counted)
    }

    fn new_calls_of(&self, newly_ran: u64, counted: Counted) -> u64 {
        let ran = self.ran.fetch_add(newly_ran, Ordering::Relaxed) + newly_ran;
        let mut calls = ran + self.uncounted.load(Ordering::Relaxed);
        if counted.attempts {
            calls = calls.saturating_sub(self.granted.load(Ordering::Relaxed));
        }
        calls.saturating_sub(self.calls.fetch_max(calls, Ordering::Relaxed))
    }

    fn deposit(&self, calls: u64, ratio: f64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "more calls than f64 counts fill any bucket"
        )]
        let units = calls as f64 * ratio * TOKEN as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it saturates"
        )]
        self.add(units as u64);
    }

    fn deposit_reserve(&self, now: u64, reserve: u32) {
        let before = self.until.fetch_max(now.saturating_add(1), Ordering::Relaxed);
        let reserve = u64::from(reserve);
        self.add(if before == 0 {
            // The first to ask finds a reserve.
            reserve.saturating_mul(TOKEN)
        } else {
            let nanos = now.saturating_add(1).saturating_sub(before);
            nanos.saturating_mul(reserve) / NANOS_OF_A_RESERVE_UNIT
        });
    }

    fn add(&self, units: u64) {
        if units > 0 {
            let more = |saved: u64| Some(saved.saturating_add(units).min(FULL));
            // Never refused: `more` always has an answer.
            let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        }
    }

    /// At most once a second: in a storm this happens at every failure.
    fn log(&self, now: u64, operation: &str, refused: u64) {
        let now = now.saturating_add(1);
        let due =
            |logged: u64| (logged == 0 || now >= logged.saturating_add(SECOND)).then_some(now);
        if self.logged.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok() {
            tracing::warn!(operation, refused, "retry budget used up, attempts fail at once");
        }
    }

    pub(crate) fn was_asked(&self) -> bool {
        self.until.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn snapshot(&self) -> RetryBudgetSnapshot {
        RetryBudgetSnapshot {
            saved: self.saved.load(Ordering::Relaxed) / TOKEN,
            granted: self.granted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}
