//! B3: probes that succeed close the circuit.

use std::io;
use std::sync::{Arc, Mutex};

use bindu_cb::{
    Cause, CircuitBreaker, CircuitBreakerSettings, CircuitState, Event, Permit,
    with_circuit_breaker,
};
use tokio::time::advance;
use tracing::Level;

use crate::support::{Failure, Log, Service, assert_told, secs, snapshot_of, trip};

fn settings() -> CircuitBreakerSettings {
    CircuitBreakerSettings::default()
}

async fn half_open(settings: CircuitBreakerSettings) -> CircuitBreaker {
    let circuit = CircuitBreaker::new("test", settings);
    trip(&circuit);
    advance(secs(30)).await;
    circuit.try_acquire().unwrap().ignore();
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    circuit
}

#[tokio::test(start_paused = true)]
async fn one_success_closes_and_the_count_of_failures_starts_empty() {
    let circuit = half_open(settings()).await;
    circuit.try_acquire().unwrap().success();
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.consecutive_failures), (CircuitState::Closed, 0));
    assert_eq!((snapshot.reopens, snapshot.half_open_in), (0, None));

    circuit.try_acquire().unwrap().failure();
    circuit.try_acquire().unwrap().failure();
    assert_eq!(circuit.state(), CircuitState::Closed);
    circuit.try_acquire().unwrap().failure();
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn as_many_successes_as_the_threshold_and_not_one_fewer() {
    for permits in [1, 2, 5, 128] {
        let circuit = half_open(settings().success_threshold(5).half_open_permits(permits)).await;
        for successes in 0..5 {
            let snapshot = circuit.snapshot();
            assert_eq!(
                (snapshot.state, snapshot.probe_successes),
                (CircuitState::HalfOpen, successes)
            );
            circuit.try_acquire().unwrap().success();
        }
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert_eq!(circuit.snapshot().probe_successes, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn probes_that_are_under_way_together_close_it_together() {
    let circuit = half_open(settings().success_threshold(3)).await;
    let probes: Vec<_> = (0..3).map(|_| circuit.try_acquire().unwrap()).collect();
    probes.into_iter().for_each(Permit::success);
    assert_eq!(circuit.state(), CircuitState::Closed);
    assert_eq!(circuit.snapshot().calls.success, 3);
}

#[tokio::test(start_paused = true)]
async fn ignored_and_dropped_probes_do_not_interrupt_the_row() {
    let circuit = half_open(settings().success_threshold(2)).await;
    circuit.try_acquire().unwrap().success();
    circuit.try_acquire().unwrap().ignore();
    drop(circuit.try_acquire().unwrap());
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

/// B5.
#[tokio::test(start_paused = true)]
async fn probes_still_under_way_when_it_closes_no_longer_count() {
    let circuit = half_open(settings().failure_threshold(1).half_open_permits(3)).await;
    let [first, second, third] = [(); 3].map(|()| circuit.try_acquire().unwrap());
    first.success();
    assert_eq!(circuit.state(), CircuitState::Closed);
    second.failure();
    third.success();
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.consecutive_failures), (CircuitState::Closed, 0));
    assert_eq!((snapshot.calls.stale, snapshot.calls.failure), (2, 1));
}

/// B4: the re-opens in a row are over once it has closed.
#[tokio::test(start_paused = true)]
async fn closing_forgets_the_re_opens() {
    let circuit = half_open(settings().failure_threshold(1).recovery_multiplier(2.0)).await;
    circuit.try_acquire().unwrap().failure();
    assert_told(&circuit.try_acquire().unwrap_err(), secs(60));
    advance(secs(60)).await;
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.snapshot().reopens, 0);
    trip(&circuit);
    assert_told(&circuit.try_acquire().unwrap_err(), secs(30));
}

#[tokio::test(start_paused = true)]
async fn closed_again_everybody_comes_through() {
    let circuit = half_open(settings()).await;
    circuit.try_acquire().unwrap().success();
    let calls: Vec<_> = (0..1_000).map(|_| circuit.try_acquire().unwrap()).collect();
    calls.into_iter().for_each(Permit::success);
    assert_eq!(circuit.snapshot().calls.success, 1_001);
}

#[tokio::test(start_paused = true)]
async fn closing_is_told_and_logged() {
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
    let [_, event] = &told[..] else { panic!("half-open, then closed: {told:?}") };
    assert_eq!((event.from, event.to), (CircuitState::HalfOpen, CircuitState::Closed));
    assert_eq!((event.cause, event.failures, event.wait), (Cause::Probe, 0, None));
    let lines = log.at(Level::INFO);
    let [_, line] = &lines[..] else { panic!("half-open, then closed: {lines:?}") };
    assert_eq!(
        [line.field("from"), line.field("to"), line.field("cause")],
        ["half_open", "closed", "probe"]
    );
}

/// V1: to the circuit a permanent error is an answer.
#[tokio::test(start_paused = true)]
async fn a_probe_that_is_answered_with_a_permanent_error_closes() {
    #[with_circuit_breaker(op = "answered", failure_threshold = 1)]
    async fn ask(answer: io::ErrorKind) -> io::Result<()> {
        Err(answer.into())
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    ask(io::ErrorKind::ConnectionRefused).await.unwrap_err();
    assert_eq!(snapshot_of("answered").state, CircuitState::Open);
    advance(secs(30)).await;
    let answer = ask(io::ErrorKind::NotFound).await.unwrap_err();
    assert_eq!(answer.kind(), io::ErrorKind::NotFound);
    assert_eq!(snapshot_of("answered").state, CircuitState::Closed);
}
