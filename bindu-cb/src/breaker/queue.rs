//! Events on their way to the listeners, in the order of the changes.

use std::collections::VecDeque;

use crate::event::Event;

/// Filled under the circuit's lock and emptied outside it, by one thread at a time: so listeners
/// hear the changes in order, and one that changes the circuit again is not called inside itself.
///
/// There is one only while events are on their way: a circuit at rest has a pointer for it.
#[derive(Default)]
pub(super) struct EventQueue(Option<Box<Queue>>);

#[derive(Default)]
struct Queue {
    pending: VecDeque<Event>,
    delivering: bool,
}

impl EventQueue {
    pub(super) fn push(&mut self, event: Event) {
        self.0.get_or_insert_default().pending.push_back(event);
    }

    /// The next event for a thread that wants to begin delivering; `None` if another one is at it
    /// and will deliver this one, too.
    pub(super) fn begin(&mut self) -> Option<Event> {
        if self.0.as_ref().is_some_and(|queue| queue.delivering) {
            return None;
        }
        self.go_on()
    }

    /// The next event for the thread that is delivering; with `None` it has stopped.
    pub(super) fn go_on(&mut self) -> Option<Event> {
        let queue = self.0.as_mut()?;
        let event = queue.pending.pop_front();
        queue.delivering = event.is_some();
        if event.is_none() {
            self.0 = None;
        }
        event
    }
}
