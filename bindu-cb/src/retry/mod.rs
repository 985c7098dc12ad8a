//! The bookkeeping of the loop: an attribute's expansion, and [`Operation`](crate::Operation),
//! turn the wheel; what happens at each turn is here.

#![expect(private_bounds, reason = "expansions name no more than `Call<'_>`")]

mod budget;
mod class;
mod core_ref;
mod nested;
#[cfg(feature = "tower")]
mod owned;
mod reason;
pub(crate) mod schedule;
pub(crate) mod seen;
mod shutdown;
pub(crate) mod verdict;
mod wait;

use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::timeout;

use crate::breaker::{Admission, Mode, Outcome, Ticket};
use crate::error::{AttemptTimeoutError, CircuitBreakerOpenError};
use crate::operation::NO_TIMEOUT;
use crate::settings::{Nested, RetrySettings};
pub(crate) use budget::Budget;
use budget::Counted;
pub use budget::RetryBudgetSnapshot;
pub use class::ClassedCall;
pub(crate) use core_ref::{CoreRef, core_ref};
use core_ref::{Hold, InPlace};
use nested::Attempt;
#[cfg(feature = "tower")]
pub(crate) use owned::Owned;
pub(crate) use reason::Reason;
#[cfg(feature = "otel")]
pub(crate) use reason::Reasons;
use schedule::Schedule;
use seen::{Seen, Text};
pub(crate) use shutdown::Shutdown;
use shutdown::unless_shut_down;
use verdict::{Judgement, Recorded, Retry, Verdict};
use wait::{Waiting, wait_or_hear, wait_or_hear_of_both};

const FAILED_VALUE: Text<'_> = Text::Static("the value that was returned counts as a failure");
const DROPPED_AFTER_FAILURE: Text<'_> = Text::Static("the call was dropped after a failed attempt");

/// One call: admitted, and told its outcome at the end. Dropped before, it counts as what it was
/// (rule B6).
pub struct Call<'a, H: Hold<'a> = InPlace> {
    core: H::Place,
    mode: Mode,
    /// The permit that is held. Without one the circuit is off, or (attempts counted singly) the
    /// call is between two attempts. Says when the call began, too, if it could be slow or if a
    /// deadline is set.
    admission: Admission,
    /// What only calls with a failed attempt need. Dropped by hand, which is to say taken: what the
    /// compiler would call instead to find out that there is nothing, costs as much as the rest.
    trouble: ManuallyDrop<Option<Box<Trouble<'a>>>>,
}

struct Trouble<'a> {
    settings: RetrySettings,
    no_wait: bool,
    schedule: Schedule,
    /// When the call began, in nanoseconds of its circuit's clock, if a deadline was set then.
    began: Option<u64>,
    /// When the attempt that runs began, of a call whose attempts are timed.
    #[cfg(feature = "otel")]
    attempt_began: Option<u64>,
    /// Attempts that have ended.
    attempts: u32,
    /// Whether one of them was a failure of the service.
    failed: bool,
    /// A shutdown has kept the call from another one.
    cut_short: bool,
    /// The last permit, for attempts counted singly: its generation says which waits are over.
    last_ticket: Option<Ticket>,
    /// The wait that is under way. Asserted, because the future of a guarded function without a loop,
    /// which never waits, is unwind safe if its body's is.
    waiting: Option<AssertUnwindSafe<Waiting<'a>>>,
}

/// A wait that was decided on, before the error it was decided for is dropped.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Delay(Duration);

