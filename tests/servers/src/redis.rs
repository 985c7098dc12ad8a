//! A real `redis-server`.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::install;
use crate::ports;
use crate::process::{Process, Signal, new_folder};

const PACKAGE: &str = "redis-server";
const LONGEST_START: Duration = Duration::from_secs(20);

/// A server on a port of loopback, empty, that keeps nothing on disk. It is killed when this is
/// dropped, and when the test's process dies in any way.
///
/// Its methods take `&self`, so that a test can share it with its tasks; all of them block.
#[derive(Debug)]
pub struct RedisServer {
    options: Options,
    port: u16,
    running: Mutex<Running>,
}

#[derive(Debug)]
struct Running {
    /// `None` after it was killed.
    process: Option<Process>,
    /// Where the time is that its clock shows, if that can be moved.
    clock: Option<PathBuf>,
    ahead: i64,
}

/// How a server is started.
///
/// ```
/// let server = bindu_cb_test_servers::RedisServer::options().with_password("secret").start();
/// assert_eq!(server.cli(&["PING"]), "PONG");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    password: Option<String>,
    arguments: Vec<String>,
    is_replica: bool,
    /// Seconds.
    ahead: Option<i64>,
    tls_port: Option<u16>,
}

impl Options {
    /// The password of the user `default`.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// A replica, in sync when it has started. With the same password, if any.
    #[must_use]
    pub fn replica_of(mut self, primary: &RedisServer) -> Self {
        self.is_replica = true;
        self.password.clone_from(&primary.options.password);
        if let Some(password) = &primary.options.password {
            self.arguments.extend(["--masterauth".to_owned(), password.clone()]);
        }
        let port = primary.port.to_string();
        self.arguments.extend(["--replicaof".to_owned(), "127.0.0.1".to_owned(), port]);
        self
    }

    /// A wall clock that is this many seconds ahead, and can be moved by
    /// [`set_clock`](RedisServer::set_clock). The monotonic one is left alone.
    #[must_use]
    pub fn with_faketime(mut self, seconds: i64) -> Self {
        self.ahead = Some(seconds);
        self
    }

    /// Listens on [another port](RedisServer::tls_url), too, for TLS, with a certificate that vouches
    /// for itself.
    #[must_use]
    pub fn with_tls(mut self) -> Self {
        self.tls_port = Some(ports::free());
        self
    }

    /// Further arguments: `["--maxmemory", "2mb"]`.
    #[must_use]
    pub fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> RedisServer {
        for _ in 0..10 {
            let port = ports::free();
            // Another process may have taken the port meanwhile.
            if let Ok(running) = self.launch(port, self.ahead.unwrap_or(0)) {
                let server = RedisServer { options: self, port, running: Mutex::new(running) };
                server.wait_for_primary();
                return server;
            }
        }
        panic!("ten ports that were free were not when redis-server asked for them");
    }

    fn launch(&self, port: u16, ahead: i64) -> Result<Running, PortTaken> {
        let folder = new_folder();
        let mut command: Vec<OsString> = Vec::new();
        let clock = self.ahead.map(|_| folder.join("clock"));
        if let Some(clock) = &clock {
            set_clock(clock, ahead);
            let mut libraries = OsString::from(install::libfaketime());
            // With its `malloc`: jemalloc asks for the time while libfaketime is being set up.
            libraries.push(":libc.so.6");
            let variables = [
                ("LD_PRELOAD=", libraries.as_os_str()),
                ("FAKETIME_TIMESTAMP_FILE=", clock.as_os_str()),
                ("FAKETIME_NO_CACHE=", "1".as_ref()),
                ("FAKETIME_DONT_FAKE_MONOTONIC=", "1".as_ref()),
            ];
            command.push("env".into());
            for (name, value) in variables {
                let mut variable = OsString::from(name);
                variable.push(value);
                command.push(variable);
            }
        }
        command.push(install::program("redis-server", PACKAGE).into());
        let port_text = port.to_string();
        let arguments = [
            ["--port", &port_text],
            ["--bind", "127.0.0.1"],
            ["--dir", folder.to_str().expect("temporary directories have plain names")],
            ["--save", ""],
            ["--appendonly", "no"],
            // A replica would wait five seconds for others to come.
            ["--repl-diskless-sync-delay", "0"],
            ["--enable-debug-command", "yes"],
        ];
        command.extend(arguments.as_flattened().iter().map(OsString::from));
        if let Some(password) = &self.password {
            command.extend(["--requirepass".into(), password.into()]);
        }
        if let Some(port) = self.tls_port {
            let [certificate, key] = certify(&folder);
            command.extend(["--tls-port".into(), port.to_string().into()]);
            command.extend(["--tls-cert-file".into(), certificate.into()]);
            command.extend(["--tls-key-file".into(), key.into()]);
            command.extend(["--tls-auth-clients".into(), "no".into()]);
        }
        command.extend(self.arguments.iter().map(OsString::from));

        let process = Process::start(folder, &command);
        wait_for(
            "redis-server to be ready",
            || process.log(),
            || {
                let log = process.log();
                match () {
                    () if log.contains("Ready to accept connections") => Some(Ok(())),
                    () if log.contains("Could not create server TCP") => Some(Err(PortTaken)),
                    () => None,
                }
            },
        )?;
        wait_for("redis-server to answer", || process.log(), || answers(port).then_some(()));
        Ok(Running { process: Some(process), clock, ahead })
    }
}

