//! What an outcome does to the word: pure functions, without clock, lock or memory.

use super::CircuitState;
use super::word::{Generation, Word};
use crate::sync;

/// The figures that decide, as they are in force when an outcome arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thresholds {
    pub(crate) failures: u32,
    pub(crate) successes: u32,
    /// Whether a circuit that closes lets everybody through only by and by.
    pub(crate) ramp_up: bool,
}

/// What becomes of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The outcome belongs to another generation and changes nothing.
    Stale,
    /// Counted where counts are kept; the word stays as it is.
    Keep,
    /// The same state with another count.
    Count(Word),
    /// Another state, another generation.
    Change(Word),
}

/// A recorded success of a call that was admitted under `generation`.
pub(crate) fn success(word: Word, generation: Generation, thresholds: Thresholds) -> Step {
    if word.generation() != generation {
        return Step::Stale;
    }
    match word.state() {
        CircuitState::Closed if word.count() == 0 => Step::Keep,
        CircuitState::Closed => Step::Count(word.with_count(0)),
        CircuitState::HalfOpen if word.count() + 1 >= thresholds.successes => {
            Step::Change(close(word, thresholds.ramp_up))
        }
        CircuitState::HalfOpen => Step::Count(word.with_count(word.count() + 1)),
        CircuitState::ForcedClosed => Step::Keep,
        CircuitState::Open | CircuitState::ForcedOpen => Step::Stale,
    }
}

/// A recorded failure of a call that was admitted under `generation`.
pub(crate) fn failure(word: Word, generation: Generation, thresholds: Thresholds) -> Step {
    if word.generation() != generation && !sync::mutated("any_generation") {
        return Step::Stale;
    }
    match word.state() {
        CircuitState::Closed if word.count() + 1 >= thresholds.failures => Step::Change(trip(word)),
        CircuitState::Closed => Step::Count(word.with_count(word.count() + 1)),
        CircuitState::HalfOpen => Step::Change(reopen(word)),
        CircuitState::ForcedClosed => Step::Keep,
        CircuitState::Open | CircuitState::ForcedOpen => Step::Stale,
    }
}

/// A closed circuit opens: for the first time, or, if it was not yet back at full, again.
pub(crate) fn trip(word: Word) -> Word {
    if word.is_ramping_up() { reopen(word) } else { word.next(CircuitState::Open, 0) }
}

fn reopen(word: Word) -> Word {
    word.next(CircuitState::Open, word.reopens().saturating_add(1))
}

/// The service is back. With a ramp it opens again, until that is over, as the one that it was.
pub(crate) fn close(word: Word, ramp_up: bool) -> Word {
    if ramp_up {
        word.next(CircuitState::Closed, word.reopens()).ramping_up()
    } else {
        word.next(CircuitState::Closed, 0)
    }
}

/// An outcome that decides nothing: ignored or cancelled.
pub(crate) fn neutral(word: Word, generation: Generation) -> Step {
    match word.state() {
        _ if word.generation() != generation => Step::Stale,
        CircuitState::Open | CircuitState::ForcedOpen => Step::Stale,
        CircuitState::Closed | CircuitState::HalfOpen | CircuitState::ForcedClosed => Step::Keep,
    }
}

/// The wait of this opening has passed and a call has come.
pub(crate) fn half_open(word: Word) -> Word {
    word.next(CircuitState::HalfOpen, word.reopens())
}

