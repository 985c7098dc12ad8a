//! B1 where threads meet: every outcome is counted once, figures at rest are those of some order,
//! and a decision sees everything that was recorded before it began.

use std::sync::Barrier;
use std::time::Duration;

use bindu_cb::{CircuitBreaker, CircuitBreakerSettings, CircuitState, Window};
use proptest::prelude::*;

/// What each thread reports, in its order; true is a failure.
fn outcomes() -> impl Strategy<Value = Vec<Vec<bool>>> {
    proptest::collection::vec(proptest::collection::vec(proptest::bool::weighted(0.3), 0..40), 2..4)
}

fn windows() -> impl Strategy<Value = Window> {
    prop_oneof![
        (1..30_u32).prop_map(Window::Calls),
        Just(Window::Calls(1_000)),
        // Longer than any run: nothing slides out.
        Just(Window::Time(Duration::from_hours(10))),
    ]
}

fn report(circuit: &CircuitBreaker, threads: &[Vec<bool>]) {
    let together = Barrier::new(threads.len());
    std::thread::scope(|scope| {
        for outcomes in threads {
            let together = &together;
            scope.spawn(move || {
                together.wait();
                for failed in outcomes {
                    let Ok(permit) = circuit.try_acquire() else { continue };
                    if *failed { permit.failure() } else { permit.success() }
                }
            });
        }
    });
}

fn ended(circuit: &CircuitBreaker) -> u64 {
    let calls = circuit.snapshot().calls;
    calls.success + calls.failure + calls.stale + calls.rejected
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn figures_at_rest_are_those_of_some_order(threads in outcomes(), window in windows()) {
        let total: usize = threads.iter().map(Vec::len).sum();
        let failures = threads.iter().flatten().filter(|failed| **failed).count() as u64;
        // More than there will be: nothing decides, so all that is counted is seen in the end.
        let settings = CircuitBreakerSettings::default().window(window).failure_rate(100);
        let settings = match window {
            // A full window of failures is the only thing that could open it; not with a success.
            Window::Calls(calls) => settings.minimum_calls(calls),
            _ => settings.minimum_calls(1_000),
        };
        let circuit = CircuitBreaker::new("concurrent", settings);
        report(&circuit, &threads);
        prop_assert_eq!(ended(&circuit), total as u64);
        if circuit.state() == CircuitState::Open {
            let Window::Calls(calls) = window else { panic!("a time window has opened") };
            prop_assert!(u64::from(calls) <= failures, "{calls} failures in a row of {failures}");
            return Ok(());
        }
        let figures = circuit.snapshot().window.expect("it has a window");
        let held = match window {
            Window::Calls(calls) => u64::from(calls).min(total as u64),
            _ => total as u64,
        };
        prop_assert_eq!(figures.calls, held);
        prop_assert!(figures.failures <= failures.min(held));
        // What slid out were other calls: no fewer failures than if it had all been failures.
        prop_assert!(figures.failures + (total as u64 - held) >= failures);
    }

    #[test]
    fn failures_in_a_row_on_several_threads_open_once_and_at_the_threshold(
        each in 1..20_usize,
        threshold in 1..30_u32,
    ) {
        let settings = CircuitBreakerSettings::default().failure_threshold(threshold);
        let circuit = CircuitBreaker::new("concurrent", settings);
        report(&circuit, &[vec![true; each], vec![true; each], vec![true; each]]);
        let (snapshot, total) = (circuit.snapshot(), 3 * each as u64);
        prop_assert_eq!(ended(&circuit), total);
        if total < u64::from(threshold) {
            prop_assert_eq!(snapshot.state, CircuitState::Closed);
            prop_assert_eq!(u64::from(snapshot.consecutive_failures), total);
        } else {
            prop_assert_eq!(snapshot.state, CircuitState::Open);
            prop_assert_eq!(snapshot.calls.failure, u64::from(threshold));
        }
    }

    #[test]
    fn a_decision_sees_what_was_recorded_before_it_began(
        successes in proptest::collection::vec(0..30_u32, 1..4),
        calls in 1..60_u32,
    ) {
        let settings = CircuitBreakerSettings::default()
            .window(Window::Calls(calls))
            .minimum_calls(1)
            .failure_rate(50);
        let circuit = CircuitBreaker::new("concurrent", settings);
        let all: Vec<_> = successes.iter().map(|n| vec![false; *n as usize]).collect();
        report(&circuit, &all);
        // All threads have ended: this failure must see every one of their successes.
        circuit.try_acquire().expect("nothing has failed").failure();
        let held = successes.iter().sum::<u32>().min(calls - 1) + 1;
        let opens = 100 >= 50 * held;
        prop_assert_eq!(circuit.state() == CircuitState::Open, opens);
    }
}
