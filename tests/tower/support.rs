//! What several groups need.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bindu_cb::tower::{BoxError, OperationLayer, OperationService};
use bindu_cb::{CallCounts, CircuitBreakerOpenError, Operation, OperationBuilder};
use tower::{Layer, Service};
use tower_test::mock::{Handle, Mock, SendResponse};

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Waits of 1 s, 2 s, 4 s and so on between its attempts.
pub fn operation(name: &str) -> OperationBuilder {
    Operation::builder(name).enabled(true).jitter(0.0)
}

pub fn layer(operation: OperationBuilder) -> OperationLayer {
    OperationLayer::new(operation.build().expect("the settings are valid"))
}

pub type MockService = OperationService<Mock<&'static str, &'static str>>;
pub type MockHandle = Handle<&'static str, &'static str>;
pub type Answer = SendResponse<&'static str>;

/// A service that fails the test if it is called without being ready, and the other end of it.
pub fn mock(operation: OperationBuilder) -> (MockService, MockHandle) {
    let (mock, handle) = tower_test::mock::pair();
    (layer(operation).layer(mock), handle)
}

/// The next request must be this one.
pub async fn expect(handle: &mut MockHandle, request: &str) -> Answer {
    let (got, answer) = handle.next_request().await.expect("the service is alive");
    assert_eq!(got, request);
    answer
}

/// A call that has failed once and waits for a service that is not ready any more.
pub async fn unready(
    operation: OperationBuilder,
) -> (impl Future<Output = Result<&'static str, BoxError>>, MockHandle) {
    let (mut service, mut handle) = mock(operation);
    handle.allow(1);
    let mut call = Box::pin(begin(&mut service, "request").await);
    expect(&mut handle, "request").await.send_error("busy");
    // The wait is one second.
    assert!(tokio::time::timeout(secs(2), &mut call).await.is_err());
    assert!(handle.poll_request().is_pending(), "it is not ready");
    (in_time(call), handle)
}

/// A service that counts who asks it, and refuses the first so many. Clones are of the same service.
#[derive(Clone, Debug)]
pub struct Server {
    asked: Arc<AtomicU32>,
    refuses: u32,
}

impl Server {
    pub fn up() -> Self {
        Self::refusing(0)
    }

    pub fn down() -> Self {
        Self::refusing(u32::MAX)
    }

    /// Refuses the first `times` that ask.
    pub fn refusing(times: u32) -> Self {
        Self { asked: Arc::default(), refuses: times }
    }

    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    fn ask(&self) -> Result<u32, Refused> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if number <= self.refuses { Err(Refused(number)) } else { Ok(number) }
    }
}

/// With the number of the attempt that it was the answer to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection refused, {0}")]
pub struct Refused(pub u32);

impl<Req> Service<Req> for Server {
    type Response = u32;
    type Error = Refused;
    type Future = std::future::Ready<Result<u32, Refused>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        std::future::ready(self.ask())
    }
}

pub fn counts(operation: &str) -> CallCounts {
    bindu_cb::get_circuit_breaker(operation).snapshot().calls
}

/// Polls once, without anybody to be woken.
pub fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

pub fn poll_ready<Req, S: Service<Req>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    let mut ready = pin!(poll_fn(|cx| service.poll_ready(cx)));
    poll_once(ready.as_mut())
}

/// Makes the service ready and begins a call.
pub async fn begin<Req, S: Service<Req>>(service: &mut S, request: Req) -> S::Future
where
    S::Error: std::fmt::Debug,
{
    poll_fn(|cx| service.poll_ready(cx)).await.expect("it becomes ready");
    service.call(request)
}

/// Fails the test, and does not hang, if it never ends.
pub async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(secs(100_000), future).await.expect("it ends")
}

pub fn is_open(error: &BoxError) -> bool {
    error.is::<CircuitBreakerOpenError>()
}
