//! A registry that shuts down ends all waits of its loops at once, and counts none of them.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use bindu_cb::testing::{Process, isolate};
use bindu_cb::{
    CallError, CircuitBreakerOpenError, CircuitState, OnCancel, OpenCause, OpenReason, Operation,
    RetrySettings, Settings, SharedSettings, Window, execute_with_retry, get_circuit_breaker,
    registry, retry_with_breaker, with_circuit_breaker,
};
use tokio::time::{Instant, sleep, timeout};
use tracing::Level;

use crate::support::trip_and_wait;
use crate::support::{Failure, Log, Service, begin, millis, secs, snapshot_of, trip};

#[retry_with_breaker(op = "ending", attempts = 2, min_wait = "1h", max_wait = "1h")]
async fn waits_an_hour(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

/// Each attempt takes a minute.
#[retry_with_breaker(op = "ending", attempts = 2, min_wait = "1h", max_wait = "1h")]
async fn takes_a_minute(service: &Service) -> Result<u32, Failure> {
    sleep(secs(60)).await;
    service.ask()
}

#[retry_with_breaker(
    op = "ending", attempts = 2, min_wait = "1h", max_wait = "1h", on_open = |_| Ok(1_000)
)]
async fn waits_an_hour_or_falls_back(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(
    op = "ending",
    attempts = 2,
    min_wait = "1h",
    max_wait = "1h",
    count = "attempt"
)]
async fn counts_attempts(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(op = "ending", attempts = 2, min_wait = "1h", max_wait = "1h", key = key)]
async fn keyed(key: &str, service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(
    op = "ending", attempts = 2, min_wait = "1h", max_wait = "1h", class = |_| "refused"
)]
async fn classed(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(
    op = "ending", attempts = 2, max_wait = "1h", retry_after = |_| Some(secs(3_600))
)]
async fn throttled(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(
    op = "ending", attempts = 2, min_wait = "1h", max_wait = "1h", fail_if = |number| *number == 1
)]
async fn refuses_a_value(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(op = "ending", attempts = 2, min_wait = "1h", max_wait = "1h", timeout = "1s")]
async fn hangs() -> Result<u32, Failure> {
    pending().await
}

