//! B6: a call that is dropped, or panics, gives its permit back, in whatever phase it is.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use bindu_cb::testing::isolate;
use bindu_cb::{CallCounts, CircuitState, Count, OperationBuilder, Verdict, get_circuit_breaker};
use tokio::time::{advance, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::*;

/// A circuit whose only permit is that of the call that follows.
async fn half_open(operation: OperationBuilder, name: &str) -> (MockService, MockHandle) {
    let (service, handle) = mock(operation.failure_threshold(1).probe_attempts(9));
    get_circuit_breaker(name).try_acquire().unwrap().failure();
    advance(secs(30)).await;
    (service, handle)
}

/// The permit is back, and nobody has decided anything.
fn assert_returned(name: &str) {
    let circuit = get_circuit_breaker(name);
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    circuit.try_acquire().expect("the permit is free").success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn dropped_before_it_was_polled_a_call_is_cancelled() {
    let _cb = isolate();
    let (mut service, _handle) = half_open(operation("unpolled"), "unpolled").await;
    drop(begin(&mut service, "request").await);
    assert_eq!(counts("unpolled").cancelled, 1);
    assert_returned("unpolled");
}

#[tokio::test(start_paused = true)]
async fn dropped_in_its_first_attempt_a_call_is_cancelled() {
    let _cb = isolate();
    for limit in [None, Some(secs(60))] {
        let name = format!("first-{limit:?}");
        let builder = operation(&name);
        let builder = if let Some(limit) = limit { builder.timeout(limit) } else { builder };
        let (mut service, mut handle) = half_open(builder, &name).await;
        let call = begin(&mut service, "request").await;
        assert!(timeout(secs(1), call).await.is_err());
        let _answer = expect(&mut handle, "request").await;
        assert_eq!(counts(&name).cancelled, 1);
        assert_returned(&name);
    }
}

/// A call that has failed once, after this long.
async fn failed_once(service: &mut MockService, handle: &mut MockHandle, more: u64) -> CallCounts {
    let mut call = Box::pin(begin(service, "request").await);
    expect(handle, "request").await.send_error("busy");
    assert!(timeout(millis(more), &mut call).await.is_err());
    let under_way = counts("dropped");
    assert_eq!((under_way.failure, under_way.cancelled), (0, 0), "it is not yet known");
    drop(call);
    counts("dropped")
}

#[tokio::test(start_paused = true)]
async fn dropped_after_an_attempt_has_failed_a_call_is_a_failure() {
    let _cb = isolate();
    let (mut service, mut handle) = mock(operation("dropped").failure_threshold(3));
    // In the wait.
    assert_eq!(failed_once(&mut service, &mut handle, 500).await.failure, 1);
    get_circuit_breaker("dropped").reset();
    drop(service);

    // While it waits until the service is ready.
    let _other = isolate();
    let (mut service, mut handle) = mock(operation("dropped"));
    handle.allow(1);
    assert_eq!(failed_once(&mut service, &mut handle, 1500).await.failure, 1);
    assert!(handle.poll_request().is_pending());

    // In its second attempt.
    let _third = isolate();
    let (mut service, mut handle) = mock(operation("dropped"));
    assert_eq!(failed_once(&mut service, &mut handle, 1500).await.failure, 1);
    assert!(handle.poll_request().is_ready(), "it had begun");
}

#[tokio::test(start_paused = true)]
async fn attempts_that_are_counted_singly_hold_nothing_between_them() {
    let _cb = isolate();
    let (mut service, mut handle) = mock(operation("between").count(Count::Attempt));
    let mut call = Box::pin(begin(&mut service, "request").await);
    expect(&mut handle, "request").await.send_error("busy");
    assert!(timeout(millis(500), &mut call).await.is_err());
    drop(call);
    let calls = counts("between");
    assert_eq!((calls.failure, calls.cancelled), (1, 0), "the attempt, and no more");
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_nobody_looks_at_is_counted_once() {
    let cb = isolate();
    let (mut service, _handle) = mock(operation("unseen"));
    cb.force_open("unseen");
    drop(begin(&mut service, "request").await);
    assert_eq!((counts("unseen").rejected, counts("unseen").cancelled), (1, 0));
}

/// A panic in `what`, by a future that is kept, as a task's is until its panic has been caught.
fn panics<F: Future + Unpin>(mut what: F) -> bool {
    let poll = AssertUnwindSafe(|| poll_once(Pin::new(&mut what)));
    let panicked = std::panic::catch_unwind(poll).is_err();
    drop(what);
    panicked
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_also_of_a_future_that_is_dropped_later() {
    let _cb = isolate();
    let inner =
        service_fn(|()| async { if true { panic!("a bug") } else { Ok::<(), Refused>(()) } });
    let mut service = layer(operation("panics")).layer(inner);
    let call = begin(&mut service, ()).await;
    assert!(panics(Box::pin(call)));
    let calls = counts("panics");
    assert_eq!((calls.failure, calls.cancelled), (1, 0));
    let snapshot = get_circuit_breaker("panics").snapshot();
    assert_eq!(snapshot.last_failure.as_deref(), Some("the call panicked"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_verdict_is_a_failure_too() {
    let _cb = isolate();
    let bug = |_: &Result<u32, Refused>| -> Verdict { panic!("a bug") };
    let mut service = layer(operation("verdict")).verdict(bug).layer(Server::up());
    let call = begin(&mut service, ()).await;
    assert!(panics(Box::pin(call)));
    assert_eq!(counts("verdict").failure, 1);
}

#[derive(Clone)]
struct PanicsWhenCalled;

impl Service<()> for PanicsWhenCalled {
    type Response = ();
    type Error = Refused;
    type Future = std::future::Ready<Result<(), Refused>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        panic!("a bug")
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_call_is_a_failure_too() {
    let _cb = isolate();
    let service = layer(operation("calling")).layer(PanicsWhenCalled);
    assert!(panics(Box::pin(service.oneshot(()))));
    assert_eq!(counts("calling").failure, 1);
}
