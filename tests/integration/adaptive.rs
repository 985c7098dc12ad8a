//! C3: a threshold that is learnt, as a circuit has it.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bindu_cb::testing::isolate;
use bindu_cb::{CircuitBreaker, CircuitBreakerSettings, CircuitState, Settings, Window};
use bindu_cb::{WindowSnapshot, get_circuit_breaker, registry, with_circuit_breaker};
use tokio::time::advance;
use tracing::Level;

use crate::support::{Failure, Log, millis, secs};

fn adaptive(window: Window) -> CircuitBreakerSettings {
    CircuitBreakerSettings::default().window(window).adaptive(true)
}

/// So many calls of which every `n`-th fails.
fn calls(circuit: &CircuitBreaker, count: u32, n: u32) {
    for call in 1..=count {
        let Ok(permit) = circuit.try_acquire() else { return };
        if call % n == 0 { permit.failure() } else { permit.success() }
    }
}

fn window(circuit: &CircuitBreaker) -> WindowSnapshot {
    circuit.snapshot().window.unwrap()
}

fn assert_near(value: f64, expected: f64) {
    assert!((value - expected).abs() < 0.05, "{value} is not {expected}");
}

/// Refuses one call in two hundred, and after ten thousand one in three.
#[derive(Default)]
struct Fading {
    asked: AtomicU32,
}

impl Fading {
    const GOOD: u32 = 10_000;

    fn ask(&self) -> Result<u32, Failure> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let fails = number.is_multiple_of(if number > Self::GOOD { 3 } else { 200 });
        if fails { Err(Failure::Refused(number)) } else { Ok(number) }
    }
}

#[with_circuit_breaker(op = "fixed", enabled = true, window = "1000 calls")]
async fn fixed(service: &Fading) -> Result<u32, Failure> {
    service.ask()
}

