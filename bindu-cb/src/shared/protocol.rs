//! What the fleet agrees on: the record of a circuit at the server, and the one function that
//! changes it.
//!
//! [`apply`] is pure. The Lua script of the server is its translation, held to it by a test that
//! replays random commands on both; the model of the protocol and the in-memory server of the tests
//! run it directly.
//!
//! # Invariants
//!
//! - A record's [`Stamp`] never goes back, but for a loss of data at the server. Then whoever still
//!   knows a later one [restores](Action::Restore) it under a new epoch, which is later than any
//!   that it has seen.
//! - Every change of phase is a new stamp, and what was decided under another stamp is refused.
//! - There is at most one probe: a lease has one owner, and its outcome counts only from that owner,
//!   under the stamp that it was leased in, and before the lease ends.
//! - A command that timed out may still run. It carries a moment of the server's clock after which it
//!   is refused, and run twice in time it does no more than once.
//! - A record is forgotten only when nobody can need it any more. One that was ever set by hand never
//!   is: a replica that was away must not take the end of a forced state, long forgotten, for a loss.

use std::collections::BTreeMap;

/// Milliseconds: of the server's clock where it is a moment.
pub type Millis = u64;

/// The largest number that the server counts to exactly: its numbers are doubles.
pub const LAST: u64 = (1 << 53) - 1;

/// Which version of a circuit's record. The order is that of time.
///
/// The generation is the fleet's, and nothing to do with that of a local circuit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Minted when a record is made: of the server's clock, but later than any epoch that whoever
    /// makes it has seen. Zero: nothing is known.
    pub epoch: u64,
    pub generation: u64,
}

impl Stamp {
    pub const NONE: Self = Self { epoch: 0, generation: 0 };

    /// Of a record that takes the place of one that was lost.
    fn minted(now: Millis, after: Self) -> Self {
        Self { epoch: now.max(after.epoch.saturating_add(1)).min(LAST), generation: 1 }
    }

    fn next(self) -> Self {
        Self { generation: self.generation.saturating_add(1).min(LAST), ..self }
    }
}

/// What the fleet's circuit is. Half-open is not a phase: it is open, and somebody has the lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    #[default]
    Closed,
    Open,
    ForcedOpen,
    ForcedClosed,
}

/// Who has set a state by hand, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct By {
    pub who: String,
    pub why: String,
}

/// The right to run the fleet's one probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Of one lease: a replica that takes another one is another owner.
    pub owner: String,
    pub until: Millis,
    /// How long it was given for, counted from the end of the wait.
    pub ttl: Millis,
}

/// What is agreed on, but for its version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Content {
    pub phase: Phase,
    /// Open: when the wait is over, and how long it was.
    pub until: Millis,
    pub wait: Millis,
    pub reopens: u8,
    /// Of a state that was set by hand: forced, or closed by a reset.
    pub by: Option<By>,
}

impl Content {
    fn open(now: Millis, wait: Millis, reopens: u8) -> Self {
        Self { phase: Phase::Open, until: now.saturating_add(wait), wait, reopens, by: None }
    }
}

/// A circuit at the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    pub stamp: Stamp,
    /// Counts the changes, those of the lease and of the votes, too: which of two messages of one
    /// version is the later.
    pub revision: u64,
    pub content: Content,
    /// Open: who may probe.
    pub lease: Option<Lease>,
    /// Closed: whose circuits have opened, and until when each vote counts.
    pub votes: BTreeMap<String, Millis>,
    /// When the server forgets the record; `None` for never.
    pub expires: Option<Millis>,
}

