//! What a registry has to be measured, and who measures it.

use std::sync::{Arc, Weak};

use super::Inner;
use super::state::Entry;
use crate::breaker::{CallCounts, CircuitBreaker};
use crate::keyed::Keys;
use crate::retry::{Budget, RetryBudgetSnapshot};
use crate::watch::{Watcher, Watchers};

/// An operation, or a class of its errors, which has a circuit of its own.
pub(crate) struct Measured {
    pub(crate) circuit: Arc<CircuitBreaker>,
    pub(crate) budget: Arc<Budget>,
    keys: Arc<Keys>,
    is_class: bool,
    has_budget: bool,
}

impl Measured {
    fn of(entry: &Entry) -> Self {
        let (circuit, budget, keys) = entry.shared();
        let functions = entry.functions.iter().filter_map(Weak::upgrade);
        let has_budget = functions.into_iter().any(|function| function.has_budget());
        Self { circuit, budget, keys, is_class: entry.class_of.is_some(), has_budget }
    }

    /// By outcome, those of the circuits of its keys among them.
    pub(crate) fn calls(&self) -> CallCounts {
        self.circuit.calls().plus(self.keys.calls())
    }

    pub(crate) fn circuits_of_keys(&self) -> Vec<Arc<CircuitBreaker>> {
        self.keys.circuits()
    }

    /// Whether it has retries: those of a class are its operation's.
    pub(crate) fn has_retries(&self) -> bool {
        !self.is_class
    }

    pub(crate) fn retry_budget(&self) -> Option<RetryBudgetSnapshot> {
        // Who asked may be listed nowhere, or gone.
        (self.has_budget || self.budget.was_asked()).then(|| self.budget.snapshot())
    }
}

impl Inner {
    /// In the order of their names.
    pub(crate) fn measured(&self) -> Vec<Measured> {
        self.read().entries.values().map(Measured::of).collect()
    }

    pub(crate) fn watchers(&self) -> &Watchers {
        &self.listeners.watchers
    }

    pub(crate) fn watch(&self, watcher: Arc<dyn Watcher>) {
        self.change_watchers(|list| list.push(watcher));
    }

    pub(crate) fn unwatch(&self, watcher: &Arc<dyn Watcher>) {
        self.change_watchers(|list| list.retain(|known| !Arc::ptr_eq(known, watcher)));
    }

    fn change_watchers(&self, change: impl FnOnce(&mut Vec<Arc<dyn Watcher>>)) {
        self.watchers().change(change, |watched| {
            self.circuits().iter().for_each(|circuit| circuit.watch_attempts(watched));
        });
    }
}
