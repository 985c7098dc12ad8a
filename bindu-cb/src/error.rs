//! The errors of the crate: four plain types and the cause of a rejection.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::name::{Name, Opening, Why};

/// A call was turned away because the circuit of its operation is open, or not tried again because
/// it has opened, or because the process [shuts down](crate::Registry::shutdown).
///
/// The body of the function did not run, or not again. [`retry_after`](Self::retry_after) says when it is worth
/// coming back; [`source`](Error::source) is the [`OpenCause`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let circuit = bindu_cb::CircuitBreaker::new("open-error", Default::default());
/// circuit.force_open();
/// let open = circuit.try_acquire().unwrap_err();
/// assert_eq!(open.operation(), "open-error");
/// assert!(open.to_string().starts_with("circuit breaker is open for 'open-error': retry after "));
/// # })
/// ```
#[derive(Clone)]
pub struct CircuitBreakerOpenError {
    /// In nanoseconds: it is part of every guarded function's future.
    retry_after: u64,
    cause: OpenCause,
}

impl CircuitBreakerOpenError {
    /// `retry_after` in nanoseconds.
    #[inline]
    pub(crate) fn new(retry_after: u64, cause: OpenCause) -> Self {
        Self { retry_after, cause }
    }

    /// The name of the operation whose circuit is open.
    pub fn operation(&self) -> &str {
        self.cause.name.as_str()
    }

    /// The key whose circuit it is, where each key has one of its own under the operation. `None`
    /// also once that circuit no longer exists, or if it has never opened, because it is for
    /// [another reason](OpenReason::Shutdown) that the call was ended.
    pub fn key(&self) -> Option<String> {
        self.cause.key()
    }

    /// How long to wait before a call has a chance. A hint, not a promise: while a probe is under
    /// way, or the circuit is forced open, nobody can know. Zero where the process shuts down:
    /// another one can be asked at once.
    pub fn retry_after(&self) -> Duration {
        Duration::from_nanos(self.retry_after)
    }
}

impl fmt::Display for CircuitBreakerOpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cause.opening.reason() == OpenReason::Shutdown {
            return write!(f, "'{}' is not tried again: {}", self.operation(), self.cause);
        }
        write!(
            f,
            "circuit breaker is open for '{}': retry after {:.1}s",
            self.operation(),
            self.retry_after().as_secs_f64()
        )
    }
}

impl fmt::Debug for CircuitBreakerOpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerOpenError")
            .field("operation", &self.operation())
            .field("key", &self.key())
            .field("retry_after", &self.retry_after())
            .field("cause", &self.cause)
            .finish()
    }
}

impl Error for CircuitBreakerOpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

impl From<CircuitBreakerOpenError> for io::Error {
    /// Of kind [`Other`](io::ErrorKind::Other); the open error is found by
    /// [`get_ref`](io::Error::get_ref).
    fn from(open: CircuitBreakerOpenError) -> Self {
        Self::other(open)
    }
}

/// What kind of event opened a circuit.
///
/// ```
/// use bindu_cb::{CircuitBreaker, OpenCause, OpenReason};
/// use std::error::Error;
///
/// let circuit = CircuitBreaker::new("open-reason", Default::default());
/// circuit.force_open();
/// let open = circuit.try_acquire().unwrap_err();
/// let cause = open.source().and_then(|source| source.downcast_ref::<OpenCause>()).unwrap();
/// assert_eq!(cause.reason(), OpenReason::Forced);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenReason {
    /// Too many calls had failed, here or in a process that the circuit is shared with.
    Failures,
    /// A probe failed, so the circuit opened again.
    ProbeFailed,
    /// Somebody called `force_open`.
    Forced,
    /// The circuit has closed again and does not let everybody through yet.
    RampUp,
    /// None has: the process [shuts down](crate::Registry::shutdown), and the loop of the call has
    /// ended its wait.
    Shutdown,
}

