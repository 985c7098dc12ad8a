//! Section 8 written plainly, and histories of whole calls: attempts that fail and wait, while
//! others trip the circuit, take its permits, change its settings or drop the call.
//!
//! What a call does by itself happens at even milliseconds, what is done meanwhile at odd ones: so
//! it never matters who comes first at one moment.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use bindu_cb::testing::isolate;
use bindu_cb::{
    CallError, CircuitBreakerSettings, Count, Operation, RetrySettings, Verdict,
    get_circuit_breaker,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tokio::time::{Instant, advance, sleep, sleep_until};

use crate::pair::{OP, Pair, Step, by_hand, configure, end, install, settings};
use crate::reference::{Call, End, Nanos, Reference, nanos};
use crate::{histories, play};

const TICK: Duration = Duration::from_millis(2);

/// What an attempt returns: a value, which may be a failure, or an error of that verdict.
type Answer = Result<bool, Verdict>;

#[derive(Clone, Copy, Debug)]
struct Attempt {
    answer: Answer,
    takes: Duration,
}

/// A call: what its attempts do, and what is done between, at so many milliseconds.
#[derive(Clone, Debug)]
struct Script {
    attempts: Vec<Attempt>,
    meanwhile: BTreeMap<u64, Meanwhile>,
}

#[derive(Clone, Debug)]
enum Meanwhile {
    /// All at one moment: the call hears of them together.
    Steps(Vec<Step>),
    DropTheCall,
}

#[derive(Clone, Debug)]
enum Item {
    Call(Script),
    Step(Step),
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Returned(Answer),
    TimedOut,
    Open,
    Dropped,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Begins { at: Nanos },
    Attempt { ends: Nanos },
    Wait { since: Nanos, ends: Nanos },
    Over(Outcome, Nanos),
}

/// One call by the rules. It is told the time, and does all that is due by then.
struct Loop<'a> {
    retry: &'a RetrySettings,
    attempts: &'a [Attempt],
    /// B11: those of the moment when the call began, for `enabled`, `dry_run` and `count`.
    switches: CircuitBreakerSettings,
    began: Nanos,
    phase: Phase,
    made: usize,
    /// Waits that the schedule has given.
    scheduled: i32,
    failed: bool,
    permit: Option<Call>,
    last_permit: Option<Call>,
}

impl<'a> Loop<'a> {
    fn new(circuit: &Reference, retry: &'a RetrySettings, script: &'a Script, now: Nanos) -> Self {
        Self {
            retry,
            attempts: &script.attempts,
            switches: circuit.settings.clone(),
            began: now,
            phase: Phase::Begins { at: now },
            made: 0,
            scheduled: 0,
            failed: false,
            permit: None,
            last_permit: None,
        }
    }

    fn run(&mut self, circuit: &mut Reference, now: Nanos) {
        loop {
            match self.phase {
                Phase::Begins { at } => {
                    self.ask(circuit, at);
                }
                Phase::Attempt { ends } if ends <= now => self.attempt_ends(circuit, ends),
                Phase::Wait { since, ends } => {
                    if let Some(at) = self.stops(circuit, since, now.min(ends)) {
                        self.stop(circuit, at);
                    } else if ends > now {
                        return;
                    } else if self.per_attempt() {
                        self.ask(circuit, ends);
                    } else {
                        self.attempt_begins(ends);
                    }
                }
                Phase::Attempt { .. } | Phase::Over(..) => return,
            }
        }
    }

    /// L1: before the first attempt or, where attempts are counted, before each.
    fn ask(&mut self, circuit: &mut Reference, at: Nanos) {
        if self.switches.enabled {
            match circuit.admit(at, self.switches.dry_run) {
                Ok(call) => (self.permit, self.last_permit) = (Some(call), Some(call)),
                Err(_) => return self.phase = Phase::Over(Outcome::Open, at),
            }
        }
        self.attempt_begins(at);
    }

    fn per_attempt(&self) -> bool {
        self.switches.count == Count::Attempt
    }

    fn time_limit(&self) -> Nanos {
        self.retry.timeout.map_or(Nanos::MAX, nanos)
    }

    fn attempt_begins(&mut self, at: Nanos) {
        let takes = nanos(self.attempts[self.made].takes).min(self.time_limit());
        self.made += 1;
        self.phase = Phase::Attempt { ends: at + takes };
    }

