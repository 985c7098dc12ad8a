//! What tests run against: real servers, each on a port and in a directory of its own, a browser, and
//! a proxy that makes the network between bad.
//!
//! It is for tests: whatever goes wrong panics, and says what.

mod browser;
mod http;
mod install;
mod ports;
mod process;
mod prometheus;
mod proxy;
mod redis;

pub use browser::Browser;
pub use http::http;
pub use ports::free as free_port;
pub use prometheus::{PrometheusServer, promtool};
pub use proxy::{Mode, Proxy};
pub use redis::{Options, RedisServer};
