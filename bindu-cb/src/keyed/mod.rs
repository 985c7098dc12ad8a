//! Circuits by key: each host, or tenant, has one of its own under the operation.
//!
//! A call finds its circuit among those that its thread knows ([`cache`]), without anything that
//! another thread writes; only a key that the thread has not met since it was made, or made anew,
//! is looked for in the operation's table, under a lock. The table alone owns the circuits. Calls
//! hold a share while they are under way, and threads remember weakly: so a circuit that is taken
//! out of the table while nobody holds a share is gone for every thread at that moment.
//!
//! There are at most `max_keys`. For another one a circuit must go that nobody has used since it was
//! last considered ("second chance", as pages are replaced), no call is using, and that keeps no call
//! away: never one that is open, before its time. One that has counted failures stays for another
//! `recovery_timeout`: else, of more keys than there is room for, none would live to open when the
//! service is down. What goes is lost with its counts. If there is none the call has the circuit of
//! the operation itself.

mod cache;
#[cfg(feature = "otel")]
mod gone;
mod text;

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(feature = "otel")]
use crate::breaker::CallCounts;
use crate::breaker::CircuitBreaker;
use crate::settings::{CircuitBreakerSettings, Resolved};
#[cfg(feature = "otel")]
use gone::Gone;
pub(crate) use text::with_text;

/// Longer keys are cut: callers choose them, and they are kept. The hash tells them apart.
const LONGEST_KEY: usize = 128;
/// Where one was cut.
const CUT: char = '…';
/// Steps through the table, in search of a circuit that may go, that can be saved up.
const MOST_STEPS: usize = 4_096;
/// Steps that every call in want of a circuit adds to those. While no circuit may go, this is what
/// a call costs.
const STEPS_OF_A_CALL: usize = 64;

/// The keys of an operation.
pub(crate) struct Keys {
    /// Tells one operation's keys from another's.
    id: u32,
    operation: Arc<CircuitBreaker>,
    /// Of a seed that nobody knows: keys may be chosen by strangers.
    hasher: RandomState,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    slots: BTreeMap<u64, Arc<Slot>>,
    /// The hash that was considered last.
    hand: u64,
    steps: usize,
    told_full: bool,
    /// What circuits had to tell the retry budget when they were taken away.
    ran_of_gone: u64,
    /// The calls of circuits that were taken away.
    #[cfg(feature = "otel")]
    calls_of_gone: Gone,
}

/// The place of a key, shared by the calls that are using it.
pub(crate) struct Slot {
    pub(crate) circuit: Arc<CircuitBreaker>,
    keys: u32,
    /// In the low bits the state; of one that is not used, above it, since when it has been spared
    /// for its failures.
    state: AtomicU32,
}

/// States of a slot: not used since it was made or last considered, used, and taken away.
const UNUSED: u32 = 0;
const USED: u32 = 1;
const GONE: u32 = 2;
const STATE_BITS: u32 = 2;

/// How long circuits with failures are spared, in milliseconds, which wrap after twelve days.
#[derive(Clone, Copy)]
struct Patience {
    now: u32,
    length: u32,
}

impl Patience {
    const MOST: u32 = u32::MAX >> STATE_BITS;

    fn of(operation: &CircuitBreaker) -> Self {
        let millis = |duration: Duration| {
            u32::try_from(duration.as_millis() & u128::from(Self::MOST)).unwrap_or(Self::MOST)
        };
        let longest = Duration::from_millis(u64::from(Self::MOST / 2));
        Self {
            // Zero is nothing yet. (Once in twelve days it is a moment, too, and spares once more.)
            now: (millis(Duration::from_nanos(operation.now())) + 1) & Self::MOST,
            length: millis(operation.recovery_timeout().min(longest)),
        }
    }

    fn is_over(self, since: u32) -> bool {
        self.now.wrapping_sub(since) & Self::MOST >= self.length
    }
}

