//! Calls of a function whose errors have classes, each with a circuit of its own.
//!
//! Such a call is admitted by the circuit of its operation and by those of all classes, or not at
//! all. What comes of it is told to all of them: a success as a success; a failure as one of its
//! class's, or if it has none of the operation's, and to the others as nothing that decides.
//!
//! While all classes are at rest nothing of this happens: see [`breaker::classes`] for what that
//! means, and for why such a call need hold nothing.
//!
//! [`breaker::classes`]: crate::breaker

use std::future::Future;
use std::mem::{self, ManuallyDrop};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::nested::Attempt;
use super::seen::{Seen, Text};
use super::verdict::{Judgement, Recorded, Retry, Verdict};
use super::wait::{Waiting, wait_or_hear};
use super::{Call, DROPPED_AFTER_FAILURE, Delay, FAILED_VALUE, Reason};
use crate::breaker::{CircuitBreaker, MOST_CLASSES, Outcome, Ticket};
use crate::error::{AttemptTimeoutError, CircuitBreakerOpenError};

/// As [`Call`], for a function with the key `class`.
pub struct ClassedCall<'a> {
    call: Call<'a>,
    /// `None`: no class was asked, or all have been told. By hand, as in `Call`: mostly there is
    /// nothing to drop.
    held: ManuallyDrop<Option<Box<Held>>>,
    /// Which class a rejected call was turned away by.
    rejected_by: Option<u8>,
}

#[derive(Default)]
struct Held {
    permits: Vec<Permit>,
    /// The permit of the class in which the last attempt that was a failure has failed.
    failed: Option<usize>,
    /// While the call waits: each ends when a circuit that is held no longer admits the call.
    hearing: Vec<Hearing>,
}

struct Hearing {
    class: Arc<CircuitBreaker>,
    waiting: AssertUnwindSafe<Waiting<'static>>,
}

struct Permit {
    class: Arc<CircuitBreaker>,
    ticket: Ticket,
}

impl Permit {
    fn settle(&self, outcome: Outcome, text: Text<'_>) {
        self.class.settle(self.ticket, outcome, &|| text.make());
    }

    fn is_of(&self, class: &Arc<CircuitBreaker>) -> bool {
        Arc::ptr_eq(&self.class, class)
    }
}

/// Whether a class stops its callers, and does not only say that it would.
fn is_heeded(class: &CircuitBreaker) -> bool {
    !class.mode().dry_run()
}

impl<'a> ClassedCall<'a> {
    /// A call that has begun and is to ask the classes, too: see [`begin`](Self::begin).
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call of it would move both through memory")]
    pub fn new(call: Call<'a>) -> Self {
        Self { call, held: ManuallyDrop::new(None), rejected_by: None }
    }

    /// Asks the classes. Where the call stays: asked before it is moved there, it would be moved
    /// word by word.
    #[inline]
    pub fn begin(&mut self) {
        if self.call.mode.has_classes_awake() {
            self.ask();
        }
    }

    /// Takes a permit of every class, those at rest included: what is known exactly need not be
    /// worked out afterwards. If one rejects, all is given back, the operation's own permit too.
    #[cold]
    fn ask(&mut self) {
        let Some(own) = self.call.admission.ticket() else { return };
        // Partner of the Release in `note_generation`: a class that is not seen here has not
        // changed before this call's mode was read.
        fence(Ordering::Acquire);
        let circuit = &self.call.core.circuit;
        let mut taken = [None; MOST_CLASSES + 1];
        for (number, class) in circuit.classes().enumerate() {
            let mode = class.mode();
            if !mode.enabled() {
                continue;
            }
            let admission = class.admit(mode);
            if admission.rejection().is_some() {
                for (class, ticket) in circuit.classes().zip(taken) {
                    if let Some(ticket) = ticket {
                        class.give_back(ticket);
                    }
                }
                circuit.give_back(own);
                self.call.admission = admission;
                self.rejected_by = u8::try_from(number).ok();
                return;
            }
            taken[number] = admission.ticket();
        }
        let permits = circuit.classes().zip(taken).filter_map(|(class, ticket)| {
            Some(Permit { class: Arc::clone(class), ticket: ticket? })
        });
        let held = Held { permits: permits.collect(), ..Held::default() };
        circuit.rest_if_quiet();
        *self.held = Some(Box::new(held));
    }

