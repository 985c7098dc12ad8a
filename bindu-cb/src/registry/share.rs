//! Sharing the circuits of a registry with those of other processes.

use std::sync::PoisonError;

use super::{Inner, Registry, current};
use crate::error::SettingsError;
use crate::event::{Listener, Subscription};
use crate::shared::{SharedSettings, Sharing};

impl Registry {
    /// From now on every circuit is one with the circuits of its name in all processes that share
    /// through the same server and namespace: see [`SharedSettings`]. Nothing else changes, and no
    /// guarded call ever waits for the server: a thread of its own talks to it.
    ///
    /// `BINDU_CB_SHARED_URL` does the same without code, with the first guarded call. In place of what
    /// was shared before, and of what the environment says.
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
        let sharing = Sharing::start(&registry, settings)?;
        registry.heed_environment();
        registry.share(Some(sharing));
        Ok(())
    }

    /// Ends what [`share`](Self::share) or the environment began. Circuits stay as they are, and are
    /// this process's own again.
    pub fn unshare(&self) {
        let registry = current();
        registry.heed_environment();
        registry.share(None);
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
    pub settings: Option<SharedSettings>,
    /// Whether the server has answered the last time that it was asked, which is twice a second.
    pub connected: bool,
    /// Commands and connections that have failed.
    pub errors: u64,
}

impl Inner {
    pub(crate) fn listen(&self, listener: impl Listener) -> Subscription {
        self.listeners.add(listener)
    }

    pub(crate) fn share(&self, sharing: Option<Sharing>) {
        let before = {
            let mut current = self.sharing.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, sharing)
        };
        if let Some(before) = before {
            before.end(self);
        }
    }

    /// What the environment says is not for later: the first guarded call would put it in the place
    /// of what code has said meanwhile.
    fn heed_environment(&self) {
        self.write(|state, notices| {
            self.ensure_settings(state, notices);
            state.sharing_has_changed();
        });
    }

    /// As the settings say. Logs what stands against it.
    pub(super) fn share_as(&self, settings: Option<SharedSettings>) {
        match settings.map(|settings| Sharing::start(self, settings)).transpose() {
            Ok(sharing) => self.share(sharing),
            Err(error) => tracing::error!(%error, "circuits are not shared"),
        }
    }

    pub(crate) fn shared_snapshot(&self) -> Option<SharedSnapshot> {
        let sharing = self.sharing.lock().unwrap_or_else(PoisonError::into_inner);
        let sharing = sharing.as_ref()?;
        Some(SharedSnapshot {
            settings: sharing.settings.clone(),
            connected: sharing.is_connected(),
            errors: sharing.errors(),
        })
    }

    /// Shares through what is no real server.
    #[cfg(feature = "test-util")]
    pub(crate) fn share_through(
        &self,
        server: &crate::shared::MemoryServer,
        quorum: u32,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (sharing, supervisor) = Sharing::with(self, server.clone(), quorum);
        self.share(Some(sharing));
        supervisor
    }
}
