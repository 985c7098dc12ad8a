//! The bookkeeping of the loop: an attribute's expansion, and [`Operation`](crate::Operation),
//! turn the wheel; what happens at each turn is here.

pub(crate) mod schedule;
pub(crate) mod seen;
pub(crate) mod verdict;

use std::future::{Future, poll_fn};
#[cfg(feature = "test-util")]
use std::marker::PhantomData;
use std::num::NonZero;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::breaker::{CircuitBreaker, Mode, Outcome, Ticket};
use crate::error::{AttemptTimeoutError, CircuitBreakerOpenError};
use crate::operation::{Core, NO_TIMEOUT};
use crate::settings::RetrySettings;
use schedule::Schedule;
use seen::{Seen, Text};
use verdict::{Judgement, Recorded, Retry, Verdict};

/// Whose call it is. A site's operation lives as long as the program, unless a test has isolated
/// its thread: with `test-util` a call owns its share.
#[cfg(not(feature = "test-util"))]
pub(crate) type CoreRef<'a> = &'a Core;
#[cfg(feature = "test-util")]
pub(crate) type CoreRef<'a> = Arc<Core>;

#[cfg(not(feature = "test-util"))]
pub(crate) fn core_ref(core: &Arc<Core>) -> CoreRef<'_> {
    core
}

#[cfg(feature = "test-util")]
pub(crate) fn core_ref(core: &Arc<Core>) -> CoreRef<'_> {
    Arc::clone(core)
}

/// One call: admitted, and told its outcome at the end. Dropped before, it counts as what it was
/// (rule B6).
pub struct Call<'a> {
    core: CoreRef<'a>,
    #[cfg(feature = "test-util")]
    lifetime: PhantomData<&'a Core>,
    mode: Mode,
    /// The permit that is held. Without one the circuit is off, or (attempts counted singly) the
    /// call is between two attempts.
    ticket: Option<Ticket>,
    /// When the call began, in nanoseconds of its circuit's clock, if a deadline is set. Half the
    /// size of an instant.
    began: Option<NonZero<u64>>,
    /// What only calls with a failed attempt need.
    trouble: Option<Box<Trouble>>,
}

struct Trouble {
    settings: RetrySettings,
    no_wait: bool,
    schedule: Schedule,
    /// Attempts that have ended.
    attempts: u32,
    /// Whether one of them was a failure of the service.
    failed: bool,
    /// The last permit, for attempts counted singly: its generation says which waits are over.
    last_ticket: Option<Ticket>,
}

/// A wait that was decided on, before the error it was decided for is dropped.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Delay(Duration);

impl<'a> Call<'a> {
    #[inline]
    pub(crate) fn enter(core: CoreRef<'a>) -> Result<Self, CircuitBreakerOpenError> {
        let mode = core.circuit.mode();
        let ticket = if mode.enabled() {
            Some(core.circuit.admit(mode)?)
        } else {
            core.note_disabled();
            None
        };
        let began = core.has_deadline().then(|| NonZero::new(core.circuit.now().max(1))).flatten();
        Ok(Self {
            core,
            #[cfg(feature = "test-util")]
            lifetime: PhantomData,
            mode,
            ticket,
            began,
            trouble: None,
        })
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
        if limit == NO_TIMEOUT {
            return Ok(attempt.await);
        }
        let limited = timeout(Duration::from_nanos(limit), attempt).await;
        limited.map_err(|_| {
            AttemptTimeoutError::new(self.core.circuit.name(), Duration::from_nanos(limit))
        })
    }

    /// The call has succeeded.
    #[inline]
    pub fn success(&mut self) {
        self.settle(Outcome::Success, Text::NONE);
    }

    /// An attempt has returned an error. `None`: that was the last one.
    pub fn failed(&mut self, seen: Seen<'_>) -> Option<Delay> {
        self.after_attempt(seen.judgement(), seen.text)
    }