/// Something to be done to the record of one circuit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    /// The last version that the sender knows.
    pub seen: Stamp,
    /// After this moment it is too late. Zero: never.
    pub deadline: Millis,
    /// How long the record is kept after it has come to rest, by the sender's settings.
    pub keep: Millis,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The sender's own circuit has opened, for so long. Enough votes that count at the same time
    /// open the fleet's.
    Vote { voter: String, wait: Millis, reopens: u8, quorum: u32 },
    /// Asks for the probe, at most `lead` before the wait is over.
    Lease { owner: String, ttl: Millis, lead: Millis },
    /// Nobody came to probe.
    GiveBack { owner: String },
    /// What became of the probe; if it failed, how long the next wait is.
    Outcome { owner: String, success: bool, wait: Millis },
    /// By hand: whatever was before.
    Manual { phase: Phase, by: By },
    /// The server has lost what the sender knows. `content.until` is what is left of the wait.
    Restore { content: Content },
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It is as the sender wants it, by this command or already.
    Done,
    /// It came after its deadline.
    Late,
    /// The record is of another version than the sender has seen, or the lease another one's.
    Stale,
    /// Somebody else has the lease.
    Held,
    /// The wait is not over yet.
    Early,
    /// The record was written by a later version of this crate, and is left alone.
    Schema,
}

/// Applies a command to a circuit's record; `None` if there is none. The record that is returned is
/// the same one if nothing has changed.
pub fn apply(record: Option<Record>, now: Millis, command: &Command) -> (Option<Record>, Answer) {
    let record = record.filter(|record| record.expires.is_none_or(|expires| now < expires));
    if command.deadline != 0 && now > command.deadline {
        return (record, Answer::Late);
    }
    let before = record.as_ref().map_or(0, |record| record.revision);
    let (after, answer) = change(record.clone(), now, command);
    if after == record {
        return (after, answer);
    }
    let revision = before.saturating_add(1).min(LAST);
    (after.map(|after| Record { revision, ..after }), answer)
}

fn change(record: Option<Record>, now: Millis, command: &Command) -> (Option<Record>, Answer) {
    let record = record.map(|record| record.set_right(now));
    let change = Change { now, seen: command.seen, keep: command.keep };
    // Whoever votes or decides need not find anything.
    let made = || Record::made(now, command.seen);
    let (record, answer) = match (&command.action, record) {
        (Action::Restore { content }, record) => return change.restore(record, content),
        (Action::Manual { phase, by }, record) => {
            change.manual(record.unwrap_or_else(made), *phase, by)
        }
        (Action::Vote { voter, wait, reopens, quorum }, None) => {
            change.vote(made(), voter, *wait, *reopens, *quorum)
        }
        (_, None) => return (None, Answer::Stale),
        (_, Some(record)) if record.stamp != command.seen => (record, Answer::Stale),
        (Action::Vote { voter, wait, reopens, quorum }, Some(record)) => {
            change.vote(record, voter, *wait, *reopens, *quorum)
        }
        (_, Some(record)) if record.content.phase != Phase::Open => (record, Answer::Stale),
        (Action::Lease { owner, ttl, lead }, Some(record)) => {
            change.lease(record, owner, *ttl, *lead)
        }
        (Action::GiveBack { owner }, Some(record)) => change.give_back(record, owner),
        (Action::Outcome { owner, success, wait }, Some(record)) => {
            change.outcome(record, owner, *success, *wait)
        }
    };
    (Some(record), answer)
}

/// What all commands have in common.
#[derive(Clone, Copy)]
struct Change {
    now: Millis,
    seen: Stamp,
    keep: Millis,
}

impl Change {
    fn vote(
        self,
        mut record: Record,
        voter: &str,
        wait: Millis,
        reopens: u8,
        quorum: u32,
    ) -> (Record, Answer) {
        if record.content.phase != Phase::Closed {
            return (record, Answer::Done);
        }
        let until = self.now.saturating_add(wait);
        record.votes.retain(|_, until| *until > self.now);
        record.votes.insert(voter.to_owned(), until);
        // By this voter's settings a record may be kept for less time than its vote counts.
        record.expires = record.expires.map(|expires| expires.max(until));
        if record.votes.len() >= usize::try_from(quorum).unwrap_or(usize::MAX) {
            record = record.become_next(Content::open(self.now, wait, reopens));
        }
        (self.keeping(record), Answer::Done)
    }

    fn lease(self, mut record: Record, owner: &str, ttl: Millis, lead: Millis) -> (Record, Answer) {
        let now = self.now;
        if now.saturating_add(lead) < record.content.until {
            return (record, Answer::Early);
        }
        if record.lease.as_ref().is_some_and(|held| held.until > now && held.owner != owner) {
            return (record, Answer::Held);
        }
        let until = record.content.until.max(now).saturating_add(ttl);
        record.lease = Some(Lease { owner: owner.to_owned(), until, ttl });
        (self.keeping(record), Answer::Done)
    }

