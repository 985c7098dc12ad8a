//! Calls of a layer of tower, to metrics what any other call is.

use std::time::Duration;

use bindu_cb::tower::{BoxError, OperationLayer};
use bindu_cb::{
    AttemptTimeoutError, Count, Operation, OperationBuilder, Verdict, get_circuit_breaker, registry,
};
use tokio::time::{sleep, timeout};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::attempts::{took, with_attempts};
use crate::retries::by_reason;
use crate::support::{Sdk, refused};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Waits of ten seconds between its attempts.
fn operation(name: &str) -> OperationBuilder {
    let wait = Duration::from_secs(10);
    Operation::builder(name).enabled(true).attempts(2).min_wait(wait).max_wait(wait).jitter(0.0)
}

fn layer(operation: OperationBuilder) -> OperationLayer {
    OperationLayer::new(operation.build().unwrap())
}

/// What it is asked for takes 20 ms.
fn service() -> impl Service<&'static str, Response = u32, Error = BoxError, Future: Send> + Clone {
    service_fn(async |request| {
        sleep(millis(20)).await;
        match request {
            "slow" => std::future::pending().await,
            "503" => Ok(503),
            "down" => Err(refused().into()),
            _ => Ok(200),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_counted_by_what_the_attempt_before_has_come_to() {
    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let _telemetry = sdk.install();
    let by_status = |result: &Result<u32, BoxError>| match result {
        Ok(200) => Verdict::Success,
        Ok(_) | Err(_) => Verdict::Transient,
    };
    let quote = layer(operation("layers:quote").timeout(millis(50)).failure_threshold(9));
    let quote = quote.verdict(by_status).layer(service());
    for (request, expected) in [
        ("fine", [0, 0, 0, 0]),
        ("down", [1, 0, 0, 0]),
        ("slow", [1, 0, 1, 0]),
        ("503", [1, 0, 1, 1]),
    ] {
        let _ = quote.clone().oneshot(request).await;
        assert_eq!(by_reason(&sdk, "layers:quote"), expected, "{request}");
    }
    let throttled = |_: &Result<u32, BoxError>| Verdict::Throttled(millis(1));
    let busy = layer(operation("layers:busy")).verdict(throttled).layer(service());
    busy.oneshot("fine").await.unwrap();
    assert_eq!(by_reason(&sdk, "layers:busy"), [0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_timed_by_itself_without_waits_and_readiness() {
    for count in [Count::Call, Count::Attempt] {
        let _cb = bindu_cb::testing::isolate();
        let sdk = Sdk::new();
        let _telemetry = with_attempts(&sdk);
        let limited = ConcurrencyLimit::new(service(), 1);
        let mut other = limited.clone();
        let call = layer(operation("layers:timed").count(count)).layer(limited).oneshot("down");
        let holds_it = async {
            sleep(millis(500)).await;
            other.ready().await.unwrap();
            sleep(Duration::from_mins(1)).await;
            drop(other);
        };
        let (ended, ()) = tokio::join!(call, holds_it);
        ended.unwrap_err();
        assert_eq!(took(&sdk, "layers:timed", "failure"), (2, 40.0), "{count:?}");

        let fine = layer(operation("layers:fine").count(count)).layer(service());
        fine.oneshot("fine").await.unwrap();
        assert_eq!(took(&sdk, "layers:fine", "success"), (1, 20.0), "{count:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_readiness_that_runs_out_of_time_or_is_stopped_is_no_attempt() {
    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let _telemetry = with_attempts(&sdk);
    for (name, ends_after) in
        [("layers:late", 60_000), ("layers:dropped", 12_000), ("layers:stopped", 60_000)]
    {
        let limited = ConcurrencyLimit::new(service(), 1);
        let mut other = limited.clone();
        let operation = operation(name).timeout(Duration::from_secs(5));
        let call = timeout(millis(ends_after), layer(operation).layer(limited).oneshot("down"));
        let holds_it = async {
            sleep(millis(500)).await;
            other.ready().await.unwrap();
            sleep(Duration::from_secs(12)).await;
            if name == "layers:stopped" {
                get_circuit_breaker(name).force_open();
            }
            sleep(Duration::from_secs(10)).await;
        };
        let (ended, ()) = tokio::join!(call, holds_it);
        match ended {
            Ok(ended) if name == "layers:late" => {
                assert!(ended.unwrap_err().is::<AttemptTimeoutError>());
            }
            ended => assert_eq!(ended.is_err(), name == "layers:dropped", "{name}"),
        }
        assert_eq!(took(&sdk, name, "failure"), (1, 20.0), "{name}");
        assert_eq!(took(&sdk, name, "cancelled"), (0, 0.0), "{name}");
        assert_eq!(by_reason(&sdk, name), [1, 0, 0, 0], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_after_which_the_shutdown_keeps_from_another_is_timed_and_no_retry() {
    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let _telemetry = with_attempts(&sdk);
    let call = layer(operation("layers:ending")).layer(service()).oneshot("down");
    let (ended, ()) = tokio::join!(call, async { registry().shutdown() });
    assert!(ended.unwrap_err().is::<std::io::Error>(), "its own error");
    assert_eq!(took(&sdk, "layers:ending", "failure"), (1, 20.0));
    assert_eq!(by_reason(&sdk, "layers:ending"), [0, 0, 0, 0]);
    let calls = get_circuit_breaker("layers:ending").snapshot().calls;
    assert_eq!((calls.failure, calls.cancelled), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_dropped_is_one() {
    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let _telemetry = with_attempts(&sdk);
    let call = layer(operation("layers:dropped")).layer(service()).oneshot("slow");
    timeout(millis(250), call).await.unwrap_err();
    assert_eq!(took(&sdk, "layers:dropped", "cancelled"), (1, 250.0));
}
