//! Outages that show in the states of a circuit.

use std::io::{self, ErrorKind};

use bindu_cb::{CircuitState, get_circuit_breaker, retry_with_breaker, with_circuit_breaker};
use tokio::time::sleep;

use crate::page;
use crate::support::{begin, later, secs};

type Answer = Result<(), ErrorKind>;

const DOWN: Answer = Err(ErrorKind::ConnectionRefused);

/// What the caller of a rejected call is told, and its source.
fn told(rejected: &io::Error) -> (String, String) {
    let why = rejected.get_ref().and_then(|open| open.source()).expect("it says why");
    (rejected.to_string(), why.to_string())
}

#[retry_with_breaker(op = "storage:save", attempts = 2, jitter = 0.0)]
async fn save(answer: Answer) -> io::Result<()> {
    Ok(answer?)
}

#[tokio::test(start_paused = true)]
async fn a_service_is_down_and_comes_back() {
    let (_cb, log) = begin();
    for _ in 0..3 {
        save(DOWN).await.unwrap_err();
    }
    let (told, why) = told(&save(Ok(())).await.unwrap_err());
    assert!(told.starts_with("circuit breaker is open for 'storage:save': retry after "), "{told}");
    assert_eq!(why, "opened after 3 failures in a row: connection refused");
    later(30).await;
    save(DOWN).await.unwrap_err();
    later(30).await;
    save(Ok(())).await.unwrap();
    page::shows("service-down", &log.take());
}

#[with_circuit_breaker(
    op = "api:quotes",
    window = "20 calls",
    slow_call = "500ms",
    slow_call_rate = 50
)]
async fn quote(takes_seconds: u64) -> io::Result<()> {
    sleep(secs(takes_seconds)).await;
    Ok(())
}

#[retry_with_breaker(op = "api:rates", attempts = 1, timeout = "2s")]
async fn rate(takes_seconds: u64) -> io::Result<()> {
    sleep(secs(takes_seconds)).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_service_is_slow() {
    let (_cb, log) = begin();
    for _ in 0..10 {
        quote(1).await.unwrap();
    }
    assert!(quote(0).await.is_err());
    page::shows("slow-calls", &log.take());

    for _ in 0..3 {
        rate(60).await.unwrap_err();
    }
    page::shows("timeouts", &log.take());
}

#[with_circuit_breaker(op = "storage:load", recovery_multiplier = 2.0)]
async fn load(answer: Answer) -> io::Result<()> {
    Ok(answer?)
}

#[tokio::test(start_paused = true)]
async fn a_service_flaps() {
    let (_cb, log) = begin();
    for _ in 0..2 {
        for _ in 0..3 {
            load(DOWN).await.unwrap_err();
        }
        later(30).await;
        load(Ok(())).await.unwrap();
    }
    page::shows("flapping", &log.take());

    for wait in [30, 60, 120] {
        while get_circuit_breaker("storage:load").state() != CircuitState::Open {
            load(DOWN).await.unwrap_err();
        }
        later(wait).await;
        load(DOWN).await.unwrap_err();
    }
    page::shows("waits-grow", &log.take());
}

fn class(error: &io::Error) -> &'static str {
    if error.kind() == ErrorKind::TimedOut { "timeout" } else { "" }
}

#[with_circuit_breaker(op = "storage:find", class = class)]
async fn find(answer: Answer) -> io::Result<()> {
    Ok(answer?)
}

#[tokio::test(start_paused = true)]
async fn errors_are_of_one_class() {
    let (_cb, log) = begin();
    for _ in 0..3 {
        find(Err(ErrorKind::TimedOut)).await.unwrap_err();
    }
    assert_eq!(get_circuit_breaker("storage:find").snapshot().calls.ignored, 3);
    let (told, _) = told(&find(Ok(())).await.unwrap_err());
    assert!(told.contains("'storage:find/timeout'"), "{told}");
    page::shows("one-class", &log.take());
}

#[with_circuit_breaker(op = "api:webhook", key = tenant, max_keys = 2)]
async fn deliver(tenant: &str, answer: Answer) -> io::Result<()> {
    Ok(answer?)
}

#[tokio::test(start_paused = true)]
async fn one_tenant_is_bad_then_all_are() {
    let (_cb, log) = begin();
    for _ in 0..3 {
        deliver("acme", DOWN).await.unwrap_err();
    }
    deliver("globex", Ok(())).await.unwrap();
    page::shows("one-tenant", &log.take());

    for _ in 0..3 {
        deliver("globex", DOWN).await.unwrap_err();
    }
    log.take();
    deliver("initech", Ok(())).await.unwrap();
    page::shows("too-many-tenants", &log.take());
}

#[with_circuit_breaker(op = "storage:list", ramp_up = "10s")]
async fn list(answer: Answer) -> io::Result<()> {
    Ok(answer?)
}

#[tokio::test(start_paused = true)]
async fn callers_come_back_by_and_by() {
    let (_cb, log) = begin();
    for _ in 0..3 {
        list(DOWN).await.unwrap_err();
    }
    later(30).await;
    list(Ok(())).await.unwrap();
    let mut rejected = Vec::new();
    for _ in 0..10 {
        rejected.extend(list(Ok(())).await.err());
    }
    assert_eq!(rejected.len(), 9, "a tenth comes through, at first");
    assert_eq!(told(&rejected[0]).1, "closed again, and not yet for all calls");
    let snapshot = get_circuit_breaker("storage:list").snapshot();
    assert!(snapshot.ramp_up.is_some());
    page::shows("ramp-up", &log.take());
}

#[with_circuit_breaker(op = "storage:copy")]
async fn copy(takes_seconds: u64, answer: Answer) -> io::Result<()> {
    sleep(secs(takes_seconds)).await;
    Ok(answer?)
}

#[tokio::test(start_paused = true)]
async fn a_probe_hangs() {
    let (_cb, log) = begin();
    for _ in 0..3 {
        copy(0, DOWN).await.unwrap_err();
    }
    later(30).await;
    tokio::join!(async { copy(3_600, Ok(())).await.unwrap() }, async {
        sleep(secs(59)).await;
        assert!(copy(0, Ok(())).await.is_err(), "the probe has its permit");
        sleep(secs(1)).await;
        copy(0, Ok(())).await.unwrap();
    },);
    assert_eq!(get_circuit_breaker("storage:copy").snapshot().calls.stale, 1);
    page::shows("hung-probe", &log.take());
}
