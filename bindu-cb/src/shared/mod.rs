//! Circuits that all replicas share, through Redis or Valkey (feature `redis`).

mod address;
#[cfg_attr(not(test), expect(dead_code, reason = "for the supervisor"))]
mod key;
mod settings;

pub use settings::SharedSettings;
