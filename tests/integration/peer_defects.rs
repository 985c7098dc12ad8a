//! What other circuit breakers and retry loops get wrong, each a test that this one does not.

use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bindu_cb::testing::isolate;
use bindu_cb::{
    CircuitBreaker, CircuitBreakerSettings, CircuitState, Event, Permit, Window,
    get_circuit_breaker, registry, retry_with_breaker,
};
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep, timeout};

use crate::support::{Failure, Service, assert_told, circuit, millis, secs, trip, trip_and_wait};

#[tokio::test(start_paused = true)]
async fn defect_1_a_dropped_probe_neither_closes_the_circuit_nor_leaves_it_half_open_for_ever() {
    let circuit = circuit(1);
    trip_and_wait(&circuit).await;
    let probe = circuit.call(pending::<Result<(), Failure>>);
    assert!(timeout(secs(1), probe).await.is_err());
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    assert!(circuit.call(async || Err::<(), _>("down")).await.is_err());
    assert_eq!(circuit.state(), CircuitState::Open);

    advance(secs(30)).await;
    assert!(circuit.call(async || Ok::<_, Failure>(())).await.is_ok());
    assert_eq!(circuit.state(), CircuitState::Closed);
}

/// Lets 100 callers come at the same moment; returns how many reached the service.
async fn a_hundred_callers(circuit: Arc<CircuitBreaker>) -> u32 {
    let reached = Arc::new(AtomicU32::new(0));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (circuit, reached) = (Arc::clone(&circuit), Arc::clone(&reached));
            tokio::spawn(async move {
                let ask = async || {
                    reached.fetch_add(1, Ordering::Relaxed);
                    sleep(secs(1)).await;
                    Err::<(), _>("down")
                };
                assert!(circuit.call(ask).await.is_err());
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    reached.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn defect_2_of_a_hundred_callers_at_half_open_only_the_probes_get_through() {
    for permits in [1, 3] {
        let settings = CircuitBreakerSettings::default().half_open_permits(permits);
        let circuit = Arc::new(CircuitBreaker::new("test", settings));
        trip_and_wait(&circuit).await;
        assert_eq!(a_hundred_callers(circuit).await, permits);
    }
}

#[tokio::test(start_paused = true)]
async fn defect_3_a_success_that_began_before_the_trip_does_not_close_the_circuit() {
    let circuit = circuit(1);
    let (early, earlier) = (circuit.try_acquire().unwrap(), circuit.try_acquire().unwrap());
    trip(&circuit);
    earlier.success();
    assert_eq!(circuit.state(), CircuitState::Open);

    advance(secs(30)).await;
    let _probe = circuit.try_acquire().unwrap();
    early.success();
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn defect_4_a_hung_probe_does_not_reject_callers_for_ever() {
    let circuit = Arc::new(circuit(1));
    trip_and_wait(&circuit).await;
    let hung = tokio::spawn({
        let circuit = Arc::clone(&circuit);
        async move { circuit.call(pending::<Result<(), Failure>>).await }
    });
    yield_now().await;
    assert!(circuit.try_acquire().is_err());

    sleep(secs(60)).await;
    assert!(!hung.is_finished(), "it hangs still");
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed);
    hung.abort();
}

#[tokio::test(start_paused = true)]
async fn defect_5_late_ignored_calls_add_no_permits() {
    let settings = CircuitBreakerSettings::default().half_open_permits(2);
    let circuit = CircuitBreaker::new("test", settings);
    let begun_before: Vec<_> = (0..3).map(|_| circuit.try_acquire().unwrap()).collect();
    trip_and_wait(&circuit).await;
    let late_probes = [circuit.try_acquire().unwrap(), circuit.try_acquire().unwrap()];
    begun_before.into_iter().for_each(Permit::ignore);
    assert!(circuit.try_acquire().is_err());

    advance(secs(60)).await;
    let _probes = [circuit.try_acquire().unwrap(), circuit.try_acquire().unwrap()];
    late_probes.into_iter().for_each(Permit::ignore);
    assert!(circuit.try_acquire().is_err());
}

#[tokio::test(start_paused = true)]
async fn defect_6_a_count_window_evicts() {
    let settings = CircuitBreakerSettings::default().window(Window::Calls(100));
    let circuit = CircuitBreaker::new("test", settings);
    for _ in 0..10_000 {
        circuit.try_acquire().unwrap().success();
    }
    for failures in 1..=50 {
        assert_eq!(circuit.state(), CircuitState::Closed);
        circuit.try_acquire().unwrap().failure();
        assert_eq!(circuit.snapshot().window.unwrap().failures, failures);
    }
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn defect_6_a_time_window_trips_and_its_half_open_does_not_hang() {
    let settings = CircuitBreakerSettings::default().window(Window::Time(secs(10)));
    let circuit = CircuitBreaker::new("test", settings);
    for opening in 0..3 {
        for _ in 0..10_000 {
            circuit.try_acquire().unwrap().success();
        }
        advance(secs(10)).await;
        for _ in 0..10 {
            assert_eq!(circuit.state(), CircuitState::Closed, "{opening}");
            circuit.try_acquire().unwrap().failure();
        }
        assert_eq!(circuit.state(), CircuitState::Open);
        advance(secs(30)).await;
        drop(circuit.try_acquire().unwrap());
        circuit.try_acquire().unwrap().failure();
        assert_eq!(circuit.state(), CircuitState::Open, "a probe has failed");
        advance(secs(30)).await;
        circuit.try_acquire().unwrap().success();
        assert_eq!(circuit.state(), CircuitState::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn defect_7_a_rate_of_49_75_percent_is_not_rounded_to_50() {
    for window in [Window::Calls(400), Window::Time(secs(10))] {
        let settings = CircuitBreakerSettings::default().window(window).minimum_calls(400);
        let circuit = CircuitBreaker::new("test", settings);
        for _ in 0..201 {
            circuit.try_acquire().unwrap().success();
        }
        for _ in 0..199 {
            circuit.try_acquire().unwrap().failure();
        }
        let held = circuit.snapshot().window.unwrap();
        assert_eq!((held.calls, held.failures, held.failure_rate), (400, 199, 49.75));
        assert_eq!(circuit.state(), CircuitState::Closed);
        // In the time window nothing is evicted, so it takes two: 201 of 402.
        for _ in 0..2 {
            if let Ok(permit) = circuit.try_acquire() {
                permit.failure();
            }
        }
        assert_eq!(circuit.state(), CircuitState::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn defect_8_failures_while_open_do_not_push_the_recovery_moment_back() {
    let circuit = circuit(1);
    let mut begun_before: Vec<_> = (0..29).map(|_| circuit.try_acquire().unwrap()).collect();
    trip(&circuit);
    for second in 1..30 {
        advance(secs(1)).await;
        begun_before.remove(0).failure();
        let rejected = circuit.try_acquire().unwrap_err();
        assert_told(&rejected, secs(30 - second));
        assert_eq!(circuit.snapshot().half_open_in, Some(secs(30 - second)));
    }
    advance(secs(1)).await;
    assert!(circuit.try_acquire().is_ok());
}

#[retry_with_breaker(op = "waits", attempts = 200, min_wait = "1s", max_wait = "4s", jitter = 1.0)]
async fn waits(instants: &mut Vec<Instant>) -> Result<(), Failure> {
    instants.push(Instant::now());
    Err(Failure::Refused(0))
}

#[tokio::test(start_paused = true)]
async fn defect_9_jitter_does_not_carry_a_wait_beyond_max_wait() {
    let _cb = isolate();
    let mut instants = Vec::new();
    assert!(waits(&mut instants).await.is_err());
    let waits = instants.windows(2).map(|pair| pair[1] - pair[0]);
    // The timer's own grain is a millisecond.
    assert!(waits.clone().all(|wait| wait >= secs(1) && wait <= secs(4) + millis(1)));
    assert!(
        waits.clone().any(|wait| wait > secs(3)),
        "the interval is the cap, or nothing is shown"
    );
    assert!(waits.clone().any(|wait| wait < secs(2)), "and there is jitter");
}

#[tokio::test(start_paused = true)]
async fn defect_9_the_jitter_of_an_opening_is_not_drawn_again_at_each_check() {
    let settings = CircuitBreakerSettings::default().failure_threshold(1).recovery_jitter(1.0);
    let circuit = CircuitBreaker::new("test", settings);
    trip(&circuit);
    let wait = circuit.snapshot().half_open_in.unwrap();
    for _ in 0..1_000 {
        assert_eq!(circuit.snapshot().half_open_in, Some(wait));
        assert_told(&circuit.try_acquire().unwrap_err(), wait);
    }
    advance(wait.saturating_sub(Duration::from_nanos(1))).await;
    assert!(circuit.try_acquire().is_err());
    advance(Duration::from_nanos(1)).await;
    assert!(circuit.try_acquire().is_ok());
}

#[retry_with_breaker(op = "waits", attempts = 2, retry_after = |_| Some(Duration::from_millis(7_777)))]
async fn says_when(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[tokio::test(start_paused = true)]
async fn defect_9_retry_after_is_heeded() {
    let _cb = isolate();
    let began = Instant::now();
    assert_eq!(says_when(&Service::refusing(1)).await.unwrap(), 2);
    assert_eq!(began.elapsed(), millis(7_777));
}

#[retry_with_breaker(
    op = "waits",
    attempts = 100,
    min_wait = "10m",
    max_wait = "1h",
    multiplier = 1.0,
    jitter = 0.0
)]
async fn for_hours(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[tokio::test(start_paused = true)]
async fn defect_9_no_hidden_time_limit_ends_the_retries() {
    let _cb = isolate();
    let (service, began) = (Service::down(), Instant::now());
    assert!(for_hours(&service).await.is_err());
    assert_eq!((service.asked(), began.elapsed()), (100, secs(99 * 600)));
}

#[tokio::test(start_paused = true)]
async fn defect_11_a_listener_may_use_the_circuit_that_calls_it() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("listened-to");
    let events = Arc::new(Mutex::new(Vec::new()));
    registry().subscribe({
        let (circuit, events) = (Arc::clone(&circuit), Arc::clone(&events));
        move |event: &Event| {
            events.lock().unwrap().push(event.to);
            assert_eq!(circuit.snapshot().state, circuit.state());
            if event.to == CircuitState::Open {
                assert!(circuit.try_acquire().is_err());
                circuit.reset();
            }
        }
    });
    trip_once(&circuit);
    assert_eq!(*events.lock().unwrap(), [CircuitState::Open, CircuitState::Closed]);
    assert_eq!(circuit.state(), CircuitState::Closed);
}

/// Opens a circuit of three failures that may be closed again at once.
fn trip_once(circuit: &CircuitBreaker) {
    for _ in 0..3 {
        circuit.try_acquire().unwrap().failure();
    }
}

#[tokio::test(start_paused = true)]
async fn defect_11_a_listener_may_wait_for_another_thread_that_uses_the_circuit() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("listened-to");
    let (asks, asked) = mpsc::channel();
    registry().subscribe({
        let circuit = Arc::clone(&circuit);
        move |_: &Event| {
            let circuit = Arc::clone(&circuit);
            let other = std::thread::spawn(move || {
                (circuit.try_acquire().is_ok(), circuit.snapshot().state)
            });
            asks.send(other.join().unwrap()).unwrap();
        }
    });
    trip_once(&circuit);
    assert_eq!(asked.recv(), Ok((false, CircuitState::Open)));
}

#[tokio::test(start_paused = true)]
async fn defect_11_a_listener_that_panics_poisons_nothing_and_silences_nobody() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("listened-to");
    let heard = Arc::new(AtomicU32::new(0));
    let count = |heard: &Arc<AtomicU32>| {
        let heard = Arc::clone(heard);
        move |_: &Event| {
            heard.fetch_add(1, Ordering::Relaxed);
        }
    };
    registry().subscribe(count(&heard));
    registry().subscribe(|_: &Event| panic!("a listener of no use"));
    registry().subscribe(count(&heard));

    trip_once(&circuit);
    assert_eq!((circuit.state(), heard.load(Ordering::Relaxed)), (CircuitState::Open, 2));
    advance(secs(30)).await;
    circuit.try_acquire().unwrap().success();
    assert_eq!((circuit.state(), heard.load(Ordering::Relaxed)), (CircuitState::Closed, 6));
}