    /// An attempt has returned a value that means a failure.
    pub fn failed_value(&mut self) -> Option<Delay> {
        let text = Text::Static("the value that was returned counts as a failure");
        self.after_attempt(Verdict::Transient.into(), text)
    }

    /// An attempt has run into its time limit.
    pub fn timed_out(&mut self, timeout: &AttemptTimeoutError) -> Option<Delay> {
        self.after_attempt(Verdict::Transient.into(), Text::Display(timeout))
    }

    /// As [`failed`](Self::failed), for a function without a loop.
    pub fn ended(&mut self, seen: Seen<'_>) {
        self.record(seen.judgement().recorded, seen.text);
    }

    /// As [`failed_value`](Self::failed_value), for a function without a loop.
    pub fn ended_value(&mut self) {
        let text = Text::Static("the value that was returned counts as a failure");
        self.record(Recorded::Failure, text);
    }

    /// As [`timed_out`](Self::timed_out), for a function without a loop.
    pub fn ended_timed_out(&mut self, timeout: &AttemptTimeoutError) {
        self.record(Recorded::Failure, Text::Display(timeout));
    }

    pub(crate) fn after_attempt(&mut self, judgement: Judgement, text: Text<'_>) -> Option<Delay> {
        let per_attempt = self.mode.per_attempt();
        // Dry run changes nothing for the caller.
        let is_probe = self.ticket.is_some_and(Ticket::is_probe) && !self.mode.dry_run();
        let ticket = self.ticket;
        let trouble = self.trouble();
        trouble.attempts = trouble.attempts.saturating_add(1);
        // Without its lease, which goes back with each attempt that is counted singly.
        trouble.last_ticket = ticket.map(Ticket::as_caller).or(trouble.last_ticket);
        // A call that is counted as a whole has failed once one of its attempts has.
        trouble.failed |= judgement.recorded == Recorded::Failure && !per_attempt;
        let delay = self.next_delay(judgement.retry, is_probe);
        if per_attempt || delay.is_none() {
            self.record(judgement.recorded, text);
        }
        if let Some(Delay(wait)) = delay {
            self.log_retry(wait, text);
        }
        delay
    }

    /// The wait before the next attempt, if there is to be one.
    fn next_delay(&mut self, retry: Retry, is_probe: bool) -> Option<Delay> {
        let (began, now) = (self.began, self.core.circuit.now());
        let probe_attempts = if is_probe { self.core.circuit.probe_attempts() } else { u32::MAX };
        let trouble = self.trouble();
        if trouble.attempts >= trouble.settings.attempts.min(probe_attempts) {
            return None;
        }
        let wait = match retry {
            Retry::No => return None,
            _ if trouble.no_wait => Duration::ZERO,
            Retry::Scheduled => trouble.schedule.next()?,
            Retry::After(wait) if wait > trouble.settings.max_wait => return None,
            Retry::After(wait) => wait,
        };
        if let (Some(began), Some(deadline)) = (began, trouble.settings.deadline) {
            let took = Duration::from_nanos(now.saturating_sub(began.get()));
            let left = deadline.saturating_sub(took);
            if wait > left {
                return None;
            }
        }
        Some(Delay(wait))
    }

    fn record(&mut self, recorded: Recorded, text: Text<'_>) {
        let outcome = match recorded {
            Recorded::Success => Outcome::Success,
            Recorded::Failure => Outcome::Failure,
            Recorded::Nothing => Outcome::Ignored,
        };
        self.settle(outcome, text);
    }

    #[inline]
    fn settle(&mut self, outcome: Outcome, text: Text<'_>) {
        if let Some(ticket) = self.ticket {
            self.core.circuit.settle(ticket, outcome, || text.make());
            // Not before: the user's code makes the text, and if it panics the drop has a permit
            // to give back.
            self.ticket = None;
        }
    }

    fn trouble(&mut self) -> &mut Trouble {
        let core = &self.core;
        self.trouble.get_or_insert_with(|| {
            let policy = core.policy();
            Box::new(Trouble {
                schedule: Schedule::new(&policy.settings),
                settings: policy.settings.clone(),
                no_wait: policy.no_wait,
                attempts: 0,
                failed: false,
                last_ticket: None,
            })
        })
    }

