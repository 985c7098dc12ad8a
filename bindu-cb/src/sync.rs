//! The atomics and the lock of what loom checks; loom's own in its models, which may also break the code
//! on purpose to see that they notice.

#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64},
};

#[cfg(all(test, loom))]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64},
};

/// Whether a model runs with this mutation of the code. Nothing outside of the models.
#[cfg(not(all(test, loom)))]
pub(crate) const fn mutated(_: &str) -> bool {
    false
}

#[cfg(all(test, loom))]
pub(crate) use crate::breaker::models::mutated;
