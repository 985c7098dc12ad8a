//! The rate of failures that is too high for an operation, learnt from its own history.
//!
//! The history is read in *segments*, tenths of a window. Of their rates it keeps a smoothed mean,
//! the *baseline*, and a smoothed mean deviation from it, as TCP does of round-trip times (Jacobson
//! 1988, RFC 6298), and what lies more than [`DEVIATIONS`] deviations above the baseline is too
//! high. Three things are different here:
//!
//! - A segment weighs as much as it has calls, and until [`FULL`] of them have been seen the
//!   threshold is on its way down from the upper bound.
//! - Bad times must not become normal. What lies above the threshold teaches nothing, nor does what
//!   comes between, and the threshold stays below [`FLOORS`] times the *floor*, a slow mean that
//!   only falls.
//! - A high rate is believed when it has lasted longer than a window, that is in [`RUN`] segments
//!   (a run rule, as on a control chart: Western Electric 1956). A shorter burst cannot touch so
//!   many. What reaches the upper bound in the window as a whole opens without that.
//!
//! Everything is in integers, in constant memory.

use super::Figures;

/// A rate of failures, in parts of [`ALL`].
type Rate = u64;
const ALL: Rate = 1 << 24;

/// As many mean deviations above the baseline are normal, 2.4 standard deviations if rates are
/// spread as usual. RFC 6298 takes four, but has one sample to judge by, and here it takes a run.
const DEVIATIONS: u64 = 3;
/// And never less than this part of the baseline: what fails regularly, or so often that chance
/// evens out, has no deviation to speak of, and would open at what is normal. (RFC 6298 has the
/// clock's granularity in this place.)
const LEAST_MARGIN: u64 = 2;
/// Calls after which the mean has forgotten all but e^-1 of what was before.
const MEMORY: u64 = 2_500;
/// The same of the floor.
const FLOOR_MEMORY: u64 = 10_000;
/// Calls that the history needs to be believed in full.
const FULL: u64 = 10_000;
/// The threshold is at most so many times the floor, unless the lower bound is above that.
const FLOORS: u64 = 3;
/// Where the floor ends: three times this is below any lower bound.
const LOWEST_FLOOR: Rate = ALL / 512;
/// Segments above the threshold that make an outage: less than a window touches eleven at most.
const RUN: u32 = 12;
/// What a segment below the threshold takes from the run.
const FALL: u32 = 2;
/// Segments with fewer calls are joined with the next.
const LEAST: u64 = 10;

/// The bounds, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::breaker) struct Bounds {
    pub(in crate::breaker) min: u64,
    pub(in crate::breaker) max: u64,
}

/// What has been learnt, in percent.
#[derive(Clone, Copy, Debug)]
pub(in crate::breaker) struct Learnt {
    pub(in crate::breaker) threshold: f64,
    pub(in crate::breaker) baseline: f64,
    pub(in crate::breaker) deviation: f64,
}

/// What has been learnt, and the segment that is going on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::breaker) struct Adaptive {
    baseline: Rate,
    deviation: Rate,
    floor: Rate,
    /// Calls learnt from, up to [`FULL`].
    seen: u64,
    /// Segments above the threshold, with those below it taken off.
    run: u32,
    calls: u64,
    failures: u64,
    /// Calls of the window's epoch that have been looked at.
    counted: u64,
    /// The threshold that was last told.
    told: Option<Rate>,
}

impl Adaptive {
    /// Knows nothing, and learns from what comes after so many calls of the window's epoch.
    pub(in crate::breaker) fn from(counted: u64) -> Self {
        Self { counted, ..Self::default() }
    }

    /// The window starts empty: what is going on is dropped, what was learnt stays.
    pub(in crate::breaker) fn restart(&mut self) {
        (self.run, self.calls, self.failures, self.counted) = (0, 0, 0, 0);
    }

    /// The rate that opens.
    pub(in crate::breaker) fn threshold(&self, bounds: Bounds) -> Rate {
        let [min, max] = [bounds.min, bounds.max].map(|percent| ALL * percent / 100);
        let margin = (DEVIATIONS * self.deviation).max(self.baseline / LEAST_MARGIN);
        let target = (self.baseline + margin).min(FLOORS * self.floor).clamp(min, max.max(min));
        max - (max - target.min(max)) * self.seen / FULL
    }

