//! Who may run: the way in, and the way out for loops that wait while the circuit opens.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::leases::{Claim, Nanos};
use super::permit::{Admission, Role, Ticket};
use super::word::{Generation, Word};
use super::{CircuitBreaker, CircuitState, Cold, Mode, Outcome, nanos, transition};
use crate::error::{CircuitBreakerOpenError, OpenCause, OpenReason, OpeningId};
use crate::event::Cause;
use crate::random;
use crate::sync;

impl CircuitBreaker {
    /// Asks for the right to run.
    #[inline]
    pub(crate) fn admit(&self, mode: Mode) -> Admission {
        self.admit_plainly(mode).unwrap_or_else(|| self.admit_through_gate(mode))
    }

    /// Of a closed circuit that wants nothing else to be known, with one load.
    #[inline]
    pub(crate) fn admit_plainly(&self, mode: Mode) -> Option<Admission> {
        let word = self.word();
        let is_plain = word.lets_all_through() && !mode.clocked();
        is_plain.then(|| Admission::admitted(Ticket::caller(word.generation())))
    }

    /// Gives a call that has a deadline the moment at which it began.
    #[cold]
    pub(crate) fn begin(&self, admission: Admission) -> Admission {
        admission.begun_at(|| self.moment())
    }

    fn ticket(&self, mode: Mode, generation: Generation, role: Role) -> Ticket {
        let ticket = Ticket::new(generation, role, mode.timed().then(|| self.moment()));
        #[cfg(feature = "otel")]
        if mode.watched() {
            return ticket.watched(|| self.moment());
        }
        ticket
    }

    #[inline(never)]
    fn admit_through_gate(&self, mode: Mode) -> Admission {
        self.through_gate(mode)
    }

