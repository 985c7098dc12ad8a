//! The hold: an opening that is kept up after its wait, because the next probe may be another
//! process's.
//!
//! It is looked at where it can matter, by a call that comes after the wait: first without the
//! lock, so that those who are turned away do not queue for it, then once more under it, where it
//! is set. A circuit that nobody leads has no place for one.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::leases::Nanos;
use super::word::{Generation, Word};
use super::{CircuitBreaker, CircuitState, nanos};
use crate::sync::{self, AtomicU32, AtomicU64};

#[cfg(all(test, not(loom)))]
mod tests;

/// The most that a call is told to wait for the end of a hold. Mostly it ends within milliseconds,
/// when this process may probe, or when it is known that another one's probe has succeeded: who
/// comes back ten times a second is early enough to notice, and asks nobody but this process.
const COME_BACK: Nanos = 100_000_000;

/// Hears that a held circuit has a call that could be its probe.
pub(crate) trait Wanted: Send + Sync {
    /// A call of this operation has come after the wait and was turned away because of the hold.
    /// Told once for each [`hold`](CircuitBreaker::hold), and maybe before that has returned.
    ///
    /// The call waits for the return: it must be quick, and must not panic. No lock is held.
    fn wanted(&self, operation: &'static str);
}

/// What a circuit has that is led from outside.
#[derive(Default)]
pub(super) struct Led {
    /// `None` once nobody leads it any more.
    by: Mutex<Option<Arc<dyn Wanted>>>,
    /// Until when the opening in force is held; past, mostly zero, if it is not.
    until: AtomicU64,
    /// Not zero: since the last hold was set, a call has been turned away and that has been told.
    told: AtomicU32,
}

impl Led {
    fn by(&self) -> MutexGuard<'_, Option<Arc<dyn Wanted>>> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the circuit's lock.
    fn hold(&self, until: Nanos) {
        // Relaxed: the store below releases it. A call that is turned away by this hold, and not by
        // the one before, finds that nobody has been told, or that somebody was since.
        self.told.store(0, Ordering::Relaxed);
        // Release: partner of the Acquire in `turned_away`.
        self.until.store(until, Ordering::Release);
    }

    /// Under the circuit's lock.
    fn drop_hold(&self) {
        // Relaxed: who does not see it yet comes before it; of a new opening the word releases it.
        self.until.store(0, Ordering::Relaxed);
    }

    fn tell(&self, operation: &'static str) {
        // Relaxed: the swap lets one through, and nothing else depends on it. The load keeps those
        // who are turned away from writing where all of them do.
        let is_told = self.told.load(Ordering::Relaxed) != 0;
        if is_told || self.told.swap(1, Ordering::Relaxed) != 0 && !sync::mutated("told_by_all") {
            return;
        }
        let by = self.by().clone();
        if let Some(by) = by {
            by.wanted(operation);
        }
    }
}

/// For who leads circuits.
impl CircuitBreaker {
    /// From now on the circuit is led, and this is told what is wanted. In place of who led it
    /// before, whose hold is dropped; who leads it already goes on as it was.
    pub(crate) fn lead(&self, wanted: Arc<dyn Wanted>) {
        let lock = self.cold();
        let led = &self.make_rare().led;
        let mut by = led.by();
        if by.as_ref().is_some_and(|by| Arc::ptr_eq(by, &wanted)) {
            return;
        }
        let before = by.replace(wanted);
        drop(by);
        led.drop_hold();
        drop(lock);
        // Not under the locks: it may be the last one, and what goes with it is not ours.
        drop(before);
    }

    /// Nobody leads the circuit any more: a hold is dropped, the state stays. False, and nothing
    /// is changed, if it is somebody else by now who leads it.
    pub(crate) fn unlead(&self, wanted: &Arc<dyn Wanted>) -> bool {
        let lock = self.cold();
        let Some(rare) = self.rare() else { return false };
        let before = rare.led.by().take_if(|by| Arc::ptr_eq(by, wanted));
        if before.is_some() {
            rare.led.drop_hold();
        }
        drop(lock);
        // Dropped here, without the locks, as in `lead`.
        before.is_some()
    }

    /// For so long from now, as far as that is longer than its wait, the opening stays: calls that
    /// come after the wait are turned away, and the first one is told of. In place of a hold that
    /// there is. False if the circuit is no longer open in this generation, or not led.
    pub(crate) fn hold(&self, generation: Generation, time: Duration) -> bool {
        let _the_word_stays = self.cold();
        match self.led_opening(generation) {
            Some(led) => led.hold(self.now().saturating_add(nanos(time))),
            None => return false,
        }
        true
    }

    /// Ends the hold: the next call after the wait is the probe. False if the circuit is no longer
    /// open in this generation, or not led.
    pub(crate) fn release(&self, generation: Generation) -> bool {
        let _the_word_stays = self.cold();
        let led = self.led_opening(generation);
        led.map(Led::drop_hold).is_some()
    }

    /// Under the lock.
    fn led_opening(&self, generation: Generation) -> Option<&Led> {
        let word = self.word();
        let is_open = word.state() == CircuitState::Open && word.generation() == generation;
        let led = &self.rare()?.led;
        (is_open && led.by().is_some()).then_some(led)
    }
}

/// For the way in.
impl CircuitBreaker {
    /// Until when a call is to wait that has come after the wait of this opening and finds it held.
    /// `None` if it is not, or is over: that the lock will show.
    pub(super) fn turned_away(&self, open: Word, now: Nanos) -> Option<Nanos> {
        let led = &self.rare()?.led;
        // Acquire: partner of the Release in `Led::hold`. Were it the hold of a later opening, the
        // load of the word below would see at least that one. It is none of an earlier opening:
        // that was dropped before the word was that was seen.
        let until = led.until.load(Ordering::Acquire);
        let is_of_another = self.word().generation() != open.generation();
        if now >= until || is_of_another && !sync::mutated("hold_of_any_opening") {
            return None;
        }
        led.tell(self.name());
        Some(self.left_until(until, now).min(COME_BACK))
    }

    /// Under the lock: whether the wait of this opening, which may have been moved since, is still
    /// over, and nobody holds it.
    pub(super) fn may_be_probed(&self, open: Word, now: Nanos) -> bool {
        // Relaxed, both: stored under the lock that is held.
        let end = self.gate.deadlines[open.generation().slot()].load(Ordering::Relaxed);
        let until = self.rare().map_or(0, |rare| rare.led.until.load(Ordering::Relaxed));
        let is_over = now >= end || sync::mutated("end_unseen_under_the_lock");
        is_over && (now >= until || sync::mutated("hold_unseen_under_the_lock"))
    }

    /// A new opening begins without a hold. Under the lock, before the word changes.
    pub(super) fn drop_hold(&self) {
        if let Some(rare) = self.rare() {
            rare.led.drop_hold();
        }
    }

    /// Holds the opening in force, if the circuit is led. Under the lock.
    pub(super) fn hold_opening(&self, time: Duration, now: Nanos) {
        if let Some(led) = self.led_opening(self.word().generation()) {
            led.hold(now.saturating_add(nanos(time)));
        }
    }
}
