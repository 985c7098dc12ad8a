//! A page that shows the circuits of this process (feature `dashboard`).
//!
//! ```
//! # fn handler() {}
//! let app: axum::Router = axum::Router::new()
//!     .nest_service("/circuits", bindu_cb::dashboard::router());
//! ```
//!
//! One page with a row for each circuit, the open ones first: state, since when, when it is probed
//! next, the calls of the last minute, the last failure, settings with their sources. It is live, and
//! nothing can be changed by it. The same is there as JSON, under `circuits.json`.
//!
//! **It shows the texts of failures, keys and settings: mount it behind your own authentication.**
//!
//! # What it costs
//!
//! Nothing while nobody watches: no task, no thread, no listener. While somebody does, one snapshot
//! of the registry a second, and one at most 100 ms after a change of state (later only where a
//! snapshot takes more than 5 ms), is made for all viewers together, by whichever of their streams
//! comes first. A viewer that reads slowly skips to the newest one; nothing is queued for it.

mod history;
mod hub;
mod page;
mod router;
mod view;

pub use router::router;
