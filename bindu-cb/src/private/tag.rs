//! The types of a function's result, without a value of them.

use std::future::{Future, Ready, ready};
use std::marker::PhantomData;

use crate::error::{AttemptTimeoutError, CircuitBreakerOpenError};

/// A return type that a retry loop can read: `Result`.
///
/// The tag is a parameter and no associated type, and asked for once: of a function that returns
/// something else it stays unknown, so that rustc has one error to report and not one for each use.
#[diagnostic::on_unimplemented(
    message = "a guarded function must return a `Result`, not `{Self}`",
    label = "this is no `Result`",
    note = "an `Err` is how an attempt says that it failed"
)]
pub trait Outcome<G, E>: Sized {
    /// The tag.
    fn tag() -> G;
    /// An error.
    fn from_err(error: E) -> Self;
}

impl<T, E> Outcome<Tag<T, E>, E> for Result<T, E> {
    fn tag() -> Tag<T, E> {
        Tag(PhantomData)
    }

    fn from_err(error: E) -> Self {
        Err(error)
    }
}

/// The types of a `Result`. Of a function pointer, so that it is `Send` whatever they are.
pub struct Tag<T, E>(PhantomData<fn() -> Result<T, E>>);

impl<T, E> Clone for Tag<T, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, E> Copy for Tag<T, E> {}

/// The tag of a return type.
pub fn tag<R: Outcome<G, E>, G, E>() -> G {
    R::tag()
}

impl<T, E> Tag<T, E> {
    /// The result of an attempt, to be looked at.
    ///
    /// # Errors
    ///
    /// Its own.
    #[inline]
    pub fn split(self, result: &Result<T, E>) -> Result<&T, &E> {
        result.as_ref()
    }
}

/// What holds for errors of any type; an inherent method of a particular one goes before it.
pub trait TagExt<T, E> {
    /// The rejection as the function's result.
    ///
    /// # Errors
    ///
    /// Always.
    fn __bindu_cb_open(self, open: CircuitBreakerOpenError) -> Result<T, E>
    where
        E: FromOpen;

    /// The timeout as the function's result.
    ///
    /// # Errors
    ///
    /// Always.
    fn __bindu_cb_timeout(self, timeout: AttemptTimeoutError) -> Result<T, E>
    where
        E: FromTimeout;
}

impl<T, E> TagExt<T, E> for Tag<T, E> {
    fn __bindu_cb_open(self, open: CircuitBreakerOpenError) -> Result<T, E>
    where
        E: FromOpen,
    {
        Err(E::from_open(open))
    }

    fn __bindu_cb_timeout(self, timeout: AttemptTimeoutError) -> Result<T, E>
    where
        E: FromTimeout,
    {
        Err(E::from_timeout(timeout))
    }
}

#[cfg(feature = "backoff")]
impl<T, E> Tag<T, backoff::Error<E>> {
    /// A rejection is not to be retried by a loop further out.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn __bindu_cb_open(self, open: CircuitBreakerOpenError) -> Result<T, backoff::Error<E>>
    where
        E: FromOpen,
    {
        Err(backoff::Error::Permanent(E::from_open(open)))
    }

    /// A timeout is.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn __bindu_cb_timeout(self, timeout: AttemptTimeoutError) -> Result<T, backoff::Error<E>>
    where
        E: FromTimeout,
    {
        Err(backoff::Error::transient(E::from_timeout(timeout)))
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
pub fn on_timeout<R, G, E, F>(f: F, timeout: AttemptTimeoutError) -> R
where
    R: Outcome<G, E>,
    F: Fn(AttemptTimeoutError) -> E,
{
    R::from_err(f(timeout))
}
