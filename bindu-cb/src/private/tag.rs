//! The types of a function's result, without a value of them.

use std::future::{Future, Ready, ready};
use std::marker::PhantomData;

use crate::error::{AttemptTimeoutError, CircuitBreakerOpenError};
use crate::retry::verdict::Verdict;

/// A return type that a retry loop can read: `Result`.
///
/// With parameters instead of associated types, and asked for once, so that a function that
/// returns something else gets one error and not three.
#[diagnostic::on_unimplemented(
    message = "a guarded function must return a `Result`, not `{Self}`",
    label = "this is no `Result`",
    note = "an `Err` is how an attempt says that it failed"
)]
pub trait Outcome<T, E>: Sized {
    /// The result.
    ///
    /// # Errors
    ///
    /// Its own.
    fn into_result(self) -> Result<T, E>;
    /// A value.
    fn from_ok(value: T) -> Self;
    /// An error.
    fn from_err(error: E) -> Self;
}

impl<T, E> Outcome<T, E> for Result<T, E> {
    fn into_result(self) -> Self {
        self
    }

    fn from_ok(value: T) -> Self {
        Ok(value)
    }

    fn from_err(error: E) -> Self {
        Err(error)
    }
}

/// `R` is made of `T` and `E`. Of function pointers, so that it is `Send` whatever they are.
pub struct Tag<R, T, E>(PhantomData<fn() -> R>, PhantomData<fn() -> Result<T, E>>);

impl<R, T, E> Clone for Tag<R, T, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, T, E> Copy for Tag<R, T, E> {}

/// The tag of a return type.
pub fn tag<R: Outcome<T, E>, T, E>() -> Tag<R, T, E> {
    Tag(PhantomData, PhantomData)
}

impl<R: Outcome<T, E>, T, E> Tag<R, T, E> {
    /// The result of an attempt.
    ///
    /// # Errors
    ///
    /// Its own.
    pub fn split(self, result: R) -> Result<T, E> {
        result.into_result()
    }

    /// The function's result: a value.
    pub fn ok(self, value: T) -> R {
        R::from_ok(value)
    }

    /// The function's result: an error.
    pub fn err(self, error: E) -> R {
        R::from_err(error)
    }
}

/// What holds for errors of any type; an inherent method of a particular one goes before it.
pub trait TagExt<R, E> {
    /// The rejection as the function's result.
    fn __bindu_cb_open(self, open: CircuitBreakerOpenError) -> R
    where
        E: FromOpen;

    /// The timeout as the function's result.
    fn __bindu_cb_timeout(self, timeout: AttemptTimeoutError) -> R
    where
        E: FromTimeout;

    /// What the type says of an error before any key is asked.
    fn __bindu_cb_own_verdict(self, error: &E) -> Option<Verdict>;

    /// The error in which to look for an inner rejection.
    fn __bindu_cb_inner(self, error: &E) -> &E;
}

impl<R: Outcome<T, E>, T, E> TagExt<R, E> for Tag<R, T, E> {
    fn __bindu_cb_open(self, open: CircuitBreakerOpenError) -> R
    where
        E: FromOpen,
    {
        R::from_err(E::from_open(open))
    }

    fn __bindu_cb_timeout(self, timeout: AttemptTimeoutError) -> R
    where
        E: FromTimeout,
    {
        R::from_err(E::from_timeout(timeout))
    }

    fn __bindu_cb_own_verdict(self, _: &E) -> Option<Verdict> {
        None
    }

    fn __bindu_cb_inner(self, error: &E) -> &E {
        error
    }
}

#[cfg(feature = "backoff")]
impl<R: Outcome<T, backoff::Error<E>>, T, E> Tag<R, T, backoff::Error<E>> {
    /// A rejection is not to be retried by a loop further out.
    pub fn __bindu_cb_open(self, open: CircuitBreakerOpenError) -> R
    where
        E: FromOpen,
    {
        R::from_err(backoff::Error::Permanent(E::from_open(open)))
    }

    /// A timeout is.
    pub fn __bindu_cb_timeout(self, timeout: AttemptTimeoutError) -> R
    where
        E: FromTimeout,
    {
        R::from_err(backoff::Error::transient(E::from_timeout(timeout)))
    }

    /// What the variant says.
    pub fn __bindu_cb_own_verdict(self, error: &backoff::Error<E>) -> Option<Verdict> {
        match error {
            backoff::Error::Permanent(_) => Some(Verdict::Permanent),
            backoff::Error::Transient { retry_after, .. } => retry_after.map(Verdict::Throttled),
        }
    }

    /// The wrapped one: of `anyhow::Error` and boxes `backoff::Error` makes no error.
    pub fn __bindu_cb_inner(self, error: &backoff::Error<E>) -> &E {
        match error {
            backoff::Error::Permanent(err) | backoff::Error::Transient { err, .. } => err,
        }
    }
}

/// An error that can be made from a rejection. A trait of its own, because a blanket impl of a
/// foreign one would swallow the message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made from the error of an open circuit",
    label = "has no `From<CircuitBreakerOpenError>`",
    note = "either write `impl From<bindu_cb::CircuitBreakerOpenError> for {Self}`",
    note = "or say what to return when the circuit is open: `on_open = |open| …` in the attribute"
)]
pub trait FromOpen {
    /// Makes it.
    fn from_open(open: CircuitBreakerOpenError) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<CircuitBreakerOpenError>> FromOpen for E {
    fn from_open(open: CircuitBreakerOpenError) -> Self {
        open.into()
    }
}

/// An error that can be made from a timeout.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made from the timeout of an attempt",
    label = "has no `From<AttemptTimeoutError>`",
    note = "either write `impl From<bindu_cb::AttemptTimeoutError> for {Self}`",
    note = "or make the error yourself: `on_timeout = |timeout| …` in the attribute"
)]
pub trait FromTimeout {
    /// Makes it.
    fn from_timeout(timeout: AttemptTimeoutError) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<AttemptTimeoutError>> FromTimeout for E {
    fn from_timeout(timeout: AttemptTimeoutError) -> Self {
        timeout.into()
    }
}

/// Calls `on_open`. With the result's type given, so that what the closure returns coerces to it.
pub fn on_open<R, F>(f: F, open: CircuitBreakerOpenError) -> R
where
    F: FnOnce(CircuitBreakerOpenError) -> R,
{
    f(open)
}

/// What a function given as `on_open` returns: the result, or a future of it.
pub trait Opened<R, Marker> {
    /// What is awaited.
    type Future: Future<Output = R>;
    /// The result, to be awaited.
    fn opened(self) -> Self::Future;
}

/// Marks functions that return the result itself.
pub struct AtOnce;
/// Marks functions that return a future.
pub struct InTime;

impl<R> Opened<R, AtOnce> for R {
    type Future = Ready<R>;

    fn opened(self) -> Self::Future {
        ready(self)
    }
}

impl<R, F: Future<Output = R>> Opened<R, InTime> for F {
    type Future = F;

    fn opened(self) -> F {
        self
    }
}

/// Calls an `on_open` that was given as a path: a function, `async` or not.
pub fn on_open_path<R, O, M, F>(f: F, open: CircuitBreakerOpenError) -> O::Future
where
    F: FnOnce(CircuitBreakerOpenError) -> O,
    O: Opened<R, M>,
{
    f(open).opened()
}

/// Calls `on_timeout`.
pub fn on_timeout<R, T, E, F>(f: F, timeout: AttemptTimeoutError) -> R
where
    R: Outcome<T, E>,
    F: Fn(AttemptTimeoutError) -> E,
{
    R::from_err(f(timeout))
}
