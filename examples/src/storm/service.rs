//! The service: a queue, its worker, and clients that lose patience.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bindu_cb::CircuitBreakerOpenError;

use super::ledger::Ledger;
use super::scenario::Scenario;

/// Of an answer, on an idle service and at most.
const LATENCY: f64 = 5.0;
const LONGEST: f64 = 100.0;
/// Answers that are on their way, by the millisecond at which they arrive; longer than any is.
const SLOTS: u64 = 128;
/// A request, in the unit of the capacity.
const REQUEST: u64 = 1_000_000;
/// Milliseconds over which utilization is averaged.
const SMOOTHING: f64 = 100.0;

/// What a request, or a guarded call, comes to if not to an answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody is there.
    #[error("connection refused")]
    Refused,
    /// The queue is full.
    #[error("overloaded")]
    Overloaded,
    /// The client has lost patience.
    #[error("timed out")]
    TimedOut,
    /// The circuit has rejected the call.
    #[error(transparent)]
    Open(#[from] CircuitBreakerOpenError),
}

/// A client of the service. Clones have the same service.
#[derive(Clone)]
pub(super) struct Service(Arc<Mutex<State>>);

struct State {
    scenario: Scenario,
    now: u64,
    /// By number, from `first` on: one that all have done with leaves at the front.
    requests: VecDeque<Request>,
    first: u64,
    /// The next to be worked on, and the next whose client may lose patience.
    next: u64,
    next_to_expire: u64,
    queued: usize,
    /// What the service can still do in this millisecond.
    left: u64,
    utilization: f64,
    /// The answers, by the millisecond in which they arrive.
    arriving: Vec<Vec<u64>>,
    ledger: Ledger,
}

struct Request {
    waker: Option<Waker>,
    since: u64,
    is_queued: bool,
    end: Option<End>,
    /// Its client knows the end, or has gone.
    is_over: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Answered,
    Lost,
    TimedOut,
}

impl Service {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self(Arc::new(Mutex::new(State {
            scenario: scenario.clone(),
            now: 0,
            requests: VecDeque::new(),
            first: 0,
            next: 0,
            next_to_expire: 0,
            queued: 0,
            left: 0,
            utilization: 0.0,
            arriving: (0..SLOTS).map(|_| Vec::new()).collect(),
            ledger: Ledger::new(scenario),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks it for something.
    ///
    /// # Errors
    ///
    /// Any [`Failure`] but `Open`.
    pub(super) fn request(&self) -> impl Future<Output = Result<(), Failure>> + Send {
        Asking { service: self, number: None }
    }

    /// Does what is to be done in this millisecond. To be called for each.
    pub(super) fn tick(&self, now: u64) {
        self.state().tick(now);
    }

    /// Writes something down.
    pub(super) fn note<T>(&self, note: impl FnOnce(&mut Ledger, u64) -> T) -> T {
        let mut state = self.state();
        let now = state.now;
        note(&mut state.ledger, now)
    }
}

impl State {
    fn tick(&mut self, now: u64) {
        self.forget();
        self.now = now;
        if now == self.scenario.outage {
            self.die();
        }
        // Before patience is lost: an answer that arrives in its last millisecond has arrived.
        let mut arriving = std::mem::take(&mut self.arriving[slot(now)]);
        for number in arriving.drain(..) {
            self.finish(number, End::Answered);
        }
        self.arriving[slot(now)] = arriving;
        self.lose_patience();
        self.work();
    }

    fn forget(&mut self) {
        while self.requests.front().is_some_and(|it| it.is_over && !it.is_queued) {
            self.requests.pop_front();
            self.first += 1;
        }
        self.next = self.next.max(self.first);
        self.next_to_expire = self.next_to_expire.max(self.first);
    }

    /// `None` of one that is forgotten, or yet to come.
    fn get(&mut self, number: u64) -> Option<&mut Request> {
        let index = number.checked_sub(self.first)?;
        self.requests.get_mut(usize::try_from(index).ok()?)
    }

    /// The first end is the one that counts.
    fn finish(&mut self, number: u64, end: End) {
        let Some(request) = self.get(number).filter(|request| request.end.is_none()) else {
            return;
        };
        request.end = Some(end);
        if let Some(waker) = request.waker.take() {
            waker.wake();
        }
    }

    fn die(&mut self) {
        for number in self.first..self.first + self.requests.len() as u64 {
            if let Some(request) = self.get(number) {
                request.is_queued = false;
            }
            self.finish(number, End::Lost);
        }
        self.queued = 0;
    }

    fn lose_patience(&mut self) {
        let (now, patience) = (self.now, self.scenario.patience);
        while let Some(request) = self.get(self.next_to_expire)
            && request.since + patience <= now
        {
            self.finish(self.next_to_expire, End::TimedOut);
            self.next_to_expire += 1;
        }
    }

    fn work(&mut self) {
        let capacity = self.scenario.capacity_at(self.now);
        self.ledger.second(self.now).capacity += capacity;
        // What is not used is lost, but for the beginning of a request.
        self.left = self.left.min(REQUEST) + capacity;
        let mut used = 0;
        while self.queued > 0 && self.left >= REQUEST {
            let number = self.next;
            self.next += 1;
            let Some(request) = self.get(number).filter(|request| request.is_queued) else {
                continue;
            };
            request.is_queued = false;
            let gives_up = request.since + self.scenario.patience;
            self.queued -= 1;
            self.left -= REQUEST;
            used += REQUEST;
            let arrives = self.now + self.latency();
            if arrives <= gives_up {
                self.arriving[slot(arrives)].push(number);
            } else {
                self.ledger.second(self.now).in_vain += 1;
            }
        }
        if capacity > 0 {
            let now = (used as f64 / capacity as f64).min(1.0);
            self.utilization += (now - self.utilization) / SMOOTHING;
        }
    }

    fn latency(&self) -> u64 {
        (LATENCY / (1.0 - self.utilization).max(LATENCY / LONGEST)) as u64
    }

    /// Puts a request into the queue, and says which it is there.
    fn ask(&mut self, waker: &Waker) -> Result<u64, Failure> {
        self.ledger.second(self.now).requests += 1;
        if self.scenario.is_down(self.now) {
            self.ledger.dead(self.now);
            return Err(Failure::Refused);
        }
        if self.queued >= self.scenario.queue() {
            return Err(Failure::Overloaded);
        }
        let number = self.first + self.requests.len() as u64;
        self.queued += 1;
        self.requests.push_back(Request {
            waker: Some(waker.clone()),
            since: self.now,
            is_queued: true,
            end: None,
            is_over: false,
        });
        Ok(number)
    }
}

fn slot(now: u64) -> usize {
    (now % SLOTS) as usize
}

/// A request that a client waits for the end of.
struct Asking<'s> {
    service: &'s Service,
    number: Option<u64>,
}

impl Future for Asking<'_> {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.service.state();
        let Some(number) = self.number else {
            let asked = state.ask(cx.waker());
            drop(state);
            return match asked {
                Ok(number) => {
                    self.number = Some(number);
                    Poll::Pending
                }
                Err(failure) => Poll::Ready(Err(failure)),
            };
        };
        // It is there until its client knows the end.
        let Some(request) = state.get(number) else { return Poll::Pending };
        let Some(end) = request.end else {
            request.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        request.is_over = true;
        Poll::Ready(match end {
            End::Answered => Ok(()),
            End::Lost => Err(Failure::Refused),
            End::TimedOut => Err(Failure::TimedOut),
        })
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        if let Some(request) = self.service.state().get(number) {
            request.is_over = true;
            request.waker = None;
        }
    }
}
