//! C4: failures of different classes count in circuits of their own.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bindu_cb::testing::{Isolated, isolate};
use bindu_cb::{
    AttemptTimeoutError, CircuitBreaker, CircuitBreakerOpenError, CircuitState, Classify, Event,
    Settings, Source, Verdict, Window, get_circuit_breaker, registry, retry_with_breaker,
    with_circuit_breaker,
};
use tokio::task::LocalSet;
use tokio::time::{Instant, advance, sleep, timeout};
use tracing::Level;

use crate::support::{Log, millis, secs, snapshot_of, trip};

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer in time")]
    Timeout,
    #[error("connection refused")]
    Connection,
    #[error("out of its mind")]
    Unclassed,
    #[error("no such row")]
    Missing,
    #[error("of the class {0}")]
    Of(&'static str),
    #[error(transparent)]
    Open(#[from] CircuitBreakerOpenError),
    #[error(transparent)]
    Slow(#[from] AttemptTimeoutError),
}

impl Failure {
    fn class(&self) -> &'static str {
        match self {
            Self::Timeout | Self::Slow(_) => "timeout",
            Self::Connection => "connection",
            Self::Of(class) => class,
            Self::Unclassed | Self::Missing | Self::Open(_) => "",
        }
    }
}

impl Classify for Failure {
    fn classify(&self) -> Verdict {
        if matches!(self, Self::Missing) { Verdict::Permanent } else { Verdict::Transient }
    }
}

/// What the attempts of one call end in, one after the other.
type Script<'a> = &'a [Result<u32, fn() -> Failure>];

const UP: Script<'_> = &[Ok(1)];
const TIMEOUT: Script<'_> = &[Err(|| Failure::Timeout)];
const CONNECTION: Script<'_> = &[Err(|| Failure::Connection)];
const UNCLASSED: Script<'_> = &[Err(|| Failure::Unclassed)];

#[with_circuit_breaker(op = "storage", class = Failure::class)]
async fn once(script: Script<'_>) -> Result<u32, Failure> {
    script[0].map_err(|failure| failure())
}

/// Ends when it is told to.
#[with_circuit_breaker(op = "storage", class = Failure::class)]
async fn slow(takes: Duration, script: Script<'_>) -> Result<u32, Failure> {
    sleep(takes).await;
    script[0].map_err(|failure| failure())
}

#[retry_with_breaker(
    op = "storage", class = Failure::class, attempts = 3, min_wait = "1h", max_wait = "1h",
    jitter = 0.0
)]
async fn looped(attempt: &AtomicU32, script: Script<'_>) -> Result<u32, Failure> {
    script[attempt.fetch_add(1, Ordering::Relaxed) as usize].map_err(|failure| failure())
}

#[retry_with_breaker(
    op = "attempts", class = Failure::class, count = "attempt", attempts = 3, min_wait = "1h",
    max_wait = "1h", jitter = 0.0
)]
async fn counted_singly(attempt: &AtomicU32, script: Script<'_>) -> Result<u32, Failure> {
    script[attempt.fetch_add(1, Ordering::Relaxed) as usize].map_err(|failure| failure())
}

fn enabled() -> Isolated {
    let cb = isolate();
    cb.enabled(true);
    cb
}

fn circuit(name: &str) -> Arc<CircuitBreaker> {
    registry().get(name).unwrap_or_else(|| panic!("there is no circuit {name}"))
}

fn state(name: &str) -> CircuitState {
    circuit(name).state()
}

fn failures(name: &str) -> u32 {
    circuit(name).snapshot().consecutive_failures
}

async fn fail(script: Script<'_>, times: u32) {
    for _ in 0..times {
        once(script).await.unwrap_err();
    }
}

/// The name of the circuit that has turned the call away.
fn rejected_by(result: Result<u32, Failure>) -> String {
    match result {
        Err(Failure::Open(open)) => open.operation().to_owned(),
        other => panic!("not rejected: {other:?}"),
    }
}

