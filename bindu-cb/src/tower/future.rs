//! The rest of a call: its attempts, the waits between them, and the readiness before each.
//!
//! Written out, because an associated type must have a name, and a boxed future is an allocation for
//! each call and `Send` either for all services or for none.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Timeout, timeout};
use tower_service::Service;

use super::BoxError;
use super::policy::{CloneRequest, Judge};
use crate::error::OpenCause;
use crate::retry::seen::Text;
use crate::retry::verdict::Verdict;
use crate::retry::{Call, Owned, Reason};

pin_project! {
    /// The call that an [`OperationService`](super::OperationService) has begun.
    ///
    /// It is `Send` where the inner service, its future and the request are.
    ///
    /// # Errors
    ///
    /// A boxed [`CircuitBreakerOpenError`](crate::CircuitBreakerOpenError) where the circuit is open,
    /// or where the process [shuts down](crate::Registry::shutdown) while the call waits or its
    /// service is not ready; [`AttemptTimeoutError`](crate::AttemptTimeoutError) where the last
    /// attempt ran into its `timeout`; or else the inner service's error.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it ends, also before it was polled, the call counts as a failure if an attempt
    /// of it had failed, else as cancelled, and after a shutdown always so. Its permit is free again
    /// in any case.
    ///
    /// # Panics
    ///
    /// When polled again after it was ready.
    ///
    /// ```
    /// use bindu_cb::Operation;
    /// use bindu_cb::tower::OperationLayer;
    /// use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let operation = Operation::builder("api:future").enabled(true).build()?;
    /// let inner = service_fn(|n: u32| async move { Ok::<_, BoxError>(n) });
    /// let mut service = OperationLayer::new(operation).layer(inner);
    ///
    /// drop(service.ready().await?.call(1));
    /// let calls = bindu_cb::get_circuit_breaker("api:future").snapshot().calls;
    /// assert_eq!((calls.success, calls.cancelled), (0, 1));
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    #[project = Parts]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Req>, Req, C, V> {
        // `None`: it has ended.
        call: Option<Call<'static, Owned>>,
        cloning: C,
        verdict: V,
        spare: Option<Spare<S, Req>>,
        #[pin]
        phase: Phase<S::Future>,
    }
}

/// What another attempt is made with.
pub(super) struct Spare<S, Req> {
    pub(super) service: S,
    pub(super) request: Req,
}

