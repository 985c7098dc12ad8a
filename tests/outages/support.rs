//! What several outages need.

use std::io::{self, Write};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bindu_cb::testing::Isolated;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Level, Subscriber};

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A registry of the test's own, with circuit breaking on, and what is logged meanwhile.
pub fn begin() -> (Isolated, Log) {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    (cb, Log::of_this_thread())
}

pub async fn later(seconds: u64) {
    tokio::time::advance(secs(seconds)).await;
}

/// The lines as an application would print them, without the time and the module.
#[derive(Clone, Default)]
pub struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    _in_force: Option<Arc<DefaultGuard>>,
}

impl Log {
    pub fn of_this_thread() -> Self {
        // A subscriber that is the only one is not asked on behalf of other threads, which may so
        // switch a callsite off for all. With two more that is never so.
        static OTHERS: LazyLock<[Dispatch; 2]> =
            LazyLock::new(|| [(); 2].map(|()| Dispatch::new(NoSubscriber::new())));
        LazyLock::force(&OTHERS);
        let log = Self::default();
        let guard = tracing::subscriber::set_default(log.subscriber(Level::DEBUG));
        Self { _in_force: Some(Arc::new(guard)), ..log }
    }

    /// For a process that runs nothing else: what threads of the crate log is in it, too.
    pub fn of_the_process() -> Self {
        let log = Self::default();
        tracing::subscriber::set_global_default(log.subscriber(Level::INFO)).unwrap();
        log
    }

    fn subscriber(&self, most: Level) -> impl Subscriber + Send + Sync + 'static {
        let text = Arc::clone(&self.text);
        tracing_subscriber::fmt()
            .with_writer(move || Lines(Arc::clone(&text)))
            .with_max_level(most)
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .finish()
    }

    /// All so far, which is forgotten.
    pub fn take(&self) -> String {
        let text = std::mem::take(&mut *self.text.lock().unwrap());
        String::from_utf8(text).unwrap()
    }

    /// Waits, in real time, until there is a line with this text.
    pub fn wait_for(&self, text: &str) {
        eventually(|| String::from_utf8_lossy(&self.text.lock().unwrap()).contains(text));
    }
}

/// Waits, in real time: it is a real server that has to do something.
#[track_caller]
pub fn eventually(mut is_so: impl FnMut() -> bool) {
    let is_so = (0..1_000).any(|_| {
        let is_so = is_so();
        if !is_so {
            std::thread::sleep(Duration::from_millis(10));
        }
        is_so
    });
    assert!(is_so, "within ten seconds");
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `body` in a process of its own, which has these variables and runs nothing but `test`.
pub fn alone(test: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
    const IS_ALONE: &str = "OUTAGES_IS_ALONE";
    if std::env::var_os(IS_ALONE).is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(IS_ALONE, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future)
}
