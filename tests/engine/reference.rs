//! Section 7 of the design written plainly: a state, a queue of calls and a clock in nanoseconds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bindu_cb::{Cause, CircuitBreakerSettings, CircuitState, Event, OnCancel, Window};

pub type Nanos = u64;

pub fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap()
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Success,
    Failure,
    Ignored,
    Dropped,
    /// Dropped by a panic.
    Panicked,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub success: u64,
    pub failure: u64,
    pub ignored: u64,
    pub cancelled: u64,
    pub rejected: u64,
    pub stale: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Caller,
    Probe,
    /// Dry run let it through.
    Shadow,
}

/// A call that was admitted.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    generation: u64,
    /// `None` if no call could be slow when it began: settings are for calls that begin later.
    began: Option<Nanos>,
    role: Role,
    id: u64,
}

impl Call {
    pub fn is_probe(&self) -> bool {
        self.role == Role::Probe
    }
}

/// What a rejected call may be told of when to come back.
#[derive(Clone, Copy, Debug)]
pub enum ComeBack {
    In(Nanos),
    /// Half-open: the first probe's time is up then, at the latest.
    Within(Nanos),
    /// Forced open: nobody knows.
    Whenever,
}

/// A change of state, as a listener hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub from: CircuitState,
    pub to: CircuitState,
    pub cause: Cause,
    pub failures: u64,
}

/// What the engine's listener has heard. The waits it drew are in it.
pub type Heard = Arc<Mutex<Vec<Event>>>;

#[derive(Clone, Copy)]
struct Ended {
    at: Nanos,
    failed: bool,
    slow: bool,
}

pub struct Reference {
    pub settings: CircuitBreakerSettings,
    pub state: CircuitState,
    generation: u64,
    pub since: Nanos,
    /// Closed: failures in a row. Half-open: successes in a row.
    pub row: u32,
    pub reopens: i32,
    pub open_until: Nanos,
    /// The probes in flight and when their time is up.
    probes: Vec<(u64, Nanos)>,
    window: VecDeque<Ended>,
    window_began: Nanos,
    next_id: u64,
    pub counts: Counts,
    pub changes: Vec<Change>,
    heard: Heard,
    /// A wait that was drawn where none may be, and where it should have been.
    pub wrong_wait: Option<(Nanos, [Nanos; 2])>,
}

impl Reference {
    pub fn new(settings: CircuitBreakerSettings, heard: Heard) -> Self {
        Self {
            settings,
            state: CircuitState::Closed,
            generation: 0,
            since: 0,
            row: 0,
            reopens: 0,
            open_until: 0,
            probes: Vec::new(),
            window: VecDeque::new(),
            window_began: 0,
            next_id: 0,
            counts: Counts::default(),
            changes: Vec::new(),
            heard,
            wrong_wait: None,
        }
    }

    fn change(&mut self, state: CircuitState, cause: Cause, failures: u64, now: Nanos) {
        if state != self.state {
            self.changes.push(Change { from: self.state, to: state, cause, failures });
        }
        self.state = state;
        self.generation += 1;
        self.since = now;
        self.row = 0;
        self.probes.clear();
        self.window.clear();
        self.window_began = now;
    }

    pub fn by_hand(&mut self, state: CircuitState, now: Nanos) {
        self.reopens = 0;
        self.change(state, Cause::Manual, 0, now);
    }

    /// B4. The draw is the engine's; what it may be is not.
    fn open(&mut self, cause: Cause, failures: u64, now: Nanos) {
        let Self { settings, heard, changes, .. } = self;
        let longest = match settings.recovery_timeout {
            Duration::ZERO => Duration::ZERO,
            timeout => {
                let wait = timeout.as_secs_f64() * settings.recovery_multiplier.powi(self.reopens);
                let longest = settings.max_recovery_timeout;
                Duration::try_from_secs_f64(wait).map_or(longest, |wait| wait.min(longest))
            }
        };
        let shortest = longest.mul_f64(1.0 - settings.recovery_jitter);
        let bounds = [nanos(shortest), nanos(longest)];
        let drawn = heard.lock().unwrap().get(changes.len()).and_then(|event| event.wait);
        let drawn = drawn.map_or(bounds[1], nanos);
        // A nanosecond for the rounding of the lower bound.
        if drawn + 1 < bounds[0] || drawn > bounds[1] {
            self.wrong_wait = Some((drawn, bounds));
        }
        self.change(CircuitState::Open, cause, failures, now);
        self.open_until = now + drawn;
    }

    /// B1 to B3 and B11: who may run.
    pub fn admit(&mut self, now: Nanos, dry_run: bool) -> Result<Call, ComeBack> {
        if self.state == CircuitState::Open && now >= self.open_until {
            self.change(CircuitState::HalfOpen, Cause::Local, 0, now);
        }
        let role = match self.state {
            CircuitState::Closed | CircuitState::ForcedClosed => Ok(Role::Caller),
            CircuitState::HalfOpen => {
                self.probes.retain(|(_, until)| now < *until);
                let permits = self.settings.half_open_permits;
                let permits = permits.unwrap_or(self.settings.success_threshold.min(128));
                match self.probes.iter().map(|(_, until)| until - now).min() {
                    Some(first) if self.probes.len() >= permits as usize => {
                        Err(ComeBack::Within(first))
                    }
                    _ => Ok(Role::Probe),
                }
            }
            CircuitState::Open => Err(ComeBack::In(self.open_until - now)),
            _ => Err(ComeBack::Whenever),
        };
        let role = match role {
            Ok(role) => role,
            Err(come_back) => {
                self.counts.rejected += 1;
                if !dry_run {
                    return Err(come_back);
                }
                Role::Shadow
            }
        };
        self.next_id += 1;
        let id = self.next_id;
        if role == Role::Probe {
            self.probes.push((id, now + nanos(self.settings.probe_timeout)));
        }
        let began = self.settings.window.and(self.settings.slow_call).map(|_| now);
        Ok(Call { generation: self.generation, began, role, id })
    }

