//! The layer, and how it is set.

use std::borrow::Cow;
use std::fmt;

use tower_layer::Layer;

use super::policy::{ByClassify, ByClone, CloneRequest, ErrorsAreTransient, NoKey};
use super::service::OperationService;
use crate::operation::Operation;
use crate::retry::Owned;
use crate::retry::verdict::Verdict;

/// Puts an [`Operation`] around services: each call of them is a call of the operation, with its
/// circuit, its attempts and their waits.
///
/// The operation is a function of its own in the registry, at the place where
/// [`Operation::builder`] was called, and has its settings as any other has. All services of the
/// layer, and its clones, share the operation.
///
/// ```
/// use bindu_cb::Operation;
/// use bindu_cb::tower::OperationLayer;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// let quote = Operation::builder("api:layer").enabled(true).attempts(3).build()?;
/// let service = ServiceBuilder::new()
///     .layer(OperationLayer::new(quote))
///     .service(service_fn(|symbol: String| async move { Ok::<_, std::io::Error>(symbol.len()) }));
/// assert_eq!(service.oneshot("ABC".to_owned()).await?, 3);
/// assert_eq!(bindu_cb::get_circuit_breaker("api:layer").snapshot().calls.success, 1);
/// # Ok::<(), tower::BoxError>(()) }).unwrap();
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct OperationLayer<C = ByClone, V = ErrorsAreTransient, K = NoKey> {
    operation: Owned,
    cloning: C,
    verdict: V,
    key: K,
}

impl OperationLayer {
    /// A layer that copies requests by their [`Clone`], and for which every error is transient.
    pub fn new(operation: Operation) -> Self {
        let (core, circuit) = operation.into_parts();
        Self {
            operation: Owned::new(core, circuit),
            cloning: ByClone,
            verdict: ErrorsAreTransient,
            key: NoKey,
        }
    }
}

impl<C, V, K> OperationLayer<C, V, K> {
    /// Copies requests by a policy of its own. A request that cannot be copied gets one attempt.
    ///
    /// Requests are copied before each attempt but the last; with `attempts = 1`, never.
    ///
    /// ```
    /// use bindu_cb::Operation;
    /// use bindu_cb::tower::OperationLayer;
    ///
    /// // Not `Clone`, because of what may be in it.
    /// struct Request {
    ///     body: Result<String, std::fs::File>,
    /// }
    ///
    /// let operation = Operation::builder("api:upload").build()?;
    /// let _layer = OperationLayer::new(operation).clone_request(|request: &Request| {
    ///     let body = request.body.as_ref().ok()?;
    ///     Some(Request { body: Ok(body.clone()) })
    /// });
    /// # Ok::<(), bindu_cb::SettingsError>(())
    /// ```
    pub fn clone_request<Req, F: CloneRequest<Req>>(self, policy: F) -> OperationLayer<F, V, K> {
        let Self { operation, verdict, key, .. } = self;
        OperationLayer { operation, cloning: policy, verdict, key }
    }

    /// Says what each result means, errors and values. A value that is a failure is tried again; the
    /// last one is returned as it is.
    ///
    /// ```
    /// use bindu_cb::tower::OperationLayer;
    /// use bindu_cb::{Operation, Verdict};
    /// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
    /// let fetch = Operation::builder("api:verdict").enabled(true).attempts(2).build()?;
    /// let layer = OperationLayer::new(fetch).verdict(|result: &Result<u16, BoxError>| match result {
    ///     Ok(503) | Err(_) => Verdict::Transient,
    ///     Ok(_) => Verdict::Success,
    /// });
    /// let service = ServiceBuilder::new()
    ///     .layer(layer)
    ///     .service(service_fn(|status: u16| async move { Ok::<_, BoxError>(status) }));
    /// assert_eq!(service.oneshot(503).await?, 503);
    /// assert_eq!(bindu_cb::get_circuit_breaker("api:verdict").snapshot().calls.failure, 1);
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    pub fn verdict<Res, E, F>(self, verdict: F) -> OperationLayer<C, F, K>
    where
        F: Fn(&Result<Res, E>) -> Verdict,
    {
        self.judge(verdict)
    }