/// An error, its source, and so on; cut off where it may be endless.
pub(crate) fn error_chain<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    const LONGEST: usize = 128;
    std::iter::successors(Some(error), |error| (*error).source()).take(LONGEST)
}

/// Why a circuit is open: the source of a [`CircuitBreakerOpenError`].
///
/// It is a type of its own so that a rejection is recognised wherever an error shows its source
/// chain, also behind wrappers that hide the open error itself. It carries no text: what it says
/// is looked up when it is asked, among the last few openings of the circuit.
///
/// ```
/// use std::error::Error;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// #[bindu_cb::with_circuit_breaker(op = "open-cause", enabled = true, failure_threshold = 1)]
/// async fn save() -> std::io::Result<()> {
///     Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer"))
/// }
///
/// save().await.unwrap_err();
/// let open = save().await.unwrap_err();
/// let cause = open.source().unwrap();
/// assert_eq!(cause.to_string(), "opened after 1 failure: no answer");
/// # })
/// ```
#[derive(Clone)]
pub struct OpenCause {
    pub(crate) name: &'static Name,
    pub(crate) circuit: u64,
    pub(crate) opening: OpeningId,
}

/// Which opening of its circuit, and of what kind: a generation with the reason above it. Never zero,
/// whatever the generation: that would be no rejection.
#[derive(Clone, Copy)]
pub(crate) struct OpeningId(u64);

impl OpeningId {
    const REASON_SHIFT: u32 = 59;

    /// The generation is less wide than what is left to it.
    pub(crate) fn new(generation: u64, reason: OpenReason) -> Self {
        let reason = match reason {
            OpenReason::Failures => 1,
            OpenReason::ProbeFailed => 2,
            OpenReason::Forced => 3,
            OpenReason::RampUp => 4,
            OpenReason::Shutdown => 5,
        };
        Self(generation | reason << Self::REASON_SHIFT)
    }

    /// Below `1 << 62`.
    pub(crate) fn as_u64(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn from_u64(id: u64) -> Self {
        Self(id)
    }

    pub(crate) fn generation(self) -> u64 {
        self.0 & ((1 << Self::REASON_SHIFT) - 1)
    }

    pub(crate) fn reason(self) -> OpenReason {
        match self.0 >> Self::REASON_SHIFT {
            1 => OpenReason::Failures,
            2 => OpenReason::ProbeFailed,
            3 => OpenReason::Forced,
            4 => OpenReason::RampUp,
            _ => OpenReason::Shutdown,
        }
    }
}

impl OpenCause {
    /// What kind of event opened the circuit.
    pub fn reason(&self) -> OpenReason {
        self.reason_of(self.recall().as_ref())
    }

    fn recall(&self) -> Option<Opening> {
        self.name.recall(self.circuit, self.opening.generation())
    }

    /// The circuit's word tells that it opened again; that it was calls and no probe, before it let
    /// everybody through, is remembered with the opening. So is that it was another process, of
    /// which no more is known.
    fn reason_of(&self, opening: Option<&Opening>) -> OpenReason {
        match (self.opening.reason(), opening.map(|opening| opening.why)) {
            (OpenReason::ProbeFailed, None | Some(Why::Probe)) => OpenReason::ProbeFailed,
            (OpenReason::ProbeFailed, Some(_)) => OpenReason::Failures,
            (reason, _) => reason,
        }
    }

    /// The cause in an error's source chain, if it comes from a rejection: by an inner guarded call,
    /// say, that the code around must not count against its own circuit.
    ///
    /// ```
    /// let circuit = bindu_cb::CircuitBreaker::new("found", Default::default());
    /// circuit.force_open();
    /// let open = circuit.try_acquire().unwrap_err();
    /// let wrapped = std::io::Error::other(open);
    /// assert!(bindu_cb::OpenCause::find(&wrapped).is_some());
    /// assert!(bindu_cb::OpenCause::find(&std::io::Error::other("busy")).is_none());
    /// ```
    pub fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        error_chain(error).find_map(|error| error.downcast_ref())
    }

