//! What one process knows of one circuit of the fleet, what it wants of the server, and what it
//! feeds its own circuit.
//!
//! Pure, and driven by levels: what is wanted follows from what is known, so a command that was lost
//! is wanted again. Moments are milliseconds of a clock of the process's own, which never goes back;
//! the server's moments arrive as what is left of them.
//!
//! # Rules
//!
//! - What is known is never replaced by something older. An answer that is older says that the server
//!   has lost data: what is known is [restored](Action::Restore).
//! - Under a new epoch, what was set by hand outlives what was not, and an open circuit a closed one,
//!   for as long as it is true.
//! - A circuit of one's own that has opened by itself is open whatever the server says, and votes until
//!   the server has taken the vote in the version that it is in.
//! - A record that this version cannot read is left alone: `next` is silent until there is one again
//!   that it can.
//! - A lease that is only offered is short, since its owner may be gone by then. The call that claims it
//!   has it extended to the time of a probe.
//! - Nobody probes without a lease for as long as a lease, or the lack of one, is not [`GRACE`] over.

mod learn;
mod want;

#[cfg(any(test, feature = "test-util"))]
use super::protocol::Record;
use super::protocol::{Action, Answer, By, Millis, Phase, Stamp};
use crate::breaker::CircuitState;
use crate::event::Cause;

/// A moment of the process's own clock.
pub type At = u64;

/// A lease is asked for so long before the wait is over.
pub const LEAD: Millis = 100;
/// A lease that no call has claimed is given back after so long.
pub const UNCLAIMED: Millis = 1_000;
/// A lease ends so long after what it is for: for what it takes to be told of that.
pub const MARGIN: Millis = 1_000;
/// So long after the end of the last lease, or of the wait if there was none, a circuit goes half-open
/// by itself: whoever has the lease may be gone.
pub const GRACE: Millis = 2_000;

/// Of a process; a lease adds its number to it.
const LONGEST_NAME: usize = 180;

/// A record as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct News {
    pub stamp: Stamp,
    pub revision: u64,
    pub phase: Phase,
    /// Of the wait.
    pub left: Millis,
    pub wait: Millis,
    pub reopens: u8,
    pub by: Option<By>,
    /// Whose the lease is, and what is left of it.
    pub lease: Option<(String, Millis)>,
}

#[cfg(any(test, feature = "test-util"))]
impl News {
    pub fn of(record: &Record, now: Millis) -> Self {
        let Record { stamp, revision, content, lease, .. } = &record.clone().set_right(now);
        let left = |until: Millis| until.saturating_sub(now);
        Self {
            stamp: *stamp,
            revision: *revision,
            phase: content.phase,
            left: left(content.until),
            wait: content.wait,
            reopens: content.reopens,
            by: content.by.clone(),
            lease: lease.as_ref().map(|lease| (lease.owner.clone(), left(lease.until))),
        }
    }
}

/// How the news came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Pushed to everybody: may be late, lost, or told twice.
    Push,
    /// An answer to a question of one's own: what it says is what the server has.
    Answer,
}

/// What a process's own circuit is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub state: CircuitState,
    /// Of its wait.
    pub left: Millis,
    pub wait: Millis,
    pub reopens: u8,
    /// Calls that it has turned away, ever.
    pub rejected: u64,
}

/// A change of a process's own circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub from: CircuitState,
    pub to: CircuitState,
    pub cause: Cause,
    /// If it has opened.
    pub wait: Millis,
    pub reopens: u8,
}

/// The figures of a circuit that matter to the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Replicas whose circuits have opened that open everybody's.
    pub quorum: u32,
    /// How long a probe may take.
    pub probe: Millis,
    /// No wait is longer.
    pub longest: Millis,
}

impl Terms {
    /// How long a record is kept that is at rest.
    pub fn keep(&self) -> Millis {
        self.longest.saturating_mul(2).saturating_add(self.probe)
    }
}

/// To be done to the process's own circuit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Feed {
    /// Open for so long.
    Open {
        left: Millis,
        wait: Millis,
        reopens: u8,
    },
    Close,
    /// A state that was set by hand, `Closed` among them.
    Force {
        phase: Phase,
        by: By,
    },
    /// Open, it stays so until then, though its wait be over.
    Hold {
        until: At,
    },
    /// The next call after the wait is the probe: there is no hold any more.
    Release,
}

/// What is known of the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Known {
    /// Under which this was so.
    stamp: Stamp,
    revision: u64,
    phase: Phase,
    until: At,
    wait: Millis,
    reopens: u8,
    by: Option<By>,
    lease: Option<(String, At)>,
}

impl Known {
    fn of(news: &News, terms: Terms, now: At) -> Self {
        let lease = |(owner, left): &(String, Millis)| {
            (owner.clone(), now.saturating_add((*left).min(terms.keep())))
        };
        Self {
            stamp: news.stamp,
            revision: news.revision,
            phase: news.phase,
            until: now.saturating_add(news.left.min(terms.longest)),
            wait: news.wait.min(terms.longest),
            reopens: news.reopens,
            by: news.by.clone(),
            lease: news.lease.as_ref().map(lease),
        }
    }
}

