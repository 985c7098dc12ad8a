//! Many callers at once, on one thread and on several; listeners; states set by hand.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use bindu_cb::{
    CallError, Cause, CircuitBreaker, CircuitBreakerSettings, CircuitState, Event, OpenCause,
    OpenReason, Settings, get_circuit_breaker, registry, with_circuit_breaker,
};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::advance;
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::support::{Failure, Log, Service, assert_told, circuit, secs, snapshot_of, trip};

const CALLERS: u32 = 1_000;

fn callers() -> usize {
    usize::try_from(CALLERS).unwrap()
}

/// Due for a probe without a wait: several threads cannot share a paused clock.
fn due(permits: u32) -> Arc<CircuitBreaker> {
    let settings = CircuitBreakerSettings::default()
        .failure_threshold(1)
        .recovery_timeout(secs(0))
        .half_open_permits(permits);
    let circuit = CircuitBreaker::new("test", settings);
    circuit.try_acquire().unwrap().failure();
    assert_eq!(circuit.state(), CircuitState::Open);
    Arc::new(circuit)
}

/// How many of the callers reach the body. No probe ends before all have asked.
async fn reach_the_body(circuit: Arc<CircuitBreaker>) -> u32 {
    let all_have_asked = Arc::new(Barrier::new(callers()));
    let bodies = Arc::new(AtomicU32::new(0));
    let mut calls = JoinSet::new();
    for _ in 0..CALLERS {
        let (circuit, all_have_asked) = (Arc::clone(&circuit), Arc::clone(&all_have_asked));
        let bodies = Arc::clone(&bodies);
        calls.spawn(async move {
            let call = circuit.call(async || {
                bodies.fetch_add(1, Ordering::Relaxed);
                all_have_asked.wait().await;
                Ok::<_, ()>(())
            });
            let rejected = matches!(call.await, Err(CallError::Open(_)));
            if rejected {
                all_have_asked.wait().await;
            }
        });
    }
    calls.join_all().await;
    let calls = circuit.snapshot().calls;
    assert_eq!(calls.success + calls.stale + calls.rejected, u64::from(CALLERS));
    bodies.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_callers_at_half_open_one_reaches_the_body() {
    assert_eq!(reach_the_body(due(1)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_callers_at_half_open_five_reach_the_body() {
    assert_eq!(reach_the_body(due(5)).await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_callers_on_several_threads_one_reaches_the_body() {
    for _ in 0..20 {
        assert_eq!(reach_the_body(due(1)).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_callers_on_several_threads_five_reach_the_body() {
    for _ in 0..20 {
        assert_eq!(reach_the_body(due(5)).await, 5);
    }
}

#[test]
fn probes_on_several_threads_are_never_more_than_the_permits() {
    for permits in [1, 3] {
        let settings = CircuitBreakerSettings::default()
            .failure_threshold(1)
            .recovery_timeout(secs(0))
            .half_open_permits(permits);
        let circuit = CircuitBreaker::new("test", settings);
        circuit.try_acquire().unwrap().failure();
        let (in_flight, most) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let probe = loop {
                            match circuit.try_acquire() {
                                Ok(probe) => break probe,
                                Err(_) => std::hint::spin_loop(),
                            }
                        };
                        let now = in_flight.fetch_add(1, Ordering::Relaxed) + 1;
                        most.fetch_max(now, Ordering::Relaxed);
                        for _ in 0..500 {
                            std::hint::spin_loop();
                        }
                        in_flight.fetch_sub(1, Ordering::Relaxed);
                        probe.ignore();
                    }
                });
            }
        });
        assert!(most.into_inner() <= permits);
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_calls_of_a_guarded_function_send_five_probes() {
    static BODIES: AtomicU32 = AtomicU32::new(0);

    #[with_circuit_breaker(
        op = "async_safety:probes",
        enabled = true,
        failure_threshold = 1,
        recovery_timeout = 0,
        half_open_permits = 5
    )]
    async fn probe(all_have_asked: &Barrier) -> Result<(), Failure> {
        BODIES.fetch_add(1, Ordering::Relaxed);
        all_have_asked.wait().await;
        Ok(())
    }
    #[with_circuit_breaker(op = "async_safety:probes", enabled = true)]
    async fn fail(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let all_have_asked = Arc::new(Barrier::new(callers() + 1));
    // Has the circuit made as `probe` wants it.
    let registered = probe(&Barrier::new(1)).await;
    registered.unwrap();
    fail(&Service::down()).await.unwrap_err();

    let mut calls = JoinSet::new();
    for _ in 0..=CALLERS {
        let all_have_asked = Arc::clone(&all_have_asked);
        calls.spawn(async move {
            if let Err(Failure::Open(_)) = probe(&all_have_asked).await {
                all_have_asked.wait().await;
            }
        });
    }
    calls.join_all().await;
    assert_eq!(BODIES.load(Ordering::Relaxed), 1 + 5);
}

#[test]
fn one_name_is_one_circuit_on_every_thread() {
    let together = Arc::new(std::sync::Barrier::new(16));
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let together = Arc::clone(&together);
            thread::spawn(move || {
                together.wait();
                get_circuit_breaker("async_safety:one_name")
            })
        })
        .collect();
    let circuits: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(circuits.iter().all(|circuit| Arc::ptr_eq(circuit, &circuits[0])));
    assert!(!Arc::ptr_eq(&circuits[0], &get_circuit_breaker("async_safety:another_name")));
}

#[test]
fn functions_on_three_threads_trip_the_circuit_that_they_share() {
    #[with_circuit_breaker(op = "async_safety:shared", enabled = true)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    for round in 1..=4 {
        let answer = thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.unwrap().block_on(ask(&Service::down()))
        });
        let error = answer.join().unwrap().unwrap_err();
        assert_eq!(matches!(error, Failure::Open(_)), round == 4, "{round}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn failures_at_the_same_time_trip_once() {
    const OP: &str = "async_safety:trip_once";
    let openings = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&openings);
    let subscription = registry().subscribe(move |event: &Event| {
        if event.operation == OP && event.to == CircuitState::Open {
            heard.lock().unwrap().push(event.failures);
        }
    });

    let circuit = get_circuit_breaker(OP);
    for round in 1..=20 {
        let all_are_in = Arc::new(Barrier::new(callers()));
        let before = circuit.snapshot().calls;
        let mut calls = JoinSet::new();
        for _ in 0..CALLERS {
            let (circuit, all_are_in) = (Arc::clone(&circuit), Arc::clone(&all_are_in));
            calls.spawn(async move {
                let permit = circuit.try_acquire().unwrap();
                all_are_in.wait().await;
                permit.failure();
            });
        }
        calls.join_all().await;
        assert_eq!(circuit.state(), CircuitState::Open);
        let after = circuit.snapshot().calls;
        assert_eq!(after.failure - before.failure, 3, "those that led to the trip");
        assert_eq!(after.stale - before.stale, u64::from(CALLERS) - 3, "those that came after");
        circuit.reset();
        assert_eq!(*openings.lock().unwrap(), vec![3; round]);
    }
    subscription.unsubscribe();
}