#[with_circuit_breaker(op = "learns", enabled = true, window = "1000 calls", adaptive = true)]
async fn learns(service: &Fading) -> Result<u32, Failure> {
    service.ask()
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_more_than_it_used_to_is_spared() {
    let _cb = isolate();
    let [with, without] = [(); 2].map(|()| Arc::<Fading>::default());
    let callers = (0..100).map(|_| {
        let (with, without) = (Arc::clone(&with), Arc::clone(&without));
        async move {
            for _ in 0..150 {
                let _ = learns(&with).await;
                let _ = fixed(&without).await;
                tokio::time::sleep(millis(100)).await;
            }
        }
    });
    // On this thread, whose registry it is.
    let local = tokio::task::LocalSet::new();
    callers.for_each(|caller| drop(local.spawn_local(caller)));
    local.await;

    let bad = |service: &Fading| service.asked.load(Ordering::Relaxed) - Fading::GOOD;
    assert_eq!(bad(&without), 5_000, "a fixed 50 % lets all calls through");
    let reached = bad(&with);
    assert!((1_100..=1_300).contains(&reached), "{reached}: a window and a fifth");
}

#[tokio::test(start_paused = true)]
async fn the_threshold_in_force_is_in_the_snapshot_the_event_the_log_and_the_error() {
    let circuit = CircuitBreaker::new("told", adaptive(Window::Calls(100)));
    let log = Log::capture();
    assert_near(window(&circuit).threshold, 50.0);
    calls(&circuit, 10_000, 20);
    let before = window(&circuit);
    assert_near(before.baseline.unwrap(), 5.0);
    assert_near(before.threshold, 15.0);

    let moves = log.at(Level::DEBUG);
    assert!(moves.len() <= 40, "{} lines", moves.len());
    let last = moves.last().unwrap();
    assert_eq!(
        (last.message.as_str(), last.field("operation")),
        ("adaptive threshold moved", "told")
    );
    let [from, to] = ["from", "to"].map(|field| last.field(field).parse::<f64>().unwrap());
    assert!((1.0..1.5).contains(&(from - to)), "from {from} to {to}");

    calls(&circuit, 200, 3);
    assert_eq!(circuit.state(), CircuitState::Open);
    assert_near(window(&circuit).threshold, before.threshold);
    let line = log.at(Level::WARN).remove(0);
    assert_near(line.field("threshold").parse().unwrap(), before.threshold);
    let open = circuit.try_acquire().unwrap_err();
    let cause = open.source().unwrap().to_string();
    assert!(cause.ends_with(" of 100 calls failed (adaptive threshold 15.0 %)"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn what_reaches_the_upper_bound_opens_at_once() {
    let circuit = CircuitBreaker::new("upper", adaptive(Window::Calls(1_000)).minimum_calls(100));
    calls(&circuit, 10_000, 20);
    calls(&circuit, u32::MAX, 1);
    let window = window(&circuit);
    assert_eq!((window.calls, window.failures), (1_000, 500));
}

#[tokio::test(start_paused = true)]
async fn successes_that_nobody_looked_at_are_learnt_from_when_somebody_does() {
    for shape in [Window::Calls(100), Window::Time(secs(1))] {
        let circuit = CircuitBreaker::new("lazy", adaptive(shape));
        for _ in 0..101 {
            calls(&circuit, 100, u32::MAX);
            advance(millis(100)).await;
        }
        assert_near(window(&circuit).threshold, 10.0);
        assert_eq!(window(&circuit).baseline, Some(0.0));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_learnt_while_it_is_not_closed() {
    let circuit = CircuitBreaker::new("forced", adaptive(Window::Calls(100)));
    calls(&circuit, 10_000, 20);
    let before = window(&circuit).baseline;
    circuit.force_closed();
    calls(&circuit, 10_000, 10);
    assert_eq!(window(&circuit).baseline, before);
    circuit.force_open();
    assert_eq!(window(&circuit).baseline, before);
    circuit.reset();
    calls(&circuit, u32::MAX, 1);
    let opened = window(&circuit).baseline;
    advance(secs(30)).await;
    circuit.try_acquire().unwrap().failure();
    advance(secs(30)).await;
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed);
    assert_eq!(window(&circuit).baseline, opened);
}

#[tokio::test(start_paused = true)]
async fn a_reset_keeps_what_was_learnt_and_another_shape_starts_anew() {
    let _cb = isolate();
    let configure = |shape, min, max| {
        let mut settings = Settings::default();
        settings.all().window(shape).adaptive(true).adaptive_min(min).adaptive_max(max);
        registry().configure(settings);
    };
    configure(Window::Calls(100), 10, 50);
    let circuit = get_circuit_breaker("kept");
    calls(&circuit, 10_000, 20);
    circuit.reset();
    assert_near(window(&circuit).threshold, 15.0);

    configure(Window::Calls(100), 20, 50);
    assert_near(window(&circuit).threshold, 20.0);
    configure(Window::Calls(100), 1, 12);
    assert_near(window(&circuit).threshold, 12.0);
    configure(Window::Calls(200), 10, 50);
    assert_near(window(&circuit).threshold, 50.0);
}

#[tokio::test(start_paused = true)]
async fn switched_on_later_it_learns_from_then_on() {
    let _cb = isolate();
    let configure = |shape, adaptive| {
        let mut settings = Settings::default();
        settings.all().window(shape).adaptive(adaptive);
        registry().configure(settings);
    };
    for (name, shape) in [("later", Window::Calls(100)), ("later-by-time", Window::Time(secs(1)))] {
        configure(shape, false);
        let circuit = get_circuit_breaker(name);
        calls(&circuit, 20_000, 5);
        configure(shape, true);
        assert_near(window(&circuit).threshold, 50.0);
        calls(&circuit, 1_000, 5);
        advance(millis(100)).await;
        calls(&circuit, 1_000, 5);
        let window = window(&circuit);
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert_near(window.baseline.unwrap(), 20.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_is_given_closer_to_the_operation_switches_it_off() {
    let _cb = isolate();
    let mut settings = Settings::default();
    settings.all().window(Window::Calls(100)).adaptive(true);
    settings.operation("precise").failure_rate(30);
    registry().configure(settings);
    let precise = window(&get_circuit_breaker("precise"));
    assert_eq!((precise.threshold, precise.baseline), (30.0, None));
    assert_eq!(window(&get_circuit_breaker("others")).baseline, Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_together_is_warned_of_once_merged() {
    let _cb = isolate();
    let log = Log::capture();
    let variables = [("BINDU_CB_BOTH_ADAPTIVE", "true"), ("BINDU_CB_BOTH_FAILURE_RATE", "30")];
    let mut settings = Settings::default().with_variables(variables).unwrap();
    settings.operation("both").window(Window::Calls(100));
    settings.operation("windowless").adaptive(true);
    registry().configure(settings);
    assert_near(window(&get_circuit_breaker("both")).threshold, 30.0);
    get_circuit_breaker("windowless");
    let messages = log.messages(Level::WARN);
    let warned = |text: &str| messages.iter().filter(|line| line.contains(text)).count();
    assert_eq!(warned("both: adaptive"), 1);
    assert_eq!(warned("windowless: adaptive learns from a window, and none is set"), 1);
}

#[test]
fn settings_that_contradict_each_other_are_named() {
    let of_calls = adaptive(Window::Calls(100));
    assert!(of_calls.validate().is_ok());
    for (settings, key) in [
        (CircuitBreakerSettings::default().adaptive(true), "adaptive"),
        (of_calls.clone().adaptive_min(40).adaptive_max(30), "adaptive_min"),
        (of_calls.failure_rate(30), "failure_rate"),
    ] {
        let error = settings.validate().unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}
