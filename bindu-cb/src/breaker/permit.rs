//! The right to run, returned with an outcome.

use super::word::Generation;
use super::{CircuitBreaker, Outcome};

/// A permit without its circuit: what admission hands out and settling takes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) generation: Generation,
    pub(crate) role: Role,
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

/// Which of the probe permits of a half-open circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseId(pub(crate) u32);

impl Ticket {
    pub(crate) fn is_probe(self) -> bool {
        matches!(self.role, Role::Probe(_))
    }

    /// Of the same generation, without a lease.
    pub(crate) fn as_caller(self) -> Self {
        Self { role: Role::Caller, ..self }
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

    fn settle(mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            self.circuit.settle(ticket, outcome, || None);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.circuit.abandon(ticket);
        }
    }
}
