//! The storm laboratory: many workers, a service that fails and comes back, and what they do to it
//! under different policies. In virtual time, with the real guarded functions.
//!
//! # The model
//!
//! What the figures say they say of this model. It has one service and one kind of request.
//!
//! - **Workers.** Each begins one call in every second, at a moment that is drawn anew, whether or not
//!   its earlier calls have ended: users do not wait for each other. So calls are the same in number
//!   under every policy; the requests that they make are not.
//! - **Capacity.** The service works on requests in the order in which they come and can do a quarter
//!   more than the workers have calls.
//! - **Latency.** An answer takes 5 ms on an idle service and `5 ms / (1 - utilization)` on a busy one,
//!   100 ms at most, and before that the time in the queue.
//! - **Overload.** The queue holds the work of two seconds. Who finds it full is refused at once, which
//!   costs the service nothing. A client waits for half a second; the service does not know who has gone, and
//!   does their work all the same. That is what keeps an overload alive which has lost its cause.
//! - **Retries.** Three attempts, after waits of about 100 and 200 ms, or of a first
//!   [`wait`](Scenario::wait) and twice that.
//! - **Outage.** What is in the queue is lost, and connections are refused at once.
//!   With [`hangs`](Scenario::hangs) nobody is told either: clients wait until they lose patience.
//! - **Recovery.** The service comes back cold, with a tenth of its capacity, and warms up evenly: with
//!   time, not with work.
//!
//! Everything happens on whole milliseconds. What lasts long is a part of the run (see [`Scenario`]);
//! the attempts and the client's patience are the same in every run, and so are the waits if not
//! asked for.

#![expect(
    clippy::cast_precision_loss,
    reason = "shares and places on a chart; f64 counts far beyond what happens here"
)]

mod chart;
mod cost;
mod csv;
mod ledger;
mod measures;
mod policy;
mod report;
mod scenario;
mod service;
mod simulation;

pub use chart::{chart, overview};
pub use cost::Cost;
pub use csv::csv;
pub use ledger::{Change, Ledger, Second};
pub use measures::{Figures, Probing};
pub use policy::{BUDGET_ALONE, POLICIES, Policy};
pub use report::{costs, report};
pub use scenario::Scenario;
pub use simulation::{Run, simulate};
