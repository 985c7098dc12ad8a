//! What tests of shared circuits run against: real servers, each on a port and in a directory of
//! its own, and a proxy that makes the network between bad.
//!
//! It is for tests: whatever goes wrong panics, and says what.

mod install;
mod ports;
mod process;
mod proxy;
mod redis;

pub use proxy::{Mode, Proxy};
pub use redis::{Options, RedisServer};
