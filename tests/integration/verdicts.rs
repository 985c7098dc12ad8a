//! V1: what the result of an attempt means, and who decides it; M9 for `backoff::Error`.

use std::cell::Cell;
use std::fmt::Debug;
use std::future::pending;
use std::io;
use std::time::Duration;

use bindu_cb::testing::isolate;
use bindu_cb::{
    CallCounts, CircuitBreakerOpenError, CircuitState, Classify, Operation, Verdict,
    get_circuit_breaker, retry_with_breaker, with_circuit_breaker,
};
use tokio::time::Instant;

use crate::support::{Failure, millis, secs, trip_and_wait};

/// Counts attempts.
#[derive(Default)]
struct Attempts(Cell<u32>);

impl Attempts {
    /// The number of the attempt that is going on.
    fn next(&self) -> u32 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    fn made(&self) -> u32 {
        self.0.get()
    }
}

/// An error that says what it means.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error("connection refused")]
    Connection,
    #[error("too many requests")]
    TooMany(Duration),
    #[error("no such row")]
    NotFound,
    #[error("the caller has gone")]
    Gone,
    #[error(transparent)]
    Open(#[from] CircuitBreakerOpenError),
}

impl Classify for StoreError {
    fn classify(&self) -> Verdict {
        match self {
            Self::Connection => Verdict::Transient,
            Self::TooMany(wait) => Verdict::Throttled(*wait),
            Self::NotFound => Verdict::Permanent,
            Self::Gone | Self::Open(_) => Verdict::Ignored,
        }
    }
}

#[retry_with_breaker(op = "verdicts", attempts = 2, min_wait = "1s", max_wait = "1s")]
async fn classified(attempts: &Attempts, error: fn() -> StoreError) -> Result<(), StoreError> {
    attempts.next();
    Err(error())
}

#[with_circuit_breaker(op = "verdicts")]
async fn classified_once(error: fn() -> StoreError) -> Result<(), StoreError> {
    Err(error())
}

/// What the calls of the circuit `verdicts` have come to: successes, failures and ignored ones.
fn outcomes() -> (u64, u64, u64) {
    let CallCounts { success, failure, ignored, .. } =
        get_circuit_breaker("verdicts").snapshot().calls;
    (success, failure, ignored)
}

