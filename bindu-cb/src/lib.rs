//! Retrying without retry storms: one attribute puts an async function in a retry loop behind a
//! circuit breaker that all callers of an operation share.
//!
//! ```
//! use bindu_cb::retry_with_breaker;
//!
//! #[retry_with_breaker(op = "storage", attempts = 5, enabled = true)]
//! async fn save(row: &str) -> std::io::Result<()> {
//!     put(row).await
//! }
//! # async fn put(_: &str) -> std::io::Result<()> { Ok(()) }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! save("row").await?;
//! assert_eq!(bindu_cb::get_circuit_breaker("storage").snapshot().calls.success, 1);
//! # Ok::<(), std::io::Error>(()) }).unwrap();
//! ```
//!
//! # What to use
//!
//! - [`retry_with_breaker`], and the attributes of the four kinds, on async functions that return
//!   a `Result`; [`with_circuit_breaker`] where nothing is to be retried.
//! - [`Classify`] on an error type, to say which errors are worth another attempt and which count.
//! - [`Operation`] and [`execute_with_retry`] for closures; [`CircuitBreaker`] alone.
//! - The module `tower` around services (feature `tower`).
//! - [`registry`] for everything that is about all circuits: [`Settings`], snapshots, listeners,
//!   [health](Registry::health) and [shutdown](Registry::shutdown).
//! - The modules `telemetry` for metrics (feature `otel`) and `dashboard` for a page (feature
//!   `dashboard`); `testing` in tests (feature `test-util`).
//!
//! # Features
//!
//! | feature | default | |
//! | --- | --- | --- |
//! | `macros` | yes | the attributes |
//! | `backoff` | yes | `backoff::ExponentialBackoff` draws the intervals; `backoff::Error` is understood |
//! | `test-util` | no | a registry of its own for each test |
//! | `redis` | no | circuits that all replicas share, through Redis or Valkey |
//! | `redis-tls` | no | `rediss://` URLs for that |
//! | `otel` | no | metrics of all circuits through the OpenTelemetry API: the module `telemetry` |
//! | `dashboard` | no | a page that shows the circuits, to mount in an axum application |
//! | `tower` | no | a layer that puts an operation around any `tower` service |
//!
//! # Runtime
//!
//! Time is tokio's: a call that waits, or has a time limit, panics outside a runtime with
//! `enable_time`, as `tokio::time::sleep` does. Nothing else that a user can do panics. No task and
//! no thread is started, but for one thread where circuits are shared.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod breaker;
#[cfg(feature = "dashboard")]
pub mod dashboard;
mod error;
mod event;
mod keyed;
mod name;
mod operation;
mod private;
mod random;
mod registry;
mod retry;
mod settings;
#[cfg(feature = "redis")]
mod shared;
mod sync;
#[cfg(feature = "otel")]
pub mod telemetry;
#[cfg(feature = "test-util")]
pub mod testing;
#[cfg(feature = "tower")]
pub mod tower;
#[cfg(feature = "otel")]
mod watch;

#[doc(hidden)]
pub mod __private {
    pub use crate::private::*;
}

/// The protocol of the shared circuits, for the tests.
#[cfg(all(feature = "redis", feature = "test-util"))]
#[doc(hidden)]
pub mod __shared {
    pub use crate::shared::{MemoryServer, codec, protocol, replica};
}

#[cfg(feature = "macros")]
mod attributes;
#[cfg(feature = "macros")]
pub use attributes::*;

pub use breaker::{
    CallCounts, CircuitBreaker, CircuitState, FunctionSnapshot, Permit, Snapshot, WindowSnapshot,
};
pub use error::{
    AttemptTimeoutError, CallError, CircuitBreakerOpenError, OpenCause, OpenReason, SettingProblem,
    SettingsError,
};
pub use event::{Cause, Event, Listener, Subscription};
pub use operation::{Operation, OperationBuilder, execute_with_retry};
#[cfg(feature = "redis")]
pub use registry::SharedSnapshot;
pub use registry::{CircuitHealth, Health, Registry, get_circuit_breaker, registry};
pub use retry::RetryBudgetSnapshot;
pub use retry::verdict::{Classify, Verdict};
pub use settings::{
    CircuitBreakerSettings, Count, Nested, OnCancel, Overrides, ParseValueError, RetrySettings,
    SettingValue, Settings, Source, Window,
};
#[cfg(feature = "redis")]
pub use shared::{Fleet, SetBy, SharedCircuit, SharedError, SharedSettings};