    /// As [`verdict`](Self::verdict), by a type that implements [`Judge`](super::Judge).
    ///
    /// ```
    /// use bindu_cb::Operation;
    /// use bindu_cb::tower::{ByClassify, ByClone, OperationLayer};
    ///
    /// let operation = Operation::builder("storage:judge").build()?;
    /// let _layer: OperationLayer<ByClone, ByClassify> =
    ///     OperationLayer::new(operation).judge(ByClassify);
    /// # Ok::<(), bindu_cb::SettingsError>(())
    /// ```
    pub fn judge<J>(self, judge: J) -> OperationLayer<C, J, K> {
        let Self { operation, cloning, key, .. } = self;
        OperationLayer { operation, cloning, verdict: judge, key }
    }

    /// Asks the errors themselves what they mean: those of the service must have
    /// [`Classify`](crate::Classify).
    ///
    /// ```
    /// use std::io;
    ///
    /// use bindu_cb::Operation;
    /// use bindu_cb::tower::OperationLayer;
    /// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
    /// let load = Operation::builder("storage:classify").enabled(true).build()?;
    /// let service = ServiceBuilder::new()
    ///     .layer(OperationLayer::new(load).classify())
    ///     .service(service_fn(|_: &str| async {
    ///         Err::<(), _>(io::Error::from(io::ErrorKind::NotFound))
    ///     }));
    /// assert!(service.oneshot("rows").await.is_err());
    /// let calls = bindu_cb::get_circuit_breaker("storage:classify").snapshot().calls;
    /// assert_eq!(calls.success, 1, "the service has answered");
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    pub fn classify(self) -> OperationLayer<C, ByClassify, K> {
        self.judge(ByClassify)
    }

    /// Gives each key, a host or a tenant, a circuit of its own under the operation: what the
    /// attributes' `key` is.
    ///
    /// ```
    /// use bindu_cb::Operation;
    /// use bindu_cb::tower::OperationLayer;
    /// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
    /// let deliver = Operation::builder("api:keyed-layer").enabled(true).attempts(1).build()?;
    /// let service = ServiceBuilder::new()
    ///     .layer(OperationLayer::new(deliver).key(|host: &String| host.into()))
    ///     .service(service_fn(|host: String| async move {
    ///         if host.starts_with("up") { Ok(()) } else { Err(BoxError::from("refused")) }
    ///     }));
    /// for _ in 0..3 {
    ///     service.clone().oneshot("down.example".to_owned()).await.unwrap_err();
    /// }
    /// let open = service.clone().oneshot("down.example".to_owned()).await.unwrap_err();
    /// assert!(open.is::<bindu_cb::CircuitBreakerOpenError>());
    /// service.oneshot("up.example".to_owned()).await?;
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    pub fn key<Req, F>(self, key: F) -> OperationLayer<C, V, F>
    where
        F: for<'r> Fn(&'r Req) -> Cow<'r, str>,
    {
        self.key_by(key)
    }

    /// As [`key`](Self::key), by a type that implements [`KeyOfRequest`](super::KeyOfRequest).
    ///
    /// ```
    /// use bindu_cb::Operation;
    /// use bindu_cb::tower::{ByClone, ErrorsAreTransient, NoKey, OperationLayer};
    ///
    /// let operation = Operation::builder("storage:key-by").build()?;
    /// let _layer: OperationLayer<ByClone, ErrorsAreTransient, NoKey> =
    ///     OperationLayer::new(operation).key_by(NoKey);
    /// # Ok::<(), bindu_cb::SettingsError>(())
    /// ```
    pub fn key_by<K2>(self, key: K2) -> OperationLayer<C, V, K2> {
        let Self { operation, cloning, verdict, .. } = self;
        OperationLayer { operation, cloning, verdict, key }
    }
}

impl<S, C: Clone, V: Clone, K: Clone> Layer<S> for OperationLayer<C, V, K> {
    type Service = OperationService<S, C, V, K>;

    fn layer(&self, inner: S) -> Self::Service {
        OperationService {
            inner,
            operation: self.operation.clone(),
            cloning: self.cloning.clone(),
            verdict: self.verdict.clone(),
            key: self.key.clone(),
        }
    }
}

impl<C, V, K> fmt::Debug for OperationLayer<C, V, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationLayer").field("operation", &self.operation).finish_non_exhaustive()
    }
}
