//! loom models of the circuit: every interleaving of a few threads, and every value that the
//! orderings allow a load to see.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test -p bindu-cb --lib --release --features redis models`:
//! without that feature there are none of circuits that are led. Each model is run once as the code is, and once with a named mutation of it, which it must catch. All actors are
//! spawned: with one on loom's main thread a single execution ran, and a seeded mistake passed.

use std::cell::Cell;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use super::leases::Nanos;
use super::window::cells::WindowCells;
use super::{CircuitBreaker, CircuitState, Outcome, Ticket};
use crate::settings::{CircuitBreakerSettings, Window};

static MUTATION: Mutex<Option<&str>> = Mutex::new(None);
/// One model at a time: the mutation is for all threads.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

loom::thread_local! {
    /// The moment at which this thread acts, and its number.
    static NOW: Cell<(Nanos, usize)> = Cell::new((0, 0));
}

pub(crate) fn mutated(name: &str) -> bool {
    *MUTATION.lock().unwrap() == Some(name)
}

pub(super) fn now() -> Nanos {
    NOW.with(|now| now.get().0)
}

pub(super) fn number() -> usize {
    NOW.with(|now| now.get().1)
}

/// Checks the model, and that it notices the mutation.
pub(crate) fn model(mutation: &'static str, actors: impl Fn() + Send + Sync + Copy + 'static) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut model = loom::model::Builder::new();
    // Enough for every pair of operations to meet in either order; all interleavings of three
    // actors would take hours.
    model.preemption_bound = Some(2);
    model.check(actors);
    *MUTATION.lock().unwrap() = Some(mutation);
    let caught = catch_unwind(AssertUnwindSafe(|| model.check(actors))).is_err();
    *MUTATION.lock().unwrap() = None;
    assert!(caught, "the model does not notice {mutation}");
}

fn spawn<T: 'static>(
    circuit: &Arc<CircuitBreaker>,
    number: usize,
    at: Nanos,
    act: impl FnOnce(&CircuitBreaker) -> T + 'static,
) -> thread::JoinHandle<T> {
    let circuit = Arc::clone(circuit);
    thread::spawn(move || {
        NOW.with(|now| now.set((at, number)));
        act(&circuit)
    })
}

fn circuit(settings: CircuitBreakerSettings) -> Arc<CircuitBreaker> {
    Arc::new(CircuitBreaker::new("model", settings))
}

fn failing_at(threshold: u32) -> CircuitBreakerSettings {
    CircuitBreakerSettings::default()
        .failure_threshold(threshold)
        .recovery_timeout(Duration::from_nanos(100))
        .probe_timeout(Duration::from_nanos(50))
}

fn admit(circuit: &CircuitBreaker) -> Option<Ticket> {
    circuit.admit(circuit.mode()).ticket()
}

fn settle(circuit: &CircuitBreaker, ticket: Ticket, outcome: Outcome) {
    if outcome == Outcome::Success {
        circuit.settle_success(ticket);
    } else {
        circuit.settle(ticket, outcome, &|| None);
    }
}

/// So much is left, and a caller is told up to a tenth more.
fn assert_told(told: Duration, left: u64) {
    let left = Duration::from_nanos(left);
    assert!((left..=left + left / 10).contains(&told), "told {told:?} of {left:?}");
}

/// Generations since the circuit was made.
fn changes(circuit: &CircuitBreaker) -> u64 {
    circuit.word().generation().as_u64()
}

#[test]
fn two_failures_racing_to_the_threshold_open_once() {
    model("failures_without_the_lock", || {
        let circuit = circuit(failing_at(2));
        let actors = [0, 1].map(|number| {
            let ticket = admit(&circuit).unwrap();
            spawn(&circuit, number, 1, move |c| settle(c, ticket, Outcome::Failure))
        });
        actors.into_iter().for_each(|actor| actor.join().unwrap());
        assert_eq!(circuit.state(), CircuitState::Open);
        assert_eq!(changes(&circuit), 1);
        assert_eq!(circuit.counters.total().failure, 2);
    });
}

