//! Sharing the circuits of a registry with those of other processes.

#[cfg(feature = "otel")]
use std::sync::Arc;
#[cfg(feature = "otel")]
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use super::{Inner, Registry, current};
#[cfg(feature = "otel")]
use crate::breaker::CircuitState;
use crate::error::SettingsError;
use crate::shared::{SharedSettings, Sharing};

impl Registry {
    /// From now on every circuit is one with the circuits of its name in all processes that share
    /// through the same server and namespace: see [`SharedSettings`]. Nothing else changes, and no
    /// guarded call ever waits for the server: a thread of its own talks to it.
    ///
    /// `BINDU_CB_SHARED_URL` does the same without code, with the first guarded call. In place of what
    /// was shared before, and of what the environment says. Once the process
    /// [shuts down](Self::shutdown) it does nothing.
    ///
    /// # Errors
    ///
    /// Names every setting that cannot be used. That the server cannot be reached is none: circuits
    /// work by themselves until it can, and that is logged.
    ///
    /// ```no_run
    /// use bindu_cb::{SharedSettings, registry};
    ///
    /// let settings = SharedSettings::new("redis://redis.internal:6379").namespace("billing");
    /// registry().share(settings)?;
    /// # Ok::<(), bindu_cb::SettingsError>(())
    /// ```
    pub fn share(&self, settings: SharedSettings) -> Result<(), SettingsError> {
        let registry = current();
        settings.validate()?;
        registry.heed_environment();
        let mut sharing = registry.sharing();
        if registry.shutdown.has_begun() {
            return Ok(());
        }
        let started = Sharing::start(&registry, settings)?;
        let before = sharing.replace(started);
        drop(sharing);
        registry.end(before);
        Ok(())
    }

    /// Ends what [`share`](Self::share) or the environment began. Circuits stay as they are, and are
    /// this process's own again.
    pub fn unshare(&self) {
        let registry = current();
        registry.heed_environment();
        registry.stop_sharing();
    }

    /// How the sharing stands; `None` if circuits are not shared.
    pub fn shared(&self) -> Option<SharedSnapshot> {
        current().shared_snapshot()
    }
}

/// How the sharing of circuits stands, from [`Registry::shared`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SharedSnapshot {
    /// Through which server; printed without user and password.
    pub settings: SharedSettings,
    /// Whether the server has answered the last time that it was asked, which is twice a second.
    pub connected: bool,
    /// Commands and connections that have failed.
    pub errors: u64,
}

impl Inner {
    /// To be held from a start until what is started is kept: of two that come at once the one that
    /// is kept must be the one that is linked.
    ///
    /// Nothing of a user's may run under it, which could come here again. Nothing does at a start: it
    /// logs nothing, and who is linked is told of the circuits while it has nothing to open them for.
    fn sharing(&self) -> MutexGuard<'_, Option<Sharing>> {
        self.sharing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop_sharing(&self) {
        let before = self.sharing().take();
        self.end(before);
    }

    /// Without that lock.
    fn end(&self, before: Option<Sharing>) {
        if let Some(before) = before {
            before.end(self);
        }
    }

    /// What the environment says is not for later: the first guarded call would put it in the place
    /// of what code has said meanwhile. May log what cannot be used of it.
    fn heed_environment(&self) {
        self.write(|state, notices| {
            self.ensure_settings(state, notices);
            state.sharing_has_changed();
        });
    }

    /// As the settings say. Logs what stands against it.
    pub(super) fn share_as(&self, settings: Option<SharedSettings>) {
        let mut sharing = self.sharing();
        if self.read().shared != settings || self.shutdown.has_begun() {
            // They have changed once more, and who has changed them comes here, too. Or nothing
            // is to be shared any more.
            return;
        }
        match settings.map(|settings| Sharing::start(self, settings)).transpose() {
            Ok(started) => {
                let before = std::mem::replace(&mut *sharing, started);
                drop(sharing);
                self.end(before);
            }
            Err(error) => {
                drop(sharing);
                tracing::error!(%error, "circuits are not shared");
            }
        }
    }

    /// The supervisor has failed at something.
    #[cfg(feature = "otel")]
    pub(crate) fn count_shared_error(&self) {
        // Relaxed, here and below: a figure for whoever looks.
        self.shared_errors.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(feature = "otel")]
    pub(crate) fn shared_errors(&self) -> u64 {
        self.shared_errors.load(Ordering::Relaxed)
    }

    /// The states of the fleet's circuits that have one here, as far as they are known; none while the
    /// server is not reached.
    #[cfg(feature = "otel")]
    pub(crate) fn states_of_fleet(&self) -> Vec<(Arc<str>, CircuitState)> {
        self.sharing().as_ref().map_or_else(Vec::new, Sharing::states_of_fleet)
    }

    #[cfg(feature = "otel")]
    pub(crate) fn is_shared(&self) -> bool {
        self.sharing().is_some()
    }

    pub(crate) fn shared_snapshot(&self) -> Option<SharedSnapshot> {
        let sharing = self.sharing();
        let sharing = sharing.as_ref()?;
        Some(SharedSnapshot {
            settings: sharing.settings.clone(),
            connected: sharing.is_connected(),
            errors: sharing.errors(),
        })
    }

    pub(super) fn is_connected(&self) -> Option<bool> {
        self.sharing().as_ref().map(Sharing::is_connected)
    }

    /// Shares through what is no real server.
    #[cfg(feature = "test-util")]
    pub(crate) fn share_through(
        &self,
        server: &crate::shared::MemoryServer,
        quorum: u32,
    ) -> impl Future<Output = ()> + Send + use<> {
        // The URL is nobody's.
        let settings = SharedSettings::new("redis://memory").quorum(quorum);
        let mut sharing = self.sharing();
        let (started, supervisor) = Sharing::with(self, server.clone(), settings);
        let before = sharing.replace(started);
        drop(sharing);
        self.end(before);
        supervisor
    }
}

#[cfg(all(test, feature = "test-util", not(loom)))]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::event::Event;
    use crate::shared::MemoryServer;

    #[test]
    fn of_all_that_share_at_once_the_one_that_is_kept_is_the_one_that_is_linked() {
        const THREADS: usize = 4;
        let (registry, turn) = (Inner::new(false), Barrier::new(THREADS));
        registry.circuit("share:one");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (server, others) = (MemoryServer::new(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for number in 0..THREADS {
                let (registry, turn, others) = (&registry, &turn, &others);
                let (server, runtime) = (&server, &runtime);
                scope.spawn(move || {
                    let _entered = runtime.enter();
                    for _ in 0..2_000 {
                        turn.wait();
                        let supervisor = registry.share_through(server, 1);
                        turn.wait();
                        let kept = (number == 0).then(|| registry.sharing().take().unwrap());
                        // Not asserted here: the others would wait for ever.
                        if kept.is_some_and(|kept| !kept.end(registry)) {
                            others.fetch_add(1, Ordering::Relaxed);
                        }
                        drop(supervisor);
                    }
                });
            }
        });
        assert_eq!(others.into_inner(), 0, "another one is linked");
    }

    #[test]
    fn a_listener_may_share() {
        let registry = Inner::new(false);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let server = MemoryServer::new();
        drop(registry.share_through(&server, 1));
        let (weak, again) = (registry.downgrade(), server.clone());
        let _subscription = registry.listen(move |_: &Event| {
            let registry = weak.upgrade().unwrap();
            drop(registry.share_through(&again, 1));
            assert!(registry.shared_snapshot().is_some());
        });
        registry.circuit("share:listened").force_open();
        assert!(registry.shared_snapshot().is_some());
    }
}