    pub(in crate::breaker) fn learnt(&self, bounds: Bounds) -> Learnt {
        Learnt {
            threshold: percent(self.threshold(bounds)),
            baseline: percent(self.baseline),
            deviation: percent(self.deviation),
        }
    }

    /// Whether the window is above the threshold, and has been for longer than it is.
    pub(in crate::breaker) fn lasts(&self, window: Figures, bounds: Bounds) -> bool {
        self.run >= RUN && reaches(window.failures, window.calls, self.threshold(bounds))
    }

    /// In a window of so many calls: there have been `counted` since it started, of those that were
    /// not yet looked at the last one failed or none has.
    pub(in crate::breaker) fn count(
        &mut self,
        window: u32,
        counted: u64,
        last_failed: bool,
        bounds: Bounds,
    ) {
        let length = u64::from(window).div_ceil(10).max(LEAST);
        let new = counted.saturating_sub(self.counted);
        self.counted = counted;
        let failed = u64::from(last_failed).min(new);
        self.successes(new - failed, length, bounds);
        if failed > 0 {
            self.calls += 1;
            self.failures += 1;
            self.end_at(length, bounds);
        }
    }

    /// In a window of time: a tenth of it is over, and held this.
    pub(in crate::breaker) fn bucket(&mut self, bucket: Figures, bounds: Bounds) {
        self.calls += bucket.calls;
        self.failures += bucket.failures;
        self.end_at(LEAST, bounds);
    }

    fn successes(&mut self, mut count: u64, length: u64, bounds: Bounds) {
        while count > 0 {
            let taken = count.min(length.saturating_sub(self.calls)).max(1);
            let clean = self.calls == 0 && taken == length;
            let before = clean.then(|| self.clone());
            self.calls += taken;
            count -= taken;
            self.end_at(length, bounds);
            if before.is_some_and(|before| before == *self) {
                // A segment without failures has nothing left to teach, and so have all others.
                count %= length;
            }
        }
    }

    fn end_at(&mut self, length: u64, bounds: Bounds) {
        if self.calls < length {
            return;
        }
        let (calls, failures) = (self.calls, self.failures);
        (self.calls, self.failures) = (0, 0);
        if reaches(failures, calls, self.threshold(bounds)) {
            self.run = (self.run + 1).min(RUN);
        } else {
            self.run = self.run.saturating_sub(FALL);
        }
        if self.run == 0 {
            self.learn(calls, rate(failures, calls));
        }
    }

    fn learn(&mut self, calls: u64, rate: Rate) {
        if self.seen == 0 {
            (self.baseline, self.deviation) = (rate, rate / 2);
        } else {
            // All calls weigh the same until there are more than the memory holds.
            let memory = (self.seen + calls).min(MEMORY);
            let error = rate.abs_diff(self.baseline);
            self.deviation = moved(self.deviation, error, calls, memory);
            self.baseline = moved(self.baseline, rate, calls, memory);
        }
        if self.seen < FULL {
            self.floor = self.baseline;
        } else {
            let lower = self.baseline.clamp(LOWEST_FLOOR.min(self.floor), self.floor);
            self.floor = moved(self.floor, lower, calls, FLOOR_MEMORY);
        }
        self.seen = (self.seen + calls).min(FULL);
    }