    fn attempt_ends(&mut self, circuit: &mut Reference, at: Nanos) {
        let Attempt { answer, takes } = self.attempts[self.made - 1];
        let timed_out = nanos(takes) > self.time_limit();
        let verdict = match answer {
            _ if timed_out => Verdict::Transient,
            answer => verdict(&answer),
        };
        let end = match verdict {
            Verdict::Transient | Verdict::Throttled(_) => End::Failure,
            Verdict::Ignored => End::Ignored,
            _ => End::Success,
        };
        self.failed |= end == End::Failure;
        let wait = self.next_wait(circuit, verdict, at);
        if wait.is_none() || self.per_attempt() {
            self.tell(circuit, end, at);
        }
        self.phase = match wait {
            Some(wait) => Phase::Wait { since: at, ends: at + wait },
            None if timed_out => Phase::Over(Outcome::TimedOut, at),
            None => Phase::Over(Outcome::Returned(answer), at),
        };
        // What this failure has tripped is no news to wait for.
        if let Some(wait) = wait
            && let Some(at) = self.stops(circuit, at, at.min(at + wait))
        {
            self.stop(circuit, at);
        }
    }

    /// L1 to L3: how long until the next attempt, if there is one.
    fn next_wait(&mut self, circuit: &Reference, verdict: Verdict, at: Nanos) -> Option<Nanos> {
        let is_probe = self.permit.is_some_and(|call| call.is_probe()) && !self.switches.dry_run;
        let most = self.retry.attempts;
        let most = if is_probe { most.min(circuit.settings.probe_attempts) } else { most };
        if self.made >= most as usize {
            return None;
        }
        let wait = match verdict {
            Verdict::Transient => {
                let interval =
                    self.retry.min_wait.mul_f64(self.retry.multiplier.powi(self.scheduled));
                self.scheduled += 1;
                interval.min(self.retry.max_wait)
            }
            Verdict::Throttled(wait) if wait <= self.retry.max_wait => wait,
            _ => return None,
        };
        let end = at - self.began + nanos(wait);
        let in_time = self.retry.deadline.is_none_or(|deadline| end <= nanos(deadline));
        in_time.then_some(nanos(wait))
    }

    fn stops(&self, circuit: &Reference, since: Nanos, now: Nanos) -> Option<Nanos> {
        let last = self.last_permit.filter(|_| !self.switches.dry_run)?;
        circuit.stops(self.permit.as_ref(), &last, since, now)
    }

    /// L2: the call ends here, and its outcome is a stale one.
    fn stop(&mut self, circuit: &mut Reference, at: Nanos) {
        self.tell(circuit, End::Failure, at);
        self.phase = Phase::Over(Outcome::Open, at);
    }

    fn tell(&mut self, circuit: &mut Reference, end: End, at: Nanos) {
        if let Some(call) = self.permit.take() {
            circuit.end(call, end, at);
        }
    }

    /// B6.
    fn dropped(&mut self, circuit: &mut Reference, at: Nanos) {
        let end = if self.failed && !self.per_attempt() { End::Failure } else { End::Dropped };
        self.tell(circuit, end, at);
        self.phase = Phase::Over(Outcome::Dropped, at);
    }
}

fn verdict(answer: &Answer) -> Verdict {
    match answer {
        Ok(true) => Verdict::Success,
        Ok(false) => Verdict::Transient,
        Err(verdict) => *verdict,
    }
}

/// Plays the call on both sides.
async fn call(
    pair: &mut Pair<'_>,
    operation: &Operation,
    retry: &RetrySettings,
    script: &Script,
) -> Result<(), TestCaseError> {
    if !pair.now().is_multiple_of(nanos(TICK)) {
        advance(TICK / 2).await;
    }
    let began = Instant::now();
    let mut by_the_rules = Loop::new(&pair.reference, retry, script, pair.now());
    let made = Cell::new(0);
    let attempt = || {
        let Attempt { answer, takes } = script.attempts[made.get()];
        made.set(made.get() + 1);
        async move {
            if !takes.is_zero() {
                sleep(takes).await;
            }
            answer
        }
    };
    let mut call = Box::pin(operation.call_with(attempt, verdict));
    let mut meanwhile = script.meanwhile.iter();
    let result = loop {
        let Some((ms, what)) = meanwhile.next() else { break Some(call.await) };
        tokio::select! {
            biased;
            result = &mut call => break Some(result),
            () = sleep_until(began + Duration::from_millis(*ms)) => {}
        }
        let now = pair.now();
        by_the_rules.run(&mut pair.reference, now);
        prop_assert_eq!(made.get(), by_the_rules.made);
        match what {
            Meanwhile::DropTheCall => {
                drop(call);
                by_the_rules.dropped(&mut pair.reference, now);
                break None;
            }
            Meanwhile::Steps(steps) => {
                for step in steps {
                    pair.take(step.clone()).await?;
                }
            }
        }
        by_the_rules.run(&mut pair.reference, now);
    };
    let now = pair.now();
    by_the_rules.run(&mut pair.reference, now);
    let outcome = match result {
        Some(Ok(value)) => Outcome::Returned(Ok(value)),
        Some(Err(CallError::Inner(verdict))) => Outcome::Returned(Err(verdict)),
        Some(Err(CallError::Timeout(_))) => Outcome::TimedOut,
        Some(Err(CallError::Open(_))) => Outcome::Open,
        None => Outcome::Dropped,
    };
    prop_assert!(
        matches!(by_the_rules.phase, Phase::Over(expected, at) if expected == outcome && at == now),
        "{outcome:?} at {now}, by the rules {:?}",
        by_the_rules.phase
    );
    prop_assert_eq!(made.get(), by_the_rules.made);
    pair.compare()
}

