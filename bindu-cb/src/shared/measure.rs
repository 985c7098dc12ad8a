//! What a supervisor tells those who measure it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::hub::Hub;
use super::protocol::Phase;
use super::replica::{At, FleetState};
use crate::breaker::CircuitState;
use crate::watch::Watcher;

/// The fleet's circuits that have one here, as far as this connection has told of them.
#[derive(Default)]
pub(super) struct FleetStates(Mutex<HashMap<Arc<str>, (FleetState, Instant)>>);

impl FleetStates {
    /// `born` is the zero of the moments in the state.
    pub(super) fn note(&self, operation: &Arc<str>, state: FleetState, born: Instant) {
        self.states().insert(Arc::clone(operation), (state, born));
    }

    /// What it is cannot be read any more.
    pub(super) fn forget(&self, operation: &str) {
        self.states().remove(operation);
    }

    pub(super) fn forget_all(&self) {
        self.states().clear();
    }

    fn states(&self) -> MutexGuard<'_, HashMap<Arc<str>, (FleetState, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FleetState {
    fn at(self, now: At) -> CircuitState {
        match self.phase {
            Phase::Closed => CircuitState::Closed,
            Phase::ForcedOpen => CircuitState::ForcedOpen,
            Phase::ForcedClosed => CircuitState::ForcedClosed,
            // Somebody has the probe.
            Phase::Open if self.until <= now && now < self.leased_until => CircuitState::HalfOpen,
            Phase::Open => CircuitState::Open,
        }
    }
}

impl Hub {
    pub(super) fn states_of_fleet(&self) -> Vec<(Arc<str>, CircuitState)> {
        let now = Instant::now();
        let states = self.fleet.states();
        let at = |born: Instant| super::millis(now.saturating_duration_since(born));
        let states = states.iter();
        states.map(|(name, (state, born))| (Arc::clone(name), state.at(at(*born)))).collect()
    }

    pub(super) fn tell(&self, what: impl Fn(&dyn Watcher)) {
        if let Some(registry) = self.registry.upgrade() {
            registry.watchers().tell(what);
        }
    }

    pub(super) fn count_error(&self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.count_shared_error();
        }
    }

    pub(super) fn tell_exchange(&self, took: Duration) {
        self.tell(|watcher| watcher.exchange(took));
    }
}
