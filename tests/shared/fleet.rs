//! What the fleet does as one.

use std::time::Duration;

use bindu_cb::__shared::MemoryServer;
use bindu_cb::__shared::protocol::Phase;
use bindu_cb::CircuitState::{Closed, Open};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Replica, Service, fleet, local, millis, secs, settle};

#[tokio::test(start_paused = true)]
async fn a_trip_in_one_replica_opens_all() {
    local(async {
        let (_server, service, replicas) = fleet(4, 1).await;
        service.set_down(true);
        replicas[0].fail(&service, 3).await;
        settle().await;
        assert!(replicas.iter().all(|replica| replica.state() == Open));
        service.asked.set(0);
        for replica in &replicas {
            replica.fail(&service, 10).await;
        }
        assert_eq!(service.asked.get(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_sharing_each_replica_asks_a_dead_service_by_itself() {
    local(async {
        let service = Service::default();
        let replicas: Vec<_> = (0..4).map(|_| Replica::alone()).collect();
        service.set_down(true);
        for replica in &replicas {
            replica.fail(&service, 10).await;
        }
        assert_eq!(service.asked.get(), 4 * 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_probe_for_the_fleet_closes_it() {
    local(async {
        let (_server, service, replicas) = fleet(4, 1).await;
        service.set_down(true);
        replicas[0].fail(&service, 3).await;
        settle().await;
        service.set_down(false);
        service.asked.set(0);
        for _ in 0..98 {
            for replica in &replicas {
                replica.call(&service).await.unwrap_err();
            }
            sleep(millis(100)).await;
        }
        assert_eq!(service.asked.get(), 0, "before the wait is over");

        // The next round in which a call is let through: by one replica, and it closes for all.
        for _ in 0..5 {
            for replica in &replicas {
                let _ = replica.call(&service).await;
            }
            if service.asked.get() > 0 {
                break;
            }
            sleep(millis(100)).await;
        }
        assert_eq!(service.asked.get(), 1);
        settle().await;
        assert!(replicas.iter().all(|replica| replica.state() == Closed));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_opens_all_again() {
    local(async {
        let (_server, service, replicas) = fleet(4, 1).await;
        service.set_down(true);
        replicas[0].fail(&service, 3).await;
        settle().await;
        service.asked.set(0);
        // Callers that come ten times a second for 25 s: two waits, two probes.
        for _ in 0..250 {
            for replica in &replicas {
                replica.call(&service).await.unwrap_err();
            }
            sleep(millis(100)).await;
        }
        assert_eq!(service.asked.get(), 2);
        assert!(replicas.iter().all(|replica| replica.state() == Open));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn as_many_as_the_quorum_open_all_and_fewer_none_but_themselves() {
    local(async {
        let (_server, service, replicas) = fleet(4, 2).await;
        service.set_down(true);
        replicas[0].fail(&service, 3).await;
        settle().await;
        let states = || replicas.iter().map(Replica::state).collect::<Vec<_>>();
        assert_eq!(states(), [Open, Closed, Closed, Closed]);
        replicas[3].fail(&service, 3).await;
        settle().await;
        assert_eq!(states(), [Open; 4]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_vote_counts_as_long_as_the_wait_of_who_has_cast_it() {
    local(async {
        let (_server, service, replicas) = fleet(3, 2).await;
        service.set_down(true);
        replicas[0].fail(&service, 3).await;
        sleep(secs(11)).await;
        replicas[1].fail(&service, 3).await;
        settle().await;
        assert_eq!(replicas[2].state(), Closed);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_claims_goes_to_who_has_calls() {
    local(async {
        let (_server, service, replicas) = fleet(2, 1).await;
        service.set_down(true);
        replicas[0].fail(&service, 3).await;
        settle().await;
        service.set_down(false);
        service.asked.set(0);
        // Both have turned calls away; then the first one has none any more.
        for replica in &replicas {
            replica.fail(&service, 1).await;
        }
        sleep(secs(10)).await;
        for tenths in 0..40 {
            if replicas[1].call(&service).await.is_ok() {
                assert!(tenths <= 12, "after {tenths} tenths of a second");
                settle().await;
                assert_eq!((replicas[0].state(), replicas[1].state()), (Closed, Closed));
                return;
            }
            sleep(millis(100)).await;
        }
        panic!("nobody has probed");
    })
    .await;
}

/// Two replicas at the end of the wait. The next call of the first one is the probe; the second has
/// not turned any call away. The task is what the first one shares by.
async fn first_has_the_probe() -> (Service, Replica, Replica, JoinHandle<()>) {
    let (server, service) = (MemoryServer::new(), Service::default());
    let (first, second) = (Replica::alone(), Replica::start(&server, 1));
    let sharing = spawn_local(first.0.share(&server, 1));
    for replica in [&first, &second] {
        replica.call(&service).await.unwrap();
    }
    settle().await;
    service.set_down(true);
    first.fail(&service, 3).await;
    settle().await;
    first.fail(&service, 1).await;
    service.set_down(false);
    sleep(secs(10)).await;
    (service, first, second, sharing)
}

/// How long it is until the replica's circuit lets a call through.
async fn until_let_through(replica: &Replica, service: &Service) -> Duration {
    let before = Instant::now();
    while replica.call(service).await.is_err() {
        assert!(before.elapsed() < secs(120), "nobody has probed");
        sleep(millis(20)).await;
    }
    before.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_dies_before_it_has_probed_costs_two_seconds() {
    local(async {
        let (service, first, second, sharing) = first_has_the_probe().await;
        sharing.abort();
        let took = until_let_through(&second, &service).await;
        assert!((millis(1_900)..millis(2_200)).contains(&took), "{took:?}");
        assert_eq!((first.state(), second.state()), (Open, Closed));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_leaves_before_it_has_probed_gives_the_lease_back() {
    local(async {
        let (service, first, second, sharing) = first_has_the_probe().await;
        second.call(&service).await.unwrap_err();
        first.0.enter(|| bindu_cb::registry().unshare());
        sharing.await.unwrap();
        let took = until_let_through(&second, &service).await;
        assert!(took < millis(100), "{took:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_shuts_down_does_so_too() {
    local(async {
        let (service, first, second, sharing) = first_has_the_probe().await;
        second.call(&service).await.unwrap_err();
        first.0.enter(|| bindu_cb::registry().shutdown());
        timeout(secs(1), sharing).await.expect("it leaves").unwrap();
        let took = until_let_through(&second, &service).await;
        assert!(took < millis(100), "{took:?}");
        assert_eq!(first.state(), Open, "its circuit is its own again");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn health_tells_whether_the_server_answers() {
    local(async {
        let (server, service, replicas) = fleet(1, 1).await;
        let health = || replicas[0].0.enter(|| bindu_cb::registry().health());
        replicas[0].call(&service).await.unwrap();
        assert_eq!(health().shared_connected, Some(true));
        assert_eq!(health().to_string(), "ready; 1 circuit closed; shared, connected");
        server.set_down(true);
        settle().await;
        assert_eq!(health().shared_connected, Some(false));
        assert!(health().is_ready(), "it goes by its own circuits");
        assert_eq!(health().to_string(), "ready; 1 circuit closed; shared, not connected");
        replicas[0].0.enter(|| bindu_cb::registry().shutdown());
        assert_eq!(health().shared_connected, None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_takes_its_time_is_the_only_one() {
    local(async {
        let (service, first, second, _sharing) = first_has_the_probe().await;
        let circuit = first.0.enter(|| bindu_cb::get_circuit_breaker("shared"));
        // Late, but not too late.
        sleep(millis(900)).await;
        let probe = circuit.try_acquire().unwrap();
        for _ in 0..550 {
            second.call(&service).await.unwrap_err();
            sleep(millis(100)).await;
        }
        probe.success();
        settle().await;
        assert_eq!((first.state(), second.state()), (Closed, Closed));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_fleet_probes_too() {
    local(async {
        let (_server, service, replicas) = fleet(3, 1).await;
        service.set_down(true);
        replicas[0].fail(&service, 3).await;
        service.set_down(false);
        // One call a minute, of one replica: its first comes after everybody's grace.
        sleep(secs(60)).await;
        replicas[2].call(&service).await.unwrap();
        settle().await;
        assert!(replicas.iter().all(|replica| replica.state() == Closed));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_starts_while_the_fleet_is_open_is_open_at_once() {
    local(async {
        let (server, service, replicas) = fleet(2, 1).await;
        let late = Replica::start(&server, 1);
        settle().await;
        service.set_down(true);
        replicas[0].fail(&service, 3).await;
        settle().await;
        service.asked.set(0);
        late.fail(&service, 5).await;
        assert_eq!(service.asked.get(), 0);

        let later = Replica::start(&server, 1);
        later.0.enter(|| bindu_cb::get_circuit_breaker("shared"));
        settle().await;
        assert_eq!(later.state(), Open);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_before_it_was_ever_looked_for_is_restored() {
    local(async {
        let (server, service) = (MemoryServer::new(), Service::default());
        let replica = Replica::start(&server, 1);
        replica.call(&service).await.unwrap();
        settle().await;
        service.set_down(true);
        replica.fail(&service, 3).await;
        settle().await;
        // The first change that there was.
        server.flush();
        sleep(secs(1)).await;

        service.set_down(false);
        let late = Replica::start(&server, 1);
        late.call(&service).await.unwrap();
        settle().await;
        assert_eq!(late.state(), Open);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_pushed_is_not_read_by_who_has_no_circuit_of_it() {
    local(async {
        let server = MemoryServer::new();
        let _idle: Vec<_> = (0..10).map(|_| Replica::start(&server, 1)).collect();
        sleep(secs(2)).await;
        let commands_of_five_seconds = async || {
            let before = server.commands();
            sleep(secs(5)).await;
            server.commands() - before
        };
        let at_rest = commands_of_five_seconds().await;
        for phase in [Phase::ForcedOpen, Phase::Closed, Phase::ForcedOpen] {
            server.set_by_hand("nobody's", phase);
            assert_eq!(commands_of_five_seconds().await, at_rest, "{phase:?}");
        }
        // Whoever was not told reads it.
        server.set_silent(true);
        server.set_by_hand("nobody's", Phase::Closed);
        server.set_silent(false);
        assert_eq!(commands_of_five_seconds().await, at_rest + 10);
    })
    .await;
}
