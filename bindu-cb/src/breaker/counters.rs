//! Calls counted by outcome, on cells that only one thread writes.
//!
//! A shared `fetch_add` costs a cache line that moves between the cores on every call. Here each
//! of the first [`OWNED`] threads has a cell of its own in every circuit and adds to it with a
//! plain load and store; all further threads share the last cell and add with `fetch_add`.
//! Thread numbers are handed back when a thread ends and given to the next one.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Threads with a cell of their own.
const OWNED: usize = 16;
/// Not asked for a number yet. Above [`OWNED`], so that one comparison sends it down the slow path.
const UNASSIGNED: usize = usize::MAX;

/// Numbers in use, a bit each.
static TAKEN: AtomicU32 = AtomicU32::new(0);

thread_local! {
    // Two variables, because the one without a destructor is read without a registration check.
    static NUMBER: Cell<usize> = const { Cell::new(UNASSIGNED) };
    static LEASE: NumberLease = NumberLease::take();
}

/// A thread's number, handed back when the thread ends.
struct NumberLease(usize);

impl NumberLease {
    fn take() -> Self {
        // Relaxed: a guess, which the exchange below checks.
        let mut taken = TAKEN.load(Ordering::Relaxed);
        loop {
            let free = taken.trailing_ones() as usize;
            if free >= OWNED {
                return Self(OWNED);
            }
            // Acquire: partner of the Release in `drop`. What the number's last owner stored in
            // the cells is seen by the next one, which goes on counting from there.
            match TAKEN.compare_exchange_weak(
                taken,
                taken | 1 << free,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Self(free),
                Err(now) => taken = now,
            }
        }
    }
}

impl Drop for NumberLease {
    fn drop(&mut self) {
        // A destructor that runs after this one may still record an outcome: on the shared cell.
        NUMBER.set(OWNED);
        if self.0 < OWNED {
            // Release: partner of the Acquire in `take`.
            TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
}

#[cold]
fn assign_number() -> usize {
    let number = LEASE.try_with(|lease| lease.0).unwrap_or(OWNED);
    NUMBER.set(number);
    number
}

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

pub(crate) struct Counters(Box<[CounterCell]>);

impl Counters {
    pub(crate) fn new() -> Self {
        Self((0..=OWNED).map(|_| CounterCell::default()).collect())
    }

    pub(crate) fn add(&self, outcome: Outcome) {
        let mut number = NUMBER.get();
        if number > OWNED {
            number = assign_number();
        }
        let counter = &self.0[number].0[outcome as usize];
        if number < OWNED {
            // Relaxed: only this thread writes here, and a reader wants no more than a recent value.
            counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            // Relaxed: a count, of which nothing else depends.
            counter.fetch_add(1, Ordering::Relaxed);
        }
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