    /// Until when a probe holds its permit; `None` if it does not.
    fn held_until(&self, call: &Call, now: Nanos) -> Option<Nanos> {
        let (_, until) = self.probes.iter().find(|(id, _)| *id == call.id)?;
        (now < *until).then_some(*until)
    }

    /// When the next thing happens that time alone brings about.
    pub fn due(&self, now: Nanos) -> Option<Nanos> {
        let opening = (self.state == CircuitState::Open).then_some(self.open_until);
        let probes = self.probes.iter().map(|(_, until)| *until);
        opening.into_iter().chain(probes).filter(|due| *due > now).min()
    }

    pub fn end(&mut self, call: Call, end: End, now: Nanos) {
        if call.role == Role::Shadow {
            return;
        }
        if call.generation != self.generation {
            self.counts.stale += 1;
            return;
        }
        if call.is_probe() {
            let held = self.held_until(&call, now).is_some();
            self.probes.retain(|(id, _)| *id != call.id);
            if !held {
                self.counts.stale += 1;
                return;
            }
        }
        let failed = match end {
            End::Success => false,
            End::Failure | End::Panicked => true,
            End::Dropped if self.settings.on_cancel == OnCancel::Failure => true,
            End::Dropped => {
                self.counts.cancelled += 1;
                return;
            }
            End::Ignored => {
                self.counts.ignored += 1;
                return;
            }
        };
        if failed {
            self.counts.failure += 1;
        } else {
            self.counts.success += 1;
        }
        match self.state {
            CircuitState::HalfOpen if failed => {
                self.reopens += 1;
                self.open(Cause::Probe, 1, now);
            }
            CircuitState::HalfOpen => {
                self.row += 1;
                if self.row >= self.settings.success_threshold {
                    self.reopens = 0;
                    self.change(CircuitState::Closed, Cause::Probe, 0, now);
                }
            }
            CircuitState::Closed if self.settings.window.is_some() => {
                let took = call.began.map_or(0, |began| now - began);
                let slow = self.settings.slow_call.is_some_and(|limit| took > nanos(limit));
                self.window.push_back(Ended { at: now, failed, slow });
                if let Some(failures) = self.window_opens(now) {
                    self.open(Cause::Local, failures, now);
                }
            }
            CircuitState::Closed => {
                self.row = if failed { self.row + 1 } else { 0 };
                if self.row >= self.settings.failure_threshold {
                    self.open(Cause::Local, u64::from(self.row), now);
                }
            }
            _ => {}
        }
    }

    /// L2: at what moment up to `now`, if at any, a loop that waits since `since` has to stop.
    /// `held` is the permit it waits with; `last` the one that it had last.
    pub fn stops(
        &self,
        held: Option<&Call>,
        last: &Call,
        since: Nanos,
        now: Nanos,
    ) -> Option<Nanos> {
        match self.state {
            _ if last.role == Role::Shadow => None,
            CircuitState::Open | CircuitState::ForcedOpen => Some(now),
            CircuitState::HalfOpen if last.generation != self.generation => Some(now),
            CircuitState::HalfOpen => {
                let probe = held.filter(|call| call.is_probe())?;
                match self.held_until(probe, since) {
                    Some(until) => (until <= now).then_some(until),
                    None => Some(since),
                }
            }
            _ => None,
        }
    }

    /// Calls, failures and slow calls in the window.
    pub fn figures(&mut self, now: Nanos) -> Option<(u64, u64, u64)> {
        match self.settings.window? {
            Window::Calls(calls) => {
                while self.window.len() > calls as usize {
                    self.window.pop_front();
                }
            }
            Window::Time(time) => {
                let width = nanos(time).div_ceil(10);
                let bucket = |at: Nanos| (at - self.window_began) / width;
                let current = bucket(now);
                let is_over = |ended: &Ended| current - bucket(ended.at) >= 10;
                while self.window.front().is_some_and(is_over) {
                    self.window.pop_front();
                }
            }
            _ => unreachable!(),
        }
        let count = |which: fn(&Ended) -> bool| {
            self.window.iter().filter(|ended| which(ended)).count() as u64
        };
        Some((count(|_| true), count(|e| e.failed), count(|e| e.slow)))
    }

    /// The failures in a window that opens.
    fn window_opens(&mut self, now: Nanos) -> Option<u64> {
        let (calls, failures, slow) = self.figures(now).unwrap();
        let minimum = match (self.settings.minimum_calls, self.settings.window) {
            (Some(minimum), _) => minimum,
            (None, Some(Window::Calls(calls))) => calls.min(10),
            (None, _) => 10,
        };
        let reaches = |part: u64, percent: u32| part * 100 >= u64::from(percent) * calls;
        let opens = calls >= u64::from(minimum)
            && (reaches(failures, self.settings.failure_rate)
                || self.settings.slow_call.is_some()
                    && reaches(slow, self.settings.slow_call_rate));
        opens.then_some(failures)
    }

    /// S1: the state stays; a window of another shape starts empty.
    pub fn configure(&mut self, settings: CircuitBreakerSettings, now: Nanos) {
        if settings.window != self.settings.window {
            self.window.clear();
            self.window_began = now;
            if self.state == CircuitState::Closed {
                self.row = 0;
            }
        }
        self.settings = settings;
    }
}
