//! Sliding windows and slow calls: what a closed circuit is judged by instead of failures in a row.

use std::error::Error as _;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bindu_cb::testing::isolate;
use bindu_cb::{
    CallError, CircuitBreaker, CircuitBreakerSettings, CircuitState, Event, Operation, Overrides,
    Settings, Window, get_circuit_breaker, registry, retry_with_breaker, with_circuit_breaker,
};
use tokio::time::{advance, sleep, timeout};
use tracing::Level;

use crate::support::{Failure, Log, Service, millis, secs, snapshot_of, trip};

fn of_calls(calls: u32) -> CircuitBreakerSettings {
    CircuitBreakerSettings::default().window(Window::Calls(calls))
}

fn of_time(time: Duration) -> CircuitBreakerSettings {
    CircuitBreakerSettings::default().window(Window::Time(time))
}

fn circuit(settings: CircuitBreakerSettings) -> CircuitBreaker {
    CircuitBreaker::new("windowed", settings)
}

/// So many successes, each of which the circuit must admit.
fn succeed(circuit: &CircuitBreaker, times: u32) {
    (0..times).for_each(|_| circuit.try_acquire().unwrap().success());
}

/// So many failures, each of which the circuit must admit.
fn fail(circuit: &CircuitBreaker, times: u32) {
    (0..times).for_each(|_| circuit.try_acquire().unwrap().failure());
}

/// A success that takes this long.
async fn succeed_in(circuit: &CircuitBreaker, duration: Duration) {
    let permit = circuit.try_acquire().unwrap();
    advance(duration).await;
    permit.success();
}

/// Calls, failures and slow calls in the window.
fn figures(circuit: &CircuitBreaker) -> (u64, u64, u64) {
    let window = circuit.snapshot().window.expect("a window");
    (window.calls, window.failures, window.slow)
}

fn is_open(circuit: &CircuitBreaker) -> bool {
    circuit.state() == CircuitState::Open
}

/// Settings in code, for all operations.
fn configure(change: impl FnOnce(&mut Overrides) -> &mut Overrides) {
    let mut settings = Settings::default();
    change(settings.all().enabled(true));
    registry().configure(settings);
}

fn configure_variables(variables: &[(&str, &str)]) {
    let settings = Settings::default().with_variables(variables.iter().copied());
    registry().configure(settings.expect("the variables are good"));
}

#[tokio::test(start_paused = true)]
async fn a_count_window_opens_at_the_rate_exactly() {
    let circuit = circuit(of_calls(100).minimum_calls(100));
    succeed(&circuit, 50);
    fail(&circuit, 49);
    assert!(!is_open(&circuit), "49 of 99");
    fail(&circuit, 1);
    assert!(is_open(&circuit), "50 of 100");
}

#[tokio::test(start_paused = true)]
async fn a_success_may_be_what_opens() {
    let circuit = circuit(of_calls(100));
    fail(&circuit, 9);
    assert!(!is_open(&circuit));
    succeed(&circuit, 1);
    assert!(is_open(&circuit), "9 of 10, which is the minimum");
}

#[tokio::test(start_paused = true)]
async fn every_rate_opens_at_its_own_percentage() {
    for rate in [1, 33, 50, 99, 100] {
        let circuit = circuit(of_calls(100).minimum_calls(100).failure_rate(rate));
        succeed(&circuit, 100);
        fail(&circuit, rate - 1);
        assert!(!is_open(&circuit), "{rate} %");
        fail(&circuit, 1);
        assert!(is_open(&circuit), "{rate} %");
    }
}

