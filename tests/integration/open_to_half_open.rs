//! B2 and B3: the first call after the wait is a probe, and how many there may be.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bindu_cb::{
    Cause, CircuitBreaker, CircuitBreakerSettings, CircuitState, Event, Permit, retry_with_breaker,
    with_circuit_breaker,
};
use tokio::time::advance;
use tracing::Level;

use crate::support::{Failure, Log, Service, circuit, millis, secs, snapshot_of, trip};

/// Open, and its wait is over.
async fn due(settings: CircuitBreakerSettings) -> CircuitBreaker {
    let circuit = CircuitBreaker::new("test", settings.failure_threshold(1));
    trip(&circuit);
    advance(secs(30)).await;
    circuit
}

/// As many probes as the circuit lets in.
fn probes(circuit: &CircuitBreaker) -> Vec<Permit<'_>> {
    std::iter::from_fn(|| circuit.try_acquire().ok()).take(1_000).collect()
}

#[tokio::test(start_paused = true)]
async fn a_nanosecond_decides() {
    let circuit = circuit(1);
    trip(&circuit);
    let nanosecond = Duration::from_nanos(1);
    advance(Duration::new(29, 999_999_999)).await;
    assert_eq!(circuit.try_acquire().unwrap_err().retry_after(), nanosecond);
    assert_eq!(circuit.state(), CircuitState::Open);
    advance(nanosecond).await;
    assert!(circuit.try_acquire().is_ok());
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn one_probe_at_a_time_unless_told_otherwise() {
    let circuit = due(CircuitBreakerSettings::default()).await;
    let probes = probes(&circuit);
    assert_eq!(probes.len(), 1);
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.half_open_in), (CircuitState::HalfOpen, None));
}

#[tokio::test(start_paused = true)]
async fn as_many_probes_as_there_are_permits() {
    for (settings, permits) in [
        (CircuitBreakerSettings::default().half_open_permits(5), 5),
        (CircuitBreakerSettings::default().half_open_permits(128), 128),
        (CircuitBreakerSettings::default().success_threshold(3), 3),
        (CircuitBreakerSettings::default().success_threshold(1_000), 128),
        (CircuitBreakerSettings::default().success_threshold(7).half_open_permits(2), 2),
    ] {
        let circuit = due(settings.clone()).await;
        assert_eq!(probes(&circuit).len(), permits, "{settings:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_one_too_many_is_told_to_come_back() {
    let circuit = due(CircuitBreakerSettings::default().half_open_permits(2)).await;
    let probes = probes(&circuit);
    let rejected = circuit.try_acquire().unwrap_err();
    assert_eq!(rejected.operation(), "test");
    // By then either a probe has ended or its permit is taken back.
    assert!((millis(1)..=secs(60)).contains(&rejected.retry_after()), "{rejected}");
    assert_eq!(circuit.snapshot().calls.rejected, 3);
    drop(probes);
}

#[tokio::test(start_paused = true)]
async fn an_ignored_or_dropped_probe_returns_its_permit_and_decides_nothing() {
    let circuit = due(CircuitBreakerSettings::default()).await;
    for _ in 0..50 {
        circuit.try_acquire().unwrap().ignore();
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
        drop(circuit.try_acquire().unwrap());
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
    }
    let calls = circuit.snapshot().calls;
    assert_eq!((calls.ignored, calls.cancelled, calls.stale), (50, 50, 0));
    assert_eq!(probes(&circuit).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn returned_permits_never_add_up_to_more_than_there_are() {
    let circuit = due(CircuitBreakerSettings::default().half_open_permits(3)).await;
    for returned in 0..=3 {
        let mut held = probes(&circuit);
        assert_eq!(held.len(), 3);
        held.drain(..returned).for_each(Permit::ignore);
        assert_eq!(probes(&circuit).len(), returned);
    }
}

#[tokio::test(start_paused = true)]
async fn half_opening_is_told_and_logged() {
    #[with_circuit_breaker(op = "told", failure_threshold = 1)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    ask(&Service::down()).await.unwrap_err();
    advance(secs(30)).await;

    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    bindu_cb::registry().subscribe(move |event: &Event| heard.lock().unwrap().push(event.clone()));
    let log = Log::capture();
    ask(&Service::up()).await.unwrap();

    let told = told.lock().unwrap();
    let event = &told[0];
    assert_eq!((event.from, event.to), (CircuitState::Open, CircuitState::HalfOpen));
    assert_eq!((event.cause, event.failures, event.wait), (Cause::Local, 0, None));
    assert!(log.at(Level::WARN).is_empty());
    let line = &log.at(Level::INFO)[0];
    assert_eq!(
        [line.field("operation"), line.field("from"), line.field("to")],
        ["told", "open", "half_open"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_call_after_the_wait_runs_its_body_once() {
    #[retry_with_breaker(op = "probed", attempts = 5, failure_threshold = 1)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    ask(&Service::down()).await.unwrap_err();
    advance(secs(30)).await;

    let service = Service::down();
    let own = ask(&service).await.unwrap_err();
    assert!(matches!(own, Failure::Refused(1)), "the probe's own error: {own}");
    assert_eq!(service.asked(), 1);
    assert_eq!(snapshot_of("probed").state, CircuitState::Open);
}
