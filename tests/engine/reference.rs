//! Section 7 of the design written plainly: a state, a queue of calls and a clock in nanoseconds.

use std::collections::VecDeque;
use std::time::Duration;

use bindu_cb::{CircuitBreakerSettings, CircuitState, Window};

pub type Nanos = u64;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Success,
    Failure,
    Ignored,
    Dropped,
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

/// A call that was admitted.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    generation: u64,
    /// `None` if no call could be slow when it began: settings are for calls that begin later.
    began: Option<Nanos>,
    probe: bool,
    id: u64,
}

#[derive(Clone, Copy)]
struct Ended {
    at: Nanos,
    failed: bool,
    slow: bool,
}

pub struct Reference {
    settings: CircuitBreakerSettings,
    pub state: CircuitState,
    generation: u64,
    /// Closed: failures in a row. Half-open: successes in a row.
    row: u32,
    reopens: i32,
    open_until: Nanos,
    /// The probes in flight and when their time is up.
    probes: Vec<(u64, Nanos)>,
    window: VecDeque<Ended>,
    window_began: Nanos,
    next_id: u64,
    pub counts: Counts,
}

impl Reference {
    pub fn new(settings: CircuitBreakerSettings) -> Self {
        Self {
            settings,
            state: CircuitState::Closed,
            generation: 0,
            row: 0,
            reopens: 0,
            open_until: 0,
            probes: Vec::new(),
            window: VecDeque::new(),
            window_began: 0,
            next_id: 0,
            counts: Counts::default(),
        }
    }

    fn change(&mut self, state: CircuitState, now: Nanos) {
        self.state = state;
        self.generation += 1;
        self.row = 0;
        self.probes.clear();
        self.window.clear();
        self.window_began = now;
    }

    pub fn by_hand(&mut self, state: CircuitState, now: Nanos) {
        self.reopens = 0;
        self.change(state, now);
    }

    fn open(&mut self, now: Nanos) {
        let factor = self.settings.recovery_multiplier.powi(self.reopens);
        let longest = self.settings.max_recovery_timeout;
        let wait = self.settings.recovery_timeout.as_secs_f64() * factor;
        let wait = Duration::try_from_secs_f64(wait).map_or(longest, |wait| wait.min(longest));
        self.change(CircuitState::Open, now);
        self.open_until = now + u64::try_from(wait.as_nanos()).unwrap();
    }

    /// B1 to B3: who may run.
    pub fn admit(&mut self, now: Nanos) -> Option<Call> {
        if self.state == CircuitState::Open && now >= self.open_until {
            self.change(CircuitState::HalfOpen, now);
        }
        let probe = match self.state {
            CircuitState::Closed | CircuitState::ForcedClosed => false,
            CircuitState::HalfOpen => {
                self.probes.retain(|(_, until)| now < *until);
                let permits =
                    self.settings.half_open_permits.unwrap_or(self.settings.success_threshold);
                if self.probes.len() >= permits as usize {
                    return self.reject();
                }
                true
            }
            _ => return self.reject(),
        };
        self.next_id += 1;
        let id = self.next_id;
        if probe {
            let limit = u64::try_from(self.settings.probe_timeout.as_nanos()).unwrap();
            self.probes.push((id, now + limit));
        }
        let began = self.settings.window.and(self.settings.slow_call).map(|_| now);
        Some(Call { generation: self.generation, began, probe, id })
    }

    fn reject(&mut self) -> Option<Call> {
        self.counts.rejected += 1;
        None
    }

    pub fn end(&mut self, call: Call, end: End, now: Nanos) {
        if call.generation != self.generation {
            self.counts.stale += 1;
            return;
        }
        if call.probe {
            let before = self.probes.len();
            let in_time = self.probes.iter().any(|(id, until)| *id == call.id && now < *until);
            self.probes.retain(|(id, _)| *id != call.id);
            if !in_time || self.probes.len() == before {
                self.counts.stale += 1;
                return;
            }
        }
        match end {
            End::Success => self.counts.success += 1,
            End::Failure => self.counts.failure += 1,
            End::Ignored => self.counts.ignored += 1,
            End::Dropped => self.counts.cancelled += 1,
        }
        if matches!(end, End::Ignored | End::Dropped) {
            return;
        }
        let failed = end == End::Failure;
        match self.state {
            CircuitState::HalfOpen if failed => {
                self.reopens += 1;
                self.open(now);
            }
            CircuitState::HalfOpen => {
                self.row += 1;
                if self.row >= self.settings.success_threshold {
                    self.reopens = 0;
                    self.change(CircuitState::Closed, now);
                }
            }
            CircuitState::Closed if self.settings.window.is_some() => {
                let took = call.began.map_or(0, |began| u128::from(now - began));
                let slow = self.settings.slow_call.is_some_and(|limit| took > limit.as_nanos());
                self.window.push_back(Ended { at: now, failed, slow });
                if self.window_opens(now) {
                    self.open(now);
                }
            }
            CircuitState::Closed => {
                self.row = if failed { self.row + 1 } else { 0 };
                if self.row >= self.settings.failure_threshold {
                    self.open(now);
                }
            }
            _ => {}
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
                let width = u64::try_from(time.as_nanos()).unwrap().div_ceil(10);
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

    fn window_opens(&mut self, now: Nanos) -> bool {
        let (calls, failures, slow) = self.figures(now).unwrap();
        let minimum = match (self.settings.minimum_calls, self.settings.window) {
            (Some(minimum), _) => minimum,
            (None, Some(Window::Calls(calls))) => calls.min(10),
            (None, _) => 10,
        };
        let reaches = |part: u64, percent: u32| part * 100 >= u64::from(percent) * calls;
        calls >= u64::from(minimum)
            && (reaches(failures, self.settings.failure_rate)
                || self.settings.slow_call.is_some() && reaches(slow, self.settings.slow_call_rate))
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

    pub fn row(&self) -> u32 {
        self.row
    }
}
