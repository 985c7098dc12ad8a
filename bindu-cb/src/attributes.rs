//! The attributes, with examples that run: the macro crate cannot depend on this one.

/// # Errors
///
/// The function's own error of the last attempt, unchanged; what `on_open` makes of a rejection, or
/// `E::from` it; what `on_timeout` makes of the last attempt's timeout, or `E::from` it.
///
/// # Cancel safety
///
/// The future can be dropped at any time. Its permit is given back at once; the call counts as a
/// failure if an attempt of it had failed, else as cancelled, which is nothing that decides unless
/// `on_cancel = "failure"`. What the body itself has left half done is the body's matter.
///
/// # Example
///
/// ```
/// use bindu_cb::{AttemptTimeoutError, CircuitBreakerOpenError, retry_with_breaker};
///
/// #[derive(Debug)]
/// enum QuoteError {
///     Unreachable,
///     Open,
///     Slow,
/// }
///
/// impl From<CircuitBreakerOpenError> for QuoteError {
///     fn from(_: CircuitBreakerOpenError) -> Self {
///         QuoteError::Open
///     }
/// }
///
/// impl From<AttemptTimeoutError> for QuoteError {
///     fn from(_: AttemptTimeoutError) -> Self {
///         QuoteError::Slow
///     }
/// }
///
/// #[retry_with_breaker(op = "api:quotes", attempts = 4, timeout = "2s", enabled = true)]
/// async fn quote(symbol: &str) -> Result<u32, QuoteError> {
///     match symbol {
///         "ACME" => Ok(42),
///         _ => Err(QuoteError::Unreachable),
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// assert!(matches!(quote("ACME").await, Ok(42)));
/// # })
/// ```
pub use bindu_cb_macros::retry_with_breaker;

/// # Example
///
/// ```
/// #[bindu_cb::retry_worker_operation]
/// async fn run_task(id: u32) -> std::io::Result<u32> {
///     Ok(id * 2)
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// assert_eq!(run_task(4).await?, 8);
/// assert!(bindu_cb::registry().get("worker:run_task").is_some());
/// # Ok::<(), std::io::Error>(()) }).unwrap();
/// ```
pub use bindu_cb_macros::retry_worker_operation;

/// # Example
///
/// ```
/// #[bindu_cb::retry_storage_operation(timeout = "2s")]
/// async fn load(key: &str) -> std::io::Result<String> {
///     Ok(key.to_uppercase())
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// assert_eq!(load("key").await?, "KEY");
/// assert!(bindu_cb::registry().get("storage:load").is_some());
/// # Ok::<(), std::io::Error>(()) }).unwrap();
/// ```
pub use bindu_cb_macros::retry_storage_operation;

/// # Example
///
/// ```
/// #[bindu_cb::retry_scheduler_operation(op = "scheduler:lease")]
/// async fn renew() -> std::io::Result<()> {
///     Ok(())
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// renew().await?;
/// assert!(bindu_cb::registry().get("scheduler:lease").is_some());
/// # Ok::<(), std::io::Error>(()) }).unwrap();
/// ```
pub use bindu_cb_macros::retry_scheduler_operation;

/// # Example
///
/// ```
/// struct Response {
///     status: u16,
/// }
///
/// #[bindu_cb::retry_api_call(attempts = 1, fail_if = |response: &Response| response.status == 503)]
/// async fn fetch(status: u16) -> std::io::Result<Response> {
///     Ok(Response { status })
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// // The last value is returned as it is, also when it counts as a failure.
/// assert_eq!(fetch(503).await?.status, 503);
/// # Ok::<(), std::io::Error>(()) }).unwrap();
/// ```
pub use bindu_cb_macros::retry_api_call;

/// # Errors
///
/// As for [`macro@crate::retry_with_breaker`], after one attempt.
///
/// # Cancel safety
///
/// As for [`macro@crate::retry_with_breaker`].
///
/// # Example
///
/// ```
/// #[bindu_cb::with_circuit_breaker(op = "payments", enabled = true, failure_threshold = 1)]
/// async fn charge(works: bool) -> std::io::Result<()> {
///     if works { Ok(()) } else { Err(std::io::ErrorKind::TimedOut.into()) }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// assert_eq!(charge(false).await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
/// let open = charge(true).await.unwrap_err();
/// assert!(open.to_string().starts_with("circuit breaker is open for 'payments'"));
/// # })
/// ```
pub use bindu_cb_macros::with_circuit_breaker;