#[test]
fn a_success_racing_a_trip_comes_before_it_or_is_stale() {
    model("store_for_swap", || {
        let circuit = circuit(failing_at(2));
        let first = admit(&circuit).unwrap();
        settle(&circuit, first, Outcome::Failure);
        let (success, failure) = (admit(&circuit).unwrap(), admit(&circuit).unwrap());
        let actors = [
            spawn(&circuit, 0, 1, move |c| settle(c, success, Outcome::Success)),
            spawn(&circuit, 1, 1, move |c| settle(c, failure, Outcome::Failure)),
        ];
        actors.into_iter().for_each(|actor| actor.join().unwrap());
        let (calls, word) = (circuit.counters.total(), circuit.word());
        match circuit.state() {
            CircuitState::Open => {
                assert_eq!((calls.success, calls.stale, changes(&circuit)), (0, 1, 1))
            }
            _ => assert_eq!((calls.success, calls.stale, word.count()), (1, 0, 1)),
        }
    });
}

#[test]
fn two_callers_racing_for_the_last_permit_get_one() {
    model("half_open_without_a_look", || {
        let circuit = circuit(failing_at(1));
        let ticket = admit(&circuit).unwrap();
        settle(&circuit, ticket, Outcome::Failure);
        let actors = [0, 1].map(|number| spawn(&circuit, number, 100, |c| admit(c).is_some()));
        let admitted = actors.map(|actor| actor.join().unwrap());
        assert_eq!(admitted.into_iter().filter(|admitted| *admitted).count(), 1);
        assert_eq!((circuit.state(), changes(&circuit)), (CircuitState::HalfOpen, 2));
    });
}

#[test]
fn a_probe_racing_its_leases_end_decides_or_is_stale() {
    model("leases_for_ever", || {
        let circuit = circuit(failing_at(1));
        let ticket = admit(&circuit).unwrap();
        settle(&circuit, ticket, Outcome::Failure);
        NOW.with(|now| now.set((100, 0)));
        let probe = admit(&circuit).unwrap();
        let late = spawn(&circuit, 0, 149, move |c| settle(c, probe, Outcome::Failure));
        let next = spawn(&circuit, 1, 150, |c| admit(c).is_some());
        late.join().unwrap();
        let admitted = next.join().unwrap();
        let calls = circuit.counters.total();
        // Either the probe was in time and opened the circuit again, or its permit is another's.
        assert_eq!(calls.stale == 1, admitted);
        let expected = if admitted { CircuitState::HalfOpen } else { CircuitState::Open };
        assert_eq!(circuit.state(), expected);
    });
}

#[test]
fn a_rejected_call_knows_the_wait_and_the_cause_of_its_opening() {
    model("described_after_the_word", || {
        let settings = failing_at(1).recovery_multiplier(2.0).success_threshold(2);
        let circuit = circuit(settings);
        let ticket = admit(&circuit).unwrap();
        settle(&circuit, ticket, Outcome::Failure);
        NOW.with(|now| now.set((100, 0)));
        let probes = [admit(&circuit).unwrap(), admit(&circuit).unwrap()];
        let [fails, _in_flight] = probes;
        let opens = spawn(&circuit, 0, 110, move |c| {
            c.settle(fails, Outcome::Failure, &|| Some("again".to_owned()));
        });
        let rejected = spawn(&circuit, 1, 110, |c| {
            let open = c.try_acquire().err()?;
            Some((open.retry_after(), open.source()?.to_string()))
        });
        opens.join().unwrap();
        let Some((retry_after, cause)) = rejected.join().unwrap() else { panic!("admitted") };
        match cause.as_str() {
            // Half-open still, with no permit left until the first probe's time is up.
            "opened after 1 failure" => assert_told(retry_after, 40),
            "opened again because a probe failed: again" => assert_told(retry_after, 200),
            cause => panic!("{cause}"),
        }
    });
}

#[test]
fn manual_states_racing_an_outcome_have_the_last_word() {
    model("any_generation", || {
        let circuit = circuit(failing_at(1));
        let ticket = admit(&circuit).unwrap();
        let actors = [
            spawn(&circuit, 0, 1, |c| c.reset()),
            spawn(&circuit, 1, 1, |c| c.force_open()),
            spawn(&circuit, 2, 1, move |c| settle(c, ticket, Outcome::Failure)),
        ];
        actors.into_iter().for_each(|actor| actor.join().unwrap());
        let calls = circuit.counters.total();
        assert!(matches!(circuit.state(), CircuitState::Closed | CircuitState::ForcedOpen));
        assert_eq!(calls.failure + calls.stale, 1);
        assert_eq!(changes(&circuit), 2 + calls.failure);
    });
}

