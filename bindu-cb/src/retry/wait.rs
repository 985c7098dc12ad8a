//! The wait between two attempts, which ends early when the circuit opens.

use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::breaker::{Admission, CircuitBreaker, Ticket};

/// Boxed: a timer and a listener would make every guarded function's future larger, for what only
/// calls in trouble need.
pub(super) type Waiting<'a> =
    Pin<Box<dyn Future<Output = Result<(), Admission>> + Send + Sync + 'a>>;

/// Waits so long, or, with a ticket, until its circuit no longer admits the call (rule L2): then the
/// result is the rejection.
pub(super) async fn wait_or_hear(
    circuit: impl Deref<Target = CircuitBreaker>,
    ticket: Option<Ticket>,
    wait: Duration,
) -> Result<(), Admission> {
    let end = after(wait);
    let Some(ticket) = ticket else {
        pause_until(end).await;
        return Ok(());
    };
    loop {
        match pause(&circuit, ticket, end).await? {
            Pause::Over => return Ok(()),
            Pause::Heard => {}
        }
    }
}

/// The same behind the circuit of a key: also until the circuit of its operation is forced open,
/// which is a state for all keys.
pub(super) async fn wait_or_hear_of_both(
    operation: impl Deref<Target = CircuitBreaker>,
    circuit: impl Deref<Target = CircuitBreaker>,
    ticket: Option<Ticket>,
    wait: Duration,
) -> Result<(), Admission> {
    let heeds = ticket.is_some();
    let mut forced = pin!(hear_of_force(operation));
    let mut waiting = pin!(wait_or_hear(circuit, ticket, wait));
    poll_fn(|cx| {
        if heeds && let Poll::Ready(rejected) = forced.as_mut().poll(cx) {
            return Poll::Ready(Err(rejected));
        }
        waiting.as_mut().poll(cx)
    })
    .await
}

async fn hear_of_force(circuit: impl Deref<Target = CircuitBreaker>) -> Admission {
    loop {
        // Before the question, as in `pause`.
        let changed = circuit.changed();
        if let Some(rejected) = circuit.rejected_by_force() {
            return rejected;
        }
        changed.await;
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
) -> Result<Pause, Admission> {
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
