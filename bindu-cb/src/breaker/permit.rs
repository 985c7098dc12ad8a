//! The right to run, returned with an outcome.

use std::num::NonZero;

use super::leases::Nanos;
use super::word::Generation;
use super::{CircuitBreaker, Outcome};

/// A permit without its circuit: what admission hands out and settling takes back.
///
/// It is part of every guarded function's future, hence packed: the generation in the low bits,
/// the lease above it, the kind of role on top. No kind is zero, so that an option is no larger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    packed: NonZero<u64>,
    /// When the call began, where calls can be slow.
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
const KIND_SHIFT: u32 = 62;
const CALLER: NonZero<u64> = NonZero::new(1 << KIND_SHIFT).unwrap();
const PROBE: NonZero<u64> = NonZero::new(2 << KIND_SHIFT).unwrap();
const SHADOW: NonZero<u64> = NonZero::new(3 << KIND_SHIFT).unwrap();

/// Which of the probe permits of a half-open circuit. It wraps at a number of probes that no
/// half-open state sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaseId(u32);

impl LeaseId {
    const BITS: u32 = KIND_SHIFT - LEASE_SHIFT;

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
        Self { packed: kind | generation.as_u64(), began }
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

    pub(super) fn began(self) -> Option<Nanos> {
        self.began.map(NonZero::get)
    }

    pub(crate) fn is_probe(self) -> bool {
        matches!(self.role(), Role::Probe(_))
    }

    /// Of the same generation, without a lease.
    pub(crate) fn as_caller(self) -> Self {
        Self::new(self.generation(), Role::Caller, None)
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
    /// `None` once it has been given back.
    ticket: Option<Ticket>,
}

impl<'a> Permit<'a> {
    pub(super) fn new(circuit: &'a CircuitBreaker, ticket: Ticket) -> Self {
        Self { circuit, ticket: Some(ticket) }
    }

    /// The service answered.
    #[inline]
    pub fn success(self) {
        self.settle(Outcome::Success);
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
        if let Some(ticket) = self.ticket.take() {
            self.circuit.settle(ticket, Outcome::Failure, || Some(text.to_owned()));
        }
    }

    #[inline]
    fn settle(mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            self.circuit.settle(ticket, outcome, || None);
        }
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
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
    fn leases_wrap_within_their_bits() {
        assert_eq!(LeaseId((1 << LeaseId::BITS) - 1).next(), LeaseId(0));
    }
}