/// By hand: re-opens start over.
pub(crate) fn manual(word: Word, state: CircuitState) -> Word {
    word.next(state, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE_AND_TWO: Thresholds = Thresholds { failures: 3, successes: 2, ramp_up: false };

    fn closed() -> Word {
        Word::NEW.next(CircuitState::Closed, 0)
    }

    fn changed(step: Step) -> Word {
        match step {
            Step::Change(word) => word,
            other => panic!("expected a change of state, got {other:?}"),
        }
    }

    fn counted(step: Step) -> Word {
        match step {
            Step::Count(word) => word,
            other => panic!("expected a count, got {other:?}"),
        }
    }

    #[test]
    fn the_third_failure_in_a_row_opens() {
        let one = counted(failure(closed(), closed().generation(), THREE_AND_TWO));
        let two = counted(failure(one, one.generation(), THREE_AND_TWO));
        let open = changed(failure(two, two.generation(), THREE_AND_TWO));
        assert_eq!((open.state(), open.count(), open.reopens()), (CircuitState::Open, 0, 0));
        assert_ne!(open.generation(), two.generation());
    }

    #[test]
    fn a_success_in_between_starts_the_count_over() {
        let one = counted(failure(closed(), closed().generation(), THREE_AND_TWO));
        assert_eq!(counted(success(one, one.generation(), THREE_AND_TWO)), closed());
        assert_eq!(success(closed(), closed().generation(), THREE_AND_TWO), Step::Keep);
    }

    #[test]
    fn as_many_probe_successes_as_asked_for_close_and_forget_the_re_opens() {
        let half_open = Word::NEW.next(CircuitState::HalfOpen, 4);
        let one = counted(success(half_open, half_open.generation(), THREE_AND_TWO));
        let closed = changed(success(one, one.generation(), THREE_AND_TWO));
        assert_eq!(
            (closed.state(), closed.count(), closed.reopens()),
            (CircuitState::Closed, 0, 0)
        );
    }

    #[test]
    fn with_a_ramp_the_re_opens_stay_until_it_is_done() {
        let ramp_up = Thresholds { successes: 1, ramp_up: true, ..THREE_AND_TWO };
        let half_open = Word::NEW.next(CircuitState::HalfOpen, 4);
        let ramp = changed(success(half_open, half_open.generation(), ramp_up));
        assert_eq!((ramp.state(), ramp.reopens()), (CircuitState::Closed, 4));
        assert!(ramp.is_ramping_up());
        assert_eq!(trip(ramp).reopens(), 5, "opened again");
        assert_eq!(trip(ramp.ramped_up()).reopens(), 0, "opened anew");
    }

    #[test]
    fn one_probe_failure_opens_again_and_counts_the_re_open() {
        for (before, after) in [(0, 1), (4, 5), (u8::MAX, u8::MAX)] {
            let half_open = Word::NEW.next(CircuitState::HalfOpen, before).with_count(1);
            let open = changed(failure(half_open, half_open.generation(), THREE_AND_TWO));
            assert_eq!((open.state(), open.reopens()), (CircuitState::Open, after));
        }
    }

    #[test]
    fn an_outcome_of_another_generation_is_stale_in_every_state() {
        for state in [
            CircuitState::Closed,
            CircuitState::Open,
            CircuitState::HalfOpen,
            CircuitState::ForcedOpen,
            CircuitState::ForcedClosed,
        ] {
            let now = closed().next(state, 0);
            let then = closed().generation();
            assert_eq!(success(now, then, THREE_AND_TWO), Step::Stale);
            assert_eq!(failure(now, then, THREE_AND_TWO), Step::Stale);
            assert_eq!(neutral(now, then), Step::Stale);
        }
    }

    #[test]
    fn forced_closed_decides_nothing() {
        let forced = manual(closed(), CircuitState::ForcedClosed);
        for _ in 0..10 {
            assert_eq!(failure(forced, forced.generation(), THREE_AND_TWO), Step::Keep);
        }
        assert_eq!(success(forced, forced.generation(), THREE_AND_TWO), Step::Keep);
    }

    #[test]
    fn half_open_keeps_the_re_opens_and_manual_states_do_not() {
        let open = Word::NEW.next(CircuitState::Open, 9);
        assert_eq!(half_open(open).reopens(), 9);
        assert_eq!(manual(open, CircuitState::Closed).reopens(), 0);
    }
}
