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
    queued: u32,
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

    /// What it has taken in is lost. One that hangs does not say so: its clients lose patience.
    fn die(&mut self) {
        for number in self.first..self.first + self.requests.len() as u64 {
            if let Some(request) = self.get(number) {
                request.is_queued = false;
            }
            if !self.scenario.hangs {
                self.finish(number, End::Lost);
            }
        }
        self.arriving.iter_mut().for_each(Vec::clear);
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

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole milliseconds, from 5 to 100"
    )]
    fn latency(&self) -> u64 {
        (LATENCY / (1.0 - self.utilization).max(LATENCY / LONGEST)) as u64
    }

    /// Takes a request in, and says which it is.
    fn ask(&mut self, waker: &Waker) -> Result<u64, Failure> {
        self.ledger.second(self.now).requests += 1;
        let is_down = self.scenario.is_down(self.now);
        if is_down {
            self.ledger.dead(self.now);
            if !self.scenario.hangs {
                return Err(Failure::Refused);
            }
        } else if self.queued >= self.scenario.queue {
            return Err(Failure::Overloaded);
        } else {
            self.queued += 1;
        }
        let number = self.first + self.requests.len() as u64;
        self.requests.push_back(Request {
            waker: Some(waker.clone()),
            since: self.now,
            is_queued: !is_down,
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
        drop(state);
        self.number = None;
        Poll::Ready(match end {
            End::Answered => Ok(()),
            End::Lost => Err(Failure::Refused),
            End::TimedOut => Err(Failure::TimedOut),
        })
    }
}

/// The client has gone before the end.
impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        if let Some(request) = self.service.state().get(number) {
            request.is_over = true;
            request.waker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    /// Ten thousand calls a second: twelve and a half requests in each millisecond.
    fn service() -> Service {
        Service::new(&Scenario::new(10_000, 10, 1))
    }

    /// How a request of this moment ends, and after how many milliseconds.
    fn ask(service: &Service, began: u64) -> (Result<(), Failure>, u64) {
        let mut asking = pin!(service.request());
        let mut context = Context::from_waker(Waker::noop());
        for now in began + 1.. {
            match asking.as_mut().poll(&mut context) {
                Poll::Ready(end) => return (end, now - 1 - began),
                Poll::Pending => service.tick(now),
            }
        }
        unreachable!("there is no end of time")
    }

    /// So many requests whose clients do not wait.
    fn flood(service: &Service, requests: usize) {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..requests {
            let _ = pin!(service.request()).poll(&mut context);
        }
    }

    #[test]
    fn an_idle_service_answers_in_five_milliseconds_and_those_of_the_queue() {
        let service = service();
        service.tick(0);
        let (answer, took) = ask(&service, 0);
        assert!(answer.is_ok());
        assert!((5..=7).contains(&took), "{took}");
    }

    #[test]
    fn the_more_it_has_to_do_the_longer_it_takes() {
        let service = service();
        for now in 0..1_000 {
            service.tick(now);
            flood(&service, 10);
        }
        let (answer, took) = ask(&service, 999);
        assert!(answer.is_ok());
        // Four fifths of its capacity are in use.
        assert!((20..=30).contains(&took), "{took}");
    }

    #[test]
    fn a_client_loses_patience_and_the_service_does_its_work_in_vain() {
        let service = service();
        service.tick(0);
        flood(&service, 12_500);
        let (answer, took) = ask(&service, 0);
        assert!(matches!(answer, Err(Failure::TimedOut)), "{answer:?}");
        assert_eq!(took, 500);
        for now in 501..=1_001 {
            service.tick(now);
        }
        let in_vain: u32 =
            service.note(|ledger, _| ledger.seconds.iter().map(|second| second.in_vain).sum());
        // What it got to after those 500 ms, and what could not arrive in time.
        assert!((6_200..=7_600).contains(&in_vain), "{in_vain}");
    }

    #[test]
    fn a_full_queue_refuses_and_takes_as_much_as_is_done() {
        let service = service();
        service.tick(0);
        flood(&service, 25_000);
        assert!(matches!(ask(&service, 0).0, Err(Failure::Overloaded)));
        for now in 1..=8 {
            service.tick(now);
        }
        let mut context = Context::from_waker(Waker::noop());
        let mut taken = 0;
        while pin!(service.request()).poll(&mut context).is_pending() {
            taken += 1;
        }
        // Of a ninth millisecond it has kept a request at most.
        assert!((100..=101).contains(&taken), "{taken}");
    }

    #[test]
    fn a_dead_service_refuses_and_what_waits_in_it_is_lost() {
        let service = service();
        let outage = Scenario::new(10_000, 10, 1).outage;
        service.tick(outage - 1);
        let (end, took) = ask(&service, outage - 1);
        assert!(matches!(end, Err(Failure::Refused)) && took == 1, "{end:?} after {took}");
        let (end, took) = ask(&service, outage);
        assert!(matches!(end, Err(Failure::Refused)) && took == 0, "{end:?} after {took}");
    }

    #[test]
    fn one_that_hangs_costs_a_client_its_patience() {
        let scenario = Scenario { hangs: true, ..Scenario::new(10_000, 10, 1) };
        // Also one whose request waits, or whose answer is on its way, when the service dies.
        for began in [scenario.outage - 3, scenario.outage - 1, scenario.outage] {
            let service = Service::new(&scenario);
            service.tick(began);
            let (end, took) = ask(&service, began);
            assert!(matches!(end, Err(Failure::TimedOut)) && took == 500, "{end:?} after {took}");
        }
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let service = service();
        for now in 0..10_000 {
            service.tick(now);
            flood(&service, 10);
        }
        let held = service.state().requests.len();
        assert!(held <= 20, "{held}");
    }
}
