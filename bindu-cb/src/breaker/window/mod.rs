//! Sliding windows: how many of the last calls failed, and how many were slow.
//!
//! A window has two halves. What is rare, failures, slow calls and the first calls after a start,
//! is noted under the circuit's lock, in a ring ([`CallWindow`]) or in buckets ([`TimeWindow`]).
//! A fast success only adds one to a cell of its own thread ([`cells`]), under a tag that says
//! which window, and in a time window which bucket, it belongs to; whoever decides sums the cells.
//!
//! Both halves agree on *epochs*: a window that starts empty has a new one, and no tag of an older
//! epoch is ever counted again.

pub(super) mod adaptive;
pub(super) mod cells;
mod ring;
mod time;

use crate::name::Why;
use crate::settings::{CircuitBreakerSettings, Window};
use adaptive::{Adaptive, Bounds};
use cells::WindowCells;
use ring::Ring;
pub(super) use time::{Grid, TimeWindow};

/// Buckets of a time window: it is exact to a tenth.
const BUCKETS: usize = 10;
/// The low bits of a tag number the buckets of an epoch: at a millisecond each, eight years.
const BUCKET_BITS: u32 = 38;

/// Which window, and which bucket of it, a fast success was counted for.
pub(super) type Tag = u64;

fn first_tag(epoch: u64) -> Tag {
    epoch << BUCKET_BITS
}

/// Where a tag is kept: the ten of a window are in ten different places.
fn place(tag: Tag) -> usize {
    // The remainder is less than ten.
    usize::try_from(tag % BUCKETS as u64).unwrap_or(0)
}

/// What the last calls amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) slow: u64,
}

/// From when on a window opens the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    minimum_calls: u64,
    failure_rate: u64,
    /// `None` where no call is slow.
    slow_call_rate: Option<u64>,
    /// Of a threshold that is learnt; the upper one is the `failure_rate`.
    pub(super) adaptive: Option<Bounds>,
}

impl Limits {
    pub(super) fn of(settings: &CircuitBreakerSettings) -> Self {
        let minimum = settings.minimum_calls.unwrap_or(10);
        let [min, max] = [settings.adaptive_min, settings.adaptive_max].map(u64::from);
        let adaptive = settings.adaptive.then_some(Bounds { min, max });
        Self {
            minimum_calls: u64::from(match settings.window {
                Some(Window::Calls(calls)) => minimum.min(calls),
                _ => minimum,
            }),
            failure_rate: adaptive.map_or(u64::from(settings.failure_rate), |bounds| bounds.max),
            slow_call_rate: settings.slow_call.map(|_| u64::from(settings.slow_call_rate)),
            adaptive,
        }
    }

    pub(super) fn has_enough(self, figures: Figures) -> bool {
        figures.calls >= self.minimum_calls
    }

    /// In integers: 49.75 % is not 50 %.
    pub(super) fn reached_by(self, figures: Figures) -> Option<Why> {
        let Figures { calls, failures, slow } = figures;
        let reaches = |part: u64, percent: u64| {
            u128::from(part) * 100 >= u128::from(percent) * u128::from(calls)
        };
        if !self.has_enough(figures) {
            None
        } else if reaches(failures, self.failure_rate) {
            Some(Why::FailureRate { failures, calls, learnt: None })
        } else if self.slow_call_rate.is_some_and(|rate| reaches(slow, rate)) {
            Some(Why::SlowCallRate { slow, calls })
        } else {
            None
        }
    }

    /// The same by a threshold that is learnt, below that: only a failure reaches it.
    pub(super) fn reached_for_long(
        self,
        figures: Figures,
        failed: bool,
        adaptive: &Adaptive,
    ) -> Option<Why> {
        let Figures { calls, failures, .. } = figures;
        let long = failed && self.has_enough(figures) && adaptive.lasts(figures, self.adaptive?);
        long.then_some(Why::FailureRate { failures, calls, learnt: None })
    }
}

/// A window over the last so many calls.
pub(super) struct CallWindow {
    epoch: u64,
    ring: Ring,
    /// Calls that were noted here and not in a cell.
    noted: u64,
}

impl CallWindow {
    pub(super) fn new(calls: u32, epoch: u64) -> Self {
        Self { epoch, ring: Ring::new(calls), noted: 0 }
    }

    pub(super) fn restart(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.ring.clear();
        self.noted = 0;
    }

    /// Calls since it started, as far as they have been looked at.
    pub(super) fn counted(&self) -> u64 {
        self.ring.pushed()
    }

    pub(super) fn figures(&mut self, cells: &WindowCells) -> Figures {
        let tag = first_tag(self.epoch);
        self.ring.advance_to(cells.sum(tag, tag) + self.noted);
        self.ring.figures()
    }

    pub(super) fn record(&mut self, cells: &WindowCells, failed: bool, slow: bool) -> Figures {
        self.figures(cells);
        self.noted += 1;
        self.ring.push(failed, slow);
        self.ring.figures()
    }
}

/// The tag under which a count window's fast successes are counted.
pub(super) fn call_tag(epoch: u64) -> Tag {
    first_tag(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(minimum_calls: u64, failure_rate: u64, slow_call_rate: Option<u64>) -> Limits {
        Limits { minimum_calls, failure_rate, slow_call_rate, adaptive: None }
    }

    #[test]
    fn a_rate_is_reached_exactly_and_not_by_rounding() {
        let at = |failures, calls| Figures { calls, failures, slow: 0 };
        let half = limits(1, 50, None);
        assert!(half.reached_by(at(50, 100)).is_some());
        assert!(half.reached_by(at(199, 400)).is_none(), "49.75 %");
        assert!(half.reached_by(at(49, 100)).is_none());
        assert!(limits(1, 100, None).reached_by(at(7, 7)).is_some());
    }

    #[test]
    fn nothing_opens_before_there_are_enough_calls() {
        let all_failed = |calls| Figures { calls, failures: calls, slow: 0 };
        assert!(limits(10, 50, None).reached_by(all_failed(9)).is_none());
        assert!(limits(10, 50, None).reached_by(all_failed(10)).is_some());
    }

    #[test]
    fn slow_calls_open_only_where_a_call_can_be_slow() {
        let slow = Figures { calls: 10, failures: 0, slow: 10 };
        assert!(limits(10, 50, Some(100)).reached_by(slow).is_some());
        assert!(limits(10, 50, None).reached_by(slow).is_none());
    }
}
