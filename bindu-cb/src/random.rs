//! Chance for jitter: fast, seeded once a thread from the process's hash keys. Not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0_u8));
}

/// From here on this thread draws what every thread draws that was given this seed.
#[cfg(feature = "test-util")]
pub(crate) fn seed(seed: u64) {
    STATE.set(seed);
}

/// Any 64 bits.
pub(crate) fn bits() -> u64 {
    // SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let state = STATE.try_with(|state| {
        state.set(state.get().wrapping_add(STEP));
        state.get()
    });
    // The thread is ending: any fixed point is as good as another.
    let mut z = state.unwrap_or(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Evenly from zero to one, one excluded.
fn unit() -> f64 {
    // 53 bits are exactly what an f64 holds.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let unit = (bits() >> 11) as f64 / (1_u64 << 53) as f64;
    unit
}

/// Evenly from `[low, high]`; `high` if they are the wrong way round.
pub(crate) fn duration_between(low: Duration, high: Duration) -> Duration {
    let width = high.saturating_sub(low);
    low.saturating_add(scale(width, unit())).min(high)
}

/// `duration * factor`, saturating.
pub(crate) fn scale(duration: Duration, factor: f64) -> Duration {
    if duration.is_zero() || (factor - 1.0).abs() < f64::EPSILON {
        // Exact, where floating point would round a long duration or make zero times infinity.
        return duration;
    }
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_within_their_bounds_and_reach_both_halves() {
        let (low, high) = (Duration::from_millis(100), Duration::from_millis(200));
        let draws: Vec<_> = (0..10_000).map(|_| duration_between(low, high)).collect();
        assert!(draws.iter().all(|draw| (low..=high).contains(draw)));
        let upper = draws.iter().filter(|draw| **draw > Duration::from_millis(150)).count();
        assert!((4_500..5_500).contains(&upper), "{upper} of 10000 in the upper half");
    }

    #[cfg(feature = "test-util")]
    #[test]
    fn the_same_seed_draws_the_same_and_another_one_does_not() {
        let draws = |of| {
            seed(of);
            [bits(), bits(), bits()]
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }

    #[test]
    fn nothing_overflows() {
        assert_eq!(scale(Duration::MAX, f64::MAX), Duration::MAX);
        assert_eq!(scale(Duration::ZERO, f64::INFINITY), Duration::ZERO);
        assert!(duration_between(Duration::ZERO, Duration::MAX) <= Duration::MAX);
        assert_eq!(duration_between(Duration::MAX, Duration::ZERO), Duration::ZERO);
    }
}
