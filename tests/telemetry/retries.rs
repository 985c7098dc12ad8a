//! Retries, by reason, and those that the budget refused.

use std::time::Duration;

use bindu_cb::{CallError, Operation, Verdict, retry_with_breaker};

use crate::support::{Sdk, refused};

pub(crate) fn by_reason(sdk: &Sdk, name: &str) -> [u64; 4] {
    let retries = sdk.metric("circuit_breaker.retries");
    assert_eq!((retries.kind, &*retries.unit), ("counter", "{retry}"));
    ["error", "throttled", "timed_out", "failed_value"]
        .map(|reason| retries.values[&format!("circuit_breaker.name={name},reason={reason}")])
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_counted_by_what_the_attempt_before_has_come_to() {
    #[retry_with_breaker(
        op = "api:quote",
        attempts = 3,
        timeout = "1s",
        retry_after = |e: &std::io::Error| (e.kind() == std::io::ErrorKind::WouldBlock).then_some(Duration::from_secs(1)),
        fail_if = |value: &u32| *value == 503
    )]
    async fn quote(what: &str) -> std::io::Result<u32> {
        match what {
            "slow" => std::future::pending().await,
            "busy" => Err(std::io::ErrorKind::WouldBlock.into()),
            "503" => Ok(503),
            "down" => Err(refused()),
            _ => Ok(1),
        }
    }

    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let _telemetry = sdk.install();
    quote("fine").await.unwrap();
    assert_eq!(by_reason(&sdk, "api:quote"), [0, 0, 0, 0], "at zero from the beginning");
    quote("down").await.unwrap_err();
    quote("busy").await.unwrap_err();
    quote("slow").await.unwrap_err();
    assert_eq!(quote("503").await.unwrap(), 503);
    assert_eq!(by_reason(&sdk, "api:quote"), [2, 2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn so_it_is_for_closures_and_classes_whose_retries_are_their_operations() {
    #[retry_with_breaker(op = "storage:save", attempts = 2, enabled = true, class = |_: &std::io::Error| "connection")]
    async fn save() -> std::io::Result<()> {
        Err(refused())
    }

    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let _telemetry = sdk.install();
    save().await.unwrap_err();
    let operation = Operation::builder("api:fetch").attempts(2).build().unwrap();
    let failed = |value: &Result<u32, CallError<&str>>| {
        if value.is_ok() { Verdict::Transient } else { Verdict::Throttled(Duration::from_secs(1)) }
    };
    let _ = operation.call_with(|| async { Ok(7) }, failed).await;
    let _ = operation.call_with(|| async { Err(CallError::Inner("busy")) }, failed).await;

    assert_eq!(by_reason(&sdk, "storage:save"), [1, 0, 0, 0]);
    assert_eq!(by_reason(&sdk, "api:fetch"), [0, 1, 0, 1]);
    let retries = sdk.metric("circuit_breaker.retries");
    assert_eq!(retries.sum(&["circuit_breaker.name=storage:save/connection"]), 0);
    let calls = sdk.metric("circuit_breaker.calls");
    let class = ["circuit_breaker.name=storage:save/connection", "circuit_breaker.outcome=failure"];
    assert_eq!(calls.sum(&class), 1, "it has a circuit of its own");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_the_budget_refuses_is_no_retry() {
    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let _telemetry = sdk.install();
    let without = Operation::builder("api:free").attempts(2).build().unwrap();
    without.call(|| async { Err::<(), _>("down") }).await.unwrap_err();
    let operation = Operation::builder("api:quote")
        .attempts(2)
        .retry_budget(0.000_001)
        .retry_budget_reserve(1)
        .build()
        .unwrap();
    let refused = || sdk.metric("circuit_breaker.retries.refused");
    assert_eq!((refused().values.len(), refused().sum(&[])), (1, 0));
    for _ in 0..3 {
        operation.call(|| async { Err::<(), _>("down") }).await.unwrap_err();
    }
    assert_eq!((refused().kind, &*refused().unit), ("counter", "{retry}"));
    assert_eq!(refused().values["circuit_breaker.name=api:quote"], 2);
    assert_eq!(by_reason(&sdk, "api:quote"), [1, 0, 0, 0]);
}
