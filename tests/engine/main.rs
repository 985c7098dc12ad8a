//! The engine against the rules of section 7 written plainly, over random histories.
//!
//! `BINDU_CB_TEST_HISTORIES` sets how many; the default is what every run can afford.

mod concurrent;
mod reference;

use std::time::Duration;

use bindu_cb::testing::isolate;
use bindu_cb::{
    CircuitBreaker, CircuitBreakerSettings, CircuitState, Overrides, Permit, Settings, Window,
    get_circuit_breaker, registry,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use reference::{Call, Counts, End, Reference};
use tokio::time::{Instant, advance};

const OP: &str = "engine";

#[derive(Clone, Debug)]
enum Step {
    Start,
    End(usize, End),
    /// A call that begins and ends at once, so many times.
    Calls(End, u8),
    Wait(Duration),
    ByHand(CircuitState),
    Configure(CircuitBreakerSettings),
}

fn settings() -> impl Strategy<Value = CircuitBreakerSettings> {
    let window = prop_oneof![
        Just(None),
        (1..20_u32).prop_map(|calls| Some(Window::Calls(calls))),
        Just(Some(Window::Calls(100))),
        (10..200_u64).prop_map(|ms| Some(Window::Time(Duration::from_millis(ms)))),
    ];
    let counting = (window, 1..5_u32, 1..=100_u32, 1..=100_u32, proptest::option::of(1..12_u32));
    let probing = (1..4_u32, proptest::option::of(1..4_u32), 1..200_u64);
    let waiting = (0..100_u64, 10..30_u32, 0..400_u64, proptest::option::of(1..50_u64));
    (counting, probing, waiting).prop_map(|(counting, probing, waiting)| {
        let (window, failures, rate, slow_rate, minimum) = counting;
        let (successes, permits, probe_ms) = probing;
        let (recovery_ms, tenths, longest_ms, slow_ms) = waiting;
        let mut settings = CircuitBreakerSettings::default()
            .failure_threshold(failures)
            .failure_rate(rate)
            .slow_call_rate(slow_rate)
            .success_threshold(successes)
            .probe_timeout(Duration::from_millis(probe_ms))
            .recovery_timeout(Duration::from_millis(recovery_ms))
            .recovery_multiplier(f64::from(tenths) / 10.0)
            .max_recovery_timeout(Duration::from_millis(longest_ms.max(recovery_ms)));
        settings.window = window;
        settings.half_open_permits = permits;
        settings.slow_call = window.and(slow_ms).map(Duration::from_millis);
        settings.minimum_calls = match window {
            Some(Window::Calls(calls)) => minimum.map(|minimum| minimum.min(calls)),
            _ => minimum,
        };
        settings
    })
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        4 => Just(End::Success),
        4 => Just(End::Failure),
        1 => Just(End::Ignored),
        1 => Just(End::Dropped),
    ];
    let by_hand = prop_oneof![
        Just(CircuitState::Closed),
        Just(CircuitState::ForcedOpen),
        Just(CircuitState::ForcedClosed),
    ];
    let wait = prop_oneof![
        (0..3_000_000_u64).prop_map(Duration::from_nanos),
        (1..60_u64).prop_map(Duration::from_millis),
        (60..500_u64).prop_map(Duration::from_millis),
    ];
    prop_oneof![
        20 => Just(Step::Start),
        20 => (any::<usize>(), end.clone()).prop_map(|(which, end)| Step::End(which, end)),
        20 => (end, 1..30_u8).prop_map(|(end, times)| Step::Calls(end, times)),
        20 => wait.prop_map(Step::Wait),
        1 => by_hand.prop_map(Step::ByHand),
        2 => settings().prop_map(Step::Configure),
    ]
}

