use super::*;

const KEEP: Millis = 1_000;
const NOW: Millis = 10_000;

fn command(seen: Stamp, action: Action) -> Command {
    Command { seen, deadline: 0, keep: KEEP, action }
}

fn vote(voter: &str, wait: Millis, quorum: u32) -> Action {
    Action::Vote { voter: voter.to_owned(), wait, reopens: 0, quorum }
}

fn lease(owner: &str) -> Action {
    Action::Lease { owner: owner.to_owned(), ttl: 50, lead: 10 }
}

fn outcome(owner: &str, success: bool) -> Action {
    Action::Outcome { owner: owner.to_owned(), success, wait: 200 }
}

fn by(who: &str) -> By {
    By { who: who.to_owned(), why: "a drill".to_owned() }
}

fn manual(phase: Phase) -> Action {
    Action::Manual { phase, by: by("ops") }
}

/// One circuit at a server whose clock the test moves.
struct Server {
    now: Millis,
    record: Option<Record>,
}

impl Server {
    fn new() -> Self {
        Self { now: NOW, record: None }
    }

    /// Open since `NOW`, for 100.
    fn open() -> Self {
        let mut server = Self::new();
        assert_eq!(server.send(vote("a", 100, 1)), Answer::Done);
        server
    }

    fn run(&mut self, command: &Command) -> Answer {
        let (record, answer) = apply(self.record.take(), self.now, command);
        self.record = record;
        answer
    }

    fn send(&mut self, action: Action) -> Answer {
        let seen = self.stamp();
        self.run(&command(seen, action))
    }

    fn stamp(&self) -> Stamp {
        self.record.as_ref().map_or(Stamp::NONE, |record| record.stamp)
    }

    fn record(&self) -> &Record {
        self.record.as_ref().unwrap()
    }

    fn phase(&self) -> Phase {
        self.record().content.phase
    }

    /// Refused, and nothing has changed.
    #[track_caller]
    fn refuses(&mut self, seen: Stamp, action: Action, answer: Answer) {
        let before = self.record.clone();
        assert_eq!(self.run(&command(seen, action)), answer);
        assert_eq!(self.record, before);
    }
}

#[test]
fn one_vote_of_a_quorum_of_one_opens() {
    let server = Server::open();
    let record = server.record();
    assert_eq!(record.content, Content::open(NOW, 100, 0));
    assert_eq!(record.stamp, Stamp { epoch: NOW, generation: 1 });
    assert_eq!(record.expires, Some(NOW + 100 + KEEP));
}

#[test]
fn a_quorum_is_votes_of_different_replicas_that_count_at_the_same_time() {
    let mut server = Server::new();
    server.send(vote("a", 100, 2));
    server.send(vote("a", 100, 2));
    assert_eq!(server.phase(), Phase::Closed);
    server.now += 100;
    server.send(vote("b", 100, 2));
    assert_eq!(server.phase(), Phase::Closed, "the other vote is over");
    server.now += 99;
    server.send(vote("c", 70, 2));
    assert_eq!(server.phase(), Phase::Open);
    assert_eq!(server.record().content.wait, 70);
    assert!(server.record().votes.is_empty());
}

#[test]
fn a_vote_on_an_open_circuit_is_granted_and_changes_nothing() {
    let mut server = Server::open();
    server.refuses(server.stamp(), vote("b", 900, 1), Answer::Done);
}

#[test]
fn what_was_decided_under_another_version_is_stale() {
    let mut server = Server::open();
    let old = server.stamp();
    server.now += 100;
    server.send(lease("a#1"));
    server.send(outcome("a#1", false));
    let new = server.stamp();
    assert!(new > old);
    for action in [vote("b", 100, 1), lease("b#1"), outcome("a#1", true)] {
        server.refuses(old, action, Answer::Stale);
    }
    server.refuses(old, Action::GiveBack { owner: "a#1".to_owned() }, Answer::Stale);
}

