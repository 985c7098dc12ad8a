//! A case: one way to make one call, as a loop that can be timed, on one thread or on two.

use std::fmt;
use std::fs::File;
use std::hint::{black_box, spin_loop};
use std::io::Read;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bindu_cb::CircuitBreakerOpenError;

use crate::alloc::tally;

/// What the service's function returns in all cases, so that all move results of the same size.
#[derive(Debug)]
pub(crate) enum Error {
    Open(CircuitBreakerOpenError),
    Down,
}

impl From<CircuitBreakerOpenError> for Error {
    fn from(open: CircuitBreakerOpenError) -> Self {
        Self::Open(open)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(open) => open.fmt(f),
            Self::Down => f.write_str("the service is down"),
        }
    }
}

impl std::error::Error for Error {}

/// The service. The integer goes through `black_box`: a whole `Result` would cost 12 ns there.
pub(crate) async fn bare(n: u64) -> Result<u64, Error> {
    Ok(black_box(n))
}

pub(crate) async fn down() -> Result<u64, Error> {
    Err(Error::Down)
}

/// What [`value`] makes of an error.
pub(crate) const REJECTED: u64 = u64::MAX;

#[inline(always)]
#[expect(clippy::inline_always, reason = "it stands for the caller's own `match`")]
pub(crate) fn value<E>(result: Result<u64, E>) -> u64 {
    result.unwrap_or(REJECTED)
}

/// The result of a future that never waits.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nobody else is here to wait for"),
    }
}

const CALLED_OFF: usize = usize::MAX;
/// Many times what it takes to wake a thread.
const PATIENCE: Duration = Duration::from_millis(20);

/// Where the threads of a sample begin together, and run until the last of them has been timed:
/// whoever is done goes on calling, so that the other is not timed alone.
pub(crate) struct Meeting {
    threads: usize,
    here: AtomicUsize,
    done: AtomicUsize,
}

impl Meeting {
    pub(crate) fn of(threads: usize) -> Self {
        Self { threads, here: AtomicUsize::new(0), done: AtomicUsize::new(0) }
    }

    /// False if it has been called off: somebody has waited too long, and so may be keeping the
    /// others from the thread that they are to run on.
    pub(crate) fn wait_for_all(&self) -> bool {
        let arrive = |here| (here != CALLED_OFF).then(|| here + 1);
        if self.here.fetch_update(Ordering::SeqCst, Ordering::SeqCst, arrive).is_err() {
            return false;
        }
        let begun = Instant::now();
        loop {
            let here = self.here.load(Ordering::SeqCst);
            if here == CALLED_OFF || here >= self.threads {
                return here != CALLED_OFF;
            }
            if begun.elapsed() > PATIENCE {
                // If somebody has come meanwhile, the next turn sees it.
                let _ = self.here.compare_exchange(
                    here,
                    CALLED_OFF,
                    Ordering::SeqCst,
                    Ordering::SeqCst,
                );
            }
            // Not `yield_now`: on a busy machine this thread would come back long after the other
            // has begun.
            spin_loop();
        }
    }

    pub(crate) fn done(&self) {
        self.done.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn over(&self) -> bool {
        self.done.load(Ordering::Relaxed) >= self.threads
    }
}

/// When a thread's calls began, how long they took, and for how much of that it had no core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) begun: Instant,
    pub(crate) time: Duration,
    pub(crate) waited: Duration,
}

/// How long a thread has been ready to run and was not, since it began.
#[derive(Clone, Copy)]
pub(crate) struct Waited(ThreadId, Duration);

impl Waited {
    /// Zero for a task that has moved to another thread meanwhile: it had waited for something
    /// else than a core.
    pub(crate) fn since(self, before: Self) -> Duration {
        if self.0 == before.0 { self.1.saturating_sub(before.1) } else { Duration::ZERO }
    }
}

/// This thread, so far. Zero where the system does not say. Allocates nothing, because allocations
/// are counted around it.
pub(crate) fn waited() -> Waited {
    let mut text = [0; 96];
    let read = File::open("/proc/thread-self/schedstat").and_then(|mut file| file.read(&mut text));
    let text = str::from_utf8(&text[..read.unwrap_or(0)]).unwrap_or("");
    let nanos = text.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
    Waited(thread::current().id(), Duration::from_nanos(nanos.unwrap_or(0)))
}

/// `None` if the threads did not meet.
pub(crate) type Timed = Pin<Box<dyn Future<Output = Option<Took>> + Send>>;
/// A thread's part of a sample: so many calls.
pub(crate) type Part = Box<dyn Fn(u64, Arc<Meeting>) -> Timed>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Nobodys,
    Ours,
    Peers,
}

pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) whose: Whose,
    pub(crate) name: String,
    /// Begins a sample: what it returns makes each thread's part, on one circuit.
    pub(crate) begin: Box<dyn Fn() -> Part>,
    /// One call.
    pub(crate) once: Box<dyn Fn() -> u64>,
    pub(crate) rejects: bool,
    /// The size of the call's future.
    pub(crate) future: usize,
    /// Bytes that a circuit holds, itself included.
    pub(crate) circuit: Option<i64>,
    pub(crate) most_calls: u64,
}

impl Case {
    pub(crate) fn circuit(mut self, bytes: i64) -> Self {
        self.circuit = Some(bytes);
        self
    }

    /// Whether it is a call of a function under one of our attributes.
    pub(crate) fn is_annotated(&self) -> bool {
        self.whose == Whose::Ours && self.name.contains("with_")
    }

    pub(crate) fn rejects(mut self) -> Self {
        self.rejects = true;
        self
    }

    /// For circuits that become slower with every call: a fresh one and no more calls a sample.
    pub(crate) fn most_calls(mut self, most_calls: u64) -> Self {
        self.most_calls = most_calls;
        self
    }
}

/// `case!(group, whose, name, state, |state, n| future)`: `state` is evaluated once a sample and
/// cloned for each thread; the future is made and awaited for each call.
///
/// A macro, because the call is to stand in the timed loop as it would in a user's function: an
/// async closure as an argument would lose `Send`, a boxed future would cost more than the call.
macro_rules! case {
    ($group:expr, $whose:ident, $name:expr, $make:expr, |$state:ident, $n:ident| $call:expr) => {{
        use std::hint::black_box;

        use criterion::measurement::{Measurement, WallTime};

        use crate::case::{Case, Meeting, Part, Timed, Took, Whose, now, value, waited};

        let make = $make;
        let once = make.clone();
        #[allow(unused_mut, unused_variables, reason = "some calls need the one or the other")]
        let future = {
            let mut $state = make();
            let $n = 0_u64;
            size_of_val(&$call)
        };
        #[allow(unused_mut, unused_variables, reason = "some calls need the one or the other")]
        let part = move || -> Part {
            let state = make();
            Box::new(move |calls, meeting: std::sync::Arc<Meeting>| -> Timed {
                let mut $state = state.clone();
                Box::pin(async move {
                    let mut took = None;
                    let mut left = calls;
                    if !meeting.wait_for_all() {
                        return None;
                    }
                    let waited_before = waited();
                    let begun = WallTime.start();
                    loop {
                        for i in 0..left {
                            let $n = black_box(i);
                            black_box(value($call.await));
                        }
                        if took.is_none() {
                            let time = WallTime.end(begun);
                            meeting.done();
                            took = Some((time, waited().since(waited_before)));
                        }
                        if meeting.over() {
                            let (time, waited) = took.unwrap_or_default();
                            break Some(Took { begun, time, waited });
                        }
                        left = left.min(64);
                    }
                })
            })
        };
        #[allow(unused_mut, unused_variables, reason = "some calls need the one or the other")]
        let once = move || {
            let mut $state = once();
            let $n = 1_u64;
            now(async { value($call.await) })
        };
        Case {
            group: $group,
            whose: Whose::$whose,
            name: $name.into(),
            begin: Box::new(part),
            once: Box::new(once),
            rejects: false,
            future,
            circuit: None,
            most_calls: u64::MAX,
        }
    }};
}
pub(crate) use case;

/// What a circuit holds once two threads have used it, itself included.
pub(crate) fn footprint<C: Send + Sync>(
    mut make: impl FnMut(&'static str) -> C,
    exercise: impl Fn(&C) + Sync,
) -> i64 {
    // What is allocated once for the whole process, or for a thread, is not the circuit's: both
    // threads use another one before, and live until the count is over.
    let first = make("footprint:first");
    let counted = OnceLock::new();
    let turn = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            exercise(&first);
            turn.wait();
            turn.wait();
            counted.get().map(&exercise);
            turn.wait();
            turn.wait();
        });
        exercise(&first);
        turn.wait();
        let ((), tally) = tally(|| {
            exercise(counted.get_or_init(|| make("footprint:second")));
            turn.wait();
            turn.wait();
        });
        turn.wait();
        tally.live + i64::try_from(size_of::<C>()).unwrap_or(i64::MAX)
    })
}
