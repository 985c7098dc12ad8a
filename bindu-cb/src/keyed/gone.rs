//! The calls of circuits that were taken away, which still belong to their operation.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::Slot;
use crate::breaker::{CallCounts, CircuitBreaker};

#[derive(Default)]
pub(super) struct Gone {
    calls: CallCounts,
    /// Forgotten while calls may be under way, which end on them.
    leaving: Vec<Arc<Slot>>,
}

impl Gone {
    /// Nobody has it any more.
    pub(super) fn add(&mut self, circuit: &CircuitBreaker) {
        self.calls = self.calls.plus(circuit.calls());
    }

    /// Somebody may still have it.
    pub(super) fn leave(&mut self, slot: Option<Arc<Slot>>) {
        self.settle();
        self.leaving.extend(slot);
    }

    pub(super) fn calls(&mut self) -> CallCounts {
        self.settle();
        self.leaving.iter().fold(self.calls, |sum, slot| sum.plus(slot.circuit.calls()))
    }

    /// Lets go of those that nobody else has.
    fn settle(&mut self) {
        let calls = &mut self.calls;
        self.leaving.retain(|slot| {
            let is_held = is_held(slot) || is_held(&slot.circuit);
            if !is_held {
                *calls = calls.plus(slot.circuit.calls());
            }
            is_held
        });
    }
}

/// Whether somebody else has it. Who has not can no longer come by it: the table, which all have them
/// from, has it no more.
fn is_held<T>(arc: &Arc<T>) -> bool {
    let is_held = Arc::strong_count(arc) > 1;
    // Acquire: partner of the Release with which an `Arc` is dropped. What was done with it before
    // that, a call counted or a clone made of what it holds, is seen after this.
    fence(Ordering::Acquire);
    is_held
}