    /// As [`admit`](Self::admit), for code that is called, and not inlined, itself.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a second call on the way to a rejection is a tenth of it"
    )]
    pub(crate) fn through_gate(&self, mode: Mode) -> Admission {
        let (word, left) = match self.pass_gate(mode) {
            Ok(ticket) => return Admission::admitted(ticket),
            Err(rejected) => rejected,
        };
        let turn = self.counters.add(Outcome::Rejected);
        if mode.dry_run() {
            return Admission::admitted(self.ticket(mode, word.generation(), Role::Shadow));
        }
        Admission::rejected(which_opening(word), spread(word, left, turn))
    }

    #[inline]
    fn pass_gate(&self, mode: Mode) -> Result<Ticket, (Word, Nanos)> {
        loop {
            let word = self.word();
            match word.state() {
                CircuitState::Closed if word.is_ramping_up() => {
                    let now = self.now();
                    match self.ramp.lets_through(now) {
                        Some(true) => {
                            return Ok(self.ticket(mode, word.generation(), Role::Caller));
                        }
                        // Any moment of the rest: who comes back then finds the load rising.
                        Some(false) => {
                            return Err((word, self.ramp.left(now)));
                        }
                        None => {
                            let _cold = self.cold();
                            self.end_ramp();
                        }
                    }
                }
                CircuitState::Closed | CircuitState::ForcedClosed => {
                    return Ok(self.ticket(mode, word.generation(), Role::Caller));
                }
                CircuitState::ForcedOpen => {
                    return Err((word, self.nominal_wait()));
                }
                CircuitState::Open => {
                    let Some(deadline) = self.deadline(word) else { continue };
                    let now = self.now();
                    if now < deadline {
                        return Err((word, self.left_until(deadline, now)));
                    }
                    if let Some(answer) = self.half_open(mode, word, now) {
                        return answer;
                    }
                }
                CircuitState::HalfOpen => {
                    let now = self.now();
                    // Relaxed: a hint. An old value is that of a moment when all permits were
                    // out, which this call may have been earlier than.
                    let full_until = self.gate.full_until.load(Ordering::Relaxed);
                    if now < full_until {
                        return Err((word, self.left_until(full_until, now)));
                    }
                    if let Some(claimed) = self.claim_probe(mode, word, now) {
                        return claimed;
                    }
                }
            }
        }
    }

    /// Takes the mark of a ramp away whose time is up, under the lock: who opens the circuit there
    /// counts on a word that does not move. Asked at the next call, and before a failure counts,
    /// whichever comes first: what opens the circuit after the ramp opens it anew.
    pub(super) fn end_ramp(&self) {
        self.change(|word| {
            let over = word.is_ramping_up() && self.ramp.is_over(self.now());
            over.then(|| word.ramped_up())
        });
    }

    /// When the opening of this word ends; `None` if the word has moved on meanwhile.
    pub(super) fn deadline(&self, word: Word) -> Option<Nanos> {
        // Acquire: partner of the Release in `set_end`. Had the slot been overwritten for the
        // generation after the next, the load of the word below would see at least the next.
        let deadline = self.gate.deadlines[word.generation().slot()].load(Ordering::Acquire);
        (self.word().generation() == word.generation()).then_some(deadline)
    }

    /// The first call after the wait: makes the circuit half-open and is its first probe. `None` if
    /// the circuit, or the end of its wait, has moved on.
    fn half_open(
        &self,
        mode: Mode,
        open: Word,
        now: Nanos,
    ) -> Option<Result<Ticket, (Word, Nanos)>> {
        #[cfg(any(feature = "redis", loom))]
        if let Some(left) = self.turned_away(open, now) {
            return Some(Err((open, left)));
        }
        let mut cold = self.cold();
        if self.word() != open && !sync::mutated("half_open_without_a_look") {
            return None;
        }
        #[cfg(any(feature = "redis", loom))]
        if !self.may_be_probed(open, now) {
            return None;
        }
        cold.leases.clear();
        cold.since = now;
        let after = transition::half_open(open);
        // The lease is taken before anybody can see that there are leases to be had.
        let (claimed, _) = self.claim_locked(mode, &mut cold, after.generation(), now);
        self.change(|_| Some(after));
        self.tell_later(&mut cold, self.event(open, after, Cause::Local));
        drop(cold);
        self.announce();
        // Never refused: all permits are there.
        claimed.ok().map(Ok)
    }

    /// Half-open: a permit, or a rejection; `None` if the word has moved on.
    fn claim_probe(
        &self,
        mode: Mode,
        word: Word,
        now: Nanos,
    ) -> Option<Result<Ticket, (Word, Nanos)>> {
        let mut cold = self.cold();
        if self.word().generation() != word.generation() {
            return None;
        }
        let (claimed, took_back) = self.claim_locked(mode, &mut cold, word.generation(), now);
        drop(cold);
        if took_back {
            // A probe that waits between two attempts is no longer one. Without the lock: wakers
            // are foreign code.
            self.changed.notify_waiters();
        }
        Some(claimed.map_err(|until| (word, self.left_until(until, now))))
    }

    fn claim_locked(
        &self,
        mode: Mode,
        cold: &mut Cold,
        generation: Generation,
        now: Nanos,
    ) -> (Result<Ticket, Nanos>, bool) {
        let settings = &cold.settings.settings;
        let permits = settings.effective_half_open_permits();
        let (claim, took_back) = cold.leases.claim(permits, now, nanos(settings.probe_timeout));
        // Relaxed: a hint, see `pass_gate`.
        self.gate.full_until.store(cold.leases.full_until(permits), Ordering::Relaxed);
        let claimed = match claim {
            Claim::Granted(lease) => Ok(self.ticket(mode, generation, Role::Probe(lease))),
            Claim::Full(until) => Err(until),
        };
        (claimed, took_back)
    }

    /// For a loop that waits: the next change that could concern it. To be created *before*
    /// [`still_admitted`](Self::still_admitted) is asked and polled after, partner of `announce`,
    /// which notifies *after* the word has changed: whichever comes first, the change is seen.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// For a loop that waits: whether it may go on, and until when at most. Else the rejection.
    ///
    /// It may not once the circuit is open, or half-open with other probes than this one. Closing
    /// does not stop it.
    pub(crate) fn still_admitted(&self, ticket: Ticket) -> Result<Option<Instant>, Admission> {
        let word = self.word();
        match (word.state(), ticket.role()) {
            (CircuitState::Closed | CircuitState::ForcedClosed, _) | (_, Role::Shadow) => Ok(None),
            (CircuitState::HalfOpen, role) if word.generation() == ticket.generation() => {
                // Between two attempts that are counted singly a loop holds no lease, and asks
                // for one when its wait is over.
                let Role::Probe(lease) = role else { return Ok(None) };
                let now = self.now();
                match self.cold().leases.end_of(lease, now) {
                    Some(end) => Ok(self.epoch.checked_add(Duration::from_nanos(end))),
                    None => Err(Admission::rejected(which_opening(word), 0)),
                }
            }
            (CircuitState::Open, _) => {
                let deadline = self.deadline(word).unwrap_or(0);
                let left = self.left_until(deadline, self.now());
                Err(interrupted(word, left))
            }
            (CircuitState::HalfOpen, _) => {
                // Relaxed: a hint, see `pass_gate`.
                let until = self.gate.full_until.load(Ordering::Relaxed);
                let left = self.left_until(until, self.now());
                Err(interrupted(word, left))
            }
            (CircuitState::ForcedOpen, _) => Err(interrupted(word, self.nominal_wait())),
        }
    }

    /// For a loop that waits behind the circuit of a key: whether that of the operation, which this
    /// is, has been forced open meanwhile.
    pub(crate) fn rejected_by_force(&self) -> Option<Admission> {
        let word = self.word();
        (word.state() == CircuitState::ForcedOpen).then(|| interrupted(word, self.nominal_wait()))
    }

    /// When to come back: at the end of this opening or, half-open, when the time of the first
    /// probe is up. Never later than after another wait like the last one: a probe mostly ends
    /// much sooner than it must, and a clock that was set back knows no better.
    pub(super) fn left_until(&self, end: Nanos, now: Nanos) -> Nanos {
        end.saturating_sub(now).min(self.last_wait())
    }

    /// What a circuit that was forced open tells its callers to wait.
    fn nominal_wait(&self) -> Nanos {
        nanos(self.cold().settings.settings.recovery_timeout)
    }

    #[inline]
    pub(crate) fn open_error(
        &self,
        opening: OpeningId,
        retry_after: Nanos,
    ) -> CircuitBreakerOpenError {
        let cause = OpenCause { name: self.name, circuit: self.id, opening };
        CircuitBreakerOpenError::new(retry_after, cause)
    }
}

