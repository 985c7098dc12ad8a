//! What a readiness endpoint is told.

use std::time::Duration;

use bindu_cb::testing::isolate;
use bindu_cb::{
    CircuitBreakerOpenError, CircuitState, Health, Operation, Settings, get_circuit_breaker,
    registry,
};
use tokio::time::advance;

use crate::support::{millis, secs, trip};

fn health() -> Health {
    registry().health()
}

/// Name, key and state of those that are not closed.
fn not_closed(health: &Health) -> Vec<(&str, Option<&str>, CircuitState)> {
    let circuits = health.not_closed.iter();
    circuits.map(|it| (it.operation, it.key.as_deref(), it.state)).collect()
}

/// Makes circuits of these keys under the operation.
async fn with_keys(op: &str, keys: &[&str]) {
    let operation = Operation::builder(op).enabled(true).attempts(1).build().unwrap();
    for key in keys {
        let operation = operation.keyed(key);
        operation.call(|| async { Ok::<_, CircuitBreakerOpenError>(()) }).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn without_circuits_it_is_ready() {
    let _cb = isolate();
    let health = health();
    assert!(health.is_ready() && !health.shutting_down);
    assert_eq!((health.circuits, &*health.not_closed), (0, &[][..]));
    assert_eq!(health.shared_connected, None);
    assert_eq!(health.to_string(), "ready; no circuits");
}

#[tokio::test(start_paused = true)]
async fn it_names_what_is_not_closed_and_only_counts_the_rest() {
    let _cb = isolate();
    for closed in ["a", "m", "z"] {
        get_circuit_breaker(closed);
    }
    assert_eq!(health().to_string(), "ready; 3 circuits closed");
    trip(&get_circuit_breaker("y"));
    get_circuit_breaker("b").force_open();
    get_circuit_breaker("c").force_closed();
    advance(millis(10_400)).await;
    let health = health();
    assert_eq!(health.circuits, 6);
    assert_eq!(
        not_closed(&health),
        [
            ("b", None, CircuitState::ForcedOpen),
            ("c", None, CircuitState::ForcedClosed),
            ("y", None, CircuitState::Open),
        ]
    );
    let left: Vec<_> = health.not_closed.iter().map(|it| it.half_open_in).collect();
    assert_eq!(left, [None, None, Some(millis(19_600))]);
    assert_eq!(
        health.to_string(),
        "ready; 3 of 6 circuits not closed: b forced_open, c forced_closed, \
         y open (half-open in 19.6s)"
    );
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_makes_no_replica_unready() {
    let _cb = isolate();
    trip(&get_circuit_breaker("only"));
    assert!(health().is_ready());
    registry().shutdown();
    assert!(!health().is_ready());
    assert_eq!(
        health().to_string(),
        "shutting down; 1 of 1 circuit not closed: only open (half-open in 30.0s)"
    );
}

#[tokio::test(start_paused = true)]
async fn it_follows_a_circuit_through_its_states() {
    let _cb = isolate();
    let circuit = get_circuit_breaker("one");
    let one = || health().not_closed.first().map(|it| (it.state, it.half_open_in));
    assert_eq!(one(), None);
    trip(&circuit);
    assert_eq!(one(), Some((CircuitState::Open, Some(secs(30)))));
    advance(secs(40)).await;
    assert_eq!(one(), Some((CircuitState::Open, Some(Duration::ZERO))), "until a call comes");
    assert!(health().to_string().ends_with("one open (half-open at the next call)"));
    let probe = circuit.try_acquire().unwrap();
    assert_eq!(one(), Some((CircuitState::HalfOpen, None)));
    probe.success();
    assert_eq!(one(), None);
    assert_eq!(health().to_string(), "ready; 1 circuit closed");
}

#[tokio::test(start_paused = true)]
async fn keys_come_after_their_operation_in_their_own_order() {
    let _cb = isolate();
    let keys = ["c", "a", "b", "d"];
    with_keys("tenants", &keys).await;
    for key in &keys[..3] {
        registry().get_keyed("tenants", key).unwrap().force_open();
    }
    get_circuit_breaker("tenants").force_closed();
    let health = health();
    assert_eq!(health.circuits, 5);
    let open = |key| ("tenants", Some(key), CircuitState::ForcedOpen);
    assert_eq!(
        not_closed(&health),
        [("tenants", None, CircuitState::ForcedClosed), open("a"), open("b"), open("c")]
    );
    assert!(health.to_string().ends_with("tenants forced_closed, tenants[a] forced_open, tenants[b] forced_open, tenants[c] forced_open"));
}

#[tokio::test(start_paused = true)]
async fn whatever_keys_are_chosen_it_is_one_short_line() {
    let _cb = isolate();
    let keys: Vec<_> = (0..40).map(|n| format!("{n:02}\nshutting down\u{1b}[2J")).collect();
    with_keys("tenants", &keys.iter().map(|key| &**key).collect::<Vec<_>>()).await;
    for key in &keys {
        registry().get_keyed("tenants", key).unwrap().force_open();
    }
    let line = health().to_string();
    assert!(!line.contains(char::is_control), "{line}");
    assert!(line.contains("tenants[00\\nshutting down\\u{1b}[2J] forced_open, "), "{line}");
    assert!(line.ends_with(" and 30 more"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn to_look_takes_no_key_s_place_and_changes_nothing() {
    let _cb = isolate();
    let mut settings = Settings::default();
    settings.all().max_keys(2);
    registry().configure(settings);
    with_keys("tenants", &["a", "b"]).await;
    for key in ["c", "d", "e"] {
        health();
        with_keys("tenants", &[key]).await;
        assert!(registry().get_keyed("tenants", key).is_some(), "there was room for {key}");
    }
    assert_eq!(health().circuits, 3);
    assert_eq!(health(), health());
}