    /// The error of a call that must not run.
    #[inline]
    pub fn rejection(&self) -> Option<CircuitBreakerOpenError> {
        let (opening, retry_after) = self.call.admission.rejection()?;
        Some(self.rejecting().open_error(opening, retry_after))
    }

    #[cold]
    fn rejecting(&self) -> &CircuitBreaker {
        let own = self.call.core.circuit();
        let class = self.rejected_by.and_then(|number| own.classes().nth(number.into()));
        class.map_or(own, |class| class)
    }

    /// Runs one attempt.
    #[inline]
    pub fn attempt<'c, F: Future>(&self, attempt: Pin<&'c mut F>) -> Attempt<'c, F> {
        self.call.attempt(attempt)
    }

    /// Runs one attempt within the time limit.
    ///
    /// # Errors
    ///
    /// As for [`Call::within`].
    #[inline]
    pub fn within<F: Future>(
        &self,
        attempt: Pin<&mut F>,
    ) -> impl Future<Output = Result<F::Output, AttemptTimeoutError>> {
        self.call.within(attempt)
    }

    /// The call has succeeded.
    #[inline]
    pub fn success(&mut self) {
        self.call.success();
        if self.held.is_some() || self.call.core.circuit.mode().has_classes_awake() {
            self.tell_success();
        }
    }

    /// As [`success`](Self::success), for a loop: no other attempt is needed.
    #[inline]
    pub fn succeeded(&mut self) -> Option<Delay> {
        self.success();
        None
    }

    /// An attempt has returned an error. `None`: that was the last one.
    pub fn failed(&mut self, seen: Seen<'_>) -> Option<Delay> {
        self.after_attempt(seen.judgement(), seen.text, seen.class_of_error(), Reason::Error)
    }

    /// An attempt has returned a value that means a failure: of no class.
    pub fn failed_value(&mut self) -> Option<Delay> {
        self.after_attempt(Verdict::Transient.into(), FAILED_VALUE, "", Reason::FailedValue)
    }

    /// An attempt has run into its time limit.
    pub fn timed_out(
        &mut self,
        timeout: &AttemptTimeoutError,
        class: &'static str,
    ) -> Option<Delay> {
        self.after_attempt(
            Verdict::Transient.into(),
            Text::Display(timeout),
            class,
            Reason::TimedOut,
        )
    }

    /// As [`failed`](Self::failed), for a function without a loop.
    pub fn ended(&mut self, seen: Seen<'_>) {
        self.record(seen.judgement().recorded, seen.text, seen.class_of_error());
    }

    /// As [`failed_value`](Self::failed_value), for a function without a loop.
    pub fn ended_value(&mut self) {
        self.record(Recorded::Failure, FAILED_VALUE, "");
    }

    /// As [`timed_out`](Self::timed_out), for a function without a loop.
    pub fn ended_timed_out(&mut self, timeout: &AttemptTimeoutError, class: &'static str) {
        self.record(Recorded::Failure, Text::Display(timeout), class);
    }

    fn record(&mut self, recorded: Recorded, text: Text<'_>, label: &'static str) {
        let class = self.class_of(recorded, label);
        self.call.record(own_part(recorded, class.as_ref()), text);
        self.tell(recorded, class.as_ref(), text);
    }

    fn after_attempt(
        &mut self,
        mut judgement: Judgement,
        text: Text<'_>,
        label: &'static str,
        reason: Reason,
    ) -> Option<Delay> {
        let recorded = judgement.recorded;
        let class = self.class_of(recorded, label);
        judgement.recorded = own_part(recorded, class.as_ref());
        if self.has_used_up_its_probe() {
            judgement.retry = Retry::No;
        }
        let delay = self.call.after_attempt(judgement, text, reason);
        if self.call.is_cut_short() {
            self.release();
            return None;
        }
        if delay.is_some() {
            self.hold(recorded, class.as_ref());
        }
        if delay.is_none() || self.call.mode.per_attempt() {
            self.tell(recorded, class.as_ref(), text);
        }
        delay
    }

    /// The circuit that a failure counts in, if not in the operation's.
    fn class_of(&self, recorded: Recorded, label: &'static str) -> Option<Arc<CircuitBreaker>> {
        let counts = recorded == Recorded::Failure && self.call.mode.enabled();
        if counts && !label.is_empty() { self.call.core.class(label) } else { None }
    }

    /// Whether this attempt is the last one that a class lets its probe make.
    fn has_used_up_its_probe(&self) -> bool {
        let Some(held) = &*self.held else { return false };
        let attempts = self.call.trouble.as_ref().map_or(0, |trouble| trouble.attempts);
        let probes = held.permits.iter().filter(|p| p.ticket.is_probe() && is_heeded(&p.class));
        probes.map(|probe| probe.class.probe_attempts()).any(|most| attempts + 1 >= most)
    }

    /// What there is to hold while the call waits: the class of its failure, too, if that was at
    /// rest when the call began. And what there is to listen to (rule L2): all classes, for one
    /// that was at rest has admitted the call, too.
    fn hold(&mut self, recorded: Recorded, class: Option<&Arc<CircuitBreaker>>) {
        let (then, per_attempt) = (self.call.mode, self.call.mode.per_attempt());
        let circuit = &self.call.core.circuit;
        if !then.enabled() || circuit.classes().next().is_none() {
            return;
        }
        let held = self.held.get_or_insert_default();
        if recorded == Recorded::Failure {
            held.failed = class.and_then(|class| {
                let known = held.permits.iter().position(|permit| permit.is_of(class));
                known.or_else(|| {
                    let ticket = class.is_enabled().then(|| class.ticket_since(then))?;
                    held.permits.push(Permit { class: Arc::clone(class), ticket });
                    Some(held.permits.len() - 1)
                })
            });
        }
        let heeded = circuit.classes().filter(|class| class.is_enabled() && is_heeded(class));
        let hear = heeded.map(|class| {
            let known = held.permits.iter().find(|permit| permit.is_of(class));
            let ticket = known.map_or_else(|| class.ticket_since(then), |permit| permit.ticket);
            // Without its lease, which goes back with each attempt that is counted singly.
            let ticket = if per_attempt { ticket.as_caller() } else { ticket };
            let class = Arc::clone(class);
            let waiting: Waiting<'static> =
                Box::pin(wait_or_hear(Arc::clone(&class), Some(ticket), Duration::MAX));
            Hearing { class, waiting: AssertUnwindSafe(waiting) }
        });
        held.hearing = hear.collect();
    }

    /// The permits, to be told; what is listened to stays.
    fn take_permits(&mut self) -> Vec<Permit> {
        self.held.as_mut().map(|held| mem::take(&mut held.permits)).unwrap_or_default()
    }

    fn tell(&mut self, recorded: Recorded, class: Option<&Arc<CircuitBreaker>>, text: Text<'_>) {
        if recorded == Recorded::Success {
            return self.tell_success();
        }
        let ticket = class.and_then(|class| {
            let known = self.held.iter().flat_map(|held| &held.permits).find(|p| p.is_of(class));
            // A permit is told what became of it, also if the class has been switched off since.
            let since = || class.is_enabled().then(|| class.ticket_since(self.call.mode));
            known.map(|permit| permit.ticket).or_else(since)
        });
        if let Some((class, ticket)) = class.zip(ticket) {
            // The permits stay until it is done: if the user's code that makes the text panics,
            // the drop has them to give back.
            class.settle(ticket, Outcome::Failure, &|| text.make());
        }
        for permit in self.take_permits() {
            if class.is_none_or(|class| !permit.is_of(class)) {
                permit.settle(Outcome::Ignored, Text::NONE);
            }
        }
    }

    /// Of every class: what is held, and what was at rest when the call began and no longer is.
    #[cold]
    fn tell_success(&mut self) {
        if !self.call.mode.enabled() {
            return;
        }
        let permits = self.take_permits();
        let circuit = &self.call.core.circuit;
        for permit in &permits {
            permit.class.settle_success(permit.ticket);
        }
        let others = circuit.classes().filter(|class| !permits.iter().any(|p| p.is_of(class)));
        for class in others.filter(|class| !class.is_at_rest()) {
            class.settle_success(class.ticket_since(self.call.mode));
        }
        circuit.rest_if_quiet();
    }

    /// Begins the wait before the next attempt, to be awaited: it ends early if a circuit that has
    /// admitted the call opens, or that of the class that the attempt has failed in, and then the
    /// call is a rejected one.
    pub fn wait(&mut self, delay: Delay) -> ClassedWait<'_, 'a> {
        drop(self.call.wait(delay));
        ClassedWait(self)
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A shutdown goes before whatever else has happened to the circuits.
        let is_shut_down = self.call.core.shutdown.has_begun();
        let hearing = self.held.iter_mut().filter(|_| !is_shut_down);
        let heard = hearing.flat_map(|held| &mut held.hearing).find_map(|hearing| {
            let Poll::Ready(Err(rejected)) = Pin::new(&mut hearing.waiting).poll(cx) else {
                return None;
            };
            Some((rejected, Arc::clone(&hearing.class)))
        });
        if let Some((rejected, by)) = heard {
            self.stop();
            self.call.admission = rejected;
            let number = self.call.core.circuit.classes().position(|class| Arc::ptr_eq(class, &by));
            self.rejected_by = number.and_then(|number| u8::try_from(number).ok());
            return Poll::Ready(());
        }
        ready!(self.call.poll_wait(cx));
        if self.call.admission.is_shut_down() {
            self.release();
        } else if self.call.admission.rejection().is_some() {
            self.stop();
        } else if self.call.mode.per_attempt() {
            *self.held = None;
            self.begin();
        } else {
            self.held.iter_mut().for_each(|held| held.hearing.clear());
        }
        Poll::Ready(())
    }

    /// Gives back what is held: the shutdown that has ended the call says nothing of the service.
    #[cold]
    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            held.permits.iter().for_each(|permit| permit.settle(Outcome::Cancelled, Text::NONE));
        }
    }

    /// A circuit has opened while the call waited: it ends as what its last attempt was.
    fn stop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let own = if held.failed.is_some() { Outcome::Ignored } else { Outcome::Failure };
        self.call.settle(own, Text::NONE);
        held.end(Outcome::Ignored, Text::Static("the loop was stopped after a failed attempt"));
    }
}

