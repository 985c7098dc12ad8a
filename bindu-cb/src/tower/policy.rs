//! What the layer has to know of requests and results: each a trait that closures have, too.

use std::borrow::Cow;

use crate::retry::verdict::{Classify, Verdict};

/// Copies a request, for there may have to be another attempt with it.
///
/// Closures `Fn(&Req) -> Option<Req>` have it; a type of one's own gives the layer a type that can be
/// written down.
///
/// ```
/// use bindu_cb::Operation;
/// use bindu_cb::tower::{CloneRequest, OperationLayer};
///
/// struct Upload {
///     path: String,
///     stream: Option<std::fs::File>,
/// }
///
/// #[derive(Clone)]
/// struct WithoutStream;
///
/// impl CloneRequest<Upload> for WithoutStream {
///     fn clone_request(&self, upload: &Upload) -> Option<Upload> {
///         // What is read from the stream is gone: one attempt.
///         upload.stream.is_none().then(|| Upload { path: upload.path.clone(), stream: None })
///     }
/// }
///
/// let operation = Operation::builder("storage:upload").build()?;
/// let _layer: OperationLayer<WithoutStream> =
///     OperationLayer::new(operation).clone_request(WithoutStream);
/// # Ok::<(), bindu_cb::SettingsError>(())
/// ```
pub trait CloneRequest<Req> {
    /// The copy. `None`: it cannot be copied, and the attempt that it is for will be the last.
    fn clone_request(&self, request: &Req) -> Option<Req>;
}

impl<Req, F: Fn(&Req) -> Option<Req>> CloneRequest<Req> for F {
    #[inline]
    fn clone_request(&self, request: &Req) -> Option<Req> {
        self(request)
    }
}

/// Copies requests by their [`Clone`]: the default.
///
/// ```
/// use bindu_cb::tower::{ByClone, CloneRequest};
///
/// assert_eq!(ByClone.clone_request(&"a request"), Some("a request"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ByClone;

impl<Req: Clone> CloneRequest<Req> for ByClone {
    #[inline]
    fn clone_request(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

/// Says what the result of an attempt means. Closures `Fn(&Result<Res, E>) -> Verdict` have it.
///
/// The rejection by an inner circuit is [`Ignored`](Verdict::Ignored) whatever this says, where the
/// error or its sources show it.
///
/// ```
/// use bindu_cb::Verdict;
/// use bindu_cb::tower::Judge;
///
/// #[derive(Clone)]
/// struct ByStatus;
///
/// impl<E> Judge<u16, E> for ByStatus {
///     fn judge(&self, result: &Result<u16, E>) -> Verdict {
///         match result {
///             Ok(503) | Err(_) => Verdict::Transient,
///             Ok(_) => Verdict::Success,
///         }
///     }
/// }
///
/// assert_eq!(ByStatus.judge(&Ok::<_, ()>(503)), Verdict::Transient);
/// ```
pub trait Judge<Res, E> {
    /// The meaning of this result.
    fn judge(&self, result: &Result<Res, E>) -> Verdict;
}

impl<Res, E, F: Fn(&Result<Res, E>) -> Verdict> Judge<Res, E> for F {
    #[inline]
    fn judge(&self, result: &Result<Res, E>) -> Verdict {
        self(result)
    }
}

/// Every error is transient: the default.
///
/// ```
/// use bindu_cb::Verdict;
/// use bindu_cb::tower::{ErrorsAreTransient, Judge};
///
/// assert_eq!(ErrorsAreTransient.judge(&Err::<(), _>("refused")), Verdict::Transient);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorsAreTransient;

impl<Res, E> Judge<Res, E> for ErrorsAreTransient {
    #[inline]
    fn judge(&self, result: &Result<Res, E>) -> Verdict {
        if result.is_ok() { Verdict::Success } else { Verdict::Transient }
    }
}

/// Errors say themselves what they mean, by [`Classify`].
///
/// ```
/// use bindu_cb::Verdict;
/// use bindu_cb::tower::{ByClassify, Judge};
///
/// let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
/// assert_eq!(ByClassify.judge(&Err::<(), _>(missing)), Verdict::Permanent);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ByClassify;

impl<Res, E: Classify> Judge<Res, E> for ByClassify {
    #[inline]
    fn judge(&self, result: &Result<Res, E>) -> Verdict {
        match result {
            Ok(_) => Verdict::Success,
            Err(error) => error.classify(),
        }
    }
}

/// Finds the key of a request. Closures `Fn(&Req) -> Cow<str>` have it.
///
/// ```
/// use bindu_cb::tower::KeyOfRequest;
/// use std::borrow::Cow;
///
/// struct Host;
///
/// impl KeyOfRequest<String> for Host {
///     fn key<'r>(&self, url: &'r String) -> Option<Cow<'r, str>> {
///         url.split('/').nth(2).map(Cow::Borrowed)
///     }
/// }
///
/// let url = "http://down.example/path".to_owned();
/// assert_eq!(Host.key(&url).as_deref(), Some("down.example"));
/// ```
pub trait KeyOfRequest<Req> {
    /// The key. `None`: the call has the circuit of the operation.
    fn key<'r>(&self, request: &'r Req) -> Option<Cow<'r, str>>;
}

impl<Req, F: for<'r> Fn(&'r Req) -> Cow<'r, str>> KeyOfRequest<Req> for F {
    #[inline]
    fn key<'r>(&self, request: &'r Req) -> Option<Cow<'r, str>> {
        Some(self(request))
    }
}

/// One circuit for all requests: the default.
///
/// ```
/// use bindu_cb::tower::{KeyOfRequest, NoKey};
///
/// assert_eq!(NoKey.key(&"a request"), None);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKey;

impl<Req> KeyOfRequest<Req> for NoKey {
    #[inline]
    fn key<'r>(&self, _: &'r Req) -> Option<Cow<'r, str>> {
        None
    }
}
