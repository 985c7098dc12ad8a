//! Small numbers for threads, so that each can have a cell of its own in every circuit.
//!
//! A number is handed back when its thread ends and given to the next one. Threads beyond the
//! first [`OWNED`] have none.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// Threads with a number of their own.
pub(super) const OWNED: usize = if cfg!(all(test, loom)) { 3 } else { 16 };
/// Not asked for a number yet. Far above [`OWNED`]: one comparison tells a thread that has its
/// number.
const UNASSIGNED: usize = usize::MAX;
/// Has none of its own.
const NONE: usize = usize::MAX - 1;

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
        NUMBER.set(NONE);
        if self.0 < OWNED {
            // Release: partner of the Acquire in `take`.
            TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
}

/// This thread's number. Far above [`OWNED`] if it has none of its own, or has not asked for it yet:
/// then see [`assigned`].
#[inline]
pub(super) fn number() -> usize {
    #[cfg(all(test, loom))]
    return super::models::number();
    #[cfg(not(all(test, loom)))]
    NUMBER.get()
}

/// The same; `None` for a thread that has no number, or none yet.
#[inline]
pub(super) fn owned() -> Option<usize> {
    let number = number();
    (number < OWNED).then_some(number)
}

/// This thread's number, assigned if it has not asked before; [`OWNED`] if it has none of its own.
#[cold]
pub(super) fn assigned() -> usize {
    #[cfg(all(test, loom))]
    return super::models::number();
    #[cfg(not(all(test, loom)))]
    assign()
}

#[cfg_attr(all(test, loom), expect(dead_code, reason = "the models hand out their own"))]
fn assign() -> usize {
    let number = NUMBER.get();
    if number != UNASSIGNED {
        return number.min(OWNED);
    }
    let number = LEASE.try_with(|lease| lease.0).unwrap_or(OWNED);
    NUMBER.set(if number < OWNED { number } else { NONE });
    number
}
