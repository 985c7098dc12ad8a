//! C5: a circuit that closes lets its callers back by and by; and what rejected ones are told.

use std::error::Error;
use std::time::Duration;

use bindu_cb::testing::isolate;
use bindu_cb::{
    CircuitBreaker, CircuitBreakerSettings, CircuitState, OpenCause, OpenReason, Window,
    get_circuit_breaker, with_circuit_breaker,
};
use tokio::time::advance;

use crate::support::{Failure, Service, circuit, millis, secs, snapshot_of, trip};

fn ramp_settings() -> CircuitBreakerSettings {
    CircuitBreakerSettings::default()
        .failure_threshold(3)
        .recovery_timeout(secs(10))
        .recovery_multiplier(2.0)
        .ramp_up(secs(10))
}

fn ramping() -> CircuitBreaker {
    CircuitBreaker::new("ramp", ramp_settings())
}

/// Opens it, waits, and closes it by a probe.
async fn recover(circuit: &CircuitBreaker) {
    trip(circuit);
    let wait = circuit.snapshot().half_open_in.expect("it is open");
    advance(wait).await;
    circuit.try_acquire().expect("a probe").success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

/// How many of so many calls at this moment are let through; they succeed.
fn let_through(circuit: &CircuitBreaker, calls: u32) -> usize {
    let permits = (0..calls).filter_map(|_| circuit.try_acquire().ok());
    permits.map(bindu_cb::Permit::success).count()
}

#[tokio::test(start_paused = true)]
async fn the_share_rises_evenly_from_a_tenth_to_all() {
    let circuit = ramping();
    recover(&circuit).await;
    for (after, expected) in [(0, 100), (2_500, 325), (5_000, 550), (9_000, 910)] {
        let moment = Duration::from_millis(after);
        advance(moment.saturating_sub(circuit.snapshot().in_state_for)).await;
        let through = let_through(&circuit, 1_000);
        assert!(through.abs_diff(expected) <= 1, "{through} of 1000 after {after} ms");
    }
    advance(secs(1)).await;
    assert_eq!(let_through(&circuit, 1_000), 1_000);
    assert_eq!(circuit.snapshot().ramp_up, None);
}

#[tokio::test(start_paused = true)]
async fn the_state_is_closed_with_a_mark() {
    let circuit = ramping();
    assert_eq!(circuit.snapshot().ramp_up, None, "new ones let everybody through");
    recover(&circuit).await;
    advance(secs(5)).await;
    let snapshot = circuit.snapshot();
    assert_eq!(snapshot.state, CircuitState::Closed);
    let share = snapshot.ramp_up.expect("a mark");
    assert!((share - 0.55).abs() < 1e-6, "{share}");
}

#[tokio::test(start_paused = true)]
async fn who_is_turned_away_learns_when_to_come_back_and_why() {
    let circuit = ramping();
    recover(&circuit).await;
    let rejected: Vec<_> = (0..200).filter_map(|_| circuit.try_acquire().err()).collect();
    assert!(rejected.iter().all(|open| open.retry_after() <= secs(10)));
    let late = rejected.iter().filter(|open| open.retry_after() > secs(5)).count();
    assert!((rejected.len() * 2 / 5..rejected.len() * 3 / 5).contains(&late), "evenly: {late}");
    let cause = rejected[0].source().and_then(|cause| cause.downcast_ref::<OpenCause>()).unwrap();
    assert_eq!(cause.reason(), OpenReason::RampUp);
    assert_eq!(cause.to_string(), "closed again, and not yet for all calls");
}

#[tokio::test(start_paused = true)]
async fn a_trip_on_the_way_opens_again_and_waits_longer() {
    let circuit = ramping();
    recover(&circuit).await;
    advance(secs(9)).await;
    trip(&circuit);
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.reopens), (CircuitState::Open, 1));
    assert_eq!(snapshot.half_open_in, Some(secs(20)));
    let open = circuit.try_acquire().unwrap_err();
    let cause = OpenCause::find(&open).expect("the cause of a rejection");
    assert_eq!(cause.reason(), OpenReason::Failures, "it was no probe");
    assert_eq!(cause.to_string(), "opened after 3 failures in a row");
}