/// What the rejection whose turn is `n` is told of the time that is left: up to a tenth more, for were all told
/// the same, all would come back at once. Of a ramp: any part of it, so that the load rises with it.
///
/// The multiples of the golden ratio, less their whole parts, lie as evenly as any sequence can,
/// wherever it is broken off (Knuth, The Art of Computer Programming 3, 6.4): better spread than by
/// chance, and cheaper.
fn spread(word: Word, left: Nanos, n: u64) -> Nanos {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let part = n.wrapping_mul(GOLDEN);
    // The part is cut to a tenth before the time is known, and not the time after it: the clock is
    // what a rejection waits for, and this is done meanwhile.
    let (least, part) = if word.is_ramping_up() { (0, part) } else { (left, part / 10) };
    let more = (u128::from(part) * u128::from(left)) >> 64;
    // Less than what is left.
    least.saturating_add(u64::try_from(more).unwrap_or(left))
}

/// The rejection of a loop that may not go on.
fn interrupted(word: Word, left: Nanos) -> Admission {
    Admission::rejected(which_opening(word), spread(word, left, random::bits()))
}

fn which_opening(word: Word) -> OpeningId {
    let reason = match word.state() {
        CircuitState::ForcedOpen => OpenReason::Forced,
        CircuitState::Closed => OpenReason::RampUp,
        _ if word.reopens() > 0 => OpenReason::ProbeFailed,
        _ => OpenReason::Failures,
    };
    OpeningId::new(word.generation().as_u64(), reason)
}
