//! What became of a call: counting, changing the state, telling the listeners.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::leases::Nanos;
use super::permit::{Role, Ticket};
use super::transition::{Step, Thresholds};
use super::word::Word;
use super::{CircuitBreaker, CircuitState, Cold, Mode, Outcome, nanos, transition};
use crate::event::{Cause, Event};
use crate::name::{Opening, Why};
use crate::random;
use crate::sync;

/// Longer texts of errors are cut: they are kept, logged and shown.
const LONGEST_TEXT: usize = 512;

/// How long an opening lasts, and how much of that is left.
#[derive(Clone, Copy)]
pub(super) struct Wait {
    pub(super) whole: Duration,
    pub(super) left: Duration,
}

impl CircuitBreaker {
    /// Takes a permit back with a success: of an untroubled circuit, without the lock.
    #[inline]
    pub(crate) fn settle_success(&self, ticket: Ticket) {
        if self.word().is_untroubled(ticket.generation())
            && !self.has_window()
            && let Some(cell) = self.counters.own_cell()
        {
            cell.add(Outcome::Success);
        } else {
            self.settle_other_success(ticket);
        }
    }

    /// With a window, in trouble, or of a thread without a cell of its own. One function for all of
    /// them, so that there is one call to it in each guarded function.
    #[inline(never)]
    fn settle_other_success(&self, ticket: Ticket) {
        if self.word().is_untroubled(ticket.generation()) && self.measure_success(ticket) {
            self.counters.add(Outcome::Success);
        } else {
            self.settle(ticket, Outcome::Success, &|| None);
        }
    }

    /// A permit that was dropped without an outcome.
    pub(crate) fn abandon(&self, ticket: Ticket) {
        let panicking = std::thread::panicking();
        let text = if panicking { "the call panicked" } else { "the call was dropped" };
        self.settle(ticket, self.outcome_of_a_drop(), &|| Some(text.to_owned()));
    }

    /// What a call is that is dropped now.
    pub(crate) fn outcome_of_a_drop(&self) -> Outcome {
        let counts = self.mode().0 & Mode::CANCEL_IS_FAILURE != 0;
        if counts || std::thread::panicking() { Outcome::Failure } else { Outcome::Cancelled }
    }

    /// Takes a permit back with its outcome. `text` describes a failure; it is asked for only if
    /// the failure counts.
    pub(crate) fn settle(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        text: &dyn Fn() -> Option<String>,
    ) {
        if ticket.role() == Role::Shadow {
            return;
        }
        if self.word().generation() != ticket.generation() {
            self.counters.add(Outcome::Stale);
            #[cfg(feature = "otel")]
            if ticket.is_probe() {
                self.count_probe(Outcome::Stale);
            }
            return;
        }
        // Outside the lock: it is the user's code that writes the text.
        let text = if outcome == Outcome::Failure { text().map(shorten) } else { None };
        let counted = match (outcome, ticket.role()) {
            (Outcome::Success, Role::Caller) => self.count_success(ticket),
            (Outcome::Failure, Role::Caller) => self.count_failure(ticket, text),
            (_, Role::Caller) => {
                transition::neutral(self.word(), ticket.generation()) != Step::Stale
            }
            (_, Role::Probe(_)) => self.settle_probe(ticket, outcome, text),
            (_, Role::Shadow) => return,
        };
        let outcome = if counted { outcome } else { Outcome::Stale };
        self.counters.add(outcome);
        #[cfg(feature = "otel")]
        if ticket.is_probe() {
            self.count_probe(outcome);
        }
    }

    /// Closed: starts the count of failures over, or goes into the window. False if stale.
    fn count_success(&self, ticket: Ticket) -> bool {
        if self.has_window() {
            return self.count_in_window(ticket, Outcome::Success, None);
        }
        let mut word = self.word();
        loop {
            match transition::success(word, ticket.generation(), self.thresholds()) {
                Step::Stale => return false,
                Step::Keep => return true,
                // A caller's success changes no state; only a probe's can.
                Step::Count(next) | Step::Change(next) => match self.swap(word, next) {
                    Ok(()) => return true,
                    Err(now) => word = now,
                },
            }
        }
    }

