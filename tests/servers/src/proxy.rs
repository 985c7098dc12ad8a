//! A network that can be made bad while it is used.

use std::net::Ipv4Addr;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// What a [`Proxy`] does with what it is given. It holds for connections that exist, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything at once.
    Pass,
    /// Passes everything so much later.
    Delay(Duration),
    /// Passes one byte at a time, with a pause after each.
    Torn,
    /// Accepts connections and passes nothing. What came meanwhile is passed afterwards.
    Stall,
    /// Closes new connections; those that exist go on.
    Refuse,
}

const PAUSE: Duration = Duration::from_millis(1);

/// A TCP proxy to a port of loopback, on a thread and a runtime of its own, whatever the test's
/// runtime does with its clock. Ends, with all connections, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    control: Option<watch::Sender<Control>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug)]
struct Control {
    mode: Mode,
    /// Where new connections go.
    to: u16,
    /// Connections of an earlier number are closed.
    cuts: u64,
}

impl Proxy {
    pub fn to(port: u16) -> Self {
        let (control, orders) = watch::channel(Control { mode: Mode::Pass, to: port, cuts: 0 });
        let (started, wait) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::ports::free())).await;
                let listener = listener.expect("a free port of loopback");
                let address = listener.local_addr().expect("it listens");
                started.send(address.port()).expect("its maker waits");
                accept(listener, orders).await;
            });
        });
        let port = wait.recv().expect("the thread has started");
        Self { port, control: Some(control), thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, mode: Mode) {
        self.control(|control| control.mode = mode);
    }

    /// New connections go to another port of loopback; those that exist stay where they are.
    pub fn point_to(&self, port: u16) {
        self.control(|control| control.to = port);
    }

    /// Closes all connections. New ones are made as the mode says.
    pub fn cut(&self) {
        self.control(|control| control.cuts += 1);
    }

    fn control(&self, change: impl FnOnce(&mut Control)) {
        self.control.as_ref().expect("it is taken in drop").send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.control = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, mut orders: watch::Receiver<Control>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Without changes left there is no proxy any more.
            changed = orders.changed() => if changed.is_ok() { continue } else { return },
        };
        if let Ok((client, _)) = accepted
            && orders.borrow().mode != Mode::Refuse
        {
            tokio::spawn(join(client, orders.clone()));
        }
    }
}

/// Carries bytes both ways until an end closes, or the connection is cut.
async fn join(client: TcpStream, mut orders: watch::Receiver<Control>) {
    let Control { to, cuts, .. } = *orders.borrow();
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = carry(from_client, to_server, orders.clone()) => {}
        () = carry(from_server, to_client, orders.clone()) => {}
        _ = orders.wait_for(|control| control.cuts != cuts) => {}
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut orders: watch::Receiver<Control>,
) {
    let (arrived, mut waiting) = mpsc::unbounded_channel();
    let read = async {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let _ = arrived.send((Instant::now(), buffer[..length].to_vec()));
        }
    };
    let write = async {
        while let Some((at, bytes)) = waiting.recv().await {
            let passes = orders.wait_for(|control| control.mode != Mode::Stall).await;
            let Ok(mode) = passes.map(|control| control.mode) else { return };
            let written = match mode {
                Mode::Torn => tear(&mut to, &bytes).await,
                Mode::Delay(delay) => {
                    sleep_until(at + delay).await;
                    to.write_all(&bytes).await
                }
                Mode::Pass | Mode::Stall | Mode::Refuse => to.write_all(&bytes).await,
            };
            if written.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}

async fn tear(to: &mut OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        to.write_all(&[*byte]).await?;
        sleep(PAUSE).await;
    }
    Ok(())
}
