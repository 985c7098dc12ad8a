//! The code of the page about moving from other crates, theirs and ours, compiled as doc tests. The other pages are in the package `bindu-cb-tests`.

#[doc = include_str!("../../../docs/MIGRATING.md")]
pub struct Migrating;
