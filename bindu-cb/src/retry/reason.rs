//! Why another attempt is made.

use std::fmt;
#[cfg(feature = "otel")]
use std::sync::atomic::{AtomicU64, Ordering};

use super::verdict::Retry;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Error,
    /// The service has said when to come back.
    Throttled,
    TimedOut,
    FailedValue,
}

impl Reason {
    #[cfg(feature = "otel")]
    pub(crate) const ALL: [Self; 4] =
        [Self::Error, Self::Throttled, Self::TimedOut, Self::FailedValue];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Throttled => "throttled",
            Self::TimedOut => "timed_out",
            Self::FailedValue => "failed_value",
        }
    }

    /// Whatever said so: an error or a value.
    pub(super) fn unless_throttled(self, retry: Retry) -> Self {
        if matches!(retry, Retry::After(_)) { Self::Throttled } else { self }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The retries of an operation by reason, counted when they are decided on.
#[cfg(feature = "otel")]
#[derive(Debug, Default)]
pub(crate) struct Reasons([AtomicU64; Reason::ALL.len()]);

#[cfg(feature = "otel")]
impl Reasons {
    pub(super) fn count(&self, reason: Reason) {
        // Relaxed, here and below: a figure for whoever looks.
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }
}
