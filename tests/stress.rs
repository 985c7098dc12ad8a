//! Every kind of call at once, on all cores, for twenty seconds of real time: what no model and no
//! paused clock can show. Figures must add up at the end, and nothing may be impossible meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bindu_cb::{
    CircuitBreaker, CircuitBreakerSettings, CircuitState, Event, Settings, Window,
    get_circuit_breaker, registry,
};

const RUN: Duration = Duration::from_secs(20);
const OP: &str = "stress";

/// A small generator: the mix must differ from thread to thread and be the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[derive(Default)]
struct Started {
    calls: AtomicU64,
    /// Permits that were leaked: calls that never end.
    leaked: AtomicU64,
}

fn one_call(circuit: &CircuitBreaker, dice: &mut Dice, started: &Started) {
    started.calls.fetch_add(1, Ordering::Relaxed);
    let Ok(permit) = circuit.try_acquire() else { return };
    match dice.below(1_000) {
        0..900 => permit.success(),
        900..960 => permit.failure(),
        960..975 => permit.ignore(),
        975..985 => drop(permit),
        985..990 => {
            std::thread::yield_now();
            permit.failure();
        }
        990..995 => {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let _permit = permit;
                std::panic::resume_unwind(Box::new("a panic in the body"));
            }));
            assert!(panicked.is_err());
        }
        _ => {
            started.leaked.fetch_add(1, Ordering::Relaxed);
            std::mem::forget(permit);
        }
    }
}

fn settings(dice: &mut Dice) -> Settings {
    let mut settings = Settings::default();
    let of_op = settings.operation(OP);
    of_op
        .recovery_timeout(Duration::from_micros(200 + dice.below(2_000)))
        .probe_timeout(Duration::from_millis(1))
        .half_open_permits(u32::try_from(1 + dice.below(4)).unwrap())
        .success_threshold(u32::try_from(1 + dice.below(3)).unwrap())
        .failure_threshold(u32::try_from(1 + dice.below(4)).unwrap())
        .failure_rate(u32::try_from(5 + dice.below(30)).unwrap());
    match dice.below(4) {
        0 => {}
        1 => of_op.window = Some(Window::Calls(100)),
        2 => of_op.window = Some(Window::Time(Duration::from_millis(10))),
        _ => {
            of_op.window(Window::Calls(50)).slow_call(Duration::from_micros(1));
        }
    }
    settings
}

fn check(circuit: &CircuitBreaker) {
    let snapshot = circuit.snapshot();
    if let Some(window) = snapshot.window {
        assert!(window.failures <= window.calls && window.slow <= window.calls, "{window:?}");
    }
    match snapshot.state {
        CircuitState::Open => assert!(snapshot.half_open_in.is_some()),
        _ => assert!(snapshot.half_open_in.is_none()),
    }
    if snapshot.state != CircuitState::Closed {
        assert_eq!(snapshot.consecutive_failures, 0);
    }
}

#[test]
fn calls_of_every_kind_at_once_lose_nothing() {
    let changes = Arc::new(AtomicU64::new(0));
    let heard = Arc::clone(&changes);
    registry().subscribe(move |event: &Event| {
        // A listener may look back at the circuit, and a panic of it does no harm.
        get_circuit_breaker(event.operation).state();
        heard.fetch_add(1, Ordering::Relaxed);
    });
    registry().configure(settings(&mut Dice(1)));
    let circuit = get_circuit_breaker(OP);
    let (started, over) = (Started::default(), AtomicBool::new(false));
    let callers = std::thread::available_parallelism().unwrap().get() as u64 * 4;
    std::thread::scope(|scope| {
        for seed in 0..callers {
            let (circuit, started, over) = (&circuit, &started, &over);
            scope.spawn(move || {
                let mut dice = Dice(seed);
                while !over.load(Ordering::Relaxed) {
                    one_call(circuit, &mut dice, started);
                }
            });
        }
        let mut dice = Dice(99);
        let end = Instant::now() + RUN;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_micros(dice.below(500)));
            check(&circuit);
            match dice.below(400) {
                0 => circuit.force_open(),
                1 => circuit.force_closed(),
                2..20 => circuit.reset(),
                20..60 => registry().configure(settings(&mut dice)),
                _ => {}
            }
        }
        over.store(true, Ordering::Relaxed);
    });

    let calls = circuit.snapshot().calls;
    let ended = calls.success
        + calls.failure
        + calls.ignored
        + calls.cancelled
        + calls.rejected
        + calls.stale;
    let (begun, leaked) =
        (started.calls.load(Ordering::Relaxed), started.leaked.load(Ordering::Relaxed));
    assert_eq!(ended + leaked, begun, "{calls:?}");
    assert!(changes.load(Ordering::Relaxed) > 100, "the circuit hardly moved");
    for (kind, count) in [
        ("success", calls.success),
        ("failure", calls.failure),
        ("ignored", calls.ignored),
        ("cancelled", calls.cancelled),
        ("rejected", calls.rejected),
        ("stale", calls.stale),
    ] {
        assert!(count > 0, "no call was {kind}: {calls:?}");
    }

    // No permit is lost: whatever is still leased, the circuit takes a probe and closes.
    circuit.reset();
    while let Ok(permit) = circuit.try_acquire() {
        permit.failure();
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while circuit.state() != CircuitState::Closed {
        assert!(Instant::now() < deadline, "the circuit does not close any more");
        std::thread::sleep(Duration::from_millis(1));
        if let Ok(permit) = circuit.try_acquire() {
            permit.success();
        }
    }
}

/// A ramp ends by whoever comes next; another call that opens the circuit just then must not lose
/// its trip.
#[test]
fn no_trip_is_lost_at_the_end_of_a_ramp() {
    const RAMP: Duration = Duration::from_micros(30);
    let settings = CircuitBreakerSettings::default()
        .window(Window::Calls(10))
        .minimum_calls(1)
        .failure_rate(1)
        .recovery_timeout(Duration::ZERO)
        .ramp_up(RAMP);
    let circuit = CircuitBreaker::new("end-of-ramp", settings);
    let (at_it, over) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if at_it.load(Ordering::Relaxed) {
                    drop(circuit.try_acquire());
                }
            }
        });
        let lost = (0..10_000_u64).filter(|round| {
            circuit.reset();
            circuit.try_acquire().expect("it is closed").failure();
            let Ok(probe) = circuit.try_acquire() else { return false };
            probe.success();
            let began = Instant::now();
            let Ok(permit) = circuit.try_acquire() else { return false };
            at_it.store(true, Ordering::Relaxed);
            let until = RAMP.saturating_sub(Duration::from_nanos(500));
            let until = until + Duration::from_nanos(round % 2_000);
            while began.elapsed() < until {}
            let was_closed = circuit.state() == CircuitState::Closed;
            permit.failure();
            let is_lost = was_closed && circuit.state() == CircuitState::Closed;
            at_it.store(false, Ordering::Relaxed);
            is_lost
        });
        let lost = lost.count();
        over.store(true, Ordering::Relaxed);
        assert_eq!(lost, 0);
    });
}