/// B1: each outcome is counted exactly once.
#[test]
fn nothing_is_lost_or_counted_twice() {
    const THREADS: u64 = 24;
    const ROUNDS: u64 = 2_000;
    let settings = CircuitBreakerSettings::default()
        .failure_threshold(2)
        .recovery_timeout(secs(0))
        .success_threshold(2);
    let circuit = Arc::new(CircuitBreaker::new("test", settings));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let circuit = Arc::clone(&circuit);
            thread::spawn(move || {
                let mut rejected = 0;
                for round in 0..ROUNDS {
                    match (circuit.try_acquire(), (thread + round) % 5) {
                        (Err(_), _) => rejected += 1,
                        (Ok(permit), 0 | 1) => permit.failure(),
                        (Ok(permit), 2) => permit.ignore(),
                        (Ok(permit), 3) => drop(permit),
                        (Ok(permit), _) => permit.success(),
                    }
                }
                rejected
            })
        })
        .collect();
    let rejected: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let calls = circuit.snapshot().calls;
    assert_eq!(calls.rejected, rejected);
    let ended = calls.success + calls.failure + calls.ignored + calls.cancelled + calls.stale;
    assert_eq!(ended + rejected, THREADS * ROUNDS);
}

/// B8: a listener may do to the circuit whatever a caller may.
#[tokio::test(start_paused = true)]
async fn a_listener_may_call_back_into_circuit_and_registry() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    registry().subscribe(move |event: &Event| {
        let circuit = get_circuit_breaker(event.operation);
        assert_eq!(snapshot_of("called_back").operation, "called_back");
        registry().subscribe(|_: &Event| {}).unsubscribe();
        registry().configure(Settings::default());
        match event.to {
            CircuitState::Open => circuit.force_closed(),
            CircuitState::ForcedClosed => circuit.try_acquire().unwrap().success(),
            _ => unreachable!("nobody else changes it"),
        }
    });
    // The second one hears of the trip before it hears what the first one made of it.
    registry().subscribe(move |event: &Event| told.lock().unwrap().push((event.from, event.to)));
    let circuit = get_circuit_breaker("called_back");
    trip_times(&circuit, 3);
    assert_eq!(circuit.state(), CircuitState::ForcedClosed);
    assert_eq!(
        *heard.lock().unwrap(),
        [
            (CircuitState::Closed, CircuitState::Open),
            (CircuitState::Open, CircuitState::ForcedClosed),
        ]
    );
    assert_eq!(circuit.snapshot().calls.success, 1);
}

