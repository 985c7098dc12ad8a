//! What a replica makes of what the server says: what it takes for known, what it takes for lost, and
//! what it feeds its own circuit.

use super::{At, Feed, Known, News, Probe, Replica, Source, Stage, Standing, Terms, Trip};
use crate::breaker::CircuitState;
use crate::shared::protocol::{By, Phase, Stamp};

/// What is lost for what, where two histories contradict each other.
fn weight(phase: Phase, by: Option<&By>) -> u8 {
    match (phase, by) {
        (Phase::Closed, None) => 0,
        (Phase::Open, _) => 1,
        (Phase::Closed, Some(_)) | (Phase::ForcedOpen | Phase::ForcedClosed, _) => 2,
    }
}

impl Replica {
    /// Something has come from the server; `None` if it has no record of this circuit. Not for a
    /// record that cannot be read, nor for an answer that had been given up.
    pub fn learn(
        &mut self,
        news: Option<&News>,
        source: Source,
        standing: Standing,
        terms: Terms,
        now: At,
    ) -> Vec<Feed> {
        let is_answer = source == Source::Answer;
        let Some(news) = news else {
            if is_answer {
                self.learn_of_nothing(standing, now);
            }
            return Vec::new();
        };
        self.is_unreadable = false;
        if is_answer {
            self.told = news.stamp;
            self.has_lost = false;
        }
        if news.stamp < self.seen {
            self.has_lost |= is_answer;
            return Vec::new();
        }
        if news.stamp == self.known.stamp && news.phase == self.known.phase {
            return self.learn_lease(news, source, standing, terms, now);
        }
        self.learn_version(news, source, standing, terms, now)
    }

    fn learn_version(
        &mut self,
        news: &News,
        source: Source,
        standing: Standing,
        terms: Terms,
        now: At,
    ) -> Vec<Feed> {
        let is_same = news.stamp == self.known.stamp;
        // Two histories have met, or the server has begun anew.
        let is_other_history =
            self.known.stamp != Stamp::NONE && news.stamp.epoch != self.known.stamp.epoch;
        let says_less = (is_same || is_other_history)
            && weight(news.phase, news.by.as_ref())
                < weight(self.known.phase, self.known.by.as_ref());
        if says_less && is_same && source == Source::Push {
            // Which of the two histories the server goes by is not for a push to say.
            return Vec::new();
        }
        if says_less && self.is_worth_restoring(now) {
            self.seen = news.stamp;
            self.has_lost = true;
            return Vec::new();
        }
        let is_first = self.seen == Stamp::NONE;
        // Set by hand before the loss, and obeyed then: what has happened here since stands.
        let is_restored = is_other_history
            && news.phase == self.known.phase
            && news.by.is_some()
            && news.by == self.known.by;
        self.take_over(news, terms, now);
        if is_restored {
            return Vec::new();
        }
        let says_nothing = news.phase == Phase::Closed && news.by.is_none();
        if says_nothing && (is_same || is_other_history) {
            // A loss is not news of a circuit that has closed.
            self.own_up(standing, now);
            return Vec::new();
        }
        self.feeds(is_first, standing, now)
    }

    /// The server has lost data, of which this circuit's may have been: to be told before what is
    /// then read is learnt. A vote may be gone though the version is the same.
    pub fn server_has_lost(&mut self) {
        if let Some(trip) = &mut self.trip {
            trip.voted = None;
        }
    }

    /// What is known and still true.
    fn is_worth_restoring(&self, now: At) -> bool {
        match self.known.phase {
            Phase::Closed => false,
            Phase::Open => self.known.until > now,
            Phase::ForcedOpen | Phase::ForcedClosed => true,
        }
    }

    /// The server has forgotten why: what is open in this process is a trip of its own again.
    fn own_up(&mut self, standing: Standing, now: At) {
        if standing.state == CircuitState::Open && standing.left > 0 && self.trip.is_none() {
            self.trip = Some(Trip::new(now, standing.left, standing.reopens));
        }
    }