/// What a failure is to the operation's own circuit.
fn own_part(recorded: Recorded, class: Option<&Arc<CircuitBreaker>>) -> Recorded {
    if class.is_some() { Recorded::Nothing } else { recorded }
}

impl Held {
    /// A failure of the class in which the last attempt has failed, and this to the others.
    fn end(self, others: Outcome, text: Text<'_>) {
        for (number, permit) in self.permits.iter().enumerate() {
            let failed = self.failed == Some(number);
            permit.settle(if failed { Outcome::Failure } else { others }, text);
        }
    }
}

/// A wait under way, kept in its call.
#[must_use = "a wait that is not awaited is none"]
pub struct ClassedWait<'c, 'a>(&'c mut ClassedCall<'a>);

impl Future for ClassedWait<'_, '_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_wait(cx)
    }
}

impl Drop for ClassedCall<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.held.is_some() {
            self.abandon();
        }
    }
}

impl ClassedCall<'_> {
    /// Dropped before its end. Without a class there is nothing to tell the classes: a panic, and a
    /// drop that counts, are the operation's own failures.
    #[cold]
    fn abandon(&mut self) {
        if self.call.is_dropped_by_shutdown() {
            return self.release();
        }
        let Some(mut held) = self.held.take() else { return };
        let is_panic = std::thread::panicking();
        if is_panic {
            held.failed = None;
        } else if held.failed.is_some() {
            // What is settled is the attempt before.
            #[cfg(feature = "otel")]
            self.call.tell_dropped_attempt();
            self.call.settle(Outcome::Ignored, Text::NONE);
        }
        let failed = held.failed.is_some() || self.call.trouble.as_ref().is_some_and(|t| t.failed);
        let others = if failed || is_panic { Outcome::Ignored } else { Outcome::Cancelled };
        held.end(others, DROPPED_AFTER_FAILURE);
    }
}
