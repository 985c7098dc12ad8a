//! Events on their way to the listeners, in the order of the changes.

use std::collections::VecDeque;

use crate::event::Event;

/// Filled under the circuit's lock and emptied outside it, by one thread at a time: so listeners
/// hear the changes in order, and one that changes the circuit again is not called inside itself.
#[derive(Default)]
pub(super) struct EventQueue {
    pending: VecDeque<Event>,
    delivering: bool,
}

impl EventQueue {
    pub(super) fn push(&mut self, event: Event) {
        self.pending.push_back(event);
    }

    /// The next event for a thread that wants to begin delivering; `None` if another one is at it
    /// and will deliver this one, too.
    pub(super) fn begin(&mut self) -> Option<Event> {
        if self.delivering {
            return None;
        }
        self.go_on()
    }

    /// The next event for the thread that is delivering; with `None` it has stopped.
    pub(super) fn go_on(&mut self) -> Option<Event> {
        let event = self.pending.pop_front();
        self.delivering = event.is_some();
        event
    }
}
