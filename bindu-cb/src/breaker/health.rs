//! What a closed circuit is judged by: failures in a row, or a sliding window.
//!
//! # A success without the lock
//!
//! [`Measure`] tells a success whether a window is in force and whether it may go without the
//! lock: then it adds one to its thread's cell under the tag of the window's epoch (and, in a time
//! window, of the bucket), and that is all. It must take the lock while it could open the circuit:
//! in a count window until `minimum_calls` are in it, in a time window as the first call of each
//! bucket, since calls have slid out, and while there are failures but too few calls.
//!
//! A success that is let through so has seen, in this order, the word of its generation, the
//! measure, and both again. A window that starts anew does it the other way round: it first closes
//! the way without the lock, then stores the new epoch, and then the word changes. So what is added
//! under an epoch's tag belongs to that epoch's generation.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use super::leases::Nanos;
use super::permit::Ticket;
use super::snapshot::WindowSnapshot;
use super::window::adaptive::{Adaptive, Learnt};
use super::window::cells::WindowCells;
use super::window::{CallWindow, Grid, Limits, Tag, TimeWindow, call_tag};
use super::{CircuitBreaker, Cold, NEVER, nanos};
use crate::name::Why;
use crate::settings::Window;
use crate::sync::{self, AtomicU64};

/// Kinds of measure, the low bits of its first field; the others are the epoch.
const CONSECUTIVE: u64 = 0;
const CALLS: u64 = 1;
const TIME: u64 = 2;
const KIND_BITS: u32 = 2;

/// No tag: every success takes the lock.
const UNSETTLED: Tag = Tag::MAX;

/// What a success reads.
pub(super) struct Measure {
    /// The kind and the epoch; zero as long as there is no window.
    which: AtomicU64,
    /// Successes under this tag cannot open the circuit.
    settled: AtomicU64,
    origin: AtomicU64,
    width: AtomicU64,
}

impl Default for Measure {
    fn default() -> Self {
        Self {
            which: AtomicU64::new(CONSECUTIVE),
            settled: AtomicU64::new(UNSETTLED),
            origin: AtomicU64::new(0),
            // Not zero: it divides.
            width: AtomicU64::new(1),
        }
    }
}

/// What is kept under the lock.
#[derive(Default)]
pub(super) struct Health {
    kind: Kind,
    shape: Option<Window>,
    limits: Option<Limits>,
    epoch: u64,
    /// Of a window whose threshold is learnt.
    adaptive: Option<Box<Adaptive>>,
}

/// The learnt threshold has moved, from and to percent.
pub(super) struct Move {
    from: f64,
    learnt: Learnt,
}

/// The same, made for the first window: a circuit that never had one has a pointer for it.
#[derive(Default)]
pub(super) struct LazyHealth(Option<Box<Health>>);

impl LazyHealth {
    fn is_unused(&self) -> bool {
        self.0.is_none()
    }

    /// As of what there is; asking does not make it.
    pub(super) fn take_move(&mut self) -> Option<Move> {
        self.0.as_mut()?.take_move()
    }
}

impl Deref for LazyHealth {
    type Target = Health;

    fn deref(&self) -> &Health {
        static UNUSED: Health =
            Health { kind: Kind::Consecutive, shape: None, limits: None, epoch: 0, adaptive: None };
        self.0.as_deref().unwrap_or(&UNUSED)
    }
}

impl DerefMut for LazyHealth {
    fn deref_mut(&mut self) -> &mut Health {
        self.0.get_or_insert_default()
    }
}

#[derive(Default)]
enum Kind {
    #[default]
    Consecutive,
    Calls(CallWindow),
    Time(Box<TimeWindow>),
}

impl Health {
    /// Learns from the calls that were counted since the last time: the last one of them failed, or
    /// none. In a time window from the last bucket with calls, if it is over.
    fn learn(&mut self, cells: &WindowCells, now: Nanos, last_failed: bool) {
        let Some(adaptive) = &mut self.adaptive else { return };
        let Some(bounds) = self.limits.and_then(|limits| limits.adaptive) else { return };
        match (&mut self.kind, self.shape) {
            (Kind::Calls(window), Some(Window::Calls(size))) => {
                window.figures(cells);
                adaptive.count(size, window.counted(), last_failed, bounds);
            }
            (Kind::Time(window), _) => {
                if let Some(bucket) = window.take_finished(cells, now) {
                    adaptive.bucket(bucket, bounds);
                }
            }
            _ => {}
        }
    }

    fn learnt(&self) -> Option<Learnt> {
        Some(self.adaptive.as_ref()?.learnt(self.limits?.adaptive?))
    }