    fn give_back(self, mut record: Record, owner: &str) -> (Record, Answer) {
        if record.lease.as_ref().is_none_or(|held| held.owner != owner) {
            return (record, Answer::Stale);
        }
        record.lease = None;
        (self.keeping(record), Answer::Done)
    }

    fn outcome(self, record: Record, owner: &str, success: bool, wait: Millis) -> (Record, Answer) {
        let holds =
            record.lease.as_ref().is_some_and(|held| held.owner == owner && held.until > self.now);
        if !holds {
            return (record, Answer::Stale);
        }
        let content = if success {
            Content::default()
        } else {
            Content::open(self.now, wait, record.content.reopens.saturating_add(1))
        };
        (self.keeping(record.become_next(content)), Answer::Done)
    }

    fn manual(self, record: Record, phase: Phase, by: &By) -> (Record, Answer) {
        let content = Content { phase, by: Some(by.clone()), ..Content::default() };
        if record.content == content && record.votes.is_empty() {
            // The same command again.
            return (record, Answer::Done);
        }
        (self.keeping(record.become_next(content)), Answer::Done)
    }

    fn restore(self, record: Option<Record>, content: &Content) -> (Option<Record>, Answer) {
        let is_lost = record.as_ref().is_none_or(|record| {
            record.stamp < self.seen
                || record.stamp == self.seen && record.content.phase != content.phase
        });
        if !is_lost {
            return (record, Answer::Stale);
        }
        let Content { phase, until, wait, reopens, by } = content.clone();
        let content = match phase {
            Phase::Open => {
                let until = self.now.saturating_add(until.min(wait));
                Content { phase, until, wait, reopens, by }
            }
            Phase::Closed | Phase::ForcedOpen | Phase::ForcedClosed => {
                Content { phase, by, ..Content::default() }
            }
        };
        let restored = Record {
            stamp: Stamp::minted(self.now, self.seen),
            content,
            expires: record.map_or(Some(self.now), |record| record.expires),
            ..Record::default()
        };
        (Some(self.keeping(restored)), Answer::Done)
    }

    /// With the moment at which it is forgotten.
    fn keeping(self, record: Record) -> Record {
        let lease_end = record.lease.as_ref().map_or(0, |lease| lease.until);
        let rests_at = match record.content.phase {
            Phase::Open => Some(self.now.max(record.content.until).max(lease_end)),
            Phase::Closed => Some(self.now),
            Phase::ForcedOpen | Phase::ForcedClosed => None,
        };
        // Never sooner than was said before: others have settings of their own, and votes that count.
        let expires = match (record.expires, rests_at) {
            (Some(before), Some(rests_at)) if record.content.by.is_none() => {
                Some(before.max(rests_at.saturating_add(self.keep)))
            }
            _ => None,
        };
        Record { expires, ..record }
    }
}

impl Record {
    /// Of a circuit that the server does not know: closed, and of a version before the first.
    fn made(now: Millis, seen: Stamp) -> Self {
        let stamp = Stamp { generation: 0, ..Stamp::minted(now, seen) };
        Self { stamp, expires: Some(now), ..Self::default() }
    }

    /// The next version, with this content: no lease and no vote of the last one counts in it.
    fn become_next(self, content: Content) -> Self {
        Self { stamp: self.stamp.next(), content, expires: self.expires, ..Self::default() }
    }

    /// A server's clock that was set back would make waits and leases longer than they are. (One that
    /// was set forward ends them early, and there is a probe too many.)
    pub(super) fn set_right(mut self, now: Millis) -> Self {
        if self.content.phase == Phase::Open {
            self.content.until = self.content.until.min(now.saturating_add(self.content.wait));
        }
        if let Some(lease) = &mut self.lease {
            let latest = self.content.until.max(now).saturating_add(lease.ttl);
            lease.until = lease.until.min(latest);
        }
        self
    }
}

#[cfg(test)]
mod tests;
