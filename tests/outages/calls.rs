//! Outages that show in what single calls do.

use std::time::Duration;

use bindu_cb::{
    CircuitBreakerOpenError, Classify, Verdict, get_circuit_breaker, registry, retry_api_call,
};
use tokio::time::{Instant, sleep, timeout};

use crate::page;
use crate::support::{begin, secs};

#[derive(Debug, thiserror::Error)]
enum ApiError {
    #[error("429 Too Many Requests")]
    TooMany { retry_after: Duration },
    #[error("503 Service Unavailable")]
    Unavailable,
    #[error(transparent)]
    Open(#[from] CircuitBreakerOpenError),
}

impl Classify for ApiError {
    fn classify(&self) -> Verdict {
        match self {
            Self::TooMany { retry_after } => Verdict::Throttled(*retry_after),
            Self::Unavailable => Verdict::Transient,
            Self::Open(_) => Verdict::Ignored,
        }
    }
}

#[retry_api_call(op = "api:mail", attempts = 2, max_wait = "15s")]
async fn mail(told_to_wait: u64) -> Result<(), ApiError> {
    Err(ApiError::TooMany { retry_after: secs(told_to_wait) })
}

#[tokio::test(start_paused = true)]
async fn a_service_wants_less() {
    let (_cb, log) = begin();
    let begun = Instant::now();
    mail(5).await.unwrap_err();
    assert_eq!(begun.elapsed(), secs(5));
    mail(60).await.unwrap_err();
    assert_eq!(begun.elapsed(), secs(5), "longer than max_wait: it gave up at once");
    mail(60).await.unwrap_err();
    page::shows("throttled", &log.take());
}

#[retry_api_call(op = "api:search", retry_budget = 0.1, retry_budget_reserve = 0)]
async fn search(works: bool) -> Result<(), ApiError> {
    if works { Ok(()) } else { Err(ApiError::Unavailable) }
}

#[tokio::test(start_paused = true)]
async fn the_retries_are_used_up() {
    let (_cb, log) = begin();
    let begun = Instant::now();
    search(false).await.unwrap_err();
    search(false).await.unwrap_err();
    assert_eq!(begun.elapsed(), secs(0), "no retry");
    let budget = budget_of("api:search");
    assert_eq!((budget.granted, budget.refused), (0, 2));
    page::shows("budget-spent", &log.take());
}

fn budget_of(op: &str) -> bindu_cb::RetryBudgetSnapshot {
    let all = registry().snapshot();
    all.into_iter().find(|snapshot| snapshot.operation == op).unwrap().retry_budget.unwrap()
}

#[retry_api_call(op = "api:report", attempts = 2, jitter = 0.0)]
async fn report(takes: u64, works: bool) -> Result<(), ApiError> {
    sleep(secs(takes)).await;
    search(works).await
}

/// What a deployment does to calls under way: it drops them, during an attempt or during a wait.
#[tokio::test(start_paused = true)]
async fn calls_are_dropped() {
    let (_cb, log) = begin();
    assert!(timeout(secs(1), report(60, true)).await.is_err());
    assert!(timeout(Duration::from_millis(500), report(0, false)).await.is_err());
    let calls = get_circuit_breaker("api:report").snapshot().calls;
    assert_eq!((calls.cancelled, calls.failure), (1, 1));
    let lines = log.take();
    let mut told = lines.lines().filter(|line| line.contains("api:report"));
    assert!(told.all(|line| line.starts_with("DEBUG")), "{lines}");
}

/// What a deployment does to them that says so: they end by themselves, and at once.
#[tokio::test(start_paused = true)]
async fn a_process_shuts_down() {
    let (_cb, log) = begin();
    let begun = Instant::now();
    let call = report(0, false);
    let stop = async {
        sleep(Duration::from_millis(500)).await;
        log.take();
        registry().shutdown();
    };
    let (ended, ()) = tokio::join!(call, stop);
    let Err(ApiError::Open(open)) = ended else { panic!("it waited: {ended:?}") };
    assert_eq!((begun.elapsed(), open.retry_after()), (Duration::from_millis(500), secs(0)));
    let told = "'api:report' is not tried again: the process is shutting down";
    assert_eq!(open.to_string(), told);
    let calls = get_circuit_breaker("api:report").snapshot().calls;
    assert_eq!((calls.cancelled, calls.failure), (1, 0));
    page::shows("shutdown", &log.take());
}
