//! A real Chromium, without a window.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::install;
use crate::process::{Process, new_folder};

const LONGEST_START: Duration = Duration::from_mins(1);
const LONGEST_END: Duration = Duration::from_secs(10);

/// A browser with a profile of its own, and the `WebDriver` server that steers it, each on a port of
/// loopback that it has chosen itself. Both are killed when this is dropped, and when the test's
/// process dies in any way.
///
/// The browser is not started by the driver: killed, that would leave it behind.
#[derive(Debug)]
pub struct Browser {
    driver_port: u16,
    debugger_port: u16,
    _driver: Process,
    _process: Process,
    // After the browser.
    profile: Profile,
}

/// Where a browser keeps what it keeps.
#[derive(Debug)]
struct Profile(PathBuf);

impl Drop for Profile {
    /// Processes of the browser end by themselves when they miss it, and until then may write here
    /// what has been removed already.
    fn drop(&mut self) {
        let deadline = Instant::now() + LONGEST_END;
        while is_used(&self.0) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(folder) = self.0.parent() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Whether a process has this among its arguments.
fn is_used(profile: &Path) -> bool {
    let profile = profile.to_string_lossy();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut arguments = processes.filter_map(|it| std::fs::read(it.path().join("cmdline")).ok());
    arguments.any(|arguments| String::from_utf8_lossy(&arguments).contains(&*profile))
}

/// As root there is no sandbox. The rest keeps it from asking servers for what no test needs.
const ARGUMENTS: [&str; 14] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-breakpad",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",
];

impl Browser {
    /// Starts both and waits until they listen.
    pub fn start() -> Self {
        let (process, profile, debugger_port) = start_browser();
        let folder = new_folder();
        let driver = install::program("chromedriver", "chromium-driver").into();
        let driver = Process::start(folder, &[driver, "--port=0".into()]);
        let driver_port = wait_for("chromedriver", &driver, |driver| {
            let log = driver.log();
            let (_, port) = log.split_once("started successfully on port ")?;
            port.split_once('.')?.0.parse().ok()
        });
        Self { driver_port, debugger_port, _driver: driver, _process: process, profile }
    }

    /// Of the `WebDriver` server.
    pub fn driver_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.driver_port)
    }

    /// What a session must ask for as `debuggerAddress`, to be in this browser.
    pub fn debugger_address(&self) -> String {
        format!("127.0.0.1:{}", self.debugger_port)
    }

    /// Where it keeps what it keeps.
    pub fn profile(&self) -> PathBuf {
        self.profile.0.clone()
    }
}

fn start_browser() -> (Process, Profile, u16) {
    let folder = new_folder();
    let profile = folder.join("profile");
    let mut command: Vec<OsString> = vec![install::program("chromium", "chromium").into()];
    command.extend(ARGUMENTS.map(Into::into));
    let mut argument = OsString::from("--user-data-dir=");
    argument.push(&profile);
    command.extend([argument, "about:blank".into()]);
    let browser = Process::start(folder, &command);
    let port = wait_for("chromium", &browser, |_| port_in(&profile));
    (browser, Profile(profile), port)
}

/// It writes the port that it has chosen into its profile.
fn port_in(profile: &Path) -> Option<u16> {
    let text = std::fs::read_to_string(profile.join("DevToolsActivePort")).ok()?;
    text.lines().next()?.parse().ok()
}

fn wait_for(what: &str, process: &Process, port: impl Fn(&Process) -> Option<u16>) -> u16 {
    let deadline = Instant::now() + LONGEST_START;
    loop {
        if let Some(port) = port(process) {
            return port;
        }
        assert!(Instant::now() < deadline, "{what} has not started: {}", process.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}
