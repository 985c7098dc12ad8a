//! Installed and removed.

use bindu_cb::get_circuit_breaker;

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
