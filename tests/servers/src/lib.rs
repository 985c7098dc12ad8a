//! What tests run against: real servers, each on a port and in a directory of its own, and a proxy
//! that makes the network between bad.
//!
//! It is for tests: whatever goes wrong panics, and says what.

mod http;
//! What tests of shared circuits run against: real servers, each on a port and in a directory of
//! its own, and a proxy that makes the network between bad. And a browser, for the page that shows them.
//!
//! It is for tests: whatever goes wrong panics, and says what.

mod browser;
mod install;
mod ports;
mod process;
mod prometheus;
mod proxy;
mod redis;

pub use http::http;
pub use prometheus::{PrometheusServer, promtool};
pub use browser::Browser;
pub use ports::free as free_port;
pub use proxy::{Mode, Proxy};
pub use redis::{Options, RedisServer};
