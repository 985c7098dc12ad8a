//! What a supervisor says of itself: in the log, at most once a second each, and in its status.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::hub::Hub;
use super::server::ServerError;

const BETWEEN: Duration = Duration::from_secs(1);

pub(super) struct Report {
    hub: Arc<Hub>,
    is_connected: bool,
    /// What the log says last: that there is a connection, or of which kind the error is. What may not
    /// be said yet is said later, if it is still so.
    told: Told,
    /// Of each kind of line, when the last one was written.
    said: [Option<Instant>; 4],
    /// Commands that have failed since that was last said.
    unsaid: u64,
}

#[derive(PartialEq)]
enum Told {
    Nothing,
    Connected,
    Failed(Discriminant<ServerError>),
}

#[derive(Clone, Copy)]
enum Line {
    Connected,
    Disconnected,
    Failed,
    Unreadable,
}

impl Report {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, is_connected: false, told: Told::Nothing, said: [None; 4], unsaid: 0 }
    }

    fn may_say(&mut self, line: Line) -> bool {
        let said = &mut self.said[line as usize];
        let may = said.is_none_or(|at| at.elapsed() >= BETWEEN);
        if may {
            *said = Some(Instant::now());
        }
        may
    }

    fn count(&mut self, connected: bool, failed: bool) {
        self.is_connected = connected;
        // Relaxed: figures for whoever looks.
        self.hub.status.connected.store(connected, Ordering::Relaxed);
        if failed {
            self.hub.status.errors.fetch_add(1, Ordering::Relaxed);
            #[cfg(feature = "otel")]
            self.hub.count_error();
        }
    }

    /// Whether this is to be told now: it is no longer what the log says.
    fn turns(&mut self, to: Told, line: Line) -> bool {
        let turns = self.told != to && self.may_say(line);
        if turns {
            self.told = to;
        }
        turns
    }

    pub(super) fn connected(&mut self) {
        self.count(true, false);
        if self.turns(Told::Connected, Line::Connected) {
            tracing::info!("shared circuits: connected");
        }
    }

    pub(super) fn disconnected(&mut self, error: &ServerError) {
        self.count(false, true);
        if self.turns(Told::Failed(discriminant(error)), Line::Disconnected) {
            tracing::warn!(
                %error,
                "shared circuits: no connection; each replica goes by its own circuits meanwhile"
            );
        }
    }

    pub(super) fn failed(&mut self, error: &ServerError) {
        self.count(self.is_connected, true);
        if self.may_say(Line::Failed) {
            let unsaid = std::mem::take(&mut self.unsaid);
            tracing::warn!(%error, unsaid, "shared circuits: a command failed");
        } else {
            self.unsaid += 1;
        }
    }

    pub(super) fn unreadable(&mut self, operation: &str) {
        if self.may_say(Line::Unreadable) {
            tracing::warn!(
                operation,
                "shared circuits: the record is of a later version of bindu-cb; this process goes \
                 by its own circuit"
            );
        }
    }
}