/// What the fleet's circuit is, as far as is known.
#[cfg(feature = "otel")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetState {
    pub phase: Phase,
    /// When the wait is over.
    pub until: At,
    /// When the lease ends, if there is one.
    pub leased_until: At,
}

/// An opening of the process's own circuit that the fleet has not taken over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Trip {
    until: At,
    reopens: u8,
    /// Whether it was this trip that was voted for last.
    is_sent: bool,
    /// The version in which the server has taken the vote.
    voted: Option<Stamp>,
}

impl Trip {
    fn new(now: At, wait: Millis, reopens: u8) -> Self {
        Self { until: now.saturating_add(wait), reopens, is_sent: false, voted: None }
    }
}

/// The fleet's one probe, which this process runs, or would like to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Probe {
    /// None: not yet.
    lease: Option<(String, At)>,
    /// The lease is, or will be by the command that is on its way, for the time of a probe, and not for
    /// that of an offer.
    is_extended: bool,
    stage: Stage,
}

impl Probe {
    fn new(stage: Stage) -> Self {
        Self { lease: None, is_extended: false, stage }
    }

    /// Whose lease is to be extended: a call has claimed what was only offered. Once it is over that is
    /// for its outcome to count.
    fn to_be_extended(&self, now: At) -> Option<&str> {
        let (owner, until) = self.lease.as_ref().filter(|_| !self.is_extended)?;
        match self.stage {
            Stage::Running { .. } => Some(owner),
            Stage::Ended { .. } if *until <= now => Some(owner),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// To be offered to the next call once there is a lease.
    Wanted,
    /// The next call has it; since then, or since the end of the wait.
    Offered {
        since: At,
    },
    /// To be given back: nobody came.
    Withdrawn,
    /// A call has it, or has gone ahead without a lease: then one is asked for, once. A call that
    /// never ends must not keep the probe from everybody else.
    Running {
        has_asked: bool,
    },
    Ended {
        success: bool,
        wait: Millis,
    },
}

/// One circuit of the fleet, as one process sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    /// Whose it is: of one process, and of one life of it.
    me: String,
    known: Known,
    /// The latest version that was heard of. Later than that of what is known while the server is to
    /// be told what it has lost.
    seen: Stamp,
    /// The version in the last answer: a push may have come since.
    told: Stamp,
    /// The server may know less, by its last answer: it is to be told.
    has_lost: bool,
    /// The server's record is of a later version of this crate.
    is_unreadable: bool,
    trip: Option<Trip>,
    probe: Option<Probe>,
    /// Calls turned away that have had their chance to probe.
    turned_away: u64,
    /// Leases that were asked for.
    leases: u32,
}

impl Replica {
    /// Of a circuit that may have opened before the fleet was asked.
    pub fn new(me: &str, standing: Standing, now: At) -> Self {
        let is_open = standing.state == CircuitState::Open && standing.left > 0;
        Self {
            // The name of a lease is longer, and must not be cut.
            me: me.chars().take(LONGEST_NAME).collect(),
            known: Known::default(),
            seen: Stamp::NONE,
            told: Stamp::NONE,
            has_lost: false,
            is_unreadable: false,
            trip: is_open.then(|| Trip::new(now, standing.left, standing.reopens)),
            probe: None,
            turned_away: standing.rejected,
            leases: 0,
        }
    }

    /// The circuit has changed. Also told of the changes that were fed to it.
    pub fn changed(&mut self, change: Change, now: At) {
        let Change { from, to, cause, wait, reopens } = change;
        let fleet_is_open = self.known.phase == Phase::Open;
        match (cause, to) {
            (Cause::Remote, _) => {}
            (Cause::Manual, _) => {
                self.trip = None;
                self.withdraw();
            }
            (_, CircuitState::Open) if from == CircuitState::HalfOpen && fleet_is_open => {
                self.probe_failed(wait);
            }
            (_, CircuitState::Open) => {
                self.withdraw();
                self.trip = Some(Trip::new(now, wait, reopens));
            }
            (_, CircuitState::HalfOpen) if fleet_is_open => {
                let stage = Stage::Running { has_asked: false };
                self.probe.get_or_insert(Probe::new(stage)).stage = stage;
            }
            (_, CircuitState::Closed) => {
                self.trip = None;
                if fleet_is_open {
                    // Whoever has closed it: the fleet is to hear of it.
                    let stage = Stage::Ended { success: true, wait: 0 };
                    self.probe.get_or_insert(Probe::new(stage)).stage = stage;
                }
            }
            _ => {}
        }
    }

    fn probe_failed(&mut self, wait: Millis) {
        match &mut self.probe {
            Some(probe) if probe.lease.is_some() => {
                probe.stage = Stage::Ended { success: false, wait };
            }
            // A failure that nobody has leased is nobody's business: the fleet's circuit is open.
            _ => self.probe = None,
        }
    }

    fn withdraw(&mut self) {
        match &mut self.probe {
            Some(probe) if probe.lease.is_some() => probe.stage = Stage::Withdrawn,
            _ => self.probe = None,
        }
    }

