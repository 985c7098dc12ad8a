use super::*;
use crate::shared::protocol::{Content, Lease};

const TERMS: Terms = Terms { quorum: 1, probe: 5_000, longest: 60_000 };
const E1: u64 = 100;
const E2: u64 = 200;

fn standing(state: CircuitState, rejected: u64) -> Standing {
    Standing { state, left: 0, wait: 0, reopens: 0, rejected }
}

const CLOSED: Standing =
    Standing { state: CircuitState::Closed, left: 0, wait: 0, reopens: 0, rejected: 0 };

fn open(rejected: u64) -> Standing {
    standing(CircuitState::Open, rejected)
}

fn news(epoch: u64, generation: u64, phase: Phase) -> News {
    let is_open = phase == Phase::Open;
    let left = if is_open { 1_000 } else { 0 };
    let is_forced = matches!(phase, Phase::ForcedOpen | Phase::ForcedClosed);
    News {
        stamp: Stamp { epoch, generation },
        revision: 0,
        phase,
        left,
        wait: left,
        reopens: 0,
        by: is_forced.then(By::default),
        lease: None,
    }
}

fn leased(generation: u64, owner: &str, left: Millis) -> News {
    News { lease: Some((owner.to_owned(), left)), ..news(E1, generation, Phase::Open) }
}

/// By the call that has claimed it at the end of the wait.
fn extended() -> News {
    News { left: 0, revision: 1, ..leased(1, "a#1", 6_000) }
}

fn trips(wait: Millis) -> Change {
    let (from, to) = (CircuitState::Closed, CircuitState::Open);
    Change { from, to, cause: Cause::Local, wait, reopens: 0 }
}

fn goes(from: CircuitState, to: CircuitState) -> Change {
    Change { from, to, cause: Cause::Probe, wait: 700, reopens: 1 }
}

/// A replica with a clock that the test moves.
struct Process {
    replica: Replica,
    standing: Standing,
    now: At,
}

impl Process {
    fn new() -> Self {
        Self { replica: Replica::new("a", CLOSED, 0), standing: CLOSED, now: 0 }
    }

    /// Whose fleet is open until 1,000, and that has turned a call away.
    fn open() -> Self {
        let mut process = Self::new();
        process.hears(&news(E1, 1, Phase::Open));
        process.standing = open(1);
        process
    }

    fn learn(&mut self, news: Option<&News>, source: Source) -> Vec<Feed> {
        self.replica.learn(news, source, self.standing, TERMS, self.now)
    }

    fn hears(&mut self, news: &News) -> Vec<Feed> {
        self.learn(Some(news), Source::Push)
    }

    fn reads(&mut self, news: Option<&News>) -> Vec<Feed> {
        self.learn(news, Source::Answer)
    }

    fn next(&mut self) -> Option<Action> {
        self.replica.next(self.standing, TERMS, self.now)
    }

    fn answered(&mut self, action: &Action, answer: Answer, news: &News) -> Vec<Feed> {
        let mut feeds = self.reads(Some(news));
        feeds.extend(self.replica.answered(action, answer, self.standing, self.now));
        feeds
    }

    fn changes(&mut self, change: Change) {
        self.standing.state = change.to;
        self.replica.changed(change, self.now);
    }

    /// Has the lease, and the next call is the probe.
    fn offered() -> Self {
        let mut process = Self::open();
        process.now = 1_000 - LEAD;
        let action = process.next().unwrap();
        let mut news = leased(1, "a#1", UNCLAIMED + MARGIN + LEAD);
        news.left = LEAD;
        assert_eq!(process.answered(&action, Answer::Done, &news).last(), Some(&Feed::Release));
        process
    }

    /// A call has come, and has the lease extended.
    fn claimed() -> (Self, Action) {
        let mut process = Self::offered();
        process.now = 1_000;
        process.changes(goes(CircuitState::Open, CircuitState::HalfOpen));
        let extend = process.next().unwrap();
        (process, extend)
    }

    fn probing() -> Self {
        let (mut process, extend) = Self::claimed();
        assert_eq!(process.answered(&extend, Answer::Done, &extended()), []);
        process
    }
}

fn owner(action: &Action) -> &str {
    match action {
        Action::Lease { owner, .. }
        | Action::GiveBack { owner }
        | Action::Outcome { owner, .. } => owner,
        _ => panic!("{action:?}"),
    }
}

