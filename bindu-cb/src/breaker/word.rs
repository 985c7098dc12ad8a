//! The whole decision state of a circuit in one atomic word.
//!
//! One load gives a state, its counter and the generation that both belong to, so no reader ever
//! sees half a transition. From the top: state 3 bits, ramp 1, re-opens 8 (saturating), count 16,
//! generation 36. A closed circuit without failures is the bare generation: the state `closed` is
//! zero and so is everything above the generation, which makes the check of a fast success one
//! comparison.
//!
//! The ramp bit marks a closed circuit that does not let everybody through yet. While it is set the
//! re-opens stay: it opens again as the one that it was.

use super::CircuitState;

const GENERATION_BITS: u32 = 36;
const COUNT_SHIFT: u32 = GENERATION_BITS;
const REOPENS_SHIFT: u32 = COUNT_SHIFT + 16;
const RAMP: u64 = 1 << (REOPENS_SHIFT + 8);
const STATE_SHIFT: u32 = REOPENS_SHIFT + 8 + 1;

const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

/// Compared for equality only. At two thousand changes a second it wraps after a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Generation {
    pub(crate) const BITS: u32 = GENERATION_BITS;

    pub(crate) fn from_low_bits(bits: u64) -> Self {
        Self(bits & GENERATION_MASK)
    }

    /// Which of the two deadline slots belongs to this generation.
    pub(crate) fn slot(self) -> usize {
        usize::from(self.0 & 1 == 1)
    }

    pub(crate) fn as_u64(self) -> u64 {
        self.0
    }

    fn next(self) -> Self {
        Self((self.0 + 1) & GENERATION_MASK)
    }

    /// One that is past, for what belongs to none that is in force.
    pub(crate) fn another(self) -> Self {
        Self(self.0.wrapping_sub(1) & GENERATION_MASK)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    /// Closed, nothing counted, generation zero.
    pub(crate) const NEW: Self = Self(0);

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn state(self) -> CircuitState {
        match self.0 >> STATE_SHIFT {
            0 => CircuitState::Closed,
            1 => CircuitState::Open,
            2 => CircuitState::HalfOpen,
            3 => CircuitState::ForcedOpen,
            _ => CircuitState::ForcedClosed,
        }
    }

    #[inline]
    pub(crate) fn generation(self) -> Generation {
        Generation(self.0 & GENERATION_MASK)
    }

    /// Closed, and for everybody.
    #[inline]
    pub(crate) fn lets_all_through(self) -> bool {
        self.0 >> RAMP.trailing_zeros() == 0
    }

    pub(crate) fn is_ramping_up(self) -> bool {
        self.0 & RAMP != 0
    }

    pub(crate) fn ramping_up(self) -> Self {
        Self(self.0 | RAMP)
    }

    /// The ramp is over: re-opens start over.
    pub(crate) fn ramped_up(self) -> Self {
        Self(self.0 & !(RAMP | 0xff << REOPENS_SHIFT))
    }

    /// Closed: consecutive failures. Half-open: consecutive probe successes.
    pub(crate) fn count(self) -> u32 {
        let [low, high, ..] = (self.0 >> COUNT_SHIFT).to_le_bytes();
        u32::from(u16::from_le_bytes([low, high]))
    }

    /// How often in a row the circuit opened again without having closed.
    pub(crate) fn reopens(self) -> u8 {
        (self.0 >> REOPENS_SHIFT).to_le_bytes()[0]
    }

    /// Closed with nothing counted, in this generation: what nearly every success finds.
    #[inline]
    pub(crate) fn is_untroubled(self, generation: Generation) -> bool {
        self.0 == generation.0
    }

    pub(crate) fn with_count(self, count: u32) -> Self {
        let count = u64::from(u16::try_from(count).unwrap_or(u16::MAX));
        Self(self.0 & !(0xffff << COUNT_SHIFT) | count << COUNT_SHIFT)
    }

    #[cfg(any(feature = "redis", loom))]
    pub(crate) fn with_reopens(self, reopens: u8) -> Self {
        Self(self.0 & !(0xff << REOPENS_SHIFT) | u64::from(reopens) << REOPENS_SHIFT)
    }

    /// The first word of the next generation.
    pub(crate) fn next(self, state: CircuitState, reopens: u8) -> Self {
        let state = match state {
            CircuitState::Closed => 0,
            CircuitState::Open => 1,
            CircuitState::HalfOpen => 2,
            CircuitState::ForcedOpen => 3,
            CircuitState::ForcedClosed => 4,
        };
        Self(
            state << STATE_SHIFT | u64::from(reopens) << REOPENS_SHIFT | self.generation().next().0,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [CircuitState; 5] = [
        CircuitState::Closed,
        CircuitState::Open,
        CircuitState::HalfOpen,
        CircuitState::ForcedOpen,
        CircuitState::ForcedClosed,
    ];

    #[test]
    fn every_field_comes_back_as_it_went_in() {
        for state in STATES {
            for reopens in [0, 1, u8::MAX] {
                for count in [0, 1, 65_535] {
                    let word = Word::NEW.next(state, reopens).with_count(count);
                    assert_eq!(word.state(), state);
                    assert_eq!(word.reopens(), reopens);
                    assert_eq!(word.count(), count);
                    assert_eq!(word.generation(), Word::NEW.generation().next());
                }
            }
        }
    }

    #[test]
    fn a_count_past_its_field_saturates_and_spills_nowhere() {
        let word = Word::NEW.next(CircuitState::HalfOpen, 7).with_count(u32::MAX);
        assert_eq!((word.count(), word.reopens()), (65_535, 7));
    }

    #[test]
    fn the_generation_wraps_without_touching_the_state() {
        let last = Word::from_bits(GENERATION_MASK);
        let next = last.next(CircuitState::Open, 0);
        assert_eq!(next.generation(), Generation(0));
        assert_eq!(next.state(), CircuitState::Open);
    }

    #[test]
    fn a_ramp_is_a_mark_on_the_same_state_and_ends_with_the_re_opens() {
        let ramp = Word::NEW.next(CircuitState::Closed, 3).ramping_up().with_count(2);
        assert_eq!((ramp.state(), ramp.reopens(), ramp.count()), (CircuitState::Closed, 3, 2));
        assert!(ramp.is_ramping_up() && !ramp.lets_all_through());
        let over = ramp.ramped_up();
        assert_eq!((over.state(), over.reopens(), over.count()), (CircuitState::Closed, 0, 2));
        assert_eq!(over.generation(), ramp.generation());
        assert!(!over.is_ramping_up() && over.lets_all_through());
    }

    #[test]
    fn only_closed_without_failures_is_untroubled() {
        let closed = Word::NEW.next(CircuitState::Closed, 0);
        assert!(closed.is_untroubled(closed.generation()));
        assert!(!closed.with_count(1).is_untroubled(closed.generation()));
        for state in &STATES[1..] {
            let word = Word::NEW.next(*state, 0);
            assert!(!word.is_untroubled(word.generation()));
        }
    }
}
