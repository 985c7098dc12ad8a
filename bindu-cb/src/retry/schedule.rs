//! How long to wait: the exponential intervals, and the draw around them.
//!
//! Rule L3: the n-th interval is `min_wait * multiplier^(n-1)`, at most `max_wait`; the wait is
//! drawn evenly around it, within `jitter`, and never leaves `[min_wait, max_wait]`. Jitter after
//! the cap is why other crates' waits reach twice their maximum.

use std::time::Duration;

use crate::random;
use crate::settings::RetrySettings;

/// The waits of one call, endless.
pub(crate) struct Schedule {
    intervals: Intervals,
    jitter: f64,
    min_wait: Duration,
    max_wait: Duration,
}

impl Schedule {
    pub(crate) fn new(settings: &RetrySettings) -> Self {
        Self {
            intervals: Intervals::new(settings.min_wait, settings.max_wait, settings.multiplier),
            jitter: settings.jitter,
            min_wait: settings.min_wait,
            max_wait: settings.max_wait,
        }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let interval = self.intervals.next_interval().clamp(self.min_wait, self.max_wait);
        let low = random::scale(interval, 1.0 - self.jitter).max(self.min_wait);
        let high = random::scale(interval, 1.0 + self.jitter).min(self.max_wait);
        Some(random::duration_between(low, high))
    }
}

#[cfg(feature = "backoff")]
use with_backoff::Intervals;

#[cfg(feature = "backoff")]
mod with_backoff {
    use std::time::Duration;

    use backoff::backoff::Backoff;
    use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

    pub(super) struct Intervals {
        backoff: ExponentialBackoff,
    }

    impl Intervals {
        pub(super) fn new(min_wait: Duration, max_wait: Duration, multiplier: f64) -> Self {
            let backoff = ExponentialBackoffBuilder::new()
                .with_initial_interval(min_wait)
                .with_max_interval(max_wait)
                .with_multiplier(multiplier)
                // Its own draw comes after its cap, and its own time limit ends retries in
                // silence after 15 minutes: neither is wanted.
                .with_randomization_factor(0.0)
                .with_max_elapsed_time(None)
                .build();
            Self { backoff }
        }

        pub(super) fn next_interval(&mut self) -> Duration {
            // Not what `next_backoff` returns: that is drawn even if there is nothing to draw, and may
            // be a nanosecond more, for which a timer takes a millisecond.
            let interval = self.backoff.current_interval;
            let _ = self.backoff.next_backoff();
            interval
        }
    }
}

#[cfg(not(feature = "backoff"))]
use plain::Intervals;

#[cfg(not(feature = "backoff"))]
mod plain {
    use std::time::Duration;

    use crate::random;

    pub(super) struct Intervals {
        next: Duration,
        max_wait: Duration,
        multiplier: f64,
    }

    impl Intervals {
        pub(super) fn new(min_wait: Duration, max_wait: Duration, multiplier: f64) -> Self {
            Self { next: min_wait, max_wait, multiplier }
        }

        pub(super) fn next_interval(&mut self) -> Duration {
            let interval = self.next;
            self.next = random::scale(interval, self.multiplier).min(self.max_wait);
            interval
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(Duration::ZERO),
            Just(Duration::MAX),
            (0..10_000_000_000_u64).prop_map(Duration::from_nanos),
            any::<u64>().prop_map(Duration::from_nanos),
            (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(s, n)| Duration::new(s, n)),
        ]
    }

    fn settings(min: Duration, max: Duration, multiplier: f64, jitter: f64) -> RetrySettings {
        RetrySettings::default().min_wait(min).max_wait(max).multiplier(multiplier).jitter(jitter)
    }

    #[test]
    fn without_jitter_every_wait_is_the_interval_to_the_nanosecond() {
        let settings =
            settings(Duration::from_mins(10), Duration::from_hours(1), 1.0, 0.0).attempts(2);
        let mut waits = Schedule::new(&settings);
        assert!(waits.by_ref().take(200_000).all(|wait| wait == settings.min_wait));
    }

    /// What L3 says, in seconds and by the book.
    fn interval(settings: &RetrySettings, n: i32) -> f64 {
        (settings.min_wait.as_secs_f64() * settings.multiplier.powi(n - 1))
            .min(settings.max_wait.as_secs_f64())
    }

    proptest! {
        #[test]
        fn every_wait_lies_where_l3_says(
            a in any_duration(),
            b in any_duration(),
            multiplier in prop_oneof![1.0..10.0, Just(1.0), Just(f64::MAX)],
            jitter in prop_oneof![0.0..=1.0, Just(0.0), Just(1.0)],
            n in 1..200_i32,
        ) {
            let settings = settings(a.min(b), a.max(b), multiplier, jitter);
            let wait = Schedule::new(&settings).nth(usize::try_from(n - 1).unwrap()).unwrap();
            prop_assert!((settings.min_wait..=settings.max_wait).contains(&wait));

            let by_the_book = interval(&settings, n);
            // A part in 10^9 and some nanoseconds a step, for what rounding has summed up.
            let slack = by_the_book * 1e-9 + f64::from(n) * 2e-9;
            let (wait, min, max) = (
                wait.as_secs_f64(),
                settings.min_wait.as_secs_f64(),
                settings.max_wait.as_secs_f64(),
            );
            if by_the_book.is_finite() && multiplier < 10.0 && min > 1e-6 {
                // Rounding a short first interval to nanoseconds is multiplied from then on.
                let slack = slack + by_the_book * f64::from(n) * 1e-9 / min;
                prop_assert!(wait >= (by_the_book * (1.0 - jitter)).max(min) - slack);
                prop_assert!(wait <= (by_the_book * (1.0 + jitter)).min(max) + slack);
            }
        }
    }

    #[test]
    fn without_jitter_the_intervals_double_up_to_the_cap() {
        let (min, max) = (Duration::from_millis(500), Duration::from_secs(5));
        let waits: Vec<_> = Schedule::new(&settings(min, max, 2.0, 0.0)).take(6).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 5_000, 5_000].map(Duration::from_millis));
    }

    #[test]
    fn the_millionth_wait_is_as_good_as_the_first() {
        let (min, max) = (Duration::from_nanos(1), Duration::MAX);
        let wait = Schedule::new(&settings(min, max, 2.0, 0.0)).nth(1_000_000).unwrap();
        assert!(wait > Duration::from_secs(1 << 40));
    }

    #[test]
    fn jitter_reaches_both_sides_of_the_interval() {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(100));
        let waits: Vec<_> = (0..1_000)
            .map(|_| Schedule::new(&settings(min, max, 10.0, 0.5)).nth(1).unwrap().as_secs_f64())
            .collect();
        assert!(waits.iter().any(|wait| *wait < 7.0) && waits.iter().any(|wait| *wait > 13.0));
        assert!(waits.iter().all(|wait| (5.0..=15.0).contains(wait)));
    }
}
