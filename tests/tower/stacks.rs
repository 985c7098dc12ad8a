//! Among other layers, above and below.

use std::convert::Infallible;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::error_handling::HandleErrorLayer;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::routing::get;
use bindu_cb::testing::isolate;
use bindu_cb::{CircuitBreakerOpenError, Verdict, get_circuit_breaker};
use tokio::time::{Instant, sleep};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn, timeout};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn among_the_layers_of_tower() {
    let _cb = isolate();
    let server = Server::refusing(2);
    let service = ServiceBuilder::new()
        .buffer(8)
        .concurrency_limit(4)
        .timeout(secs(60))
        .layer(layer(operation("stack").attempts(5)))
        .timeout(secs(5))
        .concurrency_limit(2)
        .buffer(8)
        .service(server.clone());
    let calls = (0..8).map(|_| tokio::spawn(service.clone().oneshot(())));
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!((server.asked(), counts("stack").success), (10, 8));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_below_is_for_an_attempt_and_one_above_for_the_call() {
    let _cb = isolate();
    let hangs = service_fn(|()| std::future::pending::<Result<(), Refused>>());
    let below = ServiceBuilder::new()
        .layer(layer(operation("below").attempts(2)))
        .timeout(secs(5))
        .service(hangs);
    let began = Instant::now();
    let elapsed = below.oneshot(()).await.unwrap_err();
    assert!(elapsed.is::<timeout::error::Elapsed>());
    assert_eq!((began.elapsed(), counts("below").failure), (secs(5 + 1 + 5), 1));

    let above = ServiceBuilder::new()
        .timeout(secs(8))
        .layer(layer(operation("above").attempts(2).timeout(secs(5))))
        .service(hangs);
    let began = Instant::now();
    assert!(above.oneshot(()).await.unwrap_err().is::<timeout::error::Elapsed>());
    // Dropped after a failed attempt.
    assert_eq!((began.elapsed(), counts("above").failure), (secs(8), 1));
}

#[tokio::test(start_paused = true)]
async fn a_queue_above_does_not_fill_up_behind_an_open_circuit() {
    let cb = isolate();
    let service =
        ServiceBuilder::new().buffer(1).layer(layer(operation("queue"))).service(Server::up());
    cb.force_open("queue");
    for _ in 0..100 {
        assert!(is_open(&service.clone().oneshot(()).await.unwrap_err()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_between_attempts_holds_no_place_of_a_limit_below() {
    let _cb = isolate();
    let first_fails =
        service_fn(|fails: bool| async move { if fails { Err(Refused(0)) } else { Ok(()) } });
    let service = ServiceBuilder::new()
        .layer(layer(operation("limit").attempts(2)))
        .concurrency_limit(1)
        .service(first_fails);
    let failing = service.clone().oneshot(true);
    let other = async {
        sleep(millis(500)).await;
        let began = Instant::now();
        service.clone().oneshot(false).await.unwrap();
        began.elapsed()
    };
    let (failed, waited) = tokio::join!(failing, other);
    assert!(failed.is_err());
    assert!(waited.is_zero(), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_load_shed_below_is_a_failure_like_others() {
    let _cb = isolate();
    let (mock, mut handle) = tower_test::mock::pair::<(), ()>();
    handle.allow(0);
    let service =
        ServiceBuilder::new().layer(layer(operation("shed").attempts(2))).load_shed().service(mock);
    let shed = service.oneshot(()).await.unwrap_err();
    assert!(shed.is::<tower::load_shed::error::Overloaded>());
    assert_eq!(counts("shed").failure, 1);
}

/// Requests without a body, as those of `GET` are.
fn without_body(request: &Request<Body>) -> Option<Request<Body>> {
    if !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(Body::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

async fn explain(error: BoxError) -> (StatusCode, String) {
    match error.downcast_ref::<CircuitBreakerOpenError>() {
        Some(open) => (StatusCode::SERVICE_UNAVAILABLE, open.to_string()),
        None => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_router_of_axum() {
    let _cb = isolate();
    let by_status = |response: &Result<Response, Infallible>| match response {
        Ok(response) if response.status().is_server_error() => Verdict::Transient,
        _ => Verdict::Success,
    };
    let guarded = layer(operation("axum").attempts(2)).clone_request(without_body);
    let server = Server::refusing(7);
    let handler = async move || match server.oneshot(()).await {
        Ok(n) => (StatusCode::OK, n.to_string()),
        Err(refused) => (StatusCode::BAD_GATEWAY, refused.to_string()),
    };
    let app = Router::new().route("/", get(handler)).layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(explain))
            .layer(guarded.verdict(by_status)),
    );
    let ask = async || app.clone().oneshot(Request::new(Body::empty())).await.unwrap().status();
    for _ in 0..3 {
        assert_eq!(ask().await, StatusCode::BAD_GATEWAY);
    }
    assert_eq!(ask().await, StatusCode::SERVICE_UNAVAILABLE);
    get_circuit_breaker("axum").reset();
    // Refused once more, and tried again.
    assert_eq!(ask().await, StatusCode::OK);
}
