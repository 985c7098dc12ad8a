use std::error::Error;
use std::sync::{Mutex, PoisonError};

use tokio::time::{Instant, advance, sleep};

use super::*;
use crate::breaker::{Outcome, Permit};
use crate::error::OpenReason;
use crate::event::{Event, Listeners};
use crate::name::Name;
use crate::settings::{CircuitBreakerSettings, Resolved, Source, Window};
use crate::{CallError, OpenCause, Operation};

const NANO: Duration = Duration::from_nanos(1);

async fn all_but_the_last_nano(time: Duration) {
    advance(time.saturating_sub(NANO)).await;
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn settings() -> CircuitBreakerSettings {
    CircuitBreakerSettings::default().failure_threshold(2).recovery_timeout(secs(30))
}

fn circuit() -> CircuitBreaker {
    CircuitBreaker::new("remote", settings())
}

fn opening(left: Duration) -> RemoteOpening {
    RemoteOpening { left, wait: secs(20), reopens: 0, text: Some("refused".into()), hold: None }
}

#[derive(Default)]
struct Events(Arc<Mutex<Vec<Event>>>);

impl Events {
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn heard(settings: CircuitBreakerSettings) -> (CircuitBreaker, Events) {
    let (listeners, events) = (Arc::<Listeners>::default(), Events::default());
    let heard = Arc::clone(&events.0);
    let _ = listeners.add(move |event: &Event| heard.lock().unwrap().push(event.clone()));
    let source = Source::Code("test".to_owned());
    let settings = Resolved::from_one_source(settings, CircuitBreakerSettings::KEYS, source);
    (CircuitBreaker::with_listeners(Name::intern("remote"), settings, listeners), events)
}

fn trip(circuit: &CircuitBreaker) {
    while let Ok(permit) = circuit.try_acquire() {
        permit.failure();
    }
    assert_eq!(circuit.state(), CircuitState::Open);
}

/// Trips, waits and takes the probe.
async fn half_open(circuit: &CircuitBreaker) -> Permit<'_> {
    trip(circuit);
    advance(secs(30)).await;
    let probe = circuit.try_acquire().unwrap();
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    probe
}

fn cause(circuit: &CircuitBreaker) -> OpenCause {
    let open = circuit.try_acquire().unwrap_err();
    open.source().unwrap().downcast_ref::<OpenCause>().unwrap().clone()
}

fn stale(circuit: &CircuitBreaker) -> u64 {
    circuit.snapshot().calls.stale
}

/// Each state from which a circuit can open, with the name of it.
async fn for_each_that_decides(
    settings: &CircuitBreakerSettings,
    mut check: impl FnMut(&CircuitBreaker, &Events),
) {
    let closed = heard(settings.clone());
    check(&closed.0, &closed.1);

    let counting = heard(settings.clone());
    counting.0.try_acquire().unwrap().failure();
    check(&counting.0, &counting.1);

    let ramping = heard(settings.clone().ramp_up(secs(60)));
    half_open(&ramping.0).await.success();
    assert!(ramping.0.snapshot().ramp_up.is_some());
    ramping.1.take();
    check(&ramping.0, &ramping.1);

    let probing = heard(settings.clone());
    let probe = half_open(&probing.0).await;
    probing.1.take();
    check(&probing.0, &probing.1);
    drop(probe);
}

#[tokio::test(start_paused = true)]
async fn an_opening_is_open_here_for_what_is_left_of_it() {
    for_each_that_decides(&settings(), |circuit, events| {
        let before = circuit.standing();
        let generation = circuit.remote_open(opening(secs(7))).unwrap();
        let after = circuit.standing();
        assert_ne!(generation, before.generation);
        assert_eq!((after.state, after.generation), (CircuitState::Open, generation));
        assert_eq!((after.left, after.wait, after.reopens), (secs(7), secs(20), 0));

        let told = circuit.try_acquire().unwrap_err().retry_after();
        assert!((secs(7)..=secs(7) + secs(7) / 10).contains(&told), "{told:?}");

        let [event] = &events.take()[..] else { panic!("one event") };
        assert_eq!((event.from, event.to), (before.state, CircuitState::Open));
        assert_eq!((event.cause, event.failures), (Cause::Remote, 0));
        assert_eq!((event.wait, event.generation), (Some(secs(7)), generation));
        assert_eq!(event.last_failure.as_deref(), Some("refused"));
        assert!(event.window.is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_to_the_nanosecond_and_the_next_call_is_the_probe() {
    let circuit = circuit();
    circuit.remote_open(opening(secs(7)));
    all_but_the_last_nano(secs(7)).await;
    assert!(circuit.try_acquire().is_err());
    advance(NANO).await;
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_nothing_is_left_of_is_open_until_the_next_call() {
    let circuit = circuit();
    circuit.remote_open(opening(Duration::ZERO));
    assert_eq!(circuit.state(), CircuitState::Open);
    let probe = circuit.try_acquire().unwrap();
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    drop(probe);
}

#[tokio::test(start_paused = true)]
async fn rejections_say_that_it_was_another_process() {
    const REMOTE: &str = "opened because the circuit of another process opened";
    let circuit = circuit();
    circuit.remote_open(opening(secs(7)));
    assert_eq!(cause(&circuit).to_string(), format!("{REMOTE}: refused"));
    assert_eq!(cause(&circuit).reason(), OpenReason::Failures);
    assert_eq!(cause(&circuit).last_failure().as_deref(), Some("refused"));

    circuit.reset();
    circuit.remote_open(RemoteOpening { reopens: 3, text: None, ..opening(secs(7)) });
    assert_eq!(cause(&circuit).to_string(), REMOTE);
    assert_eq!(cause(&circuit).reason(), OpenReason::Failures, "more is not known of it");

    // The one that it opens by itself afterwards is its own.
    advance(secs(7)).await;
    circuit.try_acquire().unwrap().failure();
    assert_eq!(cause(&circuit).to_string(), "opened again because a probe failed");
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_is_there_ends_when_the_other_one_does() {
    for (left, what) in [(secs(3), "sooner"), (secs(300), "later")] {
        let (circuit, events) = heard(settings());
        trip(&circuit);
        let generation = circuit.standing().generation;
        events.take();
        let opening = RemoteOpening {
            left,
            wait: secs(400),
            reopens: 5,
            text: Some("gone".into()),
            hold: None,
        };
        assert_eq!(circuit.remote_open(opening), Some(generation), "{what}");
        let standing = circuit.standing();
        assert_eq!((standing.generation, standing.left), (generation, left), "{what}");
        assert_eq!((standing.wait, standing.reopens), (secs(400), 5), "{what}");
        assert_eq!(circuit.snapshot().half_open_in, Some(left), "{what}");
        assert!(events.take().is_empty(), "{what}");

        all_but_the_last_nano(left).await;
        assert!(circuit.try_acquire().is_err(), "{what}");
        advance(NANO).await;
        circuit.try_acquire().unwrap().failure();
        let event = events.take().pop().unwrap();
        assert_eq!((event.cause, circuit.standing().reopens), (Cause::Probe, 6), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_opening_of_its_own_goes_on_from_the_re_opens() {
    let settings = settings().recovery_multiplier(2.0).max_recovery_timeout(secs(3_600));
    let (circuit, events) = heard(settings);
    circuit.remote_open(RemoteOpening { reopens: 2, ..opening(secs(7)) });
    advance(secs(7)).await;
    circuit.try_acquire().unwrap().failure();
    assert_eq!(events.take().pop().unwrap().wait, Some(secs(30 * 8)));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_to_wait_longer_than_the_whole_wait_or_what_is_left() {
    let circuit = circuit();
    circuit.remote_open(RemoteOpening { wait: secs(1), ..opening(secs(7)) });
    assert_eq!(circuit.standing().wait, secs(7), "a wait that is shorter than what is left of it");

    advance(secs(7)).await;
    let probes: Vec<_> = std::iter::from_fn(|| circuit.try_acquire().ok()).collect();
    assert!(circuit.try_acquire().unwrap_err().retry_after() <= secs(7) + secs(7) / 10);
    drop(probes);
}

#[tokio::test(start_paused = true)]
async fn nothing_overflows() {
    let circuit = circuit();
    let all = Duration::MAX;
    let opening =
        RemoteOpening { left: all, wait: all, reopens: u8::MAX, text: None, hold: Some(all) };
    circuit.remote_open(opening.clone());
    circuit.remote_open(opening);
    assert_eq!(circuit.standing().reopens, u8::MAX);
    assert!(circuit.try_acquire().is_err());
}

#[tokio::test(start_paused = true)]
async fn states_set_by_hand_stay() {
    for force in [CircuitBreaker::force_open, CircuitBreaker::force_closed] {
        let (circuit, events) = heard(settings());
        force(&circuit);
        let before = circuit.standing();
        events.take();
        assert_eq!(circuit.remote_open(opening(secs(7))), None);
        assert!(!circuit.remote_close());
        let after = circuit.standing();
        assert_eq!((after.state, after.generation), (before.state, before.generation));
        assert!(events.take().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn the_text_of_another_process_is_no_failure_of_this_one() {
    let circuit = circuit();
    circuit.try_acquire().unwrap().failure_as("own");
    circuit.remote_open(opening(secs(7)));
    assert_eq!(circuit.snapshot().last_failure.as_deref(), Some("own"));
}

type Change = (&'static str, fn(&CircuitBreaker));

const CHANGES: [Change; 5] = [
    ("opened", |circuit| assert!(circuit.remote_open(opening(secs(7))).is_some())),
    ("closed", |circuit| {
        circuit.remote_open(opening(secs(7)));
        circuit.remote_close();
    }),
    ("forced open", |circuit| circuit.remote_force(Force::Open)),
    ("forced closed", |circuit| circuit.remote_force(Force::Closed)),
    ("reset", |circuit| circuit.remote_force(Force::Reset)),
];

#[tokio::test(start_paused = true)]
async fn outcomes_of_before_are_stale() {
    for (what, change) in CHANGES {
        let circuit = circuit();
        let [failed, succeeded, ignored, dropped] =
            [(); 4].map(|()| circuit.try_acquire().unwrap());
        change(&circuit);
        let before = circuit.standing();
        failed.failure();
        succeeded.success();
        ignored.ignore();
        drop(dropped);
        assert_eq!(stale(&circuit), 4, "{what}");
        let after = circuit.standing();
        assert_eq!((after.state, after.generation), (before.state, before.generation), "{what}");
        assert_eq!(after.left, before.left, "{what}");
        assert_eq!(circuit.snapshot().consecutive_failures, 0, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn probes_of_before_are_stale_and_hold_no_permit() {
    for (what, change) in CHANGES {
        for succeeds in [true, false] {
            let circuit = CircuitBreaker::new("remote", settings().half_open_permits(1));
            let probe = half_open(&circuit).await;
            change(&circuit);
            let before = circuit.standing();
            if succeeds {
                probe.success();
            } else {
                probe.failure();
            }
            assert_eq!(stale(&circuit), 1, "{what}");
            assert_eq!(circuit.standing().generation, before.generation, "{what}");

            circuit.remote_force(Force::Reset);
            circuit.remote_open(opening(Duration::ZERO));
            assert!(circuit.try_acquire().is_ok(), "{what}: its permit is no longer out");
        }
    }
}

/// A loop that waits an hour between two attempts; what it returned and when.
async fn waiting_loop(change: fn(&CircuitBreaker)) -> (Result<(), CallError<String>>, Duration) {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let name = format!("remote:loop-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let operation = Operation::builder(name)
        .enabled(true)
        .attempts(2)
        .min_wait(secs(3_600))
        .max_wait(secs(3_600))
        .jitter(0.0)
        .build()
        .unwrap();
    let circuit = operation.circuit_breaker();
    let began = Instant::now();
    let mut attempts = 0;
    let call = operation.call(|| {
        attempts += 1;
        let succeeds = attempts == 2;
        async move { if succeeds { Ok(()) } else { Err("down".to_owned()) } }
    });
    let (result, ()) = tokio::join!(call, async {
        sleep(secs(1)).await;
        change(circuit);
    });
    (result, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_waits_hears_of_an_opening_at_once() {
    for (what, change) in CHANGES {
        let (result, took) = waiting_loop(change).await;
        if matches!(what, "opened" | "forced open") {
            assert!(matches!(result, Err(CallError::Open(_))), "{what}");
            assert!(took < secs(1) + Duration::from_millis(2), "{what}: {took:?}");
        } else {
            assert!(result.is_ok(), "{what}");
            assert!(took >= secs(3_600), "{what}: {took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_closes_as_by_a_probe_from_open_and_half_open_alone() {
    let (circuit, events) = heard(settings());
    assert!(!circuit.remote_close(), "closed");
    circuit.try_acquire().unwrap().failure();
    assert!(!circuit.remote_close());
    assert_eq!(circuit.snapshot().consecutive_failures, 1);

    trip(&circuit);
    let before = circuit.standing();
    events.take();
    assert!(circuit.remote_close());
    let after = circuit.standing();
    assert_eq!((after.state, after.left, after.reopens), (CircuitState::Closed, secs(0), 0));
    assert_ne!(after.generation, before.generation);
    let [event] = &events.take()[..] else { panic!("one event") };
    assert_eq!((event.from, event.to), (CircuitState::Open, CircuitState::Closed));
    assert_eq!((event.cause, event.generation), (Cause::Remote, after.generation));
    circuit.try_acquire().unwrap().failure();
    assert_eq!(circuit.state(), CircuitState::Closed, "the count started over");

    let probe = half_open(&circuit).await;
    events.take();
    assert!(circuit.remote_close());
    assert_eq!(circuit.state(), CircuitState::Closed);
    assert_eq!(events.take()[0].from, CircuitState::HalfOpen);
    drop(probe);
}

#[tokio::test(start_paused = true)]
async fn it_closes_with_a_ramp_where_a_probe_would() {
    let circuit = CircuitBreaker::new("remote", settings().ramp_up(secs(100)));
    circuit.remote_open(RemoteOpening { reopens: 4, ..opening(secs(7)) });
    advance(secs(2)).await;
    assert!(circuit.remote_close());
    assert!(circuit.snapshot().ramp_up.is_some_and(|part| part < 0.11));
    assert_eq!(circuit.standing().reopens, 4);
    let admitted = (0..100).filter(|_| circuit.try_acquire().is_ok()).count();
    assert_eq!(admitted, 10);

    // It may open within the ramp, and end as any other.
    let generation = circuit.standing().generation;
    let again = RemoteOpening { reopens: 5, ..opening(secs(7)) };
    assert_ne!(circuit.remote_open(again), Some(generation));
    assert!(circuit.remote_close());
    assert_eq!(circuit.standing().reopens, 5);
    advance(secs(100)).await;
    assert_eq!(circuit.standing().reopens, 0, "also if no call has come since");
    assert!((0..100).all(|_| circuit.try_acquire().is_ok()));
    assert_eq!(circuit.snapshot().ramp_up, None);
}

#[tokio::test(start_paused = true)]
async fn a_window_starts_empty_when_it_closes() {
    let window = settings().window(Window::Calls(10)).minimum_calls(4).failure_rate(50);
    for window in [window.clone(), window.window(Window::Time(secs(3_600)))] {
        let circuit = CircuitBreaker::new("remote", window);
        for _ in 0..3 {
            circuit.try_acquire().unwrap().failure();
        }
        circuit.remote_open(opening(secs(7)));
        assert!(circuit.remote_close());
        assert_eq!(circuit.snapshot().window.unwrap().calls, 0);
        for _ in 0..3 {
            circuit.try_acquire().unwrap().failure();
        }
        assert_eq!(circuit.state(), CircuitState::Closed);
        circuit.try_acquire().unwrap().failure();
        assert_eq!(circuit.state(), CircuitState::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_before_an_opening_is_learnt_from() {
    let learnt = [true, false].map(|is_looked_at| {
        let settings = settings().window(Window::Calls(100)).adaptive(true);
        let circuit = CircuitBreaker::new("remote", settings);
        for _ in 0..10_000 {
            circuit.try_acquire().unwrap().success();
        }
        if is_looked_at {
            // Learns from all that has been counted so far.
            circuit.snapshot();
        }
        circuit.remote_open(opening(secs(7)));
        circuit.remote_close();
        let window = circuit.snapshot().window.unwrap();
        (window.threshold, window.baseline, window.deviation)
    });
    assert_eq!(learnt[0], learnt[1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_forced_is_forced_in_every_state() {
    for (force, to) in [
        (Force::Open, CircuitState::ForcedOpen),
        (Force::Closed, CircuitState::ForcedClosed),
        (Force::Reset, CircuitState::Closed),
    ] {
        let befores: [fn(&CircuitBreaker); 5] = [
            |_| {},
            |circuit| trip(circuit),
            |circuit| assert!(circuit.remote_open(opening(secs(7))).is_some()),
            CircuitBreaker::force_open,
            CircuitBreaker::force_closed,
        ];
        for before in befores {
            let (circuit, events) = heard(settings());
            before(&circuit);
            let from = circuit.standing();
            events.take();
            circuit.remote_force(force);
            let standing = circuit.standing();
            assert_eq!((standing.state, standing.reopens), (to, 0));
            assert_ne!(standing.generation, from.generation, "also to the same state");
            match &events.take()[..] {
                [] => assert_eq!(from.state, to),
                [event] => {
                    assert_eq!((event.from, event.to), (from.state, to));
                    assert_eq!(
                        (event.cause, event.generation),
                        (Cause::Remote, standing.generation)
                    );
                }
                _ => panic!("one event at most"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn how_it_stands() {
    let settings = settings().max_recovery_timeout(secs(90)).probe_timeout(secs(8));
    let circuit = CircuitBreaker::new("remote", settings.enabled(true));
    let standing = circuit.standing();
    assert_eq!((standing.state, standing.rejected), (CircuitState::Closed, 0));
    assert_eq!((standing.left, standing.wait), (secs(0), secs(0)));
    assert_eq!((standing.max_recovery_timeout, standing.probe_timeout), (secs(90), secs(8)));

    circuit.try_acquire().unwrap().failure_as("refused");
    trip(&circuit);
    advance(secs(10)).await;
    assert!(circuit.try_acquire().is_err());
    let standing = circuit.standing();
    assert_eq!((standing.state, standing.rejected), (CircuitState::Open, 2));
    assert_eq!((standing.left, standing.wait), (secs(20), secs(30)));

    advance(secs(100)).await;
    assert_eq!(circuit.standing().left, secs(0), "open until a call comes");
    let probe = circuit.try_acquire().unwrap();
    let standing = circuit.standing();
    assert_eq!((standing.state, standing.left), (CircuitState::HalfOpen, secs(0)));
    assert_eq!(standing.wait, secs(30));
    drop(probe);

    // The slot of the deadline is that of the opening, and it is not over.
    circuit.reset();
    let opened = circuit.remote_open(opening(secs(7))).unwrap();
    circuit.reset();
    circuit.reset();
    let standing = circuit.standing();
    assert_eq!(standing.generation.slot(), opened.slot());
    assert_eq!((standing.state, standing.left), (CircuitState::Closed, secs(0)));
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_opened_is_awake_and_knows_the_calls_of_before() {
    let [operation, class] =
        [(); 2].map(|()| Arc::new(CircuitBreaker::new("remote", settings().enabled(true))));
    operation.adopt("class", &class);
    for (what, change) in CHANGES {
        class.reset();
        operation.rest_if_quiet();
        let then = operation.mode();
        assert!(!then.has_classes_awake(), "{what}");

        change(&class);
        assert!(operation.mode().has_classes_awake(), "{what}");
        let of_before = class.ticket_since(then);
        assert_ne!(of_before.generation(), class.standing().generation, "{what}");
        let stale_before = stale(&class);
        class.settle(of_before, Outcome::Failure, &|| None);
        assert_eq!(stale(&class), stale_before + 1, "{what}");

        operation.rest_if_quiet();
        let is_quiet = matches!(what, "closed" | "reset");
        assert_eq!(!operation.mode().has_classes_awake(), is_quiet, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_for_a_circuit_that_is_not_led() {
    for circuit in [circuit(), circuit().of_key("key".into())] {
        for (_, change) in CHANGES {
            change(&circuit);
        }
        let opening = RemoteOpening { hold: Some(secs(60)), ..opening(Duration::ZERO) };
        let generation = circuit.remote_open(opening).unwrap();
        assert!(!circuit.hold(generation, secs(60)) && !circuit.release(generation));
        // Telemetry counts changes, but not those of keys.
        let counts = cfg!(feature = "otel") && circuit.key().is_none();
        assert_eq!(circuit.rare().is_some(), counts);
        assert!(circuit.try_acquire().is_ok(), "no hold either");
    }
}