#[retry_with_breaker(
    op = "ending",
    attempts = 2,
    min_wait = "1h",
    max_wait = "1h",
    deadline = "2h"
)]
async fn has_a_deadline(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

fn an_hour() -> RetrySettings {
    RetrySettings::default().min_wait(secs(3_600)).max_wait(secs(3_600))
}

/// What the open error that a loop was ended with says of the reason.
fn reason(open: &CircuitBreakerOpenError) -> OpenReason {
    open.source().and_then(|cause| cause.downcast_ref::<OpenCause>()).unwrap().reason()
}

/// The reason for which a call was rejected or stopped. It must have been.
trait Stopped {
    fn reason(self) -> OpenReason;
}

impl<T: fmt::Debug> Stopped for Result<T, Failure> {
    fn reason(self) -> OpenReason {
        let Err(Failure::Open(open)) = self else { panic!("{self:?}") };
        reason(&open)
    }
}

impl<T: fmt::Debug> Stopped for Result<T, CallError<Failure>> {
    fn reason(self) -> OpenReason {
        let Err(CallError::Open(open)) = self else { panic!("{self:?}") };
        reason(&open)
    }
}

/// Successes, failures, ignored and cancelled calls, and stale ones, of a circuit.
fn outcomes(op: &str) -> [u64; 5] {
    let calls = get_circuit_breaker(op).snapshot().calls;
    [calls.success, calls.failure, calls.ignored, calls.cancelled, calls.stale]
}

const NOTHING: [u64; 5] = [0; 5];
const SUCCESS: [u64; 5] = [1, 0, 0, 0, 0];
const FAILURE: [u64; 5] = [0, 1, 0, 0, 0];
const IGNORED: [u64; 5] = [0, 0, 1, 0, 0];
const CANCELLED: [u64; 5] = [0, 0, 0, 1, 0];

// Loops that wait.

type AnyLoop = Pin<Box<dyn Future<Output = OpenReason>>>;

/// One of every sort, each of which waits for an hour after its first attempt.
fn loops() -> Vec<(&'static str, AnyLoop)> {
    let refused = || async { Service::down().ask() };
    let operation = || {
        let builder = Operation::builder("ending").min_wait(secs(3_600)).max_wait(secs(3_600));
        builder.build().unwrap()
    };
    vec![
        ("attribute", Box::pin(async { waits_an_hour(&Service::down()).await.reason() })),
        ("of attempts", Box::pin(async { counts_attempts(&Service::down()).await.reason() })),
        ("key", Box::pin(async { keyed("acme", &Service::down()).await.reason() })),
        ("class", Box::pin(async { classed(&Service::down()).await.reason() })),
        ("throttled", Box::pin(async { throttled(&Service::down()).await.reason() })),
        ("value", Box::pin(async { refuses_a_value(&Service::up()).await.reason() })),
        ("timeout", Box::pin(async { hangs().await.reason() })),
        ("deadline", Box::pin(async { has_a_deadline(&Service::down()).await.reason() })),
        ("operation", Box::pin(async move { operation().call(refused).await.reason() })),
        ("keyed operation", {
            Box::pin(async move { operation().keyed("acme").call(refused).await.reason() })
        }),
        ("function", {
            Box::pin(async move { execute_with_retry("ending", an_hour(), refused).await.reason() })
        }),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_loop_that_waits_ends_at_once() {
    for enabled in [true, false] {
        for (of, call) in loops() {
            let cb = isolate();
            cb.enabled(enabled);
            let waiting = begin(call).await;
            assert!(!waiting.has_ended(), "{of}");
            registry().shutdown();
            assert_eq!(waiting.ends_at_once().await, OpenReason::Shutdown, "{of}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dry_run_waits_no_longer_than_others() {
    for (of, call) in loops() {
        let _cb = isolate();
        let mut settings = Settings::default();
        settings.all().enabled(true).dry_run(true);
        registry().configure(settings);
        // Half of them are shadows, of calls that would have been rejected.
        if of.len() % 2 == 0 {
            let circuit = get_circuit_breaker("ending");
            (0..3).for_each(|_| circuit.try_acquire().unwrap().failure());
        }
        let waiting = begin(call).await;
        registry().shutdown();
        assert_eq!(waiting.ends_at_once().await, OpenReason::Shutdown, "{of}");
    }
}

#[tokio::test(start_paused = true)]
async fn none_of_them_is_counted() {
    for (of, call) in loops() {
        let cb = isolate();
        cb.enabled(true);
        // One more failure would open it.
        let circuit = get_circuit_breaker("ending");
        (0..2).for_each(|_| circuit.try_acquire().unwrap().failure());
        let waiting = begin(call).await;
        // What attempts that are counted singly have come to was told before the wait.
        let before = outcomes("ending");
        registry().shutdown();
        waiting.ends_at_once().await;
        let after = outcomes("ending");
        assert_eq!((after[0], after[1], after[2], after[4]), (0, before[1], 0, 0), "{of}");
        let is_counted_apart = matches!(of, "of attempts" | "key" | "keyed operation");
        assert_eq!(after[3], u64::from(!is_counted_apart), "{of}");
        if of != "of attempts" {
            let snapshot = circuit.snapshot();
            assert_eq!((snapshot.state, snapshot.consecutive_failures), (CircuitState::Closed, 2));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_returns_through_on_open() {
    let cb = isolate();
    cb.enabled(true);
    let waiting = begin(async { waits_an_hour_or_falls_back(&Service::down()).await }).await;
    registry().shutdown();
    assert_eq!(waiting.ends_at_once().await.unwrap(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn what_it_returns_says_why() {
    let cb = isolate();
    cb.enabled(true);
    let waiting = begin(async { waits_an_hour(&Service::down()).await }).await;
    registry().shutdown();
    let Err(Failure::Open(open)) = waiting.ends_at_once().await else { panic!("it was ended") };
    assert_eq!(open.operation(), "ending");
    assert_eq!(open.retry_after(), Duration::ZERO);
    assert_eq!(open.key(), None);
    assert_eq!(open.to_string(), "'ending' is not tried again: the process is shutting down");
    let cause = open.source().unwrap();
    assert_eq!(cause.to_string(), "the process is shutting down");
    assert_eq!(cause.downcast_ref::<OpenCause>().unwrap().last_failure(), None);
    let io: std::io::Error = open.into();
    assert!(OpenCause::find(&io).is_some(), "loops around it see what it is");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_loops_end_in_the_same_instant() {
    let cb = isolate();
    cb.enabled(true);
    let call = || async { waits_an_hour(&Service::down()).await.reason() };
    let loops: Vec<_> = (0..1_000).map(|_| tokio::spawn(call())).collect();
    sleep(secs(10)).await;
    registry().shutdown();
    let began = Instant::now();
    for task in loops {
        assert_eq!(task.await.unwrap(), OpenReason::Shutdown);
    }
    assert!(began.elapsed() <= millis(1), "{:?}", began.elapsed());
    assert_eq!(outcomes("ending"), [0, 0, 0, 1_000, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_window_holds_nothing_of_it() {
    for adaptive in [false, true] {
        let _cb = isolate();
        let mut settings = Settings::default();
        settings.all().enabled(true).window(Window::Calls(4)).minimum_calls(1).adaptive(adaptive);
        registry().configure(settings);
        let waiting = begin(async { waits_an_hour(&Service::down()).await.reason() }).await;
        registry().shutdown();
        waiting.ends_at_once().await;
        let snapshot = snapshot_of("ending");
        assert_eq!((snapshot.state, snapshot.window.unwrap().calls), (CircuitState::Closed, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn the_circuit_of_a_key_does_not_count_it() {
    let cb = isolate();
    cb.enabled(true);
    let waiting = begin(async { keyed("acme", &Service::down()).await.reason() }).await;
    registry().shutdown();
    waiting.ends_at_once().await;
    let acme = registry().get_keyed("ending", "acme").unwrap().snapshot();
    assert_eq!((acme.calls.cancelled, acme.calls.failure), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_forgotten_meanwhile_keeps_no_loop() {
    let cb = isolate();
    cb.enabled(true);
    let waiting = begin(async { keyed("acme", &Service::down()).await.reason() }).await;
    assert!(registry().remove("ending", "acme"));
    registry().shutdown();
    assert_eq!(waiting.ends_at_once().await, OpenReason::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn neither_an_operation_nor_a_class_counts_it() {
    // The second call finds the class awake, and holds its permit.
    for failures_before in [0, 1] {
        let cb = isolate();
        cb.enabled(true);
        for _ in 0..failures_before {
            #[with_circuit_breaker(op = "ending", class = |_| "refused")]
            async fn fails() -> Result<u32, Failure> {
                Service::down().ask()
            }
            fails().await.unwrap_err();
        }
        let before = outcomes("ending");
        let waiting = begin(async { classed(&Service::down()).await.reason() }).await;
        registry().shutdown();
        waiting.ends_at_once().await;
        let mut expected = before;
        expected[3] += 1;
        assert_eq!(outcomes("ending"), expected);
        let class = get_circuit_breaker("ending/refused").snapshot();
        assert_eq!(u64::from(class.consecutive_failures), failures_before);
        assert_eq!(class.calls.failure, failures_before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_probe_gives_its_permit_back() {
    #[retry_with_breaker(
        op = "ending",
        attempts = 2,
        probe_attempts = 2,
        min_wait = "10s",
        max_wait = "10s"
    )]
    async fn probe(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }
    let cb = isolate();
    cb.enabled(true);
    assert!(probe(&Service::up()).await.is_ok(), "this also gives the circuit its settings");
    let circuit = get_circuit_breaker("ending");
    trip_and_wait(&circuit).await;
    let probing = tokio::spawn(async { probe(&Service::down()).await.reason() });
    sleep(secs(1)).await;
    assert!(circuit.try_acquire().is_err(), "there is one probe");
    registry().shutdown();
    assert_eq!(probing.await.unwrap(), OpenReason::Shutdown);
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    circuit.try_acquire().expect("the permit is free").success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

// Who is first.

#[tokio::test(start_paused = true)]
async fn a_trip_in_the_same_instant_comes_second() {
    let cb = isolate();
    cb.enabled(true);
    let waiting = begin(async { waits_an_hour(&Service::down()).await.reason() }).await;
    trip(&get_circuit_breaker("ending"));
    registry().shutdown();
    assert_eq!(waiting.ends_at_once().await, OpenReason::Shutdown);
    assert_eq!(outcomes("ending"), [0, 3, 0, 0, 1], "the permit is one of before the trip");
}

#[tokio::test(start_paused = true)]
async fn so_does_that_of_a_class() {
    let cb = isolate();
    cb.enabled(true);
    let waiting = begin(async { classed(&Service::down()).await.reason() }).await;
    trip(&get_circuit_breaker("ending/refused"));
    registry().shutdown();
    assert_eq!(waiting.ends_at_once().await, OpenReason::Shutdown);
    assert_eq!(outcomes("ending"), CANCELLED);
}

#[tokio::test(start_paused = true)]
async fn a_trip_before_it_has_ended_the_wait_already() {
    let cb = isolate();
    cb.enabled(true);
    let mut waiting = begin(async { waits_an_hour(&Service::down()).await.reason() }).await;
    trip(&get_circuit_breaker("ending"));
    waiting.go_on(millis(1)).await;
    registry().shutdown();
    assert_eq!(waiting.ends_at_once().await, OpenReason::Failures);
}

#[tokio::test(start_paused = true)]
async fn in_the_instant_in_which_the_wait_ends_it_is_heard() {
    let cb = isolate();
    cb.enabled(true);
    // Sleeps that end together end in the order in which they began.
    let shutdown = tokio::spawn(async {
        sleep(secs(3_600)).await;
        registry().shutdown();
    });
    tokio::task::yield_now().await;
    let looped = tokio::spawn(async {
        let service = Service::refusing(1);
        (waits_an_hour(&service).await.reason(), service.asked())
    });
    assert_eq!(looped.await.unwrap(), (OpenReason::Shutdown, 1));
    shutdown.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn between_the_decision_to_wait_and_the_wait_it_is_heard() {
    /// Its text is asked for by the line that is logged before each wait.
    #[derive(Debug, thiserror::Error)]
    enum Ends {
        #[error("{}", shut_down())]
        Refused,
        #[error(transparent)]
        Open(#[from] CircuitBreakerOpenError),
    }
    fn shut_down() -> &'static str {
        registry().shutdown();
        "refused"
    }
    #[retry_with_breaker(op = "ending", min_wait = "1h", max_wait = "1h")]
    async fn ends() -> Result<(), Ends> {
        Err(Ends::Refused)
    }
    let cb = isolate();
    cb.enabled(true);
    let log = Log::capture();
    let began = Instant::now();
    let Err(Ends::Open(open)) = ends().await else { panic!("it had begun to wait") };
    assert_eq!(reason(&open), OpenReason::Shutdown);
    assert!(began.elapsed() <= millis(1));
    assert_eq!(log.at(Level::DEBUG).len(), 1);
    assert_eq!(outcomes("ending"), CANCELLED);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_asked_about_the_error_may_shut_down() {
    #[retry_with_breaker(
        op = "ending",
        min_wait = "1h",
        max_wait = "1h",
        retry_if = |_| { registry().shutdown(); true },
    )]
    async fn ends() -> Result<u32, Failure> {
        Service::down().ask()
    }
    let cb = isolate();
    cb.enabled(true);
    assert!(matches!(ends().await, Err(Failure::Refused(1))), "it had not begun to wait");
    assert_eq!(outcomes("ending"), CANCELLED);
}

#[test]
fn no_loop_on_another_thread_misses_it() {
    const THREADS: usize = 3;
    const ROUNDS: usize = 300;
    let (ends, has_ended) = mpsc::channel();
    let all = thread::spawn(move || {
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for _ in 0..ROUNDS {
            let (process, turn) = (Process::default(), Arc::new(Barrier::new(THREADS + 1)));
            let loops: Vec<_> = (0..THREADS)
                .map(|_| {
                    let (process, turn) = (process.clone(), Arc::clone(&turn));
                    thread::spawn(move || {
                        turn.wait();
                        let service = Service::down();
                        let ended = runtime().block_on(process.run(waits_an_hour(&service)));
                        // Before the decision to wait it is its own error.
                        assert!(matches!(ended, Err(Failure::Open(_) | Failure::Refused(1))));
                        service.asked()
                    })
                })
                .collect();
            turn.wait();
            process.enter(|| registry().shutdown());
            assert!(loops.into_iter().all(|looped| looped.join().unwrap() == 1));
        }
        ends.send(()).unwrap();
    });
    let ended = has_ended.recv_timeout(secs(60));
    assert!(ended != Err(mpsc::RecvTimeoutError::Timeout), "a loop waits for an hour");
    all.join().unwrap();
}

// Attempts under way, and calls that begin afterwards.

#[tokio::test(start_paused = true)]
async fn an_attempt_under_way_goes_on_and_a_failed_one_is_the_last() {
    let cb = isolate();
    cb.enabled(true);
    let service = Service::down();
    let shutdown = async {
        sleep(secs(10)).await;
        registry().shutdown();
    };
    let began = Instant::now();
    let (result, ()) = tokio::join!(takes_a_minute(&service), shutdown);
    assert!(matches!(result, Err(Failure::Refused(1))), "{result:?}");
    assert!(began.elapsed() >= secs(60) && began.elapsed() <= secs(60) + millis(2));
    assert_eq!((service.asked(), outcomes("ending")), (1, CANCELLED));
}

#[tokio::test(start_paused = true)]
async fn its_success_is_one() {
    let cb = isolate();
    cb.enabled(true);
    let service = Service::up();
    let (result, ()) = tokio::join!(takes_a_minute(&service), async { registry().shutdown() });
    assert_eq!((result.unwrap(), outcomes("ending")), (1, SUCCESS));
}

#[tokio::test(start_paused = true)]
async fn its_last_attempt_is_as_ever() {
    let cb = isolate();
    cb.enabled(true);
    let service = Service::down();
    let shutdown = async {
        // In the second attempt, after which there would be none.
        sleep(secs(60 + 3_600 + 10)).await;
        registry().shutdown();
    };
    let (result, ()) = tokio::join!(takes_a_minute(&service), shutdown);
    assert!(matches!(result, Err(Failure::Refused(2))), "{result:?}");
    assert_eq!(outcomes("ending"), FAILURE);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_begins_afterwards_makes_one_attempt_of_every_sort() {
    let own = |result: Result<u32, Failure>| matches!(result, Err(Failure::Refused(1)));
    let of_closure = |result| matches!(result, Err(CallError::Inner(Failure::Refused(1))));
    let refused = || async { Service::down().ask() };
    for enabled in [true, false] {
        let cb = isolate();
        cb.enabled(enabled);
        registry().shutdown();
        let began = Instant::now();
        let down = Service::down;
        assert!(own(waits_an_hour(&down()).await));
        assert!(own(counts_attempts(&down()).await));
        assert!(own(keyed("acme", &down()).await));
        assert!(own(classed(&down()).await));
        assert!(own(throttled(&down()).await));
        assert!(own(has_a_deadline(&down()).await));
        assert_eq!(refuses_a_value(&Service::up()).await.unwrap(), 1, "the value as it is");
        let operation = Operation::builder("ending").build().unwrap();
        assert!(of_closure(operation.call(refused).await));
        assert!(of_closure(operation.keyed("acme").call(refused).await));
        assert!(of_closure(execute_with_retry("ending", an_hour(), refused).await));
        assert!(began.elapsed() <= millis(1));

        assert!(matches!(hangs().await, Err(Failure::Slow(_))));
        assert!(began.elapsed() <= secs(1) + millis(1), "its own time limit");
        // All but those of keys.
        let expected = if enabled { [0, 0, 0, 9, 0] } else { NOTHING };
        assert_eq!(outcomes("ending"), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_class_does_not_count_what_is_kept_from_another_attempt() {
    // At rest it is not asked by the call, awake it has given it a permit.
    for failures_before in [0, 1] {
        let cb = isolate();
        cb.enabled(true);
        let waiting = timeout(secs(10), classed(&Service::down())).await;
        assert!(waiting.is_err(), "a failure of the class, which there is from now on");
        let class = get_circuit_breaker("ending/refused");
        if failures_before == 0 {
            class.reset();
            assert!(classed(&Service::up()).await.is_ok(), "all are at rest again");
        }
        let before = class.snapshot().calls;
        registry().shutdown();
        assert!(matches!(classed(&Service::down()).await, Err(Failure::Refused(1))));
        let snapshot = class.snapshot();
        assert_eq!(snapshot.consecutive_failures, failures_before);
        assert_eq!(snapshot.calls.failure, before.failure);
        assert_eq!(snapshot.calls.cancelled, u64::from(failures_before));
    }
}

#[tokio::test(start_paused = true)]
async fn circuits_are_asked_and_told_by_calls_that_begin_afterwards() {
    #[retry_with_breaker(op = "ending", attempts = 1)]
    async fn once(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }
    let cb = isolate();
    cb.enabled(true);
    registry().shutdown();
    assert!(waits_an_hour(&Service::up()).await.is_ok());
    assert_eq!(outcomes("ending"), SUCCESS);

    // Nothing is kept from a function that does not retry.
    for _ in 0..3 {
        assert!(matches!(once(&Service::down()).await, Err(Failure::Refused(1))));
    }
    assert_eq!(get_circuit_breaker("ending").state(), CircuitState::Open);
    let service = Service::up();
    assert_eq!(waits_an_hour(&service).await.reason(), OpenReason::Failures);
    assert_eq!(service.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_afterwards_has_failed() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("ending");
    trip_and_wait(&circuit).await;
    registry().shutdown();
    // It has one attempt anyway.
    assert!(matches!(waits_an_hour(&Service::down()).await, Err(Failure::Refused(1))));
    assert_eq!((circuit.state(), circuit.snapshot().reopens), (CircuitState::Open, 1));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_not_retried_is_the_answer_that_it_was() {
    #[retry_with_breaker(op = "ending", retry_if = |_| false)]
    async fn answered() -> Result<u32, Failure> {
        Service::down().ask()
    }
    let cb = isolate();
    cb.enabled(true);
    registry().shutdown();
    answered().await.unwrap_err();
    assert_eq!(outcomes("ending"), SUCCESS);
}

#[tokio::test(start_paused = true)]
async fn no_retry_of_the_budget_is_used_for_a_retry_that_is_not_made() {
    let cb = isolate();
    cb.enabled(true);
    let mut settings = Settings::default();
    settings.all().retry_budget(0.1);
    registry().configure(settings);
    registry().shutdown();
    waits_an_hour(&Service::down()).await.unwrap_err();
    let budget = snapshot_of("ending").retry_budget.unwrap();
    assert_eq!((budget.granted, budget.refused), (0, 0));
}

// Drops and panics.

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_afterwards_is_cancelled() {
    for on_cancel in [OnCancel::Ignore, OnCancel::Failure] {
        let _cb = isolate();
        let mut settings = Settings::default();
        settings.all().enabled(true).on_cancel(on_cancel);
        registry().configure(settings);
        let down = Service::down();
        let waits = timeout(secs(10), waits_an_hour(&down));
        let attempts = timeout(secs(10), takes_a_minute(&down));
        let of_class = timeout(secs(10), classed(&down));
        let mut all = Box::pin(async { tokio::join!(waits, attempts, of_class) });
        let mut noop = Context::from_waker(Waker::noop());
        assert!(all.as_mut().poll(&mut noop).is_pending());
        registry().shutdown();
        drop(all);
        assert_eq!(outcomes("ending"), [0, 0, 0, 3, 0], "{on_cancel}");
        assert!(registry().get("ending/refused").is_none_or(|class| {
            let calls = class.snapshot().calls;
            (calls.failure, calls.cancelled) == (0, 1)
        }));
    }
}

#[tokio::test(start_paused = true)]
async fn before_it_a_drop_is_what_it_was() {
    let cb = isolate();
    cb.enabled(true);
    assert!(timeout(secs(10), waits_an_hour(&Service::down())).await.is_err());
    registry().shutdown();
    assert_eq!(outcomes("ending"), FAILURE);
}

#[tokio::test(start_paused = true)]
async fn a_panic_afterwards_is_a_failure() {
    #[retry_with_breaker(op = "ending")]
    async fn panics() -> Result<u32, Failure> {
        panic!("out of luck")
    }
    let cb = isolate();
    cb.enabled(true);
    registry().shutdown();
    let local = tokio::task::LocalSet::new();
    let task = local.spawn_local(panics());
    assert!(local.run_until(task).await.unwrap_err().is_panic());
    assert_eq!(outcomes("ending"), FAILURE);
}

// Around it.

#[tokio::test(start_paused = true)]
async fn an_outer_loop_ignores_the_end_of_an_inner_one() {
    #[retry_with_breaker(op = "outer", attempts = 3, min_wait = "1h", max_wait = "1h")]
    async fn outer(service: &Service, asked: &Cell<u32>) -> Result<u32, Failure> {
        asked.set(asked.get() + 1);
        waits_an_hour(service).await
    }
    let cb = isolate();
    cb.enabled(true);
    let asked = std::rc::Rc::new(Cell::new(0));
    let counts = std::rc::Rc::clone(&asked);
    let waiting = begin(async move { outer(&Service::down(), &counts).await.reason() }).await;
    registry().shutdown();
    assert_eq!(waiting.ends_at_once().await, OpenReason::Shutdown);
    assert_eq!((asked.get(), outcomes("outer"), outcomes("ending")), (1, IGNORED, CANCELLED));
}

#[tokio::test(start_paused = true)]
async fn an_outer_loop_that_cannot_see_it_ends_with_its_own_error() {
    #[retry_with_breaker(
        op = "outer", min_wait = "1h", max_wait = "1h", on_open = |_| Err("open".to_owned())
    )]
    async fn outer() -> Result<u32, String> {
        waits_an_hour(&Service::down()).await.map_err(|_| "unseen".to_owned())
    }
    let cb = isolate();
    cb.enabled(true);
    let waiting = begin(outer()).await;
    registry().shutdown();
    assert_eq!(waiting.ends_at_once().await.unwrap_err(), "unseen");
    assert_eq!(outcomes("outer"), CANCELLED);
}

#[tokio::test(start_paused = true)]
async fn it_may_be_called_again_and_is_logged_once() {
    let cb = isolate();
    cb.enabled(true);
    let log = Log::capture();
    let waiting = begin(async { waits_an_hour(&Service::down()).await.reason() }).await;
    (0..3).for_each(|_| registry().shutdown());
    assert_eq!(waiting.ends_at_once().await, OpenReason::Shutdown);
    assert_eq!(log.messages(Level::INFO), ["shutting down: retry loops end their waits"]);
}

#[tokio::test(start_paused = true)]
async fn neither_reset_nor_new_settings_take_it_back() {
    let cb = isolate();
    cb.enabled(true);
    registry().shutdown();
    registry().reset_all();
    registry().configure(Settings::default());
    assert!(registry().health().shutting_down);
    assert!(matches!(waits_an_hour(&Service::down()).await, Err(Failure::Refused(1))));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_shared_afterwards() {
    let _cb = isolate();
    registry().shutdown();
    let url = "redis://127.0.0.1:1";
    let variables = [("BINDU_CB_SHARED_URL", url)];
    registry().configure(Settings::default().with_variables(variables).unwrap());
    assert!(registry().shared().is_none());
    registry().share(SharedSettings::new(url)).unwrap();
    assert!(registry().shared().is_none());
    assert!(registry().share(SharedSettings::new("nonsense")).is_err(), "a mistake is one still");
}

#[tokio::test(start_paused = true)]
async fn other_registries_are_not_concerned() {
    let [ends, stays] = [Process::default(), Process::default()];
    let service = Service::refusing(1);
    let waits = stays.run(waits_an_hour(&service));
    let shutdown = async {
        sleep(secs(10)).await;
        ends.enter(|| registry().shutdown());
    };
    let (result, ()) = tokio::join!(waits, shutdown);
    assert_eq!(result.unwrap(), 2);
    assert!(ends.enter(|| registry().health()).shutting_down);
    assert!(!stays.enter(|| registry().health()).shutting_down);
    // Nor is that of the process.
    assert!(!registry().health().shutting_down);
}

/// An executor's waker is foreign code, which may want to know how things stand.
struct ShutsDownAgain(Process);

impl Wake for ShutsDownAgain {
    fn wake(self: Arc<Self>) {
        self.0.enter(|| {
            registry().shutdown();
            assert!(registry().health().shutting_down);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_are_woken_may_call_back() {
    let process = Process::default();
    let waker = Arc::new(ShutsDownAgain(process.clone())).into();
    let service = Service::down();
    let mut call = Box::pin(process.run(waits_an_hour(&service)));
    assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    process.enter(|| registry().shutdown());
    assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}
