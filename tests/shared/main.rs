//! Circuits that several processes share, through a server in memory and under the paused clock.

mod classes;
mod fleet;
mod server_fails;
mod support;
