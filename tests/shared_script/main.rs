//! The scripts of the shared circuits on a real server.

mod changes;
mod refusals;
mod replay;
mod server;
