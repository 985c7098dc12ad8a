//! A replica is told the wrong thing.

use std::thread::sleep;
use std::time::Duration;

use bindu_cb_test_servers::RedisServer;

use crate::trial::{Setup, Trial};

#[test]
fn a_wrong_password_until_it_is_right() {
    let server = RedisServer::options().with_password("right").start();
    let url = server.url().replace("right", "hush");
    let mut trial = Trial::alone(&url, Setup::default());
    trial.fault(|| ());
    trial.share();
    sleep(Duration::from_secs(2));
    for replica in &mut trial.replicas {
        let told = replica.tell();
        assert!(!told.connected && told.errors > 1, "{told:?}");
    }
    trial.replicas[0].trip();
    trial.mend(|| drop(server.cli(&["CONFIG", "SET", "requirepass", "hush"])));
    trial.all_are("open");
    trial.one_probe_closes_all();
    let said = trial.log_is_quiet();
    let why = said.iter().filter(|line| line.contains("the password of the URL is wrong"));
    assert_eq!(why.count(), trial.replicas.len(), "{said:?}");
    assert!(said.iter().all(|line| !line.contains("hush")), "{said:?}");
}

#[test]
fn a_wrong_url() {
    let mut trial = Trial::alone("", Setup { replicas: 1, ..Setup::default() });
    for url in [
        "redis://bob:hush@127.0.0.1:99999/0",
        "http://bob:hush@127.0.0.1:6379",
        "redis://bob:hush@127.0.0.1:6379/hush",
        "bob:hush@",
    ] {
        let said = trial.replicas[0].share(url, 1);
        assert!(said.contains("url"), "{said:?} does not say what is wrong");
        assert!(!said.contains("hush") && !said.contains("bob"), "{said:?}");
    }
    trial.fault(|| ());
    sleep(Duration::from_millis(500));
    trial.no_call_has_waited();
    trial.replicas[0].trip();
    trial.one_probe_closes_all();
}

#[test]
fn a_server_that_is_not_there_until_it_is() {
    let server = RedisServer::start();
    server.kill();
    let mut trial = Trial::alone(&server.url(), Setup::default());
    trial.fault(|| ());
    trial.share();
    sleep(Duration::from_secs(2));
    trial.replicas[0].trip();
    trial.mend(|| server.restart());
    trial.all_are("open");
    trial.one_probe_closes_all();
    trial.log_is_quiet();
}
