//! B1: what opens a closed circuit, and what does not.

use std::sync::{Arc, Mutex};

use bindu_cb::{
    Cause, CircuitBreaker, CircuitBreakerSettings, CircuitState, Event, retry_with_breaker,
    with_circuit_breaker,
};
use proptest::prelude::*;
use tracing::Level;

use crate::support::{Failure, Log, Service, circuit, secs, snapshot_of};

fn succeed(circuit: &CircuitBreaker) {
    circuit.try_acquire().unwrap().success();
}

fn fail(circuit: &CircuitBreaker) {
    circuit.try_acquire().unwrap().failure();
}

#[tokio::test(start_paused = true)]
async fn the_third_failure_in_a_row_opens() {
    let circuit = CircuitBreaker::new("test", CircuitBreakerSettings::default());
    fail(&circuit);
    fail(&circuit);
    assert_eq!(circuit.state(), CircuitState::Closed);
    assert_eq!(circuit.snapshot().consecutive_failures, 2);
    fail(&circuit);
    assert_eq!(circuit.state(), CircuitState::Open);
    assert!(circuit.try_acquire().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_success_starts_the_count_over() {
    let circuit = circuit(3);
    for _ in 0..100 {
        fail(&circuit);
        fail(&circuit);
        succeed(&circuit);
        assert_eq!(circuit.snapshot().consecutive_failures, 0);
    }
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn outcomes_count_in_the_order_in_which_calls_end() {
    let circuit = circuit(3);
    let began_first = circuit.try_acquire().unwrap();
    fail(&circuit);
    fail(&circuit);
    began_first.success();
    fail(&circuit);
    fail(&circuit);
    assert_eq!(circuit.state(), CircuitState::Closed);
    fail(&circuit);
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn ignored_and_dropped_calls_neither_count_nor_start_the_count_over() {
    let circuit = circuit(3);
    fail(&circuit);
    circuit.try_acquire().unwrap().ignore();
    fail(&circuit);
    drop(circuit.try_acquire().unwrap());
    assert_eq!(circuit.state(), CircuitState::Closed);
    fail(&circuit);
    assert_eq!(circuit.state(), CircuitState::Open);
    let calls = circuit.snapshot().calls;
    assert_eq!((calls.failure, calls.ignored, calls.cancelled), (3, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_smallest_and_the_largest_threshold_are_exact() {
    for threshold in [1, 65_535] {
        let circuit = circuit(threshold);
        for _ in 1..threshold {
            fail(&circuit);
        }
        assert_eq!(circuit.state(), CircuitState::Closed);
        fail(&circuit);
        assert_eq!(circuit.state(), CircuitState::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_what_its_future_returns() {
    let circuit = circuit(2);
    assert!(circuit.call(|| async { Err::<(), _>("refused") }).await.is_err());
    assert_eq!(circuit.call(|| async { Ok::<_, &str>(7) }).await.unwrap(), 7);
    assert!(circuit.call(|| async { Err::<(), _>("refused") }).await.is_err());
    assert_eq!(circuit.state(), CircuitState::Closed);
    let last = circuit.call(|| async { Err::<(), _>("refused") }).await.unwrap_err();
    assert_eq!(last.into_inner(), Some("refused"));
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn opening_is_told_and_logged_with_what_led_to_it() {
    #[with_circuit_breaker(op = "told", recovery_timeout = "20s")]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    bindu_cb::registry().subscribe(move |event: &Event| heard.lock().unwrap().push(event.clone()));
    let log = Log::capture();

    let service = Service::down();
    for _ in 0..3 {
        assert!(told.lock().unwrap().is_empty());
        ask(&service).await.unwrap_err();
    }

    let told = told.lock().unwrap();
    let [event] = &told[..] else { panic!("one change of state, not {told:?}") };
    assert_eq!(event.operation, "told");
    assert_eq!((event.from, event.to), (CircuitState::Closed, CircuitState::Open));
    assert_eq!((event.cause, event.failures, event.wait), (Cause::Local, 3, Some(secs(20))));
    assert_eq!(event.last_failure.as_deref(), Some("connection refused, 3"));

    let warnings = log.at(Level::WARN);
    let [line] = &warnings[..] else { panic!("one warning, not {warnings:?}") };
    for (field, value) in [
        ("operation", "told"),
        ("from", "closed"),
        ("to", "open"),
        ("cause", "local"),
        ("failures", "3"),
        ("last_failure", "connection refused, 3"),
        ("wait", "20s"),
    ] {
        assert_eq!(line.field(field), value, "{field} of {line:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_shows_what_opened_it() {
    #[with_circuit_breaker(op = "shown", failure_threshold = 2)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let service = Service::down();
    tokio::time::advance(secs(5)).await;
    ask(&service).await.unwrap_err();
    ask(&service).await.unwrap_err();
    tokio::time::advance(secs(7)).await;

    let snapshot = snapshot_of("shown");
    assert_eq!(snapshot.state, CircuitState::Open);
    assert_eq!(snapshot.in_state_for, secs(7));
    assert_eq!(snapshot.half_open_in, Some(secs(23)));
    assert_eq!(snapshot.last_failure.as_deref(), Some("connection refused, 2"));
    assert_eq!((snapshot.consecutive_failures, snapshot.reopens), (0, 0));
    assert_eq!(snapshot.calls.failure, 2);
}

/// L1: `count = "call"`.
#[tokio::test(start_paused = true)]
async fn a_call_is_one_failure_however_many_attempts_it_made() {
    #[retry_with_breaker(op = "calls", attempts = 5)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let service = Service::down();
    for calls in 1..=3 {
        assert_eq!(snapshot_of_or_closed("calls"), CircuitState::Closed);
        ask(&service).await.unwrap_err();
        assert_eq!(service.asked(), 5 * calls);
    }
    assert_eq!(snapshot_of("calls").state, CircuitState::Open);
    assert_eq!(snapshot_of("calls").calls.failure, 3);
}

fn snapshot_of_or_closed(op: &str) -> CircuitState {
    bindu_cb::registry().get(op).map_or(CircuitState::Closed, |circuit| circuit.state())
}

#[tokio::test(start_paused = true)]
async fn one_operation_opens_only_its_own_circuit() {
    #[with_circuit_breaker(op = "storage:read")]
    async fn read(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }
    #[with_circuit_breaker(op = "storage:write")]
    async fn write(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }
    #[retry_with_breaker(op = "storage:read", attempts = 1)]
    async fn read_again(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let (up, down) = (Service::up(), Service::down());
    for _ in 0..3 {
        read(&down).await.unwrap_err();
    }
    assert!(matches!(read(&up).await, Err(Failure::Open(_))));
    assert!(matches!(read_again(&up).await, Err(Failure::Open(_))), "of the same operation");
    assert_eq!(write(&up).await.unwrap(), 1);
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Success,
    Failure,
    Ignored,
    Dropped,
}

fn endings() -> impl Strategy<Value = Vec<Ending>> {
    let ending = prop_oneof![
        2 => Just(Ending::Success),
        6 => Just(Ending::Failure),
        1 => Just(Ending::Ignored),
        1 => Just(Ending::Dropped),
    ];
    proptest::collection::vec(ending, 0..60)
}

proptest! {
    #[test]
    fn after_every_step_the_circuit_is_what_b1_says(threshold in 1..8_u32, endings in endings()) {
        let circuit = circuit(threshold);
        let (mut in_a_row, mut open) = (0, false);
        for ending in endings {
            match circuit.try_acquire() {
                Err(_) => prop_assert!(open),
                Ok(permit) => {
                    prop_assert!(!open);
                    match ending {
                        Ending::Success => permit.success(),
                        Ending::Failure => permit.failure(),
                        Ending::Ignored => permit.ignore(),
                        Ending::Dropped => drop(permit),
                    }
                    in_a_row = match ending {
                        Ending::Success => 0,
                        Ending::Failure => in_a_row + 1,
                        Ending::Ignored | Ending::Dropped => in_a_row,
                    };
                    open = in_a_row == threshold;
                }
            }
            let snapshot = circuit.snapshot();
            let expected = if open { CircuitState::Open } else { CircuitState::Closed };
            prop_assert_eq!(snapshot.state, expected);
            prop_assert_eq!(snapshot.consecutive_failures, if open { 0 } else { in_a_row });
        }
    }
}