fn trip_times(circuit: &CircuitBreaker, failures: u32) {
    for _ in 0..failures {
        circuit.try_acquire().unwrap().failure();
    }
}

/// B8: listeners run outside every lock.
#[test]
fn while_a_listener_hangs_everybody_else_goes_on() {
    const OP: &str = "async_safety:hanging_listener";
    let (entered, has_entered) = mpsc::channel();
    let ended = entered.clone();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let subscription = registry().subscribe(move |event: &Event| {
        if event.operation == OP && event.to == CircuitState::Open {
            entered.send(true).unwrap();
            released.lock().unwrap().recv().unwrap();
        }
    });

    let circuit = get_circuit_breaker(OP);
    let tripping = thread::spawn(move || {
        trip_times(&get_circuit_breaker(OP), 3);
        ended.send(false).unwrap();
    });
    assert!(has_entered.recv().unwrap(), "the listener hears of it first");

    assert_eq!(circuit.state(), CircuitState::Open);
    assert!(circuit.try_acquire().is_err());
    circuit.reset();
    circuit.try_acquire().unwrap().success();
    circuit.try_acquire().unwrap().failure();
    assert_eq!(circuit.snapshot().consecutive_failures, 1);
    get_circuit_breaker("async_safety:made_meanwhile").force_open();
    subscription.unsubscribe();
    registry().subscribe(|_: &Event| {}).unsubscribe();

    release.send(()).unwrap();
    assert!(!has_entered.recv().unwrap());
    tripping.join().unwrap();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_does_no_harm() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    registry().subscribe(|_: &Event| panic!("a listener of a user's"));
    registry().subscribe(move |event: &Event| told.lock().unwrap().push(event.to));
    let log = Log::capture();

    let circuit = get_circuit_breaker("survives");
    trip_times(&circuit, 3);
    circuit.reset();
    trip_times(&circuit, 3);
    assert_eq!(
        *heard.lock().unwrap(),
        [CircuitState::Open, CircuitState::Closed, CircuitState::Open],
        "the next listener hears everything"
    );
    assert_eq!(circuit.snapshot().calls.failure, 6);
    assert_eq!(log.at(Level::ERROR).len(), 3, "the panics are not kept secret");
}

/// A tracing subscriber of a user's that cannot bear events of this level.
struct PanicsAt(Level, Arc<AtomicU32>);

