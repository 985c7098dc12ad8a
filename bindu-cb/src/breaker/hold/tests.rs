use std::sync::atomic::AtomicUsize;
use std::sync::{OnceLock, Weak};

use tokio::time::advance;

use super::*;
use crate::breaker::remote::{Force, RemoteOpening};
use crate::settings::CircuitBreakerSettings;

const WAIT: Duration = Duration::from_secs(30);
const NANO: Duration = Duration::from_nanos(1);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn all_but_the_last_nano(time: Duration) {
    advance(time.saturating_sub(NANO)).await;
}

/// Counts how often it was told.
#[derive(Default)]
struct Told(AtomicUsize);

impl Told {
    fn times(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wanted for Told {
    fn wanted(&self, operation: &'static str) {
        assert_eq!(operation, "held");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn settings() -> CircuitBreakerSettings {
    CircuitBreakerSettings::default().failure_threshold(1).recovery_timeout(WAIT)
}

fn led(settings: CircuitBreakerSettings) -> (CircuitBreaker, Arc<Told>) {
    let (circuit, told) = (CircuitBreaker::new("held", settings), Arc::<Told>::default());
    circuit.lead(Arc::<Told>::clone(&told));
    (circuit, told)
}

fn trip(circuit: &CircuitBreaker) -> Generation {
    circuit.try_acquire().unwrap().failure();
    let standing = circuit.standing();
    assert_eq!(standing.state, CircuitState::Open);
    standing.generation
}

/// A led circuit that has just opened.
fn open() -> (CircuitBreaker, Arc<Told>, Generation) {
    let (circuit, told) = led(settings());
    let generation = trip(&circuit);
    (circuit, told, generation)
}

fn is_turned_away(circuit: &CircuitBreaker) -> bool {
    let rejected = circuit.try_acquire().is_err();
    assert_eq!(rejected, circuit.state() == CircuitState::Open);
    rejected
}

fn remote(left: Duration, hold: Option<Duration>) -> RemoteOpening {
    RemoteOpening { left, wait: WAIT, reopens: 0, text: None, hold }
}

#[tokio::test(start_paused = true)]
async fn a_held_opening_stays_until_the_end_of_the_hold() {
    let (circuit, told, generation) = open();
    assert!(circuit.hold(generation, secs(50)));
    advance(WAIT).await;
    assert!(is_turned_away(&circuit));
    all_but_the_last_nano(secs(20)).await;
    assert!(is_turned_away(&circuit));
    assert_eq!(told.times(), 1);
    assert_eq!(circuit.snapshot().calls.rejected, 2, "like any others");

    advance(NANO).await;
    assert!(!is_turned_away(&circuit), "by itself");
    assert_eq!(told.times(), 1);
}

#[tokio::test(start_paused = true)]
async fn before_the_end_of_the_wait_nothing_is_told_of_the_hold() {
    let (circuit, told, generation) = open();
    assert!(circuit.hold(generation, secs(3_600)));
    advance(secs(29)).await;
    let retry_after = circuit.try_acquire().unwrap_err().retry_after();
    assert!((secs(1)..secs(1) + secs(1) / 9).contains(&retry_after), "{retry_after:?}");
    assert_eq!((told.times(), circuit.standing().left), (0, secs(1)));
}

#[tokio::test(start_paused = true)]
async fn who_is_turned_away_is_to_come_back_soon() {
    let (circuit, _told, generation) = open();
    assert!(circuit.hold(generation, secs(3_600)));
    advance(WAIT).await;
    let most = Duration::from_millis(110);
    let retry_after = circuit.try_acquire().unwrap_err().retry_after();
    assert!((most * 10 / 11..=most).contains(&retry_after), "{retry_after:?}");

    assert!(circuit.hold(generation, Duration::from_millis(20)));
    let retry_after = circuit.try_acquire().unwrap_err().retry_after();
    assert!(retry_after <= Duration::from_millis(22), "what is left: {retry_after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_ends_before_the_wait_changes_nothing() {
    let (circuit, told, generation) = open();
    assert!(circuit.hold(generation, secs(10)));
    advance(secs(20)).await;
    assert!(is_turned_away(&circuit));
    advance(secs(10)).await;
    assert!(!is_turned_away(&circuit));
    assert_eq!(told.times(), 0);
}

#[tokio::test(start_paused = true)]
async fn released_it_has_its_probe() {
    let (circuit, told, generation) = open();
    assert!(circuit.hold(generation, secs(3_600)));
    advance(WAIT).await;
    assert!(is_turned_away(&circuit));
    assert!(circuit.release(generation));
    assert!(circuit.release(generation), "still open, and so it stays until a call comes");
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed);
    assert_eq!(told.times(), 1);
}

#[tokio::test(start_paused = true)]
async fn released_before_the_end_it_waits_like_any_other() {
    let (circuit, _told, generation) = open();
    assert!(circuit.hold(generation, secs(3_600)));
    assert!(circuit.release(generation));
    all_but_the_last_nano(WAIT).await;
    assert!(is_turned_away(&circuit));
    advance(NANO).await;
    assert!(!is_turned_away(&circuit));
}

#[tokio::test(start_paused = true)]
async fn given_back_it_is_held_again_and_the_next_call_is_told_of() {
    let (circuit, told, generation) = open();
    advance(WAIT).await;
    for times in 1..=3 {
        assert!(circuit.hold(generation, secs(3_600)));
        assert!(is_turned_away(&circuit) && is_turned_away(&circuit));
        assert_eq!(told.times(), times);
        assert!(circuit.release(generation));
    }
    assert!(!is_turned_away(&circuit));
}

#[tokio::test(start_paused = true)]
async fn what_has_moved_on_can_be_neither_held_nor_released() {
    let (circuit, _told, generation) = open();
    let can = |circuit: &CircuitBreaker, generation| {
        let (held, released) = (circuit.hold(generation, secs(60)), circuit.release(generation));
        assert_eq!(held, released);
        held
    };
    assert!(can(&circuit, generation));
    assert!(!can(&circuit, generation.another()));

    advance(WAIT).await;
    let probe = circuit.try_acquire().unwrap();
    let half_open = circuit.standing().generation;
    assert!(!can(&circuit, generation) && !can(&circuit, half_open));
    probe.success();
    assert!(!can(&circuit, circuit.standing().generation), "closed");

    for force in [Force::Open, Force::Closed] {
        circuit.remote_force(force);
        assert!(!can(&circuit, circuit.standing().generation), "{force:?}");
    }
    circuit.reset();
    let next = trip(&circuit);
    assert!(!can(&circuit, generation) && can(&circuit, next));
}

#[tokio::test(start_paused = true)]
async fn each_opening_begins_without_a_hold() {
    // By a failure, after it has closed from outside.
    let (circuit, told, generation) = open();
    assert!(circuit.hold(generation, Duration::MAX));
    assert!(circuit.remote_close());
    trip(&circuit);
    advance(WAIT).await;
    let probe = circuit.try_acquire().unwrap();

    // By a probe.
    probe.failure();
    let generation = circuit.standing().generation;
    assert!(circuit.hold(generation, Duration::MAX));
    assert!(circuit.release(generation));
    advance(WAIT).await;
    circuit.try_acquire().unwrap().failure();
    advance(WAIT).await;
    assert!(!is_turned_away(&circuit));

    // From outside.
    let generation = circuit.remote_open(remote(WAIT, None)).unwrap();
    assert!(circuit.hold(generation, Duration::MAX));
    circuit.remote_force(Force::Reset);
    circuit.remote_open(remote(WAIT, None));
    advance(WAIT).await;
    assert!(!is_turned_away(&circuit));
    assert_eq!(told.times(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_opening_from_outside_may_come_with_its_hold() {
    let (circuit, told) = led(settings());
    let generation = circuit.remote_open(remote(Duration::ZERO, Some(secs(5)))).unwrap();
    assert!(is_turned_away(&circuit));
    assert_eq!(told.times(), 1);

    // One that moves it leaves the hold as it is, or brings another.
    assert_eq!(circuit.remote_open(remote(secs(1), None)), Some(generation));
    all_but_the_last_nano(secs(5)).await;
    assert!(is_turned_away(&circuit));
    assert_eq!(circuit.remote_open(remote(secs(1), Some(secs(8)))), Some(generation));
    all_but_the_last_nano(secs(8)).await;
    assert!(is_turned_away(&circuit));
    assert_eq!(told.times(), 2);
    advance(NANO).await;
    assert!(!is_turned_away(&circuit));
}

#[tokio::test(start_paused = true)]
async fn who_leads_no_more_holds_no_more() {
    let (circuit, told, generation) = open();
    let wanted: Arc<dyn Wanted> = Arc::<Told>::clone(&told);
    assert!(circuit.hold(generation, secs(3_600)));
    circuit.lead(Arc::clone(&wanted));
    advance(WAIT).await;
    assert!(is_turned_away(&circuit), "the same again changes nothing");

    assert!(circuit.unlead(&wanted));
    assert!(!circuit.unlead(&wanted));
    assert!(!circuit.hold(generation, secs(3_600)) && !circuit.release(generation));
    assert!(!is_turned_away(&circuit));
}

#[tokio::test(start_paused = true)]
async fn another_takes_its_place_and_is_told_instead() {
    let (circuit, first, generation) = open();
    assert!(circuit.hold(generation, secs(3_600)));
    advance(WAIT).await;
    assert!(is_turned_away(&circuit));

    let second = Arc::<Told>::default();
    circuit.lead(Arc::<Told>::clone(&second));
    let (of_first, of_second): (Arc<dyn Wanted>, Arc<dyn Wanted>) =
        (Arc::<Told>::clone(&first), Arc::<Told>::clone(&second));
    assert!(!circuit.unlead(&of_first), "it leads no more");
    assert!(circuit.hold(generation, secs(3_600)));
    assert!(is_turned_away(&circuit));
    assert_eq!((first.times(), second.times()), (1, 1));

    // What it held goes with it.
    circuit.lead(of_first);
    assert!(!circuit.unlead(&of_second));
    assert!(!is_turned_away(&circuit));
}

/// Answers on the thread of the call.
struct Answers {
    circuit: OnceLock<Weak<CircuitBreaker>>,
}

impl Wanted for Answers {
    fn wanted(&self, _: &'static str) {
        let circuit = self.circuit.get().and_then(Weak::upgrade).unwrap();
        let generation = circuit.standing().generation;
        assert!(circuit.release(generation));
        circuit.lead(Arc::<Told>::default());
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_told_may_call_back_for_no_lock_is_held() {
    let circuit = Arc::new(CircuitBreaker::new("held", settings()));
    let answers = Arc::new(Answers { circuit: OnceLock::new() });
    answers.circuit.set(Arc::downgrade(&circuit)).unwrap();
    circuit.lead(answers);
    let generation = trip(&circuit);
    assert!(circuit.hold(generation, secs(3_600)));
    advance(WAIT).await;
    assert!(is_turned_away(&circuit), "the one that it was told of is not the probe");
    assert!(!is_turned_away(&circuit));
}

#[tokio::test(start_paused = true)]
async fn in_dry_run_a_call_that_the_hold_would_have_turned_away_goes_through() {
    let (circuit, told) = led(settings().dry_run(true));
    let generation = trip(&circuit);
    assert!(circuit.hold(generation, secs(3_600)));
    advance(WAIT).await;
    circuit.try_acquire().unwrap().success();
    let standing = circuit.standing();
    assert_eq!((standing.state, standing.generation), (CircuitState::Open, generation));
    assert_eq!((standing.rejected, told.times()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_ramp_follows_the_probe_of_a_hold_and_is_not_held() {
    let (circuit, told) = led(settings().ramp_up(secs(60)));
    let generation = trip(&circuit);
    assert!(circuit.hold(generation, secs(3_600)));
    advance(WAIT).await;
    assert!(circuit.release(generation));
    circuit.try_acquire().unwrap().success();
    assert!(circuit.snapshot().ramp_up.is_some());
    assert!(!circuit.hold(circuit.standing().generation, secs(3_600)));
    let permit = circuit.try_acquire().unwrap();
    assert!(circuit.try_acquire().is_err(), "by the ramp");
    assert_eq!(told.times(), 0);

    permit.failure();
    let standing = circuit.standing();
    assert_eq!((standing.state, standing.reopens), (CircuitState::Open, 1));
    advance(WAIT).await;
    assert!(!is_turned_away(&circuit), "opened without one");
}