#[test]
fn what_comes_after_its_deadline_is_late() {
    let mut server = Server::open();
    let late = Command { deadline: NOW + 20, ..command(server.stamp(), manual(Phase::ForcedOpen)) };
    server.now = NOW + 21;
    let before = server.record.clone();
    assert_eq!(server.run(&late), Answer::Late);
    assert_eq!(server.record, before);
    server.now = NOW + 20;
    assert_eq!(server.run(&late), Answer::Done);
}

#[test]
fn there_is_one_probe_and_it_is_not_early() {
    let mut server = Server::open();
    let stamp = server.stamp();
    server.now = NOW + 89;
    server.refuses(stamp, lease("a#1"), Answer::Early);
    server.now = NOW + 90;
    assert_eq!(server.send(lease("a#1")), Answer::Done);
    assert_eq!(server.record().lease.as_ref().unwrap().until, NOW + 100 + 50);
    server.refuses(stamp, lease("b#1"), Answer::Held);
    server.refuses(stamp, outcome("b#1", true), Answer::Stale);
    server.now = NOW + 150;
    assert_eq!(server.send(lease("b#1")), Answer::Done, "the other lease is over");
    server.refuses(stamp, outcome("a#1", true), Answer::Stale);
}

#[test]
fn a_lease_that_is_given_back_is_anybodys() {
    let mut server = Server::open();
    server.now += 100;
    server.send(lease("a#1"));
    server.refuses(server.stamp(), Action::GiveBack { owner: "b#1".to_owned() }, Answer::Stale);
    assert_eq!(server.send(Action::GiveBack { owner: "a#1".to_owned() }), Answer::Done);
    assert_eq!(server.send(lease("b#1")), Answer::Done);
}

#[test]
fn a_probe_decides_while_it_has_the_lease() {
    let mut server = Server::open();
    server.now += 100;
    server.send(lease("a#1"));
    server.now += 50;
    server.refuses(server.stamp(), outcome("a#1", true), Answer::Stale);
    server.now -= 1;
    assert_eq!(server.send(outcome("a#1", false)), Answer::Done);
    assert_eq!(server.record().content, Content::open(server.now, 200, 1));
    assert_eq!(server.record().lease, None);
    server.now += 200;
    server.send(lease("a#2"));
    assert_eq!(server.send(outcome("a#2", true)), Answer::Done);
    assert_eq!(server.record().content, Content::default());
    assert_eq!(server.stamp().generation, 3);
}

#[test]
fn by_hand_goes_over_everything_and_is_never_forgotten() {
    let mut server = Server::open();
    assert_eq!(server.run(&command(Stamp::NONE, manual(Phase::ForcedOpen))), Answer::Done);
    assert_eq!((server.phase(), server.record().expires), (Phase::ForcedOpen, None));
    server.refuses(Stamp::NONE, manual(Phase::ForcedOpen), Answer::Done);
    server.refuses(server.stamp(), vote("a", 100, 1), Answer::Done);
    server.refuses(server.stamp(), lease("a#1"), Answer::Stale);
    server.now += 1_000_000;
    server.send(manual(Phase::ForcedClosed));
    server.send(manual(Phase::Closed));
    server.send(vote("a", 100, 1));
    assert_eq!((server.phase(), server.record().expires), (Phase::Open, None));
}

#[test]
fn a_reset_takes_the_votes_away() {
    let mut server = Server::new();
    server.send(manual(Phase::Closed));
    server.send(vote("a", 100, 2));
    let voted = server.stamp();
    server.send(manual(Phase::Closed));
    assert!(server.stamp() > voted);
    server.send(vote("b", 100, 2));
    assert_eq!(server.phase(), Phase::Closed);
}

