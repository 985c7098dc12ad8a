//! The calls of the last so long, in ten buckets on a grid of the window's own.

use super::cells::WindowCells;
use super::{BUCKET_BITS, BUCKETS, Figures, Tag, first_tag, place};
use crate::breaker::leases::Nanos;

/// Where the buckets of a time window lie: they start when the window does, not on the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::breaker) struct Grid {
    pub(in crate::breaker) epoch: u64,
    pub(in crate::breaker) origin: Nanos,
    /// The width of a bucket, not zero.
    pub(in crate::breaker) width: Nanos,
}

impl Grid {
    pub(in crate::breaker) fn width_of(window: Nanos) -> Nanos {
        window.div_ceil(BUCKETS as u64).max(1)
    }

    /// The bucket of this moment. A clock that was set back before the start is in the first.
    pub(in crate::breaker) fn tag(self, now: Nanos) -> Tag {
        let bucket = now.saturating_sub(self.origin) / self.width;
        first_tag(self.epoch) + bucket.min((1 << BUCKET_BITS) - 1)
    }
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    tag: Tag,
    figures: Figures,
}

pub(in crate::breaker) struct TimeWindow {
    grid: Grid,
    buckets: [Bucket; BUCKETS],
    /// The last bucket that was looked at: it never goes back.
    latest: Tag,
    /// The bucket of the last call that was noted, as long as it has not been taken.
    noted: Option<Tag>,
}

impl TimeWindow {
    pub(in crate::breaker) fn new(grid: Grid) -> Self {
        Self { grid, buckets: Default::default(), latest: first_tag(grid.epoch), noted: None }
    }

    pub(in crate::breaker) fn restart(&mut self, grid: Grid) {
        *self = Self::new(grid);
    }

    /// The bucket in which the window ends now.
    pub(in crate::breaker) fn latest(&mut self, now: Nanos) -> Tag {
        self.latest = self.latest.max(self.grid.tag(now));
        self.latest
    }

    pub(in crate::breaker) fn figures(&mut self, cells: &WindowCells, now: Nanos) -> Figures {
        let last = self.latest(now);
        let first = last.saturating_sub(BUCKETS as u64 - 1).max(first_tag(self.grid.epoch));
        let fast = Figures { calls: cells.sum(first, last), ..Figures::default() };
        self.buckets.iter().filter(|bucket| (first..=last).contains(&bucket.tag)).fold(
            fast,
            |sum, bucket| Figures {
                calls: sum.calls + bucket.figures.calls,
                failures: sum.failures + bucket.figures.failures,
                slow: sum.slow + bucket.figures.slow,
            },
        )
    }

    /// What the last bucket with calls held, once it is over. Every bucket with calls has one that
    /// was noted, its first; so it is enough to ask before each is, and none is missed.
    pub(in crate::breaker) fn take_finished(
        &mut self,
        cells: &WindowCells,
        now: Nanos,
    ) -> Option<Figures> {
        let latest = self.latest(now);
        let tag = self.noted.take_if(|tag| *tag < latest)?;
        let noted = self.buckets[place(tag)].figures;
        Some(Figures { calls: noted.calls + cells.sum(tag, tag), ..noted })
    }

    pub(in crate::breaker) fn record(
        &mut self,
        cells: &WindowCells,
        now: Nanos,
        failed: bool,
        slow: bool,
    ) -> Figures {
        let tag = self.latest(now);
        self.noted = Some(tag);
        let bucket = &mut self.buckets[place(tag)];
        if bucket.tag != tag {
            *bucket = Bucket { tag, figures: Figures::default() };
        }
        bucket.figures.calls += 1;
        bucket.figures.failures += u64::from(failed);
        bucket.figures.slow += u64::from(slow);
        self.figures(cells, now)
    }
}
