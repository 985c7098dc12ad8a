//! The engine and the reference side by side: what is done to both, and what must be the same.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use bindu_cb::{
    CircuitBreaker, CircuitBreakerSettings, CircuitState, Count, Event, OnCancel, Permit, Settings,
    Window, registry,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tokio::time::{Instant, advance};

use crate::reference::{Call, Change, ComeBack, Counts, End, Heard, Nanos, Reference, nanos};

pub const OP: &str = "engine";

#[derive(Clone, Debug)]
pub enum Step {
    Start,
    End(usize, End),
    /// A call that begins and ends at once, so many times.
    Calls(End, u8),
    Wait(Duration),
    /// Until the opening or the first probe's time is up, or so much earlier.
    WaitUntilDue(Duration),
    ByHand(CircuitState),
    /// This part of these settings; the others stay as they are.
    Configure(Part, CircuitBreakerSettings),
}

#[derive(Clone, Copy, Debug)]
pub enum Part {
    Everything,
    Window,
    SlowCall,
    Limits,
    Permits,
    ProbeTimeout,
    Recovery,
    DryRun,
    Switches,
}

pub fn settings() -> impl Strategy<Value = CircuitBreakerSettings> {
    let window = prop_oneof![
        Just(None),
        (1..20_u32).prop_map(|calls| Some(Window::Calls(calls))),
        Just(Some(Window::Calls(100))),
        (10..200_u64).prop_map(|ms| Some(Window::Time(Duration::from_millis(ms)))),
    ];
    let counting = (window, 1..5_u32, 1..=100_u32, 1..=100_u32, proptest::option::of(1..12_u32));
    let probing = (1..4_u32, proptest::option::of(1..4_u32), 1..100_u64, 1..4_u32);
    let jitter = prop_oneof![2 => Just(0.0), 1 => 0.0..=1.0];
    let recovery = prop_oneof![1 => Just(0), 9 => 1..100_u64];
    let waiting = (recovery, 10..30_u32, 0..400_u64, jitter, proptest::option::of(1..50_u64));
    let on = proptest::bool::weighted;
    let switches = (on(0.9), on(0.2), on(0.4), on(0.3));
    (counting, probing, waiting, switches).prop_map(|(counting, probing, waiting, switches)| {
        let (window, failures, rate, slow_rate, minimum) = counting;
        let (successes, permits, probe_ms, probe_attempts) = probing;
        let (recovery_ms, tenths, longest_ms, jitter, slow_ms) = waiting;
        let (enabled, dry_run, per_attempt, cancel_fails) = switches;
        let mut settings = CircuitBreakerSettings::default()
            .enabled(enabled)
            .dry_run(dry_run)
            .count(if per_attempt { Count::Attempt } else { Count::Call })
            .on_cancel(if cancel_fails { OnCancel::Failure } else { OnCancel::Ignore })
            .failure_threshold(failures)
            .failure_rate(rate)
            .slow_call_rate(slow_rate)
            .success_threshold(successes)
            // Even, as the waits of the loops are: see `loops`.
            .probe_timeout(Duration::from_millis(2 * probe_ms))
            .probe_attempts(probe_attempts)
            .recovery_timeout(Duration::from_millis(recovery_ms))
            .recovery_multiplier(f64::from(tenths) / 10.0)
            .recovery_jitter(jitter)
            .max_recovery_timeout(Duration::from_millis(longest_ms.max(recovery_ms)));
        settings.window = window;
        settings.half_open_permits = permits;
        settings.slow_call = slow_ms.map(Duration::from_millis);
        settings.minimum_calls = minimum;
        within_window(settings)
    })
}

/// More calls than the window holds are no minimum.
fn within_window(mut settings: CircuitBreakerSettings) -> CircuitBreakerSettings {
    if let Some(Window::Calls(calls)) = settings.window {
        settings.minimum_calls = settings.minimum_calls.map(|minimum| minimum.min(calls));
    }
    settings
}

fn adopt(
    part: Part,
    of: CircuitBreakerSettings,
    mut settings: CircuitBreakerSettings,
) -> CircuitBreakerSettings {
    match part {
        Part::Everything => settings = of,
        Part::Window => settings.window = of.window,
        Part::SlowCall => settings.slow_call = of.slow_call,
        Part::Limits => {
            settings.failure_threshold = of.failure_threshold;
            settings.success_threshold = of.success_threshold;
            settings.failure_rate = of.failure_rate;
            settings.slow_call_rate = of.slow_call_rate;
            settings.minimum_calls = of.minimum_calls;
        }
        Part::Permits => settings.half_open_permits = of.half_open_permits,
        Part::ProbeTimeout => settings.probe_timeout = of.probe_timeout,
        Part::Recovery => {
            settings.recovery_timeout = of.recovery_timeout;
            settings.recovery_multiplier = of.recovery_multiplier;
            settings.recovery_jitter = of.recovery_jitter;
            settings.max_recovery_timeout = of.max_recovery_timeout;
        }
        Part::DryRun => settings.dry_run = !settings.dry_run,
        Part::Switches => {
            settings.enabled = of.enabled;
            settings.count = of.count;
            settings.on_cancel = of.on_cancel;
            settings.probe_attempts = of.probe_attempts;
        }
    }
    within_window(settings)
}

pub fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        8 => Just(End::Success),
        8 => Just(End::Failure),
        2 => Just(End::Ignored),
        2 => Just(End::Dropped),
        1 => Just(End::Panicked),
    ]
}

pub fn by_hand() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(CircuitState::Closed),
        Just(CircuitState::ForcedOpen),
        Just(CircuitState::ForcedClosed),
    ]
    .prop_map(Step::ByHand)
}