    fn key(&self) -> Option<String> {
        self.name.key_of(self.circuit).map(String::from)
    }

    /// The text of the failure that opened the circuit. `None` if it was opened by hand, or if it
    /// has opened several times since, or no longer exists.
    pub fn last_failure(&self) -> Option<String> {
        if matches!(
            self.opening.reason(),
            OpenReason::Forced | OpenReason::RampUp | OpenReason::Shutdown
        ) {
            return None;
        }
        self.recall()?.last_failure.as_deref().map(str::to_owned)
    }
}

impl fmt::Display for OpenCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opening = self.recall();
        match self.reason_of(opening.as_ref()) {
            OpenReason::Forced => return f.write_str("forced open by hand"),
            OpenReason::Shutdown => return f.write_str("the process is shutting down"),
            OpenReason::RampUp => return f.write_str("closed again, and not yet for all calls"),
            OpenReason::ProbeFailed => f.write_str("opened again because a probe failed")?,
            OpenReason::Failures => match opening.as_ref().map(|o| o.why) {
                None | Some(Why::Probe | Why::ByHand) => {
                    f.write_str("opened because calls failed")?;
                }
                Some(Why::Remote) => {
                    f.write_str("opened because the circuit of another process opened")?;
                }
                Some(Why::FailuresInARow(1)) => f.write_str("opened after 1 failure")?,
                Some(Why::FailuresInARow(n)) => write!(f, "opened after {n} failures in a row")?,
                Some(Why::FailureRate { failures, calls, learnt }) => {
                    write!(f, "opened because {failures} of {calls} calls failed")?;
                    if let Some(threshold) = learnt {
                        write!(f, " (adaptive threshold {threshold:.1} %)")?;
                    }
                }
                Some(Why::SlowCallRate { slow, calls }) => {
                    return write!(f, "opened because {slow} of {calls} calls were slow");
                }
            },
        }
        match opening.and_then(|o| o.last_failure) {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for OpenCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenCause")
            .field("reason", &self.reason())
            .field("last_failure", &self.last_failure())
            .finish_non_exhaustive()
    }
}

/// By its address a bare cause is known where it may borrow and cannot be downcast. A static,
/// because a constant may have several.
static CAUSE_MARK: &str = "the cause of an open circuit breaker";

impl Error for OpenCause {
    fn description(&self) -> &str {
        CAUSE_MARK
    }
}

impl OpenCause {
    /// Whether an error is a cause. Only for errors that may borrow; others are downcast.
    #[expect(deprecated, reason = "the only other thing that every error can be asked is its text")]
    pub(crate) fn is_cause<'e>(error: &'e (dyn Error + 'e)) -> bool {
        std::ptr::eq(error.description(), CAUSE_MARK)
    }
}

/// An attempt took longer than its `timeout` and was dropped.
///
/// ```
/// use bindu_cb::{CallError, Operation};
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// let operation = Operation::builder("slow").attempts(1).timeout(Duration::from_secs(2)).build()?;
/// let hung = operation.call(std::future::pending::<Result<(), String>>).await;
/// let Err(CallError::Timeout(timeout)) = hung else { panic!("it hangs") };
/// assert_eq!(timeout.to_string(), "an attempt of 'slow' took longer than 2s");
/// # Ok::<(), bindu_cb::SettingsError>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct AttemptTimeoutError {
    operation: &'static str,
    timeout: Duration,
}

impl AttemptTimeoutError {
    pub(crate) fn new(operation: &'static str, timeout: Duration) -> Self {
        Self { operation, timeout }
    }

    /// The name of the operation.
    pub fn operation(&self) -> &str {
        self.operation
    }

    /// The limit that the attempt ran into.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl fmt::Display for AttemptTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an attempt of '{}' took longer than {:?}", self.operation, self.timeout)
    }
}

impl Error for AttemptTimeoutError {}

