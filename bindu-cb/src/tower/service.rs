//! The service: where a call begins.

use std::fmt;
use std::task::{Context, Poll};

use tower_service::Service;

use super::BoxError;
use super::future::{ResponseFuture, Spare};
use super::policy::{ByClone, CloneRequest, ErrorsAreTransient, Judge, KeyOfRequest, NoKey};
use crate::retry::{Call, Owned};

/// A service that an [`OperationLayer`](super::OperationLayer) stands around.
///
/// ```
/// use bindu_cb::Operation;
/// use bindu_cb::tower::{OperationLayer, OperationService};
/// use tower::{Layer, service_fn};
///
/// struct Client<S> {
///     service: OperationService<S>,
/// }
///
/// let layer = OperationLayer::new(Operation::builder("api:client").build()?);
/// let inner = service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) });
/// let client = Client { service: layer.layer(inner) };
/// assert!(format!("{:?}", client.service).contains("api:client"));
/// # Ok::<(), bindu_cb::SettingsError>(())
/// ```
#[derive(Clone)]
pub struct OperationService<S, C = ByClone, V = ErrorsAreTransient, K = NoKey> {
    pub(super) inner: S,
    pub(super) operation: Owned,
    pub(super) cloning: C,
    pub(super) verdict: V,
    pub(super) key: K,
}

impl<S, C, V, K> OperationService<S, C, V, K> {
    /// The service inside.
    ///
    /// ```
    /// # use bindu_cb::{Operation, tower::OperationLayer};
    /// # use tower::Layer;
    /// let layer = OperationLayer::new(Operation::builder("api:get-ref").build()?);
    /// assert_eq!(*layer.layer("inner").get_ref(), "inner");
    /// # Ok::<(), bindu_cb::SettingsError>(())
    /// ```
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, Req, C, V, K> Service<Req> for OperationService<S, C, V, K>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: CloneRequest<Req> + Clone,
    V: Judge<S::Response, S::Error> + Clone,
    K: KeyOfRequest<Req>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, C, V>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let owned = match self.key.key(&request) {
            None => self.operation.clone(),
            Some(key) => self.operation.keyed(&key),
        };
        let call = Call::<Owned>::enter(owned);
        if call.is_rejected() {
            // The inner service is ready, and may have reserved something for the call that does not
            // come. Its clone has not.
            self.inner = self.inner.clone();
            return ResponseFuture::rejected(call, self.cloning.clone(), self.verdict.clone());
        }
        let copy =
            if self.operation.may_retry() { self.cloning.clone_request(&request) } else { None };
        // It is this service that is ready, so it is the one to be called; the clone will be polled
        // before it is.
        let spare = copy.map(|request| Spare { service: self.inner.clone(), request });
        let attempt = self.inner.call(request);
        ResponseFuture::new(call, attempt, spare, self.cloning.clone(), self.verdict.clone())
    }
}

impl<S: fmt::Debug, C, V, K> fmt::Debug for OperationService<S, C, V, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationService")
            .field("inner", &self.inner)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}
