//! A child process that does not outlive its test, however that ends.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs its arguments and signals what it is told on its input. When that ends, because we have
/// dropped it or are dead, it kills the child, stopped or not. It ignores what a terminal sends, and
/// that nobody reads what it says: it would leave the child behind.
const KEEPER: &str = r#"
    trap '' INT TERM HUP PIPE
    "$@" </dev/null >"$LOG" 2>&1 &
    echo started
    while read -r signal; do
        kill -s "$signal" $!
        echo sent
    done
    kill -s KILL $!
    wait $!
    rm -rf "$FOLDER"
"#;

#[derive(Debug)]
pub(crate) struct Process {
    keeper: Child,
    /// `None` only while it is dropped.
    orders: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    folder: PathBuf,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Stop,
    Continue,
}

impl Process {
    /// Starts a program in `folder`, which will be removed with it.
    pub(crate) fn start(folder: PathBuf, command: &[OsString]) -> Self {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args(command)
            .env("FOLDER", &folder)
            .env("LOG", log_in(&folder))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let orders = keeper.stdin.take();
        let replies = BufReader::new(keeper.stdout.take().expect("it is piped"));
        let mut process = Self { keeper, orders, replies, folder };
        process.hear();
        process
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        let order: &[u8] = match signal {
            Signal::Stop => b"STOP\n",
            Signal::Continue => b"CONT\n",
        };
        let orders = self.orders.as_mut().expect("it is taken in drop");
        orders.write_all(order).expect("the shell runs for as long as we hold its input");
        self.hear();
    }

    /// What the process has printed so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log_in(&self.folder)).unwrap_or_default()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn hear(&mut self) {
        let mut line = String::new();
        self.replies.read_line(&mut line).expect("the shell answers in text");
    }
}

impl Drop for Process {
    /// Returns when the child is gone.
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.keeper.wait();
    }
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// A directory that nobody else has.
pub(crate) fn new_folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    // Relaxed: only that each has its own.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("bindu-cb-tests-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    // Left by a process of the same number that was killed together with its keeper.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a directory for temporary files");
    folder
}
