//! Who measures what the circuits of a registry do: durations, which nobody keeps, and which are told
//! as they happen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::breaker::Outcome;

/// Hears of what has taken how long. Called without any lock, on the thread that it happened on;
/// nothing that it does may come back to the circuits.
pub(crate) trait Watcher: Send + Sync {
    /// An attempt of an operation's function has ended.
    fn attempt(&self, operation: &'static str, outcome: Outcome, took: Duration);

    /// The server of the shared circuits has answered, or has failed to.
    #[cfg(feature = "redis")]
    fn exchange(&self, took: Duration);

    /// A change of a shared circuit has been heard of here.
    #[cfg(feature = "redis")]
    fn propagation(&self, operation: &str, took: Duration);

    /// Whether calls are to note when their attempts begin.
    fn wants_attempts(&self) -> bool;
}

/// The watchers of a registry.
#[derive(Default)]
pub(crate) struct Watchers {
    list: RwLock<Arc<Vec<Arc<dyn Watcher>>>>,
    /// Whether one of them wants attempts.
    wants_attempts: AtomicBool,
    /// Held while that is told to the circuits.
    turn: Mutex<()>,
}

impl Watchers {
    /// Whether circuits that are made now are watched.
    pub(crate) fn wants_attempts(&self) -> bool {
        // Relaxed: the lock of the registry, or of an operation's keys, under which circuits are made
        // and listed, orders it against `change`.
        self.wants_attempts.load(Ordering::Relaxed)
    }

    /// Adds or removes watchers, then has `tell` tell the circuits that there are whether they are
    /// watched. Of two that come at once the second one has the last word.
    pub(crate) fn change(
        &self,
        change: impl FnOnce(&mut Vec<Arc<dyn Watcher>>),
        tell: impl FnOnce(bool),
    ) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut list));
        let wants = list.iter().any(|watcher| watcher.wants_attempts());
        drop(list);
        if self.wants_attempts.swap(wants, Ordering::Relaxed) != wants {
            tell(wants);
        }
    }

    /// Never panics: there is a call to be settled after it.
    pub(crate) fn tell(&self, what: impl Fn(&dyn Watcher)) {
        // Taken out first: what they do is not ours.
        let list = Arc::clone(&self.list.read().unwrap_or_else(PoisonError::into_inner));
        for watcher in &*list {
            // AssertUnwindSafe: of what a panic may leave half done, we look at nothing.
            let _ = catch_unwind(AssertUnwindSafe(|| what(&**watcher)));
        }
    }
}
