//! Other attributes and doc comments are handed on; `cfg_attr` may hold ours.

#![deny(missing_docs, unused_must_use, deprecated)]
//! Crate.

use std::io;

use bindu_cb::{retry_with_breaker, with_circuit_breaker};

/// Documented.
#[cfg_attr(all(), retry_with_breaker(op = "attributes"))]
#[must_use = "read it"]
#[inline]
pub async fn documented(#[allow(unused_variables)] unused: u32) -> io::Result<u32> {
    //! Also inside.
    #![allow(clippy::unused_async)]
    Ok(1)
}

/// Not retried.
#[cfg_attr(any(), retry_with_breaker(op = "attributes", nonsense))]
pub async fn plain() -> io::Result<u32> {
    Ok(2)
}

#[with_circuit_breaker]
#[allow(dead_code)]
async fn dead() -> io::Result<u32> {
    Ok(3)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    assert_eq!(documented(0).await?, 1);
    assert_eq!(plain().await?, 2);
    Ok(())
}
