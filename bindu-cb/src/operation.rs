//! An operation: a circuit and the retry policy of one function; what an attribute builds.

mod builder;
mod core;

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;

use crate::breaker::CircuitBreaker;
use crate::error::CallError;
use crate::keyed::with_text;
use crate::registry;
use crate::retry::seen::Text;
use crate::retry::verdict::Verdict;
use crate::retry::{Call, CoreRef, Reason};
use crate::settings::RetrySettings;
pub use builder::OperationBuilder;
pub use core::Preset;
pub(crate) use core::{Core, NO_TIMEOUT, Origin};

/// A circuit and a retry policy, for code that no attribute can stand on.
///
/// What an attribute does for a function, this does for a closure, with the same names, settings
/// and environment variables, and, like there, the circuit is asked only where `enabled` is true.
///
/// ```
/// use bindu_cb::{CallError, Operation};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let operation = Operation::builder("storage:load").enabled(true).attempts(2).build()?;
/// let loaded = operation.call(|| async { Ok::<_, std::io::Error>(7) }).await;
/// assert!(matches!(loaded, Ok(7)));
/// # Ok::<(), bindu_cb::SettingsError>(()) }).unwrap();
/// ```
pub struct Operation {
    core: Arc<Core>,
    /// The operation's, or that of a key.
    circuit: Arc<CircuitBreaker>,
}

impl Operation {
    fn new(core: Arc<Core>) -> Self {
        Self { circuit: Arc::clone(&core.circuit), core }
    }

    /// Begins an operation of this name.
    #[track_caller]
    pub fn builder(name: impl Into<String>) -> OperationBuilder {
        OperationBuilder::new(name.into(), Location::caller())
    }

    /// The circuit of the operation, or of its [key](Self::keyed).
    pub fn circuit_breaker(&self) -> &CircuitBreaker {
        &self.circuit
    }

    #[cfg(feature = "tower")]
    pub(crate) fn into_parts(self) -> (Arc<Core>, Arc<CircuitBreaker>) {
        (self.core, self.circuit)
    }

    /// The operation for a key, a host or a tenant, that has a circuit of its own under it: what
    /// the attributes' `key` is. Its settings are those of the operation.
    ///
    /// Make it anew for each call. One that is kept keeps its circuit from being forgotten, and
    /// takes a place among `max_keys`.
    ///
    /// ```
    /// use bindu_cb::{CallError, Operation};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let fetch = Operation::builder("api:keyed").enabled(true).attempts(1).build()?;
    /// for _ in 0..3 {
    ///     fetch.keyed("bad").call(|| async { Err::<(), _>("refused") }).await.unwrap_err();
    /// }
    /// let rejected = fetch.keyed("bad").call(|| async { Ok::<_, &str>(()) }).await;
    /// let Err(CallError::Open(open)) = rejected else { panic!("it is open") };
    /// assert_eq!(open.key().as_deref(), Some("bad"));
    /// assert!(fetch.keyed("good").call(|| async { Ok::<_, &str>(()) }).await.is_ok());
    /// # Ok::<(), bindu_cb::SettingsError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn keyed(&self, key: impl fmt::Display) -> Self {
        let slot = with_text(&key, |key| self.core.keys.slot(key));
        let circuit = slot.as_ref().map_or(&self.core.circuit, |slot| &slot.circuit);
        Self { core: Arc::clone(&self.core), circuit: Arc::clone(circuit) }
    }

    /// Calls `f` until it succeeds or the attempts are used up; every `Err` is transient, since
    /// nothing is known of `E`. Where it has a meaning, or may be an inner circuit's rejection, use
    /// [`call_with`](Self::call_with).
    ///
    /// # Errors
    ///
    /// The last attempt's own error, its timeout, or the rejection by an open circuit, which is also
    /// what ends a wait when the process [shuts down](crate::Registry::shutdown).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it ends, the call counts as a failure if an attempt of it had failed, else
    /// as cancelled. Its permit is free again in any case.
    pub fn call<T, E, Fut>(
        &self,
        f: impl FnMut() -> Fut,
    ) -> impl Future<Output = Result<T, CallError<E>>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        run(&self.core, &self.circuit, f, transient_errors)
    }

    /// As [`call`](Self::call), with `verdict` to say what each result means. A value that is a
    /// failure is retried, too; the last one is returned as it is.
    ///
    /// ```
    /// use bindu_cb::{Classify, Operation, Verdict};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let operation = Operation::builder("storage:find").enabled(true).build()?;
    /// let mut attempts = 0;
    /// let missing = || {
    ///     attempts += 1;
    ///     async { Err::<(), _>(std::io::Error::from(std::io::ErrorKind::NotFound)) }
    /// };
    /// let verdict = |result: &Result<_, std::io::Error>| match result {
    ///     Ok(()) => Verdict::Success,
    ///     Err(error) => error.classify(),
    /// };
    /// assert!(operation.call_with(missing, verdict).await.is_err());
    /// assert_eq!(attempts, 1, "a file that is not there is not looked for again");
    /// # Ok::<(), bindu_cb::SettingsError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As for [`call`](Self::call).
    pub fn call_with<T, E, Fut>(
        &self,
        f: impl FnMut() -> Fut,
        verdict: impl Fn(&Result<T, E>) -> Verdict,
    ) -> impl Future<Output = Result<T, CallError<E>>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        run(&self.core, &self.circuit, f, verdict)
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("circuit", &self.circuit).finish_non_exhaustive()
    }
}

