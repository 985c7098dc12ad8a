//! What a supervisor knows that somebody may want to measure.

use std::sync::Arc;
use std::time::Duration;

use super::{Link, Supervisor, Up};
use crate::shared::codec::Mark;
use crate::shared::replica::Source;
use crate::shared::server::Connector;

impl<C: Connector> Supervisor<C> {
    /// What the fleet's circuit is from now on.
    pub(super) fn note_fleet(&self, operation: &Arc<str>) {
        if let Some(member) = self.members.get(operation) {
            self.hub.fleet.note(operation, member.fleet(), self.born);
        }
    }

    /// Of a change that has not been heard of before, how long ago it was. Not of one that was made
    /// before this connection, or this circuit: that is no delay.
    pub(super) fn measure_delay(&self, operation: &Arc<str>, mark: Mark, source: Source) {
        if let (Link::Up(Up { is_ready: true, .. }), Some(member)) =
            (&self.link, self.members.get(operation))
            && Some(mark) > member.mark
            && (source == Source::Push || member.mark.is_some())
        {
            let delay = i128::from(self.now()) + self.ahead - i128::from(mark.time);
            // By two clocks: what was a moment ago may seem to be yet to come.
            let delay = Duration::from_millis(u64::try_from(delay).unwrap_or(0));
            self.hub.tell(|watcher| watcher.propagation(operation, delay));
        }
    }
}
