//! Calls counted by outcome, on cells that only one thread writes.
//!
//! A shared `fetch_add` costs a cache line that moves between the cores on every call. Here each
//! of the first [`OWNED`] threads has a cell of its own in every circuit and adds to it with a
//! plain load and store; all further threads share the last cell and add with `fetch_add`.

use std::sync::atomic::Ordering;

use super::sync::AtomicU64;
use super::threads::{self, OWNED};

/// What a call was to its circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure,
    Ignored,
    Cancelled,
    Rejected,
    Stale,
}

const OUTCOMES: usize = 6;

// 128: adjacent lines are fetched in pairs on current x86 and are 128 bytes on some ARM.
#[derive(Default)]
#[repr(align(128))]
struct CounterCell([AtomicU64; OUTCOMES]);

pub(crate) struct Counters(Box<[CounterCell; OWNED + 1]>);

impl Counters {
    pub(crate) fn new() -> Self {
        Self(Box::new(std::array::from_fn(|_| CounterCell::default())))
    }

    /// Returns what the cell had counted before.
    #[inline]
    pub(crate) fn add(&self, outcome: Outcome) -> u64 {
        match threads::owned() {
            Some(number) => self.add_as(number, outcome),
            None => self.add_unnumbered(outcome),
        }
    }

    /// For the thread with this number.
    #[inline]
    pub(super) fn add_as(&self, owner: usize, outcome: Outcome) -> u64 {
        let counter = &self.0[owner].0[outcome as usize];
        // Relaxed: only this thread writes here, and a reader wants no more than a recent value.
        let before = counter.load(Ordering::Relaxed);
        counter.store(before + 1, Ordering::Relaxed);
        before
    }

    #[cold]
    fn add_unnumbered(&self, outcome: Outcome) -> u64 {
        let number = threads::assigned();
        if number < OWNED {
            self.add_as(number, outcome)
        } else {
            // Relaxed: a count, of which nothing else depends.
            self.0[OWNED].0[outcome as usize].fetch_add(1, Ordering::Relaxed)
        }
    }

    /// All calls that have ended and were not rejected.
    pub(crate) fn ran(&self) -> u64 {
        // Relaxed, as in `total`.
        let ended = self.0.iter().flat_map(|cell| &cell.0).map(|c| c.load(Ordering::Relaxed));
        let rejected =
            self.0.iter().map(|cell| cell.0[Outcome::Rejected as usize].load(Ordering::Relaxed));
        ended.sum::<u64>().saturating_sub(rejected.sum())
    }

    pub(crate) fn total(&self) -> CallCounts {
        // Relaxed: figures at rest are exact; while calls go on they are those of some moment.
        let sum = |outcome: Outcome| {
            self.0.iter().map(|cell| cell.0[outcome as usize].load(Ordering::Relaxed)).sum()
        };
        CallCounts {
            success: sum(Outcome::Success),
            failure: sum(Outcome::Failure),
            ignored: sum(Outcome::Ignored),
            cancelled: sum(Outcome::Cancelled),
            rejected: sum(Outcome::Rejected),
            stale: sum(Outcome::Stale),
        }
    }
}

/// Calls by outcome since the circuit was made.
///
/// Every call ends in exactly one of these, so their sum is the number of calls that have ended.
/// With `count = "attempt"` it is attempts that are counted.
///
/// ```
/// let circuit = bindu_cb::CircuitBreaker::new("call-counts", Default::default());
/// circuit.try_acquire().unwrap().success();
/// circuit.try_acquire().unwrap().ignore();
/// let calls = circuit.snapshot().calls;
/// assert_eq!((calls.success, calls.ignored, calls.failure), (1, 1, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallCounts {
    /// The service answered.
    pub success: u64,
    /// The service failed.
    pub failure: u64,
    /// The result says nothing of the service, such as an inner circuit's rejection.
    pub ignored: u64,
    /// Dropped before any attempt had failed.
    pub cancelled: u64,
    /// Turned away because the circuit was open. In dry run: would have been.
    pub rejected: u64,
    /// Ended after the circuit had changed its state: belongs to no count that decides.
    pub stale: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};

    #[test]
    fn nothing_is_lost_by_threads_with_and_without_a_cell_of_their_own() {
        let counters = Arc::new(Counters::new());
        let threads = OWNED * 2;
        let all_alive = Arc::new(Barrier::new(threads));
        let handles: Vec<_> = (0..threads)
            .map(|_| {
                let (counters, all_alive) = (Arc::clone(&counters), Arc::clone(&all_alive));
                std::thread::spawn(move || {
                    for _ in 0..1_000 {
                        counters.add(Outcome::Success);
                    }
                    all_alive.wait();
                    counters.add(Outcome::Stale);
                })
            })
            .collect();
        for handle in handles {
            handle.join().expect("the thread only counts");
        }
        let total = counters.total();
        assert_eq!(total.success, 1_000 * threads as u64);
        assert_eq!(total.stale, threads as u64);
    }

    #[test]
    fn a_recycled_number_goes_on_from_where_its_last_owner_stopped() {
        let counters = Arc::new(Counters::new());
        for _ in 0..100 {
            let counters = Arc::clone(&counters);
            std::thread::spawn(move || counters.add(Outcome::Failure))
                .join()
                .expect("the thread only counts");
        }
        assert_eq!(counters.total().failure, 100);
    }
}