    fn with_threshold(&self, why: Why) -> Why {
        match why {
            Why::FailureRate { failures, calls, .. } => {
                let learnt = self.learnt().map(|learnt| learnt.threshold);
                Why::FailureRate { failures, calls, learnt }
            }
            why => why,
        }
    }

    /// Whether the learnt threshold has moved so far that it should be told.
    pub(super) fn take_move(&mut self) -> Option<Move> {
        let bounds = self.limits?.adaptive?;
        let adaptive = self.adaptive.as_mut()?;
        let from = adaptive.take_move(bounds)?;
        Some(Move { from, learnt: adaptive.learnt(bounds) })
    }
}

impl CircuitBreaker {
    #[inline]
    pub(super) fn has_window(&self) -> bool {
        // Acquire: partner of the Release in `start_measuring`.
        self.gate.measure.which.load(Ordering::Acquire) != CONSECUTIVE
    }

    /// A success of an untroubled circuit: counted where it must be without the lock, or false.
    pub(super) fn measure_success(&self, ticket: Ticket) -> bool {
        // Acquire here and below: partners of the Releases in `start_measuring` and `settle_at`.
        let which = self.gate.measure.which.load(Ordering::Acquire);
        if which == CONSECUTIVE {
            return true;
        }
        self.measure_in_window(ticket, which)
    }

    fn measure_in_window(&self, ticket: Ticket, which: u64) -> bool {
        let measure = &self.gate.measure;
        let epoch = which >> KIND_BITS;
        let is_time = which & TIME != 0;
        let now = if is_time || ticket.began().is_some() { self.now() } else { 0 };
        if self.is_slow(ticket, now) {
            return false;
        }
        let tag = if is_time {
            let origin = measure.origin.load(Ordering::Acquire);
            let width = measure.width.load(Ordering::Acquire);
            Grid { epoch, origin, width }.tag(now)
        } else {
            call_tag(epoch)
        };
        measure.settled.load(Ordering::Acquire) == tag
            && measure.which.load(Ordering::Acquire) == which
            && (sync::mutated("cells_of_any_epoch")
                || self.word().is_untroubled(ticket.generation()))
            && self.window_cells.get().is_some_and(|cells| cells.add(tag))
    }

    pub(super) fn is_slow(&self, ticket: Ticket, now: Nanos) -> bool {
        ticket.began().is_some_and(|began| {
            now.saturating_sub(began) > self.gate.slow_call.load(Ordering::Relaxed)
        })
    }

    /// Counts a call in the window, under the lock; says why, if that opens the circuit.
    pub(super) fn measure(
        &self,
        cold: &mut Cold,
        now: Nanos,
        failed: bool,
        slow: bool,
    ) -> Option<Why> {
        let (cells, limits) = (self.window_cells.get()?, cold.health.limits?);
        let health = &mut *cold.health;
        if matches!(health.kind, Kind::Time(_)) {
            // A bucket must be learnt from before the next call goes where it is kept.
            health.learn(cells, now, false);
        }
        let (figures, tag) = match &mut health.kind {
            Kind::Consecutive => return None,
            Kind::Calls(window) => (window.record(cells, failed, slow), call_tag(health.epoch)),
            Kind::Time(window) => (window.record(cells, now, failed, slow), window.latest(now)),
        };
        if matches!(health.kind, Kind::Calls(_)) {
            health.learn(cells, now, failed);
        }
        let for_long = || limits.reached_for_long(figures, failed, health.adaptive.as_ref()?);
        if let Some(why) = limits.reached_by(figures).or_else(for_long) {
            return Some(health.with_threshold(why));
        }
        // With enough calls and below the rates, a further success can only lower them; in a time
        // window also without any failure or slow call, until calls slide out.
        let is_time = matches!(cold.health.kind, Kind::Time(_));
        let is_quiet = is_time && figures.failures == 0 && figures.slow == 0;
        self.settle_at(if limits.has_enough(figures) || is_quiet { tag } else { UNSETTLED });
        None
    }

    fn settle_at(&self, tag: Tag) {
        self.gate.measure.settled.store(tag, Ordering::Release);
    }

    /// Learns from what has not been looked at, under the lock. Only of a closed circuit.
    pub(super) fn catch_up(&self, cold: &mut Cold, now: Nanos) {
        if let Some(cells) = self.window_cells.get()
            && self.word().state() == super::CircuitState::Closed
        {
            cold.health.learn(cells, now, false);
        }
    }

