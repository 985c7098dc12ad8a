//! Nothing that a user does panics, and nothing that panics in a user's hands does lasting harm.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bindu_cb::testing::isolate;
use bindu_cb::{
    CircuitBreaker, CircuitBreakerOpenError, CircuitBreakerSettings, CircuitState, RetrySettings,
    Settings, execute_with_retry, get_circuit_breaker, registry, retry_with_breaker,
    with_circuit_breaker,
};
use tokio::runtime::Runtime;
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep};

use crate::support::{Failure, Service, assert_told, circuit, secs, trip, trip_and_wait};

const A_CENTURY: Duration = Duration::from_hours(100 * 365 * 24);

#[retry_with_breaker(op = "extremes", attempts = 4_294_967_295, min_wait = 0, max_wait = 0)]
async fn endless(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[tokio::test(start_paused = true)]
async fn four_billion_attempts_without_a_wait_leave_others_their_turn() {
    let cb = isolate();
    cb.enabled(true);
    let service = Arc::new(Service::down());
    let endless = tokio::spawn({
        let service = Arc::clone(&service);
        async move { endless(&service).await }
    });
    for _ in 0..1_000 {
        yield_now().await;
    }
    assert!(service.asked() > 1);
    trip(&get_circuit_breaker("extremes"));
    assert!(matches!(endless.await.unwrap(), Err(Failure::Open(_))));
}

#[tokio::test(start_paused = true)]
async fn a_wait_longer_than_the_clock_reaches_ends_with_a_trip() {
    let cb = isolate();
    cb.enabled(true);
    let options = RetrySettings::default()
        .attempts(u32::MAX)
        .min_wait(Duration::MAX)
        .max_wait(Duration::MAX)
        .multiplier(f64::MAX)
        .jitter(1.0)
        .deadline(Duration::MAX)
        .timeout(Duration::MAX);
    assert!(options.validate().is_ok());
    let call = execute_with_retry("extremes", options, async || Service::down().ask());
    let trips = async {
        sleep(secs(60)).await;
        trip(&get_circuit_breaker("extremes"));
    };
    let (result, ()) = tokio::join!(call, trips);
    assert!(matches!(result, Err(bindu_cb::CallError::Open(_))), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn without_any_time_there_is_one_attempt() {
    let cb = isolate();
    cb.enabled(true);
    let service = Service::down();
    let no_time = RetrySettings::default().deadline(Duration::ZERO);
    let result = execute_with_retry("extremes", no_time, async || service.ask()).await;
    assert!(matches!(result, Err(bindu_cb::CallError::Inner(Failure::Refused(1)))), "{result:?}");

    let no_time = RetrySettings::default().timeout(Duration::ZERO).attempts(1);
    let hang = std::future::pending::<Result<(), Failure>>;
    let result = execute_with_retry("extremes", no_time, hang).await;
    assert!(matches!(result, Err(bindu_cb::CallError::Timeout(_))), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_recovery_timeout_of_zero_makes_the_next_call_a_probe() {
    let settings =
        CircuitBreakerSettings::default().failure_threshold(1).recovery_timeout(Duration::ZERO);
    let circuit = CircuitBreaker::new("test", settings);
    for reopens in 0..300 {
        circuit.try_acquire().unwrap().failure();
        let snapshot = circuit.snapshot();
        assert_eq!((snapshot.state, snapshot.half_open_in), (CircuitState::Open, Some(secs(0))));
        assert_eq!(snapshot.reopens, reopens.min(255), "saturating");
    }
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_endless_recovery_timeout_keeps_the_circuit_open() {
    let settings = CircuitBreakerSettings::default()
        .failure_threshold(1)
        .recovery_timeout(Duration::MAX)
        .max_recovery_timeout(Duration::MAX)
        .recovery_multiplier(f64::MAX)
        .probe_timeout(Duration::MAX);
    let circuit = CircuitBreaker::new("test", settings);
    trip(&circuit);
    advance(A_CENTURY).await;
    let open = circuit.try_acquire().unwrap_err();
    assert!(open.retry_after() > A_CENTURY);
    assert!(open.to_string().contains("retry after"));
    assert!(circuit.snapshot().half_open_in.is_some_and(|left| left > A_CENTURY));
}

#[tokio::test(start_paused = true)]
async fn the_longest_wait_is_in_force_however_often_the_circuit_re_opens() {
    let settings = CircuitBreakerSettings::default()
        .failure_threshold(1)
        .recovery_multiplier(f64::MAX)
        .max_recovery_timeout(secs(60));
    let circuit = CircuitBreaker::new("test", settings);
    trip(&circuit);
    assert_eq!(circuit.snapshot().half_open_in, Some(secs(30)));
    for _ in 0..300 {
        advance(secs(60)).await;
        circuit.try_acquire().unwrap().failure();
        assert_eq!(circuit.snapshot().half_open_in, Some(secs(60)));
    }
}

#[tokio::test(start_paused = true)]
async fn settings_out_of_range_are_brought_into_it() {
    let settings = CircuitBreakerSettings::default()
        .failure_threshold(0)
        .success_threshold(u32::MAX)
        .half_open_permits(0)
        .probe_attempts(0)
        .recovery_multiplier(f64::NAN)
        .recovery_jitter(f64::INFINITY);
    assert_eq!(settings.validate().unwrap_err().problems().len(), 6);
    let circuit = CircuitBreaker::new("test", settings);
    circuit.try_acquire().unwrap().failure();
    assert_eq!(circuit.state(), CircuitState::Open, "a threshold of one is the smallest");
    advance(secs(30)).await;
    let probe = circuit.try_acquire().unwrap();
    assert!(circuit.try_acquire().is_err(), "and one permit");
    probe.success();
    for _ in 1..65_534 {
        circuit.try_acquire().unwrap().success();
    }
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed, "65,535 successes are the most");
}

#[tokio::test(start_paused = true)]
async fn a_threshold_too_large_to_count_to_is_the_largest_there_is() {
    let circuit = circuit(u32::MAX);
    for _ in 1..65_535 {
        circuit.try_acquire().unwrap().failure();
    }
    assert_eq!(circuit.state(), CircuitState::Closed);
    circuit.try_acquire().unwrap().failure();
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[retry_with_breaker(op = "extremes")]
async fn plain(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[tokio::test(start_paused = true)]
async fn settings_out_of_range_can_be_configured_while_calls_go_on() {
    let cb = isolate();
    cb.enabled(true);
    let service = Service::down();
    let configure = async {
        sleep(Duration::from_millis(1)).await;
        let mut settings = Settings::default();
        settings
            .all()
            .enabled(true)
            .attempts(0)
            .min_wait(Duration::MAX)
            .max_wait(Duration::ZERO)
            .multiplier(f64::NAN)
            .jitter(-1.0)
            .failure_threshold(0)
            .half_open_permits(u32::MAX)
            .success_threshold(0)
            .recovery_multiplier(f64::NEG_INFINITY)
            .recovery_jitter(f64::NAN)
            .recovery_timeout(Duration::MAX)
            .max_recovery_timeout(Duration::ZERO);
        assert!(settings.validate().is_err());
        registry().configure(settings);
    };
    assert!(tokio::join!(plain(&service), configure).0.is_err());

    // One failure opens now, and one attempt is made.
    let circuit = get_circuit_breaker("extremes");
    circuit.reset();
    let asked = service.asked();
    assert!(matches!(plain(&service).await, Err(Failure::Refused(_))));
    assert_eq!((service.asked() - asked, circuit.state()), (1, CircuitState::Open));
}

fn paused() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// Two runtimes with paused clocks, the second of which begins where the first began.
#[test]
fn the_clock_may_run_backwards() {
    // Made now, or after an hour that the second runtime has not seen.
    for (made_after, opened_after) in [(3_600, 0), (0, 3_600)] {
        let runtime = paused();
        let circuit = runtime.block_on(async {
            advance(secs(made_after)).await;
            let circuit = Arc::new(circuit(3));
            advance(secs(opened_after)).await;
            circuit.try_acquire().unwrap().success();
            trip(&circuit);
            circuit
        });
        drop(runtime);
        paused().block_on(async {
            let snapshot = circuit.snapshot();
            assert_eq!((snapshot.state, snapshot.in_state_for), (CircuitState::Open, secs(0)));
            assert!(snapshot.half_open_in.unwrap() <= secs(30), "{snapshot:?}");
            let open = circuit.try_acquire().unwrap_err();
            assert!(open.retry_after() <= secs(33), "never a tenth more than was drawn: {open:?}");
            advance(secs(2 * 3_600)).await;
            circuit.try_acquire().unwrap().success();
            assert_eq!(circuit.state(), CircuitState::Closed);
        });
    }
}

#[test]
fn a_probe_may_outlive_its_clock() {
    let first = paused();
    let circuit = first.block_on(async {
        advance(secs(3_600)).await;
        circuit(3)
    });
    let probe = first.block_on(async {
        trip_and_wait(&circuit).await;
        circuit.try_acquire().unwrap()
    });
    paused().block_on(async {
        assert!(circuit.try_acquire().unwrap_err().retry_after() <= secs(66));
        probe.success();
        assert_eq!(circuit.state(), CircuitState::Closed);
    });
}

#[test]
fn a_wait_may_outlive_its_clock() {
    let cb = isolate();
    cb.enabled(true);
    // The futures of one runtime are not polled in another, but their circuits and settings are
    // the same.
    paused().block_on(async {
        advance(secs(3_600)).await;
        assert!(plain(&Service::down()).await.is_err());
    });
    paused().block_on(async {
        assert_eq!(plain(&Service::refusing(2)).await.unwrap(), 3);
        assert_eq!(get_circuit_breaker("extremes").snapshot().calls.success, 1);
    });
}

#[retry_with_breaker(op = "extremes", attempts = 2, failure_threshold = 1, on_open = |_| Err(String::new()))]
async fn fails_at_length() -> Result<(), String> {
    // Of three bytes each, so that a cut at a round number of bytes is within one of them.
    Err("€".repeat(350_000))
}

#[tokio::test(start_paused = true)]
async fn an_errors_text_of_a_megabyte_is_returned_whole_and_kept_in_part() {
    let cb = isolate();
    cb.enabled(true);
    assert_eq!(fails_at_length().await.unwrap_err().len(), 1_050_000);
    let circuit = get_circuit_breaker("extremes");
    let kept = circuit.snapshot().last_failure.unwrap();
    assert!(kept.starts_with("€€€") && kept.len() < 10_000, "{} bytes are kept", kept.len());
    let open = circuit.try_acquire().unwrap_err();
    assert!(open.source().unwrap().to_string().contains("€€€"));
}

/// The cause of itself.
#[derive(Debug)]
struct Ouroboros;

impl fmt::Display for Ouroboros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it bites its tail")
    }
}

impl Error for Ouroboros {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_sources_may_have_no_end() {
    #[with_circuit_breaker(op = "extremes", on_open = |_| Ok(()))]
    async fn bites() -> Result<(), Ouroboros> {
        Err(Ouroboros)
    }
    let cb = isolate();
    cb.enabled(true);
    assert!(bites().await.is_err());
    assert_eq!(get_circuit_breaker("extremes").snapshot().calls.failure, 1);
}

/// Panics when it is written.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("it must not be named");
    }
}

impl Error for Unspeakable {}

impl From<CircuitBreakerOpenError> for Unspeakable {
    fn from(_: CircuitBreakerOpenError) -> Self {
        Self
    }
}

#[with_circuit_breaker(op = "extremes")]
async fn unspeakable() -> Result<(), Unspeakable> {
    Err(Unspeakable)
}

#[retry_with_breaker(op = "extremes", attempts = 2, min_wait = 0, max_wait = 0)]
async fn unspeakable_twice() -> Result<(), Unspeakable> {
    Err(Unspeakable)
}

/// Polls a call that panics.
fn panics<T>(call: impl Future<Output = T>) -> bool {
    let mut call = std::pin::pin!(call);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    // A call that only gives way to others is polled again.
    catch_unwind(AssertUnwindSafe(|| while call.as_mut().poll(&mut cx).is_pending() {})).is_err()
}

#[tokio::test(start_paused = true)]
async fn a_display_that_panics_unwinds_and_the_call_is_a_failure_all_the_same() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("extremes");
    assert!(panics(unspeakable()));
    assert_eq!(circuit.snapshot().calls.failure, 1);
    assert!(panics(unspeakable_twice()));
    assert_eq!(circuit.snapshot().calls.failure, 2);
    assert!(panics(unspeakable()));
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_errors_display_panics_opens_again_and_keeps_no_permit() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("extremes");
    trip_and_wait(&circuit).await;
    assert!(panics(unspeakable()));
    assert_eq!(circuit.snapshot().reopens, 1);
    advance(secs(30)).await;
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

/// Looks into the circuit, and changes it, while it is written.
#[derive(Debug)]
struct Inquisitive(fn(&CircuitBreaker));

impl fmt::Display for Inquisitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let circuit = get_circuit_breaker("extremes");
        (self.0)(&circuit);
        write!(f, "{}", circuit.snapshot().state)
    }
}

impl From<CircuitBreakerOpenError> for Inquisitive {
    fn from(_: CircuitBreakerOpenError) -> Self {
        Self(|_| ())
    }
}

#[retry_with_breaker(op = "extremes", attempts = 2)]
async fn inquisitive(look: fn(&CircuitBreaker)) -> Result<(), Inquisitive> {
    Err(Inquisitive(look))
}

#[tokio::test(start_paused = true)]
async fn a_display_may_look_into_the_circuit() {
    let cb = isolate();
    cb.enabled(true);
    let look = |circuit: &CircuitBreaker| {
        assert!(circuit.try_acquire().is_ok());
        assert_eq!(registry().snapshot().len(), 1);
    };
    assert!(inquisitive(look).await.is_err());
    let snapshot = get_circuit_breaker("extremes").snapshot();
    assert_eq!((snapshot.calls.failure, snapshot.last_failure.as_deref()), (1, Some("closed")));
}

#[tokio::test(start_paused = true)]
async fn a_display_may_change_the_circuit() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("extremes");
    for (change, state) in [
        (CircuitBreaker::force_open as fn(&CircuitBreaker), CircuitState::ForcedOpen),
        (CircuitBreaker::reset, CircuitState::Closed),
        (|circuit| trip(circuit), CircuitState::Open),
    ] {
        circuit.reset();
        let before = circuit.snapshot().calls;
        assert!(inquisitive(change).await.is_err());
        let after = circuit.snapshot();
        assert_eq!(after.state, state);
        assert_eq!(after.calls.stale, before.stale + 1, "its own failure came too late");
    }
}

#[tokio::test(start_paused = true)]
async fn names_may_be_anything() {
    for name in ["", " ", ":", "a:b:c", "ünïcode", "\0", &"x".repeat(100_000)] {
        let circuit = CircuitBreaker::new(name.to_owned(), CircuitBreakerSettings::default());
        assert_eq!(circuit.name(), name);
        circuit.force_open();
        assert!(circuit.try_acquire().unwrap_err().to_string().contains(name));
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_circuit_measures_time_like_a_young_one() {
    let circuit = circuit(1);
    advance(A_CENTURY).await;
    trip(&circuit);
    let began = Instant::now();
    assert_told(&circuit.try_acquire().unwrap_err(), secs(30));
    sleep(secs(30)).await;
    assert!(circuit.try_acquire().is_ok());
    assert_eq!(began.elapsed(), secs(30));
}
