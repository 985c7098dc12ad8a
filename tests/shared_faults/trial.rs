//! What holds whatever is wrong.
//!
//! (a) No guarded call waits. (b) No trip is lost. (c) There is one probe at a time. (d) Everybody
//! converges soon after the end of the fault. (e) Nothing is logged more than once a second.

use std::fmt::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::replica::{Figure, Replica, Told};
use crate::service::{Request, Service};

/// Of a circuit that opens, unless a test says otherwise.
pub const WAIT: Duration = Duration::from_secs(4);
/// Of (a): no call is slower than without a server, but for this.
const SLOWER: Duration = Duration::from_millis(1);
/// In less time there are few calls.
const FEW_CALLS: Duration = Duration::from_millis(500);
/// Of (d).
const CONVERGED: Duration = Duration::from_secs(3);
/// Of (e).
const BETWEEN_LINES: u64 = 1_000;
/// The line of a log and its moment are not one: on a busy machine they are so far apart.
const LATE: u64 = 50;
/// How long a probe takes: long enough for a second one to be seen beside it.
const PROBE: Duration = Duration::from_millis(200);

/// Replicas that share their circuits, and what they have been through.
pub struct Trial {
    pub service: Service,
    pub replicas: Vec<Replica>,
    setup: Setup,
    url: String,
    local: Vec<(usize, [Figure; 2])>,
    begun: Instant,
    ended: Option<Instant>,
}

#[derive(Clone)]
pub struct Setup {
    pub replicas: usize,
    pub quorum: u32,
    pub wait: Duration,
    pub probe_timeout: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        let probe_timeout = Duration::from_secs(10);
        Self { replicas: 3, quorum: 1, wait: WAIT, probe_timeout }
    }
}

impl Trial {
    /// Replicas that share through this server, connected.
    pub fn start(url: &str) -> Self {
        Self::with(url, Setup::default())
    }

    pub fn with(url: &str, setup: Setup) -> Self {
        let mut trial = Self::alone(url, setup);
        trial.share();
        trial.is_connected();
        trial
    }

    /// Replicas that share nothing yet.
    pub fn alone(url: &str, setup: Setup) -> Self {
        let mut trial = Self {
            service: Service::start(),
            replicas: Vec::new(),
            setup,
            url: url.to_owned(),
            local: Vec::new(),
            begun: Instant::now(),
            ended: None,
        };
        (0..trial.setup.replicas).for_each(|_| trial.add());
        sleep(Duration::from_millis(500));
        trial.local = trial.figures();
        trial
    }