    fn learn_of_nothing(&mut self, standing: Standing, now: At) {
        self.is_unreadable = false;
        self.told = Stamp::NONE;
        if self.seen == Stamp::NONE {
            return;
        }
        // A vote is gone with its record, however that went.
        self.server_has_lost();
        // What was set by hand is never forgotten, and nothing that is still true.
        self.has_lost = self.is_worth_restoring(now);
        if !self.has_lost {
            // The stamp stays: what comes next must be later.
            self.known = Known { stamp: self.seen, ..Known::default() };
            self.probe = None;
            self.own_up(standing, now);
        }
    }

    /// The same version: all that moves in it is the lease.
    fn learn_lease(
        &mut self,
        news: &News,
        source: Source,
        standing: Standing,
        terms: Terms,
        now: At,
    ) -> Vec<Feed> {
        let is_older = news.revision < self.known.revision;
        match source {
            Source::Push if is_older => return Vec::new(),
            Source::Answer if is_older => self.server_has_lost(),
            Source::Push | Source::Answer => {}
        }
        let is_newer = news.revision > self.known.revision;
        let before = self.known.lease.take().map(|(owner, _)| owner);
        let until = self.known.until;
        let mut heard = Known::of(news, terms, now);
        if news.left == 0 {
            // It was over before that was said.
            heard.until = heard.until.min(until);
        }
        if source == Source::Answer {
            // By another history its wait may be another one, and what is too early the server says.
            self.known = heard;
        } else {
            // How late it comes nobody knows, so the end of the wait is not learnt from it.
            self.known.lease = heard.lease;
            self.known.revision = heard.revision;
        }
        let owner = self.known.lease.as_ref().map(|(owner, _)| owner);
        let is_later = self.known.until > until;
        // One's own is extended for a circuit that is not held.
        let may_be_extended = is_newer && owner.is_some_and(|owner| !self.is_mine(owner));
        let has_moved = owner != before.as_ref() || is_later || may_be_extended;
        if self.known.phase != Phase::Open || !has_moved {
            return Vec::new();
        }
        if let Some(probe) = &mut self.probe
            && probe.lease.as_ref().is_some_and(|(ours, _)| Some(ours) != owner)
        {
            // It has passed to somebody else.
            probe.lease = None;
            if matches!(probe.stage, Stage::Offered { .. }) {
                self.probe = None;
            }
        }
        if self.is_offered() { Vec::new() } else { self.hold(standing) }
    }

    fn take_over(&mut self, news: &News, terms: Terms, now: At) {
        self.known = Known::of(news, terms, now);
        self.seen = news.stamp;
        self.probe = None;
        if news.phase != Phase::Closed {
            self.trip = None;
        }
    }

    /// What a new version is to the process's own circuit.
    fn feeds(&mut self, is_first: bool, standing: Standing, now: At) -> Vec<Feed> {
        let Known { phase, until, wait, reopens, by, .. } = &self.known;
        match (phase, by) {
            (Phase::Open, _) => {
                self.turned_away = standing.rejected;
                let left = until.saturating_sub(now);
                let mut feeds = vec![Feed::Open { left, wait: *wait, reopens: *reopens }];
                feeds.extend(self.hold(Standing { state: CircuitState::Open, ..standing }));
                feeds
            }
            // A reset of long ago is not for a circuit that was not there.
            (Phase::Closed, by) if by.is_none() || is_first => {
                // Nobody else can know that it has opened for itself since.
                if self.trip.is_some() { Vec::new() } else { vec![Feed::Close] }
            }
            (phase, by) => {
                self.trip = None;
                vec![Feed::Force { phase: *phase, by: by.clone().unwrap_or_default() }]
            }
        }
    }

    fn hold(&self, standing: Standing) -> Vec<Feed> {
        if standing.state != CircuitState::Open {
            return Vec::new();
        }
        vec![Feed::Hold { until: self.held_until() }]
    }

    fn is_offered(&self) -> bool {
        matches!(&self.probe, Some(Probe { stage: Stage::Offered { .. }, .. }))
    }
}