/// The settings as those of the operation in the registry.
fn install(settings: &CircuitBreakerSettings) {
    let mut all = Settings::default();
    let overrides: &mut Overrides = all.operation(OP);
    overrides
        .failure_threshold(settings.failure_threshold)
        .failure_rate(settings.failure_rate)
        .slow_call_rate(settings.slow_call_rate)
        .success_threshold(settings.success_threshold)
        .probe_timeout(settings.probe_timeout)
        .recovery_timeout(settings.recovery_timeout)
        .recovery_multiplier(settings.recovery_multiplier)
        .max_recovery_timeout(settings.max_recovery_timeout);
    overrides.window = settings.window;
    overrides.half_open_permits = settings.half_open_permits;
    overrides.slow_call = settings.slow_call;
    overrides.minimum_calls = settings.minimum_calls;
    registry().configure(all);
}

struct Pair<'a> {
    circuit: &'a CircuitBreaker,
    reference: Reference,
    running: Vec<(Permit<'a>, Call)>,
    epoch: Instant,
}

impl<'a> Pair<'a> {
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap()
    }

    async fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        let now = self.now();
        match step {
            Step::Start => self.start()?,
            Step::End(which, end) if !self.running.is_empty() => {
                let (permit, call) = self.running.swap_remove(which % self.running.len());
                self.end(permit, call, end);
            }
            Step::End(..) => {}
            Step::Calls(end, times) => {
                for _ in 0..times {
                    let before = self.running.len();
                    self.start()?;
                    if self.running.len() > before
                        && let Some((permit, call)) = self.running.pop()
                    {
                        self.end(permit, call, end);
                    }
                    self.compare()?;
                }
            }
            Step::Wait(wait) => advance(wait).await,
            Step::ByHand(state) => {
                match state {
                    CircuitState::ForcedOpen => self.circuit.force_open(),
                    CircuitState::ForcedClosed => self.circuit.force_closed(),
                    _ => self.circuit.reset(),
                }
                self.reference.by_hand(state, now);
            }
            Step::Configure(settings) => {
                install(&settings);
                self.reference.configure(settings, now);
            }
        }
        self.compare()
    }

    fn start(&mut self) -> Result<(), TestCaseError> {
        let now = self.now();
        match (self.circuit.try_acquire(), self.reference.admit(now)) {
            (Ok(permit), Some(call)) => self.running.push((permit, call)),
            (Err(_), None) => {}
            (permit, call) => {
                prop_assert!(false, "admitted {:?}, by the rules {call:?}", permit.is_ok());
            }
        }
        Ok(())
    }

    fn end(&mut self, permit: Permit<'a>, call: Call, end: End) {
        match end {
            End::Success => permit.success(),
            End::Failure => permit.failure(),
            End::Ignored => permit.ignore(),
            End::Dropped => drop(permit),
        }
        self.reference.end(call, end, self.now());
    }

    fn compare(&mut self) -> Result<(), TestCaseError> {
        let now = self.now();
        let snapshot = self.circuit.snapshot();
        prop_assert_eq!(snapshot.state, self.reference.state);
        let calls = snapshot.calls;
        prop_assert_eq!(
            self.reference.counts,
            Counts {
                success: calls.success,
                failure: calls.failure,
                ignored: calls.ignored,
                cancelled: calls.cancelled,
                rejected: calls.rejected,
                stale: calls.stale,
            }
        );
        let row = match snapshot.state {
            CircuitState::HalfOpen => snapshot.probe_successes,
            _ => snapshot.consecutive_failures,
        };
        prop_assert_eq!(row, self.reference.row());
        if snapshot.state == CircuitState::Closed {
            let figures = snapshot.window.map(|w| (w.calls, w.failures, w.slow));
            prop_assert_eq!(figures, self.reference.figures(now));
        }
        Ok(())
    }
}

fn histories() -> u32 {
    let wanted = std::env::var("BINDU_CB_TEST_HISTORIES").ok();
    wanted.map_or(20_000, |wanted| wanted.parse().expect("BINDU_CB_TEST_HISTORIES is a number"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: histories(), ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_rules_say_at_every_step(
        settings in settings(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime with nothing but a clock");
        runtime.block_on(async {
            let _cb = isolate();
            install(&settings);
            let circuit = get_circuit_breaker(OP);
            let mut pair = Pair {
                circuit: &circuit,
                reference: Reference::new(settings),
                running: Vec::new(),
                epoch: Instant::now(),
            };
            for step in steps {
                pair.take(step).await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}