impl Keys {
    pub(crate) fn new(operation: Arc<CircuitBreaker>) -> Self {
        static NEXT_ID: AtomicU32 = AtomicU32::new(0);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            operation,
            hasher: RandomState::new(),
            table: Mutex::default(),
        }
    }

    /// The place of a key, made if it is new. `None` where the operation's own circuit is to be
    /// used: it is off, or set by hand, or there is no room.
    #[inline]
    pub(crate) fn slot(&self, key: &str) -> Option<Arc<Slot>> {
        if !self.operation.leaves_it_to_keys() {
            return None;
        }
        let hash = self.hash(key);
        match cache::get(hash) {
            Some(slot) if slot.keys == self.id && slot.is_of(key) && slot.used() => Some(slot),
            _ => self.slot_of_table(key, hash),
        }
    }

    #[inline]
    fn hash(&self, key: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.as_bytes());
        hasher.finish()
    }

    #[cold]
    fn slot_of_table(&self, key: &str, hash: u64) -> Option<Arc<Slot>> {
        let mut table = self.table();
        if let Some(slot) = table.slots.get(&hash) {
            // Of two keys with one hash, which nobody can foresee, the second has no circuit.
            let slot = Arc::clone(slot);
            // Under the lock: whoever takes it away next comes after this call.
            let known = slot.is_of(key) && slot.used();
            drop(table);
            return known.then(|| {
                cache::put(hash, &slot);
                slot
            });
        }
        let limit = self.operation.max_keys();
        table.steps = table.steps.saturating_add(STEPS_OF_A_CALL).min(MOST_STEPS);
        if !table.make_room(limit.saturating_sub(1), &self.operation) {
            let told = std::mem::replace(&mut table.told_full, true);
            drop(table);
            if !told {
                tracing::warn!(
                    operation = self.operation.name(),
                    max_keys = limit,
                    "no circuit left for another key: each is open or in use; \
                     further keys share the circuit of the operation"
                );
            }
            return None;
        }
        let slot = Arc::new(Slot {
            circuit: Arc::new(self.operation.of_key(kept(key))),
            keys: self.id,
            // Not yet used again: keys that come once go before those that come back.
            state: AtomicU32::new(UNUSED),
        });
        table.slots.insert(hash, Arc::clone(&slot));
        drop(table);
        cache::put(hash, &slot);
        Some(slot)
    }

    /// The circuit of a key, if it has one.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<CircuitBreaker>> {
        let table = self.table();
        let slot = table.slots.get(&self.hash(key)).filter(|slot| slot.is_of(key))?;
        Some(Arc::clone(&slot.circuit))
    }

    /// Forgets a key, in whatever state its circuit is. Calls under way end on the old one.
    pub(crate) fn remove(&self, key: &str) -> bool {
        let hash = self.hash(key);
        let mut table = self.table();
        if !table.slots.get(&hash).is_some_and(|slot| slot.is_of(key)) {
            return false;
        }
        let removed = table.slots.remove(&hash);
        table.ran_of_gone += removed.as_ref().map_or(0, |slot| slot.circuit.newly_ran());
        #[cfg(feature = "otel")]
        table.calls_of_gone.leave(removed.clone());
        drop(table);
        if let Some(slot) = removed {
            // Relaxed: a call that begins meanwhile comes before or after.
            slot.state.store(GONE, Ordering::Relaxed);
        }
        true
    }

    /// Calls of all keys that the retry budget has not been told of before.
    pub(crate) fn newly_ran(&self) -> u64 {
        let mut table = self.table();
        let of_gone = std::mem::take(&mut table.ran_of_gone);
        of_gone + table.slots.values().map(|slot| slot.circuit.newly_ran()).sum::<u64>()
    }

    /// The calls of all keys, by outcome, of those that are no more, too: none of these ever falls.
    #[cfg(feature = "otel")]
    pub(crate) fn calls(&self) -> CallCounts {
        let mut table = self.table();
        let of_gone = table.calls_of_gone.calls();
        table.slots.values().fold(of_gone, |sum, slot| sum.plus(slot.circuit.calls()))
    }

    /// The circuits, in the order of their keys.
    pub(crate) fn circuits(&self) -> Vec<Arc<CircuitBreaker>> {
        let table = self.table();
        let mut all: Vec<_> = table.slots.values().map(|slot| Arc::clone(&slot.circuit)).collect();
        drop(table);
        all.sort_by(|a, b| a.key().cmp(&b.key()));
        all
    }

    /// Looks at each, in no order.
    pub(crate) fn each(&self, look: &mut impl FnMut(&CircuitBreaker)) {
        self.table().slots.values().for_each(|slot| look(&slot.circuit));
    }

    /// The operation has new settings: so have its keys, the next ones by themselves.
    pub(crate) fn apply(&self, settings: &Arc<Resolved<CircuitBreakerSettings>>) {
        let mut table = self.table();
        for slot in table.slots.values() {
            slot.circuit.apply(settings);
        }
        table.told_full = false;
        // Twice around: the first time may find each of them used.
        table.steps = table.slots.len() * 2 + MOST_STEPS;
        table.make_room(self.operation.max_keys(), &self.operation);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing of a user's runs under the lock, so a poisoned one is as good as new.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Takes circuits away until there are no more than `most`. False if that cannot be.
    fn make_room(&mut self, most: usize, operation: &CircuitBreaker) -> bool {
        if self.slots.len() <= most {
            return true;
        }
        let patience = Patience::of(operation);
        while self.slots.len() > most {
            if self.steps == 0 {
                return false;
            }
            self.steps -= 1;
            self.consider_next(patience);
        }
        true
    }

    /// Takes one away, if it may go.
    fn consider_next(&mut self, patience: Patience) {
        let after = self.slots.range((Excluded(self.hand), Unbounded)).next();
        let Some((hash, slot)) = after.or_else(|| self.slots.first_key_value()) else { return };
        let hash = *hash;
        self.hand = hash;
        if slot.was_used() || !slot.is_idle() || slot.is_spared(patience) {
            return;
        }
        let Some(slot) = self.slots.remove(&hash) else { return };
        // A thread may have remembered it since: then it stays.
        match Arc::try_unwrap(slot) {
            // A call may have come and gone since, or left its circuit with somebody.
            Ok(slot) if !slot.is_spare() => {
                self.slots.insert(hash, Arc::new(slot));
            }
            Ok(slot) => {
                self.ran_of_gone += slot.circuit.newly_ran();
                #[cfg(feature = "otel")]
                self.calls_of_gone.add(&slot.circuit);
            }
            Err(slot) => {
                self.slots.insert(hash, slot);
            }
        }
    }
}

