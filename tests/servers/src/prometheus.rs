//! A real `prometheus`, and `promtool`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::http::{escaped, http};
use crate::process::{Process, new_folder};
use crate::{install, ports};

const PACKAGE: &str = "prometheus";
const LONGEST_START: Duration = Duration::from_secs(30);

/// A server on a port of loopback that collects from one endpoint, five times a second, into a
/// directory that goes with it. It is killed when this is dropped, and when the test's process dies in
/// any way.
#[derive(Debug)]
pub struct PrometheusServer {
    process: Process,
    port: u16,
}

impl PrometheusServer {
    /// Starts it and waits until it answers. It collects `/metrics` from `target`, a port of loopback,
    /// and evaluates the rules of a file, which must be a path from the root.
    pub fn start(target: u16, rules: &Path) -> Self {
        for _ in 0..10 {
            let port = ports::free();
            // Another process may have taken the port meanwhile.
            if let Some(server) = Self::launch(port, target, rules) {
                return server;
            }
        }
        panic!("ten ports that were free were not when prometheus asked for them");
    }

    fn launch(port: u16, target: u16, rules: &Path) -> Option<Self> {
        let folder = new_folder();
        let file = folder.join("prometheus.yml");
        let settings = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\n\
             rule_files: ['{}']\n\
             scrape_configs:\n\
             - {{job_name: tested, static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}\n",
            rules.display()
        );
        std::fs::write(&file, settings).expect("the folder is there");
        let option = |name: &str, value: &Path| {
            let mut option = OsString::from(name);
            option.push(value);
            option
        };
        let command = [
            install::program("prometheus", PACKAGE).into(),
            option("--config.file=", &file),
            option("--storage.tsdb.path=", &folder.join("data")),
            format!("--web.listen-address=127.0.0.1:{port}").into(),
        ];
        let process = Process::start(folder, &command);
        let server = Self { process, port };
        let deadline = Instant::now() + LONGEST_START;
        loop {
            if http("GET", port, "/-/ready").is_ok_and(|(status, _)| status == 200) {
                return Some(server);
            }
            let log = server.log();
            if log.contains("address already in use") {
                return None;
            }
            assert!(Instant::now() < deadline, "waited too long for prometheus to answer:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The answer to a `PromQL` query, as JSON.
    pub fn query(&self, query: &str) -> String {
        self.ask(&format!("/api/v1/query?query={}", escaped(query)))
    }

    /// The answers to a `PromQL` query from one moment to another, in seconds of the wall clock.
    pub fn query_range(&self, query: &str, from: f64, to: f64) -> String {
        let query = escaped(query);
        self.ask(&format!("/api/v1/query_range?query={query}&start={from}&end={to}&step=200ms"))
    }

    /// Its rules, as JSON.
    pub fn rules(&self) -> String {
        self.ask("/api/v1/rules")
    }

    /// Also of a query that cannot be answered: the JSON says why.
    fn ask(&self, path: &str) -> String {
        let answer = http("GET", self.port, path);
        answer.unwrap_or_else(|error| panic!("prometheus: {error}\n{}", self.log())).1
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// Runs `promtool`.
///
/// # Errors
///
/// What it prints if it does not succeed.
pub fn promtool(arguments: &[&str]) -> Result<String, String> {
    let program: PathBuf = install::program("promtool", PACKAGE);
    let output = Command::new(program).args(arguments).output().expect("promtool starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = text(&output.stdout) + &text(&output.stderr);
    if output.status.success() { Ok(told) } else { Err(told) }
}
