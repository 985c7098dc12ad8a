//! Gradual closing: which part of the calls a circuit lets through that has just closed.

use std::sync::atomic::Ordering;

use super::leases::Nanos;
use crate::sync::AtomicU64;

/// A whole, in the unit of shares.
const ALL: u64 = 1 << 32;
/// What is let through at the beginning.
const FIRST: u64 = ALL / 10;

/// Touched only while a circuit is ramping up.
pub(super) struct Ramp {
    /// How long it takes; zero without a ramp.
    length: AtomicU64,
    began: AtomicU64,
    /// Shares that calls have brought; each whole one lets a call through.
    brought: AtomicU64,
}

impl Ramp {
    pub(super) fn new(length: Nanos) -> Self {
        Self {
            length: AtomicU64::new(length),
            began: AtomicU64::new(0),
            brought: AtomicU64::new(0),
        }
    }

    pub(super) fn set_length(&self, length: Nanos) {
        // Relaxed: a setting.
        self.length.store(length, Ordering::Relaxed);
    }

    /// Under the circuit's lock, before its word is marked: the swap of the word releases it.
    pub(super) fn begin(&self, now: Nanos) {
        self.began.store(now, Ordering::Relaxed);
        // The first call is let through.
        self.brought.store(ALL - 1, Ordering::Relaxed);
    }

    /// The share at this moment; `None` once it is everything.
    fn share(&self, now: Nanos) -> Option<u64> {
        // Relaxed: acquired with the word that is marked.
        let (began, length) =
            (self.began.load(Ordering::Relaxed), self.length.load(Ordering::Relaxed));
        let passed = now.saturating_sub(began);
        if passed >= length {
            return None;
        }
        let risen = u128::from(ALL - FIRST) * u128::from(passed) / u128::from(length);
        // Less than `ALL`.
        Some(FIRST + u64::try_from(risen).unwrap_or(0))
    }

    pub(super) fn is_over(&self, now: Nanos) -> bool {
        self.share(now).is_none()
    }

    /// The share as a part of one.
    pub(super) fn part(&self, now: Nanos) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "33 bits fit")]
        self.share(now).map(|share| share as f64 / ALL as f64)
    }

    /// Whether this call is one of those that are let through: they are spaced evenly among the
    /// others. `None` if the ramp is over.
    pub(super) fn lets_through(&self, now: Nanos) -> Option<bool> {
        let share = self.share(now)?;
        // Relaxed: a count. It wraps at a multiple of `ALL`.
        let before = self.brought.fetch_add(share, Ordering::Relaxed);
        Some(before / ALL != before.wrapping_add(share) / ALL)
    }

    /// How long the ramp goes on: never longer than it is, also if the clock was set back.
    pub(super) fn left(&self, now: Nanos) -> Nanos {
        let passed = now.saturating_sub(self.began.load(Ordering::Relaxed));
        self.length.load(Ordering::Relaxed).saturating_sub(passed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn let_through(ramp: &Ramp, now: Nanos, calls: u32) -> usize {
        (0..calls).filter(|_| ramp.lets_through(now) == Some(true)).count()
    }

    #[test]
    fn the_share_rises_evenly_from_a_tenth_to_all() {
        let ramp = Ramp::new(1_000);
        ramp.begin(500);
        for (now, part) in [(500, 100), (1_000, 550), (1_400, 910)] {
            let through = let_through(&ramp, now, 1_000);
            assert!(through.abs_diff(part) <= 1, "{through} of 1000 at {now}");
        }
        assert_eq!(ramp.lets_through(1_500), None);
        assert_eq!((ramp.left(1_400), ramp.left(1_500)), (100, 0));
    }

    #[test]
    fn the_first_call_goes_through_and_the_others_are_spaced() {
        let ramp = Ramp::new(1_000_000_000);
        ramp.begin(0);
        let calls: Vec<_> = (0..21).map(|_| ramp.lets_through(0).unwrap()).collect();
        let through: Vec<_> = (0..21).filter(|i| calls[*i]).collect();
        assert_eq!(through.len(), 3);
        assert_eq!(through[0], 0);
        assert!(through.windows(2).all(|pair| (10..=11).contains(&(pair[1] - pair[0]))));
    }

    #[test]
    fn a_clock_that_was_set_back_is_at_the_beginning_and_nothing_overflows() {
        let ramp = Ramp::new(10);
        ramp.begin(3_600);
        assert_eq!((ramp.part(0), ramp.left(0)), (ramp.part(3_600), 10));

        let ramp = Ramp::new(Nanos::MAX);
        ramp.begin(Nanos::MAX - 1);
        assert_eq!(ramp.part(0), ramp.part(Nanos::MAX - 1));
        assert!(ramp.lets_through(Nanos::MAX).is_some());
    }
}
