//! Replicas die, and there are many.

use std::thread::sleep;
use std::time::{Duration, Instant};

use bindu_cb_test_servers::RedisServer;

use crate::trial::{Setup, Trial, WAIT};

/// Longer than a lease is that no call has claimed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// A lease is longer than a probe by this.
const MARGIN: Duration = Duration::from_secs(1);
/// So long after a lease, whoever has no other one probes by itself.
const GRACE: Duration = Duration::from_secs(2);

/// Kills whoever probes, when it does. Returns the end of its lease at the latest.
fn kill_the_owner(trial: &mut Trial) -> Instant {
    trial.replicas[0].trip();
    trial.all_are("open");
    // Nobody is ever answered.
    trial.service.watch(Duration::from_mins(1));
    let deadline = Instant::now() + 2 * WAIT;
    let probe = loop {
        if let Some(probe) = trial.service.requests().first() {
            break *probe;
        }
        assert!(Instant::now() < deadline, "nobody has probed");
        sleep(Duration::from_millis(2));
    };
    // The call has its lease extended as it comes.
    trial.fault(|| sleep(Duration::from_millis(100)));
    let owner = trial.replicas.iter().position(|it| it.number() == probe.replica).unwrap();
    let mut owner = trial.replicas.remove(owner);
    owner.kill();
    assert_eq!(trial.service.requests().len(), 1, "there was one");
    trial.watch();
    probe.begun + PROBE_TIMEOUT + MARGIN
}

fn setup() -> Setup {
    Setup { replicas: 4, probe_timeout: PROBE_TIMEOUT, ..Setup::default() }
}

#[test]
fn the_owner_of_the_probe_is_killed() {
    let server = RedisServer::start();
    let mut trial = Trial::with(&server.url(), setup());
    let lease_end = kill_the_owner(&mut trial);
    let (probe, _) = trial.next_probe(Duration::ZERO);
    trial.no_call_has_waited();
    println!("the next probe: {:?}", probe.begun.saturating_duration_since(lease_end));
    assert!(probe.begun + Duration::from_millis(200) >= lease_end, "the lease counted");
    assert!(probe.begun <= lease_end + GRACE + Duration::from_secs(1), "it was waited for in vain");
    trial.all_are("closed");
    trial.log_is_quiet();
}

#[test]
fn the_owner_of_the_probe_and_the_server_are_killed() {
    let server = RedisServer::start();
    let mut trial = Trial::with(&server.url(), setup());
    let lease_end = kill_the_owner(&mut trial);
    server.kill();
    // The stated exception: each for itself, when it is certain that the lease is over.
    let deadline = lease_end + GRACE + Duration::from_secs(1);
    loop {
        let requests = trial.service.requests();
        if let Some(first) = requests.first() {
            let after = first.begun.saturating_duration_since(lease_end);
            assert!(after + Duration::from_millis(200) >= GRACE, "{after:?} after the lease's end");
            break;
        }
        assert!(Instant::now() < deadline, "nobody has probed");
        sleep(Duration::from_millis(5));
    }
    trial.no_call_has_waited();
    sleep(Duration::from_millis(500));
    trial.all_are("closed");
    trial.log_is_quiet();
}

#[test]
fn eight_processes_at_once() {
    let server = RedisServer::start();
    let mut trial = Trial::with(&server.url(), Setup { replicas: 8, ..Setup::default() });
    trial.fault(|| ());
    trial.replicas[5].trip();
    trial.mend(|| ());
    trial.all_are("open");
    trial.nothing_reaches_the_service(WAIT / 2);
    // Two probes in vain, and one that is not.
    trial.service.set_down(true);
    for _ in 0..2 {
        trial.watch();
        trial.next_probe(Duration::ZERO);
        trial.all_are("open");
    }
    trial.service.set_down(false);
    trial.one_probe_closes_all();

    // All of them trip at the same time.
    std::thread::scope(|scope| {
        for replica in &mut trial.replicas {
            scope.spawn(|| replica.trip());
        }
    });
    trial.all_are("open");
    trial.one_probe_closes_all();
    trial.log_is_quiet();
}
