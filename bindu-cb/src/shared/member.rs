//! One circuit of this process, with what it knows of the fleet's.

use std::sync::Arc;
use std::time::Duration;

use super::codec::Mark;
use super::millis;
use super::protocol::{Action, Answer, By, Phase, Stamp};
#[cfg(feature = "otel")]
use super::replica::FleetState;
use super::replica::{At, Change, Feed, News, Replica, Source, Standing, Terms};
use crate::breaker::{CircuitBreaker, Force, RemoteOpening, Wanted};

pub(super) struct Member {
    circuit: Arc<CircuitBreaker>,
    quorum: u32,
    replica: Replica,
    /// The command that is on its way: one at a time, so that answers come in order.
    pub(super) asking: Option<Action>,
    /// No command before this moment.
    paused_until: At,
    pub(super) wakes_at: Option<At>,
    /// The last change that has been heard of itself.
    pub(super) mark: Option<Mark>,
}

impl Member {
    pub(super) fn new(circuit: Arc<CircuitBreaker>, me: &str, quorum: u32, now: At) -> Self {
        let replica = Replica::new(me, standing(&circuit), now);
        Self { circuit, quorum, replica, asking: None, paused_until: 0, wakes_at: None, mark: None }
    }

    pub(super) fn is_of(&self, circuit: &Arc<CircuitBreaker>) -> bool {
        Arc::ptr_eq(&self.circuit, circuit)
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.replica.stamp()
    }

    /// By the settings that are in force.
    pub(super) fn terms(&self) -> Terms {
        let standing = self.circuit.standing();
        Terms {
            quorum: self.quorum,
            probe: millis(standing.probe_timeout),
            longest: millis(standing.max_recovery_timeout),
        }
    }

    pub(super) fn changed(&mut self, change: Change, now: At) {
        let reopens = standing(&self.circuit).reopens;
        self.replica.changed(Change { reopens, ..change }, now);
    }

    pub(super) fn learn(&mut self, news: Option<&News>, source: Source, now: At) {
        let terms = self.terms();
        let feeds = self.replica.learn(news, source, standing(&self.circuit), terms, now);
        self.feed(feeds, now);
    }

    pub(super) fn answered(&mut self, action: &Action, answer: Answer, now: At) {
        let feeds = self.replica.answered(action, answer, standing(&self.circuit), now);
        self.feed(feeds, now);
    }

    #[cfg(feature = "otel")]
    pub(super) fn fleet(&self) -> FleetState {
        self.replica.fleet()
    }

    pub(super) fn server_has_lost(&mut self) {
        self.replica.server_has_lost();
    }

    pub(super) fn unanswered(&mut self, action: &Action) {
        self.replica.unanswered(action);
    }

    pub(super) fn pause(&mut self, until: At) {
        self.paused_until = until;
    }

    pub(super) fn keep_time(&mut self, now: At) {
        if self.replica.is_unclaimed(now) {
            let nobody_came = self.hold(self.replica.held_until(), now);
            self.replica.withdrawn(nobody_came, now);
        }
    }

    /// The command to be sent now.
    pub(super) fn next(&mut self, now: At) -> Option<Action> {
        if self.asking.is_some() || self.paused_until > now {
            return None;
        }
        let action = self.replica.next(standing(&self.circuit), self.terms(), now)?;
        self.asking = Some(action.clone());
        Some(action)
    }

    /// The command to be sent when there will be no other.
    pub(super) fn last_word(&self, now: At) -> Option<Action> {
        self.replica.last_word(self.asking.as_ref(), now)
    }

    pub(super) fn wake_at(&self, now: At) -> Option<At> {
        let paused = (self.paused_until > now).then_some(self.paused_until);
        [paused, self.replica.wake_at(now)].into_iter().flatten().min()
    }

    fn feed(&self, feeds: Vec<Feed>, now: At) {
        let hold = feeds.iter().find_map(|feed| match feed {
            Feed::Hold { until } => Some(Duration::from_millis(until.saturating_sub(now))),
            _ => None,
        });
        for feed in feeds {
            match feed {
                Feed::Open { left, wait, reopens } => {
                    self.circuit.remote_open(RemoteOpening {
                        left: Duration::from_millis(left),
                        wait: Duration::from_millis(wait),
                        reopens,
                        text: None,
                        // At once: of a wait that is over a call would be the probe before that.
                        hold,
                    });
                }
                Feed::Close => {
                    self.circuit.remote_close();
                }
                Feed::Force { phase, by } => self.force(phase, &by),
                Feed::Hold { until } => {
                    self.hold(until, now);
                }
                Feed::Release => {
                    self.circuit.release(self.circuit.standing().generation);
                }
            }
        }
    }

    fn force(&self, phase: Phase, By { who, why }: &By) {
        let (force, to) = match phase {
            Phase::ForcedOpen => (Force::Open, "forced_open"),
            Phase::ForcedClosed => (Force::Closed, "forced_closed"),
            Phase::Closed | Phase::Open => (Force::Reset, "closed"),
        };
        let operation = self.circuit.name();
        tracing::warn!(operation, to, who, why, "circuit breaker set by hand, for all replicas");
        self.circuit.remote_force(force);
    }

    fn hold(&self, until: At, now: At) -> bool {
        let generation = self.circuit.standing().generation;
        self.circuit.hold(generation, Duration::from_millis(until.saturating_sub(now)))
    }

    /// From now on it is this process's alone.
    pub(super) fn leave(&self, wanted: &Arc<dyn Wanted>) {
        self.circuit.unlead(wanted);
    }
}

fn standing(circuit: &CircuitBreaker) -> Standing {
    let standing = circuit.standing();
    Standing {
        state: standing.state,
        left: millis(standing.left),
        wait: millis(standing.wait),
        reopens: standing.reopens,
        rejected: standing.rejected,
    }
}
