//! The right to run, returned with an outcome.

use std::num::NonZero;

use super::leases::Nanos;
use super::word::Generation;
use super::{CircuitBreaker, Outcome};
use crate::error::{OpenReason, OpeningId};

/// A permit without its circuit: what admission hands out and settling takes back.
///
/// It is part of every guarded function's future, hence packed: the generation in the low bits,
/// the lease above it, then whether somebody wants to know how long its attempts take and whether the
/// call can be slow, the kind of role on top. No kind is zero, so that an option is no larger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    packed: NonZero<u64>,
    /// When the call began, if somebody wants to know: for the call to be slow, it counts only if
    /// the ticket says that it can be.
    began: Option<NonZero<Nanos>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Admitted by a circuit that lets everybody through.
    Caller,
    /// Admitted while half-open, under this lease.
    Probe(LeaseId),
    /// Let through by dry run and counted as rejected already: moves nothing.
    Shadow,
}

const LEASE_SHIFT: u32 = Generation::BITS;
const WATCHED: u64 = 1 << 60;
const TIMED: u64 = 1 << 61;
const KIND_SHIFT: u32 = 62;
const CALLER: NonZero<u64> = NonZero::new(1 << KIND_SHIFT).unwrap();
const PROBE: NonZero<u64> = NonZero::new(2 << KIND_SHIFT).unwrap();
const SHADOW: NonZero<u64> = NonZero::new(3 << KIND_SHIFT).unwrap();

/// Which of the probe permits of a half-open circuit. It wraps at a number of probes that no
/// half-open state sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaseId(u32);

impl LeaseId {
    const BITS: u32 = WATCHED.trailing_zeros() - LEASE_SHIFT;

    pub(super) fn next(self) -> Self {
        Self((self.0 + 1) & ((1 << Self::BITS) - 1))
    }
}

impl Ticket {
    #[inline]
    pub(super) fn new(generation: Generation, role: Role, began: Option<NonZero<Nanos>>) -> Self {
        let kind = match role {
            Role::Caller => CALLER,
            Role::Probe(LeaseId(lease)) => PROBE | u64::from(lease) << LEASE_SHIFT,
            Role::Shadow => SHADOW,
        };
        let timed = if began.is_some() { TIMED } else { 0 };
        Self { packed: kind | timed | generation.as_u64(), began }
    }

    /// As [`new`](Self::new) for a caller whose call cannot be slow.
    #[inline]
    pub(super) fn caller(generation: Generation) -> Self {
        Self { packed: CALLER | generation.as_u64(), began: None }
    }

    /// The same, of a call whose attempts are to be timed.
    #[cfg(feature = "otel")]
    pub(super) fn watched(self, moment: impl FnOnce() -> NonZero<Nanos>) -> Self {
        Self { packed: self.packed | WATCHED, began: self.began.or_else(|| Some(moment())) }
    }

    #[cfg(feature = "otel")]
    #[inline]
    pub(crate) fn is_watched(self) -> bool {
        self.packed.get() & WATCHED != 0
    }

    #[inline]
    pub(super) fn generation(self) -> Generation {
        Generation::from_low_bits(self.packed.get())
    }

    pub(super) fn role(self) -> Role {
        match self.packed.get() >> KIND_SHIFT {
            1 => Role::Caller,
            2 => {
                let lease = self.packed.get() >> LEASE_SHIFT & ((1 << LeaseId::BITS) - 1);
                // No wider than the mask.
                Role::Probe(LeaseId(u32::try_from(lease).unwrap_or(0)))
            }
            _ => Role::Shadow,
        }
    }

    /// When a call began that can be slow.
    pub(super) fn began(self) -> Option<Nanos> {
        self.began.map(NonZero::get).filter(|_| self.packed.get() & TIMED != 0)
    }

    pub(crate) fn is_probe(self) -> bool {
        matches!(self.role(), Role::Probe(_))
    }

    pub(crate) fn is_shadow(self) -> bool {
        self.role() == Role::Shadow
    }

    /// Of the same generation, without a lease.
    pub(crate) fn as_caller(self) -> Self {
        Self::caller(self.generation())
    }
}

/// The circuit's answer to a call that asks for admission: a ticket, or a rejection, or, where
/// nobody asked, neither.
///
/// Two integers, because these are returned in registers, and kept in a guarded function's future
/// at the price of two stores: a ticket, or the opening, which is never taken for a ticket since it
/// has no kind; and when the call began, or until when it is worth coming back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admission {
    packed: u64,
    nanos: Nanos,
}

impl Admission {
    pub(crate) const NOT_ASKED: Self = Self { packed: 0, nanos: 0 };

    #[inline]
    pub(super) fn admitted(ticket: Ticket) -> Self {
        Self { packed: ticket.packed.get(), nanos: ticket.began.map_or(0, NonZero::get) }
    }

    pub(super) fn rejected(opening: OpeningId, retry_after: Nanos) -> Self {
        Self { packed: opening.as_u64(), nanos: retry_after }
    }

    /// That of a loop whose registry shuts down: of no opening. To come back to this process is
    /// never worth it, and to another one at once.
    pub(crate) fn shut_down() -> Self {
        Self::rejected(OpeningId::new(0, OpenReason::Shutdown), 0)
    }

    pub(crate) fn is_shut_down(self) -> bool {
        self.rejection().is_some_and(|(opening, _)| opening.reason() == OpenReason::Shutdown)
    }