struct PortTaken;

impl RedisServer {
    /// One that is like any other.
    pub fn start() -> Self {
        Self::options().start()
    }

    pub fn options() -> Options {
        Options::default()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it is, with the password if it has one.
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The same server behind a proxy on another port.
    pub fn url_at(&self, port: u16) -> String {
        match &self.options.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{port}/0"),
            None => format!("redis://127.0.0.1:{port}/0"),
        }
    }

    /// Where it is for TLS.
    pub fn tls_url(&self) -> String {
        let port = self.options.tls_port.expect("started with_tls");
        self.url_at(port).replacen("redis", "rediss", 1)
    }

    /// The file with the certificate that is to be trusted for [`tls_url`](Self::tls_url).
    pub fn certificate(&self) -> PathBuf {
        let running = self.running();
        running.process.as_ref().expect("it was killed").folder().join(CERTIFICATE)
    }

    /// SIGKILL. Returns when it is gone.
    pub fn kill(&self) {
        self.running().process = None;
    }

    /// Kills it, if it still runs, and starts it again, empty, on the same port.
    pub fn restart(&self) {
        let mut running = self.running();
        running.process = None;
        let deadline = Instant::now() + LONGEST_START;
        loop {
            match self.options.launch(self.port, running.ahead) {
                Ok(again) => break *running = again,
                Err(PortTaken) => assert!(Instant::now() < deadline, "the port has been taken"),
            }
        }
        drop(running);
        self.wait_for_primary();
    }

    /// SIGSTOP: connections stay, and are made, but nothing is answered.
    pub fn stop(&self) {
        self.signal(Signal::Stop);
    }

    /// SIGCONT.
    pub fn cont(&self) {
        self.signal(Signal::Continue);
    }

    /// Moves the clock of a server that was started [with a movable one](Options::with_faketime).
    pub fn set_clock(&self, seconds_ahead: i64) {
        let mut running = self.running();
        running.ahead = seconds_ahead;
        set_clock(running.clock.as_deref().expect("started with_faketime"), seconds_ahead);
    }

    /// What `redis-cli` prints, without the last line's end. Must not be called while the server is
    /// stopped.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(install::program("redis-cli", "redis-tools"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(arguments);
        if let Some(password) = &self.options.password {
            // In an argument it would be warned of.
            command.env("REDISCLI_AUTH", password);
        }
        let output = command.output().expect("redis-cli starts");
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "redis-cli {arguments:?}: {text} {problem}");
        text
    }

    /// What the server has logged since it was started.
    pub fn log(&self) -> String {
        self.running().process.as_ref().map(Process::log).unwrap_or_default()
    }

    fn wait_for_primary(&self) {
        if self.options.is_replica {
            wait_for(
                "the replica to be in sync",
                || self.log(),
                || {
                    let info = self.cli(&["INFO", "replication"]);
                    info.contains("master_link_status:up").then_some(())
                },
            );
        }
    }

    fn signal(&self, signal: Signal) {
        self.running().process.as_mut().expect("it was killed").signal(signal);
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const CERTIFICATE: &str = "certificate.pem";

/// A certificate for loopback, and its key.
fn certify(folder: &Path) -> [PathBuf; 2] {
    let files = [CERTIFICATE, "key.pem"].map(|name| folder.join(name));
    let made = Command::new(install::program("openssl", "openssl"))
        .args(["req", "-x509", "-days", "2", "-nodes", "-subj", "/CN=localhost"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-out".as_ref(), files[0].as_os_str(), "-keyout".as_ref(), files[1].as_os_str()])
        .output()
        .expect("openssl starts");
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    files
}

/// Replaced as a whole: the server reads it whenever it asks for the time.
fn set_clock(clock: &Path, seconds_ahead: i64) {
    let new = clock.with_extension("new");
    std::fs::write(&new, format!("{seconds_ahead:+}\n")).expect("the server's directory is there");
    std::fs::rename(&new, clock).expect("the server's directory is there");
}

/// Also if it wants a password first.
fn answers(port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    ask().is_ok_and(|answer| matches!(&answer, b"+PONG" | b"-NOAU"))
}

fn wait_for<T>(
    what: &str,
    log: impl Fn() -> String,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + LONGEST_START;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}:\n{}", log());
        std::thread::sleep(Duration::from_millis(5));
    }
}
