//! What an attempt's result means, and who decides it.

use std::io;
use std::time::Duration;

/// What an attempt's result means to the loop and to the circuit.
///
/// ```
/// use bindu_cb::{Classify, Verdict};
///
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// assert_eq!(refused.classify(), Verdict::Transient);
/// let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
/// assert_eq!(missing.classify(), Verdict::Permanent);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The service did what was asked.
    Success,
    /// Worth another attempt; a failure of the service.
    Transient,
    /// As `Transient`, but the next attempt comes after exactly this long.
    Throttled(Duration),
    /// Not worth another attempt. The service has answered, so to the circuit it is a success.
    Permanent,
    /// Not worth another attempt, and says nothing of the service.
    Ignored,
}

/// Says of an error what it means. Implemented once for an error type, it is found by the
/// attributes wherever a function returns that type; an error without it is
/// [`Transient`](Verdict::Transient).
///
/// ```
/// use bindu_cb::{Classify, Verdict};
///
/// enum StoreError {
///     Connection,
///     NotFound,
/// }
///
/// impl Classify for StoreError {
///     fn classify(&self) -> Verdict {
///         match self {
///             StoreError::Connection => Verdict::Transient,
///             StoreError::NotFound => Verdict::Permanent,
///         }
///     }
/// }
/// ```
pub trait Classify {
    /// The meaning of this error.
    fn classify(&self) -> Verdict;
}

impl Classify for io::Error {
    /// Connections that broke or could not be made, time limits and interruptions are transient;
    /// everything else is permanent.
    fn classify(&self) -> Verdict {
        use io::ErrorKind as Kind;
        match self.kind() {
            Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::NotConnected
            | Kind::BrokenPipe
            | Kind::UnexpectedEof
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::TimedOut
            | Kind::WouldBlock
            | Kind::Interrupted => Verdict::Transient,
            _ => Verdict::Permanent,
        }
    }
}

/// A verdict taken apart: whether to try again, and what the circuit is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) retry: Retry,
    pub(crate) recorded: Recorded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    No,
    /// After the schedule's next wait.
    Scheduled,
    /// After exactly this long.
    After(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    Success,
    Failure,
    Nothing,
}

impl From<Verdict> for Judgement {
    fn from(verdict: Verdict) -> Self {
        let (retry, recorded) = match verdict {
            Verdict::Success | Verdict::Permanent => (Retry::No, Recorded::Success),
            Verdict::Transient => (Retry::Scheduled, Recorded::Failure),
            Verdict::Throttled(wait) => (Retry::After(wait), Recorded::Failure),
            Verdict::Ignored => (Retry::No, Recorded::Nothing),
        };
        Self { retry, recorded }
    }
}