    /// The permit that is held.
    #[inline]
    pub(crate) fn ticket(self) -> Option<Ticket> {
        let packed = NonZero::new(self.packed).filter(|packed| packed.get() >> KIND_SHIFT != 0)?;
        Some(Ticket { packed, began: NonZero::new(self.nanos) })
    }

    /// Which opening it was, and how long to wait.
    #[inline]
    pub(crate) fn rejection(self) -> Option<(OpeningId, Nanos)> {
        let opening = self.packed != 0 && self.packed >> KIND_SHIFT == 0;
        opening.then(|| (OpeningId::from_u64(self.packed), self.nanos))
    }

    /// When the call began, if it had to know.
    pub(crate) fn began(self) -> Option<Nanos> {
        (self.nanos != 0 && self.rejection().is_none()).then_some(self.nanos)
    }

    /// The same with a moment at which the call began, unless it has one or never begins.
    pub(super) fn begun_at(self, moment: impl FnOnce() -> NonZero<Nanos>) -> Self {
        if self.nanos != 0 || self.rejection().is_some() {
            return self;
        }
        Self { nanos: moment().get(), ..self }
    }

    /// The permit has been given back.
    #[inline]
    pub(crate) fn without_ticket(self) -> Self {
        Self { packed: 0, ..self }
    }
}

/// The right to run one call, from [`CircuitBreaker::try_acquire`].
///
/// Give it back with what became of the call. Dropped without a word it counts as cancelled, or,
/// if the thread is panicking, as a failure.
///
/// ```
/// # fn ask_the_service() -> Result<u32, std::io::Error> { Ok(1) }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let circuit = bindu_cb::CircuitBreaker::new("permit", Default::default());
/// let permit = circuit.try_acquire()?;
/// match ask_the_service() {
///     Ok(_) => permit.success(),
///     Err(_) => permit.failure(),
/// }
/// assert_eq!(circuit.snapshot().calls.success, 1);
/// # Ok::<(), bindu_cb::CircuitBreakerOpenError>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped at once counts as a cancelled call"]
pub struct Permit<'a> {
    circuit: &'a CircuitBreaker,
    /// Without a ticket once it has been given back.
    admission: Admission,
}

impl<'a> Permit<'a> {
    #[inline]
    pub(super) fn new(circuit: &'a CircuitBreaker, admission: Admission) -> Self {
        Self { circuit, admission }
    }

    #[inline]
    fn take(&mut self) -> Option<Ticket> {
        let ticket = self.admission.ticket();
        self.admission = self.admission.without_ticket();
        ticket
    }

    /// The service answered.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "by value, through memory, it costs twice as much")]
    pub fn success(mut self) {
        if let Some(ticket) = self.take() {
            self.circuit.settle_success(ticket);
        }
    }

    /// The service failed.
    pub fn failure(self) {
        self.settle(Outcome::Failure);
    }

    /// The result says nothing of the service.
    pub fn ignore(self) {
        self.settle(Outcome::Ignored);
    }

    /// The service failed, with this text for the log and the snapshot.
    pub(crate) fn failure_as(mut self, text: &'static str) {
        if let Some(ticket) = self.take() {
            self.circuit.settle(ticket, Outcome::Failure, &|| Some(text.to_owned()));
        }
    }

    fn settle(mut self, outcome: Outcome) {
        if let Some(ticket) = self.take() {
            self.circuit.settle(ticket, outcome, &|| None);
        }
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.take() {
            self.circuit.abandon(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::word::Word;

    #[test]
    fn a_ticket_gives_back_what_was_put_in() {
        let generation = Word::from_bits(u64::MAX).generation();
        for role in [Role::Caller, Role::Shadow, Role::Probe(LeaseId((1 << LeaseId::BITS) - 1))] {
            let ticket = Ticket::new(generation, role, NonZero::new(7));
            assert_eq!((ticket.generation(), ticket.role()), (generation, role));
            assert_eq!(ticket.began(), Some(7));
        }
    }

    #[test]
    fn a_moment_that_is_known_for_another_reason_makes_no_call_slow() {
        let ticket = Ticket::caller(Word::NEW.generation());
        let moment = NonZero::<Nanos>::MIN;
        let admission = Admission::admitted(ticket).begun_at(|| moment);
        assert_eq!(admission.began(), Some(1));
        assert_eq!(admission.ticket().and_then(Ticket::began), None);
    }

    #[test]
    fn a_rejection_is_one_in_every_generation_and_for_every_reason() {
        use crate::error::OpenReason::{Failures, Forced, ProbeFailed, RampUp, Shutdown};
        let last = Word::from_bits(u64::MAX).generation().as_u64();
        for generation in [0, 1, last] {
            for reason in [Failures, ProbeFailed, Forced, RampUp, Shutdown] {
                let opening = OpeningId::new(generation, reason);
                let rejected = Admission::rejected(opening, 7);
                assert!(rejected.ticket().is_none() && rejected.began().is_none());
                let (told, retry_after) = rejected.rejection().expect("a rejection");
                assert_eq!((told.generation(), told.reason()), (generation, reason));
                assert_eq!(retry_after, 7);
            }
        }
    }

    #[test]
    fn leases_wrap_within_their_bits() {
        assert_eq!(LeaseId((1 << LeaseId::BITS) - 1).next(), LeaseId(0));
    }
}
