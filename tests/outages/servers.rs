//! What a process says of the server that its circuits are shared through, a real one. Each in a
//! process of its own: it is a thread of the crate that logs.

use std::io;
use std::sync::mpsc;

use bindu_cb::{
    CircuitState, Fleet, SharedSettings, get_circuit_breaker, registry, with_circuit_breaker,
};
use bindu_cb_test_servers::RedisServer;
use tokio::runtime::Runtime;

use crate::page;
use crate::support::{Log, alone, eventually};

#[with_circuit_breaker(op = "storage:save", enabled = true)]
async fn save(works: bool) -> io::Result<()> {
    if works { Ok(()) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A process that shares the circuit, and has heard from the server.
fn replica(log: &Log, server: &RedisServer) -> Runtime {
    registry().share(SharedSettings::new(server.url())).unwrap();
    let runtime = runtime();
    runtime.block_on(save(true)).unwrap();
    log.wait_for("shared circuits: connected");
    log.take();
    runtime
}

/// Which commands were under way is left to chance: those lines are not what it is about.
fn of_the_connection(lines: &str) -> String {
    lines.lines().filter(|line| !line.contains("a command failed")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_server_goes_and_comes_back() {
    alone("servers::the_server_goes_and_comes_back", &[], || {
        let (log, server) = (Log::of_the_process(), RedisServer::start());
        let runtime = replica(&log, &server);
        server.kill();
        log.wait_for("no connection");
        let gone = of_the_connection(&log.take());
        runtime.block_on(save(true)).unwrap();
        server.restart();
        log.wait_for("shared circuits: connected");
        let back = of_the_connection(&log.take());
        page::shows_but_for_errors("redis-gone", &format!("{gone}\n{back}"));
    });
}

#[test]
fn the_server_is_silent() {
    alone("servers::the_server_is_silent", &[], || {
        let (log, server) = (Log::of_the_process(), RedisServer::start());
        let _runtime = replica(&log, &server);
        server.stop();
        log.wait_for("no connection");
        page::shows_but_for_errors("redis-silent", &of_the_connection(&log.take()));
        server.cont();
    });
}

#[test]
fn the_server_refuses_to_write() {
    alone("servers::the_server_refuses_to_write", &[], || {
        let (log, server) = (Log::of_the_process(), RedisServer::start());
        let runtime = replica(&log, &server);
        server.cli(&["config", "set", "maxmemory", "1"]);
        runtime.block_on(async {
            for _ in 0..3 {
                save(false).await.unwrap_err();
            }
        });
        log.wait_for("a command failed");
        let lines = log.take();
        let refusal = lines.lines().find(|line| line.contains("a command failed")).unwrap();
        page::shows_but_for_errors("redis-refuses", refusal);
    });
}

#[test]
fn the_server_forgets_everything() {
    alone("servers::the_server_forgets_everything", &[], || {
        let (log, server) = (Log::of_the_process(), RedisServer::start());
        let runtime = replica(&log, &server);
        let record = "bindu-cb:1:{default/storage:save}:state";
        let is_there = || server.cli(&["exists", record]).trim() == "1";
        runtime.block_on(async {
            for _ in 0..3 {
                save(false).await.unwrap_err();
            }
        });
        eventually(is_there);
        log.take();
        server.cli(&["flushall"]);
        eventually(is_there);
        log.wait_for("shared circuits: connected");
        assert_eq!(get_circuit_breaker("storage:save").state(), CircuitState::Open);
        page::shows("redis-flushed", &of_the_connection(&log.take()));
    });
}

#[test]
fn the_server_wants_a_password() {
    alone("servers::the_server_wants_a_password", &[], || {
        let log = Log::of_the_process();
        let server = RedisServer::options().with_password("hush").start();
        let url = format!("redis://:wrong@127.0.0.1:{}", server.port());
        registry().share(SharedSettings::new(url)).unwrap();
        log.wait_for("no connection");
        page::shows("redis-login", &log.take());
    });
}

#[test]
fn the_url_is_none() {
    let variables = [("BINDU_CB_SHARED_URL", "http://redis.internal:6379")];
    alone("servers::the_url_is_none", &variables, || {
        let log = Log::of_the_process();
        runtime().block_on(save(true)).unwrap();
        page::shows("redis-url", &log.take());
    });
}

#[test]
fn another_replica_opens_the_circuit_and_somebody_forces_it() {
    let test = "servers::another_replica_opens_the_circuit_and_somebody_forces_it";
    alone(test, &[], || {
        let (log, server) = (Log::of_the_process(), RedisServer::start());
        let runtime = replica(&log, &server);
        let settings = SharedSettings::new(server.url());
        let (heard, was_heard) = mpsc::channel::<()>();
        let other = std::thread::spawn({
            let settings = settings.clone();
            move || {
                let _other_process = bindu_cb::testing::isolate();
                registry().share(settings).unwrap();
                self::runtime().block_on(async {
                    for _ in 0..3 {
                        save(false).await.unwrap_err();
                    }
                });
                // It must live until the trip is published.
                was_heard.recv().unwrap();
            }
        });
        log.wait_for("cause=remote");
        heard.send(()).unwrap();
        other.join().unwrap();
        let lines = log.take();
        let remote = lines.lines().find(|line| line.contains("cause=remote")).unwrap();
        page::shows_but_for_waits("remote", remote);

        runtime.block_on(async {
            let fleet = Fleet::connect(&settings).await.unwrap();
            let why = "the disk is being replaced";
            fleet.force_open("storage:save", "ada", why).await.unwrap();
            log.wait_for("to=forced_open cause");
            fleet.reset("storage:save", "ada", "all is well").await.unwrap();
            log.wait_for("to=closed cause");
        });
        page::shows("forced-for-all", &log.take());
    });
}
