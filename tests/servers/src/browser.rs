//! A real Chromium, without a window.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::install;
use crate::process::{Process, new_folder};

const LONGEST_START: Duration = Duration::from_mins(1);

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
    process: Process,
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
        let (process, debugger_port) = start_browser();
        let folder = new_folder();
        let driver = install::program("chromedriver", "chromium-driver").into();
        let driver = Process::start(folder, &[driver, "--port=0".into()]);
        let driver_port = wait_for("chromedriver", &driver, |driver| {
            let log = driver.log();
            let (_, port) = log.split_once("started successfully on port ")?;
            port.split_once('.')?.0.parse().ok()
        });
        Self { driver_port, debugger_port, _driver: driver, process }
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
        profile_in(self.process.folder())
    }
}

fn profile_in(folder: &Path) -> PathBuf {
    folder.join("profile")
}

fn start_browser() -> (Process, u16) {
    let folder = new_folder();
    let profile = profile_in(&folder);
    let mut command: Vec<OsString> = vec![install::program("chromium", "chromium").into()];
    command.extend(ARGUMENTS.map(Into::into));
    let mut argument = OsString::from("--user-data-dir=");
    argument.push(&profile);
    command.extend([argument, "about:blank".into()]);
    let browser = Process::start(folder, &command);
    let port = wait_for("chromium", &browser, |_| port_in(&profile));
    (browser, port)
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
