//! State, calls, transitions and probes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bindu_cb::{CircuitBreaker, CircuitState, Registry, Settings, registry};
use tokio::time::advance;

use crate::support::Sdk;

const STATES: [&str; 5] = ["closed", "open", "half_open", "forced_open", "forced_closed"];

/// Trips at the first failure, for 30 seconds.
fn registry_that_trips_at_once() -> &'static Registry {
    let mut settings = Settings::default();
    settings.all().enabled(true).failure_threshold(1).recovery_timeout(Duration::from_secs(30));
    registry().configure(settings);
    registry()
}

/// Which of the states are 1.
fn states(sdk: &Sdk, name: &str) -> Vec<String> {
    let state = sdk.metric("circuit_breaker.state");
    assert_eq!((state.kind, &*state.unit), ("gauge", ""), "a unit would be in Prometheus's name");
    let mut ones = Vec::new();
    for of in STATES {
        let attributes = format!(
            "circuit_breaker.name={name},circuit_breaker.scope=local,circuit_breaker.state={of}"
        );
        match state.values[&attributes] {
            0 => {}
            1 => ones.push(of.to_owned()),
            other => panic!("{attributes}: {other}"),
        }
    }
    ones
}

#[tokio::test(start_paused = true)]
async fn of_the_states_of_a_circuit_exactly_one_is_one_through_all_of_its_life() {
    let _cb = bindu_cb::testing::isolate();
    registry_that_trips_at_once();
    let (sdk, circuit) = (Sdk::new(), bindu_cb::get_circuit_breaker("storage"));
    let _telemetry = sdk.install();
    assert_eq!(states(&sdk, "storage"), ["closed"]);

    circuit.try_acquire().unwrap().failure();
    assert_eq!(states(&sdk, "storage"), ["open"]);
    advance(Duration::from_secs(30)).await;
    assert_eq!(states(&sdk, "storage"), ["open"], "until a call comes");
    let probe = circuit.try_acquire().unwrap();
    assert_eq!(states(&sdk, "storage"), ["half_open"]);
    probe.success();
    assert_eq!(states(&sdk, "storage"), ["closed"]);
    circuit.force_open();
    assert_eq!(states(&sdk, "storage"), ["forced_open"]);
    circuit.force_closed();
    assert_eq!(states(&sdk, "storage"), ["forced_closed"]);
}

#[test]
fn so_it_is_while_others_change_it() {
    let _cb = bindu_cb::testing::isolate();
    let (sdk, circuit) = (Sdk::new(), bindu_cb::get_circuit_breaker("storage"));
    let _telemetry = sdk.install();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                circuit.force_open();
                circuit.force_closed();
                circuit.reset();
            }
        });
        let seen: Vec<_> = (0..500).map(|_| states(&sdk, "storage")).collect();
        // Not asserted before: the other would not end.
        done.store(true, Ordering::Relaxed);
        assert!(seen.iter().all(|ones| ones.len() == 1), "{seen:?}");
    });
}

#[tokio::test(start_paused = true)]
async fn every_call_is_counted_by_what_it_was_to_its_circuit() {
    let _cb = bindu_cb::testing::isolate();
    registry_that_trips_at_once();
    let (sdk, circuit) = (Sdk::new(), bindu_cb::get_circuit_breaker("storage"));
    let _telemetry = sdk.install();
    let calls = sdk.metric("circuit_breaker.calls");
    assert_eq!((calls.kind, &*calls.unit), ("counter", "{call}"));
    assert_eq!((calls.values.len(), calls.sum(&[])), (6, 0), "at zero from the beginning");

    let late = circuit.try_acquire().unwrap();
    for _ in 0..3 {
        circuit.try_acquire().unwrap().success();
    }
    circuit.try_acquire().unwrap().ignore();
    drop(circuit.try_acquire().unwrap());
    drop(circuit.try_acquire().unwrap());
    circuit.try_acquire().unwrap().failure();
    late.success();
    for _ in 0..5 {
        circuit.try_acquire().unwrap_err();
    }
    let calls = sdk.metric("circuit_breaker.calls");
    for (outcome, count) in [
        ("success", 3),
        ("failure", 1),
        ("ignored", 1),
        ("cancelled", 2),
        ("rejected", 5),
        ("stale", 1),
    ] {
        let of = format!("circuit_breaker.name=storage,circuit_breaker.outcome={outcome}");
        assert_eq!(calls.values[&of], count, "{of}");
    }
}

