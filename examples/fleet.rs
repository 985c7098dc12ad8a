//! What sharing circuits is for: some processes use one service, which goes down for some seconds.
//! Once each goes by a circuit of its own, once all share one, through Redis. It takes a quarter of a
//! minute and ends with a table of both runs.
//!
//! ```text
//! cargo run --example fleet
//! cargo run --example fleet -- --processes 8 --url redis://127.0.0.1:6379
//! ```
//!
//! `ask`, and `share` in `work`, are all that a process needs. The rest is the service, the load and
//! the figures.

use std::env;
use std::io::{BufRead, stdin};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bindu_cb::{Event, SharedSettings, get_circuit_breaker, registry, with_circuit_breaker};
use bindu_cb_test_servers::RedisServer;
use clap::Parser;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, timeout};

/// The circuit opens after three failures in a row, and lets a probe through every second.
#[with_circuit_breaker(op = "ask", failure_threshold = 3, recovery_timeout = "1s", enabled = true)]
async fn ask(port: u16) -> std::io::Result<u8> {
    TcpStream::connect(("127.0.0.1", port)).await?.read_u8().await
}

/// Each asks ten times a second.
const CALLERS: u64 = 5;
const UP: Duration = Duration::from_secs(1);
const OPENING: Duration = Duration::from_millis(500);
const DOWN: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(1_500);
/// Circuits that are opened, one by one, to see how long each takes to open in all processes.
const ROUNDS: usize = 40;

/// Compares circuits that each process has for itself with shared ones.
#[derive(Parser)]
#[command(name = "fleet")]
struct Arguments {
    /// Processes that use the service
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=32))]
    processes: u8,
    /// A Redis server; without one, `redis-server` is started, and killed at the end
    #[arg(long)]
    url: Option<String>,
    /// Be one of the processes, for a service on this port
    #[arg(long, hide = true)]
    worker: Option<u16>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    if let Some(port) = arguments.worker {
        return runtime.block_on(work(port));
    }
    // Killed when it is dropped, and when this process dies in any way.
    let mut server = None;
    if arguments.url.is_none() {
        let version = std::process::Command::new("redis-server").arg("--version").output();
        version.context("there is no redis-server here: install it, or give --url")?;
        server = Some(RedisServer::start());
    }
    let url = arguments.url.or_else(|| server.as_ref().map(RedisServer::url)).unwrap_or_default();
    runtime.block_on(compare(arguments.processes, &url))
}

/// What each process does: asks the service, and says on its output when one of its circuits changes.
async fn work(port: u16) -> anyhow::Result<()> {
    if let Some(settings) = SharedSettings::from_env()? {
        registry().share(settings)?;
        while !registry().shared().is_some_and(|shared| shared.connected) {
            sleep(Duration::from_millis(10)).await;
        }
    }
    registry().subscribe(|event: &Event| {
        println!("{} {} {}", micros(), event.operation, event.to);
    });
    (0..ROUNDS).for_each(|round| drop(get_circuit_breaker(&format!("round-{round}"))));
    for caller in 0..CALLERS {
        tokio::spawn(async move {
            sleep(Duration::from_millis(100 * caller / CALLERS)).await;
            let mut pace = interval(Duration::from_millis(100));
            loop {
                pace.tick().await;
                let _ = ask(port).await;
            }
        });
    }
    println!("{} - ready", micros());
    // Ends with its input, and so with its parent, however that ends.
    let (orders, mut ordered) = mpsc::unbounded_channel();
    std::thread::spawn(move || stdin().lock().lines().try_for_each(|line| orders.send(line)));
    while let Some(round) = ordered.recv().await.transpose()? {
        let circuit = get_circuit_breaker(&round);
        while let Ok(permit) = circuit.try_acquire() {
            permit.failure();
        }
    }
    Ok(())
}

/// By the one clock of this machine, so that moments in different processes can be compared.
fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
}

/// Answers each connection with a byte, or with none while it is down.
struct Service {
    port: u16,
    is_up: AtomicBool,
    requests: AtomicU64,
}

impl Service {
    async fn start() -> anyhow::Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let service = Self { port, is_up: AtomicBool::new(true), requests: AtomicU64::new(0) };
        let service = Arc::new(service);
        let serving = Arc::clone(&service);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                serving.requests.fetch_add(1, Relaxed);
                if serving.is_up.load(Relaxed) {
                    let _ = connection.write_u8(1).await;
                }
            }
        });
        Ok(service)
    }

    async fn requests_within(&self, time: Duration) -> u64 {
        self.requests.store(0, Relaxed);
        sleep(time).await;
        self.requests.load(Relaxed)
    }
}

/// The processes, and what they say: when which circuit came to which state.
struct Workers {
    children: Vec<(Child, ChildStdin)>,
    said: mpsc::UnboundedReceiver<String>,
}