impl<S: Subscriber> Layer<S> for PanicsAt {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == self.0 {
            self.1.fetch_add(1, Ordering::Relaxed);
            panic!("a subscriber of a user's");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_over_an_event_or_over_a_listeners_panic_stops_no_later_event() {
    // The listener that panics is told three times, and so are the two trips and the reset.
    for (level, panics) in [(Level::WARN, 2), (Level::INFO, 1), (Level::ERROR, 3)] {
        let cb = bindu_cb::testing::isolate();
        cb.enabled(true);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heard);
        registry().subscribe(|_: &Event| panic!("a listener of a user's"));
        registry().subscribe(move |event: &Event| told.lock().unwrap().push(event.to));
        let _no_callsite_is_off = Log::capture();
        let panicked = Arc::new(AtomicU32::new(0));
        let subscriber = PanicsAt(level, Arc::clone(&panicked));
        let _in_force =
            tracing::subscriber::set_default(tracing_subscriber::registry().with(subscriber));

        let circuit = get_circuit_breaker("survives");
        trip_times(&circuit, 3);
        circuit.reset();
        trip_times(&circuit, 3);
        assert_eq!(
            *heard.lock().unwrap(),
            [CircuitState::Open, CircuitState::Closed, CircuitState::Open],
            "{level}"
        );
        assert_eq!(circuit.snapshot().calls.failure, 6, "{level}");
        assert_eq!(panicked.load(Ordering::Relaxed), panics, "{level}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_while_a_body_does_is_still_no_harm() {
    #[with_circuit_breaker(op = "panics", failure_threshold = 1)]
    async fn ask() -> Result<(), Failure> {
        panic!("a bug in the body")
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    registry().subscribe(|_: &Event| panic!("a listener of a user's"));
    let panicked = tokio::spawn(ask()).await.unwrap_err();
    assert_eq!(*panicked.into_panic().downcast::<&str>().unwrap(), "a bug in the body");
    assert_eq!(snapshot_of("panics").state, CircuitState::Open);
    assert!(matches!(ask().await, Err(Failure::Open(_))));
}

#[test]
fn listeners_hear_the_changes_of_a_circuit_in_their_order() {
    const OP: &str = "async_safety:in_order";
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    let subscription = registry().subscribe(move |event: &Event| {
        if event.operation == OP {
            thread::yield_now();
            told.lock().unwrap().push((event.from, event.to));
        }
    });
    let threads: Vec<_> = (0..4_u32)
        .map(|thread| {
            thread::spawn(move || {
                let circuit = get_circuit_breaker(OP);
                for round in 0..500 {
                    match (thread + round) % 3 {
                        0 => circuit.reset(),
                        1 => circuit.force_open(),
                        _ => circuit.force_closed(),
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    subscription.unsubscribe();

    let heard = heard.lock().unwrap();
    assert_eq!(heard[0].0, CircuitState::Closed);
    for pair in heard.windows(2) {
        assert_eq!(pair[0].1, pair[1].0, "each change begins where the one before ended");
    }
    assert_eq!(heard.last().unwrap().1, get_circuit_breaker(OP).state());
}

#[tokio::test(start_paused = true)]
async fn one_that_has_unsubscribed_hears_nothing_more() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let heard = Arc::new(AtomicU32::new(0));
    let told = Arc::clone(&heard);
    let subscription = registry().subscribe(move |_: &Event| {
        told.fetch_add(1, Ordering::Relaxed);
    });
    let circuit = get_circuit_breaker("unheard");
    circuit.force_open();
    drop(subscription.clone());
    circuit.reset();
    assert_eq!(heard.load(Ordering::Relaxed), 2, "dropping it does not unsubscribe");
    subscription.unsubscribe();
    circuit.force_open();
    assert_eq!(heard.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn forced_open_rejects_everything_however_long() {
    let circuit = circuit(3);
    circuit.force_open();
    for _ in 0..3 {
        let open = circuit.try_acquire().unwrap_err();
        assert!(open.retry_after() > secs(0));
        let cause = std::error::Error::source(&open).unwrap();
        let cause = cause.downcast_ref::<OpenCause>().unwrap();
        assert_eq!((cause.reason(), cause.last_failure()), (OpenReason::Forced, None));
        advance(secs(86_400)).await;
    }
    assert_eq!(circuit.state(), CircuitState::ForcedOpen);
    assert_eq!(circuit.snapshot().half_open_in, None);
    assert_eq!(circuit.snapshot().calls.rejected, 3);
}

#[tokio::test(start_paused = true)]
async fn forced_closed_admits_everything_counts_and_decides_nothing() {
    let circuit = circuit(3);
    trip(&circuit);
    circuit.force_closed();
    for _ in 0..100 {
        circuit.try_acquire().unwrap().failure();
        circuit.try_acquire().unwrap().success();
        circuit.try_acquire().unwrap().ignore();
        drop(circuit.try_acquire().unwrap());
    }
    trip_times(&circuit, 100);
    let snapshot = circuit.snapshot();
    assert_eq!(snapshot.state, CircuitState::ForcedClosed);
    let calls = snapshot.calls;
    assert_eq!((calls.failure, calls.success, calls.ignored), (203, 100, 100));
    assert_eq!((calls.cancelled, calls.stale), (100, 0));

    circuit.reset();
    trip_times(&circuit, 2);
    assert_eq!(circuit.state(), CircuitState::Closed, "what was forced is not held against it");
}

#[tokio::test(start_paused = true)]
async fn reset_closes_from_every_state_and_forgets_the_re_opens() {
    let settings = CircuitBreakerSettings::default().failure_threshold(2).recovery_multiplier(2.0);
    let reopened = CircuitBreaker::new("test", settings.clone());
    trip(&reopened);
    advance(secs(30)).await;
    reopened.try_acquire().unwrap().failure();
    assert_eq!(reopened.snapshot().reopens, 1);

    let half_open = CircuitBreaker::new("test", settings.clone());
    trip(&half_open);
    advance(secs(60)).await;
    let probe = half_open.try_acquire().unwrap();

    let [closed, forced_open, forced_closed] =
        [(); 3].map(|()| CircuitBreaker::new("test", settings.clone()));
    closed.try_acquire().unwrap().failure();
    forced_open.force_open();
    forced_closed.force_closed();

    for circuit in [&reopened, &half_open, &closed, &forced_open, &forced_closed] {
        circuit.reset();
        let snapshot = circuit.snapshot();
        assert_eq!(snapshot.state, CircuitState::Closed);
        assert_eq!((snapshot.reopens, snapshot.consecutive_failures), (0, 0));
        circuit.try_acquire().unwrap().failure();
        assert_eq!(circuit.state(), CircuitState::Closed, "the count has started over");
        circuit.try_acquire().unwrap().failure();
        assert_told(&circuit.try_acquire().unwrap_err(), secs(30));
    }
    probe.success();
    assert_eq!(half_open.state(), CircuitState::Open);
}

/// B8: all change the generation, so a call from before no longer counts.
#[tokio::test(start_paused = true)]
async fn calls_that_began_before_a_state_was_set_by_hand_are_stale() {
    for set in [CircuitBreaker::reset, CircuitBreaker::force_open, CircuitBreaker::force_closed] {
        let circuit = circuit(1);
        let before = [(); 4].map(|()| circuit.try_acquire().unwrap());
        set(&circuit);
        let state = circuit.state();
        let [success, failure, ignored, dropped] = before;
        success.success();
        failure.failure();
        ignored.ignore();
        drop(dropped);
        assert_eq!(circuit.state(), state);
        let calls = circuit.snapshot().calls;
        assert_eq!((calls.stale, calls.failure, calls.success), (4, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn states_set_by_hand_are_told_and_logged_once_each() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    registry().subscribe(move |event: &Event| {
        told.lock().unwrap().push((event.to, event.cause));
    });
    let log = Log::capture();
    let circuit = get_circuit_breaker("by_hand");
    circuit.reset();
    circuit.force_open();
    circuit.force_open();
    circuit.force_closed();
    registry().reset_all();
    assert_eq!(
        *heard.lock().unwrap(),
        [
            (CircuitState::ForcedOpen, Cause::Manual),
            (CircuitState::ForcedClosed, Cause::Manual),
            (CircuitState::Closed, Cause::Manual),
        ]
    );
    let logged = |level| {
        let lines = log.at(level).into_iter();
        lines.map(|it| format!("{} {}", it.field("to"), it.field("cause"))).collect::<Vec<_>>()
    };
    assert_eq!(logged(Level::WARN), ["forced_open manual", "forced_closed manual"]);
    assert_eq!(logged(Level::INFO), ["closed manual"]);
}

#[tokio::test(start_paused = true)]
async fn states_print_as_they_are_written_elsewhere() {
    let circuit = circuit(1);
    let mut printed = vec![circuit.state().to_string()];
    circuit.force_open();
    printed.push(circuit.state().to_string());
    circuit.force_closed();
    printed.push(circuit.state().to_string());
    circuit.reset();
    trip(&circuit);
    printed.push(circuit.state().to_string());
    advance(secs(30)).await;
    circuit.try_acquire().unwrap().ignore();
    printed.push(circuit.state().to_string());
    assert_eq!(printed, ["closed", "forced_open", "forced_closed", "open", "half_open"]);
}
