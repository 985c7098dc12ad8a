//! Circuits that all replicas share, through Redis or Valkey (feature `redis`).
//!
//! Each process works by circuits of its own. One task a process, the [`supervisor`], publishes what
//! they do and feeds them what the others' do. What it says and believes is decided by two pure
//! functions, [`protocol`] for the server's side and [`replica`] for a process's; the script that the
//! server runs is the first of them once more.

#![cfg_attr(
    not(feature = "test-util"),
    expect(unreachable_pub, reason = "reachable by the tests alone, see `__shared`")
)]
#![cfg_attr(
    feature = "test-util",
    expect(missing_docs, clippy::missing_errors_doc, reason = "little of it is public")
)]

mod address;
mod client;
mod client_error;
pub mod codec;
mod connect;
mod fleet;
mod hub;
mod key;
#[cfg(feature = "otel")]
mod measure;
mod member;
#[cfg(any(test, feature = "test-util"))]
mod memory;
mod news;
#[cfg_attr(
    not(any(test, feature = "test-util")),
    expect(dead_code, reason = "a record is changed by the script, which tests hold to `apply`")
)]
pub mod protocol;
mod redis;
pub mod replica;
mod report;
mod script;
mod server;
mod settings;
mod shared_error;
mod sharing;
mod supervisor;
#[cfg(feature = "redis-tls")]
mod tls;

use std::time::Duration;

pub use fleet::{Fleet, SetBy, SharedCircuit};
#[cfg(any(test, feature = "test-util"))]
pub use memory::MemoryServer;
pub use settings::SharedSettings;
pub use shared_error::SharedError;
pub(crate) use sharing::Sharing;

/// Whole milliseconds: what is left of one counts as one, so that nothing ends before its time.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
