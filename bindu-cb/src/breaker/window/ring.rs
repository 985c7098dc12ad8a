//! The last n calls, two bits each.

use super::Figures;

/// Remembers of each of the last n calls whether it failed and whether it was slow. Successes are
/// pushed by the number, in time that is linear in n / 64 at most, so nothing need be done when
/// one happens.
pub(super) struct Ring {
    size: u64,
    /// Calls pushed since the start; the next one's place is this modulo the size.
    pushed: u64,
    failed: Bits,
    slow: Bits,
}

impl Ring {
    pub(super) fn new(size: u32) -> Self {
        let size = u64::from(size.max(1));
        Self { size, pushed: 0, failed: Bits::new(size), slow: Bits::new(size) }
    }

    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    pub(super) fn clear(&mut self) {
        self.pushed = 0;
        self.failed.clear_all();
        self.slow.clear_all();
    }

    /// Pushes successes until so many calls have been pushed.
    pub(super) fn advance_to(&mut self, pushed: u64) {
        let new = pushed.saturating_sub(self.pushed);
        if new >= self.size {
            self.failed.clear_all();
            self.slow.clear_all();
        } else {
            let from = self.pushed % self.size;
            let first = new.min(self.size - from);
            for bits in [&mut self.failed, &mut self.slow] {
                bits.clear(from, from + first);
                bits.clear(0, new - first);
            }
        }
        self.pushed += new;
    }

    pub(super) fn push(&mut self, failed: bool, slow: bool) {
        let place = self.pushed % self.size;
        self.failed.set(place, failed);
        self.slow.set(place, slow);
        self.pushed += 1;
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            calls: self.pushed.min(self.size),
            failures: self.failed.ones,
            slow: self.slow.ones,
        }
    }
}

struct Bits {
    words: Box<[u64]>,
    ones: u64,
}

impl Bits {
    fn new(size: u64) -> Self {
        let words = usize::try_from(size.div_ceil(64)).unwrap_or(usize::MAX);
        Self { words: vec![0; words].into(), ones: 0 }
    }

    fn clear_all(&mut self) {
        if self.ones > 0 {
            self.words.fill(0);
            self.ones = 0;
        }
    }

    /// Clears the places from `from` on, before `to`.
    fn clear(&mut self, mut from: u64, to: u64) {
        while from < to && self.ones > 0 {
            let (word, bit) = place(from);
            let end = to.min((from / 64 + 1) * 64);
            let mask = ones(end - from) << bit;
            self.ones -= u64::from((self.words[word] & mask).count_ones());
            self.words[word] &= !mask;
            from = end;
        }
    }

    fn set(&mut self, at: u64, value: bool) {
        self.clear(at, at + 1);
        if value {
            let (word, bit) = place(at);
            self.words[word] |= 1 << bit;
            self.ones += 1;
        }
    }
}

fn place(at: u64) -> (usize, u32) {
    // The word's index is below the length of a vector, and the bit's below 64.
    let word = usize::try_from(at / 64).unwrap_or(usize::MAX);
    (word, u32::try_from(at % 64).unwrap_or(0))
}

/// So many low bits, up to all 64.
fn ones(count: u64) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Clone, Debug)]
    enum Step {
        Successes(u64),
        Call { failed: bool, slow: bool },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop_oneof![0..5_u64, 0..400_u64].prop_map(Step::Successes),
            any::<(bool, bool)>().prop_map(|(failed, slow)| Step::Call { failed, slow }),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_queue_of_the_last_n_calls(
            size in prop_oneof![1..5_u32, 1..300_u32],
            steps in proptest::collection::vec(step(), 1..200),
        ) {
            let mut ring = Ring::new(size);
            let mut queue = VecDeque::new();
            for step in steps {
                match step {
                    Step::Successes(count) => {
                        ring.advance_to(ring.pushed + count);
                        (0..count).for_each(|_| queue.push_back((false, false)));
                    }
                    Step::Call { failed, slow } => {
                        ring.push(failed, slow);
                        queue.push_back((failed, slow));
                    }
                }
                while queue.len() > size as usize {
                    queue.pop_front();
                }
                prop_assert_eq!(ring.figures(), Figures {
                    calls: queue.len() as u64,
                    failures: queue.iter().filter(|(failed, _)| *failed).count() as u64,
                    slow: queue.iter().filter(|(_, slow)| *slow).count() as u64,
                });
            }
        }
    }
}
