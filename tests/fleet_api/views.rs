//! What a fleet shows.

use std::time::Duration;

use bindu_cb::CircuitState::{Closed, ForcedClosed, ForcedOpen, Open};
use bindu_cb::{SharedCircuit, SharedError};
use bindu_cb_test_servers::RedisServer;
use tokio::time::timeout;

use crate::support::{connect, in_time, process, settings, soon, state, trip, until};

const NAMES: [&str; 9] = [
    " ",
    "%7B",
    "a\nb",
    "a b/c d",
    "storage:save",
    "storage:save/timeout",
    "{a}",
    "}:state{",
    "été*?[x]\\",
];

fn names(circuits: &[SharedCircuit]) -> Vec<&str> {
    circuits.iter().map(|circuit| &*circuit.operation).collect()
}

#[tokio::test]
async fn every_circuit_is_listed_by_its_name_and_only_those_of_the_namespace() {
    let server = RedisServer::start();
    let fleet = connect(&settings(&server)).await;
    assert!(in_time(|| fleet.list()).await.is_empty());
    for name in NAMES {
        in_time(|| fleet.force_open(name, "ada", "names")).await;
    }
    // Namespaces that a pattern, or a prefix, could take for this one.
    for namespace in ["defaul?", "default/storage", "default}", "d*", "[d]efault", "d\\efault"] {
        let other = connect(&settings(&server).namespace(namespace)).await;
        assert!(in_time(|| other.list()).await.is_empty(), "{namespace}");
        in_time(|| other.reset("another", "eve", "")).await;
        assert_eq!(names(&in_time(|| other.list()).await), ["another"], "{namespace}");
    }
    // Keys that only look like ours.
    for key in ["bindu-cb:1:{default/%}:state", "bindu-cb:1:{default/a}b}:state"] {
        server.cli(&["SET", key, "1"]);
    }
    let circuits = in_time(|| fleet.list()).await;
    assert_eq!(names(&circuits), NAMES);
    assert!(circuits.iter().all(|circuit| circuit.state == ForcedOpen));
    for circuit in circuits {
        let got = in_time(|| fleet.get(&circuit.operation)).await;
        assert_eq!(got.as_ref(), Some(&circuit));
    }
    assert_eq!(in_time(|| fleet.get("another")).await, None);
}

#[tokio::test]
async fn more_circuits_than_one_command_reads_are_listed() {
    let server = RedisServer::start();
    let fleet = connect(&settings(&server)).await;
    // Among many keys that are somebody else's.
    server.cli(&["EVAL", "for i = 1, 5000 do redis.call('SET', 'key' .. i, i) end", "0"]);
    for number in 0..150 {
        let name = format!("op-{number:03}");
        in_time(|| fleet.reset(&name, "ada", "")).await;
    }
    let circuits = in_time(|| fleet.list()).await;
    let expected: Vec<_> = (0..150).map(|number| format!("op-{number:03}")).collect();
    assert_eq!(names(&circuits), expected);
}

#[tokio::test]
async fn a_circuit_that_a_process_has_opened_shows_when_it_may_be_probed() {
    let server = RedisServer::start();
    let mut fleet = connect(&settings(&server)).await;
    let process = process(&server);
    trip(&process, "storage");
    let circuit = soon(fleet.changed()).await.unwrap();
    assert_eq!((&*circuit.operation, circuit.state, circuit.reopens), ("storage", Open, 0));
    assert_eq!((&circuit.set_by, &circuit.probe_by), (&None, &None));
    let left = circuit.half_open_in.unwrap();
    assert!(left > Duration::from_secs(5) && left <= Duration::from_secs(30), "{left:?}");
    let listed = in_time(|| fleet.list()).await;
    assert_eq!(listed[0].generation, circuit.generation);
    assert!(listed[0].half_open_in.unwrap() <= left);

    let reset = in_time(|| fleet.reset("storage", "ada", "it is well again")).await;
    assert_eq!((reset.state, reset.half_open_in), (Closed, None));
    assert_eq!((reset.epoch, reset.generation), (circuit.epoch, circuit.generation + 1));
    until("the process hears of it", || state(&process, "storage") == Closed).await;
}

#[tokio::test]
async fn changes_come_in_order_and_none_is_lost_by_who_stops_waiting() {
    let server = RedisServer::start();
    let mut watcher = connect(&settings(&server)).await;
    let fleet = connect(&settings(&server)).await;
    in_time(|| fleet.force_open("a", "ada", "first")).await;
    in_time(|| fleet.force_closed("a", "ada", "second")).await;
    in_time(|| fleet.reset("b", "eve", "")).await;
    let mut changes = Vec::new();
    while changes.len() < 3 {
        if let Ok(change) = timeout(Duration::from_millis(1), watcher.changed()).await {
            let change = change.unwrap();
            let by = change.set_by.unwrap();
            changes.push((change.operation, change.state, by.who, by.why));
        }
    }
    let expected = [
        ("a", ForcedOpen, "ada", "first"),
        ("a", ForcedClosed, "ada", "second"),
        ("b", Closed, "eve", ""),
    ];
    let expected = expected
        .map(|(op, state, who, why)| (op.to_owned(), state, who.to_owned(), why.to_owned()));
    assert_eq!(changes, expected);
}

#[tokio::test]
async fn changes_that_are_not_understood_are_said_to_be_missed() {
    let server = RedisServer::start();
    let mut fleet = connect(&settings(&server)).await;
    server.cli(&["PUBLISH", "bindu-cb:1:{default}:news", "1:2from a later version"]);
    assert_eq!(soon(fleet.changed()).await, Err(SharedError::Missed));
    in_time(|| fleet.reset("a", "ada", "")).await;
    assert_eq!(soon(fleet.changed()).await.unwrap().operation, "a");
}
