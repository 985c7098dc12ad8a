//! What a circuit has done, counted for whoever asks: its changes of state, and its probes.
//!
//! Only where a state has changed or a probe has ended: neither is on the way of a success. Circuits of
//! keys do not count: nobody asks them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::counters::OUTCOMES;
use super::{CircuitBreaker, CircuitState, Outcome};
use crate::event::{Cause, Event};

#[derive(Default)]
pub(super) struct Tally {
    transitions: Mutex<Vec<(Transition, u64)>>,
    probes: [AtomicU64; OUTCOMES],
}

/// A change of state, of whatever circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) from: CircuitState,
    pub(crate) to: CircuitState,
    pub(crate) cause: Cause,
}

impl CircuitBreaker {
    /// Under the circuit's lock, right after the word has changed.
    pub(super) fn count_transition(&self, event: &Event) {
        if self.key.is_some() {
            return;
        }
        let transition = Transition { from: event.from, to: event.to, cause: event.cause };
        let transitions = &self.make_rare().tally.transitions;
        let mut transitions = transitions.lock().unwrap_or_else(PoisonError::into_inner);
        match transitions.iter_mut().find(|(known, _)| *known == transition) {
            Some((_, count)) => *count += 1,
            None => transitions.push((transition, 1)),
        }
    }

    /// Without any lock.
    pub(super) fn count_probe(&self, outcome: Outcome) {
        if self.key.is_none() {
            // Relaxed: a figure for whoever looks.
            self.make_rare().tally.probes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Those that have happened at least once.
    pub(crate) fn transitions(&self) -> Vec<(Transition, u64)> {
        let tally = self.rare().map(|rare| &rare.tally);
        tally.map_or_else(Vec::new, |tally| {
            tally.transitions.lock().unwrap_or_else(PoisonError::into_inner).clone()
        })
    }

    /// Probes that have ended so.
    pub(crate) fn probes(&self, outcome: Outcome) -> u64 {
        let count = |tally: &Tally| tally.probes[outcome as usize].load(Ordering::Relaxed);
        self.rare().map_or(0, |rare| count(&rare.tally))
    }
}
