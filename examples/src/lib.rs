//! The examples are in the package's root; see `Cargo.toml`.
