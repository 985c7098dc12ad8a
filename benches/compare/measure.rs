//! Times every case on one thread and on two, a little of each in every round.
//!
//! The clock is criterion's. Its runner is not: it times one case after the other, so that a
//! change of the machine's pace between two of them reads as a difference of the cases. Here each
//! round takes one short sample of all, and what is compared are medians over the same rounds: of
//! the quarter of the samples in which the threads waited least for a core, or for each other. On
//! a busy machine two threads that take turns would otherwise seem not to be in each other's way.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::alloc::{Tally, tally};
use crate::case::{Case, Meeting, Timed, Took, now};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One thread.
    One,
    /// Two workers of one multi-thread runtime.
    Shared,
    /// Two threads, each with a current-thread runtime of its own.
    Apart,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::One, Self::Shared, Self::Apart];
}

type Job = (Timed, Sender<Option<Took>>);

/// The threads of all modes, alive for the whole run.
struct Stage {
    one: Runtime,
    shared: Runtime,
    apart: [Sender<Job>; 2],
}

impl Stage {
    fn new() -> std::io::Result<Self> {
        let thread_with_runtime = || {
            let (jobs, queue): (_, Receiver<Job>) = channel();
            let runtime = Builder::new_current_thread().enable_time().build()?;
            thread::spawn(move || {
                for (job, answer) in queue {
                    // Nobody is left to tell if the run has failed.
                    let _ = answer.send(runtime.block_on(job));
                }
            });
            std::io::Result::Ok(jobs)
        };
        Ok(Self {
            one: Builder::new_current_thread().enable_time().build()?,
            shared: Builder::new_multi_thread().worker_threads(2).enable_time().build()?,
            apart: [thread_with_runtime()?, thread_with_runtime()?],
        })
    }

    /// Repeated until the threads have met: the runtime may give both tasks to one worker.
    fn sample(&self, case: &Case, mode: Mode, calls: u64) -> Sample {
        let mut tries = (0..1_000).map(|_| self.try_sample(case, mode, calls));
        tries.find_map(|sample| sample).expect("two threads, which are there to meet")
    }

    fn try_sample(&self, case: &Case, mode: Mode, calls: u64) -> Option<Sample> {
        let part = (case.begin)();
        let times = match mode {
            Mode::One => vec![self.one.block_on(part(calls, Arc::new(Meeting::of(1))))],
            Mode::Shared => {
                let meeting = Arc::new(Meeting::of(2));
                let tasks: Vec<_> =
                    (0..2).map(|_| self.shared.spawn(part(calls, Arc::clone(&meeting)))).collect();
                let join = |task: JoinHandle<_>| self.shared.block_on(task);
                tasks.into_iter().map(|task| join(task).expect("no case panics")).collect()
            }
            Mode::Apart => {
                let meeting = Arc::new(Meeting::of(2));
                let (answer, answers) = channel();
                for thread in &self.apart {
                    let job = (part(calls, Arc::clone(&meeting)), answer.clone());
                    thread.send(job).expect("the thread waits for jobs");
                }
                drop(answer);
                answers.iter().collect::<Vec<_>>()
            }
        };
        assert!(times.len() == if mode == Mode::One { 1 } else { 2 }, "a thread has died");
        let times = times.into_iter().collect::<Option<Vec<_>>>()?;
        let time: f64 = times.iter().map(|took| took.time.as_secs_f64()).sum();
        let waited: f64 = times.iter().map(|took| took.waited.as_secs_f64()).sum();
        let begun = times.iter().map(|took| took.begun);
        let alone = begun.clone().max().zip(begun.min()).map(|(last, first)| last - first);
        let nanos = time * 1e9 / (float(times.len()) * float(calls));
        Some(Sample { nanos, waiting: (waited + alone.unwrap_or_default().as_secs_f64()) / time })
    }

    /// How many calls take about as long as a sample should, in each mode.
    fn calibrate(&self, case: &Case, target: Duration) -> [u64; 3] {
        let target = target.as_secs_f64() * 1e9;
        let on_one = self.calibrate_one(case, target);
        Mode::ALL.map(|mode| {
            if mode == Mode::One {
                return on_one;
            }
            let calls = (on_one / 8).max(1);
            let samples = (0..6).map(|_| self.sample(case, mode, calls));
            let least = samples.min_by(|a, b| a.waiting.total_cmp(&b.waiting));
            calls_for(target, least.map_or(target, |sample| sample.nanos)).min(on_one)
        })
    }

