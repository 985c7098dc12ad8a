//! What other code may rely on, as files: no change of it goes unseen.
//!
//! Where a change is meant, `BLESS=1 cargo test --all-features surface_` writes the files anew, and
//! their diff is read with the rest of it. What may change when is in `docs/COMPATIBILITY.md`.

mod log;
mod rust;
mod settings;
mod snapshot;
