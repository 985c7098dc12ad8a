//! What several groups need.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bindu_cb::{AttemptTimeoutError, CircuitBreaker, CircuitBreakerOpenError};
use bindu_cb::{CircuitBreakerSettings, Snapshot};
use tracing::field::{Field, Visit};
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A circuit of the test's own that opens at the `failures`-th failure.
pub fn circuit(failures: u32) -> CircuitBreaker {
    CircuitBreaker::new("test", CircuitBreakerSettings::default().failure_threshold(failures))
}

/// The caller is told to come back after this time, or up to a tenth later: all at once they would
/// be a herd.
pub fn assert_told(open: &CircuitBreakerOpenError, wait: Duration) {
    let told = open.retry_after();
    assert!((wait..=wait + wait / 10).contains(&told), "told {told:?}, to be {wait:?}");
}

/// Fails as often as the circuit lets through, which opens it.
pub fn trip(circuit: &CircuitBreaker) {
    while let Ok(permit) = circuit.try_acquire() {
        permit.failure();
    }
}

/// What a guarded call of a [`Service`] can end in.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// With the number of the attempt that it was the answer to.
    #[error("connection refused, {0}")]
    Refused(u32),
    #[error(transparent)]
    Open(#[from] CircuitBreakerOpenError),
    #[error(transparent)]
    Slow(#[from] AttemptTimeoutError),
}

/// A service that counts who asks it, and refuses the first so many.
#[derive(Debug, Default)]
pub struct Service {
    asked: AtomicU32,
    refuses: AtomicU32,
}

impl Service {
    pub fn up() -> Self {
        Self::default()
    }

    pub fn down() -> Self {
        Self::refusing(u32::MAX)
    }

    /// Refuses the first `times` that ask.
    pub fn refusing(times: u32) -> Self {
        Self { asked: AtomicU32::new(0), refuses: AtomicU32::new(times) }
    }

    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Answers with the number of the attempt.
    pub fn ask(&self) -> Result<u32, Failure> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if number <= self.refuses.load(Ordering::Relaxed) {
            return Err(Failure::Refused(number));
        }
        Ok(number)
    }
}

/// The circuit `op` as the registry shows it. It must exist.
pub fn snapshot_of(op: &str) -> Snapshot {
    let all = bindu_cb::registry().snapshot();
    all.into_iter().find(|snapshot| snapshot.operation == op).expect("the circuit exists")
}

/// What is logged by this crate on this thread, until it is dropped.
pub struct Log {
    lines: Arc<Mutex<Vec<Line>>>,
    _in_force: DefaultGuard,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub level: Level,
    pub message: String,
    pub fields: BTreeMap<&'static str, String>,
}

impl Line {
    /// The text of a field, empty if there is none.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

impl Log {
    pub fn capture() -> Self {
        // A subscriber that is the only one is not asked on behalf of other threads, which may so
        // switch a callsite off for all. With two more that is never so.
        static OTHERS: LazyLock<[Dispatch; 2]> =
            LazyLock::new(|| [(); 2].map(|()| Dispatch::new(NoSubscriber::new())));
        LazyLock::force(&OTHERS);

        let lines = Arc::default();
        let subscriber =
            tracing_subscriber::registry().with(CaptureLayer { lines: Arc::clone(&lines) });
        Self { lines, _in_force: tracing::subscriber::set_default(subscriber) }
    }

    pub fn at(&self, level: Level) -> Vec<Line> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| line.level == level).cloned().collect()
    }

    /// The messages of this level.
    pub fn messages(&self, level: Level) -> Vec<String> {
        self.at(level).into_iter().map(|line| line.message).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.lock().unwrap().is_empty()
    }
}

struct CaptureLayer {
    lines: Arc<Mutex<Vec<Line>>>,
}

impl<S: Subscriber> Layer<S> for CaptureLayer {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if !event.metadata().target().starts_with("bindu_cb::") {
            return;
        }
        let mut line = Line {
            level: *event.metadata().level(),
            message: String::new(),
            fields: BTreeMap::new(),
        };
        event.record(&mut line);
        self.lines.lock().unwrap().push(line);
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => drop(self.fields.insert(name, value.to_owned())),
        }
    }
}

/// Opens the circuit and lets its wait, the default one, pass: the next call will be a probe.
pub async fn trip_and_wait(circuit: &CircuitBreaker) {
    trip(circuit);
    tokio::time::advance(secs(30)).await;
}

/// Begins a call whose first attempt fails, and lets it wait for 10 s.
pub async fn begin<T: Send + 'static>(call: impl Future<Output = T> + 'static) -> Waiting<T> {
    let tasks = tokio::task::LocalSet::new();
    let task = tasks.spawn_local(call);
    let mut waiting = Waiting { tasks, task };
    waiting.go_on(secs(10)).await;
    waiting
}

/// A call under way.
pub struct Waiting<T> {
    tasks: tokio::task::LocalSet,
    task: tokio::task::JoinHandle<T>,
}

impl<T> Waiting<T> {
    pub async fn go_on(&mut self, time: Duration) {
        self.tasks.run_until(tokio::time::sleep(time)).await;
    }

    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// The result, which must come within a millisecond.
    pub async fn ends_at_once(self) -> T {
        let began = tokio::time::Instant::now();
        let result = self.tasks.run_until(self.task).await.unwrap();
        let took = began.elapsed();
        assert!(took <= millis(1), "it took {took:?}");
        result
    }

    /// The result, which comes with the second attempt.
    pub async fn ends_in_its_own_time(self) -> T {
        let began = tokio::time::Instant::now();
        let result = self.tasks.run_until(self.task).await.unwrap();
        assert!(began.elapsed() > secs(3_000));
        result
    }
}
