//! Circuits that all replicas share, through Redis or Valkey (feature `redis`).

mod address;
mod client;
mod client_error;
mod connect;
mod key;
mod news;
mod script;
mod settings;
#[cfg(feature = "redis-tls")]
mod tls;

pub use settings::SharedSettings;