#[test]
fn figures_read_beside_outcomes_are_those_of_some_order() {
    model("cells_of_any_epoch", || {
        let settings = failing_at(1).window(Window::Calls(2)).minimum_calls(1).failure_rate(100);
        let circuit = circuit(settings);
        let first = admit(&circuit).unwrap();
        settle(&circuit, first, Outcome::Success);
        let success = admit(&circuit).unwrap();
        let actors = [
            spawn(&circuit, 0, 1, move |c| {
                settle(c, success, Outcome::Success);
                None
            }),
            spawn(&circuit, 1, 1, |c| {
                c.reset();
                let first = admit(c).unwrap();
                settle(c, first, Outcome::Success);
                None
            }),
            spawn(&circuit, 2, 1, |c| c.snapshot().window),
        ];
        let read = actors.map(|actor| actor.join().unwrap());
        for figures in read.into_iter().flatten() {
            assert!(figures.calls <= 2 && figures.failures == 0);
        }
        // The old success was counted before the reset, or it is stale: in the window that the
        // reset began there is only the one that began after it.
        assert_eq!(circuit.snapshot().window.unwrap().calls, 1);
        let calls = circuit.counters.total();
        assert_eq!(calls.success + calls.stale, 3);
    });
}

/// A circuit with one class, at rest, that opens at the first failure.
fn operation_and_class() -> [std::sync::Arc<CircuitBreaker>; 2] {
    let [operation, class] = [(); 2]
        .map(|()| std::sync::Arc::new(CircuitBreaker::new("model", failing_at(1).enabled(true))));
    operation.adopt("class", &class);
    operation.rest_if_quiet();
    assert!(!operation.mode().has_classes_awake());
    [operation, class]
}

#[test]
fn a_class_that_has_left_its_rest_is_known_to_be_awake() {
    model("rest_at_any_time", || {
        let [operation, class] = operation_and_class();
        let ticket = admit(&class).unwrap();
        let fails = {
            let class = std::sync::Arc::clone(&class);
            thread::spawn(move || settle(&class, ticket, Outcome::Failure))
        };
        let quiet = {
            let operation = std::sync::Arc::clone(&operation);
            thread::spawn(move || operation.rest_if_quiet())
        };
        let looks = {
            let (operation, class) = (std::sync::Arc::clone(&operation), class);
            thread::spawn(move || {
                let is_at_rest = class.is_at_rest();
                assert!(is_at_rest || operation.mode().has_classes_awake());
            })
        };
        [fails, quiet, looks].into_iter().for_each(|actor| actor.join().unwrap());
        assert!(operation.mode().has_classes_awake());
    });
}

#[test]
fn a_call_that_held_nothing_has_the_permit_of_when_it_began() {
    model("change_before_the_call", || {
        let [operation, class] = operation_and_class();
        let ticket = admit(&class).unwrap();
        let changes = {
            let (operation, class) =
                (std::sync::Arc::clone(&operation), std::sync::Arc::clone(&class));
            thread::spawn(move || {
                settle(&class, ticket, Outcome::Failure);
                class.reset();
                operation.rest_if_quiet();
            })
        };
        let calls = thread::spawn(move || {
            let then = operation.mode();
            if then.has_classes_awake() {
                return;
            }
            // Of one class the count is the generation; and none comes again.
            let generation = class.ticket_since(then).generation();
            let of_then = generation.as_u64() == then.changes();
            assert!(of_then || generation != class.word().generation());
        });
        [changes, calls].into_iter().for_each(|actor| actor.join().unwrap());
    });
}

/// Of circuits that are led.
#[cfg(any(feature = "redis", loom))]
mod led {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::breaker::hold::Wanted;
    use crate::breaker::remote::RemoteOpening;
    use crate::breaker::word::Generation;

    const FOR_LONG: Duration = Duration::from_nanos(1_000);

    /// Not one of loom's: it is only added to, and read when all have come to their end.
    #[derive(Default)]
    struct Told(AtomicU32);