/// Settings that every test of this file starts from, with what it adds.
fn configure(add: impl FnOnce(&mut Settings)) {
    let mut settings = Settings::default();
    add(&mut settings);
    registry().configure(settings);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_timeouts_opens_their_own_circuit_and_no_other() {
    let _cb = enabled();
    fail(CONNECTION, 2).await;
    fail(TIMEOUT, 3).await;
    assert_eq!(state("storage/timeout"), CircuitState::Open);
    assert_eq!(state("storage/connection"), CircuitState::Closed);
    assert_eq!(failures("storage/connection"), 2, "the timeouts say nothing of it");
    assert_eq!(state("storage"), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_names_the_class_and_the_others_do_not_count_it() {
    let _cb = enabled();
    fail(TIMEOUT, 3).await;
    let Err(Failure::Open(open)) = once(UP).await else { panic!("admitted") };
    assert_eq!(open.operation(), "storage/timeout");
    assert!(open.retry_after() > secs(29) && open.retry_after() <= secs(33), "{open:?}");
    assert!(open.to_string().starts_with("circuit breaker is open for 'storage/timeout'"));
    let (class, own) = (snapshot_of("storage/timeout").calls, snapshot_of("storage").calls);
    assert_eq!((class.failure, class.rejected), (3, 1));
    assert_eq!((own.failure, own.ignored, own.cancelled, own.rejected), (0, 3, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failure_without_a_class_is_the_operations_own() {
    let _cb = enabled();
    fail(TIMEOUT, 1).await;
    fail(UNCLASSED, 3).await;
    assert_eq!(state("storage"), CircuitState::Open);
    assert_eq!(failures("storage/timeout"), 1);
    assert_eq!(rejected_by(once(UP).await), "storage");
    assert_eq!(snapshot_of("storage/timeout").calls.rejected, 0, "it was not asked");
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_service_is_a_success_of_every_class() {
    let _cb = enabled();
    for script in [UP, &[Err(|| Failure::Missing)]] {
        fail(CONNECTION, 2).await;
        fail(TIMEOUT, 2).await;
        let _ = once(script).await;
        assert_eq!((failures("storage/connection"), failures("storage/timeout")), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn so_is_a_success_that_began_while_all_classes_were_at_rest() {
    let _cb = enabled();
    fail(TIMEOUT, 1).await;
    once(UP).await.unwrap();
    let mut call = pin!(slow(secs(1), UP));
    assert!(timeout(millis(1), call.as_mut()).await.is_err(), "it has begun");
    fail(TIMEOUT, 2).await;
    call.await.unwrap();
    assert_eq!(failures("storage/timeout"), 0, "two in a row, then a success");
}

#[tokio::test(start_paused = true)]
async fn what_began_before_the_trip_neither_counts_nor_closes() {
    let _cb = enabled();
    fail(TIMEOUT, 1).await;
    once(UP).await.unwrap();
    let mut success = pin!(slow(secs(40), UP));
    let mut failure = pin!(slow(secs(50), TIMEOUT));
    assert!(timeout(millis(1), success.as_mut()).await.is_err());
    assert!(timeout(millis(1), failure.as_mut()).await.is_err());
    fail(TIMEOUT, 3).await;
    advance(secs(31)).await;
    once(UP).await.unwrap();
    assert_eq!(state("storage/timeout"), CircuitState::Closed, "the probe has closed it");
    fail(TIMEOUT, 1).await;

    success.await.unwrap();
    assert_eq!(failures("storage/timeout"), 1, "a success of the time before");
    failure.await.unwrap_err();
    assert_eq!(failures("storage/timeout"), 1, "a failure of the time before");
    assert_eq!(snapshot_of("storage/timeout").calls.stale, 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_began_before_another_classes_trip_counts_in_its_own() {
    let _cb = enabled();
    fail(TIMEOUT, 1).await;
    fail(CONNECTION, 1).await;
    once(UP).await.unwrap();
    let mut call = pin!(slow(secs(1), CONNECTION));
    assert!(timeout(millis(1), call.as_mut()).await.is_err());
    fail(TIMEOUT, 3).await;
    call.await.unwrap_err();
    assert_eq!(failures("storage/connection"), 1);
    assert_eq!(snapshot_of("storage/connection").calls.stale, 0);
}

#[tokio::test(start_paused = true)]
async fn thresholds_by_variable_and_by_code_are_those_of_the_class() {
    let _cb = enabled();
    let mut settings = Settings::default();
    settings.operation("storage").failure_threshold(4);
    settings.operation("storage/connection").failure_threshold(2);
    let variables = [
        ("BINDU_CB_STORAGE__TIMEOUT_FAILURE_THRESHOLD", "5"),
        ("BINDU_CB_STORAGE__TYPO_FAILURE_THRESHOLD", "5"),
        ("BINDU_CB_STORAGE_RECOVERY_TIMEOUT", "7s"),
    ];
    registry().configure(settings.with_variables(variables).unwrap());

    fail(TIMEOUT, 1).await;
    fail(CONNECTION, 1).await;
    assert_eq!(state("storage/connection"), CircuitState::Closed);
    fail(CONNECTION, 1).await;
    assert_eq!(state("storage/connection"), CircuitState::Open);
    get_circuit_breaker("storage/connection").reset();
    fail(TIMEOUT, 3).await;
    assert_eq!(state("storage/timeout"), CircuitState::Closed);
    fail(TIMEOUT, 1).await;
    assert_eq!(state("storage/timeout"), CircuitState::Open);
    let Err(Failure::Open(open)) = once(UP).await else { panic!("admitted") };
    assert!(open.retry_after() <= millis(7_700), "what is not the class's is the operation's");

    let source_of = |name: &str, key: &str| {
        snapshot_of(name).settings.into_iter().find(|s| s.key == key).unwrap().source
    };
    let variable = |name: &str| Source::Environment(name.to_owned());
    assert_eq!(
        source_of("storage/timeout", "failure_threshold"),
        variable("BINDU_CB_STORAGE__TIMEOUT_FAILURE_THRESHOLD")
    );
    assert_eq!(
        source_of("storage/timeout", "recovery_timeout"),
        variable("BINDU_CB_STORAGE_RECOVERY_TIMEOUT")
    );
    assert_eq!(
        source_of("storage/connection", "failure_threshold"),
        Source::Code("operation storage/connection".to_owned())
    );
    assert_eq!(registry().unmatched_variables(), ["BINDU_CB_STORAGE__TYPO_FAILURE_THRESHOLD"]);
}

#[with_circuit_breaker(op = "kind:given", class = |_| "any", failure_threshold = 2)]
async fn gives_a_threshold() -> Result<u32, Failure> {
    Err(Failure::Unclassed)
}

#[with_circuit_breaker(op = "kind:given", recovery_timeout = "9s")]
async fn gives_a_wait() -> Result<u32, Failure> {
    Ok(1)
}

#[tokio::test(start_paused = true)]
async fn what_the_attribute_gives_is_given_to_the_classes() {
    let _cb = enabled();
    configure(|settings| {
        settings.kind("kind").failure_threshold(7).recovery_timeout(secs(5));
    });
    gives_a_threshold().await.unwrap_err();
    gives_a_wait().await.unwrap();
    let any = circuit("kind:given/any");
    let value =
        |key: &str| any.snapshot().settings.into_iter().find(|s| s.key == key).unwrap().value;
    assert_eq!((value("failure_threshold"), value("recovery_timeout")), ("2".into(), "9s".into()));
    gives_a_threshold().await.unwrap_err();
    assert_eq!(any.state(), CircuitState::Open);
}

#[with_circuit_breaker(op = "kind:given/any", failure_threshold = 7)]
async fn has_the_name_of_a_class() -> Result<u32, Failure> {
    Ok(1)
}

#[tokio::test(start_paused = true)]
async fn a_class_takes_nothing_from_the_attribute_that_gave_its_circuit_first() {
    let _cb = enabled();
    let log = Log::capture();
    has_the_name_of_a_class().await.unwrap();
    for _ in 0..3 {
        gives_a_threshold().await.unwrap_err();
    }
    assert_eq!(state("kind:given/any"), CircuitState::Closed);
    let told = log.messages(Level::WARN);
    assert!(matches!(&told[..], [one] if one.contains("failure_threshold is 7")), "{told:?}");
}

#[retry_with_breaker(op = "storage/rows", attempts = 2)]
async fn no_class_in_spite_of_its_name(attempts: &AtomicU32) -> Result<u32, Failure> {
    attempts.fetch_add(1, Ordering::Relaxed);
    Err(Failure::Unclassed)
}

#[tokio::test(start_paused = true)]
async fn an_operation_with_a_slash_in_its_name_is_no_class_of_another() {
    let _cb = enabled();
    let mut settings = Settings::default();
    settings.operation("storage").failure_threshold(1).attempts(7);
    let variable = [("BINDU_CB_STORAGE_ROWS_RECOVERY_TIMEOUT", "7s")];
    registry().configure(settings.with_variables(variable).unwrap());
    let attempts = AtomicU32::new(0);
    no_class_in_spite_of_its_name(&attempts).await.unwrap_err();
    assert_eq!(attempts.load(Ordering::Relaxed), 2, "its own attribute's");
    assert_eq!(state("storage/rows"), CircuitState::Closed);
    let rows = snapshot_of("storage/rows");
    let source = |key: &str| rows.settings.iter().find(|s| s.key == key).unwrap().source.clone();
    assert_eq!(source("failure_threshold"), Source::Default);
    assert!(matches!(source("recovery_timeout"), Source::Environment(_)));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_admitted_by_all_or_by_none() {
    let _cb = enabled();
    fail(TIMEOUT, 1).await;
    fail(CONNECTION, 1).await;
    let (timeouts, connections) = (circuit("storage/timeout"), circuit("storage/connection"));
    trip(&circuit("storage"));
    trip(&timeouts);
    connections.force_open();
    let before = [circuit("storage"), Arc::clone(&timeouts)].map(|c| c.snapshot().calls);
    advance(secs(30)).await;
    for _ in 0..3 {
        // The one permit of each circuit that comes before was taken, and is there again.
        assert_eq!(rejected_by(once(UP).await), "storage/connection");
        assert_eq!(state("storage"), CircuitState::HalfOpen);
        assert_eq!(timeouts.state(), CircuitState::HalfOpen);
    }
    let after = [circuit("storage"), Arc::clone(&timeouts)].map(|c| c.snapshot().calls);
    assert_eq!(before, after, "nothing ran, and nothing is counted");
    connections.reset();
    once(UP).await.unwrap();
    assert_eq!(state("storage"), CircuitState::Closed);
    assert_eq!(timeouts.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_may_be_a_probe_of_several() {
    let _cb = enabled();
    fail(TIMEOUT, 1).await;
    fail(CONNECTION, 3).await;
    trip(&circuit("storage/timeout"));
    trip(&circuit("storage"));
    advance(secs(30)).await;
    once(UP).await.unwrap();
    for name in ["storage", "storage/timeout", "storage/connection"] {
        assert_eq!(state(name), CircuitState::Closed, "{name}");
    }

    trip(&circuit("storage/timeout"));
    trip(&circuit("storage/connection"));
    advance(secs(30)).await;
    once(TIMEOUT).await.unwrap_err();
    assert_eq!(state("storage/timeout"), CircuitState::Open, "its own failure");
    assert_eq!(state("storage/connection"), CircuitState::HalfOpen, "nothing that decides");
    assert_eq!(snapshot_of("storage/connection").calls.ignored, 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_of_a_class_makes_as_many_attempts_as_that_lets_it() {
    let _cb = enabled();
    let attempts = AtomicU32::new(0);
    fail(TIMEOUT, 3).await;
    advance(secs(30)).await;
    let failing: Script<'_> =
        &[Err(|| Failure::Timeout), Err(|| Failure::Timeout), Err(|| Failure::Timeout)];
    looped(&attempts, failing).await.unwrap_err();
    assert_eq!(attempts.into_inner(), 1);
    assert_eq!(snapshot_of("storage/timeout").reopens, 1);
}

#[tokio::test(start_paused = true)]
async fn the_seventeenth_class_is_other_and_so_is_each_after_it() {
    #[with_circuit_breaker(op = "many", class = Failure::class)]
    async fn of(class: &'static str) -> Result<u32, Failure> {
        Err(Failure::Of(class))
    }

    let (_cb, log) = (enabled(), Log::capture());
    let labels: Vec<&'static str> =
        (1..=20).map(|number| &*Box::leak(format!("c{number}").into_boxed_str())).collect();
    for label in &labels[..16] {
        of(label).await.unwrap_err();
    }
    assert!(log.at(Level::WARN).is_empty());
    of("c17").await.unwrap_err();
    of("c18").await.unwrap_err();
    of("c1").await.unwrap_err();
    assert_eq!(failures("many/other"), 2);
    assert_eq!(failures("many/c1"), 2);
    of("c19").await.unwrap_err();
    assert_eq!(state("many/other"), CircuitState::Open);
    assert_eq!(registry().iter().filter(|c| c.name().starts_with("many/")).count(), 17);
    let warned = log.messages(Level::WARN);
    let of_classes = warned.iter().filter(|text| text.contains("more than 16 classes"));
    assert_eq!(of_classes.count(), 1, "{warned:?}");
}

#[tokio::test(start_paused = true)]
async fn a_window_of_a_class_holds_every_call_of_the_operation() {
    let _cb = enabled();
    configure(|settings| {
        let timeouts = settings.operation("storage/timeout");
        timeouts.window(Window::Calls(10)).minimum_calls(10).failure_rate(30);
    });
    fail(TIMEOUT, 1).await;
    for _ in 0..7 {
        once(UP).await.unwrap();
    }
    fail(TIMEOUT, 1).await;
    let window = circuit("storage/timeout").snapshot().window.unwrap();
    assert_eq!((window.calls, window.failures), (9, 2));
    fail(CONNECTION, 1).await;
    let window = circuit("storage/timeout").snapshot().window.unwrap();
    assert_eq!(window.calls, 9, "another class's failure is not in it");
    fail(TIMEOUT, 1).await;
    assert_eq!(state("storage/timeout"), CircuitState::Open);
    assert_eq!(state("storage/connection"), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_set_while_running_sees_the_next_success() {
    let _cb = enabled();
    fail(TIMEOUT, 1).await;
    once(UP).await.unwrap();
    once(UP).await.unwrap();
    configure(|settings| {
        settings.operation("storage/timeout").window(Window::Calls(10));
    });
    once(UP).await.unwrap();
    assert_eq!(circuit("storage/timeout").snapshot().window.unwrap().calls, 1);
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_at_rest_is_not_told_of_successes() {
    let _cb = enabled();
    fail(TIMEOUT, 1).await;
    once(UP).await.unwrap();
    let before = snapshot_of("storage/timeout").calls.success;
    for _ in 0..10 {
        once(UP).await.unwrap();
    }
    assert_eq!(snapshot_of("storage/timeout").calls.success, before);
    assert_eq!(snapshot_of("storage").calls.success, 11);
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_forced_open_stops_everything_and_so_does_the_operation() {
    let _cb = enabled();
    fail(TIMEOUT, 1).await;
    once(UP).await.unwrap();
    circuit("storage/timeout").force_open();
    assert_eq!(rejected_by(once(UP).await), "storage/timeout");
    registry().reset_all();
    once(UP).await.unwrap();
    circuit("storage").force_open();
    assert_eq!(rejected_by(once(UP).await), "storage");
}

#[tokio::test(start_paused = true)]
async fn a_class_can_be_asked_for_before_one_of_its_errors_is_seen() {
    let _cb = enabled();
    once(UP).await.unwrap();
    let class = get_circuit_breaker("storage/timeout");
    class.force_open();
    assert_eq!(rejected_by(once(UP).await), "storage/timeout");
    class.reset();
    fail(TIMEOUT, 1).await;
    assert!(Arc::ptr_eq(&class, &circuit("storage/timeout")));
    assert_eq!((failures("storage/timeout"), failures("storage")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_asked_for_has_the_settings_of_one() {
    let _cb = enabled();
    let variables = [
        ("BINDU_CB_KIND_GIVEN__ASKED_RECOVERY_TIMEOUT", "7s"),
        ("BINDU_CB_KIND_GIVEN_ASKED_FAILURE_THRESHOLD", "9"),
    ];
    registry().configure(Settings::default().with_variables(variables).unwrap());
    gives_a_threshold().await.unwrap_err();
    get_circuit_breaker("kind:given/asked");
    let asked = snapshot_of("kind:given/asked");
    let value = |key: &str| &asked.settings.iter().find(|s| s.key == key).unwrap().value;
    assert_eq!((&**value("failure_threshold"), &**value("recovery_timeout")), ("2", "7s"));
    assert_eq!(
        registry().unmatched_variables(),
        ["BINDU_CB_KIND_GIVEN_ASKED_FAILURE_THRESHOLD"],
        "with one `_` it is another operation's"
    );
}

#[tokio::test(start_paused = true)]
async fn switches_hold_for_each_circuit() {
    let _cb = enabled();
    fail(TIMEOUT, 3).await;
    configure(|settings| {
        settings.operation("storage/timeout").dry_run(true);
    });
    once(UP).await.unwrap();
    assert_eq!(snapshot_of("storage/timeout").calls.rejected, 1, "would have been");

    let cb = isolate();
    configure(|settings| {
        settings.operation("storage").enabled(true);
        settings.operation("storage/timeout").enabled(false);
    });
    fail(TIMEOUT, 5).await;
    assert_eq!(state("storage/timeout"), CircuitState::Closed);
    assert_eq!(snapshot_of("storage/timeout").calls.failure, 0, "the circuit is untouched");
    assert_eq!(snapshot_of("storage").calls.ignored, 5);
    drop(cb);
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_switched_off_under_a_probe_has_its_permit_back() {
    let _cb = isolate();
    let switch = |on: bool| {
        configure(|settings| {
            settings.all().enabled(true);
            settings.operation("storage/timeout").enabled(on);
        });
    };
    switch(true);
    fail(TIMEOUT, 3).await;
    advance(secs(30)).await;
    let mut probe = pin!(slow(secs(1), TIMEOUT));
    assert!(timeout(millis(1), probe.as_mut()).await.is_err());
    switch(false);
    probe.await.unwrap_err();
    switch(true);
    assert_eq!(state("storage/timeout"), CircuitState::Open, "the probe has failed");
}

#[tokio::test(start_paused = true)]
async fn without_the_key_a_function_asks_no_class_and_tells_none() {
    #[with_circuit_breaker(op = "storage")]
    async fn plain(script: Script<'_>) -> Result<u32, Failure> {
        script[0].map_err(|failure| failure())
    }

    let _cb = enabled();
    fail(TIMEOUT, 2).await;
    plain(UP).await.unwrap();
    assert_eq!(failures("storage/timeout"), 2);
    fail(TIMEOUT, 1).await;
    assert_eq!(rejected_by(once(UP).await), "storage/timeout");
    plain(UP).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_the_operation_is_off_no_class_is_made() {
    let _cb = isolate();
    fail(TIMEOUT, 5).await;
    assert!(registry().get("storage/timeout").is_none());
}

#[tokio::test(start_paused = true)]
async fn with_attempts_counted_singly_each_asks_and_tells() {
    let _cb = enabled();
    let attempts = AtomicU32::new(0);
    let script: Script<'_> =
        &[Err(|| Failure::Timeout), Err(|| Failure::Connection), Err(|| Failure::Timeout)];
    counted_singly(&attempts, script).await.unwrap_err();
    assert_eq!((failures("attempts/timeout"), failures("attempts/connection")), (2, 1));
    assert_eq!(snapshot_of("attempts").calls.ignored, 3);

    let attempts = AtomicU32::new(0);
    let trips: Script<'_> = &[Err(|| Failure::Timeout), Ok(1)];
    let result = counted_singly(&attempts, trips).await;
    assert_eq!(rejected_by(result), "attempts/timeout", "the attempt has tripped it");
    assert_eq!(attempts.into_inner(), 1);

    advance(secs(30)).await;
    let attempts = AtomicU32::new(0);
    assert_eq!(counted_singly(&attempts, UP).await.unwrap(), 1);
    assert_eq!(state("attempts/timeout"), CircuitState::Closed);
    assert_eq!(failures("attempts/connection"), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_says_what_a_call_is() {
    let _cb = enabled();
    let attempts = AtomicU32::new(0);
    let script: Script<'_> = &[Err(|| Failure::Timeout), Err(|| Failure::Connection), Ok(1)];
    looped(&attempts, script).await.unwrap();
    assert_eq!(snapshot_of("storage").calls.success, 1);
    let failing: Script<'_> =
        &[Err(|| Failure::Timeout), Err(|| Failure::Timeout), Err(|| Failure::Connection)];
    looped(&AtomicU32::new(0), failing).await.unwrap_err();
    assert_eq!((failures("storage/timeout"), failures("storage/connection")), (0, 1));
    assert_eq!(
        circuit("storage/connection").snapshot().last_failure.unwrap(),
        "connection refused"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_gives_every_permit_back() {
    let _cb = enabled();
    fail(TIMEOUT, 3).await;
    fail_to_connect_elsewhere();
    advance(secs(30)).await;
    for _ in 0..3 {
        assert!(timeout(secs(1), slow(secs(9), UP)).await.is_err());
        assert_eq!(state("storage/timeout"), CircuitState::HalfOpen);
    }
    assert_eq!(snapshot_of("storage/timeout").calls.cancelled, 3);
    assert_eq!(snapshot_of("storage").calls.cancelled, 3);
    once(UP).await.unwrap();
    assert_eq!(state("storage/timeout"), CircuitState::Closed);
}

/// Another circuit in trouble must make no difference.
fn fail_to_connect_elsewhere() {
    trip(&get_circuit_breaker("elsewhere/timeout"));
}

#[tokio::test(start_paused = true)]
async fn dropped_after_a_failed_attempt_it_is_a_failure_of_that_attempts_class() {
    let _cb = enabled();
    let script: Script<'_> = &[Err(|| Failure::Connection), Err(|| Failure::Timeout), Ok(1)];
    let attempts = AtomicU32::new(0);
    assert!(timeout(secs(5_400), looped(&attempts, script)).await.is_err());
    assert_eq!(attempts.into_inner(), 2);
    assert_eq!(failures("storage/timeout"), 1);
    let own = snapshot_of("storage").calls;
    assert_eq!((own.ignored, own.failure, own.cancelled), (1, 0, 0));

    let script: Script<'_> = &[Err(|| Failure::Connection), Err(|| Failure::Unclassed), Ok(1)];
    assert!(timeout(secs(5_400), looped(&AtomicU32::new(0), script)).await.is_err());
    assert_eq!(failures("storage"), 1, "of no class");
    assert_eq!(failures("storage/timeout"), 1);
}

#[tokio::test(start_paused = true)]
async fn also_if_an_answer_came_between() {
    #[retry_with_breaker(
        op = "storage", class = Failure::class, retry_if = |_| true, min_wait = "1h", max_wait = "1h",
        jitter = 0.0, record_if = |error| !matches!(error, Failure::Missing)
    )]
    async fn answered(attempt: &AtomicU32, script: Script<'_>) -> Result<u32, Failure> {
        script[attempt.fetch_add(1, Ordering::Relaxed) as usize].map_err(|failure| failure())
    }

    let _cb = enabled();
    let script: Script<'_> = &[Err(|| Failure::Timeout), Err(|| Failure::Missing)];
    let attempts = AtomicU32::new(0);
    assert!(timeout(secs(5_400), answered(&attempts, script)).await.is_err());
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
    assert_eq!(failures("storage/timeout"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_the_operations_own_failure_and_gives_every_permit_back() {
    let _cb = enabled();
    fail(TIMEOUT, 3).await;
    advance(secs(30)).await;
    let tasks = LocalSet::new();
    let panics: Script<'_> = &[];
    let task = tasks.spawn_local(once(panics));
    tasks.run_until(task).await.unwrap_err();
    assert_eq!(failures("storage"), 1);
    assert_eq!(state("storage/timeout"), CircuitState::HalfOpen);
    assert_eq!(snapshot_of("storage/timeout").calls.ignored, 1);
    once(UP).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_text_that_panics_loses_no_permit() {
    #[derive(Debug)]
    struct Bomb;
    impl std::fmt::Display for Bomb {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no text")
        }
    }
    impl std::error::Error for Bomb {}
    impl From<CircuitBreakerOpenError> for Bomb {
        fn from(_: CircuitBreakerOpenError) -> Self {
            Self
        }
    }
    #[with_circuit_breaker(op = "storage", class = |_| "bomb")]
    async fn explodes() -> Result<u32, Bomb> {
        Err(Bomb)
    }

    let _cb = enabled();
    fail(TIMEOUT, 3).await;
    advance(secs(30)).await;
    let tasks = LocalSet::new();
    let task = tasks.spawn_local(explodes());
    tasks.run_until(task).await.unwrap_err();
    assert_eq!(state("storage/timeout"), CircuitState::HalfOpen);
    once(UP).await.unwrap();
    assert_eq!(state("storage/timeout"), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_inner_rejection_is_ignored_by_all() {
    #[with_circuit_breaker(op = "outer", class = |_| "any")]
    async fn outer() -> Result<u32, Failure> {
        once(UP).await
    }

    let _cb = enabled();
    fail(TIMEOUT, 3).await;
    assert_eq!(rejected_by(outer().await), "storage/timeout");
    assert!(registry().get("outer/any").is_none(), "no failure, no class");
    assert_eq!(snapshot_of("outer").calls.ignored, 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_times_out_has_the_class_of_its_error() {
    #[retry_with_breaker(
        op = "limited", class = Failure::class, timeout = "1s", attempts = 2, min_wait = "1ms"
    )]
    async fn hangs() -> Result<u32, Failure> {
        sleep(secs(9)).await;
        Ok(1)
    }
    #[with_circuit_breaker(
        op = "limited", class = Failure::class, timeout = "1s", on_timeout = |_| Failure::Connection
    )]
    async fn hangs_once() -> Result<u32, Failure> {
        sleep(secs(9)).await;
        Ok(1)
    }

    let _cb = enabled();
    assert!(matches!(hangs().await, Err(Failure::Slow(_))));
    assert!(matches!(hangs_once().await, Err(Failure::Connection)));
    assert_eq!((failures("limited/timeout"), failures("limited/connection")), (1, 1));
    assert_eq!(failures("limited"), 0);
}

#[tokio::test(start_paused = true)]
async fn values_that_are_failures_have_no_class() {
    #[with_circuit_breaker(op = "values", class = Failure::class, fail_if = |n| *n == 0)]
    async fn value(n: u32) -> Result<u32, Failure> {
        Ok(n)
    }

    let _cb = enabled();
    value(0).await.unwrap();
    assert_eq!(failures("values"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_changes_of_a_class_are_told_and_shown_as_its_own() {
    let _cb = enabled();
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    registry().subscribe(move |event: &Event| {
        heard.lock().unwrap().push((event.operation, event.to));
    });
    fail(TIMEOUT, 3).await;
    advance(secs(30)).await;
    once(UP).await.unwrap();
    assert_eq!(
        *events.lock().unwrap(),
        [CircuitState::Open, CircuitState::HalfOpen, CircuitState::Closed]
            .map(|state| ("storage/timeout", state))
    );
    let names: Vec<_> = registry().snapshot().iter().map(|snapshot| snapshot.operation).collect();
    assert_eq!(names, ["storage", "storage/timeout"]);
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_waits_hears_the_trip_of_its_own_class() {
    let _cb = enabled();
    let tasks = LocalSet::new();
    let script: Script<'_> = &[Err(|| Failure::Timeout), Ok(1)];
    let attempts: &'static AtomicU32 = Box::leak(Box::default());
    let call = tasks.spawn_local(looped(attempts, script));
    tasks.run_until(sleep(secs(10))).await;
    fail(TIMEOUT, 3).await;
    let began = Instant::now();
    let result = tasks.run_until(call).await.unwrap();
    assert!(began.elapsed() <= millis(1));
    assert_eq!(rejected_by(result), "storage/timeout");
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
    assert_eq!(snapshot_of("storage/timeout").calls.stale, 1, "the loop's own failure");
}

#[tokio::test(start_paused = true)]
async fn and_that_of_another_class_which_it_holds() {
    let _cb = enabled();
    fail(CONNECTION, 1).await;
    let tasks = LocalSet::new();
    let script: Script<'_> = &[Err(|| Failure::Timeout), Ok(1)];
    let attempts: &'static AtomicU32 = Box::leak(Box::default());
    let call = tasks.spawn_local(looped(attempts, script));
    tasks.run_until(sleep(secs(10))).await;
    circuit("storage/connection").force_open();
    let began = Instant::now();
    assert_eq!(rejected_by(tasks.run_until(call).await.unwrap()), "storage/connection");
    assert!(began.elapsed() <= millis(1));
    assert_eq!(failures("storage/timeout"), 1, "a failure of its class all the same");
}

#[tokio::test(start_paused = true)]
async fn and_that_of_a_class_that_was_at_rest_when_it_began() {
    let _cb = enabled();
    for name in ["storage/timeout", "storage/connection"] {
        fail(TIMEOUT, 1).await;
        fail(CONNECTION, 1).await;
        once(UP).await.unwrap();
        let tasks = LocalSet::new();
        let script: Script<'_> = &[Err(|| Failure::Timeout), Ok(1)];
        let attempts: &'static AtomicU32 = Box::leak(Box::default());
        let call = tasks.spawn_local(looped(attempts, script));
        tasks.run_until(sleep(secs(10))).await;
        circuit(name).force_open();
        let began = Instant::now();
        assert_eq!(rejected_by(tasks.run_until(call).await.unwrap()), name);
        assert!(began.elapsed() <= millis(1));
        assert_eq!(attempts.load(Ordering::Relaxed), 1);
        registry().reset_all();
    }
}

#[tokio::test(start_paused = true)]
async fn and_that_of_the_operation_itself_also_where_attempts_are_counted_singly() {
    let _cb = enabled();
    for name in ["attempts", "attempts/timeout"] {
        registry().reset_all();
        let tasks = LocalSet::new();
        let script: Script<'_> = &[Err(|| Failure::Timeout), Ok(1)];
        let attempts: &'static AtomicU32 = Box::leak(Box::default());
        let call = tasks.spawn_local(counted_singly(attempts, script));
        tasks.run_until(sleep(secs(10))).await;
        circuit(name).force_open();
        let began = Instant::now();
        assert_eq!(rejected_by(tasks.run_until(call).await.unwrap()), name);
        assert!(began.elapsed() <= millis(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_of_a_class_stops_no_loop() {
    let _cb = enabled();
    configure(|settings| {
        settings.operation("storage/timeout").dry_run(true);
    });
    let script: Script<'_> = &[Err(|| Failure::Timeout), Ok(1)];
    let tasks = LocalSet::new();
    let attempts: &'static AtomicU32 = Box::leak(Box::default());
    let call = tasks.spawn_local(looped(attempts, script));
    tasks.run_until(sleep(secs(10))).await;
    circuit("storage/timeout").force_open();
    tasks.run_until(call).await.unwrap().unwrap();
}

/// What reaches a service that many callers ask, with classes and without.
mod effect {
    use super::*;

    #[with_circuit_breaker(op = "effect:with", class = Failure::class)]
    async fn with_classes(service: &Service, caller: u32) -> Result<u32, Failure> {
        service.ask(caller)
    }

    #[with_circuit_breaker(op = "effect:without")]
    async fn without(service: &Service, caller: u32) -> Result<u32, Failure> {
        service.ask(caller)
    }

    /// Its answers take turns.
    struct Service {
        answers: Script<'static>,
        asked: AtomicU32,
    }

    impl Service {
        fn new(answers: Script<'static>) -> Self {
            Self { answers, asked: AtomicU32::new(0) }
        }

        fn ask(&self, caller: u32) -> Result<u32, Failure> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.answers[caller as usize % self.answers.len()].map_err(|failure| failure())
        }
    }

    /// How often 40 callers with 100 calls each reach the service, with classes and without.
    async fn reached(answers: Script<'static>) -> (u32, u32) {
        let (with, one_circuit) = (Service::new(answers), Service::new(answers));
        for _ in 0..100 {
            for caller in 0..40 {
                let _ = with_classes(&with, caller).await;
                let _ = without(&one_circuit, caller).await;
            }
            advance(millis(10)).await;
        }
        (with.asked.into_inner(), one_circuit.asked.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_have_nothing_in_common_do_not_add_up_to_an_outage() {
        let _cb = enabled();
        configure(|settings| {
            let kind = settings.kind("effect");
            kind.window(Window::Calls(40)).minimum_calls(40).failure_rate(40);
        });
        // A third of what is no failure of another class: less than 40 %. Half of all is more.
        let answers: Script<'_> =
            &[Err(|| Failure::Timeout), Ok(1), Err(|| Failure::Connection), Ok(1)];
        let (with, without) = reached(answers).await;
        assert_eq!((with, without), (4_000, 40));
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_one_class_is_cut_off_by_its_own_threshold() {
        let _cb = enabled();
        let mut settings = Settings::default();
        settings.kind("effect").failure_threshold(1_000);
        let variable = [("BINDU_CB_EFFECT_WITH__TIMEOUT_FAILURE_THRESHOLD", "5")];
        registry().configure(settings.with_variables(variable).unwrap());
        let (with, without) = reached(TIMEOUT).await;
        assert_eq!((with, without), (5, 1_000));
    }
}
