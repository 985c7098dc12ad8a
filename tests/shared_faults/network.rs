//! The network between is bad.

use std::thread::sleep;
use std::time::Duration;

use bindu_cb_test_servers::{Mode, Proxy, RedisServer};

use crate::trial::Trial;

/// Too slow for any answer to be in time: what was asked for is done all the same, later.
const TOO_SLOW: Duration = Duration::from_millis(400);
const SLOW: Duration = Duration::from_millis(50);

#[test]
fn answers_too_slow_to_be_waited_for() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let mut trial = Trial::start(&server.url_at(proxy.port()));
    trial.fault(|| proxy.set(Mode::Delay(TOO_SLOW)));
    sleep(Duration::from_secs(2));
    trial.replicas[0].trip();
    sleep(Duration::from_millis(500));
    trial.mend(|| proxy.set(Mode::Pass));
    trial.all_are("open");
    trial.one_probe_closes_all();
    trial.log_is_quiet();
}

#[test]
fn slow_answers() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let mut trial = Trial::start(&server.url_at(proxy.port()));
    trial.fault(|| proxy.set(Mode::Delay(SLOW)));
    trial.replicas[0].trip();
    trial.all_are("open");
    trial.one_probe_closes_all();
    trial.no_call_has_waited();
    trial.log_is_quiet();
}

#[test]
fn torn_answers() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let mut trial = Trial::start(&server.url_at(proxy.port()));
    trial.fault(|| proxy.set(Mode::Torn));
    sleep(Duration::from_secs(1));
    trial.replicas[0].trip();
    sleep(Duration::from_secs(1));
    trial.mend(|| proxy.set(Mode::Pass));
    trial.all_are("open");
    trial.one_probe_closes_all();
    trial.log_is_quiet();
}

#[test]
fn a_connection_cut_again_and_again() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let mut trial = Trial::start(&server.url_at(proxy.port()));
    trial.fault(|| proxy.cut());
    for _ in 0..15 {
        proxy.cut();
        sleep(Duration::from_millis(100));
    }
    trial.replicas[0].trip();
    for _ in 0..5 {
        proxy.cut();
        sleep(Duration::from_millis(100));
    }
    trial.mend(|| proxy.cut());
    trial.all_are("open");
    trial.is_connected();
    trial.one_probe_closes_all();
    trial.log_is_quiet();
}