    /// Outside the lock, since it is the user's code that logs.
    pub(super) fn tell_move(&self, moved: Option<&Move>) {
        let Some(Move { from, learnt }) = moved else { return };
        let log = || {
            tracing::debug!(
                operation = self.name(),
                key = self.key(),
                from,
                to = learnt.threshold,
                baseline = learnt.baseline,
                deviation = learnt.deviation,
                "adaptive threshold moved"
            );
        };
        // AssertUnwindSafe: nothing is captured that a panic could leave half done.
        let _ = catch_unwind(AssertUnwindSafe(log));
    }

    /// What the window holds, under the lock.
    pub(super) fn window_figures(&self, cold: &mut Cold, now: Nanos) -> Option<WindowSnapshot> {
        let cells = self.window_cells.get()?;
        self.catch_up(cold, now);
        let figures = match &mut cold.health.kind {
            Kind::Consecutive => return None,
            Kind::Calls(window) => window.figures(cells),
            Kind::Time(window) => window.figures(cells, now),
        };
        #[expect(clippy::cast_precision_loss, reason = "for people; decisions are in integers")]
        let percent = |part: u64| part as f64 * 100.0 / figures.calls.max(1) as f64;
        let learnt = cold.health.learnt();
        let failure_rate = f64::from(cold.settings.settings.failure_rate);
        Some(WindowSnapshot {
            calls: figures.calls,
            failures: figures.failures,
            slow: figures.slow,
            failure_rate: percent(figures.failures),
            slow_call_rate: percent(figures.slow),
            threshold: learnt.map_or(failure_rate, |learnt| learnt.threshold),
            baseline: learnt.map(|learnt| learnt.baseline),
            deviation: learnt.map(|learnt| learnt.deviation),
        })
    }

    /// New settings are in force: another shape starts an empty window, other limits are tried at
    /// the next outcome. Under the lock.
    pub(super) fn reshape(&self, cold: &mut Cold) {
        let settings = &cold.settings.settings;
        let slow_call = settings.window.and(settings.slow_call).map_or(NEVER, nanos);
        self.gate.slow_call.store(slow_call, Ordering::Relaxed);
        let shape = settings.window;
        if shape.is_none() && cold.health.is_unused() {
            return;
        }
        let limits = shape.map(|_| Limits::of(settings));
        cold.health.limits = limits;
        if limits.and_then(|limits| limits.adaptive).is_none() {
            cold.health.adaptive = None;
        } else if cold.health.adaptive.is_none() || cold.health.shape != shape {
            // Of the calls that a window holds already, it does not know in which order they failed.
            let counted = match (&mut cold.health.kind, self.window_cells.get()) {
                (Kind::Calls(window), Some(cells)) => {
                    window.figures(cells);
                    window.counted()
                }
                _ => 0,
            };
            cold.health.adaptive = Some(Box::new(Adaptive::from(counted)));
        }
        self.settle_at(UNSETTLED);
        if cold.health.shape == shape {
            return;
        }
        cold.health.shape = shape;
        cold.health.kind = Kind::Consecutive;
        // A word without a count is what a success without the lock wants to see.
        self.change(|word| {
            (word.state() == super::CircuitState::Closed).then(|| word.with_count(0))
        });
        self.start_measuring(cold);
    }

    /// Starts an empty window, under the lock, before the word changes.
    pub(super) fn start_measuring(&self, cold: &mut Cold) {
        if cold.health.is_unused() {
            return;
        }
        if cold.health.adaptive.is_some() {
            self.catch_up(cold, self.now());
        }
        let health = &mut *cold.health;
        if let Some(adaptive) = &mut health.adaptive {
            adaptive.restart();
        }
        let measure = &self.gate.measure;
        self.settle_at(UNSETTLED);
        health.epoch += 1;
        let Some(shape) = health.shape else {
            return measure.which.store(CONSECUTIVE, Ordering::Release);
        };
        self.window_cells.get_or_init(WindowCells::new);
        let kind = match shape {
            Window::Calls(calls) => {
                match &mut health.kind {
                    Kind::Calls(window) => window.restart(health.epoch),
                    kind => *kind = Kind::Calls(CallWindow::new(calls, health.epoch)),
                }
                CALLS
            }
            Window::Time(time) => {
                let width = Grid::width_of(nanos(time));
                let grid = Grid { epoch: health.epoch, origin: self.now(), width };
                match &mut health.kind {
                    Kind::Time(window) => window.restart(grid),
                    kind => *kind = Kind::Time(Box::new(TimeWindow::new(grid))),
                }
                measure.origin.store(grid.origin, Ordering::Release);
                measure.width.store(grid.width, Ordering::Release);
                TIME
            }
        };
        measure.which.store(health.epoch << KIND_BITS | kind, Ordering::Release);
    }
}
