//! A process that shares its circuits: the benchmark's side of it, and its own.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bindu_cb::{CircuitState, Event, Operation, SharedSettings, registry};

use crate::alloc;

const HERE: &str = "SHARED_BENCH_REPLICA";
const CALLS: u32 = 2_000_000;

/// Dies with this.
pub(crate) struct Replica {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Replica {
    pub(crate) fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().expect("a process has a program"))
            .env(HERE, "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it started once");
        let orders = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, orders, answers }
    }

    pub(crate) fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").expect("the process lives");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers in text");
        assert!(answer.ends_with('\n'), "the process has died at {order:?}");
        answer.trim_end().to_owned()
    }

    /// When each circuit has opened, in nanoseconds of the machine's clock.
    pub(crate) fn opened(&mut self) -> HashMap<usize, u128> {
        let answer = self.order("opened");
        let numbers = answer.split(' ').filter_map(|one| one.split_once('@'));
        numbers
            .filter_map(|(circuit, at)| Some((circuit.parse().ok()?, at.parse().ok()?)))
            .collect()
    }

    pub(crate) fn is_connected(&mut self) -> bool {
        self.order("connected") == "true"
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn name(circuit: usize) -> String {
    format!("bench:{circuit}")
}

fn make(circuit: usize) -> Operation {
    let builder = Operation::builder(name(circuit)).enabled(true).attempts(1).failure_threshold(1);
    builder.recovery_timeout(Duration::from_mins(10)).build().expect("valid settings")
}

/// True, and done, if this process is a replica.
pub(crate) fn runs_here() -> bool {
    if std::env::var_os(HERE).is_none() {
        return false;
    }
    let opened = Arc::<Mutex<Vec<(&'static str, u128)>>>::default();
    let events = Arc::clone(&opened);
    let _subscription = registry().subscribe(move |event: &Event| {
        if event.to == CircuitState::Open {
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
            events.push((event.operation, at.as_nanos()));
        }
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut circuits = Vec::new();
    let fail = |circuit: &Operation| {
        let failed = circuit.call(|| async { Err::<(), _>("down") });
        drop(runtime.block_on(failed));
    };
    let share = |url: &str| registry().share(SharedSettings::new(url)).expect("a valid URL");
    let is_connected = || registry().shared().is_some_and(|shared| shared.connected);
    // Until all is read, too.
    let settle = || {
        while !is_connected() {
            sleep(Duration::from_millis(1));
        }
        sleep(Duration::from_millis(500));
    };
    for order in std::io::stdin().lines().map_while(Result::ok) {
        let (order, what) = order.split_once(' ').unwrap_or((&order, ""));
        let answer = match order {
            "make" => {
                circuits.extend((0..what.parse().unwrap_or(0)).map(make));
                String::new()
            }
            "share" => {
                share(what);
                settle();
                String::new()
            }
            "unshare" => {
                registry().unshare();
                String::new()
            }
            "trip" => {
                fail(&circuits[what.parse::<usize>().unwrap_or(0)]);
                String::new()
            }
            "trip-all" => {
                circuits.iter().for_each(fail);
                String::new()
            }
            "opened" => {
                let opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
                let each = opened
                    .iter()
                    .map(|(name, at)| format!("{}@{at}", name.trim_start_matches("bench:")));
                each.collect::<Vec<_>>().join(" ")
            }
            "connected" => is_connected().to_string(),
            "held" => {
                let before = alloc::live();
                share(what);
                settle();
                (alloc::live() - before).to_string()
            }
            "calls" => {
                let circuit = &circuits[0];
                let took = runtime.block_on(async {
                    let begun = Instant::now();
                    for call in 0..CALLS {
                        let call = circuit.call(|| async { Ok::<_, &str>(black_box(call)) });
                        let _ = black_box(call.await);
                    }
                    begun.elapsed()
                });
                (took.as_secs_f64() * 1e9 / f64::from(CALLS)).to_string()
            }
            _ => "no such order".to_owned(),
        };
        println!("{answer}");
    }
    true
}