    /// In percent, where the threshold was, if it has moved by a percentage point since this was
    /// last said.
    pub(in crate::breaker) fn take_move(&mut self, bounds: Bounds) -> Option<f64> {
        let now = self.threshold(bounds);
        let told = *self.told.get_or_insert(ALL * bounds.max / 100);
        if now.abs_diff(told) < ALL / 100 {
            return None;
        }
        self.told = Some(now);
        Some(percent(told))
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people; decisions are in integers")]
fn percent(rate: Rate) -> f64 {
    rate as f64 * 100.0 / ALL as f64
}

/// The part `calls` of `memory` of the way from one rate to another; all of it at most, and never
/// nothing, or the last bit of the way would be without end.
fn moved(from: Rate, to: Rate, calls: u64, memory: u64) -> Rate {
    // Far from overflow: 2^24 times the memory.
    let step = (from.abs_diff(to) * calls.min(memory)).div_ceil(memory);
    if to > from { from + step } else { from - step }
}

fn rate(failures: u64, calls: u64) -> Rate {
    let rate = u128::from(failures) * u128::from(ALL) / u128::from(calls.max(1));
    // No more failures than calls.
    Rate::try_from(rate).unwrap_or(ALL).min(ALL)
}

fn reaches(failures: u64, calls: u64, threshold: Rate) -> bool {
    u128::from(failures) * u128::from(ALL) >= u128::from(threshold) * u128::from(calls)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { min: 10, max: 50 };

    fn threshold(adaptive: &Adaptive) -> f64 {
        adaptive.learnt(BOUNDS).threshold
    }

    fn segment(calls: u64, failures: u64) -> Figures {
        Figures { calls, failures, slow: 0 }
    }

    /// Has seen so many segments of a hundred calls with so many failures.
    fn after(segments: u64, failures: u64) -> Adaptive {
        let mut adaptive = Adaptive::default();
        (0..segments).for_each(|_| adaptive.bucket(segment(100, failures), BOUNDS));
        adaptive
    }

    #[test]
    fn ten_calls_move_it_little_and_ten_thousand_fully() {
        let mut adaptive = Adaptive::default();
        assert!((threshold(&adaptive) - 50.0).abs() < 0.01);
        adaptive.bucket(segment(10, 0), BOUNDS);
        assert!((49.9..50.0).contains(&threshold(&adaptive)), "{adaptive:?}");
        assert!((threshold(&after(50, 1)) - 30.0).abs() < 0.01, "half the way");
        assert!((threshold(&after(100, 1)) - 10.0).abs() < 0.01);

        let mut adaptive = after(100, 20);
        let before = adaptive.baseline;
        adaptive.bucket(segment(10, 0), BOUNDS);
        assert!(percent(before - adaptive.baseline) < 0.1);
        (0..100).for_each(|_| adaptive.bucket(segment(100, 2), BOUNDS));
        assert!((2.0..2.5).contains(&percent(adaptive.baseline)), "{adaptive:?}");
    }

    #[test]
    fn it_is_the_baseline_and_three_deviations() {
        let mut adaptive = Adaptive::default();
        for i in 0..400 {
            adaptive.bucket(segment(100, if i % 2 == 0 { 5 } else { 11 }), BOUNDS);
        }
        let learnt = adaptive.learnt(BOUNDS);
        assert!((7.8..8.2).contains(&learnt.baseline), "{learnt:?}");
        assert!((2.9..3.2).contains(&learnt.deviation), "{learnt:?}");
        let expected = learnt.baseline + 3.0 * learnt.deviation;
        assert!((learnt.threshold - expected).abs() < 0.01, "{learnt:?}");
    }

    #[test]
    fn less_than_a_window_touches_too_few_segments_and_more_than_one_is_an_outage() {
        let window = segment(1_000, 300);
        let mut adaptive = after(100, 1);
        for _ in 0..11 {
            adaptive.bucket(segment(100, 30), BOUNDS);
            assert!(!adaptive.lasts(window, BOUNDS));
        }
        adaptive.bucket(segment(100, 30), BOUNDS);
        assert!(adaptive.lasts(window, BOUNDS));
        assert!(!adaptive.lasts(segment(1_000, 99), BOUNDS), "the window itself must be above");
        adaptive.bucket(segment(100, 1), BOUNDS);
        assert!(!adaptive.lasts(window, BOUNDS), "it is over");
    }

    #[test]
    fn what_fails_without_deviation_does_not_open_at_what_is_normal() {
        // Every fifth call exactly; and so many that one segment is all that is remembered.
        for calls in [100, 100_000] {
            let mut adaptive = Adaptive::default();
            (0..1_000).for_each(|_| adaptive.bucket(segment(calls, calls / 5), BOUNDS));
            assert!((threshold(&adaptive) - 30.0).abs() < 0.01, "{adaptive:?}");
            let window = segment(10 * calls, 10 * calls / 5);
            assert!(!adaptive.lasts(window, BOUNDS));
            (0..12).for_each(|_| adaptive.bucket(segment(calls, calls * 22 / 100), BOUNDS));
            assert!(!adaptive.lasts(segment(10 * calls, calls * 220 / 100), BOUNDS));
        }
    }

    #[test]
    fn an_outage_teaches_nothing() {
        let mut adaptive = after(200, 3);
        let before = adaptive.learnt(BOUNDS);
        (0..1_000).for_each(|_| adaptive.bucket(segment(100, 30), BOUNDS));
        assert_eq!(format!("{:?}", adaptive.learnt(BOUNDS)), format!("{before:?}"));
    }

    #[test]
    fn however_slowly_it_creeps_failing_does_not_become_normal() {
        for (start, most) in [(50, 10.0), (800, 24.1)] {
            let mut adaptive = Adaptive::default();
            (0..10).for_each(|_| adaptive.bucket(segment(10_000, start), BOUNDS));
            for failures in start..6_000 {
                // A hundredth of a point in a hundred thousand calls.
                (0..10).for_each(|_| adaptive.bucket(segment(10_000, failures), BOUNDS));
                assert!(threshold(&adaptive) < most + 0.01, "{failures}: {adaptive:?}");
            }
            assert!(adaptive.lasts(segment(10_000, 6_000), BOUNDS));
        }
    }

    #[test]
    fn it_comes_down_again_when_the_operation_gets_better() {
        let mut adaptive = after(200, 12);
        (0..200).for_each(|_| adaptive.bucket(segment(100, 0), BOUNDS));
        assert!((threshold(&adaptive) - 10.0).abs() < 0.01, "{adaptive:?}");
    }

    #[test]
    fn a_start_of_the_window_keeps_what_was_learnt_and_not_what_is_going_on() {
        let mut adaptive = after(100, 8);
        let before = adaptive.learnt(BOUNDS);
        (0..12).for_each(|_| adaptive.bucket(segment(100, 40), BOUNDS));
        adaptive.bucket(segment(9, 9), BOUNDS);
        adaptive.restart();
        assert_eq!(format!("{:?}", adaptive.learnt(BOUNDS)), format!("{before:?}"));
        assert_eq!((adaptive.run, adaptive.calls, adaptive.failures), (0, 0, 0));
    }

    #[test]
    fn a_move_is_told_from_a_percentage_point_on() {
        let mut adaptive = Adaptive::default();
        let mut told = Vec::new();
        for _ in 0..200 {
            adaptive.bucket(segment(100, 1), BOUNDS);
            told.extend(adaptive.take_move(BOUNDS));
        }
        // It comes down by 0.4 points a segment.
        assert_eq!(told.len(), 33, "{told:?}");
        assert!(told.windows(2).all(|pair| pair[0] - pair[1] > 0.99), "{told:?}");
    }

    proptest! {
        #[test]
        fn it_never_leaves_its_bounds(
            (min, max) in (1..=100_u64).prop_flat_map(|max| (1..=max, Just(max))),
            segments in proptest::collection::vec((0..100_000_u64, 0..=100_u64), 0..200),
        ) {
            let bounds = Bounds { min, max };
            let mut adaptive = Adaptive::default();
            for (calls, percent) in segments {
                adaptive.bucket(segment(calls, calls * percent / 100), bounds);
                let threshold = adaptive.threshold(bounds);
                prop_assert!(ALL * min / 100 <= threshold && threshold <= ALL * max / 100);
            }
        }

        #[test]
        fn successes_by_the_number_are_successes_one_by_one(
            window in 1..3_000_u32,
            calls in proptest::collection::vec((0..3_000_u64, any::<bool>()), 0..60),
        ) {
            let [mut together, mut single] = [(); 2].map(|()| Adaptive::default());
            let mut counted = 0;
            for (successes, failed) in calls {
                for _ in 0..successes {
                    counted += 1;
                    single.count(window, counted, false, BOUNDS);
                }
                counted += u64::from(failed);
                single.count(window, counted, failed, BOUNDS);
                together.count(window, counted, failed, BOUNDS);
                prop_assert_eq!(&together, &single);
            }
        }
    }
}
