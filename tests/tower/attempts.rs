//! The loop around a service: attempts, waits, verdicts.

use std::io;
use std::time::Duration;

use bindu_cb::testing::isolate;
use bindu_cb::tower::BoxError;
use bindu_cb::{
    AttemptTimeoutError, CircuitBreakerOpenError, Verdict, get_circuit_breaker, retry_with_breaker,
};
use tokio::time::{Instant, sleep};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_call_is_tried_again_after_growing_waits() {
    let _cb = isolate();
    let (server, began) = (Server::refusing(3), Instant::now());
    let service = layer(operation("waits").attempts(4)).layer(server.clone());
    assert_eq!(service.oneshot(()).await.unwrap(), 4);
    assert_eq!((server.asked(), began.elapsed()), (4, secs(1 + 2 + 4)));
    assert_eq!((counts("waits").success, counts("waits").failure), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_last_attempts_own_error_is_in_the_box() {
    let _cb = isolate();
    let service = layer(operation("own").attempts(3)).layer(Server::down());
    let last = service.oneshot(()).await.unwrap_err();
    assert_eq!(last.downcast_ref(), Some(&Refused(3)));
    let snapshot = get_circuit_breaker("own").snapshot();
    assert_eq!(snapshot.last_failure.as_deref(), Some("connection refused, 3"));
}

#[tokio::test(start_paused = true)]
async fn a_box_is_not_boxed_again() {
    let _cb = isolate();
    let inner = service_fn(|()| async { Err::<(), BoxError>(Refused(7).into()) });
    let service = layer(operation("boxed").attempts(1)).layer(inner);
    assert_eq!(service.oneshot(()).await.unwrap_err().downcast_ref(), Some(&Refused(7)));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_has_a_time_limit_and_is_dropped_before_the_wait() {
    let _cb = isolate();
    let hangs = service_fn(|()| std::future::pending::<Result<(), Refused>>());
    let limited = ConcurrencyLimit::new(hangs, 1);
    let mut other = limited.clone();
    let service = layer(operation("slow").attempts(2).timeout(secs(5))).layer(limited);
    let began = Instant::now();
    let free_in_the_wait = async {
        sleep(millis(5500)).await;
        poll_ready::<(), _>(&mut other).is_ready()
    };
    let (ended, free) = tokio::join!(service.oneshot(()), free_in_the_wait);
    assert!(free, "the attempt that timed out holds the service no longer");
    // It is `other` that holds it now.
    let timed_out = ended.unwrap_err();
    assert!(timed_out.is::<AttemptTimeoutError>(), "{timed_out}");
    assert_eq!(began.elapsed(), secs(5 + 1 + 5));
    assert_eq!(counts("slow").failure, 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_failed_is_dropped_before_the_wait() {
    let _cb = isolate();
    let limited = ConcurrencyLimit::new(Server::refusing(1), 1);
    let mut other = limited.clone();
    let service = layer(operation("released")).layer(limited);
    let free_in_the_wait = async {
        sleep(millis(500)).await;
        let free = poll_ready::<(), _>(&mut other).is_ready();
        drop(other);
        free
    };
    let (ended, free) = tokio::join!(service.oneshot(()), free_in_the_wait);
    assert_eq!((ended.unwrap(), free), (2, true));
}

/// Answers with the status that it is asked for.
fn echo() -> impl Service<u16, Response = u16, Error = Refused, Future: Send> + Clone {
    service_fn(|status: u16| async move { Ok(status) })
}

#[tokio::test(start_paused = true)]
async fn a_verdict_is_for_values_too() {
    let _cb = isolate();
    let by_status = |result: &Result<u16, Refused>| match result {
        Ok(429) => Verdict::Throttled(Duration::from_millis(10)),
        Ok(503) | Err(_) => Verdict::Transient,
        Ok(418) => Verdict::Ignored,
        Ok(400..) => Verdict::Permanent,
        Ok(_) => Verdict::Success,
    };
    let service = layer(operation("status").attempts(2)).verdict(by_status).layer(echo());
    for (status, took) in
        [(200, 0), (404, 0), (418, 0), (429, 10), (503, 1000)].map(|(s, t)| (s, millis(t)))
    {
        let began = Instant::now();
        let answer = service.clone().oneshot(status).await.unwrap();
        assert_eq!((answer, began.elapsed()), (status, took), "{status}");
    }
    let calls = counts("status");
    assert_eq!((calls.success, calls.failure, calls.ignored), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn errors_with_classify_say_themselves_what_they_mean() {
    let _cb = isolate();
    let fails = service_fn(|kind| async move { Err::<(), _>(io::Error::from(kind)) });
    let service = layer(operation("classified").attempts(2)).classify().layer(fails);
    service.clone().oneshot(io::ErrorKind::NotFound).await.unwrap_err();
    assert_eq!((counts("classified").success, counts("classified").failure), (1, 0));
    service.oneshot(io::ErrorKind::ConnectionReset).await.unwrap_err();
    assert_eq!((counts("classified").success, counts("classified").failure), (1, 1));
}

#[derive(Debug, thiserror::Error)]
enum Typed {
    #[error(transparent)]
    Open(#[from] CircuitBreakerOpenError),
}

#[tokio::test(start_paused = true)]
async fn the_rejection_by_an_inner_circuit_is_ignored_whatever_the_verdict() {
    #[retry_with_breaker(op = "inside", enabled = true)]
    async fn inside() -> Result<(), Typed> {
        Ok(())
    }

    let cb = isolate();
    cb.force_open("inside");
    let typed = service_fn(|()| inside());
    let service = layer(operation("typed")).layer(typed);
    assert!(service.oneshot(()).await.unwrap_err().is::<Typed>());
    assert_eq!((counts("typed").ignored, counts("typed").failure), (1, 0));

    let layered = layer(operation("inside")).layer(Server::up());
    let strict = |_: &Result<u32, BoxError>| Verdict::Transient;
    let service = layer(operation("outside")).verdict(strict).layer(layered);
    let began = Instant::now();
    assert!(is_open(&service.oneshot(()).await.unwrap_err()));
    assert_eq!((counts("outside").ignored, began.elapsed()), (1, Duration::ZERO));
    assert_eq!(counts("inside").rejected, 2);
}

#[tokio::test(start_paused = true)]
async fn layers_inside_layers_do_not_multiply() {
    let _cb = isolate();
    let server = Server::down();
    // Off, lest the inner circuits open before the outer loops are done.
    let inner = layer(operation("innermost").enabled(false)).layer(server.clone());
    let middle = layer(operation("middle").enabled(false)).layer(inner);
    let outer = layer(operation("outermost").enabled(false)).layer(middle);
    outer.oneshot(()).await.unwrap_err();
    assert_eq!(server.asked(), 3 + 2 + 2);
}

#[tokio::test(start_paused = true)]
async fn a_budget_limits_the_retries_of_a_layer() {
    let _cb = isolate();
    let server = Server::down();
    let spent = operation("budget").retry_budget(0.0).retry_budget_reserve(0);
    layer(spent).layer(server.clone()).oneshot(()).await.unwrap_err();
    assert_eq!(server.asked(), 1);
}