    fn log_retry(&self, wait: Duration, text: Text<'_>) {
        let Some(trouble) = &self.trouble else { return };
        tracing::debug!(
            operation = self.core.circuit.name(),
            attempt = trouble.attempts,
            of = trouble.settings.attempts,
            ?wait,
            error = text.make(),
            "attempt failed, waiting before the next"
        );
    }

    /// Waits before the next attempt, unless the circuit opens meanwhile (rule L2).
    ///
    /// # Errors
    ///
    /// [`CircuitBreakerOpenError`] if it does; the call is over then.
    pub async fn wait(&mut self, delay: Delay) -> Result<(), CircuitBreakerOpenError> {
        // Boxed: a timer and a listener would make every guarded function's future larger, for
        // what only calls in trouble need.
        if let Err(open) = Box::pin(self.wait_or_hear(delay.0)).await {
            // The call ends here, before anybody maps the error: its permit is of another
            // generation, or a lease that is no longer held.
            self.settle(Outcome::Failure, Text::NONE);
            return Err(open);
        }
        if self.mode.enabled() && self.mode.per_attempt() {
            self.ticket = Some(self.core.circuit.admit(self.mode)?);
        }
        Ok(())
    }

    async fn wait_or_hear(&self, wait: Duration) -> Result<(), CircuitBreakerOpenError> {
        let last = self.trouble.as_ref().and_then(|trouble| trouble.last_ticket);
        let ticket = match self.ticket.or(last) {
            Some(ticket) if self.mode.enabled() && !self.mode.dry_run() => ticket,
            _ => {
                pause_until(after(wait)).await;
                return Ok(());
            }
        };
        let end = after(wait);
        loop {
            match pause(&self.core.circuit, ticket, end).await? {
                Pause::Over => return Ok(()),
                Pause::Heard => {}
            }
        }
    }
}

/// Why a pause ended, if not with an open circuit.
enum Pause {
    Over,
    /// The circuit has changed, or a lease has ended: look again.
    Heard,
}

async fn pause(
    circuit: &CircuitBreaker,
    ticket: Ticket,
    end: Option<Instant>,
) -> Result<Pause, CircuitBreakerOpenError> {
    // Before the question whether to go on: a trip after it is heard.
    let mut changed = pin!(circuit.changed());
    let lease_end = circuit.still_admitted(ticket)?;
    let until = match (lease_end, end) {
        (Some(lease), Some(end)) => Some(lease.min(end)),
        (lease, end) => lease.or(end),
    };
    let mut pause = pin!(pause_until(until));
    let over = poll_fn(|cx| {
        if changed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        pause.as_mut().poll(cx).map(|()| until == end)
    })
    .await;
    if !over {
        return Ok(Pause::Heard);
    }
    // The trip may have come in the same instant.
    circuit.still_admitted(ticket).map(|_| Pause::Over)
}

/// `None` is never: so far away that timers may not be able to count that far.
fn after(wait: Duration) -> Option<Instant> {
    const NEVER: Duration = Duration::from_hours(24 * 365 * 100);
    if wait < NEVER { Instant::now().checked_add(wait) } else { None }
}

async fn pause_until(end: Option<Instant>) {
    match end {
        None => std::future::pending().await,
        // A loop without waits must not keep its thread from everybody else.
        Some(end) if end <= Instant::now() => yield_once().await,
        Some(end) => sleep_until(end).await,
    }
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Drop for Call<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.abandon();
        }
    }
}

impl Call<'_> {
    #[cold]
    fn abandon(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let failed = self.trouble.as_ref().is_some_and(|trouble| trouble.failed);
        if failed && !std::thread::panicking() {
            let text = || Some("the call was dropped after a failed attempt".to_owned());
            self.core.circuit.settle(ticket, Outcome::Failure, text);
        } else {
            self.core.circuit.abandon(ticket);
        }
    }
}
