//! Shared circuits on loopback, with a real `redis-server` and processes of their own: one table,
//! with what each figure is to be.
//!
//! ```text
//! cargo bench -p bindu-cb-benches --bench shared --features shared
//! cargo bench -p bindu-cb-benches --bench shared --features shared -- rest   # only that part
//! ```
//!
//! On a quiet machine: eight processes and a server share its cores with whatever else there is.
//! Without `--bench` (as `cargo test --benches` runs it) it does little of each.

mod alloc;
mod replica;

use std::thread::sleep;
use std::time::{Duration, Instant};

use bindu_cb_test_servers::RedisServer;

use replica::Replica;

const PROCESSES: usize = 8;
const CIRCUITS: usize = 1_000;

fn main() {
    if replica::runs_here() {
        return;
    }
    let in_earnest = std::env::args().any(|argument| argument == "--bench");
    println!("{:<58}{:>12}{:>12}", "", "measured", "target");
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let parts: [Part; 5] = [
        ("open", |in_earnest| open_to_all(if in_earnest { 400 } else { 8 })),
        ("rest", |in_earnest| at_rest(if in_earnest { 20 } else { 1 })),
        ("noticed", |in_earnest| noticed(if in_earnest { 10 } else { 1 })),
        ("memory", |_| memory()),
        ("closed", |in_earnest| closed_success(if in_earnest { 30 } else { 1 })),
    ];
    for (name, part) in parts {
        if filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
            part(in_earnest);
        }
    }
}

/// A name, and what is done; in earnest or not.
type Part = (&'static str, fn(bool));

/// A row of the table.
fn row(what: &str, measured: f64, unit: &str, target: f64) {
    let verdict = if measured <= target { "reached" } else { "MISSED" };
    let [measured, target] = [measured, target].map(|figure| format!("{figure:.2} {unit}"));
    println!("{what:<58}{measured:>12}{target:>12}  {verdict}");
}

#[expect(clippy::cast_precision_loss, reason = "figures for a table")]
fn float(count: impl TryInto<i64>) -> f64 {
    count.try_into().unwrap_or(i64::MAX) as f64
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn part<T: Copy>(sorted: &[T], percent: usize) -> T {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn replicas(count: usize, circuits: usize, server: &RedisServer) -> Vec<Replica> {
    let mut replicas: Vec<_> = (0..count).map(|_| Replica::start()).collect();
    for replica in &mut replicas {
        replica.order(&format!("make {circuits}"));
        replica.order(&format!("share {}", server.url()));
    }
    replicas
}

/// From an opening in one process to that in the last of the others.
fn open_to_all(rounds: usize) {
    let server = RedisServer::start();
    let mut replicas = replicas(PROCESSES, rounds, &server);
    for round in 0..rounds {
        replicas[round % PROCESSES].order(&format!("trip {round}"));
        sleep(Duration::from_millis(30));
    }
    // When each has opened in each process.
    let opened: Vec<_> = replicas.iter_mut().map(Replica::opened).collect();
    let mut took: Vec<_> = (0..rounds)
        .map(|round| {
            let at = |process: &std::collections::HashMap<usize, u128>| process[&round];
            let last = opened.iter().map(at).max().unwrap_or_default();
            float(last - at(&opened[round % PROCESSES])) / 1e6
        })
        .collect();
    took.sort_unstable_by(f64::total_cmp);
    row("a trip in one of 8 processes to open in all, p50", part(&took, 50), "ms", 1.0);
    row("a trip in one of 8 processes to open in all, p99", part(&took, 99), "ms", 25.0);
}

/// Commands of the clients, not those of the scripts.
fn commands(server: &RedisServer) -> u64 {
    let info = server.cli(&["INFO", "commandstats"]);
    let of_clients = info.lines().filter(|line| {
        let name = line.trim_start_matches("cmdstat_");
        ["eval", "hello", "subscribe", "ping", "select", "client", "script"]
            .iter()
            .any(|command| name.starts_with(command))
    });
    let calls = of_clients.filter_map(|line| line.split("calls=").nth(1)?.split(',').next());
    calls.filter_map(|calls| calls.parse::<u64>().ok()).sum()
}

fn at_rest(seconds: u64) {
    let server = RedisServer::start();
    let _replicas = replicas(PROCESSES, CIRCUITS, &server);
    sleep(Duration::from_secs(2));
    let before = commands(&server);
    sleep(Duration::from_secs(seconds));
    let of_each = float(commands(&server) - before) / float(seconds * PROCESSES as u64);
    // The moment at which one looks falls between two beats of each process.
    row("commands a second of a process, 1,000 circuits at rest", of_each, "", 2.0 + 0.05);
}

/// Until a replica takes its connection for dead, and for alive again.
fn noticed(rounds: usize) {
    let server = RedisServer::start();
    let mut replica = replicas(1, 1, &server).remove(0);
    let mut times: [Vec<f64>; 4] = Default::default();
    let mut took = |which: usize, replica: &mut Replica, connected: bool, begun: Instant| {
        while replica.is_connected() != connected {
            sleep(Duration::from_micros(500));
        }
        times[which].push(millis(begun.elapsed()));
    };
    for round in 0..rounds {
        // At another moment between two beats each time.
        sleep(Duration::from_millis(1_000 + 500 * round as u64 / rounds as u64));
        let begun = Instant::now();
        server.kill();
        took(0, &mut replica, false, begun);
        sleep(Duration::from_secs(1));
        server.restart();
        took(1, &mut replica, true, Instant::now());

        sleep(Duration::from_millis(1_000 + 500 * round as u64 / rounds as u64));
        let begun = Instant::now();
        server.stop();
        took(2, &mut replica, false, begun);
        sleep(Duration::from_secs(1));
        let begun = Instant::now();
        server.cont();
        took(3, &mut replica, true, begun);
    }
    let what = [
        "a killed server is noticed, at the latest",
        "a restarted one is, at the latest",
        "a stopped server is noticed, at the latest",
        "a continued one is, at the latest",
    ];
    for (what, times) in what.into_iter().zip(times) {
        row(what, times.into_iter().fold(0.0, f64::max), "ms", 1_000.0);
    }
}

fn memory() {
    let server = RedisServer::start();
    let held = |circuits: usize| {
        let mut replica = Replica::start();
        replica.order(&format!("make {circuits}"));
        let held = replica.order(&format!("held {}", server.url()));
        held.parse::<i64>().unwrap_or(i64::MAX)
    };
    // What there is whatever the number of circuits.
    let none = held(0);
    let of_each = |bytes: i64| float(bytes - none) / float(CIRCUITS) / 1_024.0;
    row("memory of a supervisor for a circuit at rest", of_each(held(CIRCUITS)), "KiB", 2.0);
    let mut tripping = replicas(1, CIRCUITS, &server).remove(0);
    tripping.order("trip-all");
    sleep(Duration::from_secs(3));
    row("and for one that is open everywhere", of_each(held(CIRCUITS)), "KiB", 2.0);
}

/// What sharing costs a call that nothing is wrong with.
fn closed_success(rounds: usize) {
    let server = RedisServer::start();
    let mut replica = Replica::start();
    replica.order("make 1");
    let mut best = [f64::MAX; 2];
    for _ in 0..rounds {
        for (best, order) in
            best.iter_mut().zip(["unshare".to_owned(), format!("share {}", server.url())])
        {
            replica.order(&order);
            let took = replica.order("calls").parse().unwrap_or(f64::MAX);
            *best = best.min(took);
        }
    }
    let [alone, shared] = best;
    row("a closed success with sharing, dearer by", shared - alone, "ns", 1.0);
}
