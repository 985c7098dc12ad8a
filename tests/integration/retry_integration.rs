//! L1 to L5: the loop, through attributes and without them.

use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bindu_cb::{
    AttemptTimeoutError, CallError, CircuitBreakerOpenError, CircuitState, Classify, Count,
    Operation, RetrySettings, Settings, Verdict, execute_with_retry, get_circuit_breaker, registry,
    retry_api_call, retry_scheduler_operation, retry_storage_operation, retry_with_breaker,
    retry_worker_operation, with_circuit_breaker,
};
use tokio::time::{Instant, advance, sleep, timeout};
use tracing::{Level, Metadata, span};

use crate::support::{Failure, Log, Service, assert_told, millis, secs, snapshot_of, trip};

/// When each attempt was made.
#[derive(Debug, Default)]
struct Attempts(Mutex<Vec<Instant>>);

impl Attempts {
    fn note(&self) {
        self.0.lock().unwrap().push(Instant::now());
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The times between the attempts.
    fn waits(&self) -> Vec<Duration> {
        self.0.lock().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

fn refused() -> Result<(), Failure> {
    Err(Failure::Refused(0))
}

/// A wait is as long as it was drawn, up to the next millisecond, which is the timer's.
fn assert_within(wait: Duration, shortest: Duration, longest: Duration) {
    assert!((shortest..=longest + millis(1)).contains(&wait), "{wait:?}");
}

/// L1.
#[tokio::test(start_paused = true)]
async fn the_circuit_is_asked_once_and_told_once() {
    #[retry_storage_operation(op = "once")]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    assert_eq!(ask(&Service::refusing(4)).await.unwrap(), 5);
    let calls = snapshot_of("once").calls;
    assert_eq!((calls.success, calls.failure), (1, 0));

    let service = Service::down();
    ask(&service).await.unwrap_err();
    assert_eq!(service.asked(), 5);
    let calls = snapshot_of("once").calls;
    assert_eq!((calls.success, calls.failure), (1, 1));
}

/// L1: with `count = "attempt"` every attempt asks and tells.
#[tokio::test(start_paused = true)]
async fn attempts_counted_singly_ask_and_tell_each_for_itself() {
    #[retry_with_breaker(op = "singly", attempts = 5, count = "attempt")]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    assert_eq!(ask(&Service::refusing(2)).await.unwrap(), 3);
    let snapshot = snapshot_of("singly");
    assert_eq!((snapshot.calls.success, snapshot.calls.failure), (1, 2));
    assert_eq!(snapshot.consecutive_failures, 0);

    let service = Service::down();
    let ended = ask(&service).await.unwrap_err();
    assert_eq!(service.asked(), 3, "the third one opens it");
    let Failure::Open(open) = ended else { panic!("{ended} though the circuit is open") };
    // It did not wait to find out.
    assert_told(&open, secs(30));
    assert_eq!(snapshot_of("singly").calls.failure, 5);
}

#[tokio::test(start_paused = true)]
async fn a_circuit_opened_between_two_attempts_counted_singly_rejects_the_second() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let operation = Operation::builder("singly")
        .count(Count::Attempt)
        .failure_threshold(1)
        .attempts(3)
        .min_wait(Duration::ZERO)
        .max_wait(Duration::ZERO)
        .build()
        .unwrap();
    let service = Service::down();
    let ended = operation.call(async || service.ask()).await;
    assert!(matches!(ended, Err(CallError::Open(_))), "{ended:?}");
    assert_eq!(service.asked(), 1);
}

/// L3.
#[tokio::test(start_paused = true)]
async fn without_jitter_each_wait_doubles_up_to_the_longest() {
    #[retry_with_breaker(
        op = "doubles",
        attempts = 7,
        min_wait = "1s",
        max_wait = "10s",
        jitter = 0
    )]
    async fn ask(attempts: &Attempts) -> Result<(), Failure> {
        attempts.note();
        refused()
    }

    let _cb = bindu_cb::testing::isolate();
    let attempts = Attempts::default();
    ask(&attempts).await.unwrap_err();
    assert_eq!(attempts.waits(), [1, 2, 4, 8, 10, 10].map(secs));
}