impl Slot {
    #[inline]
    fn is_of(&self, key: &str) -> bool {
        let own = self.circuit.key().unwrap_or_default();
        own == key || key.len() > LONGEST_KEY && own.strip_suffix(CUT) == Some(beginning(key))
    }

    /// Notes that it is used. False if it has been taken away.
    #[inline]
    fn used(&self) -> bool {
        // Relaxed, here and below: nothing else depends on it.
        match self.state.load(Ordering::Relaxed) {
            USED => true,
            GONE => false,
            unused => self.note_use(unused),
        }
    }

    #[cold]
    fn note_use(&self, unused: u32) -> bool {
        let before =
            self.state.compare_exchange(unused, USED, Ordering::Relaxed, Ordering::Relaxed);
        // If it was spared in between it is still not used, which does no harm.
        before != Err(GONE)
    }

    /// Whether it was used since the last time that this was asked.
    fn was_used(&self) -> bool {
        self.state.compare_exchange(USED, UNUSED, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether it has counted failures and may still come to count more.
    fn is_spared(&self, patience: Patience) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        match state >> STATE_BITS {
            0 if self.circuit.has_counted_failures() => {
                let spared = patience.now << STATE_BITS | UNUSED;
                let _ = self.state.compare_exchange(
                    state,
                    spared,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                true
            }
            0 => false,
            since => !patience.is_over(since) && self.circuit.has_counted_failures(),
        }
    }

    /// Whether nobody holds it and no call is kept away by it.
    fn is_idle(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1 && self.is_spare()
    }

    fn is_spare(&self) -> bool {
        Arc::strong_count(&self.circuit) == 1 && self.circuit.is_idle()
    }
}

/// The text of a key as it is kept.
fn kept(key: &str) -> Box<str> {
    if key.len() <= LONGEST_KEY {
        return key.into();
    }
    let mut kept = beginning(key).to_owned();
    kept.push(CUT);
    kept.into()
}

/// What is kept of a key that is too long.
fn beginning(key: &str) -> &str {
    let end = (0..=LONGEST_KEY).rfind(|i| key.is_char_boundary(*i)).unwrap_or(0);
    &key[..end]
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("operation", &self.operation).finish_non_exhaustive()
    }
}
