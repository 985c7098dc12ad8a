//! B5: an outcome of another generation changes nothing but the `stale` count.

use bindu_cb::testing::isolate;
use bindu_cb::{
    CircuitBreaker, CircuitBreakerSettings, CircuitState, Permit, get_circuit_breaker,
    retry_with_breaker,
};
use tokio::time::{advance, sleep};

use crate::support::{Failure, circuit, secs, trip, trip_and_wait};

/// Everything that an outcome could change, but for the stale count.
fn figures(circuit: &CircuitBreaker) -> impl PartialEq + std::fmt::Debug {
    let snapshot = circuit.snapshot();
    let mut calls = snapshot.calls;
    calls.stale = 0;
    (
        (snapshot.state, snapshot.in_state_for, snapshot.half_open_in),
        (snapshot.consecutive_failures, snapshot.probe_successes, snapshot.reopens),
        snapshot.last_failure,
        calls,
    )
}

fn stale(circuit: &CircuitBreaker) -> u64 {
    circuit.snapshot().calls.stale
}

/// Two permits for each outcome that there is.
fn all_outcomes(circuit: &CircuitBreaker) -> Vec<Permit<'_>> {
    (0..8).map(|_| circuit.try_acquire().unwrap()).collect()
}

/// Ends the calls, with every outcome in turn, and checks that each is only stale.
fn end_stale(circuit: &CircuitBreaker, permits: Vec<Permit<'_>>) {
    let (before, stale_before) = (figures(circuit), stale(circuit));
    let ended = permits.len() as u64;
    for (index, permit) in permits.into_iter().enumerate() {
        match index % 4 {
            0 => permit.success(),
            1 => permit.failure(),
            2 => permit.ignore(),
            _ => drop(permit),
        }
        assert_eq!(figures(circuit), before);
    }
    assert_eq!(stale(circuit), stale_before + ended);
}

#[tokio::test(start_paused = true)]
async fn calls_that_end_while_the_circuit_is_open() {
    let circuit = circuit(3);
    let begun_before = all_outcomes(&circuit);
    trip(&circuit);
    advance(secs(10)).await;
    end_stale(&circuit, begun_before);

    advance(secs(20)).await;
    assert!(circuit.try_acquire().is_ok(), "the wait was neither longer nor shorter");
}

#[tokio::test(start_paused = true)]
async fn calls_that_end_after_the_wait_and_before_a_probe() {
    let circuit = circuit(3);
    let begun_before = all_outcomes(&circuit);
    trip_and_wait(&circuit).await;
    end_stale(&circuit, begun_before);
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn calls_that_end_while_the_circuit_is_half_open() {
    let settings = CircuitBreakerSettings::default()
        .failure_threshold(3)
        .success_threshold(2)
        .half_open_permits(1);
    let circuit = CircuitBreaker::new("test", settings);
    let begun_before = all_outcomes(&circuit);
    trip_and_wait(&circuit).await;
    let probe = circuit.try_acquire().unwrap();
    end_stale(&circuit, begun_before);
    assert!(circuit.try_acquire().is_err(), "none of them has given the probe's permit back");

    probe.success();
    assert_eq!(circuit.state(), CircuitState::HalfOpen, "none was counted as a probe's success");
}

#[tokio::test(start_paused = true)]
async fn calls_that_end_after_the_circuit_has_closed_again() {
    let circuit = circuit(3);
    let begun_before = all_outcomes(&circuit);
    trip_and_wait(&circuit).await;
    circuit.try_acquire().unwrap().success();
    circuit.try_acquire().unwrap().failure();
    assert_eq!(circuit.state(), CircuitState::Closed);
    end_stale(&circuit, begun_before);
    assert_eq!(circuit.snapshot().consecutive_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn probes_that_end_after_another_has_closed_or_re_opened_the_circuit() {
    let settings = CircuitBreakerSettings::default().half_open_permits(9);
    for close in [true, false] {
        let circuit = CircuitBreaker::new("test", settings.clone());
        trip_and_wait(&circuit).await;
        let others = all_outcomes(&circuit);
        let probe = circuit.try_acquire().unwrap();
        if close {
            probe.success();
            assert_eq!(circuit.state(), CircuitState::Closed);
        } else {
            probe.failure();
            assert_eq!(circuit.state(), CircuitState::Open);
        }
        end_stale(&circuit, others);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_end_after_a_manual_change() {
    for change in [CircuitBreaker::reset, CircuitBreaker::force_open, CircuitBreaker::force_closed]
    {
        let circuit = circuit(3);
        let begun_before = all_outcomes(&circuit);
        circuit.try_acquire().unwrap().failure();
        change(&circuit);
        end_stale(&circuit, begun_before);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_admitted_by_force_that_end_after_it() {
    let circuit = circuit(1);
    circuit.force_closed();
    let begun_before = all_outcomes(&circuit);
    circuit.reset();
    end_stale(&circuit, begun_before);
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_manual_change_to_the_same_state_is_a_change() {
    let circuit = circuit(3);
    let begun_before = all_outcomes(&circuit);
    circuit.reset();
    end_stale(&circuit, begun_before);
}

#[retry_with_breaker(op = "slow", attempts = 1, failure_threshold = 1)]
async fn slow(succeeds: bool) -> Result<(), Failure> {
    sleep(secs(60)).await;
    if succeeds { Ok(()) } else { Err(Failure::Refused(1)) }
}

#[tokio::test(start_paused = true)]
async fn slow_functions_that_began_before_the_trip() {
    let cb = isolate();
    cb.enabled(true);
    let (good, bad) = (tokio::spawn(slow(true)), tokio::spawn(slow(false)));
    sleep(secs(1)).await;
    let circuit = get_circuit_breaker("slow");
    trip(&circuit);

    assert!(good.await.unwrap().is_ok(), "their results are their own, all the same");
    assert!(matches!(bad.await.unwrap(), Err(Failure::Refused(1))));
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.half_open_in), (CircuitState::Open, Some(secs(0))));
    let calls = snapshot.calls;
    assert_eq!((calls.success, calls.failure, calls.stale), (0, 1, 2), "one failure tripped it");
}
