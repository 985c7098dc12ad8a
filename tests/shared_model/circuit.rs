//! A process's own circuit, as far as the fleet can tell: it trips, waits, probes, and obeys.

use bindu_cb::__shared::protocol::{Millis, Phase};
use bindu_cb::__shared::replica::{At, Change, Feed, Standing};
use bindu_cb::{Cause, CircuitState};

/// How long an opening of one's own is.
pub const WAIT: Millis = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Circuit {
    pub state: CircuitState,
    pub until: At,
    pub held_until: At,
    pub rejected: u64,
    /// It has opened by itself, and nobody has told it anything since.
    pub is_own_trip: bool,
}

impl Circuit {
    pub fn new() -> Self {
        Self {
            state: CircuitState::Closed,
            until: 0,
            held_until: 0,
            rejected: 0,
            is_own_trip: false,
        }
    }

    pub fn standing(&self, now: At) -> Standing {
        Standing {
            state: self.state,
            left: self.until.saturating_sub(now),
            wait: WAIT,
            reopens: 0,
            rejected: self.rejected,
        }
    }

    pub fn go(&mut self, to: CircuitState, cause: Cause, now: At) -> Change {
        let change = Change { from: self.state, to, cause, wait: WAIT, reopens: 0 };
        self.state = to;
        self.held_until = 0;
        self.is_own_trip = to == CircuitState::Open && cause != Cause::Remote;
        self.until = if to == CircuitState::Open { now + WAIT } else { 0 };
        change
    }

    pub fn turns_away(&self, now: At) -> bool {
        self.state == CircuitState::Open && now < self.until.max(self.held_until)
    }

    /// What has changed of it, if anything has.
    pub fn obey(&mut self, feed: &Feed, now: At) -> Option<Change> {
        match feed {
            Feed::Open { left, .. } => {
                let change = self.go(CircuitState::Open, Cause::Remote, now);
                self.until = now + left;
                Some(change)
            }
            Feed::Close => Some(self.go(CircuitState::Closed, Cause::Remote, now)),
            Feed::Force { phase, .. } => {
                let to = match phase {
                    Phase::ForcedOpen => CircuitState::ForcedOpen,
                    Phase::ForcedClosed => CircuitState::ForcedClosed,
                    Phase::Closed | Phase::Open => CircuitState::Closed,
                };
                Some(self.go(to, Cause::Remote, now))
            }
            Feed::Hold { until } => {
                if self.state == CircuitState::Open {
                    self.held_until = *until;
                }
                None
            }
            Feed::Release => {
                self.held_until = 0;
                None
            }
        }
    }
}
