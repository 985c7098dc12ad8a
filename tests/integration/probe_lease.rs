//! B3: a permit that is not returned within `probe_timeout` is taken back.

use std::future::pending;
use std::mem;
use std::time::Duration;

use bindu_cb::testing::isolate;
use bindu_cb::{
    CircuitBreaker, CircuitBreakerSettings, CircuitState, Permit, get_circuit_breaker,
    retry_with_breaker,
};
use proptest::prelude::*;
use tokio::time::advance;

use crate::support::{Failure, circuit, millis, secs, trip_and_wait};

#[retry_with_breaker(op = "hung", probe_timeout = "20s")]
async fn hung() -> Result<(), Failure> {
    pending().await
}

/// A circuit of which the next call will be a probe, one of at most `permits`.
async fn before_probes(permits: u32) -> CircuitBreaker {
    let settings = CircuitBreakerSettings::default()
        .failure_threshold(1)
        .half_open_permits(permits)
        .probe_timeout(secs(60));
    let circuit = CircuitBreaker::new("test", settings);
    trip_and_wait(&circuit).await;
    circuit
}

/// How many calls are let through at this moment, and keep their permits.
fn admitted(circuit: &CircuitBreaker) -> Vec<Permit<'_>> {
    std::iter::from_fn(|| circuit.try_acquire().ok()).take(1_000).collect()
}

#[tokio::test(start_paused = true)]
async fn a_hung_probe_holds_its_permit_for_probe_timeout_and_not_longer() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("hung");
    // The attribute's setting is the circuit's once the function has been called.
    let registers = tokio::spawn(hung());
    tokio::task::yield_now().await;
    registers.abort();
    assert!(registers.await.is_err());
    trip_and_wait(&circuit).await;

    let probe = tokio::spawn(hung());
    tokio::task::yield_now().await;
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    advance(millis(19_999)).await;
    assert!(circuit.try_acquire().is_err());
    advance(millis(1)).await;
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed);
    probe.abort();
    assert!(probe.await.is_err());
    let calls = circuit.snapshot().calls;
    assert_eq!((calls.cancelled, calls.stale), (1, 1), "first the registering one, then the probe");
}

#[tokio::test(start_paused = true)]
async fn a_leaked_probe_does_not_hold_the_circuit() {
    let circuit = before_probes(1).await;
    mem::forget(circuit.try_acquire().unwrap());
    advance(secs(60)).await;
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_leaked_future_does_not_hold_the_circuit() {
    let circuit = before_probes(1).await;
    let mut call = Box::pin(circuit.call(pending::<Result<(), Failure>>));
    std::future::poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    mem::forget(call);
    assert!(circuit.try_acquire().is_err());
    advance(secs(60)).await;
    assert!(circuit.try_acquire().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_gives_its_permit_back_at_once() {
    let circuit = before_probes(1).await;
    drop(circuit.try_acquire().unwrap());
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_in_the_last_nanosecond_counts() {
    let circuit = before_probes(1).await;
    let probe = circuit.try_acquire().unwrap();
    advance(secs(60).saturating_sub(Duration::from_nanos(1))).await;
    probe.success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

const ENDINGS: [fn(Permit<'_>); 4] = [
    |permit| permit.success(),
    |permit| permit.failure(),
    |permit| permit.ignore(),
    |permit| {
        drop(permit);
    },
];

#[tokio::test(start_paused = true)]
async fn a_late_outcome_is_stale_though_nobody_wanted_the_permit() {
    for end in ENDINGS {
        let circuit = before_probes(1).await;
        let probe = circuit.try_acquire().unwrap();
        advance(secs(60)).await;
        let before = circuit.snapshot().calls;
        end(probe);
        let after = circuit.snapshot();
        assert_eq!((after.state, after.probe_successes), (CircuitState::HalfOpen, 0));
        assert_eq!(after.calls.stale, before.stale + 1);
        assert_eq!((after.calls.success, after.calls.failure), (before.success, before.failure));
        assert_eq!(admitted(&circuit).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_outcome_is_stale_and_frees_nothing_once_another_has_the_permit() {
    for end in ENDINGS {
        let circuit = before_probes(1).await;
        let late = circuit.try_acquire().unwrap();
        advance(secs(60)).await;
        let probe = circuit.try_acquire().unwrap();
        end(late);
        assert_eq!(circuit.snapshot().calls.stale, 1);
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
        assert!(circuit.try_acquire().is_err());
        probe.success();
        assert_eq!(circuit.state(), CircuitState::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn each_permit_has_a_time_limit_of_its_own() {
    let circuit = before_probes(2).await;
    let _first = circuit.try_acquire().unwrap();
    advance(secs(40)).await;
    let second = circuit.try_acquire().unwrap();
    advance(secs(20)).await;
    let _third = circuit.try_acquire().unwrap();
    assert!(circuit.try_acquire().is_err(), "the second is 20 s old");
    second.success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_lost_probe_decides_nothing_by_itself() {
    let circuit = circuit(1);
    trip_and_wait(&circuit).await;
    mem::forget(circuit.try_acquire().unwrap());
    advance(secs(3_600)).await;
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    circuit.try_acquire().unwrap().failure();
    assert_eq!(circuit.snapshot().reopens, 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_all_permits_taken_hears_when_to_come_back() {
    let circuit = before_probes(1).await;
    let _probe = circuit.try_acquire().unwrap();
    advance(secs(50)).await;
    let retry_after = circuit.try_acquire().unwrap_err().retry_after();
    assert!(!retry_after.is_zero() && retry_after <= secs(11), "{retry_after:?}");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Acquire,
    /// Of the permits that are out, and are not leaked, one ends without deciding anything.
    Return(usize),
    Leak(usize),
    Advance(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Acquire),
        2 => any::<usize>().prop_map(Step::Return),
        1 => any::<usize>().prop_map(Step::Leak),
        2 => (0..61_u64).prop_map(Step::Advance),
    ];
    proptest::collection::vec(step, 1..100)
}

proptest! {
    /// Never more probes than there are permits, and never fewer.
    #[test]
    fn permits_are_had_exactly_while_fewer_are_out_than_configured(
        permits in 1..6_u32,
        steps in steps(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let circuit = before_probes(permits).await;
            let mut now = 0;
            // The ends of the leases that are out, each with its permit unless that has leaked.
            let mut out: Vec<(u64, Option<Permit<'_>>)> = Vec::new();
            for step in steps {
                match step {
                    Step::Acquire => {
                        let running = out.iter().filter(|(end, _)| now < *end).count();
                        let free = running < permits as usize;
                        let permit = circuit.try_acquire();
                        prop_assert_eq!(permit.is_ok(), free);
                        out.extend(permit.ok().map(|permit| (now + 60, Some(permit))));
                    }
                    Step::Return(n) if !out.is_empty() => {
                        let n = n % out.len();
                        if let Some(permit) = out[n].1.take() {
                            permit.ignore();
                            out.remove(n);
                        }
                    }
                    Step::Leak(n) if !out.is_empty() => {
                        let n = n % out.len();
                        mem::forget(out[n].1.take());
                    }
                    Step::Return(_) | Step::Leak(_) => {}
                    Step::Advance(seconds) => {
                        advance(secs(seconds)).await;
                        now += seconds;
                    }
                }
            }
            Ok(())
        })?;
    }
}