#[tokio::test(start_paused = true)]
async fn transitions_are_counted_with_their_cause_and_the_usual_ones_begin_at_zero() {
    let _cb = bindu_cb::testing::isolate();
    registry_that_trips_at_once();
    let (sdk, circuit) = (Sdk::new(), bindu_cb::get_circuit_breaker("storage"));
    // Before anybody measures.
    circuit.try_acquire().unwrap().failure();
    let _telemetry = sdk.install();
    let transitions = sdk.metric("circuit_breaker.transitions");
    assert_eq!((transitions.kind, &*transitions.unit), ("counter", "{transition}"));
    assert_eq!((transitions.values.len(), transitions.sum(&[])), (4, 1));

    for success in [false, true] {
        advance(Duration::from_secs(30)).await;
        let probe = circuit.try_acquire().unwrap();
        if success { probe.success() } else { probe.failure() }
    }
    circuit.force_open();
    circuit.reset();
    circuit.reset();
    let name = "circuit_breaker.name=storage";
    assert_eq!(
        sdk.counted("circuit_breaker.transitions"),
        [
            (format!("cause=local,{name},from=closed,to=open"), 1),
            (format!("cause=local,{name},from=open,to=half_open"), 2),
            (format!("cause=manual,{name},from=closed,to=forced_open"), 1),
            (format!("cause=manual,{name},from=forced_open,to=closed"), 1),
            (format!("cause=probe,{name},from=half_open,to=closed"), 1),
            (format!("cause=probe,{name},from=half_open,to=open"), 1),
        ]
    );
}

/// Open, and its time is over.
async fn ready_for_a_probe(name: &str) -> std::sync::Arc<CircuitBreaker> {
    let circuit = bindu_cb::get_circuit_breaker(name);
    circuit.try_acquire().unwrap().failure();
    advance(Duration::from_secs(30)).await;
    circuit
}

#[tokio::test(start_paused = true)]
async fn probes_are_counted_by_what_became_of_them() {
    let _cb = bindu_cb::testing::isolate();
    registry_that_trips_at_once();
    let sdk = Sdk::new();
    let _telemetry = sdk.install();

    let good = ready_for_a_probe("good").await;
    good.try_acquire().unwrap().ignore();
    drop(good.try_acquire().unwrap());
    good.try_acquire().unwrap().success();
    good.try_acquire().unwrap().success();
    let bad = ready_for_a_probe("bad").await;
    bad.try_acquire().unwrap().failure();
    let hung = ready_for_a_probe("hung").await;
    let first = hung.try_acquire().unwrap();
    advance(Duration::from_mins(1)).await;
    hung.try_acquire().unwrap().success();
    first.success();
    let reset = ready_for_a_probe("reset").await;
    let probe = reset.try_acquire().unwrap();
    reset.reset();
    probe.failure();
    assert_eq!(reset.state(), CircuitState::Closed);

    let probes = sdk.metric("circuit_breaker.probes");
    assert_eq!((probes.kind, &*probes.unit), ("counter", "{probe}"));
    let of = |name: &str, result: &str| {
        probes.values[&format!("circuit_breaker.name={name},result={result}")]
    };
    let results = ["success", "failure", "ignored", "cancelled", "stale"];
    assert_eq!(results.map(|result| of("good", result)), [1, 0, 1, 1, 0]);
    assert_eq!(results.map(|result| of("bad", result)), [0, 1, 0, 0, 0]);
    assert_eq!(results.map(|result| of("hung", result)), [1, 0, 0, 0, 1]);
    assert_eq!(results.map(|result| of("reset", result)), [0, 0, 0, 0, 1]);
}