    /// An answer to a command of this replica, whose news it has learnt before.
    pub fn answered(
        &mut self,
        action: &Action,
        answer: Answer,
        standing: Standing,
        now: At,
    ) -> Vec<Feed> {
        match (answer, action) {
            (Answer::Late, _) => self.unanswered(action),
            (Answer::Schema, _) => {
                self.unanswered(action);
                self.is_unreadable = true;
            }
            (Answer::Done, Action::Vote { .. }) => {
                if let Some(trip) = &mut self.trip
                    && trip.is_sent
                {
                    trip.voted = Some(self.told);
                }
            }
            (_, Action::Lease { owner, .. }) => return self.leased(owner, answer, standing, now),
            (_, Action::GiveBack { owner } | Action::Outcome { owner, .. }) => {
                self.let_go(owner);
            }
            (_, Action::Vote { .. } | Action::Restore { .. } | Action::Manual { .. }) => {}
        }
        Vec::new()
    }

    /// The lease is over. What was reported in vain is to be reported under another one.
    fn let_go(&mut self, owner: &str) {
        let Some(probe) = &mut self.probe else { return };
        if probe.lease.as_ref().is_none_or(|(ours, _)| ours != owner) {
            return;
        }
        probe.lease = None;
        if matches!(probe.stage, Stage::Ended { success: false, .. }) {
            self.probe = None;
        }
    }

    /// A command whose answer has not come in time. It may have been done, or may still be.
    pub fn unanswered(&mut self, action: &Action) {
        let (Action::Lease { .. }, Some(probe)) = (action, &mut self.probe) else { return };
        if probe.stage == Stage::Wanted {
            self.probe = None;
        } else {
            probe.is_extended = false;
        }
    }

    fn leased(&mut self, owner: &str, answer: Answer, standing: Standing, now: At) -> Vec<Feed> {
        let lease = self.known.lease.clone().filter(|(holder, _)| holder == owner);
        let Some(probe) = &mut self.probe else { return Vec::new() };
        match (answer, lease, probe.stage) {
            (Answer::Done, Some(lease), stage) => {
                probe.lease = Some(lease);
                if stage != Stage::Wanted {
                    return Vec::new();
                }
                if standing.state != CircuitState::Open {
                    probe.stage = Stage::Withdrawn;
                    return Vec::new();
                }
                probe.stage = Stage::Offered { since: now.max(self.known.until) };
                vec![Feed::Release]
            }
            (_, _, Stage::Wanted) => {
                self.probe = None;
                Vec::new()
            }
            // It was to be extended, and could not be.
            (_, Some(lease), _) => {
                probe.lease = Some(lease);
                Vec::new()
            }
            (_, None, _) => {
                self.let_go(owner);
                Vec::new()
            }
        }
    }

    /// Time has passed. True if what was offered is to be withdrawn: hold the circuit again, and say
    /// by [`withdrawn`](Self::withdrawn) whether no call had come first.
    pub fn is_unclaimed(&mut self, now: At) -> bool {
        let Some(probe) = &mut self.probe else { return false };
        if probe.lease.as_ref().is_some_and(|(_, until)| *until <= now)
            && probe.to_be_extended(now).is_none()
        {
            // Too late to be believed. A probe under way asks for another lease.
            probe.lease = None;
        }
        match &self.probe {
            Some(Probe { stage: Stage::Offered { since }, .. }) => {
                now >= since.saturating_add(UNCLAIMED)
            }
            _ => false,
        }
    }

    /// Until when the circuit is to be held again.
    pub fn held_until(&self) -> At {
        let lease_end = self.known.lease.as_ref().map_or(0, |(_, until)| *until);
        self.known.until.max(lease_end).saturating_add(GRACE)
    }

    pub fn withdrawn(&mut self, nobody_came: bool, now: At) {
        let Some(probe) = &mut self.probe else { return };
        if !nobody_came {
            // The call that came tells of itself.
            probe.stage = Stage::Offered { since: now };
        } else if probe.lease.is_some() {
            probe.stage = Stage::Withdrawn;
        } else {
            self.probe = None;
        }
    }

    fn is_mine(&self, owner: &str) -> bool {
        owner.strip_prefix(self.me.as_str()).is_some_and(|rest| rest.starts_with('#'))
    }

    /// The last version that was heard of: goes with every command.
    pub fn stamp(&self) -> Stamp {
        self.seen
    }

    #[cfg(feature = "otel")]
    pub fn fleet(&self) -> FleetState {
        let Known { phase, until, lease, .. } = &self.known;
        let leased_until = lease.as_ref().map_or(0, |(_, until)| *until);
        FleetState { phase: *phase, until: *until, leased_until }
    }

    #[cfg(any(test, feature = "test-util"))]
    pub fn phase(&self) -> Phase {
        self.known.phase
    }

    /// Whether a vote is this process's, in this life of it.
    #[cfg(feature = "test-util")]
    pub fn is_me(&self, voter: &str) -> bool {
        self.me == voter
    }
}

#[cfg(test)]
mod tests;