fn restored(action: Option<Action>) -> Content {
    match action {
        Some(Action::Restore { content }) => content,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trip_is_voted_for_until_the_server_has_the_vote() {
    let mut process = Process::new();
    process.changes(trips(1_000));
    process.now = 300;
    let vote = process.next().unwrap();
    assert!(matches!(vote, Action::Vote { wait: 700, .. }), "{vote:?}");
    process.replica.unanswered(&vote);
    assert!(process.next().is_some());
    process.answered(&vote, Answer::Late, &news(E1, 0, Phase::Closed));
    assert!(process.next().is_some());
    process.answered(&vote, Answer::Done, &news(E1, 0, Phase::Closed));
    assert_eq!(process.next(), None);
}

#[test]
fn a_trip_that_came_after_the_vote_for_the_last_one_is_voted_for() {
    let mut process = Process::new();
    process.changes(trips(1_000));
    let vote = process.next().unwrap();
    process.changes(goes(CircuitState::HalfOpen, CircuitState::Closed));
    process.changes(trips(2_000));
    process.answered(&vote, Answer::Done, &news(E1, 0, Phase::Closed));
    assert!(matches!(process.next(), Some(Action::Vote { wait: 2_000, .. })));
}

#[test]
fn a_vote_is_given_again_in_every_version_and_after_a_loss() {
    let mut process = Process::new();
    process.changes(trips(1_000));
    for news in [news(E1, 0, Phase::Closed), news(E1, 2, Phase::Closed)] {
        assert_eq!(process.hears(&news), [], "it stays open");
        let vote = process.next().unwrap();
        process.answered(&vote, Answer::Done, &news);
        assert_eq!(process.next(), None);
    }
    process.reads(None);
    assert!(matches!(process.next(), Some(Action::Vote { .. })));
    process.now = 1_000;
    assert_eq!(process.next(), None, "its wait is over");
}

#[test]
fn the_version_of_a_vote_is_that_of_its_answer() {
    let mut process = Process::new();
    process.changes(trips(1_000));
    let vote = process.next().unwrap();
    process.hears(&news(E1, 2, Phase::Closed));
    process.answered(&vote, Answer::Done, &news(E1, 0, Phase::Closed));
    let restore = process.next();
    assert_eq!(restored(restore.clone()).phase, Phase::Closed, "as if the server had lost 2");
    process.answered(&restore.unwrap(), Answer::Stale, &news(E1, 2, Phase::Closed));
    assert!(matches!(process.next(), Some(Action::Vote { .. })));
}

#[test]
fn a_shared_open_is_for_the_remaining_time_and_no_longer_than_is_allowed() {
    let mut process = Process::new();
    let long = News { left: 90_000, wait: 95_000, ..news(E1, 1, Phase::Open) };
    let feeds = process.hears(&long);
    let hold = Feed::Hold { until: 60_000 + GRACE };
    assert_eq!(feeds, [Feed::Open { left: 60_000, wait: 60_000, reopens: 0 }, hold]);
    assert_eq!(process.hears(&long), [], "told twice");
    assert_eq!(process.hears(&news(E1, 0, Phase::Closed)), [], "told late");
    assert_eq!(process.hears(&news(E1, 2, Phase::Closed)), [Feed::Close]);
}

#[test]
fn by_hand_goes_over_a_trip_unless_it_was_before() {
    let reset = News { by: Some(By::default()), ..news(E1, 1, Phase::Closed) };
    let mut process = Process::new();
    process.changes(trips(1_000));
    assert_eq!(process.hears(&reset), [], "of a time before this process");
    let again = News { stamp: Stamp { epoch: E1, generation: 2 }, ..reset };
    assert_eq!(process.hears(&again), [Feed::Force { phase: Phase::Closed, by: By::default() }]);
    assert_eq!(process.next(), None);
}

#[test]
fn a_lease_is_asked_for_near_the_end_after_a_call_was_turned_away() {
    let mut process = Process::open();
    process.now = 1_000 - LEAD - 1;
    assert_eq!(process.next(), None);
    process.now += 1;
    process.standing.rejected = 0;
    assert_eq!(process.next(), None);
    process.standing.rejected = 1;
    let lease = process.next().unwrap();
    assert!(matches!(&lease, Action::Lease { ttl: 2_000, .. }), "{lease:?}");
    process.answered(&lease, Answer::Held, &leased(1, "b#1", 6_000));
    assert_eq!(process.next(), None, "for as long as somebody else has it");
    process.now = process.replica.wake_at(process.now).unwrap();
    assert_eq!(owner(&process.next().unwrap()), "a#2");
}

#[test]
fn what_the_server_says_is_too_early_is_asked_for_later() {
    let mut process = Process::open();
    process.now = 1_000;
    let lease = process.next().unwrap();
    process.answered(&lease, Answer::Early, &News { left: 300, ..news(E1, 1, Phase::Open) });
    assert_eq!(process.next(), None);
    assert_eq!(process.replica.wake_at(process.now), Some(1_300 - LEAD));
}

#[test]
fn a_wait_that_the_server_makes_longer_is_held_to_its_new_end() {
    let mut process = Process::open();
    process.now = 900;
    let longer = news(E1, 1, Phase::Open);
    assert_eq!(process.hears(&longer), [], "it may only be late");
    let held = [Feed::Hold { until: 1_900 + GRACE }];
    assert_eq!(process.reads(Some(&longer)), held, "the server's clock was set back");
    let over = News { left: 0, ..longer };
    for now in [1_900, 2_000] {
        process.now = now;
        assert_eq!(process.reads(Some(&over)), [], "it does not end again");
    }
}

#[test]
fn a_late_answer_leaves_nobody_waiting_for_a_lease() {
    let mut process = Process::open();
    process.now = 1_000;
    let lease = process.next().unwrap();
    process.answered(&lease, Answer::Late, &news(E1, 1, Phase::Open));
    process.now = 2_000;
    assert!(matches!(process.next(), Some(Action::Lease { .. })));
}

#[test]
fn a_push_of_before_the_answer_does_not_take_the_lease_away() {
    let mut process = Process::open();
    process.now = 1_000;
    let lease = process.next().unwrap();
    let mine = News { revision: 2, ..leased(1, "a#1", 6_000) };
    process.answered(&lease, Answer::Done, &mine);
    assert_eq!(process.hears(&News { revision: 1, ..news(E1, 1, Phase::Open) }), []);
    process.changes(goes(CircuitState::Open, CircuitState::HalfOpen));
    process.changes(goes(CircuitState::HalfOpen, CircuitState::Closed));
    assert_eq!(owner(&process.next().unwrap()), "a#1");
}

#[test]
fn an_answer_of_before_the_vote_says_that_the_vote_is_lost() {
    let mut process = Process::new();
    process.changes(trips(1_000));
    let vote = process.next().unwrap();
    let voted = News { revision: 2, ..news(E1, 0, Phase::Closed) };
    process.answered(&vote, Answer::Done, &voted);
    process.reads(Some(&News { revision: 1, ..voted.clone() }));
    let vote = process.next().unwrap();
    process.answered(&vote, Answer::Done, &voted);
    assert_eq!(process.next(), None);
    process.replica.server_has_lost();
    assert!(matches!(process.next(), Some(Action::Vote { .. })));
}

#[test]
fn everybody_else_is_held_for_as_long_as_the_lease_and_the_grace() {
    let mut process = Process::open();
    process.now = 950;
    let hold = process.hears(&leased(1, "b#1", 6_050));
    assert_eq!(hold, [Feed::Hold { until: 7_000 + GRACE }]);
    assert_eq!(process.hears(&leased(1, "b#1", 6_050)), []);
    process.now = 1_500;
    let extended = News { left: 0, revision: 1, ..leased(1, "b#1", 9_000) };
    assert_eq!(process.hears(&extended), [Feed::Hold { until: 10_500 + GRACE }]);
}

#[test]
fn a_probe_tells_what_became_of_it_under_its_lease() {
    for success in [true, false] {
        let mut process = Process::probing();
        assert_eq!(process.next(), None);
        let to = if success { CircuitState::Closed } else { CircuitState::Open };
        process.changes(goes(CircuitState::HalfOpen, to));
        let outcome = process.next().unwrap();
        let wait = if success { 0 } else { 700 };
        assert_eq!(outcome, Action::Outcome { owner: "a#1".to_owned(), success, wait });
        let phase = if success { Phase::Closed } else { Phase::Open };
        process.answered(&outcome, Answer::Done, &news(E1, 2, phase));
        assert_eq!(process.next(), None);
    }
}

#[test]
fn a_call_that_claims_the_lease_has_it_extended() {
    let (mut process, extend) = Process::claimed();
    let owner = "a#1".to_owned();
    assert_eq!(extend, Action::Lease { owner, ttl: 6_000, lead: LEAD });
    for answer in [None, Some(Answer::Late)] {
        match answer {
            None => process.replica.unanswered(&extend),
            Some(answer) => drop(process.answered(&extend, answer, &leased(1, "a#1", 2_000))),
        }
        assert_eq!(process.next(), Some(extend.clone()), "it may not have been done");
    }
    // Nobody else has it, so it is not too late for that.
    process.replica.unanswered(&extend);
    process.now = 3_500;
    assert!(!process.replica.is_unclaimed(process.now));
    assert_eq!(process.next(), Some(extend.clone()));
    process.answered(&extend, Answer::Done, &extended());
    assert_eq!(process.next(), None);
    assert_eq!(process.replica.wake_at(process.now), Some(9_500));
}

#[test]
fn an_outcome_that_comes_before_the_lease_is_extended_is_not_lost() {
    for success in [true, false] {
        let to = if success { CircuitState::Closed } else { CircuitState::Open };
        let wait = if success { 0 } else { 700 };
        let outcome = Action::Outcome { owner: "a#1".to_owned(), success, wait };
        let (mut process, extend) = Process::claimed();
        process.changes(goes(CircuitState::HalfOpen, to));
        let mut unanswered = Process { replica: process.replica.clone(), ..process };
        assert_eq!(process.answered(&extend, Answer::Done, &extended()), []);
        assert_eq!(process.next(), Some(outcome.clone()));

        // Given up: what was offered is enough while it lasts.
        unanswered.replica.unanswered(&extend);
        let mut late = Process { replica: unanswered.replica.clone(), ..unanswered };
        assert_eq!(unanswered.next(), Some(outcome.clone()));
        late.now = 3_000;
        assert!(!late.replica.is_unclaimed(late.now));
        assert_eq!(late.next(), Some(extend.clone()));
        late.answered(&extend, Answer::Done, &extended());
        assert_eq!(late.next(), Some(outcome));
    }
}

#[test]
fn a_lease_that_cannot_be_extended_leaves_a_probe_without_one() {
    let theirs = News { left: 0, revision: 1, ..leased(1, "b#1", 2_000) };
    for success in [true, false] {
        let (mut process, extend) = Process::claimed();
        process.answered(&extend, Answer::Held, &theirs);
        assert_eq!(process.next(), None);
        let to = if success { CircuitState::Closed } else { CircuitState::Open };
        process.changes(goes(CircuitState::HalfOpen, to));
        assert_eq!(process.next(), None);
        process.now = 3_000;
        process.standing.rejected = 0;
        assert_eq!(
            process.next().map(|lease| owner(&lease).to_owned()),
            success.then(|| "a#2".to_owned())
        );
    }
    // And if it has ended when that is heard.
    let (mut process, extend) = Process::claimed();
    process.changes(goes(CircuitState::HalfOpen, CircuitState::Open));
    process.answered(&extend, Answer::Held, &theirs);
    assert_eq!(process.next(), None);
}

#[test]
fn a_lease_that_is_not_extended_yet_is_still_one() {
    let (mut process, extend) = Process::claimed();
    let early = News { revision: 1, ..leased(1, "a#1", 3_000) };
    process.answered(&extend, Answer::Early, &early);
    assert_eq!(process.next(), None);
    process.changes(goes(CircuitState::HalfOpen, CircuitState::Closed));
    assert_eq!(owner(&process.next().unwrap()), "a#1");
}

#[test]
fn a_lease_that_no_call_claims_is_given_back() {
    let mut process = Process::offered();
    process.now = 1_000 + UNCLAIMED - 1;
    assert!(!process.replica.is_unclaimed(process.now));
    process.now = process.replica.wake_at(process.now).unwrap();
    assert!(process.replica.is_unclaimed(process.now));
    process.replica.withdrawn(true, process.now);
    let give_back = process.next().unwrap();
    assert_eq!(give_back, Action::GiveBack { owner: "a#1".to_owned() });
    let free = News { left: 0, ..news(E1, 1, Phase::Open) };
    process.answered(&give_back, Answer::Done, &free);
    assert_eq!(process.next(), None);
    process.standing.rejected += 1;
    assert_eq!(owner(&process.next().unwrap()), "a#2");
}

#[test]
fn a_call_that_comes_while_the_lease_is_given_back_is_reported_under_another() {
    let mut process = Process::offered();
    process.now = 2_000;
    process.replica.withdrawn(true, process.now);
    let give_back = process.next().unwrap();
    process.changes(goes(CircuitState::Open, CircuitState::HalfOpen));
    let free = News { left: 0, ..news(E1, 1, Phase::Open) };
    process.answered(&give_back, Answer::Done, &free);
    assert_eq!(owner(&process.next().unwrap()), "a#2");
}

#[test]
fn at_the_end_a_lease_is_given_back_unless_there_is_an_outcome() {
    let give_back = Some(Action::GiveBack { owner: "a#1".to_owned() });
    let mut process = Process::open();
    assert_eq!(process.replica.last_word(None, process.now), None);
    process.now = 1_000;
    let lease = process.next().unwrap();
    assert_eq!(process.replica.last_word(Some(&lease), process.now), give_back, "it may be had");
    let process = Process::offered();
    assert_eq!(process.replica.last_word(None, process.now), give_back);
    let mut process = Process::probing();
    assert_eq!(process.replica.last_word(None, process.now), give_back);
    process.changes(goes(CircuitState::HalfOpen, CircuitState::Closed));
    let word = process.replica.last_word(None, process.now);
    assert!(matches!(word, Some(Action::Outcome { success: true, .. })), "{word:?}");
}

#[test]
fn a_lease_that_was_given_up_is_given_back() {
    let mut process = Process::open();
    process.now = 1_000;
    let lease = process.next().unwrap();
    process.replica.unanswered(&lease);
    process.hears(&leased(1, "a#1", 6_000));
    for _ in 0..2 {
        assert_eq!(process.next(), Some(Action::GiveBack { owner: "a#1".to_owned() }));
    }
    process.hears(&news(E1, 1, Phase::Open));
    assert_eq!(owner(&process.next().unwrap()), "a#2");
}

#[test]
fn a_probe_that_outlives_its_lease_does_not_keep_the_probe_but_its_success_counts() {
    let mut process = Process::probing();
    process.now = 7_000;
    assert!(!process.replica.is_unclaimed(process.now));
    // One that went ahead alone may ask once.
    let lease = process.next().unwrap();
    process.answered(&lease, Answer::Held, &leased(1, "b#1", 1_000));
    process.now = 8_000;
    assert_eq!(process.next(), None);
    process.changes(goes(CircuitState::HalfOpen, CircuitState::Closed));
    let lease = process.next().unwrap();
    process.answered(&lease, Answer::Done, &leased(1, owner(&lease), 6_000));
    let outcome = process.next().unwrap();
    assert!(matches!(outcome, Action::Outcome { success: true, .. }));
    process.answered(&outcome, Answer::Stale, &news(E1, 1, Phase::Open));
    assert_eq!(process.next(), None, "too early by that answer");
    process.now = 9_000;
    assert!(matches!(process.next(), Some(Action::Lease { .. })));
}

#[test]
fn what_the_server_has_lost_is_restored_while_it_is_true() {
    let mut process = Process::open();
    process.now = 400;
    process.reads(None);
    let content = restored(process.next());
    assert_eq!((content.phase, content.until, content.wait), (Phase::Open, 600, 1_000));
    process.hears(&news(E1, 1, Phase::Open));
    assert!(process.next().is_some(), "a push may be of a time before the loss");
    process.now = 1_000;
    process.reads(None);
    process.standing.rejected = 0;
    assert_eq!(process.next(), None);
    assert_eq!(process.replica.stamp(), Stamp { epoch: E1, generation: 1 });
}

#[test]
fn an_older_answer_is_a_loss_and_an_older_push_is_not() {
    let mut process = Process::new();
    process.hears(&news(E1, 3, Phase::Closed));
    process.hears(&news(E1, 2, Phase::Open));
    assert_eq!(process.next(), None);
    assert_eq!(process.reads(Some(&news(E1, 2, Phase::Open))), []);
    assert_eq!(restored(process.next()).phase, Phase::Closed);
    assert_eq!(process.replica.stamp().generation, 3);
}

#[test]
fn a_new_epoch_is_not_news_that_the_circuit_has_closed() {
    let mut process = Process::open();
    assert_eq!(process.hears(&news(E2, 0, Phase::Closed)), []);
    assert_eq!(process.replica.stamp(), Stamp { epoch: E2, generation: 0 });
    let restore = process.next();
    assert_eq!(restored(restore.clone()).phase, Phase::Open);
    // Somebody else was first.
    let feeds = process.answered(&restore.unwrap(), Answer::Stale, &news(E2, 1, Phase::Open));
    assert!(matches!(feeds[0], Feed::Open { left: 1_000, .. }));
    assert_eq!(process.next(), None);
}

#[test]
fn what_was_set_by_hand_outlives_a_loss() {
    let mut process = Process::new();
    process.hears(&news(E1, 1, Phase::ForcedOpen));
    // Others have voted before it could be restored.
    for generation in 0..3 {
        let phase = if generation == 1 { Phase::Open } else { Phase::Closed };
        let lost = news(E2, generation, phase);
        assert_eq!(process.reads(Some(&lost)), []);
        let restore = process.next().unwrap();
        assert_eq!(restored(Some(restore.clone())).phase, Phase::ForcedOpen);
        process.answered(&restore, Answer::Stale, &lost);
    }
    let restore = process.next().unwrap();
    process.answered(&restore, Answer::Done, &news(E2 + 1, 1, Phase::ForcedOpen));
    assert_eq!(process.next(), None);
    let reset = News { by: Some(By::default()), ..news(E2 + 2, 1, Phase::Closed) };
    assert!(matches!(process.hears(&reset)[..], [Feed::Force { .. }]));
}

#[test]
fn what_was_set_by_hand_is_done_once_whatever_the_server_loses() {
    for phase in [Phase::ForcedOpen, Phase::ForcedClosed, Phase::Closed] {
        let by = |who: &str| Some(By { who: who.to_owned(), why: String::new() });
        let mut process = Process::new();
        process.hears(&news(E1, 1, Phase::Open));
        let set = News { by: by("ada"), ..news(E1, 2, phase) };
        assert_eq!(process.hears(&set).len(), 1);
        let restored = News { stamp: Stamp { epoch: E2, generation: 1 }, ..set.clone() };
        assert_eq!(process.hears(&restored), [], "{phase:?}");
        let again = News { by: by("eve"), ..restored };
        let again = News { stamp: Stamp { epoch: E2, generation: 2 }, ..again };
        assert_eq!(process.hears(&again).len(), 1, "{phase:?}");
    }
}

#[test]
fn a_reset_that_is_restored_does_not_close_what_has_opened_since() {
    let mut process = Process::new();
    process.hears(&news(E1, 1, Phase::Open));
    let reset = News { by: Some(By::default()), ..news(E1, 2, Phase::Closed) };
    process.hears(&reset);
    process.changes(trips(1_000));
    let restored = News { stamp: Stamp { epoch: E2, generation: 1 }, ..reset };
    assert_eq!(process.hears(&restored), []);
    assert!(matches!(process.next(), Some(Action::Vote { .. })));
}

#[test]
fn of_two_histories_the_server_goes_by_one() {
    let mut process = Process::open();
    assert_eq!(process.hears(&news(E1, 1, Phase::Closed)), []);
    assert_eq!(process.next(), None);
    process.reads(Some(&news(E1, 1, Phase::Closed)));
    assert_eq!(restored(process.next()).phase, Phase::Open);
    process.now = 1_000;
    assert_eq!(process.reads(Some(&news(E1, 1, Phase::Closed))), []);
    assert_eq!(process.replica.phase(), Phase::Closed, "it is true no longer");
    let feeds = process.hears(&news(E1, 1, Phase::Open));
    assert!(matches!(feeds[0], Feed::Open { .. }));
}

#[test]
fn what_travels_is_what_is_left() {
    let content = Content { phase: Phase::Open, until: 900, wait: 500, reopens: 1, by: None };
    let lease = Lease { owner: "b#1".to_owned(), until: 2_000, ttl: 700 };
    let record = Record { content, lease: Some(lease), ..Record::default() };
    let news = News::of(&record, 600);
    assert_eq!((news.left, news.lease), (300, Some(("b#1".to_owned(), 1_000))));
    let news = News::of(&record, 100);
    assert_eq!((news.left, news.wait), (500, 500), "the clock was set back");
    assert_eq!(News::of(&record, 9_000).left, 0);
}

#[test]
fn a_record_of_a_later_version_is_left_alone() {
    let mut process = Process::new();
    process.changes(trips(1_000));
    let vote = process.next().unwrap();
    process.replica.answered(&vote, Answer::Schema, process.standing, process.now);
    assert_eq!(process.next(), None);
    process.reads(None);
    assert!(process.next().is_some());
}
