//! What happens, when, to how many.

use std::fmt;
use std::time::Duration;

use super::report::{count, seconds};

/// What happens to every policy in the same way.
///
/// ```
/// let scenario = bindu_cb_examples::storm::Scenario::new(10_000, 10, 1);
/// assert_eq!(scenario.calls_a_second(), 10_000);
/// assert_eq!(scenario.capacity, 12_500);
/// assert_eq!((scenario.outage, scenario.recovery), (120_000, 255_000));
/// assert_eq!(scenario.recovery_timeout, 30_000);
/// ```
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Each begins a call a second.
    pub workers: u32,
    /// Requests a second that the warm service can do.
    pub capacity: u32,
    /// Requests that may wait for it: the work of two seconds.
    pub queue: u32,
    /// How long it goes on. Times and lengths of time are in milliseconds.
    pub length: u64,
    /// When the service dies: after a fifth of the run.
    pub outage: u64,
    /// When it is back: four and a half times `recovery_timeout` later, in the middle of the wait of a
    /// circuit that opened at once. Neither luck nor misfortune.
    pub recovery: u64,
    /// How long it then takes to have all its capacity again.
    pub warm_up: u64,
    /// The setting of the circuits: a twentieth of the run, in ten minutes its default.
    pub recovery_timeout: u64,
    /// The setting of the circuits that have it.
    pub ramp_up: u64,
    /// Before the second attempt, about; before the third it is twice that.
    pub wait: u64,
    /// How long a client waits for an answer.
    pub patience: u64,
    /// The dead service does not refuse connections: it does not answer at all.
    pub hangs: bool,
    /// Of everything that is left to chance.
    pub seed: u64,
}

impl Scenario {
    /// Of so many workers and minutes.
    pub fn new(workers: u32, minutes: u32, seed: u64) -> Self {
        let length = u64::from(minutes) * 60_000;
        let capacity = workers + workers / 4;
        let (outage, recovery_timeout) = (length / 5, length / 20);
        Self {
            workers,
            capacity,
            queue: 2 * capacity,
            length,
            outage,
            recovery: outage + recovery_timeout * 9 / 2,
            warm_up: recovery_timeout * 3 / 2,
            recovery_timeout,
            ramp_up: recovery_timeout * 2,
            wait: 100,
            patience: 500,
            hangs: false,
            seed,
        }
    }

    /// As many as the workers begin, all together.
    pub fn calls_a_second(&self) -> u32 {
        self.workers
    }

    pub(super) fn is_down(&self, now: u64) -> bool {
        (self.outage..self.recovery).contains(&now)
    }

    /// What the service can do in this millisecond, in millionths of a request.
    pub(super) fn capacity_at(&self, now: u64) -> u64 {
        let all = u64::from(self.capacity) * 1_000;
        if self.is_down(now) {
            return 0;
        }
        match now.checked_sub(self.recovery) {
            Some(up) if up < self.warm_up => all / 10 + all * 9 / 10 * up / self.warm_up,
            _ => all,
        }
    }

    pub(super) fn seconds(&self) -> usize {
        usize::try_from(self.length / 1_000).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} workers, a call a second each, {} in all; the service can do {} requests a second.\n\
         It {} from {} to {}, comes back with a tenth of its capacity and is warm {} later.\n\
         Circuits: `recovery_timeout` {}, `ramp_up` {}. Retries after about {} and {}. Seed {}.\n",
            count(self.workers.into()),
            seconds(self.length),
            count(self.capacity.into()),
            if self.hangs { "hangs" } else { "is dead" },
            seconds(self.outage),
            seconds(self.recovery),
            seconds(self.warm_up),
            seconds(self.recovery_timeout),
            seconds(self.ramp_up),
            seconds(self.wait),
            seconds(2 * self.wait),
            self.seed,
        )
    }
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