    /// One more replica, which shares nothing yet.
    fn add(&mut self) {
        let millis = |time: Duration| format!("{}ms", time.as_millis());
        let settings = [
            ("BINDU_CB_ENABLED", "true".to_owned()),
            ("BINDU_CB_RECOVERY_TIMEOUT", millis(self.setup.wait)),
            ("BINDU_CB_PROBE_TIMEOUT", millis(self.setup.probe_timeout)),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        let replica = Replica::start(self.replicas.len(), self.service.address(), &settings);
        self.replicas.push(replica);
    }

    /// One more replica that comes now.
    pub fn join(&mut self) {
        self.add();
        let (url, quorum) = (self.url.clone(), self.setup.quorum);
        let replica = self.replicas.last_mut().unwrap();
        assert_eq!(replica.share(&url, quorum), "");
    }

    pub fn share(&mut self) {
        for replica in &mut self.replicas {
            assert_eq!(replica.share(&self.url, self.setup.quorum), "");
        }
    }

    pub fn is_connected(&mut self) {
        self.wait_for("connected", Instant::now(), |told| told.connected);
    }

    /// Everybody notices that the server is away.
    pub fn is_disconnected(&mut self) {
        self.wait_for("disconnected", Instant::now(), |told| !told.connected);
    }

    /// Something goes wrong.
    pub fn fault(&mut self, fault: impl FnOnce()) {
        self.figures();
        self.begun = Instant::now();
        self.ended = None;
        fault();
    }

    /// It goes well again. (a) is checked.
    pub fn mend(&mut self, mend: impl FnOnce()) {
        self.no_call_has_waited();
        mend();
        self.ended = Some(Instant::now());
    }

    /// (a), since the fault began.
    pub fn no_call_has_waited(&mut self) {
        // Of a short one there would be few calls to speak of.
        sleep((self.begun + FEW_CALLS).saturating_duration_since(Instant::now()));
        for (number, during) in self.figures() {
            let local = self.local.iter().find(|(replica, _)| *replica == number);
            let Some((_, local)) = local else { continue };
            for (what, local, during) in
                [("closed", local[0], during[0]), ("fleet", local[1], during[1])]
            {
                println!("replica {number}, {what}: alone {local}; in the fault {during}");
                assert!(during.calls >= 50, "calls have stood still");
                assert!(during.p99 <= local.p99 + SLOWER, "calls have waited");
            }
        }
    }

    fn figures(&mut self) -> Vec<(usize, [Figure; 2])> {
        let each = self.replicas.iter_mut().map(|replica| {
            let figures = replica.figures();
            (replica.number(), [figures.closed, figures.fleet])
        });
        each.collect()
    }

    /// (b) and (d): all circuits are so, soon after the end of the fault or, if there is none, now.
    pub fn all_are(&mut self, state: &str) {
        let since = self.ended.unwrap_or_else(Instant::now);
        self.wait_for(state, since, |told| told.state == state);
    }

    fn wait_for(&mut self, what: &str, since: Instant, is_so: impl Fn(&Told) -> bool) {
        loop {
            let told: Vec<_> = self.replicas.iter_mut().map(Replica::tell).collect();
            let took = since.elapsed();
            if told.iter().all(&is_so) {
                return println!("all are {what} after {took:?}");
            }
            assert!(
                took <= CONVERGED,
                "not all are {what} after {took:?}: {told:?}\n{}",
                self.logs()
            );
            sleep(Duration::from_millis(5));
        }
    }

    /// All circuits are open. (c) and (d): one replica probes when the wait is over, nobody else
    /// does meanwhile, and everybody closes.
    pub fn one_probe_closes_all(&mut self) {
        self.watch();
        let (probe, answered) = self.next_probe(Duration::ZERO);
        println!("replica {} has probed", probe.replica);
        self.ended = None;
        self.wait_for("closed", answered, |told| told.state == "closed");
        self.service.watch(Duration::ZERO);
    }

    /// From now on what reaches the service are probes.
    pub fn watch(&self) {
        self.service.watch(PROBE);
    }

    /// (c): the first probe that came so long after the begin of the watch, and when it was answered.
    pub fn next_probe(&mut self, patience: Duration) -> (Request, Instant) {
        let deadline = Instant::now() + patience + self.setup.wait + CONVERGED;
        loop {
            let requests = self.service.requests();
            let answer = |it: &Request| it.answered.map(|(at, _)| (*it, at));
            if let Some((probe, at)) = requests.iter().find_map(answer) {
                let together: Vec<_> = requests.iter().filter(|it| it.begun < at).collect();
                assert!(
                    together.len() == 1,
                    "more than one probe at a time: {together:?}\n{}",
                    self.logs()
                );
                return (probe, at);
            }
            if Instant::now() > deadline {
                let told: Vec<_> = self.replicas.iter_mut().map(Replica::tell).collect();
                panic!("nobody has probed: {requests:?}, {told:?}\n{}", self.logs());
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Nobody asks the service for so long.
    pub fn nothing_reaches_the_service(&mut self, time: Duration) {
        self.service.watch(PROBE);
        sleep(time);
        let requests = self.service.requests();
        assert!(requests.is_empty(), "all are open, and yet {requests:?}\n{}", self.logs());
    }

    /// (e), of all that was logged, which is returned.
    pub fn log_is_quiet(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for replica in &mut self.replicas {
            let log = replica.log();
            for (at, line) in &log {
                println!("replica {}: {at:>6} {line}", replica.number());
            }
            for (i, (at, line)) in log.iter().enumerate() {
                let next = log[i + 1..].iter().find(|(_, next)| about(next) == about(line));
                if let Some((next, _)) = next {
                    let between = next.saturating_sub(*at);
                    let few = between + LATE >= BETWEEN_LINES;
                    assert!(few, "replica {}: after {between} ms again: {line}", replica.number());
                }
            }
            said.extend(log.into_iter().map(|(_, line)| line));
        }
        said
    }

    fn logs(&mut self) -> String {
        let mut text = String::new();
        for replica in &mut self.replicas {
            for (at, line) in replica.log() {
                let _ = writeln!(text, "replica {}: {at:>6} {line}", replica.number());
            }
        }
        text
    }
}

/// What a line is about: its message, and the operation if it has one.
fn about(line: &str) -> (&str, Option<&str>) {
    let mut parts = line.split("; ");
    let message = parts.next().unwrap_or_default();
    (message, parts.find(|part| part.starts_with("operation=")))
}