    /// Closed or forced closed: counts a failure, and opens at the threshold. False if stale.
    fn count_failure(&self, ticket: Ticket, text: Option<Arc<str>>) -> bool {
        if self.has_window() {
            return self.count_in_window(ticket, Outcome::Failure, text);
        }
        let early = sync::mutated("failures_without_the_lock").then(|| self.word());
        let _leaving = self.leave_rest();
        let mut cold = self.cold();
        self.end_ramp();
        let mut word = early.unwrap_or_else(|| self.word());
        loop {
            let next = match transition::failure(word, ticket.generation(), self.thresholds()) {
                Step::Stale => return false,
                Step::Keep => {
                    cold.last_failure = text;
                    return true;
                }
                Step::Count(next) => match self.swap(word, next) {
                    Err(_) if early.is_some() => return true,
                    Ok(()) => {
                        cold.last_failure = text;
                        return true;
                    }
                    Err(now) => {
                        word = now;
                        continue;
                    }
                },
                Step::Change(next) => next,
            };
            let why = Why::FailuresInARow(u64::from(word.count() + 1));
            match self.open(&mut cold, word, next, why, text.clone()) {
                Ok(()) => break,
                Err(now) => word = now,
            }
        }
        drop(cold);
        self.announce();
        true
    }

    /// Half-open: gives the lease back and decides. False if the lease is no longer held.
    fn settle_probe(&self, ticket: Ticket, outcome: Outcome, text: Option<Arc<str>>) -> bool {
        let Role::Probe(lease) = ticket.role() else { return false };
        let now = self.now();
        let mut cold = self.cold();
        let word = self.word();
        let held = word.generation() == ticket.generation() && cold.leases.give_back(lease, now);
        if word.generation() == ticket.generation() {
            let permits = cold.settings.settings.effective_half_open_permits();
            // Relaxed: a hint, see `pass_gate`.
            self.gate.full_until.store(cold.leases.full_until(permits), Ordering::Relaxed);
        }
        if !held {
            return false;
        }
        let thresholds = Thresholds {
            successes: cold.settings.settings.success_threshold,
            ramp_up: cold.settings.settings.ramp_up.is_some(),
            ..self.thresholds()
        };
        let step = match outcome {
            Outcome::Success => transition::success(word, ticket.generation(), thresholds),
            Outcome::Failure => transition::failure(word, ticket.generation(), thresholds),
            _ => Step::Keep,
        };
        // Under the lock a half-open word does not move: what was decided on it holds.
        match step {
            Step::Stale | Step::Keep => {}
            Step::Count(next) => {
                self.change(|_| Some(next));
            }
            Step::Change(next) if next.state() == CircuitState::Open => {
                let _ = self.open(&mut cold, word, next, Why::Probe, text);
            }
            Step::Change(next) => self.close(&mut cold, word, next, now, Cause::Probe),
        }
        drop(cold);
        if matches!(step, Step::Change(_)) {
            self.announce();
        }
        true
    }

    /// Closed or forced closed, with a window: counts the call in it, and opens if that is the
    /// last drop. False if stale.
    fn count_in_window(&self, ticket: Ticket, outcome: Outcome, text: Option<Arc<str>>) -> bool {
        let now = self.now();
        let failed = outcome == Outcome::Failure;
        let mut cold = self.cold();
        self.end_ramp();
        let word = self.word();
        if word.generation() != ticket.generation() {
            return false;
        }
        if failed {
            cold.last_failure.clone_from(&text);
        }
        if word.state() != CircuitState::Closed {
            return true;
        }
        let slow = self.is_slow(ticket, now);
        let why = self.measure(&mut cold, now, failed, slow);
        let moved = cold.health.take_move();
        if let Some(why) = why {
            let next = transition::trip(word);
            let text = text.or_else(|| cold.last_failure.clone());
            // Under the lock, and with a window, the word of a closed circuit does not move.
            let _ = self.open(&mut cold, word, next, why, text);
        }
        drop(cold);
        self.tell_move(moved.as_ref());
        if why.is_some() {
            self.announce();
        }
        true
    }

    /// Opens, under the lock, for a wait that is drawn.
    fn open(
        &self,
        cold: &mut Cold,
        before: Word,
        after: Word,
        why: Why,
        text: Option<Arc<str>>,
    ) -> Result<(), Word> {
        let settings = &cold.settings.settings;
        let factor = settings.recovery_multiplier.powi(i32::from(after.reopens()));
        let longest =
            random::scale(settings.recovery_timeout, factor).min(settings.max_recovery_timeout);
        let shortest = random::scale(longest, 1.0 - settings.recovery_jitter);
        let wait = random::duration_between(shortest, longest);
        let wait = Wait { whole: wait, left: wait };
        self.open_for(cold, before, after, self.now(), wait, (why, text.clone()))?;
        cold.last_failure = text;
        Ok(())
    }

