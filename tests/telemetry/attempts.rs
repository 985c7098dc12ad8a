//! How long attempts take.

use std::time::Duration;

use bindu_cb::telemetry::Telemetry;
use bindu_cb::{Operation, retry_with_breaker, with_circuit_breaker};
use tokio::time::sleep;

use crate::support::{Sdk, refused};

const NAME: &str = "circuit_breaker.attempt.duration";

/// How many attempts have ended so, and how many milliseconds they took in all.
pub(crate) fn took(sdk: &Sdk, operation: &str, outcome: &str) -> (u64, f64) {
    let of = format!("circuit_breaker.name={operation},circuit_breaker.outcome={outcome}");
    let durations = sdk.metric(NAME).durations;
    // The first nanosecond of a circuit's clock is none.
    durations.get(&of).map_or((0, 0.0), |(count, sum, _)| (*count, (*sum * 1_000.0).round()))
}

pub(crate) fn with_attempts(sdk: &Sdk) -> Telemetry {
    sdk.install_with(Telemetry::builder().attempt_durations(true))
}

#[retry_with_breaker(
    op = "attempts:save",
    attempts = 3,
    enabled = true,
    timeout = "5s",
    min_wait = "10s",
    max_wait = "10s"
)]
async fn save(millis: u64, fails: u64) -> std::io::Result<()> {
    sleep(Duration::from_millis(millis)).await;
    if millis == fails { Err(refused()) } else { Ok(()) }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_timed_by_itself_without_the_waits_between() {
    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let _telemetry = with_attempts(&sdk);
    save(20, 0).await.unwrap();
    assert_eq!(took(&sdk, "attempts:save", "success"), (1, 20.0));
    save(30, 30).await.unwrap_err();
    assert_eq!(took(&sdk, "attempts:save", "failure"), (3, 90.0));

    let metric = sdk.metric(NAME);
    assert_eq!((metric.kind, &*metric.unit), ("histogram", "s"));
    let (_, _, boundaries) = metric.durations.values().next().unwrap();
    assert_eq!((boundaries.first(), boundaries.last()), (Some(&0.001), Some(&10.0)), "in seconds");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_dropped_or_runs_out_of_time_is_one_and_a_wait_is_none() {
    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let _telemetry = with_attempts(&sdk);
    let limited =
        |millis, limit| tokio::time::timeout(Duration::from_millis(limit), save(millis, 30));
    limited(1_000, 250).await.unwrap_err();
    assert_eq!(took(&sdk, "attempts:save", "cancelled"), (1, 250.0));
    // In the wait after its first attempt.
    limited(30, 5_000).await.unwrap_err();
    assert_eq!(took(&sdk, "attempts:save", "cancelled"), (1, 250.0));
    assert_eq!(took(&sdk, "attempts:save", "failure"), (1, 30.0));
    // In its second attempt.
    limited(30, 10_040).await.unwrap_err();
    assert_eq!(took(&sdk, "attempts:save", "cancelled"), (2, 260.0));

    save(60_000, 0).await.unwrap_err();
    assert_eq!(took(&sdk, "attempts:save", "failure"), (5, 15_060.0), "three of five seconds");
}

#[tokio::test(start_paused = true)]
async fn functions_without_a_loop_attempts_counted_singly_and_keys_are_timed_too() {
    #[with_circuit_breaker(op = "attempts:once", enabled = true)]
    async fn once(fails: bool) -> std::io::Result<()> {
        sleep(Duration::from_millis(10)).await;
        if fails { Err(refused()) } else { Ok(()) }
    }
    #[retry_with_breaker(op = "attempts:singly", attempts = 2, count = "attempt", enabled = true)]
    async fn singly() -> std::io::Result<()> {
        sleep(Duration::from_millis(10)).await;
        Err(refused())
    }

    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let _telemetry = with_attempts(&sdk);
    once(false).await.unwrap();
    once(true).await.unwrap_err();
    assert_eq!(took(&sdk, "attempts:once", "success"), (1, 10.0));
    assert_eq!(took(&sdk, "attempts:once", "failure"), (1, 10.0));
    singly().await.unwrap_err();
    assert_eq!(took(&sdk, "attempts:singly", "failure"), (2, 20.0));

    let fetch = Operation::builder("attempts:keyed").enabled(true).build().unwrap();
    fetch.keyed("acme").call(|| async { Ok::<_, &str>(()) }).await.unwrap();
    assert_eq!(took(&sdk, "attempts:keyed", "success"), (1, 0.0));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_dropped_is_to_its_duration_what_it_is_to_its_circuit() {
    #[with_circuit_breaker(op = "attempts:dropped", enabled = true, on_cancel = "failure")]
    async fn counted() -> std::io::Result<()> {
        sleep(Duration::from_secs(1)).await;
        Ok(())
    }
    #[retry_with_breaker(
        op = "attempts:classed",
        attempts = 2,
        enabled = true,
        min_wait = "10s",
        max_wait = "10s",
        class = |_: &std::io::Error| "connection"
    )]
    async fn classed(second: &std::cell::Cell<bool>) -> std::io::Result<()> {
        sleep(Duration::from_millis(10)).await;
        if !second.replace(true) {
            return Err(refused());
        }
        std::future::pending().await
    }

    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let _telemetry = with_attempts(&sdk);
    tokio::time::timeout(Duration::from_millis(250), counted()).await.unwrap_err();
    let calls = sdk.metric("circuit_breaker.calls");
    let failure = ["circuit_breaker.name=attempts:dropped", "circuit_breaker.outcome=failure"];
    assert_eq!(calls.sum(&failure), 1);
    assert_eq!(took(&sdk, "attempts:dropped", "failure"), (1, 250.0));
    assert_eq!(took(&sdk, "attempts:dropped", "cancelled"), (0, 0.0));

    // In its second attempt, of which nothing is known. Its first one was a failure of its class.
    let second = std::cell::Cell::new(false);
    tokio::time::timeout(Duration::from_millis(10_110), classed(&second)).await.unwrap_err();
    assert_eq!(took(&sdk, "attempts:classed", "ignored"), (1, 10.0));
    assert_eq!(took(&sdk, "attempts:classed", "cancelled"), (1, 100.0));
}

#[tokio::test(start_paused = true)]
async fn calls_that_begin_without_it_or_are_off_or_rejected_are_not_timed() {
    let cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let call = || save(20, 0);
    let count = |sdk: &Sdk| took(sdk, "attempts:save", "success").0;
    let under_way = tokio::task::LocalSet::new();
    let telemetry = under_way
        .run_until(async {
            let early = tokio::task::spawn_local(call());
            sleep(Duration::from_millis(10)).await;
            let telemetry = with_attempts(&sdk);
            early.await.unwrap().unwrap();
            telemetry
        })
        .await;
    assert_eq!(count(&sdk), 0, "it began before");
    cb.enabled(false);
    call().await.unwrap();
    assert_eq!(count(&sdk), 0, "it is off");
    cb.enabled(true);
    cb.force_open("attempts:save");
    call().await.unwrap_err();
    bindu_cb::registry().reset_all();
    assert_eq!(count(&sdk), 0, "it was rejected");

    call().await.unwrap();
    assert_eq!(count(&sdk), 1, "also under new settings");
    let (without, other) = (Sdk::new(), Sdk::new());
    let (_without, with) = (without.install(), with_attempts(&other));
    drop(telemetry);
    call().await.unwrap();
    assert_eq!([&sdk, &without, &other].map(count), [1, 0, 1]);
    drop(with);
    call().await.unwrap();
    assert_eq!([&sdk, &without, &other].map(count), [1, 0, 1]);
}
