//! The switches of a circuit, in one word that every call reads.

use crate::settings::{CircuitBreakerSettings, Count, OnCancel};

/// Read once, when a call begins (rule B11).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode(pub(super) u64);

impl Mode {
    pub(super) const ENABLED: u64 = 1;
    pub(super) const DRY_RUN: u64 = 1 << 1;
    pub(super) const PER_ATTEMPT: u64 = 1 << 2;
    pub(super) const CANCEL_IS_FAILURE: u64 = 1 << 3;
    /// A time from which on a call is slow is set: calls must know when they began.
    pub(super) const TIMED: u64 = 1 << 4;
    /// That the circuit is off has been noted (rule S5), and need not be noted again.
    pub(super) const OFF_AND_NOTED: u64 = 1 << 5;
    /// Somebody wants to know how long attempts take: they must know when they began.
    #[cfg(feature = "otel")]
    pub(super) const WATCHED: u64 = 1 << 6;
    /// Any of those for which calls read the clock.
    #[cfg(feature = "otel")]
    const CLOCKED: u64 = Self::TIMED | Self::WATCHED;
    #[cfg(not(feature = "otel"))]
    const CLOCKED: u64 = Self::TIMED;
    /// From here up: how the classes of the operation's errors stand. See [`classes`](super::classes).
    pub(super) const CLASSES: u64 = u64::MAX << 15;

    /// What the settings say nothing of.
    #[cfg(feature = "otel")]
    pub(super) const NO_SETTINGS: u64 = Self::CLASSES | Self::WATCHED;
    #[cfg(not(feature = "otel"))]
    pub(super) const NO_SETTINGS: u64 = Self::CLASSES;

    pub(super) fn of(settings: &CircuitBreakerSettings) -> Self {
        let bit = |on: bool, bit: u64| if on { bit } else { 0 };
        Self(
            bit(settings.enabled, Self::ENABLED)
                | bit(settings.dry_run, Self::DRY_RUN)
                | bit(settings.count == Count::Attempt, Self::PER_ATTEMPT)
                | bit(settings.on_cancel == OnCancel::Failure, Self::CANCEL_IS_FAILURE)
                | bit(settings.window.and(settings.slow_call).is_some(), Self::TIMED),
        )
    }

    #[inline]
    pub(crate) fn is_off_and_noted(self) -> bool {
        self.0 & Self::OFF_AND_NOTED != 0
    }

    pub(crate) fn enabled(self) -> bool {
        self.0 & Self::ENABLED != 0
    }

    pub(super) fn timed(self) -> bool {
        self.0 & Self::TIMED != 0
    }

    #[cfg(feature = "otel")]
    pub(super) fn watched(self) -> bool {
        self.0 & Self::WATCHED != 0
    }

    /// Whether a call is to know when it begins, for whatever reason.
    #[inline]
    pub(super) fn clocked(self) -> bool {
        self.0 & Self::CLOCKED != 0
    }

    /// What was read when the call began, but for what each attempt may begin with anew.
    pub(crate) fn for_attempt(self, now: Self) -> Self {
        let anew = Self::TIMED | Self::CLASSES;
        Self(self.0 & !anew | now.0 & anew)
    }

    pub(crate) fn dry_run(self) -> bool {
        self.0 & Self::DRY_RUN != 0
    }

    pub(crate) fn per_attempt(self) -> bool {
        self.0 & Self::PER_ATTEMPT != 0
    }
}