    /// Opens, under the lock: stores the end of the wait, then the word.
    pub(super) fn open_for(
        &self,
        cold: &mut Cold,
        before: Word,
        after: Word,
        now: Nanos,
        wait: Wait,
        (why, text): (Why, Option<Arc<str>>),
    ) -> Result<(), Word> {
        // All that a rejected call reads comes before the word. No reader of the current generation
        // looks at this slot, and none of the next one comes before the swap.
        self.set_end(after, now.saturating_add(nanos(wait.left)));
        let describe = || {
            self.set_wait(wait);
            self.name.remember(Opening {
                circuit: self.id,
                generation: after.generation().as_u64(),
                why,
                last_failure: text.clone(),
                key: self.key.clone(),
            });
        };
        let too_late = sync::mutated("described_after_the_word");
        if !too_late {
            describe();
        }
        #[cfg(any(feature = "redis", loom))]
        self.drop_hold();
        self.swap(before, after)?;
        if too_late {
            describe();
        }
        cold.since = now;
        cold.leases.clear();
        let window = self.window_figures(cold, now);
        let event = Event {
            failures: match why {
                Why::FailuresInARow(failures) | Why::FailureRate { failures, .. } => failures,
                Why::SlowCallRate { .. } => window.map_or(0, |window| window.failures),
                Why::Probe => 1,
                Why::ByHand | Why::Remote => 0,
            },
            window: if why.cause() == Cause::Local { window } else { None },
            last_failure: text,
            wait: Some(wait.left),
            ..self.event(before, after, why.cause())
        };
        self.tell_later(cold, event);
        Ok(())
    }

    /// Stores how long an opening lasts, under the lock, before its end or its word.
    pub(super) fn set_wait(&self, wait: Wait) {
        // Relaxed: the swap of the word releases it, or in an opening that is there already the
        // store of its new end. Who sees that one sees this.
        self.gate.last_wait.store(nanos(wait.whole), Ordering::Relaxed);
    }

    /// Stores when an opening ends, under the lock.
    pub(super) fn set_end(&self, open: Word, end: Nanos) {
        // Release: partner of the Acquire in `deadline`.
        self.gate.deadlines[open.generation().slot()].store(end, Ordering::Release);
    }

    /// Closes a circuit that is open or half-open, under the lock: its word does not move.
    pub(super) fn close(
        &self,
        cold: &mut Cold,
        before: Word,
        after: Word,
        now: Nanos,
        cause: Cause,
    ) {
        self.start_measuring(cold);
        self.ramp.begin(now);
        self.change(|_| Some(after));
        cold.since = now;
        self.tell_later(cold, self.event(before, after, cause));
    }

    pub(super) fn event(&self, before: Word, after: Word, cause: Cause) -> Event {
        Event {
            operation: self.name(),
            key: self.key().map(Arc::from),
            from: before.state(),
            to: after.state(),
            cause,
            failures: 0,
            window: None,
            last_failure: None,
            wait: None,
            #[cfg(any(feature = "redis", loom))]
            generation: after.generation(),
        }
    }

    /// A change of state, under the lock; who holds it calls [`announce`](Self::announce) without it.
    #[cfg_attr(not(feature = "otel"), expect(clippy::unused_self, reason = "nobody counts"))]
    pub(super) fn tell_later(&self, cold: &mut Cold, event: Event) {
        #[cfg(feature = "otel")]
        self.count_transition(&event);
        cold.events.push(event);
    }

    /// After a change, without the lock: wakes the loops that wait, then tells the listeners.
    pub(super) fn announce(&self) {
        self.changed.notify_waiters();
        let mut next = self.cold().events.begin();
        while let Some(event) = next {
            self.listeners.tell(&event);
            next = self.cold().events.go_on();
        }
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds {
            // Relaxed: a setting; an outcome takes the old one or the new one.
            failures: self.gate.failure_threshold.load(Ordering::Relaxed),
            // Only probes ask, and they have the settings at hand.
            successes: 1,
            ramp_up: false,
        }
    }
}

fn shorten(mut text: String) -> Arc<str> {
    if text.len() > LONGEST_TEXT {
        let end = (0..=LONGEST_TEXT).rfind(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text.into()
}
