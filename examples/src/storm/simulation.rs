//! One policy, from the first second to the last, on a runtime of its own.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bindu_cb::__shared::MemoryServer;
use bindu_cb::testing::{self, Process};
use bindu_cb::{Event, registry};
use tokio::time::{Instant, sleep_until};

use super::ledger::{Change, Ended, Ledger};
use super::policy::Policy;
use super::scenario::{Scenario, millis};
use super::service::{Failure, Service};

/// How long a command takes on its way to the server of the shared circuits, and so long back.
const TO_THE_SERVER: Duration = Duration::from_millis(1);

/// What came of a policy.
#[derive(Clone, Debug)]
pub struct Run {
    /// Which.
    pub policy: &'static Policy,
    /// What was seen.
    pub ledger: Ledger,
}

/// Lets a storm happen. `progress` is told each second that has passed. Takes a thread of its own: what
/// the crate leaves to chance is seeded for that.
///
/// # Panics
///
/// If there can be no thread or no runtime.
pub fn simulate(
    policy: &'static Policy,
    scenario: &Scenario,
    progress: impl Fn(u64) + Send,
) -> Run {
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| {
            testing::seed(scenario.seed);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime without I/O asks the system for nothing");
            runtime.block_on(storm(policy, scenario, progress))
        });
        storm.join().expect("a panic there has been shown")
    })
}

async fn storm(policy: &'static Policy, scenario: &Scenario, progress: impl Fn(u64)) -> Run {
    let start = Instant::now();
    let service = Service::new(scenario);
    let replicas = replicas(policy, scenario, &service, start);
    let mut chance = fastrand::Rng::with_seed(scenario.seed);
    let mut beginning: Vec<Vec<u32>> = vec![Vec::new(); 1_000];
    for now in 0..scenario.length {
        sleep_until(start + millis(now)).await;
        if now % 1_000 == 0 {
            progress(now / 1_000);
            for worker in 0..scenario.workers {
                beginning[chance.usize(0..1_000)].push(worker);
            }
        }
        service.tick(now);
        let workers = &mut beginning[usize::try_from(now % 1_000).unwrap_or(0)];
        for worker in workers.drain(..) {
            let process = replicas[worker as usize % replicas.len()].clone();
            tokio::spawn(work(policy, process, service.clone()));
        }
    }
    let ledger = service.note(|ledger, _| ledger.clone());
    Run { policy, ledger }
}

async fn work(policy: &Policy, process: Process, service: Service) {
    let began = service.note(|ledger, now| {
        ledger.began(now);
        now
    });
    let mut call = pin!(policy.call(&service));
    // As `Process::run` does, which would hold the future twice: there are many.
    let how = match poll_fn(|cx| process.enter(|| call.as_mut().poll(cx))).await {
        Ok(()) => Ended::Well,
        Err(Failure::Open(_)) => Ended::Rejected,
        Err(_) => Ended::Badly,
    };
    service.note(|ledger, now| ledger.ended(began, now, how));
}

fn replicas(
    policy: &Policy,
    scenario: &Scenario,
    service: &Service,
    start: Instant,
) -> Vec<Process> {
    let server = MemoryServer::new();
    server.set_latency(TO_THE_SERVER);
    let replica = |number| {
        let process = Process::default();
        let service = service.clone();
        process.enter(|| {
            registry().configure(policy.settings(scenario));
            registry().subscribe(move |event: &Event| {
                let at = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                let change = Change { at, replica: number, to: event.to };
                service.note(|ledger, _| ledger.changes.push(change));
            });
        });
        if policy.is_shared {
            tokio::spawn(process.share(&server, 1));
        }
        process
    };
    (0..policy.replicas).map(replica).collect()
}
