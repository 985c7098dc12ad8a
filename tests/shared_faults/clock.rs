//! The server's clock jumps.

use std::thread::sleep;
use std::time::Duration;

use bindu_cb_test_servers::RedisServer;

use crate::trial::{Trial, WAIT};

const HOUR: i64 = 3_600;

/// Open before the jump and after it, for as long as it would be without one.
fn jumps(trial: &mut Trial, server: &RedisServer, to: i64) {
    trial.replicas[0].trip();
    trial.all_are("open");
    trial.fault(|| server.set_clock(to));
    trial.mend(|| ());
    trial.nothing_reaches_the_service(WAIT / 2);
    trial.all_are("open");
    trial.one_probe_closes_all();

    // And by the new clock.
    trial.replicas[1].trip();
    trial.all_are("open");
    trial.one_probe_closes_all();
}

#[test]
fn an_hour_forward() {
    let server = RedisServer::options().with_faketime(0).start();
    let mut trial = Trial::start(&server.url());
    jumps(&mut trial, &server, HOUR);
    trial.no_call_has_waited();
    trial.log_is_quiet();
}

#[test]
fn an_hour_backward() {
    let server = RedisServer::options().with_faketime(0).start();
    let mut trial = Trial::start(&server.url());
    jumps(&mut trial, &server, -HOUR);
    trial.no_call_has_waited();
    trial.log_is_quiet();
}

#[test]
fn a_trip_comes_with_the_jump() {
    let server = RedisServer::options().with_faketime(0).start();
    let mut trial = Trial::start(&server.url());
    for to in [HOUR, -HOUR] {
        trial.fault(|| server.set_clock(to));
        trial.replicas[0].trip();
        sleep(Duration::from_millis(500));
        trial.mend(|| ());
        trial.all_are("open");
        trial.one_probe_closes_all();
    }
    trial.log_is_quiet();
}
