//! The server dies, stops, forgets, or has no room.

use std::thread::sleep;
use std::time::Duration;

use bindu_cb_test_servers::{Proxy, RedisServer};

use crate::trial::Trial;

const A_WHILE: Duration = Duration::from_millis(1_500);

#[test]
fn killed_and_restarted_empty() {
    let server = RedisServer::start();
    let mut trial = Trial::start(&server.url());
    trial.fault(|| server.kill());
    sleep(A_WHILE);
    trial.replicas[0].trip();
    sleep(Duration::from_millis(300));
    trial.mend(|| server.restart());
    trial.all_are("open");
    trial.one_probe_closes_all();
    trial.log_is_quiet();
}

#[test]
fn what_a_killed_server_knew_is_restored() {
    let server = RedisServer::start();
    let mut trial = Trial::start(&server.url());
    trial.replicas[0].trip();
    trial.all_are("open");
    trial.fault(|| server.kill());
    sleep(A_WHILE);
    trial.mend(|| server.restart());
    trial.is_connected();
    // It knows only what it is told now.
    trial.join();
    trial.all_are("open");
    trial.one_probe_closes_all();
    trial.log_is_quiet();
}

#[test]
fn stopped_for_five_seconds() {
    let server = RedisServer::start();
    let mut trial = Trial::start(&server.url());
    trial.fault(|| server.stop());
    trial.is_disconnected();
    sleep(Duration::from_millis(3_500));
    trial.replicas[0].trip();
    sleep(Duration::from_millis(500));
    trial.mend(|| server.cont());
    trial.all_are("open");
    trial.one_probe_closes_all();
    trial.log_is_quiet();
}

#[test]
fn flushed() {
    let server = RedisServer::start();
    let mut trial = Trial::start(&server.url());
    trial.replicas[0].trip();
    trial.all_are("open");
    trial.fault(|| drop(server.cli(&["FLUSHALL"])));
    // Whoever comes now is told by the others.
    trial.join();
    sleep(A_WHILE);
    trial.mend(|| ());
    trial.all_are("open");
    trial.one_probe_closes_all();

    // And with it closed: a loss is no news, and a trip that comes with it is none the less.
    trial.fault(|| drop(server.cli(&["FLUSHALL"])));
    trial.replicas[1].trip();
    trial.all_are("open");
    trial.log_is_quiet();
}

#[test]
fn its_scripts_flushed() {
    let server = RedisServer::start();
    let mut trial = Trial::start(&server.url());
    trial.fault(|| drop(server.cli(&["SCRIPT", "FLUSH"])));
    trial.replicas[0].trip();
    trial.all_are("open");
    for _ in 0..10 {
        server.cli(&["SCRIPT", "FLUSH"]);
        sleep(Duration::from_millis(100));
    }
    trial.mend(|| ());
    trial.all_are("open");
    trial.one_probe_closes_all();
    trial.log_is_quiet();
}

#[test]
fn without_memory() {
    let server = RedisServer::start();
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let mut trial = Trial::start(&server.url());
    trial.fault(|| drop(server.cli(&["CONFIG", "SET", "maxmemory", "1"])));
    trial.replicas[0].trip();
    sleep(Duration::from_millis(2_500));
    let told: Vec<_> = trial.replicas.iter_mut().map(|it| it.tell().state).collect();
    assert_eq!(told, ["open", "closed", "closed"], "it takes nothing");
    trial.mend(|| drop(server.cli(&["CONFIG", "SET", "maxmemory", "0"])));
    trial.all_are("open");
    trial.one_probe_closes_all();
    trial.log_is_quiet();
}

#[test]
fn a_promoted_replica_that_has_lost_a_trip() {
    let primary = RedisServer::start();
    let replica = RedisServer::options().replica_of(&primary).start();
    let proxy = Proxy::to(primary.port());
    let mut trial = Trial::start(&primary.url_at(proxy.port()));
    // What is not lost, so that there is something to go back to.
    trial.replicas[0].trip();
    trial.all_are("open");
    trial.one_probe_closes_all();
    primary.cli(&["WAIT", "1", "1000"]);
    replica.cli(&["REPLICAOF", "NO", "ONE"]);

    trial.replicas[1].trip();
    trial.all_are("open");
    trial.fault(|| primary.kill());
    sleep(Duration::from_secs(1));
    trial.mend(|| proxy.point_to(replica.port()));
    trial.is_connected();
    trial.join();
    trial.all_are("open");
    trial.one_probe_closes_all();
    trial.log_is_quiet();
}

#[test]
fn a_promoted_replica_that_has_lost_a_close() {
    let primary = RedisServer::start();
    let replica = RedisServer::options().replica_of(&primary).start();
    let proxy = Proxy::to(primary.port());
    let mut trial = Trial::start(&primary.url_at(proxy.port()));
    trial.replicas[0].trip();
    trial.all_are("open");
    primary.cli(&["WAIT", "1", "1000"]);
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    trial.one_probe_closes_all();

    trial.fault(|| primary.kill());
    sleep(Duration::from_secs(1));
    trial.mend(|| proxy.point_to(replica.port()));
    trial.is_connected();
    // It says that all are open, and is wrong.
    sleep(Duration::from_secs(1));
    trial.all_are("closed");
    trial.replicas[1].trip();
    trial.all_are("open");
    trial.one_probe_closes_all();
    trial.log_is_quiet();
}