#[tokio::test(start_paused = true)]
async fn re_opens_start_over_when_the_ramp_is_done() {
    let circuit = ramping();
    recover(&circuit).await;
    advance(secs(10)).await;
    circuit.try_acquire().expect("everybody").success();
    trip(&circuit);
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.reopens, snapshot.half_open_in), (0, Some(secs(10))));
}

#[tokio::test(start_paused = true)]
async fn they_start_over_also_if_nobody_has_asked_since() {
    for window in [None, Some(Window::Calls(10))] {
        let mut settings = ramp_settings();
        settings.window = window;
        let circuit = CircuitBreaker::new("ramp", settings.failure_threshold(1).minimum_calls(1));
        recover(&circuit).await;
        let slow = circuit.try_acquire().expect("the first goes through");
        advance(secs(30)).await;
        slow.failure();
        let snapshot = circuit.snapshot();
        assert_eq!((snapshot.reopens, snapshot.half_open_in), (0, Some(secs(10))), "{window:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn resets_and_circuits_without_the_setting_have_no_ramp() {
    let by_hand = ramping();
    trip(&by_hand);
    by_hand.reset();
    assert_eq!(let_through(&by_hand, 100), 100);

    let without = circuit(3);
    recover(&without).await;
    assert_eq!(let_through(&without, 100), 100);
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_in_a_row_during_the_ramp_as_ever() {
    let circuit = ramping();
    recover(&circuit).await;
    advance(secs(9)).await;
    let next = || (0..10).find_map(|_| circuit.try_acquire().ok()).expect("nine of ten");
    next().failure();
    next().failure();
    next().success();
    next().failure();
    next().failure();
    assert_eq!(circuit.state(), CircuitState::Closed);
    next().failure();
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[with_circuit_breaker(
    op = "ramp:service",
    enabled = true,
    failure_threshold = 1,
    recovery_timeout = "1s",
    ramp_up = "10s"
)]
async fn guarded(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[with_circuit_breaker(
    op = "ramp:herd",
    enabled = true,
    failure_threshold = 1,
    recovery_timeout = "1s"
)]
async fn unguarded(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

/// The effect: what reaches a service in the first second after it has come back.
#[tokio::test(start_paused = true)]
async fn the_herd_does_not_knock_over_what_has_just_recovered() {
    let _cb = isolate();
    let (ramped, herd) = (Service::refusing(1), Service::refusing(1));
    guarded(&ramped).await.unwrap_err();
    unguarded(&herd).await.unwrap_err();
    advance(secs(1)).await;
    for _ in 0..1_000 {
        let _ = guarded(&ramped).await;
        let _ = unguarded(&herd).await;
        advance(millis(1)).await;
    }
    assert_eq!(herd.asked(), 1_001);
    assert!((130..170).contains(&ramped.asked()), "{}: from 10 to 19 %", ramped.asked());
    let share = snapshot_of("ramp:service").ramp_up.expect("under way");
    assert!((share - 0.19).abs() < 0.01, "{share}");
    assert_eq!(get_circuit_breaker("ramp:service").state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn those_who_do_as_they_are_told_do_not_come_back_at_once() {
    let circuit = circuit(3);
    trip(&circuit);
    let told: Vec<_> =
        (0..1_000).map(|_| circuit.try_acquire().unwrap_err().retry_after()).collect();
    assert!(told.iter().all(|wait| (secs(30)..=secs(33)).contains(wait)));
    for tenth in 0..10 {
        let from = secs(30) + millis(300) * tenth;
        let there = told.iter().filter(|wait| (from..from + millis(300)).contains(wait)).count();
        assert!((90..=110).contains(&there), "{there} of 1000 in part {tenth}");
    }
    assert_eq!(circuit.snapshot().half_open_in, Some(secs(30)), "nothing has moved");
}

#[test]
fn nor_do_those_of_different_threads() {
    let circuit = circuit(1);
    trip(&circuit);
    let all_alive = std::sync::Barrier::new(8);
    let mut told: Vec<_> = std::thread::scope(|scope| {
        let ask = || {
            let open = circuit.try_acquire().unwrap_err();
            all_alive.wait();
            open.retry_after()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    told.sort();
    // The clock runs on meanwhile, by far less than this.
    let apart = told.windows(2).filter(|pair| pair[1].abs_diff(pair[0]) > millis(50)).count();
    assert!(apart >= 6, "{told:?}");
}
