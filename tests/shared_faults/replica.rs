//! A replica, which is a process of its own: the test's side of it, and its own.

mod calls;
mod lines;

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use bindu_cb::{SharedSettings, get_circuit_breaker, registry};

use calls::{Calls, FLEET, trip};
use lines::Lines;

const WHO: &str = "SHARED_FAULTS_REPLICA";
const SERVICE: &str = "SHARED_FAULTS_SERVICE";
/// Before each line that is an answer: the test harness of the child has something to say, too.
const MARK: &str = "> ";

/// How long guarded calls took, the service's part of it not counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Of a call whose circuit is always closed.
    pub closed: Figure,
    /// Of a call of the fleet's circuit, whatever that was.
    pub fleet: Figure,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Figure {
    pub calls: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, p50, p99, max } = self;
        write!(f, "{calls} calls, p50 {p50:.1?}, p99 {p99:.1?}, longest {max:.1?}")
    }
}

/// What a replica tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub state: String,
    pub connected: bool,
    pub errors: u64,
}

/// Dies with this.
pub struct Replica {
    number: usize,
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Replica {
    /// With these settings of all its circuits, and calling from its first moment on.
    pub fn start(number: usize, service: SocketAddr, settings: &[(String, String)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BINDU_CB_") {
                command.env_remove(name);
            }
        }
        let mut process = command
            .args(["--exact", "replica::replica", "--ignored", "--nocapture"])
            .env(WHO, number.to_string())
            .env(SERVICE, service.to_string())
            .envs(settings.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut replica = Self { number, process, orders, answers };
        assert_eq!(replica.hear(), "ready");
        replica
    }

    pub fn number(&self) -> usize {
        self.number
    }

    /// Empty if that went well.
    pub fn share(&mut self, url: &str, quorum: u32) -> String {
        self.order(&format!("share {quorum} {url}"))
    }

    /// Until its circuit has opened.
    pub fn trip(&mut self) {
        self.order("trip");
    }

    pub fn tell(&mut self) -> Told {
        let told = self.order("tell");
        let mut words = told.split(' ');
        let mut word = || words.next().unwrap().to_owned();
        let state = word();
        Told { state, connected: word() == "true", errors: word().parse().unwrap() }
    }

    /// Since this was last asked.
    pub fn figures(&mut self) -> Figures {
        let told = self.order("figures");
        let mut numbers = told.split(' ').map(|word| word.parse::<u64>().unwrap());
        let mut figure = || {
            let calls = usize::try_from(numbers.next().unwrap()).unwrap();
            let mut time = || Duration::from_nanos(numbers.next().unwrap());
            Figure { calls, p50: time(), p99: time(), max: time() }
        };
        Figures { closed: figure(), fleet: figure() }
    }

    /// All that was logged: milliseconds since the beginning, and the line.
    pub fn log(&mut self) -> Vec<(u64, String)> {
        let count: usize = self.order("log").parse().unwrap();
        let lines = (0..count).map(|_| self.hear());
        lines
            .map(|line| {
                let (at, line) = line.split_once(' ').unwrap();
                (at.parse().unwrap(), line.to_owned())
            })
            .collect()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").expect("the replica lives");
        self.hear()
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let length = self.answers.read_line(&mut line).unwrap();
            assert!(length > 0, "replica {} has ended", self.number);
            if let Some(answer) = line.strip_prefix(MARK) {
                return answer.trim_end_matches('\n').to_owned();
            }
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "what the process of a replica runs, which the other tests start"]
fn replica() {
    let Ok(number) = std::env::var(WHO) else { return };
    let lines = Lines::capture();
    let calls = Calls::start(&std::env::var(SERVICE).unwrap(), number.parse().unwrap());
    // After what the harness has begun to say.
    println!();
    say("ready");
    // Ends when the test does, however that is: nobody else holds the other end.
    for order in std::io::stdin().lines() {
        let order = order.unwrap();
        match order.split_once(' ').unwrap_or((&order, "")) {
            ("share", what) => {
                let (quorum, url) = what.split_once(' ').unwrap();
                let settings = SharedSettings::new(url).quorum(quorum.parse().unwrap());
                let problem = registry().share(settings).err();
                say(&problem.map(|error| format!("{error} / {error:?}")).unwrap_or_default());
            }
            ("trip", _) => {
                trip();
                say("");
            }
            ("tell", _) => {
                let state = get_circuit_breaker(FLEET).state();
                let shared = registry().shared();
                let connected = shared.as_ref().is_some_and(|it| it.connected);
                say(&format!("{state} {connected} {}", shared.map_or(0, |it| it.errors)));
            }
            ("figures", _) => say(&calls.figures()),
            ("log", _) => {
                let lines = lines.take();
                say(&lines.len().to_string());
                for (at, line) in &lines {
                    say(&format!("{} {line}", at.as_millis()));
                }
            }
            _ => panic!("no such order: {order}"),
        }
    }
    std::process::exit(0);
}

fn say(answer: &str) {
    println!("{MARK}{}", answer.replace('\n', " | "));
}