fn ticks(range: std::ops::Range<u32>) -> impl Strategy<Value = Duration> {
    range.prop_map(|ticks| TICK * ticks)
}

const MOST_ATTEMPTS: u32 = 5;

fn retry() -> impl Strategy<Value = RetrySettings> {
    let waits = (ticks(0..8), ticks(0..20), prop_oneof![Just(1.0), Just(2.0)]);
    let limits = (proptest::option::of(ticks(0..40)), proptest::option::of(ticks(1..8)));
    (1..=MOST_ATTEMPTS, waits, limits).prop_map(|(attempts, waits, (deadline, timeout))| {
        let (min_wait, more, multiplier) = waits;
        let mut settings = RetrySettings::default()
            .attempts(attempts)
            .min_wait(min_wait)
            .max_wait(min_wait + more)
            .multiplier(multiplier)
            .jitter(0.0);
        settings.deadline = deadline;
        settings.timeout = timeout;
        settings
    })
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let answer = prop_oneof![
        3 => Just(Ok(true)),
        1 => Just(Ok(false)),
        5 => Just(Err(Verdict::Transient)),
        2 => ticks(0..25).prop_map(|wait| Err(Verdict::Throttled(wait))),
        1 => Just(Err(Verdict::Permanent)),
        1 => Just(Err(Verdict::Ignored)),
    ];
    (answer, ticks(0..10)).prop_map(|(answer, takes)| Attempt { answer, takes })
}

/// What takes no time.
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Start),
        8 => (any::<usize>(), end()).prop_map(|(which, end)| Step::End(which, end)),
        8 => (end(), 1..8_u8).prop_map(|(end, times)| Step::Calls(end, times)),
        3 => by_hand(),
        4 => configure(),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let meanwhile = prop_oneof![
        9 => proptest::collection::vec(step(), 1..4).prop_map(Meanwhile::Steps),
        1 => Just(Meanwhile::DropTheCall),
    ];
    let meanwhile = ((0..60_u64).prop_map(|ticks| 2 * ticks + 1), meanwhile);
    let script = (
        proptest::collection::vec(attempt(), MOST_ATTEMPTS as usize),
        proptest::collection::vec(meanwhile, 0..5),
    );
    prop_oneof![
        6 => script.prop_map(|(attempts, meanwhile)| {
            Item::Call(Script { attempts, meanwhile: meanwhile.into_iter().collect() })
        }),
        2 => step().prop_map(Item::Step),
        2 => ticks(1..100).prop_map(|wait| Item::Step(Step::Wait(wait))),
    ]
}

fn operation(retry: &RetrySettings) -> Operation {
    let mut builder = Operation::builder(OP)
        .attempts(retry.attempts)
        .min_wait(retry.min_wait)
        .max_wait(retry.max_wait)
        .multiplier(retry.multiplier)
        .jitter(retry.jitter);
    if let Some(deadline) = retry.deadline {
        builder = builder.deadline(deadline);
    }
    if let Some(timeout) = retry.timeout {
        builder = builder.timeout(timeout);
    }
    builder.build().expect("within the ranges")
}

proptest! {
    #![proptest_config(histories(30))]

    #[test]
    fn loops_tell_the_circuit_and_hear_of_it_as_the_rules_say(
        settings in settings(),
        retry in retry(),
        items in proptest::collection::vec(item(), 1..25),
    ) {
        play(async {
            let _cb = isolate();
            install(&settings);
            let operation = operation(&retry);
            let circuit = get_circuit_breaker(OP);
            let mut pair = Pair::new(&circuit, settings);
            for item in items {
                match item {
                    Item::Call(script) => call(&mut pair, &operation, &retry, &script).await?,
                    Item::Step(step) => pair.take(step).await?,
                }
            }
            Ok(())
        })?;
    }
}