#[test]
fn a_record_is_forgotten_when_nobody_needs_it() {
    let mut server = Server::open();
    let old = server.stamp();
    server.now = NOW + 100 + KEEP - 1;
    server.refuses(old, vote("b", 100, 1), Answer::Done);
    server.now += 1;
    assert_eq!(server.run(&command(old, lease("a#1"))), Answer::Stale);
    assert_eq!(server.record, None);
    server.run(&command(old, vote("b", 100, 2)));
    assert_eq!(server.stamp(), Stamp { epoch: server.now, generation: 0 });
}

#[test]
fn a_record_is_kept_for_as_long_as_a_vote_counts_and_no_less_than_it_was() {
    let mut server = Server::new();
    server.send(vote("a", 5 * KEEP, 2));
    assert_eq!(server.record().expires, Some(NOW + 5 * KEEP));
    // Of a replica whose settings are shorter.
    let vote = Command { keep: 10, ..command(server.stamp(), vote("b", 20, 3)) };
    assert_eq!(server.run(&vote), Answer::Done);
    assert_eq!(server.record().expires, Some(NOW + 5 * KEEP));
    server.now += 5 * KEEP - 1;
    assert_eq!(server.send(self::vote("c", 30, 2)), Answer::Done);
    assert_eq!(server.phase(), Phase::Open, "the first vote still counts");
}

#[test]
fn a_new_epoch_is_later_than_any_that_its_maker_has_seen() {
    let seen = Stamp { epoch: 5 * NOW, generation: 7 };
    let mut server = Server::new();
    server.run(&command(seen, vote("a", 100, 1)));
    assert_eq!(server.stamp(), Stamp { epoch: 5 * NOW + 1, generation: 1 });
}

#[test]
fn what_was_lost_is_restored_once_for_what_is_left_of_it() {
    let content = Content { until: 40, ..Content::open(0, 100, 2) };
    let seen = Stamp { epoch: NOW - 5, generation: 7 };
    let restore = || Action::Restore { content: content.clone() };
    let mut server = Server::new();
    assert_eq!(server.run(&command(seen, restore())), Answer::Done);
    let stamp = Stamp { epoch: NOW, generation: 1 };
    assert_eq!(server.stamp(), stamp);
    assert_eq!(server.record().content, Content { until: NOW + 40, ..content.clone() });
    server.refuses(seen, restore(), Answer::Stale);
    server.refuses(stamp, restore(), Answer::Stale);
    // An older record, and one that another history calls the same.
    for (seen, epoch) in [(Stamp { generation: 2, ..stamp }, NOW + 1), (stamp, NOW + 1)] {
        let mut server = Server { record: server.record.clone(), now: NOW };
        let forced = Content { phase: Phase::ForcedOpen, by: Some(by("ops")), ..content.clone() };
        assert_eq!(server.run(&command(seen, Action::Restore { content: forced })), Answer::Done);
        assert_eq!(server.stamp().epoch, epoch);
        assert_eq!((server.phase(), server.record().content.until), (Phase::ForcedOpen, 0));
    }
}

#[test]
fn a_clock_that_was_set_back_makes_nothing_longer() {
    let mut server = Server::open();
    server.now += 100;
    server.send(lease("a#1"));
    server.now = 50;
    assert_eq!(server.send(lease("b#1")), Answer::Early);
    assert_eq!(server.record().content.until, 150);
    assert_eq!(server.record().lease.as_ref().unwrap().until, 200);
    server.now = 200;
    assert_eq!(server.send(lease("b#1")), Answer::Done);
}

#[test]
fn the_largest_figures_do_no_harm() {
    let mut server = Server { now: LAST, record: None };
    let seen = Stamp { epoch: u64::MAX, generation: u64::MAX };
    let mut huge = command(seen, vote("a", u64::MAX, u32::MAX));
    huge.keep = u64::MAX;
    server.run(&huge);
    server.send(vote("a", u64::MAX, 0));
    assert_eq!((server.phase(), server.stamp().epoch), (Phase::Open, LAST));
    server.send(Action::Lease { owner: "a".to_owned(), ttl: u64::MAX, lead: u64::MAX });
    assert_eq!(server.send(outcome("a", false)), Answer::Done);
}
