//! B6: a call that is dropped returns its permit.

use std::future::pending;

use bindu_cb::testing::isolate;
use bindu_cb::{
    CircuitBreaker, CircuitBreakerSettings, CircuitState, OnCancel, Operation, RetrySettings,
    execute_with_retry, get_circuit_breaker, retry_with_breaker, with_circuit_breaker,
};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::support::{Failure, circuit, millis, secs, trip_and_wait};

#[retry_with_breaker(op = "hangs")]
async fn hangs() -> Result<(), Failure> {
    pending().await
}

#[with_circuit_breaker(op = "hangs")]
async fn hangs_without_a_loop() -> Result<(), Failure> {
    pending().await
}

#[retry_with_breaker(op = "strict", on_cancel = "failure", failure_threshold = 2)]
async fn hangs_strictly() -> Result<(), Failure> {
    pending().await
}

/// Successes, failures and cancelled calls of a circuit.
fn outcomes(circuit: &CircuitBreaker) -> (u64, u64, u64) {
    let calls = circuit.snapshot().calls;
    (calls.success, calls.failure, calls.cancelled)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_loses_a_select_is_cancelled() {
    let cb = isolate();
    cb.enabled(true);
    tokio::select! {
        result = hangs() => panic!("it hangs, and yet there is {result:?}"),
        () = sleep(millis(1)) => {}
    }
    assert_eq!(outcomes(&get_circuit_breaker("hangs")), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_callers_timeout_drops_is_cancelled() {
    let cb = isolate();
    cb.enabled(true);
    assert!(timeout(secs(1), hangs()).await.is_err());
    assert!(timeout(secs(1), hangs_without_a_loop()).await.is_err());
    assert_eq!(outcomes(&get_circuit_breaker("hangs")), (0, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_task_is_aborted_is_cancelled() {
    let cb = isolate();
    cb.enabled(true);
    let task = tokio::spawn(hangs());
    yield_now().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(outcomes(&get_circuit_breaker("hangs")), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_polled_never_was() {
    let cb = isolate();
    cb.enabled(true);
    drop(hangs_strictly());
    assert!(bindu_cb::registry().get("strict").is_none());
}

#[tokio::test(start_paused = true)]
async fn calls_without_an_attribute_are_cancelled_alike() {
    let cb = isolate();
    cb.enabled(true);
    let hang = pending::<Result<(), Failure>>;

    let operation = Operation::builder("hangs").build().unwrap();
    assert!(timeout(secs(1), operation.call(hang)).await.is_err());
    let executed = execute_with_retry("hangs", RetrySettings::default(), hang);
    assert!(timeout(secs(1), executed).await.is_err());
    let circuit = get_circuit_breaker("hangs");
    assert!(timeout(secs(1), circuit.call(hang)).await.is_err());
    drop(circuit.try_acquire().unwrap());
    assert_eq!(outcomes(&circuit), (0, 0, 4));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_neither_counts_as_a_failure_nor_starts_the_count_over() {
    let circuit = circuit(3);
    circuit.try_acquire().unwrap().failure();
    circuit.try_acquire().unwrap().failure();
    for _ in 0..100 {
        drop(circuit.try_acquire().unwrap());
    }
    assert_eq!(circuit.snapshot().consecutive_failures, 2);
    circuit.try_acquire().unwrap().failure();
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn on_cancel_failure_makes_dropped_calls_open_the_circuit() {
    let cb = isolate();
    cb.enabled(true);
    assert!(timeout(secs(1), hangs_strictly()).await.is_err());
    let circuit = get_circuit_breaker("strict");
    assert_eq!(circuit.state(), CircuitState::Closed);
    assert!(timeout(secs(1), hangs_strictly()).await.is_err());
    assert_eq!(circuit.state(), CircuitState::Open);
    assert_eq!(outcomes(&circuit), (0, 2, 0));

    let rejected = timeout(secs(1), hangs_strictly()).await;
    assert!(matches!(rejected, Ok(Err(Failure::Open(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_returns_its_permit_and_decides_nothing() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("hangs");
    trip_and_wait(&circuit).await;
    for _ in 0..100 {
        assert!(timeout(millis(1), hangs()).await.is_err(), "it was admitted, and hung");
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
    }
    let calls = circuit.snapshot().calls;
    assert_eq!((calls.cancelled, calls.rejected), (100, 1), "the one rejection is the trip's");

    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_leaves_the_successes_before_it_standing() {
    let settings = CircuitBreakerSettings::default().failure_threshold(1).success_threshold(2);
    let circuit = CircuitBreaker::new("test", settings);
    trip_and_wait(&circuit).await;
    circuit.try_acquire().unwrap().success();
    drop(circuit.try_acquire().unwrap());
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_dropped_under_on_cancel_failure_opens_again() {
    let settings =
        CircuitBreakerSettings::default().failure_threshold(1).on_cancel(OnCancel::Failure);
    let circuit = CircuitBreaker::new("test", settings);
    trip_and_wait(&circuit).await;
    drop(circuit.try_acquire().unwrap());
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.reopens), (CircuitState::Open, 1));
}
