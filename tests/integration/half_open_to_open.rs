//! B3 and B4: one probe that fails opens the circuit again, for longer each time if so set.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bindu_cb::{
    Cause, CircuitBreaker, CircuitBreakerSettings, CircuitState, Event, OpenCause, OpenReason,
    with_circuit_breaker,
};
use tokio::time::advance;
use tracing::Level;

use crate::support::{Failure, Log, Service, secs, snapshot_of, trip};

fn settings() -> CircuitBreakerSettings {
    CircuitBreakerSettings::default().failure_threshold(1)
}

/// Open for the first time.
fn open(settings: CircuitBreakerSettings) -> CircuitBreaker {
    let circuit = CircuitBreaker::new("test", settings);
    trip(&circuit);
    circuit
}

/// How long an open circuit stays so.
fn wait(circuit: &CircuitBreaker) -> Duration {
    circuit.snapshot().half_open_in.expect("it is open")
}

/// Waits until it is time for a probe, which fails.
async fn reopen(circuit: &CircuitBreaker) {
    advance(wait(circuit)).await;
    circuit.try_acquire().unwrap().failure();
}

#[tokio::test(start_paused = true)]
async fn one_failure_opens_again_for_a_whole_wait() {
    let circuit = open(settings());
    advance(secs(47)).await;
    circuit.try_acquire().unwrap().failure();
    assert_eq!(circuit.state(), CircuitState::Open);
    assert_eq!(wait(&circuit), secs(30));
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.reopens, snapshot.in_state_for), (1, secs(0)));
}

#[tokio::test(start_paused = true)]
async fn successes_before_the_failure_do_not_help_and_are_forgotten() {
    let circuit = open(settings().success_threshold(3));
    advance(secs(30)).await;
    circuit.try_acquire().unwrap().success();
    circuit.try_acquire().unwrap().success();
    circuit.try_acquire().unwrap().failure();
    assert_eq!(circuit.state(), CircuitState::Open);

    advance(secs(30)).await;
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.snapshot().probe_successes, 1);
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
}

/// B5.
#[tokio::test(start_paused = true)]
async fn the_other_probes_can_then_neither_close_it_nor_open_it_anew() {
    let circuit = open(settings().half_open_permits(3));
    advance(secs(30)).await;
    let [first, second, third] = [(); 3].map(|()| circuit.try_acquire().unwrap());
    first.failure();
    advance(secs(10)).await;
    second.success();
    third.failure();
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.half_open_in), (CircuitState::Open, Some(secs(20))));
    assert_eq!((snapshot.reopens, snapshot.calls.stale), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn without_a_multiplier_all_waits_are_the_same() {
    let circuit = open(settings());
    for reopens in 0..20 {
        assert_eq!(wait(&circuit), secs(30));
        assert_eq!(circuit.snapshot().reopens, reopens);
        reopen(&circuit).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_re_open_waits_longer_up_to_the_cap() {
    let circuit = open(settings().recovery_multiplier(3.0).max_recovery_timeout(secs(500)));
    for expected in [30, 90, 270, 500, 500] {
        assert_eq!(wait(&circuit), secs(expected));
        reopen(&circuit).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_re_opens_stay_at_the_cap() {
    let circuit = open(settings().recovery_multiplier(2.0));
    for _ in 0..1_000 {
        reopen(&circuit).await;
    }
    assert_eq!(wait(&circuit), secs(600));
}

#[tokio::test(start_paused = true)]
async fn the_cap_is_for_the_first_opening_too() {
    let circuit = open(settings().max_recovery_timeout(secs(12)));
    assert_eq!(wait(&circuit), secs(12));
}

#[tokio::test(start_paused = true)]
async fn jitter_only_ever_shortens_a_wait() {
    for _ in 0..100 {
        let circuit = open(
            settings()
                .recovery_multiplier(2.0)
                .max_recovery_timeout(secs(100))
                .recovery_jitter(0.25),
        );
        for longest in [30, 60, 100, 100] {
            let wait = wait(&circuit);
            assert!((secs(longest).mul_f64(0.75)..=secs(longest)).contains(&wait), "{wait:?}");
            reopen(&circuit).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_says_that_a_probe_failed_and_with_what() {
    #[with_circuit_breaker(op = "probed", failure_threshold = 1)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let service = Service::down();
    ask(&service).await.unwrap_err();
    advance(secs(30)).await;
    ask(&service).await.unwrap_err();
    let Err(Failure::Open(open)) = ask(&service).await else { panic!("it is open again") };
    let cause = open.source().unwrap().downcast_ref::<OpenCause>().unwrap();
    assert_eq!(cause.reason(), OpenReason::ProbeFailed);
    assert_eq!(cause.last_failure().as_deref(), Some("connection refused, 2"));
    assert_eq!(cause.to_string(), "opened again because a probe failed: connection refused, 2");
    assert_eq!(snapshot_of("probed").last_failure.as_deref(), Some("connection refused, 2"));
}

#[tokio::test(start_paused = true)]
async fn opening_again_is_told_and_logged() {
    #[with_circuit_breaker(op = "told", failure_threshold = 4, success_threshold = 3)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let service = Service::down();
    for _ in 0..4 {
        ask(&service).await.unwrap_err();
    }
    advance(secs(30)).await;
    for _ in 0..2 {
        ask(&Service::up()).await.unwrap();
    }

    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    bindu_cb::registry().subscribe(move |event: &Event| heard.lock().unwrap().push(event.clone()));
    let log = Log::capture();
    ask(&service).await.unwrap_err();

    let told = told.lock().unwrap();
    let [event] = &told[..] else { panic!("one change of state, not {told:?}") };
    assert_eq!((event.from, event.to), (CircuitState::HalfOpen, CircuitState::Open));
    assert_eq!((event.cause, event.wait), (Cause::Probe, Some(secs(30))));
    assert_eq!(event.failures, 1, "the two that succeeded before it are no failures");
    assert_eq!(event.last_failure.as_deref(), Some("connection refused, 5"));
    let warnings = log.at(Level::WARN);
    let [line] = &warnings[..] else { panic!("one warning, not {warnings:?}") };
    assert_eq!(
        [line.field("from"), line.field("to"), line.field("cause")],
        ["half_open", "open", "probe"]
    );
    assert_eq!([line.field("failures"), line.field("wait")], ["1", "30s"]);
}