pub fn configure() -> impl Strategy<Value = Step> {
    let part = prop_oneof![
        1 => Just(Part::Everything),
        1 => Just(Part::Window),
        1 => Just(Part::SlowCall),
        1 => Just(Part::Limits),
        1 => Just(Part::Permits),
        1 => Just(Part::ProbeTimeout),
        1 => Just(Part::Recovery),
        2 => Just(Part::DryRun),
        1 => Just(Part::Switches),
    ];
    (part, settings()).prop_map(|(part, settings)| Step::Configure(part, settings))
}

/// The settings as those of the operation in the registry.
pub fn install(settings: &CircuitBreakerSettings) {
    let mut all = Settings::default();
    let overrides = all.operation(OP);
    overrides
        .enabled(settings.enabled)
        .dry_run(settings.dry_run)
        .count(settings.count)
        .on_cancel(settings.on_cancel)
        .failure_threshold(settings.failure_threshold)
        .failure_rate(settings.failure_rate)
        .slow_call_rate(settings.slow_call_rate)
        .success_threshold(settings.success_threshold)
        .probe_timeout(settings.probe_timeout)
        .probe_attempts(settings.probe_attempts)
        .recovery_timeout(settings.recovery_timeout)
        .recovery_multiplier(settings.recovery_multiplier)
        .recovery_jitter(settings.recovery_jitter)
        .max_recovery_timeout(settings.max_recovery_timeout);
    overrides.window = settings.window;
    overrides.half_open_permits = settings.half_open_permits;
    overrides.slow_call = settings.slow_call;
    overrides.minimum_calls = settings.minimum_calls;
    registry().configure(all);
}

pub struct Pair<'a> {
    circuit: &'a CircuitBreaker,
    pub reference: Reference,
    running: Vec<(Permit<'a>, Call)>,
    heard: Heard,
    epoch: Instant,
}

impl<'a> Pair<'a> {
    /// The circuit is new, and its settings are these.
    pub fn new(circuit: &'a CircuitBreaker, settings: CircuitBreakerSettings) -> Self {
        let heard = Heard::default();
        let listener = Arc::clone(&heard);
        registry().subscribe(move |event: &Event| listener.lock().unwrap().push(event.clone()));
        Self {
            circuit,
            reference: Reference::new(settings, Arc::clone(&heard)),
            running: Vec::new(),
            heard,
            epoch: Instant::now(),
        }
    }

    pub fn now(&self) -> Nanos {
        nanos(self.epoch.elapsed())
    }

    pub async fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
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
            Step::WaitUntilDue(earlier) => {
                let wait = Duration::from_nanos(self.reference.due(now).unwrap_or(now) - now);
                advance(wait.saturating_sub(earlier)).await;
            }
            Step::ByHand(state) => {
                match state {
                    CircuitState::ForcedOpen => self.circuit.force_open(),
                    CircuitState::ForcedClosed => self.circuit.force_closed(),
                    _ => self.circuit.reset(),
                }
                self.reference.by_hand(state, now);
            }
            Step::Configure(part, settings) => {
                let settings = adopt(part, settings, self.reference.settings.clone());
                install(&settings);
                self.reference.configure(settings, now);
            }
        }
        self.compare()
    }

    fn start(&mut self) -> Result<(), TestCaseError> {
        let now = self.now();
        let dry_run = self.reference.settings.dry_run;
        match (self.circuit.try_acquire(), self.reference.admit(now, dry_run)) {
            (Ok(permit), Ok(call)) => self.running.push((permit, call)),
            (Err(open), Err(come_back)) => {
                let told = nanos(open.retry_after());
                let is_right = match come_back {
                    // Up to a tenth later: not all are to come back at once.
                    ComeBack::In(left) => (left..=left + left / 10).contains(&told),
                    ComeBack::Within(left) => told <= left + left / 10,
                    ComeBack::Whenever => true,
                };
                prop_assert!(is_right, "told {told}, by the rules {come_back:?}");
            }
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
            End::Panicked => {
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    let _permit = permit;
                    // Without the hook, which would print it.
                    resume_unwind(Box::new("out of luck"));
                }));
                assert!(panicked.is_err());
            }
        }
        self.reference.end(call, end, self.now());
    }

    pub fn compare(&mut self) -> Result<(), TestCaseError> {
        let now = self.now();
        let snapshot = self.circuit.snapshot();
        let reference = &mut self.reference;
        prop_assert_eq!(snapshot.state, reference.state);
        prop_assert_eq!(nanos(snapshot.in_state_for), now - reference.since);
        prop_assert_eq!(snapshot.reopens, reference.reopens.min(255).unsigned_abs());
        let calls = snapshot.calls;
        prop_assert_eq!(
            reference.counts,
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
        prop_assert_eq!(row, reference.row);
        let left = (snapshot.state == CircuitState::Open)
            .then(|| reference.open_until.saturating_sub(now));
        prop_assert_eq!(snapshot.half_open_in.map(nanos), left);
        prop_assert_eq!(reference.wrong_wait, None);
        if snapshot.state == CircuitState::Closed {
            let figures = snapshot.window.map(|w| (w.calls, w.failures, w.slow));
            prop_assert_eq!(figures, reference.figures(now));
        }
        let heard = std::mem::take(&mut *self.heard.lock().unwrap());
        let heard: Vec<_> = heard
            .iter()
            .map(|&Event { from, to, cause, failures, .. }| Change { from, to, cause, failures })
            .collect();
        prop_assert_eq!(heard, std::mem::take(&mut reference.changes));
        Ok(())
    }
}
