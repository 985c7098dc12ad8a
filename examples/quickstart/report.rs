//! What is printed, and how the figures come out of the calls.

use std::time::Duration;

use anyhow::Context;
use bindu_cb::{CircuitState, registry};
use tokio::time::{Instant, sleep_until};

use crate::load::{Call, End, Load};
use crate::store::Store;

/// Prints a line a second.
pub(crate) struct Watch {
    start: Instant,
    second: u64,
    attempts: u64,
}

impl Watch {
    pub(crate) fn start(enabled: bool) -> Self {
        println!("\nenabled = {enabled}");
        println!("time  service   calls  attempts  rejected  open circuits");
        Self { start: Instant::now(), second: 0, attempts: 0 }
    }

    pub(crate) async fn seconds(
        &mut self,
        count: u64,
        service: &str,
        store: &Store,
        load: &mut Load,
    ) {
        for _ in 0..count {
            self.second += 1;
            sleep_until(self.start + Duration::from_secs(self.second)).await;
            let calls = load.new_calls();
            let rejected = calls.iter().filter(|call| call.end == End::Rejected);
            let attempts = store.attempts();
            println!(
                "{:>2} s  {service:<7}  {:>6}  {:>8}  {:>8}  {}",
                self.second,
                calls.len(),
                attempts - self.attempts,
                rejected.count(),
                open_circuits(),
            );
            self.attempts = attempts;
        }
    }
}

fn open_circuits() -> String {
    let mut open: Vec<_> = registry()
        .iter()
        .filter(|circuit| circuit.state() != CircuitState::Closed)
        .map(|circuit| circuit.name())
        .collect();
    open.sort_unstable();
    if open.is_empty() { "none".to_owned() } else { open.join(", ") }
}

/// When the service was away, and how often somebody tried to connect to it then.
pub(crate) struct Outage {
    pub(crate) killed: Instant,
    pub(crate) returned: Instant,
    pub(crate) attempts: u64,
}

/// What one run cost.
pub(crate) struct Figures {
    attempts: u64,
    failed: usize,
    median: Duration,
    p99: Duration,
    first_success: Option<Duration>,
    full_traffic: Option<Duration>,
}

impl Figures {
    pub(crate) fn measure(calls: &[Call], outage: &Outage) -> anyhow::Result<Self> {
        let &Outage { killed, returned, attempts } = outage;

        let mut waits: Vec<Duration> = calls
            .iter()
            .filter(|call| call.end != End::Success)
            .filter(|call| call.ended >= killed && call.started < returned)
            .map(|call| call.ended - call.started)
            .collect();
        waits.sort_unstable();
        let last = waits.len().checked_sub(1);
        let last = last.context("no call failed while the service was dead")?;

        let mut successes: Vec<Instant> =
            calls.iter().filter(|call| call.end == End::Success).map(|call| call.ended).collect();
        successes.sort_unstable();
        let before = &successes[..successes.partition_point(|&at| at < killed)];
        let after = &successes[successes.partition_point(|&at| at < returned)..];

        Ok(Self {
            attempts,
            failed: waits.len(),
            median: waits[last / 2],
            p99: waits[last * 99 / 100],
            first_success: after.first().map(|&at| at - returned),
            full_traffic: full_traffic(before, after).map(|at| at - returned),
        })
    }

    /// Where this run is not ahead of `other` in what a breaker is for.
    pub(crate) fn not_better_than(&self, other: &Self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.attempts >= other.attempts {
            complaints.push(format!(
                "{} attempts against the dead service, {} without a breaker",
                self.attempts, other.attempts
            ));
        }
        if self.median >= other.median {
            complaints.push(format!(
                "callers waited {:.1?} to learn that it was down, {:.1?} without a breaker",
                self.median, other.median
            ));
        }
        complaints
    }
}

/// The first moment at which the last 250 ms had 90 % of the successes that 250 ms had on average
/// in the two seconds before the outage.
fn full_traffic(before: &[Instant], after: &[Instant]) -> Option<Instant> {
    const WINDOW: Duration = Duration::from_millis(250);
    let &killed = before.last()?;
    let usual = before.iter().filter(|&&at| at + 8 * WINDOW > killed).count() / 8;
    let enough = (usual * 9 / 10).max(1);
    after
        .windows(enough)
        .find(|successes| successes[enough - 1] - successes[0] <= WINDOW)
        .map(|successes| successes[enough - 1])
}

pub(crate) fn print_table(plain: &Figures, guarded: &Figures) {
    let row = |name: &str, figure: fn(&Figures) -> String| {
        println!("{name:<50}{:>12}{:>12}", figure(plain), figure(guarded));
    };
    println!("\n{:<50}{:>12}{:>12}", "enabled", "false", "true");
    row("attempts against the dead service", |run| run.attempts.to_string());
    row("calls that failed", |run| run.failed.to_string());
    row("callers waited to learn it was down: median", |run| time(Some(run.median)));
    row("                                     p99", |run| time(Some(run.p99)));
    row("from the service's return to the first success", |run| time(run.first_success));
    row("                          to full traffic", |run| time(run.full_traffic));
    println!("first success: an open circuit asks again every `recovery_timeout`, here 800 ms");
    println!("full traffic: 250 ms with 90 % of the successes of 250 ms before the outage");
}

fn time(time: Option<Duration>) -> String {
    time.map_or("never".to_owned(), |time| format!("{time:.1?}"))
}