#[tokio::test(start_paused = true)]
async fn a_count_window_forgets_one_call_for_each_that_comes() {
    let circuit = circuit(of_calls(10).minimum_calls(10));
    fail(&circuit, 4);
    succeed(&circuit, 6);
    for forgotten in 0..4 {
        assert_eq!(figures(&circuit), (10, 4 - forgotten, 0));
        succeed(&circuit, 1);
    }
    assert_eq!(figures(&circuit), (10, 0, 0));

    // Two far apart are never in the same window.
    for _ in 0..20 {
        fail(&circuit, 1);
        succeed(&circuit, 9);
        assert_eq!(figures(&circuit), (10, 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_of_one_call_opens_at_the_first_failure() {
    let circuit = circuit(of_calls(1));
    succeed(&circuit, 3);
    fail(&circuit, 1);
    assert!(is_open(&circuit));
}

#[tokio::test(start_paused = true)]
async fn nothing_opens_below_the_minimum_of_calls() {
    let default = of_calls(100);
    for (settings, minimum) in [
        (default.clone(), 10),
        (default.clone().minimum_calls(1), 1),
        (default.minimum_calls(37), 37),
        (of_calls(4), 4),
        (of_calls(10), 10),
        (of_time(secs(30)), 10),
        (of_time(secs(30)).minimum_calls(3), 3),
    ] {
        let circuit = circuit(settings);
        fail(&circuit, minimum - 1);
        assert!(!is_open(&circuit), "{minimum}");
        fail(&circuit, 1);
        assert!(is_open(&circuit), "{minimum}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_of_the_service_is_not_in_the_window() {
    for settings in [of_calls(10), of_time(secs(30))] {
        let circuit = circuit(settings);
        circuit.try_acquire().unwrap().ignore();
        drop(circuit.try_acquire().unwrap());
        assert_eq!(figures(&circuit), (0, 0, 0));
    }
    let cb = isolate();
    cb.enabled(true);
    let operation = Operation::builder("dropped").window(Window::Calls(10)).build().unwrap();
    let call = operation.call(pending::<Result<(), Failure>>);
    assert!(timeout(secs(1), call).await.is_err());
    assert_eq!(figures(operation.circuit_breaker()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_mean_nothing_to_a_window() {
    let circuit = circuit(of_calls(100).failure_threshold(1).failure_rate(100));
    succeed(&circuit, 1);
    fail(&circuit, 100 - 1);
    assert!(!is_open(&circuit));
}

#[tokio::test(start_paused = true)]
async fn a_time_window_holds_a_call_for_its_length_to_within_a_tenth() {
    for offset in [0, 1, 250, 500, 999] {
        let circuit = circuit(of_time(secs(10)));
        advance(millis(offset)).await;
        fail(&circuit, 1);
        succeed(&circuit, 2);
        advance(secs(9)).await;
        assert_eq!(figures(&circuit), (3, 1, 0), "{offset}");
        advance(secs(1)).await;
        assert_eq!(figures(&circuit), (0, 0, 0), "{offset}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_window_lies_on_a_grid_that_starts_with_it() {
    for since_the_clock_began in [0, 1, 123, 777] {
        advance(millis(since_the_clock_began)).await;
        let circuit = circuit(of_time(secs(10)));
        for has_been_reset in [false, true] {
            if has_been_reset {
                circuit.reset();
            }
            fail(&circuit, 1);
            advance(secs(10).saturating_sub(Duration::from_nanos(1))).await;
            assert_eq!(figures(&circuit), (1, 1, 0));
            advance(Duration::from_nanos(1)).await;
            assert_eq!(figures(&circuit), (0, 0, 0));
            advance(millis(321)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_slide_out_of_a_time_window_a_tenth_at_a_time() {
    let circuit = circuit(of_time(secs(10)).failure_rate(100));
    for second in 1..=10 {
        succeed(&circuit, 1);
        fail(&circuit, 1);
        assert_eq!(figures(&circuit), (2 * second, second, 0));
        advance(secs(1)).await;
    }
    for left in (0..10).rev() {
        assert_eq!(figures(&circuit), (2 * left, left, 0));
        advance(secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn idle_time_leaves_no_rate_behind() {
    // Also whole multiples of the window, after which a ring would be at the same place.
    for idle in [secs(10), secs(20), secs(100), secs(1_000), secs(3_600), millis(12_345)] {
        let circuit = circuit(of_time(secs(10)));
        fail(&circuit, 9);
        advance(idle).await;
        let window = circuit.snapshot().window.unwrap();
        assert_eq!((window.calls, window.failure_rate, window.slow_call_rate), (0, 0.0, 0.0));
        fail(&circuit, 1);
        assert!(!is_open(&circuit), "the tenth in {idle:?}");
        assert_eq!(figures(&circuit), (1, 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn old_successes_do_not_hide_new_failures() {
    for idle in [secs(10), secs(100), secs(3_600)] {
        let circuit = circuit(of_time(secs(10)));
        succeed(&circuit, 1_000);
        advance(idle).await;
        fail(&circuit, 10);
        assert!(is_open(&circuit), "{idle:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_slide_out_raise_the_rate_of_those_that_stay() {
    let circuit = circuit(of_time(secs(10)));
    succeed(&circuit, 10);
    advance(secs(5)).await;
    fail(&circuit, 9);
    advance(secs(5)).await;
    assert_eq!(figures(&circuit), (9, 9, 0));
    assert!(!is_open(&circuit), "time alone decides nothing");
    succeed(&circuit, 1);
    assert!(is_open(&circuit), "the outcome after it does, though it is a success");
}

#[tokio::test(start_paused = true)]
async fn slow_calls_alone_open_at_their_rate() {
    for settings in [of_calls(100), of_time(secs(1_000))] {
        let circuit = circuit(settings.slow_call(secs(1)).slow_call_rate(40));
        succeed(&circuit, 6);
        for _ in 0..3 {
            succeed_in(&circuit, millis(1_001)).await;
        }
        assert_eq!(figures(&circuit), (9, 0, 3));
        assert!(!is_open(&circuit));
        succeed_in(&circuit, secs(60)).await;
        assert!(is_open(&circuit), "4 of 10");
        assert_eq!(circuit.snapshot().calls.failure, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn by_default_only_slow_calls_without_exception_open() {
    let circuit = circuit(of_calls(20).slow_call(secs(1)));
    succeed(&circuit, 1);
    for _ in 0..19 {
        succeed_in(&circuit, secs(2)).await;
    }
    assert!(!is_open(&circuit), "19 of 20");
    succeed_in(&circuit, secs(2)).await;
    assert!(is_open(&circuit), "the last 20");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_slow_when_it_takes_longer_than_that() {
    let circuit = circuit(of_calls(100).slow_call(secs(1)));
    advance(millis(1)).await;
    succeed_in(&circuit, secs(1)).await;
    assert_eq!(figures(&circuit), (1, 0, 0), "as long");
    succeed_in(&circuit, secs(1) + Duration::from_nanos(1)).await;
    assert_eq!(figures(&circuit), (2, 0, 1), "longer");
}

#[tokio::test(start_paused = true)]
async fn a_slow_failure_is_both_and_one_call() {
    let circuit = circuit(of_calls(100).slow_call(secs(1)));
    let permit = circuit.try_acquire().unwrap();
    advance(secs(2)).await;
    permit.failure();
    assert_eq!(figures(&circuit), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_window_no_call_is_slow() {
    let settings = CircuitBreakerSettings::default().slow_call(secs(1)).slow_call_rate(1);
    let circuit = circuit(settings);
    for _ in 0..20 {
        succeed_in(&circuit, secs(60)).await;
    }
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.calls.success), (CircuitState::Closed, 20));
    assert_eq!(snapshot.window, None);
}

/// B5.
#[tokio::test(start_paused = true)]
async fn outcomes_of_another_generation_are_in_no_window() {
    for settings in [of_calls(10), of_time(secs(1_000))] {
        let circuit = circuit(settings.slow_call(secs(1)));
        let mut begun_before: Vec<_> = (0..6).map(|_| circuit.try_acquire().unwrap()).collect();
        trip(&circuit);
        begun_before.remove(0).failure();
        begun_before.remove(0).success();
        assert_eq!(figures(&circuit), (10, 10, 0), "as it was when it opened");

        advance(secs(30)).await;
        let probe = circuit.try_acquire().unwrap();
        begun_before.remove(0).failure();
        begun_before.remove(0).success();
        assert_eq!(circuit.state(), CircuitState::HalfOpen);

        probe.success();
        begun_before.remove(0).failure();
        begun_before.remove(0).success();
        assert_eq!((circuit.state(), figures(&circuit)), (CircuitState::Closed, (0, 0, 0)));
        assert_eq!(circuit.snapshot().calls.stale, 6);
    }
}

/// B3.
#[tokio::test(start_paused = true)]
async fn after_a_close_the_window_starts_empty() {
    for settings in [of_calls(20), of_time(secs(1_000))] {
        let circuit = circuit(settings);
        succeed(&circuit, 8);
        fail(&circuit, 8);
        assert!(is_open(&circuit));
        advance(secs(30)).await;
        circuit.try_acquire().unwrap().success();
        assert_eq!((circuit.state(), figures(&circuit)), (CircuitState::Closed, (0, 0, 0)));

        fail(&circuit, 9);
        assert!(!is_open(&circuit));
        fail(&circuit, 1);
        assert!(is_open(&circuit));
    }
}

/// B8.
#[tokio::test(start_paused = true)]
async fn a_manual_change_starts_an_empty_window() {
    for settings in [of_calls(20), of_time(secs(1_000))] {
        let circuit = circuit(settings);
        fail(&circuit, 9);
        circuit.reset();
        assert_eq!(figures(&circuit), (0, 0, 0));

        circuit.force_closed();
        fail(&circuit, 100);
        assert_eq!(circuit.snapshot().calls.failure, 109);
        assert_eq!(circuit.state(), CircuitState::ForcedClosed, "it decides nothing");
        circuit.reset();
        fail(&circuit, 9);
        assert_eq!((circuit.state(), figures(&circuit)), (CircuitState::Closed, (9, 9, 0)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_figures_of_a_snapshot_agree_with_each_other() {
    let circuit = circuit(of_calls(8).minimum_calls(8).failure_rate(100).slow_call(secs(1)));
    let empty = circuit.snapshot().window.unwrap();
    assert_eq!((empty.calls, empty.failures, empty.slow), (0, 0, 0));
    assert_eq!((empty.failure_rate, empty.slow_call_rate), (0.0, 0.0));

    succeed(&circuit, 5);
    fail(&circuit, 2);
    succeed_in(&circuit, secs(2)).await;
    let full = circuit.snapshot().window.unwrap();
    assert_eq!((full.calls, full.failures, full.slow), (8, 2, 1));
    assert_eq!((full.failure_rate, full.slow_call_rate), (25.0, 12.5));

    succeed(&circuit, 992);
    assert_eq!(figures(&circuit), (8, 0, 0));
    let calls = circuit.snapshot().calls;
    assert_eq!((calls.success, calls.failure), (998, 2), "these are of all time");
}

#[tokio::test]
async fn calls_of_many_threads_are_in_the_same_window() {
    for settings in [of_calls(1_000_000), of_time(secs(1_000_000))] {
        let circuit = circuit(settings);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        succeed(&circuit, 3);
                        fail(&circuit, 1);
                    }
                });
            }
        });
        assert_eq!(figures(&circuit), (8_000, 2_000, 0));
    }
}

#[retry_with_breaker(op = "guarded", attempts = 2, window = "6 calls", failure_rate = 50)]
async fn guarded(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_a_guarded_function_are_in_the_window_and_not_its_attempts() {
    let cb = isolate();
    cb.enabled(true);
    let (down, up) = (Service::down(), Service::up());
    for _ in 0..3 {
        guarded(&up).await.unwrap();
        assert_eq!(guarded(&Service::refusing(1)).await.unwrap(), 2);
    }
    let circuit = get_circuit_breaker("guarded");
    assert_eq!(figures(&circuit), (6, 0, 0), "a call that its retry has saved is a success");
    for _ in 0..3 {
        assert!(!is_open(&circuit));
        assert!(matches!(guarded(&down).await, Err(Failure::Refused(_))));
    }
    assert!(is_open(&circuit));
    assert!(matches!(guarded(&down).await, Err(Failure::Open(_))));
    assert_eq!(down.asked(), 6);
}

#[with_circuit_breaker(op = "sluggish", window = "1m", slow_call = "2s", minimum_calls = 2)]
async fn sluggish(takes: Duration) -> Result<(), Failure> {
    sleep(takes).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_guarded_function_that_has_become_slow_is_held_back() {
    let cb = isolate();
    cb.enabled(true);
    for _ in 0..2 {
        sluggish(secs(3)).await.unwrap();
    }
    assert!(matches!(sluggish(secs(0)).await, Err(Failure::Open(_))));

    sleep(secs(30)).await;
    sluggish(secs(1)).await.unwrap();
    let circuit = get_circuit_breaker("sluggish");
    assert_eq!((circuit.state(), figures(&circuit)), (CircuitState::Closed, (0, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn the_window_of_an_operation() {
    let cb = isolate();
    cb.enabled(true);
    let operation = Operation::builder("by-hand")
        .attempts(1)
        .window(Window::Time(secs(10)))
        .minimum_calls(2)
        .failure_rate(100)
        .build()
        .unwrap();
    let fails = async || Err::<(), _>("down");
    assert!(matches!(operation.call(fails).await, Err(CallError::Inner("down"))));
    advance(secs(10)).await;
    assert!(matches!(operation.call(fails).await, Err(CallError::Inner("down"))));
    assert_eq!(figures(operation.circuit_breaker()), (1, 1, 0));
    assert!(matches!(operation.call(fails).await, Err(CallError::Inner("down"))));
    assert!(matches!(operation.call(fails).await, Err(CallError::Open(_))));
}

#[retry_with_breaker(
    op = "attempts",
    attempts = 2,
    count = "attempt",
    window = "3 calls",
    slow_call = "5s",
    min_wait = "10s",
    max_wait = "10s"
)]
async fn each_attempt(service: &Service) -> Result<u32, Failure> {
    sleep(secs(1)).await;
    service.ask()
}

#[tokio::test(start_paused = true)]
async fn counted_by_attempt_a_window_holds_attempts() {
    let cb = isolate();
    cb.enabled(true);
    let service = Service::down();
    each_attempt(&service).await.unwrap_err();
    let circuit = get_circuit_breaker("attempts");
    assert_eq!(figures(&circuit), (2, 2, 0), "each is quick, though the call took 12 s");

    let stopped = each_attempt(&service).await.unwrap_err();
    assert!(matches!(stopped, Failure::Open(_)), "before its second attempt: {stopped}");
    assert_eq!((service.asked(), figures(&circuit)), (3, (3, 3, 0)));
}

#[retry_with_breaker(
    op = "calls",
    attempts = 2,
    window = "3 calls",
    slow_call = "5s",
    min_wait = "10s",
    max_wait = "10s"
)]
async fn each_call(service: &Service) -> Result<u32, Failure> {
    sleep(secs(1)).await;
    service.ask()
}

#[tokio::test(start_paused = true)]
async fn counted_by_call_the_waits_are_part_of_what_is_slow() {
    let cb = isolate();
    cb.enabled(true);
    each_call(&Service::refusing(1)).await.unwrap();
    each_call(&Service::up()).await.unwrap();
    assert_eq!(figures(&get_circuit_breaker("calls")), (2, 0, 1));
}

#[retry_with_breaker(op = "rehearsed", attempts = 1, window = "4 calls", dry_run = true)]
async fn rehearsed(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

/// B11.
#[tokio::test(start_paused = true)]
async fn a_dry_run_opens_by_its_window_and_rejects_nothing() {
    let cb = isolate();
    cb.enabled(true);
    let service = Service::refusing(7);
    for asked in 1..=7 {
        assert!(matches!(rehearsed(&service).await, Err(Failure::Refused(n)) if n == asked));
    }
    let circuit = get_circuit_breaker("rehearsed");
    assert_eq!((circuit.state(), figures(&circuit)), (CircuitState::Open, (4, 4, 0)));
    let calls = circuit.snapshot().calls;
    assert_eq!((calls.failure, calls.rejected), (4, 3));

    advance(secs(30)).await;
    rehearsed(&service).await.unwrap();
    assert_eq!((circuit.state(), figures(&circuit)), (CircuitState::Closed, (0, 0, 0)));
}

/// Ends ten calls of a fresh circuit of the registry, seven of them as failures, where that does
/// not open it.
fn seven_of_ten(op: &str) -> Arc<CircuitBreaker> {
    let circuit = get_circuit_breaker(op);
    fail(&circuit, 7);
    succeed(&circuit, 3);
    assert_eq!((circuit.state(), figures(&circuit)), (CircuitState::Closed, (10, 7, 0)));
    circuit
}

#[tokio::test(start_paused = true)]
async fn a_window_of_another_shape_starts_empty_and_the_state_stays() {
    let shapes = [
        Window::Calls(100),
        Window::Calls(101),
        Window::Time(secs(60)),
        Window::Time(secs(61)),
        Window::Calls(100),
    ];
    let _cb = isolate();
    for pair in shapes.windows(2) {
        configure(|all| all.window(pair[0]).failure_rate(80));
        let circuit = seven_of_ten("reshaped");
        let begun_before = circuit.try_acquire().unwrap();
        configure(|all| all.window(pair[1]).failure_rate(80));
        assert_eq!((circuit.state(), figures(&circuit)), (CircuitState::Closed, (0, 0, 0)));
        begun_before.failure();
        assert_eq!(figures(&circuit), (1, 1, 0), "its generation goes on");
        assert_eq!(circuit.snapshot().calls.stale, 0);
        fail(&circuit, 9);
        assert!(is_open(&circuit));

        let wait = circuit.snapshot().half_open_in;
        configure(|all| all.window(pair[0]).failure_rate(80));
        assert_eq!((circuit.state(), circuit.snapshot().half_open_in), (CircuitState::Open, wait));
        circuit.reset();
    }
}

#[tokio::test(start_paused = true)]
async fn from_failures_in_a_row_to_a_window_and_back() {
    let _cb = isolate();
    configure(|all| all);
    let circuit = get_circuit_breaker("both");
    fail(&circuit, 2);
    configure(|all| all.window(Window::Calls(10)));
    assert_eq!(figures(&circuit), (0, 0, 0));
    fail(&circuit, 9);
    configure(|all| all);
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.consecutive_failures), (CircuitState::Closed, 0));
    assert_eq!(snapshot.window, None);
    fail(&circuit, 2);
    assert!(!is_open(&circuit));
    fail(&circuit, 1);
    assert!(is_open(&circuit));
}

#[tokio::test(start_paused = true)]
async fn another_rate_keeps_the_calls_and_is_tried_at_the_next_outcome() {
    for window in [Window::Calls(100), Window::Time(secs(60))] {
        let _cb = isolate();
        configure(|all| all.window(window).failure_rate(80));
        let circuit = seven_of_ten("rated");
        configure(|all| all.window(window).failure_rate(60));
        assert_eq!((circuit.state(), figures(&circuit)), (CircuitState::Closed, (10, 7, 0)));
        succeed(&circuit, 1);
        assert!(is_open(&circuit), "7 of 11");
    }
}

#[tokio::test(start_paused = true)]
async fn another_minimum_keeps_the_calls_and_is_tried_at_the_next_outcome() {
    let _cb = isolate();
    configure(|all| all.window(Window::Calls(100)).minimum_calls(50));
    let circuit = seven_of_ten("started");
    configure(|all| all.window(Window::Calls(100)).minimum_calls(5));
    assert!(!is_open(&circuit));
    succeed(&circuit, 1);
    assert!(is_open(&circuit), "7 of 11");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_began_before_calls_could_be_slow_is_not_slow() {
    let _cb = isolate();
    configure(|all| all.window(Window::Calls(100)));
    let circuit = get_circuit_breaker("slow-later");
    let begun_before = circuit.try_acquire().unwrap();
    configure(|all| all.window(Window::Calls(100)).slow_call(secs(1)));
    succeed_in(&circuit, secs(2)).await;
    begun_before.success();
    assert_eq!(figures(&circuit), (2, 0, 1));
}

#[retry_with_breaker(op = "told", attempts = 1, window = "4 calls", failure_rate = 75)]
async fn told(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

fn events() -> Arc<Mutex<Vec<Event>>> {
    let events = Arc::<Mutex<Vec<Event>>>::default();
    let heard = Arc::clone(&events);
    registry().subscribe(move |event: &Event| heard.lock().unwrap().push(event.clone()));
    events
}

#[tokio::test(start_paused = true)]
async fn an_opening_by_the_rate_of_failures_is_told_with_its_figures() {
    let cb = isolate();
    cb.enabled(true);
    let (log, events) = (Log::capture(), events());
    let service = Service::down();
    told(&Service::up()).await.unwrap();
    for _ in 0..3 {
        told(&service).await.unwrap_err();
    }

    let event = events.lock().unwrap()[0].clone();
    let window = event.window.unwrap();
    assert_eq!((event.to, event.failures), (CircuitState::Open, 3));
    assert_eq!((window.calls, window.failures, window.slow), (4, 3, 0));
    assert_eq!((window.failure_rate, event.wait), (75.0, Some(secs(30))));

    let line = log.at(Level::WARN).remove(0);
    assert_eq!(line.message, "circuit breaker opened");
    let fields = ["operation", "failures", "calls", "slow", "last_failure", "wait"];
    let expected = ["told", "3", "4", "0", "connection refused, 3", "30s"];
    assert_eq!(fields.map(|field| line.field(field)), expected);

    let Err(Failure::Open(open)) = told(&service).await else { panic!("it is open") };
    let cause = open.source().unwrap().to_string();
    assert_eq!(cause, "opened because 3 of 4 calls failed: connection refused, 3");
}

#[tokio::test(start_paused = true)]
async fn an_opening_by_slow_calls_is_told_with_its_figures() {
    let cb = isolate();
    cb.enabled(true);
    let (log, events) = (Log::capture(), events());
    for _ in 0..2 {
        sluggish(secs(3)).await.unwrap();
    }

    let event = events.lock().unwrap()[0].clone();
    let window = event.window.unwrap();
    assert_eq!((event.failures, event.last_failure.as_deref()), (0, None));
    assert_eq!((window.calls, window.failures, window.slow), (2, 0, 2));
    let line = log.at(Level::WARN).remove(0);
    let fields = ["operation", "failures", "calls", "slow"].map(|field| line.field(field));
    assert_eq!(fields, ["sluggish", "0", "2", "2"]);

    let Err(Failure::Open(open)) = sluggish(secs(0)).await else { panic!("it is open") };
    assert_eq!(open.source().unwrap().to_string(), "opened because 2 of 2 calls were slow");
}

#[tokio::test(start_paused = true)]
async fn a_window_from_the_environment() {
    let _cb = isolate();
    configure_variables(&[
        ("BINDU_CB_WINDOW", "100 calls"),
        ("BINDU_CB_API_WINDOW", "1m 30s"),
        ("BINDU_CB_MINIMUM_CALLS", "4"),
        ("BINDU_CB_FAILURE_RATE", "75"),
        ("BINDU_CB_SLOW_CALL", "0.5"),
        ("BINDU_CB_API_SLOW_CALL_RATE", "60"),
        ("BINDU_CB_API_MAIL_WINDOW", "none"),
    ]);
    let circuit = get_circuit_breaker("storage:save");
    fail(&circuit, 2);
    succeed_in(&circuit, secs(1)).await;
    assert_eq!(figures(&circuit), (3, 2, 1));
    fail(&circuit, 1);
    assert!(is_open(&circuit), "3 of 4");

    let circuit = get_circuit_breaker("api:quote");
    for _ in 0..3 {
        succeed_in(&circuit, secs(1)).await;
    }
    succeed(&circuit, 1);
    assert!(is_open(&circuit), "3 of 4 were slow");

    assert_eq!(get_circuit_breaker("api:mail").snapshot().window, None);
}

#[test]
fn bad_variables_of_a_window_are_all_named() {
    let bad = [
        ("BINDU_CB_WINDOW", "100"),
        ("BINDU_CB_STORAGE_WINDOW", "0 calls"),
        ("BINDU_CB_API_WINDOW", "9ms"),
        ("BINDU_CB_FAILURE_RATE", "0"),
        ("BINDU_CB_SLOW_CALL_RATE", "101"),
        ("BINDU_CB_MINIMUM_CALLS", "0"),
        ("BINDU_CB_SLOW_CALL", "soon"),
    ];
    let error = Settings::default().with_variables(bad).unwrap_err();
    assert_eq!(error.problems().len(), bad.len());
    for (name, value) in bad {
        assert!(error.to_string().contains(&format!("{name}={value:?}: expected ")), "{error}");
    }

    let misspelt = Settings::default().with_variables([("BINDU_CB_WINDOWS", "30s")]).unwrap_err();
    assert!(misspelt.to_string().contains("BINDU_CB_WINDOW"), "{misspelt}");
}

#[retry_with_breaker(op = "strict", attempts = 1, window = "4 calls", failure_rate = 100)]
async fn strict(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[tokio::test(start_paused = true)]
async fn a_window_counts_beside_a_threshold_of_a_weaker_source() {
    let _cb = isolate();
    configure_variables(&[("BINDU_CB_ENABLED", "true"), ("BINDU_CB_FAILURE_THRESHOLD", "1")]);
    let service = Service::down();
    for _ in 0..3 {
        strict(&service).await.unwrap_err();
        assert_eq!(snapshot_of("strict").state, CircuitState::Closed);
    }
    strict(&service).await.unwrap_err();
    assert_eq!(snapshot_of("strict").state, CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_unset_leaves_failures_in_a_row() {
    let _cb = isolate();
    configure_variables(&[
        ("BINDU_CB_ENABLED", "true"),
        ("BINDU_CB_FAILURE_THRESHOLD", "2"),
        ("BINDU_CB_STRICT_WINDOW", "none"),
    ]);
    let service = Service::down();
    strict(&service).await.unwrap_err();
    assert_eq!(snapshot_of("strict").consecutive_failures, 1);
    strict(&service).await.unwrap_err();
    assert_eq!(snapshot_of("strict").state, CircuitState::Open);
}

/// S6.
#[tokio::test(start_paused = true)]
async fn a_minimum_of_a_weaker_source_gives_way_to_a_smaller_window() {
    let _cb = isolate();
    let log = Log::capture();
    configure_variables(&[("BINDU_CB_ENABLED", "true"), ("BINDU_CB_MINIMUM_CALLS", "50")]);
    let service = Service::down();
    for _ in 0..4 {
        assert!(matches!(strict(&service).await, Err(Failure::Refused(_))));
    }
    assert!(matches!(strict(&service).await, Err(Failure::Open(_))));
    let snapshot = registry().snapshot().remove(0);
    let minimum = snapshot.settings.iter().find(|s| s.key == "minimum_calls").unwrap();
    assert_eq!(
        (minimum.value.as_str(), minimum.source.to_string().as_str()),
        ("4", "adjusted to window")
    );
    let warnings = log.messages(Level::WARN);
    let told = warnings.iter().filter(|message| message.contains("minimum_calls"));
    assert_eq!(told.count(), 1);
}