#[tokio::test(start_paused = true)]
async fn the_multiplier_may_be_another_or_none() {
    #[retry_with_breaker(
        op = "triples",
        attempts = 5,
        min_wait = "100ms",
        max_wait = "2s",
        multiplier = 3,
        jitter = 0
    )]
    async fn triples(attempts: &Attempts) -> Result<(), Failure> {
        attempts.note();
        refused()
    }
    #[retry_with_breaker(
        op = "constant",
        attempts = 5,
        min_wait = "100ms",
        multiplier = 1.0,
        jitter = 0.0
    )]
    async fn constant(attempts: &Attempts) -> Result<(), Failure> {
        attempts.note();
        refused()
    }

    let _cb = bindu_cb::testing::isolate();
    let attempts = Attempts::default();
    triples(&attempts).await.unwrap_err();
    assert_eq!(attempts.waits(), [100, 300, 900, 2_000].map(millis));
    let attempts = Attempts::default();
    constant(&attempts).await.unwrap_err();
    assert_eq!(attempts.waits(), [100; 4].map(millis));
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_each_wait_around_its_middle_and_never_past_the_limits() {
    #[retry_with_breaker(
        op = "spread",
        attempts = 5,
        min_wait = "1s",
        max_wait = "5s",
        jitter = 0.5
    )]
    async fn ask(attempts: &Attempts) -> Result<(), Failure> {
        attempts.note();
        refused()
    }

    let _cb = bindu_cb::testing::isolate();
    let ranges = [(1_000, 1_500), (1_000, 3_000), (2_000, 5_000), (2_500, 5_000)];
    let mut drawn = ranges.map(|_| Vec::new());
    for _ in 0..200 {
        let attempts = Attempts::default();
        ask(&attempts).await.unwrap_err();
        for (drawn, wait) in drawn.iter_mut().zip(attempts.waits()) {
            drawn.push(wait);
        }
    }
    for (drawn, range) in drawn.iter().zip(ranges) {
        let (shortest, longest) = range;
        assert_eq!(drawn.len(), 200);
        for wait in drawn {
            assert_within(*wait, millis(shortest), millis(longest));
        }
        let quarter = (longest - shortest) / 4;
        let low = drawn.iter().filter(|wait| **wait < millis(shortest + quarter)).count();
        let high = drawn.iter().filter(|wait| **wait > millis(longest - quarter)).count();
        // 50 each are expected; 20 are five standard deviations away.
        assert!(low > 20 && high > 20, "{low} low and {high} high in {range:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_loops_do_not_wait_in_step() {
    #[retry_with_breaker(op = "in_step", attempts = 2)]
    async fn ask(attempts: &Attempts) -> Result<(), Failure> {
        attempts.note();
        refused()
    }

    let _cb = bindu_cb::testing::isolate();
    let mut waits = std::collections::HashSet::new();
    for _ in 0..50 {
        let attempts = Attempts::default();
        ask(&attempts).await.unwrap_err();
        waits.extend(attempts.waits());
    }
    assert!(waits.len() > 10, "{waits:?}");
}

#[retry_worker_operation]
async fn work(service: &Service) -> Result<u32, Failure> {
    service.ask()
}
#[retry_storage_operation]
async fn store(service: &Service) -> Result<u32, Failure> {
    service.ask()
}
#[retry_scheduler_operation]
async fn schedule(service: &Service) -> Result<u32, Failure> {
    service.ask()
}
#[retry_api_call]
async fn fetch(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

/// A retry setting of the only function of `op`, and its source.
fn retry_setting(op: &str, key: &str) -> (String, String) {
    let snapshot = snapshot_of(op);
    let mut settings = snapshot.functions[0].settings.iter();
    let setting = settings.find(|setting| setting.key == key).expect("a known key");
    (setting.value.clone(), setting.source.to_string())
}

fn assert_preset(op: &str, source: &str, attempts: &str, min_wait: &str, max_wait: &str) {
    for (key, value) in [("attempts", attempts), ("min_wait", min_wait), ("max_wait", max_wait)] {
        let expected = (value.to_owned(), source.to_owned());
        assert_eq!(retry_setting(op, key), expected, "{key} of {op}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_kind_has_its_name_and_its_presets() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let service = [(); 4].map(|()| Service::down());
    work(&service[0]).await.unwrap_err();
    store(&service[1]).await.unwrap_err();
    schedule(&service[2]).await.unwrap_err();
    fetch(&service[3]).await.unwrap_err();
    assert_eq!(service.map(|service| service.asked()), [3, 5, 3, 4]);
    assert_preset("worker:work", "preset of worker", "3", "1s", "10s");
    assert_preset("storage:store", "preset of storage", "5", "500ms", "5s");
    assert_preset("scheduler:schedule", "preset of scheduler", "3", "1s", "8s");
    assert_preset("api:fetch", "preset of api", "4", "1s", "15s");
}

#[tokio::test(start_paused = true)]
async fn the_kind_in_a_name_has_the_same_presets() {
    let _cb = bindu_cb::testing::isolate();
    let operations = ["worker:a", "storage", "scheduler:a:b", "api:a", "other", "storages:a"]
        .map(|op| Operation::builder(op).build().unwrap());
    assert_preset("worker:a", "preset of worker", "3", "1s", "10s");
    assert_preset("storage", "preset of storage", "5", "500ms", "5s");
    assert_preset("scheduler:a:b", "preset of scheduler", "3", "1s", "8s");
    assert_preset("api:a", "preset of api", "4", "1s", "15s");
    assert_preset("other", "default", "3", "1s", "10s");
    assert_preset("storages:a", "default", "3", "1s", "10s");
    drop(operations);
}

#[tokio::test(start_paused = true)]
async fn the_attributes_presets_hold_whatever_the_name() {
    #[retry_api_call(op = "storage:from_api", max_wait = "20s")]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    let mut settings = Settings::default();
    settings.kind("storage").min_wait(secs(2));
    registry().configure(settings);
    let service = Service::down();
    ask(&service).await.unwrap_err();
    assert_eq!(service.asked(), 4);
    let attempts = retry_setting("storage:from_api", "attempts");
    assert_eq!(attempts, ("4".to_owned(), "preset of api".to_owned()));
    assert_eq!(retry_setting("storage:from_api", "min_wait").0, "2s");
    assert_eq!(retry_setting("storage:from_api", "max_wait").0, "20s");
}

#[tokio::test(start_paused = true)]
async fn a_breaker_alone_is_named_by_module_and_function() {
    #[with_circuit_breaker]
    async fn named(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    let service = Service::down();
    named(&service).await.unwrap_err();
    assert_eq!(service.asked(), 1);
    let op = concat!(module_path!(), "::named");
    assert_eq!(snapshot_of(op).functions[0].settings, [], "it has no retry settings");
}

/// L4.
#[tokio::test(start_paused = true)]
async fn the_last_attempts_own_result_is_returned() {
    #[retry_with_breaker(op = "last", attempts = 4)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }
    #[retry_with_breaker(op = "last", attempts = 4, fail_if = |status: &u32| *status >= 500)]
    async fn status(attempts: &Attempts) -> Result<u32, Failure> {
        attempts.note();
        Ok(500 + u32::try_from(attempts.count()).unwrap())
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let last = ask(&Service::down()).await.unwrap_err();
    assert!(matches!(last, Failure::Refused(4)), "{last}");
    assert_eq!(status(&Attempts::default()).await.unwrap(), 504);
    assert_eq!(snapshot_of("last").calls.failure, 2);
}

#[tokio::test(start_paused = true)]
async fn one_attempt_is_no_loop() {
    #[retry_with_breaker(op = "single", attempts = 1)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    let (service, began) = (Service::down(), Instant::now());
    ask(&service).await.unwrap_err();
    assert_eq!((service.asked(), began.elapsed()), (1, secs(0)));
}

#[tokio::test(start_paused = true)]
async fn a_loop_of_u32_max_attempts_ends_with_the_first_success() {
    let _cb = bindu_cb::testing::isolate();
    let operation = Operation::builder("long")
        .attempts(u32::MAX)
        .min_wait(Duration::ZERO)
        .max_wait(Duration::ZERO)
        .build()
        .unwrap();
    let service = Service::refusing(100_000);
    assert_eq!(operation.call(async || service.ask()).await.unwrap(), 100_001);
}

#[tokio::test(start_paused = true)]
async fn after_any_number_of_attempts_the_wait_is_the_longest() {
    #[retry_with_breaker(op = "long", attempts = 4_294_967_295, max_wait = "30s", jitter = 0)]
    async fn ask(service: &Service, attempts: &Attempts) -> Result<u32, Failure> {
        attempts.note();
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    let attempts = Attempts::default();
    assert_eq!(ask(&Service::refusing(5_000), &attempts).await.unwrap(), 5_001);
    assert!(attempts.waits()[5..].iter().all(|wait| *wait == secs(30)));
}

#[tokio::test(start_paused = true)]
async fn no_wait_is_begun_that_would_end_after_the_deadline() {
    let _cb = bindu_cb::testing::isolate();
    // Waits of 1, 2 and 4 s.
    for (deadline, expected) in [
        (Duration::ZERO, 1),
        (millis(999), 1),
        (secs(1), 2),
        (millis(6_999), 3),
        (secs(7), 4),
        (Duration::MAX, 4),
    ] {
        let operation = Operation::builder("deadline")
            .attempts(4)
            .jitter(0.0)
            .deadline(deadline)
            .build()
            .unwrap();
        let (attempts, began) = (Attempts::default(), Instant::now());
        let ended = operation.call(async || {
            attempts.note();
            refused()
        });
        assert!(matches!(ended.await, Err(CallError::Inner(_))), "the attempt's own error");
        assert_eq!(attempts.count(), expected, "{deadline:?}");
        assert!(began.elapsed() <= deadline, "it gives up at once");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_attempts_counts_towards_the_deadline() {
    #[retry_with_breaker(op = "slow", attempts = 10, jitter = 0.0, deadline = "10s")]
    async fn ask(attempts: &Attempts) -> Result<(), Failure> {
        attempts.note();
        sleep(secs(4)).await;
        refused()
    }

    let _cb = bindu_cb::testing::isolate();
    let (attempts, began) = (Attempts::default(), Instant::now());
    ask(&attempts).await.unwrap_err();
    // 4 s, wait 1, 4 s: a wait of 2 would end after 11 s.
    assert_eq!((attempts.count(), began.elapsed()), (2, secs(9)));
}

#[tokio::test(start_paused = true)]
async fn past_the_deadline_not_even_a_wait_of_nothing_is_begun() {
    #[retry_with_breaker(op = "slow", attempts = 10, min_wait = 0, max_wait = 0, deadline = "10s")]
    async fn ask(attempts: &Attempts) -> Result<(), Failure> {
        attempts.note();
        sleep(secs(4)).await;
        refused()
    }

    let _cb = bindu_cb::testing::isolate();
    let (attempts, began) = (Attempts::default(), Instant::now());
    ask(&attempts).await.unwrap_err();
    assert_eq!((attempts.count(), began.elapsed()), (3, secs(12)), "the third was begun in time");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_dropped_and_retried() {
    #[retry_with_breaker(op = "hangs", attempts = 3, timeout = "2s", jitter = 0.0)]
    async fn ask(hangs: usize, attempts: &Attempts) -> Result<(), Failure> {
        attempts.note();
        if attempts.count() <= hangs {
            pending::<()>().await;
        }
        Ok(())
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let attempts = Attempts::default();
    ask(1, &attempts).await.unwrap();
    assert_eq!(attempts.waits(), [secs(2 + 1)]);

    let (attempts, began) = (Attempts::default(), Instant::now());
    let Err(Failure::Slow(slow)) = ask(3, &attempts).await else { panic!("all three hang") };
    assert_eq!((attempts.count(), began.elapsed()), (3, secs(2 + 1 + 2 + 2 + 2)));
    assert_eq!((slow.operation(), slow.timeout()), ("hangs", secs(2)));
    let snapshot = snapshot_of("hangs");
    assert_eq!((snapshot.calls.success, snapshot.calls.failure), (1, 1));
    assert_eq!(snapshot.last_failure, Some(slow.to_string()));
}

#[tokio::test(start_paused = true)]
async fn on_timeout_makes_the_error_of_the_last_timeout() {
    #[retry_with_breaker(
        op = "hangs", attempts = 2, timeout = "2s",
        on_timeout = |slow: AttemptTimeoutError| slow.timeout().as_secs(),
        on_open = |_| Err(0)
    )]
    async fn ask() -> Result<(), u64> {
        pending().await
    }

    let _cb = bindu_cb::testing::isolate();
    assert_eq!(ask().await, Err(2));
}

/// An error that says how long to wait.
#[derive(Debug)]
struct Busy(Duration);

impl Classify for Busy {
    fn classify(&self) -> Verdict {
        Verdict::Throttled(self.0)
    }
}

impl From<CircuitBreakerOpenError> for Busy {
    fn from(open: CircuitBreakerOpenError) -> Self {
        Self(open.retry_after())
    }
}

/// L3.
#[tokio::test(start_paused = true)]
async fn a_throttled_attempt_is_followed_by_exactly_the_wait_that_it_asks_for() {
    #[retry_with_breaker(op = "busy", attempts = 2, min_wait = "1s", max_wait = "10s")]
    async fn ask(busy: Duration, attempts: &Attempts) -> Result<(), Busy> {
        attempts.note();
        Err(Busy(busy))
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    for busy in [Duration::ZERO, millis(7), secs(3)] {
        let attempts = Attempts::default();
        ask(busy, &attempts).await.unwrap_err();
        assert_eq!(attempts.waits(), [busy]);
        get_circuit_breaker("busy").reset();
    }
    let attempts = Attempts::default();
    ask(secs(10), &attempts).await.unwrap_err();
    assert_eq!(attempts.waits(), [secs(10)], "max_wait itself is not too long");

    for busy in [millis(10_001), Duration::MAX] {
        let (attempts, began) = (Attempts::default(), Instant::now());
        assert_eq!(ask(busy, &attempts).await.unwrap_err().0, busy, "its own error");
        assert_eq!((attempts.count(), began.elapsed()), (1, secs(0)), "gives up at once");
    }
    assert_eq!(snapshot_of("busy").calls.failure, 6, "all are failures");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_attempt_gives_up_where_the_deadline_is_nearer() {
    #[retry_with_breaker(
        op = "busy", attempts = 2, deadline = "5s",
        retry_after = |busy: &Failure| Some(wait_of(busy))
    )]
    async fn ask(millis: u32, attempts: &Attempts) -> Result<(), Failure> {
        attempts.note();
        sleep(secs(1)).await;
        Err(Failure::Refused(millis))
    }

    fn wait_of(failure: &Failure) -> Duration {
        match failure {
            Failure::Refused(wait) => millis((*wait).into()),
            other => panic!("{other}"),
        }
    }

    let _cb = bindu_cb::testing::isolate();
    for (wait, expected) in [(4_000, 2), (4_001, 1)] {
        let attempts = Attempts::default();
        ask(wait, &attempts).await.unwrap_err();
        assert_eq!(attempts.count(), expected, "{wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_makes_as_many_attempts_as_probes_may() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    for (attempts, probe_attempts, expected) in [(5, 1, 1), (5, 3, 3), (2, 3, 2), (5, u32::MAX, 5)]
    {
        for count in [Count::Call, Count::Attempt] {
            let op = format!("probe:{attempts}:{probe_attempts}:{count}");
            let operation = Operation::builder(op.clone())
                .attempts(attempts)
                .probe_attempts(probe_attempts)
                .count(count)
                .build()
                .unwrap();
            trip(operation.circuit_breaker());
            advance(secs(30)).await;
            let service = Service::down();
            operation.call(async || service.ask()).await.unwrap_err();
            // Counted singly, the first failure opens it again.
            let expected = if count == Count::Attempt { 1 } else { expected };
            assert_eq!(service.asked(), expected, "{op}");
            assert_eq!(snapshot_of(&op).state, CircuitState::Open);
            assert_eq!(snapshot_of(&op).reopens, 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_succeeds_in_the_end_closes() {
    #[retry_with_breaker(op = "probe", attempts = 5, probe_attempts = 3, failure_threshold = 1)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let service = Service::down();
    ask(&service).await.unwrap_err();
    assert_eq!(service.asked(), 5, "no probe yet");
    advance(secs(30)).await;
    assert_eq!(ask(&Service::refusing(2)).await.unwrap(), 3);
    assert_eq!(snapshot_of("probe").state, CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_no_probe_has_all_its_attempts() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let operation = Operation::builder("storage").probe_attempts(2).build().unwrap();
    let service = Service::down();
    operation.call(async || service.ask()).await.unwrap_err();
    assert_eq!(service.asked(), 5);
}

#[derive(Debug)]
enum Mapped {
    Own,
    Open(CircuitBreakerOpenError),
}

fn mapped(open: CircuitBreakerOpenError) -> Result<String, Mapped> {
    Err(Mapped::Open(open))
}

async fn looked_up(open: CircuitBreakerOpenError) -> Result<String, Mapped> {
    sleep(secs(1)).await;
    Ok(format!("instead of {}", open.operation()))
}

#[tokio::test(start_paused = true)]
async fn on_open_maps_the_error() {
    #[retry_with_breaker(op = "mapped", attempts = 1, on_open = mapped)]
    async fn path(text: &str) -> Result<String, Mapped> {
        if text.is_empty() { Err(Mapped::Own) } else { Ok(text.to_owned()) }
    }
    #[with_circuit_breaker(op = "mapped", on_open = |open| Err(Mapped::Open(open)))]
    async fn closure(text: &str) -> Result<String, Mapped> {
        if text.is_empty() { Err(Mapped::Own) } else { Ok(text.to_owned()) }
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    assert!(matches!(path("").await, Err(Mapped::Own)), "it is for rejections alone");
    assert_eq!(closure("text").await.unwrap(), "text");
    for _ in 0..3 {
        closure("").await.unwrap_err();
    }
    for rejected in [path("text").await, closure("text").await] {
        let Err(Mapped::Open(open)) = rejected else { panic!("{rejected:?}") };
        assert_eq!(open.operation(), "mapped");
        assert_told(&open, secs(30));
    }
}

#[tokio::test(start_paused = true)]
async fn on_open_gives_a_value_instead_and_sees_the_arguments() {
    #[retry_with_breaker(op = "fallback", on_open = |_| Ok(format!("cached {key}, {}", more.len())))]
    async fn at_once(key: u32, more: Vec<u8>) -> Result<String, Mapped> {
        Ok(format!("fresh {key}, {}", more.len()))
    }
    #[retry_with_breaker(op = "fallback", on_open = async |open| {
        let text = looked_up(open).await?;
        Ok(format!("{text}, {key}"))
    })]
    async fn later(key: &str) -> Result<String, Mapped> {
        Ok(key.to_owned())
    }
    #[retry_with_breaker(op = "fallback", on_open = looked_up)]
    async fn path(key: &str) -> Result<String, Mapped> {
        Ok(key.to_owned())
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    assert_eq!(at_once(7, vec![1, 2]).await.unwrap(), "fresh 7, 2");
    cb.force_open("fallback");
    assert_eq!(at_once(7, vec![1, 2]).await.unwrap(), "cached 7, 2");
    let began = Instant::now();
    assert_eq!(later("key").await.unwrap(), "instead of fallback, key");
    assert_eq!(path("key").await.unwrap(), "instead of fallback");
    assert_eq!(began.elapsed(), secs(2));
    assert_eq!(snapshot_of("fallback").calls.rejected, 3);
}

#[tokio::test(start_paused = true)]
async fn execute_with_retry_has_the_settings_that_it_is_given_and_none_of_the_kind() {
    let cb = bindu_cb::testing::isolate();
    let mut settings = Settings::default();
    settings.kind("storage").attempts(9).timeout(secs(1)).enabled(true);
    registry().configure(settings);
    let options = RetrySettings::default().attempts(4).min_wait(millis(100)).jitter(0.0);
    let attempts = Attempts::default();
    let ask = async || {
        attempts.note();
        sleep(secs(2)).await;
        refused()
    };
    for _ in 0..3 {
        let ended = execute_with_retry("storage:executed", options.clone(), ask).await;
        assert!(matches!(ended, Err(CallError::Inner(Failure::Refused(0)))), "{ended:?}");
    }
    assert_eq!(attempts.waits()[..3], [2_100, 2_200, 2_400].map(millis));
    assert_eq!(attempts.count(), 12);
    let ended = execute_with_retry("storage:executed", options, ask).await;
    assert!(matches!(ended, Err(CallError::Open(_))), "the circuit is the operation's");
    assert_eq!(attempts.count(), 12);
    drop(cb);
}

#[tokio::test(start_paused = true)]
async fn execute_with_retry_has_timeouts_and_a_deadline() {
    let _cb = bindu_cb::testing::isolate();
    let options =
        RetrySettings::default().attempts(5).jitter(0.0).timeout(millis(500)).deadline(secs(4));
    let (attempts, began) = (Attempts::default(), Instant::now());
    let ended = execute_with_retry("hangs", options, async || {
        attempts.note();
        pending::<Result<(), Failure>>().await
    });
    let Err(CallError::Timeout(slow)) = ended.await else { panic!("the last one hangs, too") };
    assert_eq!((slow.operation(), slow.timeout()), ("hangs", millis(500)));
    // 0.5 s, wait 1, 0.5 s, wait 2, 0.5 s.
    assert_eq!((attempts.count(), began.elapsed()), (3, millis(4_500)));
}

#[tokio::test(start_paused = true)]
async fn execute_with_retry_brings_settings_into_range_and_says_so() {
    let _cb = bindu_cb::testing::isolate();
    let log = Log::capture();
    let service = Service::down();
    let options = RetrySettings::default().attempts(0).multiplier(-1.0);
    execute_with_retry("clamped", options, async || service.ask()).await.unwrap_err();
    assert_eq!(service.asked(), 1);
    let errors = log.at(Level::ERROR);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(["attempts", "multiplier"].iter().all(|key| errors[0].field("error").contains(key)));
}

#[tokio::test(start_paused = true)]
async fn an_operation_shares_its_circuit_with_the_functions_of_its_name() {
    #[with_circuit_breaker(op = "shared")]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let operation = Operation::builder("shared").attempts(2).build().unwrap();
    let service = Service::down();
    for _ in 0..2 {
        operation.call(async || service.ask()).await.unwrap_err();
    }
    let ended = execute_with_retry("shared", RetrySettings::default(), async || service.ask());
    assert!(matches!(ended.await, Err(CallError::Inner(_))));
    assert_eq!(operation.circuit_breaker().state(), CircuitState::Open);
    assert!(matches!(ask(&service).await, Err(Failure::Open(_))));
    assert_eq!(service.asked(), 2 + 2 + 3);
}

#[tokio::test(start_paused = true)]
async fn call_with_retries_and_records_by_its_verdict() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let operation = Operation::builder("verdicts").attempts(3).jitter(0.0).build().unwrap();
    let calls = || snapshot_of("verdicts").calls;
    for (verdict, asked, elapsed) in [
        (Verdict::Success, 1, secs(0)),
        (Verdict::Transient, 3, secs(3)),
        (Verdict::Throttled(millis(20)), 3, millis(40)),
        (Verdict::Throttled(secs(11)), 1, secs(0)),
        (Verdict::Permanent, 1, secs(0)),
        (Verdict::Ignored, 1, secs(0)),
    ] {
        for is_ok in [true, false] {
            operation.circuit_breaker().reset();
            let (service, before, began) = (Service::up(), calls(), Instant::now());
            let answer = async || {
                let number = service.ask().unwrap();
                if is_ok { Ok(number) } else { Err(number) }
            };
            let ended = operation.call_with(answer, |_: &Result<u32, u32>| verdict).await;
            let number =
                if is_ok { ended.unwrap() } else { ended.unwrap_err().into_inner().unwrap() };
            assert_eq!((number, service.asked()), (asked, asked), "{verdict:?}, {is_ok}");
            assert_eq!(began.elapsed(), elapsed, "{verdict:?}, {is_ok}");
            let after = calls();
            let told = [
                after.success - before.success,
                after.failure - before.failure,
                after.ignored - before.ignored,
            ];
            let expected = match verdict {
                Verdict::Success | Verdict::Permanent => [1, 0, 0],
                Verdict::Ignored => [0, 0, 1],
                _ => [0, 1, 0],
            };
            assert_eq!(told, expected, "{verdict:?}, {is_ok}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_hangs_ends_in_a_timeout() {
    let _cb = bindu_cb::testing::isolate();
    let operation = Operation::builder("hangs").attempts(1).timeout(secs(3)).build().unwrap();
    let began = Instant::now();
    let ended = operation.call(pending::<Result<(), Failure>>).await;
    assert!(matches!(ended, Err(CallError::Timeout(_))), "{ended:?}");
    assert_eq!(began.elapsed(), secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_loop_without_waits_lets_others_run() {
    #[retry_with_breaker(
        op = "zero", attempts = 1_000, min_wait = 0, max_wait = 0, fail_if = |done| !*done
    )]
    async fn until(done: &AtomicBool) -> Result<bool, Failure> {
        Ok(done.load(Ordering::Relaxed))
    }

    for enabled in [false, true] {
        let cb = bindu_cb::testing::isolate();
        cb.enabled(enabled);
        let done = AtomicBool::new(false);
        let other = async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            done.store(true, Ordering::Relaxed);
        };
        let (ended, ()) = tokio::join!(until(&done), other);
        assert!(ended.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn without_waits_a_loop_still_takes_no_time() {
    let cb = bindu_cb::testing::isolate();
    cb.no_wait();
    let began = Instant::now();
    assert_eq!(store(&Service::refusing(4)).await.unwrap(), 5);
    assert_eq!(began.elapsed(), secs(0));
}

#[tokio::test(start_paused = true)]
async fn the_longest_wait_that_there_is_ends_only_with_the_circuit() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let operation = Operation::builder("patient")
        .min_wait(Duration::MAX)
        .max_wait(Duration::MAX)
        .build()
        .unwrap();
    let service = Service::down();
    let waiting = operation.call(async || service.ask());
    timeout(secs(365 * 86_400), waiting).await.unwrap_err();
    assert_eq!(service.asked(), 1);

    let began = Instant::now();
    let waiting = timeout(secs(60), operation.call(async || service.ask()));
    let (ended, ()) = tokio::join!(waiting, async {
        sleep(secs(10)).await;
        operation.circuit_breaker().force_open();
    });
    assert!(matches!(ended, Ok(Err(CallError::Open(_)))), "{ended:?}");
    assert!(began.elapsed() <= secs(10) + millis(1));
}

/// L5.
#[tokio::test(start_paused = true)]
async fn each_wait_is_logged_with_its_attempt_and_error() {
    #[retry_with_breaker(op = "logged", attempts = 3, jitter = 0.0)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let log = Log::capture();
    ask(&Service::down()).await.unwrap_err();
    let lines = log.at(Level::DEBUG);
    assert_eq!(lines.len(), 2, "the last attempt is followed by no wait: {lines:?}");
    for (line, (attempt, wait, error)) in lines
        .iter()
        .zip([("1", "1s", "connection refused, 1"), ("2", "2s", "connection refused, 2")])
    {
        for (field, value) in [
            ("operation", "logged"),
            ("attempt", attempt),
            ("of", "3"),
            ("wait", wait),
            ("error", error),
        ] {
            assert_eq!(line.field(field), value, "{field} of {line:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_logged_on_success() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let log = Log::capture();
    for _ in 0..10 {
        store(&Service::up()).await.unwrap();
    }
    assert!(log.is_empty());
}

/// Shows itself by Display and by Debug.
#[derive(Debug)]
struct Shown;

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("by its Display")
    }
}

#[derive(Debug)]
struct Debugged;

struct Silent;

#[tokio::test(start_paused = true)]
async fn an_error_is_logged_by_display_or_debug_or_its_type() {
    #[retry_with_breaker(op = "text", attempts = 2, on_open = |_| Err(Shown))]
    async fn shown() -> Result<(), Shown> {
        Err(Shown)
    }
    #[retry_with_breaker(op = "text", attempts = 2, on_open = |_| Err(Debugged))]
    async fn debugged() -> Result<(), Debugged> {
        Err(Debugged)
    }
    #[retry_with_breaker(op = "text", attempts = 2, on_open = |_| Err(Silent))]
    async fn silent() -> Result<(), Silent> {
        Err(Silent)
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let log = Log::capture();
    shown().await.unwrap_err();
    assert_eq!(snapshot_of("text").last_failure.as_deref(), Some("by its Display"));
    debugged().await.unwrap_err();
    assert_eq!(snapshot_of("text").last_failure.as_deref(), Some("Debugged"));
    assert!(silent().await.is_err());
    let lines = log.at(Level::DEBUG);
    let errors: Vec<_> = lines.iter().map(|line| line.field("error")).collect();
    assert_eq!(errors[..2], ["by its Display", "Debugged"]);
    assert!(errors[2].ends_with("Silent"), "{errors:?}");
}

/// Counts how often it is made into text.
#[derive(Debug, Default)]
struct Costly(Arc<AtomicU32>);

impl fmt::Display for Costly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fetch_add(1, Ordering::Relaxed);
        f.write_str("costly")
    }
}

/// L5.
#[tokio::test(start_paused = true)]
async fn an_errors_text_is_made_only_when_it_is_wanted() {
    #[retry_with_breaker(op = "costly", attempts = 3, on_open = |_| Err(Costly::default()))]
    async fn ask(service: &Service, made: &Arc<AtomicU32>) -> Result<u32, Costly> {
        service.ask().map_err(|_| Costly(Arc::clone(made)))
    }

    let cb = bindu_cb::testing::isolate();
    let made = Arc::default();
    ask(&Service::down(), &made).await.unwrap_err();
    assert_eq!(made.load(Ordering::Relaxed), 0, "nobody logs and nothing is recorded");
    cb.enabled(true);
    ask(&Service::refusing(2), &made).await.unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 0, "no failure is recorded");
    ask(&Service::down(), &made).await.unwrap_err();
    assert_eq!(made.load(Ordering::Relaxed), 1, "the one that is recorded");
}

/// Wants nothing, and counts how often it is asked.
struct Asked(Arc<AtomicU32>);

impl tracing::Subscriber for Asked {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        false
    }
    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::sometimes()
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// L5.
#[tokio::test(start_paused = true)]
async fn the_happy_path_does_not_even_ask_whether_tracing_is_on() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    store(&Service::up()).await.unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let _in_force = tracing::subscriber::set_default(Asked(Arc::clone(&asked)));
    for _ in 0..10 {
        store(&Service::up()).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    store(&Service::refusing(1)).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1, "before the wait");
}

#[tokio::test(start_paused = true)]
async fn code_without_attributes_obeys_the_environment_and_a_test_all_the_same() {
    let cb = bindu_cb::testing::isolate();
    let attempts = std::cell::Cell::new(0);
    let run = async || {
        attempts.set(0);
        let fails = || {
            attempts.set(attempts.get() + 1);
            async { Err::<(), _>("refused") }
        };
        let options = RetrySettings::default().attempts(3);
        assert!(execute_with_retry("api:quotes", options, fails).await.is_err());
        attempts.get()
    };
    assert_eq!(run().await, 3);

    let variables = [("BINDU_CB_API_QUOTES_ATTEMPTS", "2"), ("BINDU_CB_API_ATTEMPTS", "7")];
    registry().configure(Settings::default().with_variables(variables).unwrap());
    assert_eq!(run().await, 2, "the operation's own variable, and not its kind's");

    cb.attempts(1);
    assert_eq!(run().await, 1);
    cb.attempts(4);
    cb.no_wait();
    let began = tokio::time::Instant::now();
    assert_eq!(run().await, 4);
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
}
