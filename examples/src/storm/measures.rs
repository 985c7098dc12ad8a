//! The figures of a run.

use bindu_cb::CircuitState;

use super::ledger::{Change, Ledger, Second};
use super::scenario::Scenario;
use super::simulation::Run;

/// What a policy comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Calls that began while the service was dead.
    pub calls_in_the_outage: u64,
    /// Requests that were sent to it then.
    pub dead: u64,
    /// Calls that began in the outage and did not end well.
    pub lost_in_the_outage: u64,
    /// Calls that began after the recovery and did not end well: the service was there.
    pub lost_after: u64,
    /// From the recovery to the second from which on, to the end, all calls but one in twenty end
    /// well; in milliseconds. `None` if there is none.
    pub full_goodput: Option<u64>,
    /// The most requests in a second from the recovery on.
    pub peak: u64,
    /// The most that the service was asked for in a second from the recovery on, of what it could do
    /// in that second.
    pub peak_of_capacity: f64,
    /// Of a guarded policy whose circuits have all opened in the outage.
    pub probing: Option<Probing>,
}

/// What the dead service was sent once the circuits had opened, and what was in flight had ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Probing {
    /// From the beginning of the outage until the last circuit was open, in milliseconds.
    pub tripped_after: u64,
    /// Requests.
    pub sent: u64,
    /// A single circuit's: one each `recovery_timeout`, and later by the time that it waits for an
    /// answer if the service hangs.
    pub schedule: u64,
}

impl Figures {
    /// From what was seen.
    pub fn of(run: &Run, scenario: &Scenario) -> Self {
        let Ledger { seconds, dead, calls_in_the_outage, lost_in_the_outage, lost_after, .. } =
            &run.ledger;
        let after = &seconds[second(scenario.recovery)..];
        let load = |it: &Second| f64::from(it.requests - it.dead) / requests(it.capacity);
        Self {
            calls_in_the_outage: *calls_in_the_outage,
            dead: dead.iter().copied().map(u64::from).sum(),
            lost_in_the_outage: *lost_in_the_outage,
            lost_after: *lost_after,
            full_goodput: full_goodput(run, scenario),
            peak: after.iter().map(|it| u64::from(it.requests - it.dead)).max().unwrap_or(0),
            peak_of_capacity: after.iter().map(load).fold(0.0, f64::max),
            probing: probing(run, scenario),
        }
    }

    /// Requests to the dead service for each call.
    pub fn multiple(&self) -> f64 {
        self.dead as f64 / self.calls_in_the_outage as f64
    }
}

impl Probing {
    /// Requests of so many of a single schedule.
    pub fn of_schedule(&self) -> f64 {
        self.sent as f64 / self.schedule as f64
    }
}

pub(super) fn requests(millionths: u64) -> f64 {
    millionths as f64 / 1e6
}

fn second(millis: u64) -> usize {
    usize::try_from(millis / 1_000).unwrap_or(usize::MAX)
}

fn full_goodput(run: &Run, scenario: &Scenario) -> Option<u64> {
    let enough = scenario.calls_a_second() * 19 / 20;
    let last = run.ledger.seconds.iter().rposition(|it| it.good < enough)?;
    let from = (last as u64 + 1) * 1_000;
    (from < scenario.length).then(|| from.saturating_sub(scenario.recovery))
}

fn probing(run: &Run, scenario: &Scenario) -> Option<Probing> {
    let openings = |replica| {
        let opened = move |it: &&Change| it.replica == replica && it.to == CircuitState::Open;
        let mut openings = run.ledger.changes.iter().filter(opened).map(|it| it.at);
        openings.find(|at| scenario.is_down(*at))
    };
    let tripped: Option<Vec<u64>> = (0..run.policy.replicas).map(openings).collect();
    let tripped = tripped?;
    let (first, last) = (*tripped.iter().min()?, *tripped.iter().max()?);
    let ended = last + scenario.patience - scenario.outage;
    let sent = run.ledger.dead.get(usize::try_from(ended).ok()?..)?;
    Some(Probing {
        tripped_after: last - scenario.outage,
        sent: sent.iter().copied().map(u64::from).sum(),
        schedule: schedule(first, scenario),
    })
}

/// Probes of a circuit that has opened at this moment, until the recovery.
fn schedule(opened: u64, scenario: &Scenario) -> u64 {
    let wait = scenario.recovery_timeout;
    let probe = if scenario.hangs { scenario.patience } else { 0 };
    (scenario.recovery - opened).saturating_sub(wait).div_ceil(wait + probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `recovery_timeout` of 3 s and a patience of half a second.
    #[test]
    fn a_schedule_ends_before_the_recovery_and_waits_for_the_probes() {
        let dead = Scenario::new(200, 1, 1);
        let hanging = Scenario { hangs: true, ..dead.clone() };
        let of = |scenario: &Scenario, before: u64| schedule(scenario.recovery - before, scenario);
        assert_eq!([2_999, 3_000, 3_001, 6_000, 6_001].map(|it| of(&dead, it)), [0, 0, 1, 1, 2]);
        assert_eq!([3_000, 3_001, 6_500, 6_501].map(|it| of(&hanging, it)), [0, 1, 1, 2]);
    }
}