impl From<AttemptTimeoutError> for io::Error {
    /// Of kind [`TimedOut`](io::ErrorKind::TimedOut).
    fn from(timeout: AttemptTimeoutError) -> Self {
        Self::new(io::ErrorKind::TimedOut, timeout)
    }
}

/// What a guarded call returns where no attribute maps errors to the function's own type.
///
/// ```
/// use bindu_cb::{CallError, CircuitBreaker};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let circuit = CircuitBreaker::new("call-error", Default::default());
/// match circuit.call(|| async { Err::<(), _>("refused") }).await {
///     Err(CallError::Inner(own)) => assert_eq!(own, "refused"),
///     Err(CallError::Open(open)) => println!("back in {:?}", open.retry_after()),
///     Err(CallError::Timeout(_)) | Ok(()) => {}
/// }
/// # })
/// ```
#[derive(Clone, Debug)]
pub enum CallError<E> {
    /// The circuit is open, or the process [shuts down](crate::Registry::shutdown): the operation was
    /// not tried, or not tried again.
    Open(CircuitBreakerOpenError),
    /// The last attempt ran into its time limit.
    Timeout(AttemptTimeoutError),
    /// The last attempt's own error.
    Inner(E),
}

impl<E> CallError<E> {
    /// The operation's own error, if it was that.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Inner(error) => Some(error),
            Self::Open(_) | Self::Timeout(_) => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(open) => open.fmt(f),
            Self::Timeout(timeout) => timeout.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for CallError<E> {
    // Transparent: the variant is the wrapped error, so its source is that error's source.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Open(open) => open.source(),
            Self::Timeout(timeout) => timeout.source(),
            Self::Inner(error) => error.source(),
        }
    }
}

impl<E> From<CircuitBreakerOpenError> for CallError<E> {
    fn from(open: CircuitBreakerOpenError) -> Self {
        Self::Open(open)
    }
}

impl<E> From<AttemptTimeoutError> for CallError<E> {
    fn from(timeout: AttemptTimeoutError) -> Self {
        Self::Timeout(timeout)
    }
}

/// Settings that cannot be used as they are: every mistake, not only the first.
///
/// ```
/// let error = bindu_cb::Settings::default()
///     .with_variables([("BINDU_CB_JITTER", "2"), ("BINDU_CB_ATTEMPTS", "three")])
///     .unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "2 settings cannot be used:\n  \
///      BINDU_CB_ATTEMPTS=\"three\": expected a whole number, 1 or more\n  \
///      BINDU_CB_JITTER=\"2\": expected a number from 0 to 1",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<SettingProblem>,
}

impl SettingsError {
    /// `Ok` without problems.
    pub(crate) fn check(problems: Vec<SettingProblem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    #[cfg(feature = "redis")]
    pub(crate) fn one(problem: SettingProblem) -> Self {
        Self { problems: vec![problem] }
    }

    /// Every mistake, in the order of the settings' names.
    pub fn problems(&self) -> &[SettingProblem] {
        &self.problems
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problems[..] {
            [one] => one.fmt(f),
            many => {
                write!(f, "{} settings cannot be used:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl Error for SettingsError {}

/// One setting that cannot be used as it is.
///
/// ```
/// let error = bindu_cb::CircuitBreakerSettings::default().failure_threshold(0).validate().unwrap_err();
/// let problem = &error.problems()[0];
/// assert_eq!((problem.name(), problem.value()), ("failure_threshold", Some("0")));
/// assert_eq!(problem.advice(), "expected a whole number from 1 to 65535");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) advice: String,
}

impl SettingProblem {
    /// The environment variable, or the key that was set in code.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was set to. `None` where the name itself is the mistake.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// What is expected instead.
    pub fn advice(&self) -> &str {
        &self.advice
    }
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value:?}: {}", self.name, self.advice),
            None => write!(f, "{}: {}", self.name, self.advice),
        }
    }
}
