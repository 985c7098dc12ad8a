//! B7: that an inner guarded call was rejected says nothing of the outer circuit's service.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use anyhow::Context as _;
use bindu_cb::testing::isolate;
use bindu_cb::{
    CallError, CircuitBreakerOpenError, CircuitState, Operation, get_circuit_breaker,
    retry_with_breaker, with_circuit_breaker,
};

use crate::support::trip_and_wait;

/// The rejection by an inner circuit.
fn rejection() -> CircuitBreakerOpenError {
    let inner = get_circuit_breaker("inner");
    inner.force_open();
    inner.try_acquire().unwrap_err()
}

fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

/// Successes, failures and ignored calls of the outer circuit.
fn outcomes() -> (u64, u64, u64) {
    let calls = get_circuit_breaker("outer").snapshot().calls;
    (calls.success, calls.failure, calls.ignored)
}

#[derive(Debug, thiserror::Error)]
enum Transparent {
    #[error("connection refused")]
    Refused,
    #[error(transparent)]
    Open(#[from] CircuitBreakerOpenError),
}

#[derive(Debug, thiserror::Error)]
enum Wrapped {
    #[error("the inner call was rejected")]
    Open(#[from] CircuitBreakerOpenError),
}

#[derive(Debug, thiserror::Error)]
#[error("the outer layer")]
struct Outer(#[source] Middle);

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Middle(#[from] Transparent);

/// An error of a lifetime: nothing `'static` is to be had of it but its source.
#[derive(Debug)]
struct Borrowing<'a>(&'a str, CircuitBreakerOpenError);

impl fmt::Display for Borrowing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Borrowing<'_> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.1)
    }
}

/// A test for each error type: in this form the rejection is neither retried nor counted, with and
/// without a loop.
macro_rules! ignored_as {
    ($($name:ident: $error:ty = $rejected:expr;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            #[retry_with_breaker(op = "outer", attempts = 2, on_open = |_| Ok(()))]
            async fn retries(asked: &mut u32) -> Result<(), $error> {
                *asked += 1;
                Err($rejected)
            }

            #[with_circuit_breaker(op = "outer", on_open = |_| Ok(()))]
            async fn once() -> Result<(), $error> {
                Err($rejected)
            }

            let cb = isolate();
            cb.enabled(true);
            let mut asked = 0;
            assert!(retries(&mut asked).await.is_err());
            assert!(once().await.is_err());
            assert_eq!((asked, outcomes()), (1, (0, 0, 2)));
        }
    )*};
}

ignored_as! {
    by_itself: CircuitBreakerOpenError = rejection();
    in_a_transparent_variant: Transparent = rejection().into();
    in_a_variant_that_it_is_the_source_of: Wrapped = rejection().into();
    several_layers_down: Outer = Outer(Middle(rejection().into()));
    in_an_error_that_borrows: Borrowing<'static> = Borrowing("rejected", rejection());
    in_a_box: Box<CircuitBreakerOpenError> = Box::new(rejection());
    in_a_boxed_error: Box<dyn Error> = rejection().into();
    in_a_boxed_error_that_is_send: Box<dyn Error + Send> = Box::new(rejection());
    in_a_boxed_error_that_is_send_and_sync: Box<dyn Error + Send + Sync> = rejection().into();
    in_a_shared_error: Arc<dyn Error + Send + Sync> = Arc::new(rejection());
    in_a_boxed_enum: Box<dyn Error + Send + Sync> = Transparent::from(rejection()).into();
    in_anyhow: anyhow::Error = rejection().into();
    in_anyhow_with_context: anyhow::Error =
        anyhow::Error::new(rejection()).context("saving").context("closing");
    in_eyre: eyre::Report = rejection().into();
    in_eyre_with_wrap_err: eyre::Report =
        eyre::Report::new(rejection()).wrap_err("saving").wrap_err("closing");
    in_an_io_error: io::Error = io::Error::other(rejection());
    in_an_io_error_by_conversion: io::Error = rejection().into();
    in_an_io_error_of_an_enum: io::Error = io::Error::other(Transparent::from(rejection()));
    in_a_call_error: CallError<io::Error> = rejection().into();
    in_a_call_error_of_an_enum: CallError<Transparent> = CallError::Inner(rejection().into());
    in_a_permanent_backoff_error: backoff::Error<io::Error> =
        backoff::Error::permanent(rejection().into());
    in_a_transient_backoff_error: backoff::Error<Transparent> =
        backoff::Error::transient(rejection().into());
    in_a_backoff_error_of_anyhow: backoff::Error<anyhow::Error> =
        backoff::Error::permanent(rejection().into());
    in_a_backoff_error_of_a_box: backoff::Error<Box<dyn Error + Send + Sync>> =
        backoff::Error::permanent(rejection().into());
    as_its_bare_cause: bindu_cb::OpenCause = cause_of(&rejection());
    as_its_bare_cause_in_a_box: Box<dyn Error + Send + Sync> = cause_of(&rejection()).into();
    as_its_cause_in_a_wrapper: anyhow::Error = anyhow::Error::new(cause_of(&rejection())).context("x");
}

fn cause_of(open: &CircuitBreakerOpenError) -> bindu_cb::OpenCause {
    open.source().and_then(|source| source.downcast_ref()).cloned().expect("it is the source")
}