    fn calibrate_one(&self, case: &Case, target: f64) -> u64 {
        let mut calls = 16_u64.min(case.most_calls);
        loop {
            // The best of three: one that was interrupted looks long enough.
            let sample = |_| self.sample(case, Mode::One, calls).nanos;
            let best = (0..3).map(sample).fold(f64::MAX, f64::min);
            if best * float(calls) >= target / 2.0 || calls == case.most_calls {
                return calls_for(target, best).min(case.most_calls);
            }
            calls = (calls * 2).min(case.most_calls);
        }
    }
}

fn calls_for(target: f64, nanos: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small, positive")]
    let calls = (target / nanos.max(0.1)).max(1.0) as u64;
    calls
}

fn float(n: impl TryInto<u32>) -> f64 {
    f64::from(n.try_into().unwrap_or(u32::MAX))
}

#[derive(Clone, Copy)]
struct Sample {
    /// A call.
    nanos: f64,
    /// The share of the time in which a thread had no core, or had begun before the other.
    waiting: f64,
}

/// All samples of one case.
pub(crate) struct Figures {
    samples: [Vec<Sample>; 3],
    pub(crate) allocations: f64,
    pub(crate) bytes: f64,
}

impl Figures {
    pub(crate) fn median(&self, mode: Mode) -> f64 {
        self.quantile(mode, 0.5)
    }

    /// Half of the distance between the quartiles, of the median.
    pub(crate) fn spread(&self, mode: Mode) -> f64 {
        (self.quantile(mode, 0.75) - self.quantile(mode, 0.25)) / 2.0 / self.median(mode)
    }

    /// Whether the machine had too little time for the samples that count to say anything.
    pub(crate) fn disturbed(&self, mode: Mode) -> bool {
        let most = self.least_disturbed(mode).map(|sample| sample.waiting).fold(0.0, f64::max);
        most > 0.1
    }

    fn least_disturbed(&self, mode: Mode) -> impl Iterator<Item = Sample> {
        let mut samples = self.samples[mode as usize].clone();
        samples.sort_by(|a, b| a.waiting.total_cmp(&b.waiting));
        let quarter = samples.len().div_ceil(4);
        samples.into_iter().take(quarter)
    }

    fn quantile(&self, mode: Mode, at: f64) -> f64 {
        let mut samples: Vec<_> = self.least_disturbed(mode).map(|sample| sample.nanos).collect();
        samples.sort_by(f64::total_cmp);
        let last = samples.len() - 1;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let place = (float(last) * at).round() as usize;
        samples[place.min(last)]
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) sample: Duration,
    pub(crate) total: Duration,
    pub(crate) least_rounds: u32,
}

/// The figures of each case, and how many rounds there were.
pub(crate) fn run(cases: &[Case], plan: Plan) -> std::io::Result<(Vec<Figures>, u32)> {
    // Before there are other threads: theirs would be counted, too.
    let mut figures: Vec<_> = cases.iter().map(with_allocations).collect();
    let stage = Stage::new()?;
    let begun = Instant::now();
    let mut todo = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        for (mode, calls) in Mode::ALL.into_iter().zip(stage.calibrate(case, plan.sample)) {
            todo.push((index, mode, calls));
        }
    }
    let mut rounds = 0;
    while rounds < plan.least_rounds || begun.elapsed() < plan.total {
        for (index, mode, calls) in &todo {
            let took = stage.sample(&cases[*index], *mode, *calls);
            figures[*index].samples[*mode as usize].push(took);
        }
        // There and back, so that no case always follows the same one.
        todo.reverse();
        rounds += 1;
    }
    Ok((figures, rounds))
}

fn with_allocations(case: &Case) -> Figures {
    const CALLS: u64 = 500;
    let part = (case.begin)();
    let sample = || part(CALLS, Arc::new(Meeting::of(1)));
    // Twice: samples may take turns with two keys, and each has a circuit made for it once.
    now(sample());
    now(sample());
    // Made before the count begins: the sample's box is not the calls'.
    let counted = sample();
    let (_, Tally { calls, bytes, .. }) = tally(|| now(counted));
    Figures {
        samples: Default::default(),
        allocations: float(calls) / float(CALLS),
        bytes: float(bytes) / float(CALLS),
    }
}
