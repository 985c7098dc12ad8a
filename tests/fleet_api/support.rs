//! A server, the fleet that looks at it, and processes that share through it.

use std::fmt::Debug;
use std::future::Future;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bindu_cb::testing::Process;
use bindu_cb::{CircuitState, Fleet, Settings, SharedError, SharedSettings};
use bindu_cb::{get_circuit_breaker, registry};
use bindu_cb_test_servers::RedisServer;
use tokio::time::{Instant, sleep, timeout};

/// For what comes soon, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it comes soon")
}

/// A busy machine may be late for once.
pub async fn in_time<T: Debug, F>(ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, SharedError>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(SharedError::TimedOut { .. }) if Instant::now() < deadline => {}
            answer => break answer.unwrap(),
        }
    }
}

pub fn settings(server: &RedisServer) -> SharedSettings {
    SharedSettings::new(server.url())
}

pub async fn connect(settings: &SharedSettings) -> Fleet {
    in_time(|| Fleet::connect(settings)).await
}

/// A process that shares its circuits.
pub fn process(server: &RedisServer) -> Process {
    let process = Process::default();
    process.enter(|| {
        let mut settings = Settings::default();
        settings.all().enabled(true);
        registry().configure(settings);
        registry().share(self::settings(server)).unwrap();
    });
    process
}

pub fn state(process: &Process, op: &str) -> CircuitState {
    process.enter(|| get_circuit_breaker(op).state())
}

pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The process's own calls open its circuit.
pub fn trip(process: &Process, op: &str) {
    process.enter(|| {
        let circuit = get_circuit_breaker(op);
        while let Ok(permit) = circuit.try_acquire() {
            permit.failure();
        }
    });
}

/// Lines that were logged since the first call of this, by whatever thread, that hold all of these.
pub fn logged(texts: &[&str]) -> usize {
    let log = String::from_utf8_lossy(&log()).into_owned();
    log.lines().filter(|line| texts.iter().all(|text| line.contains(text))).count()
}

pub fn start_log() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn log() -> MutexGuard<'static, Vec<u8>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        log().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
