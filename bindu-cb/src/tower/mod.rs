//! An [`Operation`] around any [`Service`] (feature `tower`).
//!
//! ```
//! use std::io;
//! use std::time::Duration;
//!
//! use bindu_cb::tower::OperationLayer;
//! use bindu_cb::{CircuitBreakerOpenError, Operation};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let mail = Operation::builder("api:tower").enabled(true).attempts(1).build()?;
//! let service = ServiceBuilder::new()
//!     .layer(OperationLayer::new(mail))
//!     .timeout(Duration::from_secs(2))
//!     .service(service_fn(|up: bool| async move {
//!         if up { Ok("sent") } else { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) }
//!     }));
//!
//! for _ in 0..3 {
//!     let refused = service.clone().oneshot(false).await.unwrap_err();
//!     assert!(refused.is::<io::Error>());
//! }
//! let rejected = service.clone().oneshot(true).await.unwrap_err();
//! let open = rejected.downcast_ref::<CircuitBreakerOpenError>().expect("the circuit is open");
//! assert_eq!(open.operation(), "api:tower");
//! # Ok::<(), BoxError>(()) }).unwrap();
//! ```
//!
//! # Readiness
//!
//! `poll_ready` is the inner service's. The circuit is asked in `call`, so there is no permit that a
//! `poll_ready` without a `call` could lose, and a caller of an open circuit has its rejection at
//! once. In `poll_ready` an open circuit could only keep its callers waiting, with a queue, as that of
//! `Buffer`, filling up behind them; an error there says that the service is at its end. A call that
//! is rejected lets go of what readiness had reserved below.
//!
//! The service that was polled ready is the one that makes the first attempt. For each further one a
//! clone is polled until it is ready; this is part of the attempt's `timeout`, and ends at once if
//! the circuit opens meanwhile, or the process [shuts down](crate::Registry::shutdown). One that runs
//! out of time gives way to another clone, and with it its place in a queue below. A clone that fails
//! to become ready is at its end, by the contract of [`Service`]: so is the call then, with that
//! error. Each attempt comes in the same order: the service is ready, the circuit is asked (by the
//! first, or by all with `count = "attempt"`), the service is called. An error from the `poll_ready` of
//! the caller is passed on; the circuit has not been asked and is not told.
//!
//! # Errors
//!
//! The error is a [`BoxError`], as that of tower's own `Timeout`, `LoadShed` and `Buffer`, and takes
//! any inner error that they take. What is in the box is a
//! [`CircuitBreakerOpenError`](crate::CircuitBreakerOpenError), an
//! [`AttemptTimeoutError`](crate::AttemptTimeoutError), or the inner error, unchanged; an inner
//! `BoxError` is not boxed again. (A [`CallError`](crate::CallError) around a `BoxError` could not be
//! an [`Error`](std::error::Error), because the box is none, and no layer above could take it.) A call
//! that is not rejected and does not fail boxes nothing.
//!
//! [`Operation`]: crate::Operation
//! [`Service`]: tower_service::Service

mod future;
mod layer;
mod policy;
mod service;

pub use future::ResponseFuture;
pub use layer::OperationLayer;
pub use policy::{
    ByClassify, ByClone, CloneRequest, ErrorsAreTransient, Judge, KeyOfRequest, NoKey,
};
pub use service::OperationService;

/// Any error, as tower's own layers return it.
///
/// ```
/// fn same(error: bindu_cb::tower::BoxError) -> tower::BoxError {
///     error
/// }
/// ```
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
