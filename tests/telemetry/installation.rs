//! Installed and removed.

use bindu_cb::telemetry::Telemetry;
use bindu_cb::{Operation, get_circuit_breaker};

use crate::support::Sdk;

#[test]
fn what_is_dropped_observes_nothing_any_more() {
    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    get_circuit_breaker("storage").force_open();
    let telemetry = sdk.install();
    assert_eq!(sdk.metric("circuit_breaker.state").sum(&[]), 1);
    drop(telemetry);
    let left = sdk.collect();
    assert!(left.values().all(|metric| metric.values.is_empty()), "{left:?}");
}

#[test]
fn it_can_be_installed_again_with_the_same_meter() {
    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    get_circuit_breaker("storage").force_open();
    drop(sdk.install());
    let _again = sdk.install();
    assert_eq!(sdk.metric("circuit_breaker.transitions").sum(&[]), 1, "not twice");
}

#[test]
fn several_meters_measure_the_same_side_by_side() {
    let _cb = bindu_cb::testing::isolate();
    let (first, second) = (Sdk::new(), Sdk::new());
    let one = first.install();
    get_circuit_breaker("storage").force_open();
    let _other = second.install();
    assert_eq!(first.collect(), second.collect());
    drop(one);
    assert_eq!(second.metric("circuit_breaker.state").sum(&[]), 1);
}

#[tokio::test(start_paused = true)]
async fn two_on_one_meter_count_once_what_is_observed_and_twice_what_is_recorded() {
    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let with_attempts = || sdk.install_with(Telemetry::builder().attempt_durations(true));
    let (one, _other) = (with_attempts(), with_attempts());
    let operation = Operation::builder("storage").enabled(true).build().unwrap();
    operation.call(|| async { Ok::<_, &str>(()) }).await.unwrap();
    let calls = || sdk.metric("circuit_breaker.calls").sum(&[]);
    let recorded = || {
        let durations = sdk.metric("circuit_breaker.attempt.duration").durations;
        durations.values().map(|(count, ..)| count).sum::<u64>()
    };
    assert_eq!((calls(), recorded()), (1, 2));
    assert_eq!(sdk.metric("circuit_breaker.state").sum(&[]), 1);
    drop(one);
    operation.call(|| async { Ok::<_, &str>(()) }).await.unwrap();
    assert_eq!((calls(), recorded()), (2, 3));
}

#[test]
fn deltas_begin_with_all_that_was_before_the_installation() {
    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::of_deltas();
    let circuit = get_circuit_breaker("storage");
    let transitions = || sdk.metric("circuit_breaker.transitions").sum(&[]);
    circuit.force_open();
    circuit.force_closed();
    let telemetry = sdk.install();
    assert_eq!(transitions(), 2);
    assert_eq!(transitions(), 0);
    circuit.force_open();
    assert_eq!(transitions(), 1);
    drop(telemetry);
    assert_eq!(transitions(), 0);
    let _again = sdk.install();
    assert_eq!(transitions(), 3, "all over again: the SDK has forgotten what it was told");
}

#[test]
fn the_circuits_of_another_registry_are_not_measured() {
    let _outer = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let _telemetry = sdk.install();
    get_circuit_breaker("mine");
    let inner = bindu_cb::testing::isolate();
    get_circuit_breaker("theirs");
    let state = sdk.metric("circuit_breaker.state");
    assert_eq!(state.values.len(), 5);
    assert_eq!(state.sum(&["circuit_breaker.name=mine"]), 1);
    drop(inner);
}

#[test]
fn a_registry_that_is_gone_is_not_kept_by_it() {
    let cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let telemetry = sdk.install();
    let circuit = std::sync::Arc::downgrade(&get_circuit_breaker("storage"));
    assert_eq!(sdk.metric("circuit_breaker.state").sum(&[]), 1);
    drop(cb);
    assert!(circuit.upgrade().is_none(), "gone with its registry");
    assert!(sdk.metric("circuit_breaker.state").values.is_empty());
    drop(telemetry);
}

#[test]
fn what_was_not_asked_for_is_not_there() {
    let _cb = bindu_cb::testing::isolate();
    let sdk = Sdk::new();
    let _telemetry = sdk.install();
    get_circuit_breaker("storage");
    let names: Vec<_> = sdk.collect().into_keys().collect();
    let expected = ["calls", "probes", "retries", "state", "transitions"];
    assert_eq!(names, expected.map(|name| format!("circuit_breaker.{name}")));
}
