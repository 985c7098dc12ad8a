//! Calls counted by outcome, on cells that only one thread writes.
//!
//! A shared `fetch_add` costs a cache line that moves between the cores on every call. Here each
//! of the first [`OWNED`] threads has a cell of its own in every circuit and adds to it with a
//! plain load and store; all further threads share the last cell and add with `fetch_add`.
//!
//! That is two kilobytes. The circuit of a key, of which there may be thousands, has one cell for
//! all threads.

use std::sync::atomic::Ordering;

use super::threads::{self, OWNED};
use crate::random;
use crate::sync::AtomicU64;

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

pub(super) const OUTCOMES: usize = 6;

type Counts = [AtomicU64; OUTCOMES];

/// How far apart the turns of two threads start: 2 to the power of this, so that they do not meet. Of
/// such powers one whose multiples by the golden ratio, by which rejections are spread, lie evenly for
/// as few as there are cells.
const APART: u32 = 25;

// 128: adjacent lines are fetched in pairs on current x86 and are 128 bytes on some ARM.
#[repr(align(128))]
pub(super) struct CounterCell {
    counts: Counts,
    /// From where its turns go on.
    start: u64,
}

pub(crate) struct Counters {
    /// Those of the threads, and the last one for all further threads. Empty where there is but
    /// the one below.
    cells: Box<[CounterCell]>,
    only: Counts,
}

impl Counters {
    pub(crate) fn new() -> Self {
        let first = random::bits();
        let start = |index: usize| first.wrapping_add((index as u64) << APART);
        let cell = |index| CounterCell { counts: Counts::default(), start: start(index) };
        Self { cells: (0..=OWNED).map(cell).collect(), only: Counts::default() }
    }

    /// With one cell for all threads.
    pub(crate) fn compact() -> Self {
        Self { cells: Box::default(), only: Counts::default() }
    }

    /// Returns the turn of this call: one more than that of the last call with this outcome and
    /// this cell. Where the first cell starts from is chance, so that the turns of circuits and of
    /// processes are not the same, and the others start far from it and from each other. In the
    /// circuit of a key, which has no room to remember it, it is its address.
    #[inline]
    pub(crate) fn add(&self, outcome: Outcome) -> u64 {
        match self.own_cell() {
            Some(cell) => cell.add(outcome),
            None => self.add_elsewhere(outcome),
        }
    }

    /// The one that only this thread writes.
    #[inline]
    pub(super) fn own_cell(&self) -> Option<&CounterCell> {
        // One comparison: a thread without a number is past the end, and so is every one where
        // there are no cells.
        self.cells.get(threads::number())
    }

    #[inline(never)]
    fn add_elsewhere(&self, outcome: Outcome) -> u64 {
        let (shared, start) = match self.cells.split_last() {
            None => (&self.only, std::ptr::from_ref(&self.only).addr() as u64),
            Some((shared, own)) => match own.get(threads::assigned()) {
                Some(cell) => return cell.add(outcome),
                None => (&shared.counts, shared.start),
            },
        };
        // Relaxed: a count, of which nothing else depends.
        start.wrapping_add(shared[outcome as usize].fetch_add(1, Ordering::Relaxed))
    }

    fn sum(&self, outcome: Outcome) -> u64 {
        // Relaxed: figures at rest are exact; while calls go on they are those of some moment.
        let of = |counts: &Counts| counts[outcome as usize].load(Ordering::Relaxed);
        self.cells.iter().map(|cell| of(&cell.counts)).sum::<u64>() + of(&self.only)
    }

    /// All calls that have ended and were not rejected.
    pub(crate) fn ran(&self) -> u64 {
        let CallCounts { success, failure, ignored, cancelled, rejected: _, stale } = self.total();
        success + failure + ignored + cancelled + stale
    }

    #[cfg(any(feature = "redis", loom))]
    pub(super) fn rejected(&self) -> u64 {
        self.sum(Outcome::Rejected)
    }

    pub(crate) fn total(&self) -> CallCounts {
        CallCounts {
            success: self.sum(Outcome::Success),
            failure: self.sum(Outcome::Failure),
            ignored: self.sum(Outcome::Ignored),
            cancelled: self.sum(Outcome::Cancelled),
            rejected: self.sum(Outcome::Rejected),
            stale: self.sum(Outcome::Stale),
        }
    }
}

impl CounterCell {
    /// On the only thread that writes here.
    #[inline]
    pub(super) fn add(&self, outcome: Outcome) -> u64 {
        let counter = &self.counts[outcome as usize];
        // Relaxed: only this thread writes here, and a reader wants no more than a recent value.
        let before = counter.load(Ordering::Relaxed);
        counter.store(before + 1, Ordering::Relaxed);
        self.start.wrapping_add(before)
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
    /// Dropped before any attempt had failed, or kept from another one, or dropped, by a
    /// [shutdown](crate::Registry::shutdown).
    pub cancelled: u64,
    /// Turned away because the circuit was open. In dry run: would have been.
    pub rejected: u64,
    /// Ended after the circuit had changed its state: belongs to no count that decides.
    pub stale: u64,
}

#[cfg(feature = "otel")]
impl CallCounts {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            success: self.success + other.success,
            failure: self.failure + other.failure,
            ignored: self.ignored + other.ignored,
            cancelled: self.cancelled + other.cancelled,
            rejected: self.rejected + other.rejected,
            stale: self.stale + other.stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};

    #[test]
    fn nothing_is_lost_by_threads_with_and_without_a_cell_of_their_own() {
        counts_all(Counters::new());
        counts_all(Counters::compact());
    }

    fn counts_all(counters: Counters) {
        let counters = Arc::new(counters);
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
        assert_eq!(counters.ran(), 1_001 * threads as u64);
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