/// A test for each error type: with anything else in it, it is a failure and retried.
macro_rules! a_failure_as {
    ($($(#[$doc:meta])* $name:ident: $error:ty = $refused:expr;)*) => {$(
        $(#[$doc])*
        #[tokio::test(start_paused = true)]
        async fn $name() {
            #[retry_with_breaker(op = "outer", attempts = 2, on_open = |_| Ok(()))]
            async fn retries(asked: &mut u32) -> Result<(), $error> {
                *asked += 1;
                Err($refused)
            }

            let cb = isolate();
            cb.enabled(true);
            let mut asked = 0;
            assert!(retries(&mut asked).await.is_err());
            assert_eq!((asked, outcomes()), (2, (0, 1, 0)));
        }
    )*};
}

/// Quacks like a rejection.
#[derive(Debug, thiserror::Error)]
#[error("circuit breaker is open for 'inner': retry after 30.0s")]
struct Parrot;

struct Mute;

a_failure_as! {
    another_variant: Transparent = Transparent::Refused;
    another_boxed_error: Box<dyn Error> = refused().into();
    another_error_in_anyhow: anyhow::Error = refused().into();
    another_error_in_eyre: eyre::Report = refused().into();
    another_error_in_backoff: backoff::Error<io::Error> = backoff::Error::transient(refused());
    an_error_that_only_reads_like_it: Parrot = Parrot;
    a_type_that_is_no_error: Mute = Mute;
    a_text: String = rejection().to_string();
    a_static_text: &'static str = "rejected";
    /// Its `E` is no error, so nothing can be seen of it.
    a_call_error_of_a_text: CallError<&'static str> = CallError::Inner("rejected");
}

#[retry_with_breaker(op = "inner")]
async fn inner() -> Result<(), Transparent> {
    Err(Transparent::Refused)
}

#[retry_with_breaker(op = "outer", probe_attempts = 3)]
async fn outer(asked: &mut u32) -> anyhow::Result<()> {
    *asked += 1;
    inner().await.context("asking the inner service")?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_outer_call_returns_the_inner_rejection_as_it_is() {
    let cb = isolate();
    cb.enabled(true);
    cb.force_open("inner");
    let error = outer(&mut 0).await.unwrap_err();
    assert_eq!(error.to_string(), "asking the inner service");
    let Some(Transparent::Open(open)) = error.downcast_ref() else { panic!("{error:?}") };
    assert_eq!(open.operation(), "inner");
}

#[tokio::test(start_paused = true)]
async fn an_inner_outage_does_not_open_the_outer_circuit() {
    let cb = isolate();
    cb.enabled(true);
    cb.force_open("inner");
    for _ in 0..100 {
        assert!(outer(&mut 0).await.is_err());
    }
    assert_eq!(get_circuit_breaker("outer").state(), CircuitState::Closed);
    assert_eq!(outcomes(), (0, 0, 100));
}

#[tokio::test(start_paused = true)]
async fn an_outer_probe_that_the_inner_circuit_rejects_decides_nothing() {
    let cb = isolate();
    cb.enabled(true);
    cb.force_open("inner");
    let circuit = get_circuit_breaker("outer");
    trip_and_wait(&circuit).await;
    for _ in 0..10 {
        let mut asked = 0;
        assert!(outer(&mut asked).await.is_err());
        assert_eq!((asked, circuit.state()), (1, CircuitState::HalfOpen));
    }
}

#[tokio::test(start_paused = true)]
async fn keys_do_not_make_a_rejection_retried_or_a_failure() {
    #[retry_with_breaker(op = "outer", retry_if = |_| true, record_if = |_| true)]
    async fn retries_everything(asked: &mut u32) -> anyhow::Result<()> {
        *asked += 1;
        Err(rejection().into())
    }

    let cb = isolate();
    cb.enabled(true);
    let mut asked = 0;
    assert!(retries_everything(&mut asked).await.is_err());
    assert_eq!((asked, outcomes()), (1, (0, 0, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_rejection_after_a_failed_attempt_is_ignored_too() {
    #[retry_with_breaker(op = "outer", attempts = 5)]
    async fn rejected_the_second_time(asked: &mut u32) -> anyhow::Result<()> {
        *asked += 1;
        if *asked == 1 {
            anyhow::bail!("connection refused");
        }
        Err(rejection().into())
    }

    let cb = isolate();
    cb.enabled(true);
    let mut asked = 0;
    assert!(rejected_the_second_time(&mut asked).await.is_err());
    assert_eq!((asked, outcomes()), (2, (0, 0, 1)));
}

#[tokio::test(start_paused = true)]
async fn an_operation_inside_an_attribute_is_an_inner_call_alike() {
    #[retry_with_breaker(op = "outer")]
    async fn through_an_operation(asked: &mut u32) -> Result<(), CallError<io::Error>> {
        *asked += 1;
        let operation = Operation::builder("inner").build().expect("nothing is out of range");
        operation.call(|| async { Err(refused()) }).await
    }

    let cb = isolate();
    cb.enabled(true);
    cb.force_open("inner");
    let mut asked = 0;
    assert!(matches!(through_an_operation(&mut asked).await, Err(CallError::Open(_))));
    assert_eq!((asked, outcomes()), (1, (0, 0, 1)));
}

#[test]
fn the_types_that_can_be_a_rejection_say_so_themselves() {
    use bindu_cb::{Classify as _, Verdict};

    let circuit =
        bindu_cb::CircuitBreaker::new("inner", bindu_cb::CircuitBreakerSettings::default());
    circuit.force_open();
    let open = circuit.try_acquire().unwrap_err();
    assert_eq!(open.classify(), Verdict::Ignored);
    assert_eq!(std::io::Error::from(open.clone()).classify(), Verdict::Ignored);
    assert_eq!(bindu_cb::CallError::<std::io::Error>::from(open).classify(), Verdict::Ignored);
}