    impl Wanted for Told {
        fn wanted(&self, _: &'static str) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Told {
        fn times(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// A led circuit whose opening ends at 100.
    fn open() -> (Arc<CircuitBreaker>, std::sync::Arc<Told>, Generation) {
        let (circuit, told) = (circuit(failing_at(1)), std::sync::Arc::<Told>::default());
        circuit.lead(std::sync::Arc::<Told>::clone(&told));
        let ticket = admit(&circuit).unwrap();
        settle(&circuit, ticket, Outcome::Failure);
        let generation = circuit.word().generation();
        (circuit, told, generation)
    }

    #[test]
    fn a_hold_racing_the_call_at_the_end_of_the_wait_comes_too_late_or_is_obeyed() {
        model("hold_unseen_under_the_lock", || {
            let (circuit, told, generation) = open();
            let holds = spawn(&circuit, 0, 100, move |c| c.hold(generation, FOR_LONG));
            let calls = [1, 2].map(|number| spawn(&circuit, number, 100, |c| admit(c).is_some()));
            let held = holds.join().unwrap();
            let admitted = calls.map(|call| call.join().unwrap());
            if held {
                assert_eq!(admitted, [false; 2]);
                assert_eq!((circuit.state(), changes(&circuit)), (CircuitState::Open, 1));
                assert_eq!(told.times(), 1);
            } else {
                assert!(admitted != [false; 2]);
                assert_eq!((circuit.state(), told.times()), (CircuitState::HalfOpen, 0));
            }
        });
    }

    #[test]
    fn a_release_racing_a_call_and_its_taking_back_gives_one_probe_or_none() {
        model("hold_unseen_under_the_lock", || {
            let (circuit, told, generation) = open();
            assert!(circuit.hold(generation, FOR_LONG));
            let leads = spawn(&circuit, 0, 100, move |c| {
                assert!(c.release(generation));
                c.hold(generation, FOR_LONG)
            });
            let call = spawn(&circuit, 1, 100, |c| admit(c).is_some());
            let (taken_back, admitted) = (leads.join().unwrap(), call.join().unwrap());
            assert!(taken_back != admitted);
            assert_eq!(admitted, circuit.state() == CircuitState::HalfOpen);
            assert_eq!(told.times(), u32::from(!admitted));
        });
    }

    #[test]
    fn the_first_call_that_is_turned_away_after_each_hold_is_told_of_once() {
        model("told_by_all", || {
            let (circuit, told, generation) = open();
            NOW.with(|now| now.set((100, 0)));
            assert!(circuit.hold(generation, FOR_LONG));
            assert!(admit(&circuit).is_none());
            let holds = spawn(&circuit, 0, 100, move |c| assert!(c.hold(generation, FOR_LONG)));
            let calls = [1, 2].map(|number| spawn(&circuit, number, 100, |c| admit(c).is_some()));
            holds.join().unwrap();
            assert_eq!(calls.map(|call| call.join().unwrap()), [false; 2]);
            assert!(admit(&circuit).is_none());
            assert_eq!(told.times(), 2);
        });
    }

    #[test]
    fn a_call_that_is_turned_away_names_the_opening_that_is_held() {
        model("hold_of_any_opening", || {
            let (circuit, _told, first) = open();
            let leads = spawn(&circuit, 0, 100, |c| {
                assert!(c.remote_close());
                let ticket = admit(c).unwrap();
                settle(c, ticket, Outcome::Failure);
                assert!(c.hold(c.word().generation(), FOR_LONG));
            });
            let call = spawn(&circuit, 1, 100, |c| c.admit(c.mode()).rejection());
            leads.join().unwrap();
            if let Some((opening, _)) = call.join().unwrap() {
                assert_ne!(opening.generation(), first.as_u64(), "which was over and not held");
            }
        });
    }

    #[test]
    fn an_end_that_moves_before_the_call_at_it_is_the_end() {
        model("end_unseen_under_the_lock", || {
            let (circuit, _told, _) = open();
            let moves = spawn(&circuit, 0, 100, |c| {
                let (left, wait) = (FOR_LONG, FOR_LONG);
                c.remote_open(RemoteOpening { left, wait, reopens: 0, text: None, hold: None })
            });
            let call = spawn(&circuit, 1, 100, |c| admit(c).is_some());
            assert!(moves.join().unwrap().is_some());
            // Moved, or opened anew after the call had made it half-open.
            let expected = if call.join().unwrap() { 3 } else { 1 };
            assert_eq!((circuit.state(), changes(&circuit)), (CircuitState::Open, expected));
            assert_eq!(circuit.standing().left, FOR_LONG);
        });
    }
}

#[test]
fn a_bucket_that_is_given_up_is_read_whole_or_not_at_all() {
    model("no_nobody", || {
        let cells = Arc::new(WindowCells::new());
        (0..3).for_each(|_| assert!(cells.add(5)));
        let writer = {
            let cells = Arc::clone(&cells);
            thread::spawn(move || assert!(cells.add(15)))
        };
        let reader = {
            let cells = Arc::clone(&cells);
            thread::spawn(move || cells.sum(5, 14))
        };
        writer.join().unwrap();
        let read = reader.join().unwrap();
        assert!(read == 0 || read == 3, "{read} of 3");
        assert_eq!(cells.sum(6, 15), 1);
    });
}