impl Workers {
    async fn start(count: u8, port: u16, url: Option<&str>) -> anyhow::Result<Self> {
        let (sender, said) = mpsc::unbounded_channel();
        let mut workers = Self { children: Vec::new(), said };
        for _ in 0..count {
            let mut command = Command::new(env::current_exe()?);
            command.args(["--worker", &port.to_string()]).kill_on_drop(true);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command.env("BINDU_CB_ENABLED", "true").env_remove("BINDU_CB_SHARED_URL");
            if let Some(url) = url {
                command.env("BINDU_CB_SHARED_URL", url);
                command.env("BINDU_CB_SHARED_NAMESPACE", namespace());
            }
            let mut child = command.spawn()?;
            let input = child.stdin.take().context("its input is piped")?;
            let output = BufReader::new(child.stdout.take().context("its output is piped")?);
            workers.children.push((child, input));
            let (sender, mut lines) = (sender.clone(), output.lines());
            tokio::spawn(async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    let _ = sender.send(line);
                }
            });
        }
        workers.moments("- ready").await?;
        Ok(workers)
    }

    /// When each of them said this, sorted.
    async fn moments(&mut self, what: &str) -> anyhow::Result<Vec<u128>> {
        let mut moments = Vec::new();
        while moments.len() < self.children.len() {
            let line = timeout(Duration::from_secs(5), self.said.recv()).await;
            let line = line.with_context(|| format!("not all of them said {what:?}"))?;
            let line = line.context("a process has ended")?;
            if let Some((at, said)) = line.split_once(' ')
                && said == what
            {
                moments.push(at.parse()?);
            }
        }
        moments.sort_unstable();
        Ok(moments)
    }
}

/// Of this run: nobody else's circuits are touched.
fn namespace() -> String {
    format!("fleet-{}", std::process::id())
}

/// What came of one run.
#[derive(Default)]
struct Figures {
    requests: [u64; 3],
    /// From the service's return until the first circuit is closed, and the last.
    closed: [u128; 2],
    /// From an opening until each of the others, sorted.
    openings: Vec<u128>,
}

async fn run(count: u8, url: Option<&str>) -> anyhow::Result<Figures> {
    let service = Service::start().await?;
    let mut workers = Workers::start(count, service.port, url).await?;
    let mut figures = Figures::default();
    sleep(OPENING).await;
    figures.requests[0] = service.requests_within(UP).await;
    service.is_up.store(false, Relaxed);
    figures.requests[1] = service.requests_within(OPENING).await;
    figures.requests[2] = service.requests_within(DOWN).await;
    service.is_up.store(true, Relaxed);
    let returned = micros();
    sleep(AGAIN).await;
    let closed = workers.moments("ask closed").await?;
    figures.closed = [closed[0], closed[closed.len() - 1]].map(|at| at.saturating_sub(returned));
    for round in (0..ROUNDS).filter(|_| url.is_some()) {
        let (_, orders) = &mut workers.children[round % usize::from(count)];
        orders.write_all(format!("round-{round}\n").as_bytes()).await?;
        let opened = workers.moments(&format!("round-{round} open")).await?;
        figures.openings.extend(opened[1..].iter().map(|at| at - opened[0]));
    }
    figures.openings.sort_unstable();
    Ok(figures)
}

async fn compare(count: u8, url: &str) -> anyhow::Result<()> {
    println!("{count} processes, each asking {} times a second", 10 * CALLERS);
    println!("each with a circuit of its own …");
    let local = run(count, None).await?;
    println!("all with a shared one, in the namespace {} …", namespace());
    let shared = run(count, Some(url)).await?;
    println!("\n{:<52}{:>10}{:>10}", "circuits", "local", "shared");
    let row = |name: &str, of: &dyn Fn(&Figures) -> String| {
        println!("{name:<52}{:>10}{:>10}", of(&local), of(&shared));
    };
    let requests = |of: usize| move |run: &Figures| run.requests[of].to_string();
    row("requests to the service: in a second while it is up", &requests(0));
    row("               in the first 500 ms of its outage", &requests(1));
    row("               in the 3 s of it after that", &requests(2));
    let closed = |of: usize| move |run: &Figures| millis(run.closed[of]);
    row("closed after its return: the first process", &closed(0));
    row("                         the last one", &closed(1));
    let opened = |percent: usize| {
        move |run: &Figures| match run.openings.len().checked_sub(1) {
            Some(last) => millis(run.openings[last * percent / 100]),
            None => "never".to_owned(),
        }
    };
    row("open in one process until open in another: median", &opened(50));
    row("                                           p99", &opened(99));
    row("                                           longest", &opened(100));
    Ok(())
}

fn millis(micros: u128) -> String {
    format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
}
