//! The service that the guarded calls of all replicas go to, and that sees what reaches it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Something has reached the service.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub replica: usize,
    pub begun: Instant,
    /// When it was answered, and whether well.
    pub answered: Option<(Instant, bool)>,
}

pub struct Service {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    latency: Duration,
    is_down: bool,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        // Its threads end with the process of the tests, of which there is no hurry.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A replica that is killed ends its connection.
                std::thread::spawn(move || drop(serve(&stream, &state)));
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on each request takes so long. What has come so far is forgotten.
    pub fn watch(&self, latency: Duration) {
        let mut state = lock(&self.state);
        state.latency = latency;
        state.requests.clear();
    }

    pub fn set_down(&self, is_down: bool) {
        lock(&self.state).is_down = is_down;
    }

    /// In the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut lines, mut out) = (BufReader::new(stream).lines(), stream);
    while let Some(line) = lines.next().transpose()? {
        let replica = line.parse().expect("replicas say who they are");
        let begun = Instant::now();
        let latency = {
            let mut state = lock(state);
            state.requests.push(Request { replica, begun, answered: None });
            state.latency
        };
        sleep(latency);
        let is_up = {
            let mut state = lock(state);
            let is_up = !state.is_down;
            let request = state.requests.iter_mut().find(|it| it.begun == begun);
            if let Some(request) = request.filter(|it| it.replica == replica) {
                request.answered = Some((Instant::now(), is_up));
            }
            is_up
        };
        out.write_all(if is_up { b"up\n" } else { b"down\n" })?;
    }
    Ok(())
}

/// A replica's way to the service.
pub struct Connection {
    replica: usize,
    lines: io::Lines<BufReader<TcpStream>>,
    out: TcpStream,
}

impl Connection {
    pub fn to(address: &str, replica: usize) -> io::Result<Self> {
        let out = TcpStream::connect(address)?;
        out.set_nodelay(true)?;
        Ok(Self { replica, lines: BufReader::new(out.try_clone()?).lines(), out })
    }

    pub fn ask(&mut self) -> io::Result<()> {
        self.out.write_all(format!("{}\n", self.replica).as_bytes())?;
        match self.lines.next().transpose()?.as_deref() {
            Some("up") => Ok(()),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}
