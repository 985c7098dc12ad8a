//! Classes of errors: what a process does that has had no failure of a class which others know.

use std::io;

use bindu_cb::__shared::MemoryServer;
use bindu_cb::__shared::protocol::Phase;
use bindu_cb::CircuitState::{Closed, ForcedOpen};
use bindu_cb::{get_circuit_breaker, registry, with_circuit_breaker};
use tokio::time::sleep;

use crate::support::{Replica, local, secs, settle};

fn class(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::TimedOut => "timeout",
        io::ErrorKind::ConnectionRefused => "connection",
        _ => "",
    }
}

#[with_circuit_breaker(
    op = "shared:classed", class = class, failure_threshold = 3, recovery_timeout = "10s"
)]
async fn classed(result: Result<(), io::ErrorKind>) -> io::Result<()> {
    result.map_err(Into::into)
}

#[with_circuit_breaker(op = "shared:unclassed")]
async fn unclassed() -> io::Result<()> {
    Ok(())
}

async fn succeeds(replica: &Replica) -> bool {
    replica.0.run(classed(Ok(()))).await.is_ok()
}

async fn time_out(replica: &Replica) {
    replica.0.run(classed(Err(io::ErrorKind::TimedOut))).await.unwrap_err();
}

fn has(replica: &Replica, name: &str) -> bool {
    replica.0.enter(|| registry().get(name).is_some())
}

async fn two() -> (MemoryServer, Replica, Replica) {
    let server = MemoryServer::new();
    let (one, other) = (Replica::start(&server, 1), Replica::start(&server, 1));
    settle().await;
    (server, one, other)
}

#[tokio::test(start_paused = true)]
async fn a_class_that_has_opened_in_one_process_is_open_in_one_that_never_had_a_failure() {
    local(async {
        let (_server, one, other) = two().await;
        assert!(succeeds(&other).await && !has(&other, "shared:classed/timeout"));
        for _ in 0..3 {
            time_out(&one).await;
        }
        settle().await;
        let rejected = other.0.run(classed(Ok(()))).await.unwrap_err();
        assert!(rejected.to_string().contains("shared:classed/timeout"), "{rejected}");
        assert!(!has(&other, "shared:classed/connection"), "of a class that nobody knows");

        // It is led and fed like any other: one probe, here, closes it everywhere.
        sleep(secs(10)).await;
        assert!(succeeds(&other).await, "the probe");
        settle().await;
        assert!(succeeds(&one).await && succeeds(&other).await);
        let state = || get_circuit_breaker("shared:classed/timeout").state();
        assert_eq!((one.0.enter(state), other.0.enter(state)), (Closed, Closed));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_known_before_the_first_call_holds_for_that_call() {
    local(async {
        let (_server, one, other) = two().await;
        for _ in 0..3 {
            time_out(&one).await;
        }
        settle().await;
        assert!(!has(&other, "shared:classed/timeout"));
        assert!(!succeeds(&other).await);
        settle().await;
        assert!(!succeeds(&other).await && !succeeds(&one).await);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_was_there_before_its_function_has_classes_from_then_on() {
    local(async {
        let (_server, one, other) = two().await;
        other.0.enter(|| get_circuit_breaker("shared:classed"));
        for _ in 0..3 {
            time_out(&one).await;
        }
        settle().await;
        assert!(!has(&other, "shared:classed/timeout"), "nobody is known to ask it");
        assert!(!succeeds(&other).await);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_class_that_was_forced_is_so_where_it_has_never_failed() {
    local(async {
        let (server, one, other) = two().await;
        assert!(succeeds(&one).await && succeeds(&other).await);
        server.set_by_hand("shared:classed/connection", Phase::ForcedOpen);
        settle().await;
        for replica in [&one, &other] {
            let rejected = replica.0.run(classed(Ok(()))).await.unwrap_err();
            assert!(rejected.to_string().contains("shared:classed/connection"), "{rejected}");
        }
        server.set_by_hand("shared:classed/connection", Phase::Closed);
        settle().await;
        assert!(succeeds(&one).await && succeeds(&other).await);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_class_of_a_function_here_stays_a_name() {
    local(async {
        let (server, one, _other) = two().await;
        one.0.run(unclassed()).await.unwrap();
        assert!(succeeds(&one).await);
        for name in ["shared:unclassed/timeout", "shared:classed/", "nobody/timeout"] {
            server.set_by_hand(name, Phase::ForcedOpen);
            settle().await;
            assert!(!has(&one, name), "{name}");
        }
        one.0.run(unclassed()).await.unwrap();
        assert!(succeeds(&one).await);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_classes_from_elsewhere_than_from_here() {
    local(async {
        let (server, one, _other) = two().await;
        assert!(succeeds(&one).await);
        for number in 0..20 {
            let name = format!("shared:classed/{number}");
            server.set_by_hand(&name, Phase::ForcedClosed);
            settle().await;
            assert_eq!(has(&one, &name), number < 16, "{name}");
        }
        assert!(!has(&one, "shared:classed/other"));
        // One that others have too many of is one, though.
        server.set_by_hand("shared:classed/other", Phase::ForcedOpen);
        settle().await;
        assert!(!succeeds(&one).await);
        assert_eq!(one.0.enter(|| get_circuit_breaker("shared:classed").state()), Closed);
        let other = one.0.enter(|| get_circuit_breaker("shared:classed/other").state());
        assert_eq!(other, ForcedOpen);
    })
    .await;
}