#[tokio::test(start_paused = true)]
async fn a_transient_error_is_retried_and_a_failure() {
    let cb = isolate();
    cb.enabled(true);
    let attempts = Attempts::default();
    assert!(classified(&attempts, || StoreError::Connection).await.is_err());
    assert_eq!((attempts.made(), outcomes()), (2, (0, 1, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_throttled_error_is_retried_after_exactly_that_long_and_a_failure() {
    let cb = isolate();
    cb.enabled(true);
    let (attempts, began) = (Attempts::default(), Instant::now());
    assert!(classified(&attempts, || StoreError::TooMany(millis(777))).await.is_err());
    assert_eq!((attempts.made(), outcomes()), (2, (0, 1, 0)));
    assert_eq!(began.elapsed(), millis(777));
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_not_retried_and_never_opens() {
    let cb = isolate();
    cb.enabled(true);
    let attempts = Attempts::default();
    for _ in 0..10 {
        let result = classified(&attempts, || StoreError::NotFound).await;
        assert!(matches!(result, Err(StoreError::NotFound)), "{result:?}");
    }
    assert_eq!((attempts.made(), outcomes()), (10, (10, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_the_services_answer_and_starts_the_count_over() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("verdicts");
    circuit.try_acquire().unwrap().failure();
    circuit.try_acquire().unwrap().failure();
    assert!(classified(&Attempts::default(), || StoreError::NotFound).await.is_err());
    assert_eq!(circuit.snapshot().consecutive_failures, 0);

    trip_and_wait(&circuit).await;
    assert!(classified(&Attempts::default(), || StoreError::NotFound).await.is_err());
    assert_eq!(circuit.state(), CircuitState::Closed, "as a probe, too");
}

#[tokio::test(start_paused = true)]
async fn an_ignored_error_is_not_retried_and_neutral() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("verdicts");
    circuit.try_acquire().unwrap().failure();
    circuit.try_acquire().unwrap().failure();
    let attempts = Attempts::default();
    for _ in 0..10 {
        assert!(classified(&attempts, || StoreError::Gone).await.is_err());
    }
    assert_eq!((attempts.made(), outcomes()), (10, (0, 2, 10)));
    assert_eq!(circuit.snapshot().consecutive_failures, 2);

    trip_and_wait(&circuit).await;
    for _ in 0..10 {
        assert!(classified(&attempts, || StoreError::Gone).await.is_err());
        assert_eq!(circuit.state(), CircuitState::HalfOpen, "a probe decides nothing either");
    }
    assert_eq!(attempts.made(), 20, "and each has returned its permit");
}

#[tokio::test(start_paused = true)]
async fn a_success_after_failed_attempts_is_a_success() {
    #[retry_with_breaker(op = "verdicts", attempts = 3)]
    async fn third_time_lucky(attempts: &Attempts) -> Result<u32, Failure> {
        match attempts.next() {
            3 => Ok(3),
            n => Err(Failure::Refused(n)),
        }
    }
    let cb = isolate();
    cb.enabled(true);
    assert_eq!(third_time_lucky(&Attempts::default()).await.unwrap(), 3);
    assert_eq!(outcomes(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn verdicts_hold_without_a_loop() {
    let cb = isolate();
    cb.enabled(true);
    assert!(classified_once(|| StoreError::Connection).await.is_err());
    assert_eq!(outcomes(), (0, 1, 0));
    assert!(classified_once(|| StoreError::TooMany(secs(1))).await.is_err());
    assert_eq!(outcomes(), (0, 2, 0));
    assert!(classified_once(|| StoreError::NotFound).await.is_err());
    assert_eq!(outcomes(), (1, 2, 0));
    assert!(classified_once(|| StoreError::Gone).await.is_err());
    assert_eq!(outcomes(), (1, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_trait_is_found_through_an_alias_and_through_a_bound() {
    type Aliased = Result<(), StoreError>;

    #[retry_with_breaker(op = "verdicts", on_open = |open| Err(open.into()))]
    async fn aliased(attempts: &Attempts) -> Aliased {
        attempts.next();
        Err(StoreError::NotFound)
    }

    #[retry_with_breaker(op = "verdicts")]
    async fn bounded<E>(attempts: &Attempts, error: fn() -> E) -> Result<(), E>
    where
        E: Classify + From<CircuitBreakerOpenError>,
    {
        attempts.next();
        Err(error())
    }

    let cb = isolate();
    cb.enabled(true);
    let attempts = Attempts::default();
    assert!(aliased(&attempts).await.is_err());
    assert_eq!(attempts.made(), 1);
    assert!(bounded(&attempts, || StoreError::NotFound).await.is_err());
    assert_eq!((attempts.made(), outcomes()), (2, (2, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_says_nothing_is_transient() {
    struct Silent;

    #[retry_with_breaker(op = "verdicts", attempts = 2, on_open = |_| Err(Silent))]
    async fn silent(attempts: &Attempts) -> Result<(), Silent> {
        attempts.next();
        Err(Silent)
    }

    /// Whatever it is called with, the type of its error says nothing here.
    #[retry_with_breaker(op = "verdicts", attempts = 2)]
    async fn unbounded<E>(attempts: &Attempts, error: fn() -> E) -> Result<(), E>
    where
        E: From<CircuitBreakerOpenError>,
    {
        attempts.next();
        Err(error())
    }

    let cb = isolate();
    cb.enabled(true);
    let attempts = Attempts::default();
    assert!(silent(&attempts).await.is_err());
    assert_eq!((attempts.made(), outcomes()), (2, (0, 1, 0)));
    assert!(unbounded(&attempts, || StoreError::NotFound).await.is_err());
    assert_eq!((attempts.made(), outcomes()), (4, (0, 2, 0)));
}

#[tokio::test(start_paused = true)]
async fn io_errors_are_transient_where_the_connection_or_the_time_was_to_blame() {
    use io::ErrorKind as Kind;

    #[retry_with_breaker(op = "verdicts", attempts = 2, failure_threshold = 100)]
    async fn io(attempts: &Attempts, kind: Kind) -> io::Result<()> {
        attempts.next();
        Err(kind.into())
    }

    let cb = isolate();
    cb.enabled(true);
    for kind in [
        Kind::ConnectionRefused,
        Kind::ConnectionReset,
        Kind::ConnectionAborted,
        Kind::NotConnected,
        Kind::BrokenPipe,
        Kind::TimedOut,
        Kind::Interrupted,
        Kind::HostUnreachable,
        Kind::NetworkUnreachable,
        Kind::NetworkDown,
    ] {
        let (attempts, before) = (Attempts::default(), outcomes());
        assert!(io(&attempts, kind).await.is_err());
        assert_eq!(attempts.made(), 2, "{kind:?}");
        assert_eq!(outcomes(), (before.0, before.1 + 1, 0), "{kind:?}");
    }
    for kind in [
        Kind::NotFound,
        Kind::PermissionDenied,
        Kind::AlreadyExists,
        Kind::InvalidInput,
        Kind::InvalidData,
        Kind::Unsupported,
        Kind::StorageFull,
        Kind::Other,
    ] {
        let (attempts, before) = (Attempts::default(), outcomes());
        assert!(io(&attempts, kind).await.is_err());
        assert_eq!(attempts.made(), 1, "{kind:?}");
        assert_eq!(outcomes(), (before.0 + 1, before.1, 0), "{kind:?}");
    }
}

mod keys {
    //! The attribute's own keys, which go before the trait.

    use super::*;

    fn is_missing(error: &StoreError) -> bool {
        matches!(error, StoreError::NotFound)
    }

    fn a_minute_unless_gone(error: &StoreError) -> Option<Duration> {
        (!matches!(error, StoreError::Gone)).then_some(secs(60))
    }

    fn never<E>(_: &E) -> bool {
        false
    }

    #[retry_with_breaker(op = "verdicts", attempts = 2, retry_if = is_missing)]
    async fn retry_if_path(
        attempts: &Attempts,
        error: fn() -> StoreError,
    ) -> Result<(), StoreError> {
        attempts.next();
        Err(error())
    }

    #[retry_with_breaker(
        op = "verdicts", attempts = 2, retry_if = |e| !matches!(e, StoreError::Connection)
    )]
    async fn retry_if_closure(
        attempts: &Attempts,
        error: fn() -> StoreError,
    ) -> Result<(), StoreError> {
        attempts.next();
        Err(error())
    }

    #[tokio::test(start_paused = true)]
    async fn retry_if_decides_what_is_retried_and_what_is_a_failure() {
        let cb = isolate();
        cb.enabled(true);
        let attempts = Attempts::default();
        assert!(retry_if_path(&attempts, || StoreError::NotFound).await.is_err());
        assert_eq!((attempts.made(), outcomes()), (2, (0, 1, 0)));
        assert!(retry_if_path(&attempts, || StoreError::Connection).await.is_err());
        assert_eq!((attempts.made(), outcomes()), (3, (1, 1, 0)));
        assert!(retry_if_closure(&attempts, || StoreError::NotFound).await.is_err());
        assert_eq!((attempts.made(), outcomes()), (5, (1, 2, 0)));
        assert!(retry_if_closure(&attempts, || StoreError::Connection).await.is_err());
        assert_eq!((attempts.made(), outcomes()), (6, (2, 2, 0)));
    }

    #[retry_with_breaker(op = "verdicts", attempts = 2, record_if = never)]
    async fn recorded_never(attempts: &Attempts) -> Result<(), Failure> {
        Err(Failure::Refused(attempts.next()))
    }

    #[retry_with_breaker(
        op = "verdicts", attempts = 2, retry_if = never, record_if = |e| !is_missing(e)
    )]
    async fn recorded_unless_missing(error: fn() -> StoreError) -> Result<(), StoreError> {
        Err(error())
    }

    #[with_circuit_breaker(op = "verdicts", record_if = is_missing)]
    async fn recorded_if_missing(error: fn() -> StoreError) -> Result<(), StoreError> {
        Err(error())
    }

    #[tokio::test(start_paused = true)]
    async fn record_if_alone_decides_what_is_a_failure() {
        let cb = isolate();
        cb.enabled(true);
        let attempts = Attempts::default();
        assert!(recorded_never(&attempts).await.is_err());
        assert_eq!((attempts.made(), outcomes()), (2, (1, 0, 0)), "retried all the same");
        assert!(recorded_unless_missing(|| StoreError::Connection).await.is_err());
        assert_eq!(outcomes(), (1, 1, 0));
        assert!(recorded_unless_missing(|| StoreError::NotFound).await.is_err());
        assert_eq!(outcomes(), (2, 1, 0));
        assert!(recorded_if_missing(|| StoreError::NotFound).await.is_err());
        assert_eq!(outcomes(), (2, 2, 0));
        assert!(recorded_if_missing(|| StoreError::Connection).await.is_err());
        assert_eq!(outcomes(), (3, 2, 0));
    }

    #[derive(Debug, PartialEq)]
    struct Response {
        status: u16,
        attempt: u32,
    }

    impl Response {
        fn is_server_error(&self) -> bool {
            self.status >= 500
        }
    }

    #[retry_with_breaker(op = "verdicts", attempts = 3, fail_if = Response::is_server_error)]
    async fn request(attempts: &Attempts, status: fn(u32) -> u16) -> Result<Response, Failure> {
        let attempt = attempts.next();
        Ok(Response { status: status(attempt), attempt })
    }

    #[with_circuit_breaker(op = "verdicts", fail_if = |r: &Response| r.status == 503)]
    async fn request_once(status: u16) -> Result<Response, Failure> {
        Ok(Response { status, attempt: 1 })
    }

    #[tokio::test(start_paused = true)]
    async fn fail_if_makes_values_failures_and_the_last_is_returned_as_it_is() {
        let cb = isolate();
        cb.enabled(true);
        let unavailable = request(&Attempts::default(), |_| 503).await.unwrap();
        assert_eq!(unavailable, Response { status: 503, attempt: 3 });
        assert_eq!(outcomes(), (0, 1, 0));
        let recovered =
            request(&Attempts::default(), |n| if n < 2 { 503 } else { 200 }).await.unwrap();
        assert_eq!(recovered, Response { status: 200, attempt: 2 });
        assert_eq!(outcomes(), (1, 1, 0));
        assert_eq!(request(&Attempts::default(), |_| 404).await.unwrap().attempt, 1);
        assert_eq!(outcomes(), (2, 1, 0));

        assert_eq!(request_once(503).await.unwrap().status, 503);
        assert_eq!(outcomes(), (2, 2, 0));
        assert_eq!(request_once(500).await.unwrap().status, 500);
        assert_eq!(outcomes(), (3, 2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn values_that_are_failures_open_the_circuit() {
        let cb = isolate();
        cb.enabled(true);
        for _ in 0..3 {
            assert_eq!(request(&Attempts::default(), |_| 503).await.unwrap().status, 503);
        }
        let rejected = request(&Attempts::default(), |_| 200).await;
        assert!(matches!(rejected, Err(Failure::Open(_))), "{rejected:?}");
    }

    #[retry_with_breaker(
        op = "verdicts", attempts = 2, max_wait = "2m", retry_after = a_minute_unless_gone
    )]
    async fn after_a_minute(error: fn() -> StoreError) -> Result<(), StoreError> {
        Err(error())
    }

    #[retry_with_breaker(
        op = "verdicts", attempts = 2, min_wait = "5s", max_wait = "5s",
        retry_after = |e: &Failure| match e {
            Failure::Refused(seconds) if *seconds > 0 => Some(Duration::from_secs((*seconds).into())),
            _ => None,
        }
    )]
    async fn after(seconds: u32) -> Result<(), Failure> {
        Err(Failure::Refused(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_says_exactly_how_long_to_wait_and_none_leaves_it_to_the_schedule() {
        let cb = isolate();
        cb.enabled(true);
        for (seconds, expected) in [(1, 1), (3, 3), (0, 5)] {
            let began = Instant::now();
            assert!(after(seconds).await.is_err());
            assert_eq!(began.elapsed(), secs(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_goes_before_the_trait_and_makes_nothing_retried_that_is_not() {
        let cb = isolate();
        cb.enabled(true);
        let began = Instant::now();
        assert!(after_a_minute(|| StoreError::TooMany(secs(1))).await.is_err());
        assert_eq!(began.elapsed(), secs(60));
        assert!(after_a_minute(|| StoreError::NotFound).await.is_err());
        assert_eq!((began.elapsed(), outcomes()), (secs(60), (1, 1, 0)));
    }

    #[retry_with_breaker(
        op = "verdicts", attempts = 2, timeout = "1s", retry_if = never, record_if = never
    )]
    async fn times_out(attempts: &Attempts) -> Result<(), Failure> {
        attempts.next();
        pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_timed_out_attempt_is_transient_without_asking() {
        let cb = isolate();
        cb.enabled(true);
        let attempts = Attempts::default();
        let result = times_out(&attempts).await;
        let Err(Failure::Slow(slow)) = result else { panic!("{result:?}") };
        assert_eq!((slow.operation(), slow.timeout()), ("verdicts", secs(1)));
        assert_eq!((attempts.made(), outcomes()), (2, (0, 1, 0)));
    }

    #[with_circuit_breaker(op = "verdicts", timeout = "1s", record_if = never)]
    async fn times_out_once() -> Result<(), Failure> {
        pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_without_a_loop_is_a_failure() {
        let cb = isolate();
        cb.enabled(true);
        assert!(matches!(times_out_once().await, Err(Failure::Slow(_))));
        assert_eq!(outcomes(), (0, 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn call_with_asks_for_the_verdict_of_every_result() {
    let cb = isolate();
    cb.enabled(true);
    let operation = Operation::builder("verdicts").attempts(2).build().unwrap();
    for (verdict, attempts_made, expected) in [
        (Verdict::Success, 1, (1, 0, 0)),
        (Verdict::Permanent, 1, (2, 0, 0)),
        (Verdict::Ignored, 1, (2, 0, 1)),
        (Verdict::Transient, 2, (2, 1, 1)),
        (Verdict::Throttled(millis(5)), 2, (2, 2, 1)),
    ] {
        let attempts = Attempts::default();
        let value = async || Ok::<_, Failure>(attempts.next());
        let result = operation.call_with(value, |_| verdict).await;
        assert_eq!(result.unwrap(), attempts_made, "the value is returned as it is");
        assert_eq!((attempts.made(), outcomes()), (attempts_made, expected), "{verdict:?}");
    }
}

mod backoff_errors {
    //! M9

    use super::*;
    use backoff::Error as BackoffError;

    #[retry_with_breaker(op = "verdicts", attempts = 2, min_wait = "3s", max_wait = "3s")]
    async fn call(
        attempts: &Attempts,
        error: fn() -> BackoffError<io::Error>,
    ) -> Result<(), BackoffError<io::Error>> {
        attempts.next();
        Err(error())
    }

    #[retry_with_breaker(op = "verdicts", attempts = 2, retry_if = |_| true)]
    async fn retry_everything(
        attempts: &Attempts,
        error: fn() -> BackoffError<io::Error>,
    ) -> Result<(), BackoffError<io::Error>> {
        attempts.next();
        Err(error())
    }

    fn refused() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    #[tokio::test(start_paused = true)]
    async fn transient_is_retried_by_the_schedule() {
        let cb = isolate();
        cb.enabled(true);
        let (attempts, began) = (Attempts::default(), Instant::now());
        assert!(call(&attempts, || BackoffError::transient(refused())).await.is_err());
        assert_eq!((attempts.made(), outcomes()), (2, (0, 1, 0)));
        assert_eq!(began.elapsed(), secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_throttled() {
        let cb = isolate();
        cb.enabled(true);
        let (attempts, began) = (Attempts::default(), Instant::now());
        let throttled = || BackoffError::retry_after(refused(), millis(50));
        assert!(call(&attempts, throttled).await.is_err());
        assert_eq!((attempts.made(), outcomes()), (2, (0, 1, 0)));
        assert_eq!(began.elapsed(), millis(50));
    }

    #[tokio::test(start_paused = true)]
    async fn permanent_is_permanent_and_goes_before_retry_if() {
        let cb = isolate();
        cb.enabled(true);
        let attempts = Attempts::default();
        assert!(call(&attempts, || BackoffError::permanent(refused())).await.is_err());
        assert_eq!((attempts.made(), outcomes()), (1, (1, 0, 0)));
        assert!(retry_everything(&attempts, || BackoffError::permanent(refused())).await.is_err());
        assert_eq!((attempts.made(), outcomes()), (2, (2, 0, 0)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_open_error_is_permanent_and_made_from_the_rejection() {
        let cb = isolate();
        cb.enabled(true);
        cb.force_open("verdicts");
        let result = call(&Attempts::default(), || BackoffError::transient(refused())).await;
        let Err(BackoffError::Permanent(error)) = result else { panic!("{result:?}") };
        assert!(error.downcast::<CircuitBreakerOpenError>().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_variant_is_seen_whatever_is_in_it() {
        #[retry_with_breaker(op = "verdicts", attempts = 2)]
        async fn generic<E>(attempts: &Attempts, error: fn() -> E) -> Result<(), BackoffError<E>>
        where
            E: Debug + From<CircuitBreakerOpenError>,
        {
            attempts.next();
            Err(BackoffError::permanent(error()))
        }

        type Aliased = BackoffError<anyhow::Error>;

        #[retry_with_breaker(op = "verdicts", attempts = 2)]
        async fn aliased(attempts: &Attempts) -> Result<(), Aliased> {
            attempts.next();
            Err(BackoffError::permanent(anyhow::anyhow!("no such row")))
        }

        let cb = isolate();
        cb.enabled(true);
        let attempts = Attempts::default();
        assert!(generic(&attempts, refused).await.is_err());
        assert!(aliased(&attempts).await.is_err());
        assert_eq!((attempts.made(), outcomes()), (2, (2, 0, 0)));
    }
}
