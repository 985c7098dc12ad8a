//! Fast successes, in cells that only one thread writes.

use std::sync::atomic::Ordering;

use super::{BUCKETS, Tag, place};
use crate::breaker::threads::{self, OWNED};
use crate::sync::{self, AtomicU64};

/// A slot that is being changed belongs to no bucket. No epoch is the last one there can be.
const NOBODY: Tag = Tag::MAX;

struct Slot {
    tag: AtomicU64,
    count: AtomicU64,
}

// 256: the ten slots and no neighbour's.
#[repr(align(256))]
struct WindowCell([Slot; BUCKETS]);

pub(in crate::breaker) struct WindowCells(Box<[WindowCell; OWNED]>);

impl WindowCells {
    pub(in crate::breaker) fn new() -> Self {
        let slot = || Slot { tag: AtomicU64::new(NOBODY), count: AtomicU64::new(0) };
        let cell = || WindowCell(std::array::from_fn(|_| slot()));
        Self(Box::new(std::array::from_fn(|_| cell())))
    }

    /// Adds one under this tag. False for a thread without a cell.
    pub(in crate::breaker) fn add(&self, tag: Tag) -> bool {
        let number = threads::owned().unwrap_or_else(threads::assigned);
        let Some(cell) = self.0.get(number) else { return false };
        let slot = &cell.0[place(tag)];
        // Relaxed: this thread is the only one that writes here.
        let held = slot.tag.load(Ordering::Relaxed);
        if held == tag {
            let count = slot.count.load(Ordering::Relaxed);
            slot.count.store(count + 1, Ordering::Release);
            return true;
        }
        if held != NOBODY && held > tag {
            // Ten buckets late, or of an epoch that is over: it would not be counted anyway.
            return true;
        }
        // Release, partner of the Acquire loads in `sum`: who sees the new count sees at least
        // `NOBODY`, and does not take it for the old tag's.
        if !sync::mutated("no_nobody") {
            slot.tag.store(NOBODY, Ordering::Release);
        }
        slot.count.store(1, Ordering::Release);
        slot.tag.store(tag, Ordering::Release);
        true
    }

    /// What has been added under the tags from `first` to `last`, at most ten.
    pub(in crate::breaker) fn sum(&self, first: Tag, last: Tag) -> u64 {
        let slots = self.0.iter().flat_map(|cell| &cell.0);
        slots
            .map(|slot| {
                let tag = slot.tag.load(Ordering::Acquire);
                if tag < first || tag > last {
                    return 0;
                }
                // Acquire: partner of the Release stores in `add`.
                let count = slot.count.load(Ordering::Acquire);
                // The thread has moved on: this bucket is behind it, and behind the window soon.
                if slot.tag.load(Ordering::Relaxed) == tag { count } else { 0 }
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tag_has_its_own_sum_and_an_old_one_is_gone() {
        let cells = WindowCells::new();
        for (tag, times) in [(20, 3), (21, 2), (30, 1)] {
            (0..times).for_each(|_| assert!(cells.add(tag)));
        }
        assert_eq!(cells.sum(21, 30), 3);
        assert_eq!(cells.sum(20, 20), 0, "its slot is that of 30");
        cells.add(20);
        assert_eq!(cells.sum(20, 30), 3, "ten buckets late");
    }

    #[test]
    fn threads_add_to_the_same_sum() {
        let cells = WindowCells::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).filter(|_| cells.add(7)).count());
            }
        });
        assert_eq!(cells.sum(7, 7), 400);
    }
}
