//! What the fleet does when its server fails.

use bindu_cb::CircuitState::{Closed, Open};
use tokio::time::{Instant, sleep};

use crate::support::{Replica, fleet, local, millis, secs, settle};

#[tokio::test(start_paused = true)]
async fn without_the_server_each_goes_by_its_own_circuit_and_what_is_true_is_published_on_return() {
    local(async {
        let (server, service, replicas) = fleet(2, 1).await;
        server.set_down(true);
        service.set_down(true);
        replicas[0].fail(&service, 3).await;
        settle().await;
        assert_eq!((replicas[0].state(), replicas[1].state()), (Open, Closed));

        server.set_down(false);
        sleep(secs(1)).await;
        assert_eq!((replicas[0].state(), replicas[1].state()), (Open, Open));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_keeps_no_call_waiting() {
    local(async {
        let (server, service, replicas) = fleet(2, 1).await;
        server.set_silent(true);
        service.set_down(true);
        let before = Instant::now();
        replicas[0].fail(&service, 10).await;
        assert_eq!(before.elapsed(), secs(0));
        sleep(secs(2)).await;
        assert_eq!(replicas[1].state(), Closed);
        server.set_silent(false);
        sleep(secs(2)).await;
        assert_eq!(replicas[1].state(), Open);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_server_has_lost_is_not_news_that_the_circuit_has_closed() {
    local(async {
        let (server, service, replicas) = fleet(3, 1).await;
        service.set_down(true);
        replicas[0].fail(&service, 3).await;
        settle().await;
        server.flush();
        sleep(secs(2)).await;
        assert!(replicas.iter().all(|replica| replica.state() == Open));
        let late = Replica::start(&server, 1);
        late.0.enter(|| bindu_cb::get_circuit_breaker("shared"));
        settle().await;
        assert_eq!(late.state(), Open, "it was restored");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_at_the_time_of_the_probe_costs_no_more_than_the_grace() {
    local(async {
        let (server, service, replicas) = fleet(2, 1).await;
        service.set_down(true);
        replicas[0].fail(&service, 3).await;
        settle().await;
        service.set_down(false);
        server.set_down(true);
        let mut waited = millis(0);
        while replicas[1].call(&service).await.is_err() {
            sleep(millis(100)).await;
            waited += millis(100);
        }
        assert!(waited <= millis(12_100), "{waited:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_changes_no_wait() {
    local(async {
        let (server, service, replicas) = fleet(2, 1).await;
        service.set_down(true);
        replicas[0].fail(&service, 3).await;
        settle().await;
        server.advance_clock(secs(3_600));
        service.asked.set(0);
        for _ in 0..99 {
            for replica in &replicas {
                replica.call(&service).await.unwrap_err();
            }
            sleep(millis(100)).await;
        }
        assert_eq!(service.asked.get(), 0);
        for _ in 0..30 {
            for replica in &replicas {
                let _ = replica.call(&service).await;
            }
            sleep(millis(100)).await;
        }
        assert_eq!(service.asked.get(), 1, "the probe");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn at_rest_two_commands_a_second_whatever_the_number_of_circuits() {
    local(async {
        let (server, _service, replicas) = fleet(1, 1).await;
        replicas[0].0.enter(|| {
            for n in 0..1_000 {
                bindu_cb::get_circuit_breaker(&format!("many:{n}"));
            }
        });
        sleep(secs(2)).await;
        let before = server.commands();
        sleep(secs(60)).await;
        assert_eq!(server.commands() - before, 120);
    })
    .await;
}
