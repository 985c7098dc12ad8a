//! C1: retries are a small part of an operation's calls, also while everything fails.

use bindu_cb::testing::isolate;
use bindu_cb::{
    Count, Operation, OperationBuilder, RetrySettings, execute_with_retry, retry_with_breaker,
};
use tokio::time::advance;
use tracing::Level;

use crate::support::{Failure, Log, Service, millis, secs, snapshot_of};

#[retry_with_breaker(op = "budget", attempts = 5, min_wait = 0, max_wait = 0, retry_budget = 0.1)]
async fn within_a_tenth(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(op = "unlimited", attempts = 5, min_wait = 0, max_wait = 0)]
async fn without_a_budget(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(
    op = "quiet",
    attempts = 5,
    min_wait = 0,
    max_wait = 0,
    retry_budget = 0.0,
    retry_budget_reserve = 2
)]
async fn with_a_reserve_of_two(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

/// Without waits between the attempts, and a circuit that nothing here opens.
fn budgeted(name: &str, attempts: u32, ratio: f64, reserve: u32) -> OperationBuilder {
    Operation::builder(name)
        .attempts(attempts)
        .min_wait(secs(0))
        .max_wait(secs(0))
        .failure_threshold(65_535)
        .retry_budget(ratio)
        .retry_budget_reserve(reserve)
}

/// `calls` calls of a service that is down, at a thousand a second: how many attempts it gets.
async fn outage<F: Future>(calls: u32, call: impl Fn() -> F) {
    for _ in 0..calls {
        call().await;
        advance(millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_the_load_is_little_more_than_the_calls() {
    const CALLS: u32 = 120_000;
    let _cb = isolate();
    let (limited, unlimited) = (Service::down(), Service::down());
    outage(CALLS, || within_a_tenth(&limited)).await;
    assert!(limited.asked() > CALLS + CALLS / 11, "{} attempts", limited.asked());
    assert!(f64::from(limited.asked()) <= 1.12 * f64::from(CALLS), "{} attempts", limited.asked());

    outage(1_000, || without_a_budget(&unlimited)).await;
    assert_eq!(unlimited.asked(), 5_000);
}

#[tokio::test(start_paused = true)]
async fn with_the_breaker_on_the_budget_is_that_of_the_calls_it_has_counted() {
    let cb = isolate();
    cb.enabled(true);
    let operation = budgeted("counted", 2, 0.1, 0).build().unwrap();
    for _ in 0..100 {
        operation.call(|| async { Ok::<_, &str>(()) }).await.unwrap();
    }
    for _ in 0..20 {
        operation.call(|| async { Err::<(), _>("down") }).await.unwrap_err();
    }
    // A tenth of the hundred, and of the twelve that have failed before the last was granted.
    let budget = snapshot_of("counted").retry_budget.unwrap();
    assert_eq!((budget.granted, budget.refused), (11, 9));
}

#[tokio::test(start_paused = true)]
async fn attempts_that_are_counted_singly_earn_nothing_for_being_retries() {
    let cb = isolate();
    cb.enabled(true);
    let operation = budgeted("attempts", 5, 1.0, 0).count(Count::Attempt).build().unwrap();
    for _ in 0..10 {
        operation.call(|| async { Ok::<_, &str>(()) }).await.unwrap();
    }
    for _ in 0..10 {
        operation.call(|| async { Err::<(), _>("down") }).await.unwrap_err();
    }
    let budget = snapshot_of("attempts").retry_budget.unwrap();
    assert!((18..=20).contains(&budget.granted), "{budget:?} of 20 calls");
}

#[tokio::test(start_paused = true)]
async fn dry_run_takes_nothing_from_the_budget() {
    for count in [Count::Call, Count::Attempt] {
        let cb = isolate();
        cb.enabled(true);
        let operation = budgeted("dry", 5, 0.5, 0).failure_threshold(1).dry_run(true);
        let operation = operation.count(count).build().unwrap();
        for _ in 0..100 {
            operation.call(|| async { Err::<(), _>("down") }).await.unwrap_err();
        }
        let snapshot = snapshot_of("dry");
        assert!(snapshot.calls.rejected > 90, "it would have been open");
        let budget = snapshot.retry_budget.unwrap();
        assert!((49..=50).contains(&budget.granted), "{count:?}: {budget:?} of 100 calls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_operation_has_its_reserve_and_gets_it_again() {
    let _cb = isolate();
    let service = Service::down();
    with_a_reserve_of_two(&service).await.unwrap_err();
    assert_eq!(service.asked(), 3, "the reserve of two");
    with_a_reserve_of_two(&service).await.unwrap_err();
    assert_eq!(service.asked(), 4, "nothing is left");
    advance(secs(5)).await;
    with_a_reserve_of_two(&service).await.unwrap_err();
    assert_eq!(service.asked(), 6, "half of the ten seconds, half of the reserve");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_thousand_are_saved() {
    let _cb = isolate();
    let operation = budgeted("rich", u32::MAX, 0.0, 100).build().unwrap();
    let down = || async { Err::<(), _>("down") };
    operation.call(down).await.unwrap_err();
    assert_eq!(snapshot_of("rich").retry_budget.unwrap().granted, 100);
    advance(secs(10_000)).await;
    operation.call(down).await.unwrap_err();
    assert_eq!(snapshot_of("rich").retry_budget.unwrap().granted, 1_100);
}

#[tokio::test(start_paused = true)]
async fn the_loop_returns_its_own_error_and_says_so_once_a_second() {
    let _cb = isolate();
    let log = Log::capture();
    let service = Service::down();
    for _ in 0..3 {
        let error = with_a_reserve_of_two(&service).await.unwrap_err();
        assert!(matches!(error, Failure::Refused(_)), "{error}");
    }
    let said = || {
        let warnings = log.messages(Level::WARN);
        warnings.iter().filter(|message| message.contains("retry budget")).count()
    };
    assert_eq!(said(), 1);
    advance(millis(999)).await;
    with_a_reserve_of_two(&service).await.unwrap_err();
    assert_eq!(said(), 1);
    advance(millis(1)).await;
    with_a_reserve_of_two(&service).await.unwrap_err();
    assert_eq!(said(), 2);
    assert!(snapshot_of("quiet").retry_budget.unwrap().refused >= 4);
}

#[tokio::test(start_paused = true)]
async fn functions_of_one_operation_share_its_budget() {
    let _cb = isolate();
    let build = || budgeted("shared-budget", 5, 0.0, 4).build().unwrap();
    let (one, other) = (build(), build());
    let down = || async { Err::<(), _>("down") };
    one.call(down).await.unwrap_err();
    other.call(down).await.unwrap_err();
    assert_eq!(snapshot_of("shared-budget").retry_budget.unwrap().granted, 4);
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_is_shown_also_of_functions_that_are_listed_nowhere() {
    let _cb = isolate();
    let options = RetrySettings::default().attempts(3).min_wait(secs(0)).max_wait(secs(0));
    let options = options.retry_budget(0.0).retry_budget_reserve(1);
    execute_with_retry("unlisted", options, || async { Err::<(), _>("down") }).await.unwrap_err();
    let budget = snapshot_of("unlisted").retry_budget.unwrap();
    assert_eq!((budget.granted, budget.refused), (1, 1));
}
