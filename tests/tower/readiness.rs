//! `poll_ready` is the inner service's: nothing is taken by it that could be lost, and nobody is
//! called who is not ready.

use std::time::Duration;

use bindu_cb::testing::isolate;
use bindu_cb::{AttemptTimeoutError, CircuitState, Count, get_circuit_breaker};
use tokio::time::{Instant, advance, sleep};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_service_is_as_ready_as_the_one_inside() {
    let _cb = isolate();
    let (mut service, mut handle) = mock(operation("ready"));
    handle.allow(0);
    assert!(poll_ready(&mut service).is_pending());
    handle.allow(1);
    assert!(matches!(poll_ready(&mut service), std::task::Poll::Ready(Ok(()))));
    handle.send_error("gone");
    let gone = service.ready().await.unwrap_err();
    assert_eq!(gone.to_string(), "gone");
    assert_eq!(counts("ready"), bindu_cb::CallCounts::default(), "the circuit was not asked");
}

#[tokio::test(start_paused = true)]
async fn readiness_that_nobody_makes_use_of_takes_no_permit() {
    let _cb = isolate();
    let (service, mut handle) = mock(operation("unused").failure_threshold(1));
    let circuit = get_circuit_breaker("unused");
    circuit.try_acquire().unwrap().failure();
    advance(secs(30)).await;

    // The circuit has one permit to give, for a probe.
    let mut others: Vec<_> = (0..100).map(|_| service.clone()).collect();
    for other in &mut others {
        other.ready().await.unwrap();
    }
    assert_eq!(circuit.state(), CircuitState::Open, "nobody has called");
    let mut probing = service.clone();
    let call = begin(&mut probing, "probe").await;
    drop(others);
    let answered = async {
        expect(&mut handle, "probe").await.send_response("up");
    };
    let (result, ()) = tokio::join!(call, answered);
    assert_eq!(result.unwrap(), "up");
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_rejects_a_call_and_keeps_nobody_waiting_for_readiness() {
    let _cb = isolate();
    let (mut service, mut handle) = mock(operation("open"));
    get_circuit_breaker("open").force_open();
    let ready = service.ready().await.unwrap();
    let rejected = ready.call("request").await.unwrap_err();
    assert!(is_open(&rejected), "{rejected}");
    assert!(handle.poll_request().is_pending(), "nobody was asked");
    assert_eq!(counts("open").rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_call_lets_go_of_what_readiness_has_reserved() {
    let _cb = isolate();
    let limited = ConcurrencyLimit::new(Server::up(), 1);
    let mut rejected = layer(operation("reserved")).layer(limited);
    let mut other = rejected.clone();
    get_circuit_breaker("reserved").force_open();
    begin(&mut rejected, ()).await.await.unwrap_err();
    // The place that the first one had reserved.
    assert!(poll_ready::<(), _>(&mut other).is_ready());
}

#[tokio::test(start_paused = true)]
async fn the_service_that_is_ready_makes_the_first_attempt_and_ready_clones_the_others() {
    let _cb = isolate();
    // Would panic if it were called without being ready.
    let (mut service, mut handle) = mock(operation("contract").attempts(3));
    let call = begin(&mut service, "request").await;
    let answers = async {
        expect(&mut handle, "request").await.send_error("busy");
        expect(&mut handle, "request").await.send_error("busy");
        expect(&mut handle, "request").await.send_response("done");
    };
    let (result, ()) = tokio::join!(call, answers);
    assert_eq!(result.unwrap(), "done");
    // The same service, for another call: it must be made ready again.
    let call = begin(&mut service, "another").await;
    let answer = async { expect(&mut handle, "another").await.send_response("done") };
    assert_eq!(tokio::join!(call, answer).0.unwrap(), "done");
}

#[tokio::test(start_paused = true)]
async fn a_further_attempt_waits_until_its_service_is_ready() {
    let _cb = isolate();
    let (call, mut handle) = unready(operation("patient")).await;
    let answer = async {
        sleep(secs(3600)).await;
        handle.allow(1);
        expect(&mut handle, "request").await.send_response("done");
    };
    assert_eq!(tokio::join!(call, answer).0.unwrap(), "done");
    assert_eq!((counts("patient").success, counts("patient").failure), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_trip_ends_the_wait_for_readiness_at_once() {
    let _cb = isolate();
    for count in [Count::Call, Count::Attempt] {
        let name = format!("tripped-{count:?}");
        let (call, mut handle) = unready(operation(&name).count(count)).await;
        let began = Instant::now();
        let trip = async {
            sleep(secs(5)).await;
            get_circuit_breaker(&name).force_open();
            // Too late: the trip came first.
            handle.allow(1);
        };
        let rejected = tokio::join!(call, trip).0.unwrap_err();
        assert!(is_open(&rejected), "{rejected}");
        assert_eq!(began.elapsed(), secs(5));
        assert!(handle.next_request().await.is_none(), "the service is gone without another call");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_of_an_attempt_is_also_for_its_readiness() {
    let _cb = isolate();
    let (call, _handle) = unready(operation("limited").attempts(2).timeout(secs(7))).await;
    let began = Instant::now();
    let error = call.await.unwrap_err();
    let timed_out = error.downcast_ref::<AttemptTimeoutError>().expect("it timed out");
    // One second of it has passed before.
    assert_eq!((timed_out.timeout(), began.elapsed()), (secs(7), secs(6)));
    assert_eq!(counts("limited").failure, 1);
}

#[tokio::test(start_paused = true)]
async fn what_readiness_has_taken_of_the_time_limit_the_attempt_has_not() {
    let _cb = isolate();
    let (call, mut handle) = unready(operation("rest").attempts(2).timeout(secs(7))).await;
    let began = Instant::now();
    let silent = async {
        sleep(secs(4)).await;
        handle.allow(1);
        let answer = expect(&mut handle, "request").await;
        sleep(secs(60)).await;
        drop(answer);
    };
    let (ended, ()) = tokio::join!(async { (call.await, began.elapsed()) }, silent);
    assert!(ended.0.unwrap_err().is::<AttemptTimeoutError>());
    assert_eq!(ended.1, secs(6));
}

#[tokio::test(start_paused = true)]
async fn after_a_readiness_that_timed_out_there_may_be_another_attempt() {
    let _cb = isolate();
    let (call, mut handle) = unready(operation("again").attempts(3).timeout(secs(7))).await;
    let answer = async {
        // After the time limit, and in the wait before the third attempt.
        sleep(millis(6500)).await;
        handle.allow(1);
        expect(&mut handle, "request").await.send_response("done");
    };
    assert_eq!(tokio::join!(call, answer).0.unwrap(), "done");
    assert_eq!(counts("again").success, 1);
}

/// Makes the only place of a service taken, from half a second on for so long. Whether it is free
/// once it has been given back.
async fn occupies(limited: ConcurrencyLimit<Server>, time: Duration) -> bool {
    let (mut holder, mut other) = (limited.clone(), limited);
    sleep(millis(500)).await;
    ServiceExt::<()>::ready(&mut holder).await.unwrap();
    sleep(time).await;
    drop(holder);
    poll_ready::<(), _>(&mut other).is_ready()
}

#[tokio::test(start_paused = true)]
async fn after_a_readiness_that_timed_out_the_wait_holds_no_place_in_a_queue_below() {
    let _cb = isolate();
    let limited = ConcurrencyLimit::new(Server::refusing(1), 1);
    let others = occupies(limited.clone(), secs(6));
    // From 1 s to 6 s it is in the queue, and after 8 s again.
    let service = layer(operation("queued").attempts(3).timeout(secs(5))).layer(limited);
    let (ended, free) = tokio::join!(service.oneshot(()), others);
    assert!(free, "it would be given to somebody who does not ask");
    assert_eq!(ended.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_stopped_before_its_service_was_ready_holds_no_place_either() {
    let _cb = isolate();
    let limited = ConcurrencyLimit::new(Server::refusing(1), 1);
    let others = occupies(limited.clone(), secs(6));
    let mut service = layer(operation("stopped")).layer(limited);
    let mut call = Box::pin(begin(&mut service, ()).await);
    let stop = async {
        sleep(secs(3)).await;
        get_circuit_breaker("stopped").force_open();
    };
    let (stopped, (), free) = tokio::join!(&mut call, stop, others);
    assert!(is_open(&stopped.unwrap_err()));
    assert!(free, "though its future is still there");
    drop(call);
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_fails_to_become_ready_ends_the_call() {
    let _cb = isolate();
    let (call, mut handle) = unready(operation("broken").attempts(5)).await;
    let gone = async {
        sleep(secs(1)).await;
        handle.send_error("gone");
    };
    assert_eq!(tokio::join!(call, gone).0.unwrap_err().to_string(), "gone");
    assert_eq!(counts("broken").failure, 1);
}

#[tokio::test(start_paused = true)]
async fn attempts_that_are_counted_singly_hold_no_permit_until_their_service_is_ready() {
    let _cb = isolate();
    let (call, _handle) = unready(operation("single").count(Count::Attempt)).await;
    drop(call);
    // The first attempt was told; there was no permit for a second one to be cancelled.
    assert_eq!((counts("single").failure, counts("single").cancelled), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn attempts_that_are_counted_singly_ask_when_their_service_is_ready() {
    let _cb = isolate();
    let (call, mut handle) = unready(operation("asking").count(Count::Attempt)).await;
    handle.allow(1);
    let answer = async { expect(&mut handle, "request").await.send_response("done") };
    assert_eq!(tokio::join!(call, answer).0.unwrap(), "done");
    assert_eq!((counts("asking").failure, counts("asking").success), (1, 1));
}
