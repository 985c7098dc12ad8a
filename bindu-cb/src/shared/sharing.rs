//! A registry whose circuits are shared: its supervisor, on a thread and a runtime of its own.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::SharedSettings;
use super::hub::{Hub, Side};
use super::redis::RedisConnector;
use super::server::Connector;
use super::supervisor::Supervisor;
#[cfg(feature = "otel")]
use crate::breaker::CircuitState;
use crate::error::{SettingProblem, SettingsError};
use crate::event::Subscription;
use crate::random;
use crate::registry::Inner;
use crate::registry::link::Link;

/// Ends with its drop: circuits stay as they are, and are this process's own again.
pub(crate) struct Sharing {
    side: Arc<Side>,
    subscription: Subscription,
    pub(crate) settings: SharedSettings,
}

impl Sharing {
    /// # Errors
    ///
    /// What [`SharedSettings::validate`] finds, or that there can be no thread.
    pub(crate) fn start(registry: &Inner, settings: SharedSettings) -> Result<Self, SettingsError> {
        settings.validate()?;
        let address = settings.address().cloned();
        let connector =
            address.map(|address| RedisConnector::new(address, settings.namespace.clone()));
        // Valid settings have an address.
        let connector = connector.ok_or_else(|| no_thread("the URL has no address"))?;
        let (sharing, supervisor) = Self::with(registry, connector, settings);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| no_thread(&error.to_string()))?;
        std::thread::Builder::new()
            .name("bindu-cb-shared".to_owned())
            .spawn(move || runtime.block_on(supervisor))
            .map_err(|error| no_thread(&error.to_string()))?;
        Ok(sharing)
    }

    /// The supervisor as a future, for whoever has a runtime for it.
    pub(crate) fn with<C: Connector>(
        registry: &Inner,
        connector: C,
        settings: SharedSettings,
    ) -> (Self, impl Future<Output = ()> + Send + use<C>) {
        let side = Arc::new(Side(Arc::new(Hub::new(registry.downgrade()))));
        let me = format!("{}-{:08x}", std::process::id(), random::bits() >> 32);
        let supervisor = Supervisor::new(connector, Arc::clone(&side.0), me, settings.quorum);
        // First the ear: a change between the two would be missed, one that is heard of a circuit
        // that is not known yet is only ignored.
        let subscription = registry.listen(Arc::clone(&side));
        registry.link(Arc::<Side>::clone(&side));
        (Self { side, subscription, settings }, supervisor.run())
    }

    /// False if another one is linked by now.
    pub(crate) fn end(self, registry: &Inner) -> bool {
        let link: Arc<dyn Link> = Arc::<Side>::clone(&self.side);
        registry.unlink(&link)
    }

    pub(crate) fn is_connected(&self) -> bool {
        // Relaxed: a figure for whoever looks.
        self.side.0.status.connected.load(Ordering::Relaxed)
    }

    #[cfg(feature = "otel")]
    pub(crate) fn states_of_fleet(&self) -> Vec<(Arc<str>, CircuitState)> {
        if self.is_connected() { self.side.0.states_of_fleet() } else { Vec::new() }
    }

    pub(crate) fn errors(&self) -> u64 {
        self.side.0.status.errors.load(Ordering::Relaxed)
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        self.subscription.clone().unsubscribe();
        self.side.0.stop();
    }
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharing").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn no_thread(why: &str) -> SettingsError {
    let advice = format!("the thread that shares circuits cannot be started: {why}");
    SettingsError::one(SettingProblem { name: "url".to_owned(), value: None, advice })
}
