//! Changes that come from outside: another process has opened, closed or forced the circuit that
//! this one shares with it.
//!
//! The circuit goes on working by itself, on its own clock and its own generations: what comes from
//! outside is durations, and takes effect as the same change does when it happens here. Who brings
//! it, and how that is known, is not the circuit's business.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::settling::Wait;
use super::word::Generation;
use super::{CircuitBreaker, CircuitState, nanos, transition};
use crate::event::Cause;
use crate::name::Why;

#[cfg(all(test, not(loom)))]
mod tests;

/// The circuit is open elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct RemoteOpening {
    /// How much of the wait is left.
    pub(crate) left: Duration,
    /// The whole wait: no caller is told to wait any longer. What is left is no more than that; if
    /// it is said to be, it is what counts.
    pub(crate) wait: Duration,
    /// How often in a row the circuit has opened again.
    pub(crate) reopens: u8,
    /// The failure that opened it.
    pub(crate) text: Option<Arc<str>>,
    /// As [`hold`](CircuitBreaker::hold), from the same moment on: between two calls a caller could
    /// become the probe, if next to nothing is left of the wait. `None` leaves an opening that is
    /// there as it is.
    pub(crate) hold: Option<Duration>,
}

/// What somebody's hand can do to a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    Open,
    Closed,
    /// Closed, and to decide by itself again.
    Reset,
}

/// How a circuit stands, for who leads it. All of one moment but for `rejected`, which may be a few
/// calls ahead.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) state: CircuitState,
    pub(crate) generation: Generation,
    /// What is left of the wait of an open circuit, a hold not counted; otherwise zero.
    pub(crate) left: Duration,
    /// The whole wait of the last opening; zero before the first.
    pub(crate) wait: Duration,
    pub(crate) reopens: u8,
    /// Calls turned away since the circuit was made.
    pub(crate) rejected: u64,
    pub(crate) max_recovery_timeout: Duration,
    pub(crate) probe_timeout: Duration,
}

impl CircuitBreaker {
    /// Opens the circuit for what is left of the wait. If it is open already the end of its wait
    /// moves there, in the same generation, and no event is told: only what comes from outside moves
    /// it. A state that was set by hand stays.
    ///
    /// Returns the generation of the opening, or `None` if the circuit is not open.
    pub(crate) fn remote_open(&self, opening: RemoteOpening) -> Option<Generation> {
        let RemoteOpening { left, wait, reopens, text, hold } = opening;
        let wait = Wait { whole: wait.max(left), left };
        let _leaving = self.leave_rest();
        let mut cold = self.cold();
        let now = self.now();
        let mut word = self.word();
        let opens = word.state() != CircuitState::Open;
        // What was counted before is learnt from, as when a failure opens.
        self.catch_up(&mut cold, now);
        let after = loop {
            match word.state() {
                CircuitState::ForcedOpen | CircuitState::ForcedClosed => return None,
                CircuitState::Open => {
                    self.set_wait(wait);
                    self.set_end(word, now.saturating_add(nanos(left)));
                    break self.change(|word| Some(word.with_reopens(reopens))).1;
                }
                CircuitState::Closed | CircuitState::HalfOpen => {
                    let next = word.next(CircuitState::Open, reopens);
                    let told = (Why::Remote, text.clone());
                    match self.open_for(&mut cold, word, next, now, wait, told) {
                        Ok(()) => break next,
                        // A count came in between.
                        Err(moved) => word = moved,
                    }
                }
            }
        };
        if let Some(time) = hold {
            self.hold_opening(time, now);
        }
        let moved = cold.health.take_move();
        drop(cold);
        self.tell_move(moved.as_ref());
        if opens {
            self.announce();
        }
        Some(after.generation())
    }

    /// Closes a circuit that is open or half-open, as the success of a probe does. False, and
    /// nothing is changed, in any other state.
    pub(crate) fn remote_close(&self) -> bool {
        let mut cold = self.cold();
        let word = self.word();
        if !matches!(word.state(), CircuitState::Open | CircuitState::HalfOpen) {
            return false;
        }
        let after = transition::close(word, cold.settings.settings.ramp_up.is_some());
        self.close(&mut cold, word, after, self.now(), Cause::Remote);
        drop(cold);
        self.announce();
        true
    }

    /// What somebody has done by hand to all circuits that this one is shared with.
    pub(crate) fn remote_force(&self, force: Force) {
        let state = match force {
            Force::Open => CircuitState::ForcedOpen,
            Force::Closed => CircuitState::ForcedClosed,
            Force::Reset => CircuitState::Closed,
        };
        self.set(state, Cause::Remote);
    }

    /// How the circuit stands at this moment.
    pub(crate) fn standing(&self) -> Standing {
        let now = self.now();
        let cold = self.cold();
        self.end_ramp();
        let word = self.word();
        let settings = &cold.settings.settings;
        let left = if word.state() == CircuitState::Open {
            // Relaxed: stored under the lock that is held.
            let end = self.gate.deadlines[word.generation().slot()].load(Ordering::Relaxed);
            self.left_until(end, now)
        } else {
            0
        };
        Standing {
            state: word.state(),
            generation: word.generation(),
            left: Duration::from_nanos(left),
            wait: Duration::from_nanos(self.last_wait()),
            reopens: word.reopens(),
            rejected: self.counters.rejected(),
            max_recovery_timeout: settings.max_recovery_timeout,
            probe_timeout: settings.probe_timeout,
        }
    }
}
