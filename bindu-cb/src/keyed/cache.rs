//! What a thread remembers of the keys that it has met.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Weak};

use super::Slot;

/// Keys that a thread remembers at most, of all operations.
const MOST: usize = 1 << 14;

thread_local! {
    static KNOWN: RefCell<Known> = const { RefCell::new(Known::new()) };
}

/// Weakly: a circuit that is taken out of its operation's table is not kept by anybody's memory of
/// it, nor can it be had any more.
struct Known {
    slots: HashMap<u64, Weak<Slot>, BuildHasherDefault<Hashed>>,
    /// The size at which what is gone is looked for.
    clean_at: usize,
}

impl Known {
    const LEAST: usize = 64;

    const fn new() -> Self {
        let slots = HashMap::with_hasher(BuildHasherDefault::new());
        Self { slots, clean_at: Self::LEAST }
    }

    /// Twice what is left: so each key that is put in pays for looking at two.
    fn clean(&mut self) {
        self.slots.retain(|_, slot| slot.strong_count() > 0);
        if self.slots.len() >= MOST {
            self.slots.clear();
        }
        self.clean_at = (self.slots.len() * 2).max(Self::LEAST);
    }
}

#[inline]
pub(super) fn get(hash: u64) -> Option<Arc<Slot>> {
    // While the thread ends nothing is remembered.
    KNOWN.try_with(|known| known.borrow().slots.get(&hash)?.upgrade()).ok().flatten()
}

pub(super) fn put(hash: u64, slot: &Arc<Slot>) {
    let _ = KNOWN.try_with(|known| {
        let mut known = known.borrow_mut();
        if known.slots.len() >= known.clean_at {
            known.clean();
        }
        known.slots.insert(hash, Arc::downgrade(slot));
    });
}

/// A hash is none's to hash again.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
