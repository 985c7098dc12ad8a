//! What an attempt's result means, and who decides it.

use std::any::type_name;
use std::future::Future;
use std::io;
use std::time::Duration;

use crate::breaker::CircuitBreaker;
#[cfg(feature = "otel")]
use crate::breaker::Outcome;
use crate::error::{AttemptTimeoutError, CallError, CircuitBreakerOpenError, OpenCause};

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
    /// the rejection by an inner circuit is ignored; everything else is permanent.
    fn classify(&self) -> Verdict {
        use io::ErrorKind as Kind;
        match self.kind() {
            _ if OpenCause::find(self).is_some() => Verdict::Ignored,
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

impl Classify for CircuitBreakerOpenError {
    fn classify(&self) -> Verdict {
        Verdict::Ignored
    }
}

impl Classify for AttemptTimeoutError {
    fn classify(&self) -> Verdict {
        Verdict::Transient
    }
}

impl<E: Classify> Classify for CallError<E> {
    fn classify(&self) -> Verdict {
        match self {
            Self::Open(open) => open.classify(),
            Self::Timeout(timeout) => timeout.classify(),
            Self::Inner(error) => error.classify(),
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

#[cfg(feature = "otel")]
impl From<Recorded> for Outcome {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::Success => Self::Success,
            Recorded::Failure => Self::Failure,
            Recorded::Nothing => Self::Ignored,
        }
    }
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

/// Here and not with the circuit, which knows outcomes and no verdicts.
impl CircuitBreaker {
    /// As [`call`](Self::call), with `verdict` to say what the result means to the circuit. The
    /// result itself is returned as it is.
    ///
    /// ```
    /// use bindu_cb::{CircuitBreaker, Classify, Verdict};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let circuit = CircuitBreaker::new("call-with", Default::default());
    /// let missing = || async { Err::<(), _>(std::io::Error::from(std::io::ErrorKind::NotFound)) };
    /// let verdict = |result: &Result<_, std::io::Error>| match result {
    ///     Ok(()) => Verdict::Success,
    ///     Err(error) => error.classify(),
    /// };
    /// assert!(circuit.call_with(missing, verdict).await.is_err());
    /// assert_eq!(circuit.snapshot().calls.success, 1, "the service has answered");
    /// # })
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As for [`call`](Self::call).
    pub async fn call_with<T, E, Fut>(
        &self,
        f: impl FnOnce() -> Fut,
        verdict: impl FnOnce(&Result<T, E>) -> Verdict,
    ) -> Result<T, CallError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let permit = self.try_acquire()?;
        let result = f().await;
        match verdict(&result) {
            Verdict::Success | Verdict::Permanent => permit.success(),
            Verdict::Transient | Verdict::Throttled(_) => permit.failure_as(type_name::<E>()),
            Verdict::Ignored => permit.ignore(),
        }
        result.map_err(CallError::Inner)
    }
}