pin_project! {
    #[project = PhaseParts]
    enum Phase<F> {
        // No attempt, or none any more.
        Idle,
        Attempt { #[pin] attempt: F },
        Limited { #[pin] attempt: Timeout<F>, limit: Duration },
        Waiting,
        // The time limit is that of the attempt to come, and runs since then.
        Readying { limit: Option<(Duration, Instant)>, listening: bool },
    }
}

impl<F: Future> Phase<F> {
    #[inline]
    fn attempt(attempt: F, limit: Option<Duration>, left: Option<Duration>) -> Self {
        match limit {
            None => Self::Attempt { attempt },
            Some(limit) => {
                Self::Limited { attempt: timeout(left.unwrap_or(limit), attempt), limit }
            }
        }
    }
}

impl<S: Service<Req>, Req, C, V> ResponseFuture<S, Req, C, V> {
    pub(super) fn rejected(call: Call<'static, Owned>, cloning: C, verdict: V) -> Self {
        Self { call: Some(call), cloning, verdict, spare: None, phase: Phase::Idle }
    }

    #[inline]
    pub(super) fn new(
        call: Call<'static, Owned>,
        attempt: S::Future,
        spare: Option<Spare<S, Req>>,
        cloning: C,
        verdict: V,
    ) -> Self {
        let phase = Phase::attempt(attempt, call.time_limit(), None);
        Self { call: Some(call), cloning, verdict, spare, phase }
    }
}

impl<S, Req, C, V> Future for ResponseFuture<S, Req, C, V>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: CloneRequest<Req>,
    V: Judge<S::Response, S::Error>,
{
    type Output = Result<S::Response, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut parts = self.project();
        // Taken out for the time of the poll, so that a panic of the user's code drops it while it
        // unwinds, as it would in an `async fn`: left in its place it would be dropped some time
        // later, and count as cancelled.
        let mut call = parts.call.take().expect("only a future that has ended is without its call");
        let polled = parts.advance(&mut call, cx);
        if polled.is_pending() {
            *parts.call = Some(call);
        }
        polled
    }
}

impl<S, Req, C, V> Parts<'_, S, Req, C, V>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: CloneRequest<Req>,
    V: Judge<S::Response, S::Error>,
{
    #[inline]
    fn advance(
        &mut self,
        call: &mut Call<'static, Owned>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, BoxError>> {
        loop {
            if let Some(open) = call.rejection() {
                // It may be ready, or in a queue for it, and this future may be kept.
                *self.spare = None;
                return Poll::Ready(Err(open.into()));
            }
            let ended = match self.phase.as_mut().project() {
                PhaseParts::Attempt { attempt } => {
                    let result = ready!(Pin::new(&mut call.attempt(attempt)).poll(cx));
                    self.ended(call, result)
                }
                PhaseParts::Limited { attempt, limit } => {
                    let limit = *limit;
                    match ready!(Pin::new(&mut call.attempt(attempt)).poll(cx)) {
                        Ok(result) => self.ended(call, result),
                        Err(_) => self.timed_out(call, limit),
                    }
                }
                PhaseParts::Waiting => {
                    ready!(call.poll_waiting(cx));
                    let limit = call.time_limit().map(|limit| (limit, Instant::now()));
                    self.phase.set(Phase::Readying { limit, listening: false });
                    None
                }
                PhaseParts::Readying { .. } => ready!(self.poll_ready(call, cx)),
                PhaseParts::Idle => unreachable!("it is rejected, or has ended"),
            };
            if let Some(ended) = ended {
                return Poll::Ready(ended);
            }
        }
    }

    /// An attempt has ended. `None`: there is another one after the wait that has begun.
    #[inline]
    fn ended(
        &mut self,
        call: &mut Call<'static, Owned>,
        result: Result<S::Response, S::Error>,
    ) -> Option<Result<S::Response, BoxError>> {
        match (self.verdict.judge(&result), result) {
            (Verdict::Success, Ok(value)) => {
                call.success();
                Some(Ok(value))
            }
            (verdict, result) => {
                let reason = if result.is_ok() { Reason::FailedValue } else { Reason::Error };
                self.not_a_success(call, verdict, result.map_err(Into::into), reason)
            }
        }
    }

    #[cold]
    fn not_a_success(
        &mut self,
        call: &mut Call<'static, Owned>,
        verdict: Verdict,
        result: Result<S::Response, BoxError>,
        reason: Reason,
    ) -> Option<Result<S::Response, BoxError>> {
        let is_rejection = result.as_ref().is_err_and(|error| OpenCause::find(&**error).is_some());
        let verdict = if is_rejection { Verdict::Ignored } else { verdict };
        let text = result.as_ref().err().map(|error| Text::Display(error));
        let goes_on = call.go_on(verdict, self.spare.is_some(), text, reason);
        // What the attempt holds must not be held for as long as the wait lasts.
        self.phase.set(if goes_on { Phase::Waiting } else { Phase::Idle });
        (!goes_on).then_some(result)
    }

    #[cold]
    fn timed_out(
        &mut self,
        call: &mut Call<'static, Owned>,
        limit: Duration,
    ) -> Option<Result<S::Response, BoxError>> {
        let error = Err(call.ran_into(limit).into());
        self.not_a_success(call, Verdict::Transient, error, Reason::TimedOut)
    }

    /// Makes the spare service ready, and begins the next attempt.
    #[cold]
    fn poll_ready(
        &mut self,
        call: &mut Call<'static, Owned>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<S::Response, BoxError>>> {
        let PhaseParts::Readying { limit, listening } = self.phase.as_mut().project() else {
            unreachable!("this is only called then")
        };
        let limit = *limit;
        let spare = self.spare.as_mut().expect("without it no wait is begun");
        loop {
            // First, as in a wait: what it has to say goes before a service that is ready.
            if *listening && call.poll_waiting(cx).is_ready() {
                let Some((limit, _)) = limit.filter(|_| !call.is_rejected()) else {
                    return Poll::Ready(None);
                };
                // In a queue below it has a place, and could be given in the wait what others need.
                // Its clone has none.
                spare.service = spare.service.clone();
                return Poll::Ready(self.timed_out(call, limit));
            }
            match spare.service.poll_ready(cx) {
                Poll::Ready(Ok(())) => break,
                Poll::Ready(Err(error)) => {
                    // It cannot be used any more.
                    *self.spare = None;
                    return Poll::Ready(self.ended(call, Err(error)));
                }
                Poll::Pending if *listening => return Poll::Pending,
                Poll::Pending => {
                    *listening = true;
                    call.listen(limit.map(|(limit, since)| limit.saturating_sub(since.elapsed())));
                }
            }
        }
        call.begin_attempt();
        if !call.is_rejected() {
            self.begin_attempt(call, limit);
        }
        Poll::Ready(None)
    }

    fn begin_attempt(&mut self, call: &Call<'static, Owned>, limit: Option<(Duration, Instant)>) {
        let Some(Spare { mut service, request }) = self.spare.take() else { return };
        let copy =
            if call.is_at_last_attempt() { None } else { self.cloning.clone_request(&request) };
        let attempt = service.call(request);
        *self.spare = copy.map(|request| Spare { service, request });
        let left = limit.map(|(limit, since)| limit.saturating_sub(since.elapsed()));
        self.phase.set(Phase::attempt(attempt, limit.map(|(limit, _)| limit), left));
    }
}

impl<S: Service<Req>, Req, C, V> fmt::Debug for ResponseFuture<S, Req, C, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
