//! B6: a panic is a failure, and goes on unwinding.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use bindu_cb::testing::isolate;
use bindu_cb::{
    CircuitState, Operation, get_circuit_breaker, retry_with_breaker, with_circuit_breaker,
};

use crate::support::{Failure, Service, circuit, secs, trip_and_wait};

#[retry_with_breaker(op = "panics")]
async fn panics() -> Result<(), Failure> {
    tokio::task::yield_now().await;
    panic!("out of luck");
}

#[retry_with_breaker(op = "panics", attempts = 3)]
async fn fails_and_then_panics(attempts: Rc<Cell<u32>>) -> Result<(), Failure> {
    attempts.set(attempts.get() + 1);
    match attempts.get() {
        2 => panic!("out of luck"),
        n => Err(Failure::Refused(n)),
    }
}

#[with_circuit_breaker(op = "panics", timeout = "1s")]
async fn panics_within_a_timeout() -> Result<(), Failure> {
    panic!("out of luck");
}

#[retry_with_breaker(op = "panics", retry_if = |_| panic!("out of luck"))]
async fn panics_over_its_error() -> Result<(), Failure> {
    Err(Failure::Refused(1))
}

#[retry_with_breaker(op = "panics", fail_if = |()| panic!("out of luck"))]
async fn panics_over_its_value() -> Result<(), Failure> {
    Ok(())
}

/// Awaits the future in a task and returns the text of its panic.
async fn panic_of<T: 'static>(future: impl Future<Output = T> + 'static) -> &'static str {
    let tasks = tokio::task::LocalSet::new();
    let task = tasks.spawn_local(future);
    tasks.await;
    let Err(error) = task.await else { panic!("there was no panic") };
    error.into_panic().downcast::<&str>().map_or("another panic", |text| *text)
}

#[tokio::test(start_paused = true)]
async fn a_panic_reaches_the_caller_as_it_was_and_counts_as_a_failure() {
    let cb = isolate();
    cb.enabled(true);
    assert_eq!(panic_of(panics()).await, "out of luck");
    let snapshot = get_circuit_breaker("panics").snapshot();
    assert_eq!((snapshot.calls.failure, snapshot.consecutive_failures), (1, 1));
    assert!(snapshot.last_failure.is_some_and(|text| text.contains("panic")));
}

#[tokio::test(start_paused = true)]
async fn the_third_panic_in_a_row_opens() {
    let cb = isolate();
    cb.enabled(true);
    for _ in 0..3 {
        assert_eq!(panic_of(panics()).await, "out of luck");
    }
    assert!(matches!(panics().await, Err(Failure::Open(_))));
}

#[tokio::test(start_paused = true)]
async fn a_panic_after_a_failed_attempt_is_not_retried_and_one_failure() {
    let cb = isolate();
    cb.enabled(true);
    let attempts = Rc::new(Cell::new(0));
    assert_eq!(panic_of(fails_and_then_panics(Rc::clone(&attempts))).await, "out of luck");
    assert_eq!(attempts.get(), 2);
    let calls = get_circuit_breaker("panics").snapshot().calls;
    assert_eq!((calls.failure, calls.cancelled, calls.success), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_closure_of_the_attribute_is_a_failure() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("panics");
    assert_eq!(panic_of(panics_over_its_error()).await, "out of luck");
    assert_eq!(circuit.snapshot().calls.failure, 1);
    assert_eq!(panic_of(panics_over_its_value()).await, "out of luck");
    assert_eq!(circuit.snapshot().calls.failure, 2);
}

#[tokio::test(start_paused = true)]
async fn every_way_to_call_counts_a_panic() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("panics");
    let body = || async { Service::up().ask().map(|_| panic!("out of luck")) };
    assert_eq!(panic_of(panics_within_a_timeout()).await, "out of luck");
    let operation = Operation::builder("panics").build().unwrap();
    assert_eq!(panic_of(async move { operation.call(body).await }).await, "out of luck");
    assert_eq!(circuit.snapshot().calls.failure, 2);
    let same = get_circuit_breaker("panics");
    assert_eq!(panic_of(async move { same.call(body).await }).await, "out of luck");
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_permit_dropped_by_a_panic_is_a_failure_and_one_dropped_afterwards_is_not() {
    let circuit = circuit(2);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _permit = circuit.try_acquire().unwrap();
        panic!("out of luck");
    }));
    assert!(unwound.is_err());
    drop(circuit.try_acquire().unwrap());
    let calls = circuit.snapshot().calls;
    assert_eq!((calls.failure, calls.cancelled), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_opens_again() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("panics");
    trip_and_wait(&circuit).await;
    assert_eq!(panic_of(panics()).await, "out of luck");
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.reopens), (CircuitState::Open, 1));

    tokio::time::advance(secs(30)).await;
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed, "a panic poisons nothing");
}
