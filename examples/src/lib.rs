//! What the larger examples are made of, where tests use it, too.

pub mod storm;
