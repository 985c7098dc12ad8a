//! B2: an open circuit rejects, until a moment that nothing moves.

use std::error::Error;
use std::io;

use bindu_cb::{
    CallError, CircuitBreaker, CircuitBreakerSettings, CircuitState, OpenCause, OpenReason,
    Settings, retry_with_breaker, with_circuit_breaker,
};
use tokio::time::{Instant, advance};

use crate::support::{Failure, Service, assert_told, circuit, millis, secs, snapshot_of, trip};

#[retry_with_breaker(op = "storage", attempts = 5)]
async fn save(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[with_circuit_breaker(op = "storage")]
async fn save_once(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

/// Three failing calls.
async fn trip_storage() {
    let service = Service::down();
    for _ in 0..3 {
        save_once(&service).await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn no_body_runs_and_no_time_passes() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    trip_storage().await;

    let service = Service::up();
    let began = Instant::now();
    for _ in 0..100 {
        assert!(matches!(save(&service).await, Err(Failure::Open(_))));
        assert!(matches!(save_once(&service).await, Err(Failure::Open(_))));
    }
    assert_eq!(service.asked(), 0);
    assert_eq!(began.elapsed(), secs(0));
    let calls = snapshot_of("storage").calls;
    assert_eq!((calls.rejected, calls.failure, calls.success), (200, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_closure_is_not_even_called() {
    let circuit = circuit(1);
    trip(&circuit);
    let rejected = circuit.call(async || -> Result<(), ()> { unreachable!() }).await;
    assert!(matches!(rejected, Err(CallError::Open(_))));
}

#[tokio::test(start_paused = true)]
async fn the_error_says_when_to_come_back_and_why() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    trip_storage().await;
    advance(millis(200)).await;

    let Err(Failure::Open(open)) = save(&Service::up()).await else { panic!("it is open") };
    assert_eq!(open.operation(), "storage");
    assert_told(&open, millis(29_800));
    let told = open.retry_after().as_secs_f64();
    let text = format!("circuit breaker is open for 'storage': retry after {told:.1}s");
    assert_eq!(open.to_string(), text);
    let cause = open.source().unwrap().downcast_ref::<OpenCause>().unwrap();
    assert_eq!(cause.reason(), OpenReason::Failures);
    assert_eq!(cause.last_failure().as_deref(), Some("connection refused, 3"));
    assert_eq!(cause.to_string(), "opened after 3 failures in a row: connection refused, 3");
}

#[tokio::test(start_paused = true)]
async fn the_error_goes_into_an_io_error_and_is_found_there() {
    let circuit = circuit(1);
    trip(&circuit);
    let open = circuit.try_acquire().unwrap_err();
    let error = io::Error::from(open.clone());
    assert_eq!(error.to_string(), open.to_string());
    let inside = error.get_ref().unwrap();
    assert!(inside.is::<bindu_cb::CircuitBreakerOpenError>());
}

#[tokio::test(start_paused = true)]
async fn the_time_left_runs_out_steadily() {
    let circuit = circuit(1);
    trip(&circuit);
    for left in (1..=30).rev() {
        assert_told(&circuit.try_acquire().unwrap_err(), secs(left));
        assert_eq!(circuit.snapshot().half_open_in, Some(secs(left)));
        advance(secs(1)).await;
    }
    assert!(circuit.try_acquire().is_ok());
}

#[tokio::test(start_paused = true)]
async fn nothing_that_happens_meanwhile_moves_the_end() {
    let circuit = circuit(1);
    let late: Vec<_> = (0..4).map(|_| circuit.try_acquire().unwrap()).collect();
    trip(&circuit);
    let mut late = late.into_iter();

    advance(secs(10)).await;
    late.next().unwrap().failure();
    late.next().unwrap().success();
    advance(secs(10)).await;
    late.next().unwrap().ignore();
    drop(late.next().unwrap());
    for _ in 0..100 {
        circuit.try_acquire().unwrap_err();
    }
    advance(secs(9)).await;

    assert_told(&circuit.try_acquire().unwrap_err(), secs(1));
    let snapshot = circuit.snapshot();
    assert_eq!(snapshot.calls.stale, 4);
    assert_eq!((snapshot.in_state_for, snapshot.half_open_in), (secs(29), Some(secs(1))));
    advance(secs(1)).await;
    assert!(circuit.try_acquire().is_ok());
}

#[tokio::test(start_paused = true)]
async fn new_settings_do_not_move_the_end_of_this_opening() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    trip_storage().await;
    let circuit = bindu_cb::get_circuit_breaker("storage");

    let mut settings = Settings::default();
    settings.all().enabled(true).recovery_timeout(secs(5));
    bindu_cb::registry().configure(settings);
    advance(secs(29)).await;
    assert_told(&circuit.try_acquire().unwrap_err(), secs(1));

    advance(secs(1)).await;
    circuit.try_acquire().unwrap().failure();
    assert_told(&circuit.try_acquire().unwrap_err(), secs(5));
}

#[tokio::test(start_paused = true)]
async fn it_says_open_until_somebody_calls() {
    let circuit = circuit(1);
    trip(&circuit);
    advance(secs(3_600)).await;
    assert_eq!(circuit.state(), CircuitState::Open);
    assert_eq!(circuit.snapshot().half_open_in, Some(secs(0)), "the next call is a probe");
    assert_eq!(circuit.state(), CircuitState::Open, "looking changes nothing");
    let probe = circuit.try_acquire().unwrap();
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    probe.success();
}

/// B4: drawn once per opening from [w (1 - jitter), w].
#[tokio::test(start_paused = true)]
async fn the_wait_is_drawn_once_and_from_the_whole_range() {
    let settings = CircuitBreakerSettings::default().failure_threshold(1).recovery_jitter(0.5);
    let (mut shortest, mut longest) = (secs(60), secs(0));
    for _ in 0..200 {
        let circuit = CircuitBreaker::new("test", settings.clone());
        trip(&circuit);
        let drawn = circuit.snapshot().half_open_in.unwrap();
        assert!((secs(15)..=secs(30)).contains(&drawn), "{drawn:?}");
        (shortest, longest) = (shortest.min(drawn), longest.max(drawn));

        advance(secs(10)).await;
        let left = circuit.snapshot().half_open_in.unwrap();
        assert_eq!(left + secs(10), drawn);
        advance(left).await;
        assert!(circuit.try_acquire().is_ok(), "at the very moment that was drawn");
    }
    assert!(shortest < secs(20) && longest > secs(25), "{shortest:?} to {longest:?}");
}

#[test]
fn what_opened_it_before_is_no_reason_of_a_circuit_that_is_forced_open() {
    let circuit = circuit(1);
    trip(&circuit);
    circuit.reset();
    circuit.force_open();
    let open = circuit.try_acquire().unwrap_err();
    let cause = open.source().unwrap().downcast_ref::<OpenCause>().unwrap();
    assert_eq!((cause.reason(), cause.last_failure()), (OpenReason::Forced, None));
}