impl<'a, H: Hold<'a>> Call<'a, H> {
    /// Begins a call, which may be a rejected one: see [`rejection`](Self::rejection).
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "some 20 instructions; a call of it is as long again")]
    pub(crate) fn enter(core: H::Place) -> Self {
        let mode = core.circuit.mode();
        let simply = if core.has_deadline() {
            None
        } else if mode.enabled() {
            core.circuit.admit_plainly(mode)
        } else {
            mode.is_off_and_noted().then_some(Admission::NOT_ASKED)
        };
        let admission = simply.unwrap_or_else(|| core.admit(core.circuit(), mode));
        Self { core, mode, admission, trouble: ManuallyDrop::new(None) }
    }

    /// The error of a call that must not run.
    #[inline]
    pub fn rejection(&self) -> Option<CircuitBreakerOpenError> {
        let (opening, retry_after) = self.admission.rejection()?;
        Some(self.core.circuit.open_error(opening, retry_after))
    }

    /// Whether the attempt that runs is a second or later one, of a loop that keeps inner loops from
    /// multiplying it.
    #[inline]
    fn is_repeating(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.settings.nested == Nested::Once)
    }

    /// Runs one attempt.
    #[inline]
    pub fn attempt<'c, F: Future>(&self, attempt: Pin<&'c mut F>) -> Attempt<'c, F> {
        Attempt::new(attempt, self.is_repeating())
    }

    /// Runs one attempt within the time limit.
    ///
    /// # Errors
    ///
    /// [`AttemptTimeoutError`] if it took longer; the attempt is left to its owner to drop.
    pub async fn within<F: Future>(
        &self,
        attempt: Pin<&mut F>,
    ) -> Result<F::Output, AttemptTimeoutError> {
        let limit = self.core.timeout_nanos();
        let attempt = self.attempt(attempt);
        if limit == NO_TIMEOUT {
            return Ok(attempt.await);
        }
        let limited = timeout(Duration::from_nanos(limit), attempt).await;
        limited.map_err(|_| self.timeout_error(Duration::from_nanos(limit)))
    }

    fn timeout_error(&self, limit: Duration) -> AttemptTimeoutError {
        AttemptTimeoutError::new(self.core.circuit.name(), limit)
    }

    /// The call has succeeded.
    #[inline]
    pub fn success(&mut self) {
        if let Some(ticket) = self.admission.ticket() {
            #[cfg(feature = "otel")]
            if ticket.is_watched() {
                self.tell_attempt(Outcome::Success);
            }
            self.core.circuit.settle_success(ticket);
            self.admission = self.admission.without_ticket();
        }
    }

    /// An attempt has returned an error. `None`: that was the last one.
    pub fn failed(&mut self, seen: Seen<'_>) -> Option<Delay> {
        self.after_attempt(seen.judgement(), seen.text, Reason::Error)
    }

    /// An attempt has returned a value that means a failure.
    pub fn failed_value(&mut self) -> Option<Delay> {
        self.after_attempt(Verdict::Transient.into(), FAILED_VALUE, Reason::FailedValue)
    }

    /// An attempt has run into its time limit.
    pub fn timed_out(&mut self, timeout: &AttemptTimeoutError) -> Option<Delay> {
        self.after_attempt(Verdict::Transient.into(), Text::Display(timeout), Reason::TimedOut)
    }

    /// As [`failed`](Self::failed), for a function without a loop.
    pub fn ended(&mut self, seen: Seen<'_>) {
        self.record(seen.judgement().recorded, seen.text);
    }

    /// As [`failed_value`](Self::failed_value), for a function without a loop.
    pub fn ended_value(&mut self) {
        self.record(Recorded::Failure, FAILED_VALUE);
    }

    /// As [`timed_out`](Self::timed_out), for a function without a loop.
    pub fn ended_timed_out(&mut self, timeout: &AttemptTimeoutError) {
        self.record(Recorded::Failure, Text::Display(timeout));
    }

    pub(crate) fn after_attempt(
        &mut self,
        judgement: Judgement,
        text: Text<'_>,
        reason: Reason,
    ) -> Option<Delay> {
        let per_attempt = self.mode.per_attempt();
        // Dry run changes nothing for the caller.
        let is_probe =
            self.admission.ticket().is_some_and(Ticket::is_probe) && !self.mode.dry_run();
        let ticket = self.admission.ticket();
        #[cfg(feature = "otel")]
        if ticket.is_some_and(Ticket::is_watched) {
            // Made before: it has when the attempt began, until that has been told of.
            self.trouble();
            self.tell_attempt(judgement.recorded.into());
        }
        let trouble = self.trouble();
        trouble.attempts = trouble.attempts.saturating_add(1);
        // Without its lease, which goes back with each attempt that is counted singly.
        trouble.last_ticket = ticket.map(Ticket::as_caller).or(trouble.last_ticket);
        // A call that is counted as a whole has failed once one of its attempts has.
        trouble.failed |= judgement.recorded == Recorded::Failure && !per_attempt;
        let delay = self.next_delay(judgement.retry, is_probe);
        if self.is_cut_short() {
            // What would have come of it nobody knows.
            self.settle(Outcome::Cancelled, Text::NONE);
        } else if per_attempt || delay.is_none() {
            self.record(judgement.recorded, text);
        }
        if let Some(Delay(wait)) = delay {
            let reason = reason.unless_throttled(judgement.retry);
            #[cfg(feature = "otel")]
            self.core.budget.reasons.count(reason);
            self.log_retry(wait, text, reason);
        }
        delay
    }

    /// The wait before the next attempt, if there is to be one.
    fn next_delay(&mut self, retry: Retry, is_probe: bool) -> Option<Delay> {
        let now = self.core.circuit.now();
        let probe_attempts = if is_probe { self.core.circuit.probe_attempts() } else { u32::MAX };
        let trouble = self.trouble();
        if trouble.attempts >= trouble.settings.attempts.min(probe_attempts) {
            return None;
        }
        let wait = match retry {
            Retry::No => return None,
            _ if trouble.settings.nested == Nested::Once && nested::is_repeated() => return None,
            _ if trouble.no_wait => Duration::ZERO,
            Retry::Scheduled => trouble.schedule.next()?,
            Retry::After(wait) if wait > trouble.settings.max_wait => return None,
            Retry::After(wait) => wait,
        };
        if let (Some(began), Some(deadline)) = (trouble.began, trouble.settings.deadline) {
            let took = Duration::from_nanos(now.saturating_sub(began));
            // Past the deadline not even a wait of nothing.
            if took.saturating_add(wait) > deadline {
                return None;
            }
        }
        if self.core.shutdown.has_begun() {
            self.trouble().cut_short = true;
            return None;
        }
        self.within_budget().then_some(Delay(wait))
    }

    /// Whether it ended for no other reason than that the registry shuts down.
    fn is_cut_short(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.cut_short)
    }

    /// Takes a retry from the operation's budget, where there is one.
    fn within_budget(&self) -> bool {
        let Some(trouble) = self.trouble.as_deref() else { return true };
        let Some(ratio) = trouble.settings.retry_budget else { return true };
        let attempts = self.mode.enabled() && self.mode.per_attempt();
        let is_counted = self.admission.ticket().is_some_and(|ticket| !ticket.is_shadow());
        let counted =
            Counted { here: !is_counted && (attempts || trouble.attempts == 1), attempts };
        let whose = (&**self.core, self.core.circuit());
        self.core.budget.take(ratio, &trouble.settings, whose, counted)
    }

    fn record(&mut self, recorded: Recorded, text: Text<'_>) {
        match recorded {
            Recorded::Success => self.success(),
            Recorded::Failure => self.settle(Outcome::Failure, text),
            Recorded::Nothing => self.settle(Outcome::Ignored, text),
        }
    }

    fn settle(&mut self, outcome: Outcome, text: Text<'_>) {
        if let Some(ticket) = self.admission.ticket() {
            #[cfg(feature = "otel")]
            if ticket.is_watched() {
                self.tell_attempt(outcome);
            }
            self.core.circuit.settle(ticket, outcome, &|| text.make());
            // Not before: the user's code makes the text, and if it panics the drop has a permit
            // to give back.
            self.admission = self.admission.without_ticket();
        }
    }

    fn trouble(&mut self) -> &mut Trouble<'a> {
        let (core, began) = (&self.core, self.admission.began());
        self.trouble.get_or_insert_with(|| {
            let policy = core.policy();
            Box::new(Trouble {
                schedule: Schedule::new(&policy.settings),
                settings: policy.settings.clone(),
                no_wait: policy.no_wait,
                began,
                #[cfg(feature = "otel")]
                attempt_began: began,
                attempts: 0,
                failed: false,
                cut_short: false,
                last_ticket: None,
                waiting: None,
            })
        })
    }

    /// The attempt that runs, if one does, has ended.
    #[cfg(feature = "otel")]
    #[cold]
    fn tell_attempt(&mut self, outcome: Outcome) {
        let began = match &mut *self.trouble {
            Some(trouble) => trouble.attempt_began.take(),
            None => self.admission.began(),
        };
        if let Some(began) = began {
            self.core.circuit.tell_attempt(outcome, began);
        }
    }

    /// The same of one that is dropped with its call.
    #[cfg(feature = "otel")]
    fn tell_dropped_attempt(&mut self) {
        if self.admission.ticket().is_some_and(Ticket::is_watched) {
            self.tell_attempt(self.core.circuit.outcome_of_a_drop());
        }
    }

    fn log_retry(&self, wait: Duration, text: Text<'_>, reason: Reason) {
        let Some(trouble) = &*self.trouble else { return };
        tracing::debug!(
            operation = self.core.circuit.name(),
            key = self.core.circuit.key(),
            attempt = trouble.attempts,
            of = trouble.settings.attempts,
            ?wait,
            %reason,
            error = text.make(),
            "attempt failed, waiting before the next"
        );
    }

    /// Begins the wait before the next attempt, to be awaited. It ends early if the circuit opens
    /// meanwhile (rule L2), or the registry shuts down, and then the call is a rejected one: see
    /// [`rejection`](Self::rejection).
    pub fn wait(&mut self, delay: Delay) -> Wait<'_, 'a, H> {
        self.begin_wait(delay);
        Wait(self)
    }

    fn begin_wait(&mut self, Delay(wait): Delay) {
        let heeds = self.mode.enabled() && !self.mode.dry_run();
        let (circuit, operation) = (self.core.circuit.clone(), H::operation_for_wait(&self.core));
        let shutdown = Arc::clone(&self.core.shutdown);
        let ticket = self.admission.ticket();
        let trouble = self.trouble();
        let ticket = ticket.or(trouble.last_ticket).filter(|_| heeds);
        let waiting: Waiting<'a> = match operation {
            None => Box::pin(unless_shut_down(shutdown, wait_or_hear(circuit, ticket, wait))),
            Some(operation) => {
                let both = wait_or_hear_of_both(operation, circuit, ticket, wait);
                Box::pin(unless_shut_down(shutdown, both))
            }
        };
        trouble.waiting = Some(AssertUnwindSafe(waiting));
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_pause(cx));
        self.ask_again();
        Poll::Ready(())
    }

    /// The wait alone. After it the call may be a rejected one.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let trouble = self.trouble();
        if let Some(waiting) = &mut trouble.waiting {
            let heard = ready!(Pin::new(waiting).poll(cx));
            trouble.waiting = None;
            if let Err(rejected) = heard {
                // The call ends here, before anybody maps the error. If it was stopped by its circuit
                // its permit is of another generation, or a lease that is no longer held.
                let stopped =
                    if rejected.is_shut_down() { Outcome::Cancelled } else { Outcome::Failure };
                self.settle(stopped, Text::NONE);
                self.admission = rejected;
            }
        }
        Poll::Ready(())
    }

    /// Asks for the next attempt, where attempts are counted singly.
    fn ask_again(&mut self) {
        let is_rejected = self.admission.rejection().is_some();
        if !is_rejected && self.mode.enabled() && self.mode.per_attempt() {
            self.mode = self.mode.for_attempt(self.core.circuit.mode());
            self.admission = self.core.circuit.admit(self.mode);
        }
        #[cfg(feature = "otel")]
        if self.admission.ticket().is_some_and(Ticket::is_watched) {
            self.trouble().attempt_began = Some(self.core.circuit.now());
        }
    }
}

