//! Processes in one process.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bindu_cb::__shared::MemoryServer;
use bindu_cb::testing::Process;
use bindu_cb::{CircuitState, Settings, get_circuit_breaker, registry, with_circuit_breaker};
use tokio::time::sleep;

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A service that all replicas call.
#[derive(Clone, Default)]
pub struct Service {
    is_down: Rc<Cell<bool>>,
    /// Calls that have reached it.
    pub asked: Rc<Cell<u32>>,
}

impl Service {
    pub fn set_down(&self, is_down: bool) {
        self.is_down.set(is_down);
    }

    fn ask(&self) -> io::Result<()> {
        self.asked.set(self.asked.get() + 1);
        if self.is_down.get() { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) }
    }
}

#[with_circuit_breaker(op = "shared", failure_threshold = 3, recovery_timeout = "10s")]
pub async fn call(service: &Service) -> io::Result<()> {
    service.ask()
}

/// A replica: a process with a supervisor.
#[derive(Clone)]
pub struct Replica(pub Process);

impl Replica {
    /// Must be called in a `LocalSet`.
    pub fn start(server: &MemoryServer, quorum: u32) -> Self {
        let replica = Self::alone();
        tokio::task::spawn_local(replica.0.share(server, quorum));
        replica
    }

    /// With a circuit of its own.
    pub fn alone() -> Self {
        let process = Process::default();
        process.enter(|| {
            let mut settings = Settings::default();
            settings.all().enabled(true);
            registry().configure(settings);
        });
        Self(process)
    }

    pub async fn call(&self, service: &Service) -> io::Result<()> {
        self.0.run(call(service)).await
    }

    pub async fn fail(&self, service: &Service, times: u32) {
        for _ in 0..times {
            self.call(service).await.unwrap_err();
        }
    }

    pub fn state(&self) -> CircuitState {
        self.0.enter(|| get_circuit_breaker("shared").state())
    }
}

/// Long enough for everything that is under way to arrive, and for nothing else.
pub async fn settle() {
    sleep(millis(5)).await;
}

pub async fn local<F: Future>(future: F) -> F::Output {
    tokio::task::LocalSet::new().run_until(future).await
}

/// So many replicas that have called the service, which works, once.
pub async fn fleet(replicas: u32, quorum: u32) -> (MemoryServer, Service, Vec<Replica>) {
    let (server, service) = (MemoryServer::new(), Service::default());
    let replicas: Vec<_> = (0..replicas).map(|_| Replica::start(&server, quorum)).collect();
    for replica in &replicas {
        replica.call(&service).await.unwrap();
    }
    settle().await;
    (server, service, replicas)
}
