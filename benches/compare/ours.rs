//! bindu-cb: through the attributes, as users write it, and with the circuit alone.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bindu_cb::{
    CircuitBreaker, CircuitBreakerSettings, CircuitState, Operation, Window, get_circuit_breaker,
    retry_with_breaker, with_circuit_breaker,
};

use crate::case::{Case, Error, bare, case, footprint, now};
use crate::group;

// The body is that of `bare`. Each row has a function of its own, with an operation and so a circuit
// of its own: one that is called in two places is compiled as a call.

#[with_circuit_breaker(op = "bench:consecutive", enabled = true)]
async fn consecutive(n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

#[with_circuit_breaker(op = "bench:disabled", enabled = false)]
async fn disabled(n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

#[retry_with_breaker(op = "bench:disabled-loop", enabled = false)]
async fn disabled_loop(n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

#[retry_with_breaker(op = "bench:loop-alone", enabled = false)]
async fn loop_alone(n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

#[with_circuit_breaker(
    op = "bench:open",
    enabled = true,
    recovery_timeout = "1h",
    max_recovery_timeout = "1h"
)]
async fn open(n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

#[retry_with_breaker(
    op = "bench:open-loop",
    enabled = true,
    recovery_timeout = "1h",
    max_recovery_timeout = "1h"
)]
async fn open_loop(n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

#[retry_with_breaker(op = "bench:loop", enabled = true)]
async fn with_loop(n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

#[with_circuit_breaker(op = "bench:calls", enabled = true, window = "100 calls")]
async fn count_window(n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

#[with_circuit_breaker(op = "bench:time", enabled = true, window = "30s")]
async fn time_window(n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

#[with_circuit_breaker(op = "bench:time-failed", enabled = true, window = "30s")]
async fn time_window_with_failures(n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

#[with_circuit_breaker(
    op = "bench:calls-slow",
    enabled = true,
    window = "100 calls",
    slow_call = "1s"
)]
async fn count_window_slow_call(n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

#[with_circuit_breaker(op = "bench:time-slow", enabled = true, window = "30s", slow_call = "1s")]
async fn time_window_slow_call(n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

#[with_circuit_breaker(op = "bench:keyed", enabled = true, key = tenant)]
async fn keyed(tenant: &str, n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

#[with_circuit_breaker(op = "bench:keyed-number", enabled = true, key = tenant)]
async fn keyed_by_number(tenant: u64, n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

const ATTRIBUTE: &str = "with_circuit_breaker";
const LOOP: &str = "retry_with_breaker";
const PERMIT: &str = "try_acquire + success";
const CONTROL: &str = "the same, each thread with a circuit of its own";

fn settings() -> CircuitBreakerSettings {
    let hour = Duration::from_hours(1);
    CircuitBreakerSettings::default().recovery_timeout(hour).max_recovery_timeout(hour)
}

fn windowed(window: Window) -> CircuitBreakerSettings {
    settings().window(window)
}

/// One call on the circuit alone. A macro, because a function for all rows would be called, where a
/// user's own code stands in its place.
macro_rules! with_permit {
    ($circuit:expr, $n:expr) => {
        async {
            let permit = $circuit.try_acquire()?;
            let result = bare($n).await;
            match result {
                Ok(_) => permit.success(),
                Err(_) => permit.failure(),
            }
            result
        }
    };
}

fn bytes_of(settings: &CircuitBreakerSettings) -> i64 {
    footprint(
        |name| CircuitBreaker::new(name, settings.clone()),
        |circuit| {
            circuit.try_acquire().expect("it is closed").success();
            circuit.try_acquire().expect("it is closed").failure();
            circuit.try_acquire().expect("two failures do not open it").success();
        },
    )
}

fn fail_until_open(circuit: &CircuitBreaker) {
    while let Ok(permit) = circuit.try_acquire() {
        permit.failure();
    }
    assert_eq!(circuit.state(), CircuitState::Open, "{}", circuit.name());
}

fn alone(
    name: &'static str,
    settings: CircuitBreakerSettings,
) -> impl Fn() -> Arc<CircuitBreaker> + Clone {
    let circuit = Arc::new(CircuitBreaker::new(name, settings));
    move || Arc::clone(&circuit)
}

/// The control of the figures for two threads: each clone, and so each thread, has another circuit.
struct OwnCircuit {
    all: Arc<[CircuitBreaker]>,
    clones: Arc<AtomicUsize>,
    mine: usize,
}

impl OwnCircuit {
    fn each(
        name: &'static str,
        settings: &CircuitBreakerSettings,
    ) -> impl Fn() -> Self + Clone + use<> {
        let all: Arc<[_]> = (0..2).map(|_| CircuitBreaker::new(name, settings.clone())).collect();
        move || Self { all: Arc::clone(&all), clones: Arc::default(), mine: 0 }
    }

    fn get(&self) -> &CircuitBreaker {
        &self.all[self.mine]
    }
}

impl Clone for OwnCircuit {
    fn clone(&self) -> Self {
        let mine = self.clones.fetch_add(1, Ordering::Relaxed) % self.all.len();
        Self { all: Arc::clone(&self.all), clones: Arc::clone(&self.clones), mine }
    }
}

/// Each clone, and so each thread, is another tenant.
struct Tenant {
    clones: Arc<AtomicUsize>,
    name: String,
}

impl Tenant {
    fn first() -> Self {
        Self { clones: Arc::default(), name: "tenant-0.example".to_owned() }
    }
}

impl Clone for Tenant {
    fn clone(&self) -> Self {
        let number = self.clones.fetch_add(1, Ordering::Relaxed) % 2;
        Self { clones: Arc::clone(&self.clones), name: format!("tenant-{number}.example") }
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let calls = Window::Calls(100);
    let time = Window::Time(Duration::from_secs(30));
    let small = bytes_of(&settings());
    let (of_calls, of_time) = (bytes_of(&windowed(calls)), bytes_of(&windowed(time)));
    [
        closed(small),
        rejecting(),
        vec![
            case!(group::CALLS, Ours, ATTRIBUTE, || (), |s, n| count_window(n)).circuit(of_calls),
            case!(
                group::CALLS,
                Ours,
                PERMIT,
                alone("bench:calls-alone", windowed(calls)),
                |s, n| { with_permit!(s, n) }
            ),
            case!(group::TIME, Ours, ATTRIBUTE, || (), |s, n| time_window(n)).circuit(of_time),
            case!(group::TIME, Ours, PERMIT, alone("bench:time-alone", windowed(time)), |s, n| {
                with_permit!(s, n)
            }),
            case!(
                group::CALLS,
                Nobodys,
                CONTROL,
                OwnCircuit::each("bench:calls-own", &windowed(calls)),
                |s, n| { with_permit!(s.get(), n) }
            ),
            case!(
                group::TIME,
                Nobodys,
                CONTROL,
                OwnCircuit::each("bench:time-own", &windowed(time)),
                |s, n| { with_permit!(s.get(), n) }
            ),
            case!(
                group::TIME,
                Ours,
                "with_circuit_breaker, 1 failure in it",
                note_failure,
                |s, n| time_window_with_failures(n)
            ),
            case!(group::CALLS_SLOW, Ours, ATTRIBUTE, || (), |s, n| count_window_slow_call(n)),
            case!(group::TIME_SLOW, Ours, ATTRIBUTE, || (), |s, n| time_window_slow_call(n)),
            case!(
                group::KEYED,
                Ours,
                "key = a &str, another on each thread",
                Tenant::first,
                |s, n| { keyed(&s.name, n) }
            ),
            case!(group::KEYED, Ours, "key = a &str, the same on each thread", || (), |s, n| {
                keyed("tenant.example", n)
            }),
            case!(group::KEYED, Ours, "key = a u64", || (), |s, n| keyed_by_number(7, n)),
        ],
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn closed(small: i64) -> Vec<Case> {
    let operation = Operation::builder("bench:operation").enabled(true).build();
    let operation = Arc::new(operation.expect("the name is not empty"));
    let shared = move || Arc::clone(&operation);
    vec![
        case!(group::CLOSED, Ours, ATTRIBUTE, || (), |s, n| consecutive(n)).circuit(small),
        case!(group::CLOSED, Ours, PERMIT, alone("bench:alone", settings()), |s, n| {
            with_permit!(s, n)
        }),
        case!(
            group::CLOSED,
            Ours,
            "CircuitBreaker::call",
            alone("bench:call", settings()),
            |s, n| s.call(|| bare(n))
        ),
        case!(
            group::CLOSED,
            Nobodys,
            CONTROL,
            OwnCircuit::each("bench:own", &settings()),
            |s, n| { with_permit!(s.get(), n) }
        ),
        case!(group::DISABLED, Ours, ATTRIBUTE, || (), |s, n| disabled(n)),
        case!(group::DISABLED, Ours, LOOP, || (), |s, n| disabled_loop(n)),
        case!(group::RETRY, Ours, "retry_with_breaker, disabled", || (), |s, n| loop_alone(n)),
        case!(group::BOTH, Ours, LOOP, || (), |s, n| with_loop(n)),
        case!(group::BOTH, Ours, "Operation::call", shared, |s, n| s.call(|| bare(n))),
    ]
}

fn rejecting() -> Vec<Case> {
    // The first call registers the function with its settings, then the circuit is opened.
    assert!(now(open(1)).is_ok() && now(open_loop(1)).is_ok());
    fail_until_open(&get_circuit_breaker("bench:open"));
    fail_until_open(&get_circuit_breaker("bench:open-loop"));
    let circuit = alone("bench:open-alone", settings());
    fail_until_open(&circuit());
    let called = circuit.clone();
    vec![
        case!(group::OPEN, Ours, ATTRIBUTE, || (), |s, n| open(n)).rejects(),
        case!(group::OPEN, Ours, LOOP, || (), |s, n| open_loop(n)).rejects(),
        case!(group::OPEN, Ours, PERMIT, circuit, |s, n| with_permit!(s, n)).rejects(),
        case!(group::OPEN, Ours, "CircuitBreaker::call", called, |s, n| s.call(|| bare(n)))
            .rejects(),
    ]
}

/// While the window holds a failure a success may open the circuit, and must look.
fn note_failure() {
    let circuit = get_circuit_breaker("bench:time-failed");
    // The first call registers the function and with it the window.
    assert!(now(time_window_with_failures(1)).is_ok());
    if circuit.snapshot().window.is_some_and(|window| window.failures == 0) {
        circuit.try_acquire().expect("it is closed").failure();
    }
}

/// What must be true of the circuits once everything has been measured.
pub(crate) fn check() -> Result<(), String> {
    let success = |op: &str| get_circuit_breaker(op).snapshot().calls.success;
    for op in ["consecutive", "loop", "calls", "time", "time-failed", "calls-slow", "time-slow"] {
        let circuit = get_circuit_breaker(&format!("bench:{op}"));
        if circuit.state() != CircuitState::Closed || success(circuit.name()) == 0 {
            return Err(format!("{circuit:?} should be closed and have counted"));
        }
    }
    let off = ["bench:disabled", "bench:disabled-loop", "bench:loop-alone"];
    if off.into_iter().any(|op| success(op) > 0) {
        return Err("a circuit that is off has counted".to_owned());
    }
    Ok(())
}
