//! The guarded calls of a replica, and how long they take.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bindu_cb::{CircuitState, get_circuit_breaker, with_circuit_breaker};

use crate::service::Connection;

/// The operation whose circuit the tests are about.
pub const FLEET: &str = "fleet";

const EVERY: Duration = Duration::from_millis(10);
/// So that there are enough to speak of their p99.
const AT_ONCE: usize = 8;

#[with_circuit_breaker(op = FLEET)]
async fn ask(service: &mut Connection, took: &mut Duration) -> io::Result<()> {
    let begun = Instant::now();
    let answer = service.ask();
    *took = begun.elapsed();
    answer
}

#[with_circuit_breaker(op = FLEET)]
async fn fail() -> io::Result<()> {
    Err(io::ErrorKind::ConnectionRefused.into())
}

#[with_circuit_breaker(op = "closed")]
async fn succeed() -> io::Result<()> {
    Ok(())
}

pub fn trip() {
    let runtime = runtime();
    let circuit = get_circuit_breaker(FLEET);
    while circuit.state() != CircuitState::Open {
        // Of the calls that go on meanwhile one may succeed in between.
        let _ = runtime.block_on(fail());
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[derive(Clone, Default)]
struct Samples(Arc<Mutex<Vec<Duration>>>);

impl Samples {
    fn add(&self, sample: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }

    /// How many, p50, p99 and the longest, in nanoseconds. None are kept.
    fn take(&self) -> String {
        let mut samples =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        samples.sort_unstable();
        let part = |percent: usize| samples.get(samples.len() * percent / 100);
        let [p50, p99] = [50, 99].map(|percent| part(percent).copied().unwrap_or_default());
        let max = samples.last().copied().unwrap_or_default();
        let [p50, p99, max] = [p50, p99, max].map(|time| time.as_nanos());
        format!("{} {p50} {p99} {max}", samples.len())
    }
}

/// Calls both circuits all the time, each on a thread of its own.
pub struct Calls {
    closed: Samples,
    fleet: Samples,
}

impl Calls {
    pub fn start(service: &str, replica: usize) -> Self {
        let (closed, fleet) = (Samples::default(), Samples::default());
        let samples = closed.clone();
        std::thread::spawn(move || {
            let runtime = runtime();
            loop {
                for _ in 0..AT_ONCE {
                    let begun = Instant::now();
                    let _ = runtime.block_on(succeed());
                    samples.add(begun.elapsed());
                }
                sleep(EVERY);
            }
        });
        let samples = fleet.clone();
        let mut service = Connection::to(service, replica).unwrap();
        std::thread::spawn(move || {
            let runtime = runtime();
            loop {
                for _ in 0..AT_ONCE {
                    let (begun, mut took) = (Instant::now(), Duration::ZERO);
                    let _ = runtime.block_on(ask(&mut service, &mut took));
                    samples.add(begun.elapsed().saturating_sub(took));
                }
                sleep(EVERY);
            }
        });
        Self { closed, fleet }
    }

    pub fn figures(&self) -> String {
        format!("{} {}", self.closed.take(), self.fleet.take())
    }
}
