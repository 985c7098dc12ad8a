//! What a fleet does to processes.

use bindu_cb::CircuitState::{Closed, ForcedClosed, ForcedOpen};
use bindu_cb::SharedError;
use bindu_cb_test_servers::RedisServer;
use std::time::Duration;
use tokio::time::sleep;

use crate::support::{
    connect, in_time, logged, process, settings, soon, start_log, state, trip, until,
};

#[tokio::test]
async fn processes_do_as_is_ordered_and_log_who_and_why() {
    start_log();
    let server = RedisServer::start();
    let fleet = connect(&settings(&server)).await;
    let processes = [process(&server), process(&server)];
    let all = |expected| {
        let processes = &processes;
        async move {
            let are = || processes.iter().all(|process| state(process, "obeyed") == expected);
            until(&format!("all are {expected}"), are).await;
        }
    };
    all(Closed).await;
    for (order, expected) in [("open", ForcedOpen), ("close", ForcedClosed), ("reset", Closed)] {
        let why = format!("to {order} it");
        let circuit = match order {
            "open" => in_time(|| fleet.force_open("obeyed", "ada", &why)).await,
            "close" => in_time(|| fleet.force_closed("obeyed", "ada", &why)).await,
            _ => in_time(|| fleet.reset("obeyed", "ada", &why)).await,
        };
        assert_eq!(circuit.state, expected);
        let by = circuit.set_by.unwrap();
        assert_eq!((&*by.who, &*by.why), ("ada", &*why));
        all(expected).await;
        let is_logged = || logged(&["set by hand", "\"obeyed\"", "who=\"ada\"", &why]) == 2;
        until("each has logged it", is_logged).await;
    }
    // Automatic again.
    trip(&processes[0], "obeyed");
    until("it opens", || state(&processes[1], "obeyed") != Closed).await;
}

#[tokio::test]
async fn a_circuit_that_is_made_later_begins_as_was_ordered() {
    let server = RedisServer::start();
    let fleet = connect(&settings(&server)).await;
    in_time(|| fleet.force_open("later", "ada", "before it was there")).await;
    let process = process(&server);
    until("it is forced open", || state(&process, "later") == ForcedOpen).await;
}

#[tokio::test]
async fn what_was_ordered_outlives_the_loss_of_all_data_and_is_logged_once() {
    start_log();
    let server = RedisServer::start();
    let fleet = connect(&settings(&server)).await;
    let processes = [process(&server), process(&server)];
    let are = || processes.iter().all(|process| state(process, "kept") == ForcedOpen);
    assert!(!are());
    let before = in_time(|| fleet.force_open("kept", "ada", "for good")).await;
    until("all are forced open", are).await;

    server.cli(&["FLUSHALL"]);
    assert!(are());
    let restored = soon(async {
        loop {
            if let Some(circuit) = in_time(|| fleet.get("kept")).await {
                break circuit;
            }
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(restored.epoch > before.epoch, "{restored:?}");
    assert_eq!((restored.state, &restored.set_by), (ForcedOpen, &before.set_by));
    // Two more looks at the changes.
    sleep(Duration::from_millis(1_200)).await;
    assert!(are());
    assert_eq!(logged(&["set by hand", "\"kept\""]), 2, "once by each");
}

#[tokio::test]
async fn an_order_that_was_given_up_is_not_carried_out_later() {
    let server = RedisServer::start();
    let fleet = connect(&settings(&server)).await;
    in_time(|| fleet.reset("late", "ada", "")).await;
    server.stop();
    let order = fleet.force_open("late", "ada", "while nobody answers").await;
    assert!(matches!(order, Err(SharedError::TimedOut { .. })), "{order:?}");
    server.cont();
    let circuit = in_time(|| fleet.get("late")).await.unwrap();
    assert_eq!((circuit.state, circuit.generation), (Closed, 1));
}

#[tokio::test]
async fn the_same_order_again_changes_nothing() {
    let server = RedisServer::start();
    let fleet = connect(&settings(&server)).await;
    let first = in_time(|| fleet.force_open("again", "ada", "twice")).await;
    let second = in_time(|| fleet.force_open("again", "ada", "twice")).await;
    assert_eq!(first, second);
    let third = in_time(|| fleet.force_open("again", "eve", "twice")).await;
    assert_eq!(third.generation, first.generation + 1);
}
