//! What a replica wants of the server, by what it knows, and when it may next want something.

use super::{At, Known, LEAD, MARGIN, Probe, Replica, Stage, Standing, Terms, UNCLAIMED};
use crate::breaker::CircuitState;
use crate::shared::protocol::{Action, Content, Phase, Stamp};

impl Replica {
    /// The next command to send; the answer to the one before has come, or is given up.
    pub fn next(&mut self, standing: Standing, terms: Terms, now: At) -> Option<Action> {
        if self.is_unreadable {
            return None;
        }
        if self.has_lost {
            return Some(self.restore(now));
        }
        self.report(now)
            .or_else(|| self.vote(terms, now))
            .or_else(|| self.lease(standing, terms, now))
    }

    /// What the server is still to be told at the end, with the command that is on its way: of a lease
    /// that nobody will use any more.
    pub fn last_word(&self, asking: Option<&Action>, now: At) -> Option<Action> {
        let asked_for = match asking {
            Some(Action::Lease { owner, .. }) => Some(owner.clone()),
            _ => None,
        };
        self.report(now).or_else(|| {
            let held = self.probe.as_ref().and_then(|probe| probe.lease.as_ref());
            let owner = held.map(|(owner, _)| owner.clone()).or(asked_for)?;
            Some(Action::GiveBack { owner })
        })
    }

    fn restore(&self, now: At) -> Action {
        let Known { phase, until, wait, reopens, by, .. } = self.known.clone();
        if phase == Phase::Open && until <= now {
            // It is true no longer, but the server must come to a version that nobody is ahead of.
            return Action::Restore { content: Content::default() };
        }
        let until = until.saturating_sub(now);
        Action::Restore { content: Content { phase, until, wait, reopens, by } }
    }

    fn report(&self, now: At) -> Option<Action> {
        let ours = self.probe.as_ref().and_then(|probe| probe.lease.as_ref());
        if let Some((owner, until)) = &self.known.lease
            && self.is_mine(owner)
            && *until > now
            && ours.is_none_or(|(ours, _)| ours != owner)
        {
            // Asked for, and given up before it was known to be had.
            return Some(Action::GiveBack { owner: owner.clone() });
        }
        let owner = ours?.0.clone();
        let probe = self.probe.as_ref().filter(|probe| probe.to_be_extended(now).is_none())?;
        match probe.stage {
            Stage::Ended { success, wait } => Some(Action::Outcome { owner, success, wait }),
            Stage::Withdrawn => Some(Action::GiveBack { owner }),
            Stage::Wanted | Stage::Offered { .. } | Stage::Running { .. } => None,
        }
    }

    fn vote(&mut self, terms: Terms, now: At) -> Option<Action> {
        let trip = self.trip.as_mut()?;
        let wait = trip.until.saturating_sub(now);
        if wait == 0 {
            // Over, without the fleet.
            self.trip = None;
            return None;
        }
        if trip.voted == Some(self.seen) && self.seen != Stamp::NONE {
            return None;
        }
        trip.is_sent = true;
        let (voter, reopens) = (self.me.clone(), trip.reopens);
        Some(Action::Vote { voter, wait, reopens, quorum: terms.quorum })
    }

    fn lease(&mut self, standing: Standing, terms: Terms, now: At) -> Option<Action> {
        let ttl = terms.probe.saturating_add(MARGIN);
        if let Some(probe) = &mut self.probe
            && let Some(owner) = probe.to_be_extended(now).map(str::to_owned)
        {
            probe.is_extended = true;
            return Some(Action::Lease { owner, ttl, lead: LEAD });
        }
        if matches!(&self.probe, Some(Probe { lease: None, stage: Stage::Withdrawn, .. })) {
            // Nobody came: the next probe is for a call that is yet to be turned away.
            self.probe = None;
            self.turned_away = standing.rejected;
        }
        let is_free = self.known.lease.as_ref().is_none_or(|(_, until)| *until <= now);
        let is_due =
            self.known.phase == Phase::Open && now.saturating_add(LEAD) >= self.known.until;
        if !is_due || !is_free {
            return None;
        }
        let ttl = match &mut self.probe {
            None => {
                let is_asked_for =
                    standing.state == CircuitState::Open && standing.rejected > self.turned_away;
                if !is_asked_for {
                    return None;
                }
                self.probe = Some(Probe::new(Stage::Wanted));
                UNCLAIMED + MARGIN
            }
            Some(Probe { lease: None, is_extended, stage }) => {
                match stage {
                    Stage::Running { has_asked } if !*has_asked => *has_asked = true,
                    Stage::Ended { success: true, .. } => {}
                    _ => return None,
                }
                *is_extended = true;
                ttl
            }
            Some(_) => return None,
        };
        self.leases = self.leases.wrapping_add(1);
        let owner = format!("{}#{}", self.me, self.leases);
        Some(Action::Lease { owner, ttl, lead: LEAD })
    }

    /// The next moment at which [`is_unclaimed`](Self::is_unclaimed) or [`next`](Self::next) may have
    /// something new to say though nothing has happened.
    pub fn wake_at(&self, now: At) -> Option<At> {
        let offered = match &self.probe {
            Some(Probe { stage: Stage::Offered { since }, .. }) => {
                Some(since.saturating_add(UNCLAIMED))
            }
            _ => None,
        };
        let own_lease = self.probe.as_ref().and_then(|probe| probe.lease.as_ref());
        let their_lease = self.known.lease.as_ref();
        let due = (self.known.phase == Phase::Open)
            .then(|| self.known.until.saturating_sub(LEAD))
            .filter(|_| their_lease.is_none());
        [offered, own_lease.map(|(_, until)| *until), their_lease.map(|(_, until)| *until), due]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min()
    }
}
