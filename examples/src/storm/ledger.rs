//! What is written down while the storm goes on.

use bindu_cb::CircuitState;

use super::scenario::Scenario;

/// Everything that was seen under one policy.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// By the second; the last one of those that the run touches may be unfinished.
    pub seconds: Vec<Second>,
    /// Requests to the dead service, by the millisecond of the outage.
    pub dead: Vec<u32>,
    /// What circuits have done.
    pub changes: Vec<Change>,
    /// Calls that began in the outage.
    pub calls_in_the_outage: u64,
    /// Calls that began in the outage and did not end well.
    pub lost_in_the_outage: u64,
    /// The same after the recovery: the service was there.
    pub lost_after: u64,
    outage: u64,
    recovery: u64,
}

/// A second of the run.
#[derive(Clone, Debug, Default)]
pub struct Second {
    /// What the service could do, in millionths of a request.
    pub capacity: u64,
    /// Calls that began.
    pub calls: u32,
    /// Requests that reached the service, or the place where it had been.
    pub requests: u32,
    /// Those of them that found it dead.
    pub dead: u32,
    /// Requests that the service did though nobody waited for them any more.
    pub in_vain: u32,
    /// Calls that ended well.
    pub good: u32,
    /// Calls that ended badly.
    pub failed: u32,
    /// Calls that circuits rejected, or whose loops they stopped.
    pub rejected: u32,
    /// Of all calls that ended well, in milliseconds.
    pub time: u64,
}

/// A circuit has changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, in milliseconds.
    pub at: u64,
    /// Whose circuit.
    pub replica: usize,
    /// What it is now.
    pub to: CircuitState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    Badly,
    Rejected,
}

impl Ledger {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let outage = usize::try_from(scenario.recovery - scenario.outage).unwrap_or(usize::MAX);
        Self {
            seconds: vec![Second::default(); scenario.seconds()],
            dead: vec![0; outage],
            changes: Vec::new(),
            calls_in_the_outage: 0,
            lost_in_the_outage: 0,
            lost_after: 0,
            outage: scenario.outage,
            recovery: scenario.recovery,
        }
    }

    pub(super) fn second(&mut self, now: u64) -> &mut Second {
        let index = usize::try_from(now / 1_000).unwrap_or(usize::MAX);
        &mut self.seconds[index]
    }

    /// A request to the dead service.
    pub(super) fn dead(&mut self, now: u64) {
        self.second(now).dead += 1;
        self.dead[usize::try_from(now - self.outage).unwrap_or(usize::MAX)] += 1;
    }

    pub(super) fn began(&mut self, now: u64) {
        self.second(now).calls += 1;
        if (self.outage..self.recovery).contains(&now) {
            self.calls_in_the_outage += 1;
        }
    }

    pub(super) fn ended(&mut self, began: u64, now: u64, how: Ended) {
        let second = self.second(now);
        match how {
            Ended::Well => {
                second.good += 1;
                second.time += now - began;
                return;
            }
            Ended::Badly => second.failed += 1,
            Ended::Rejected => second.rejected += 1,
        }
        if began >= self.recovery {
            self.lost_after += 1;
        } else if began >= self.outage {
            self.lost_in_the_outage += 1;
        }
    }
}
