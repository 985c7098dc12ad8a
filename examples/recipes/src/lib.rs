//! What the recipes have in common: a service that can be stopped and started, and a log.

mod answers;
mod health;
mod service;

use std::time::Duration;

use bindu_cb::{Settings, registry};
use tokio::time::{Instant, sleep};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

pub use answers::Answers;
pub use service::Service;

/// What circuits and loops do is printed; circuits are on, and what takes seconds in production
/// takes a fraction of one. It stands below what the attributes say.
pub fn set_up() {
    let ours = Targets::new().with_target("bindu_cb", LevelFilter::DEBUG);
    let lines = tracing_subscriber::fmt::layer().with_target(false).without_time();
    tracing_subscriber::registry().with(lines.with_filter(ours)).init();

    let mut settings = Settings::default();
    settings
        .all()
        .enabled(true)
        .min_wait(Duration::from_millis(20))
        .recovery_timeout(Duration::from_millis(500));
    registry().configure(settings);
}

/// Returns as soon as the condition holds.
///
/// # Panics
///
/// If it does not within ten seconds.
pub async fn until(condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "what was waited for did not happen within ten seconds");
        sleep(Duration::from_millis(5)).await;
    }
}