/// A wait under way. It is kept in its call, so that the future of a guarded function has nothing
/// more to hold, and nothing more to drop, than the call.
#[must_use = "a wait that is not awaited is none"]
pub struct Wait<'c, 'a, H: Hold<'a> = InPlace>(&'c mut Call<'a, H>);

impl<'a, H: Hold<'a>> Future for Wait<'_, 'a, H> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_wait(cx)
    }
}

impl<'a, H: Hold<'a>> Drop for Call<'a, H> {
    #[inline]
    fn drop(&mut self) {
        if self.admission.ticket().is_some() || self.trouble.is_some() {
            self.abandon();
        }
    }
}

impl<'a, H: Hold<'a>> Call<'a, H> {
    /// Whether a drop says nothing but that the program ends.
    fn is_dropped_by_shutdown(&self) -> bool {
        self.core.shutdown.has_begun() && !std::thread::panicking()
    }

    #[cold]
    fn abandon(&mut self) {
        #[cfg(feature = "otel")]
        self.tell_dropped_attempt();
        let trouble = self.trouble.take();
        let Some(ticket) = self.admission.ticket() else { return };
        self.admission = Admission::NOT_ASKED;
        let failed = trouble.is_some_and(|trouble| trouble.failed);
        if self.is_dropped_by_shutdown() {
            self.core.circuit.settle(ticket, Outcome::Cancelled, &|| None);
        } else if failed && !std::thread::panicking() {
            let text = || DROPPED_AFTER_FAILURE.make();
            self.core.circuit.settle(ticket, Outcome::Failure, &text);
        } else {
            self.core.circuit.abandon(ticket);
        }
    }
}