fn transient_errors<T, E>(result: &Result<T, E>) -> Verdict {
    if result.is_ok() { Verdict::Success } else { Verdict::Transient }
}

async fn run<T, E, Fut>(
    core: &Arc<Core>,
    circuit: &Arc<CircuitBreaker>,
    mut f: impl FnMut() -> Fut,
    verdict: impl Fn(&Result<T, E>) -> Verdict,
) -> Result<T, CallError<E>>
where
    Fut: Future<Output = Result<T, E>>,
{
    let mut call: Call<'_> = Call::enter(CoreRef::new(core, circuit));
    loop {
        if let Some(open) = call.rejection() {
            return Err(open.into());
        }
        let delay = match call.within(pin!(f()).as_mut()).await {
            Err(timeout) => match call.timed_out(&timeout) {
                Some(delay) => delay,
                None => return Err(CallError::Timeout(timeout)),
            },
            Ok(result) => match verdict(&result) {
                Verdict::Success => {
                    call.success();
                    return result.map_err(CallError::Inner);
                }
                // Nothing is known of `E`: its name is all that there is to say.
                verdict => match call.after_attempt(
                    verdict.into(),
                    Text::Static(type_name::<E>()),
                    if result.is_ok() { Reason::FailedValue } else { Reason::Error },
                ) {
                    Some(delay) => delay,
                    None => return result.map_err(CallError::Inner),
                },
            },
        };
        call.wait(delay).await;
    }
}

/// Runs `f` in a retry loop with these settings, behind the circuit of `name`. Every `Err` is
/// transient: for errors that are not, see [`Operation::call_with`].
///
/// `options` stand where an attribute's keys stand: only settings of the operation itself, in the
/// environment or in code, are stronger. The circuit has the settings of the registry and is asked
/// if it is `enabled` there.
///
/// ```
/// use bindu_cb::{RetrySettings, execute_with_retry};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let options = RetrySettings::default().attempts(2);
/// let value = execute_with_retry("api:quote", options, || async { Ok::<_, String>(42) }).await;
/// assert!(matches!(value, Ok(42)));
/// # })
/// ```
///
/// # Errors
///
/// As for [`Operation::call`]. Settings that are out of range are moved into it and logged.
///
/// # Cancel safety
///
/// As for [`Operation::call`].
pub async fn execute_with_retry<T, E, Fut>(
    name: &str,
    options: RetrySettings,
    f: impl FnMut() -> Fut,
) -> Result<T, CallError<E>>
where
    Fut: Future<Output = Result<T, E>>,
{
    if let Err(error) = options.validate() {
        tracing::error!(operation = name, %error, "retry settings out of range");
    }
    let registry = registry::current();
    let core = registry.unlisted(name, &options.clamped());
    run(&core, &core.circuit, f, transient_errors).await
}
