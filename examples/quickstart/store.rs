//! The client of the storage service, and the error that its callers see.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{error, fmt, io};

use bindu_cb::{AttemptTimeoutError, CircuitBreakerOpenError, Classify, Verdict};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

pub(crate) struct Store {
    address: SocketAddr,
    attempts: AtomicU64,
}

impl Store {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, attempts: AtomicU64::new(0) }
    }

    /// How many connections have been asked for so far, answered or not.
    pub(crate) fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Sends one line and reads one, over a connection of its own.
    pub(crate) async fn request(&self, request: &str) -> Result<String, StoreError> {
        let mut connection = self.connect().await?;
        connection.write_all(format!("{request}\n").as_bytes()).await?;
        let mut reply = String::new();
        BufReader::new(connection).read_line(&mut reply).await?;
        match reply.trim_end_matches('\n').split_once(' ') {
            Some(("OK", value)) => Ok(value.to_owned()),
            Some(("ERR", why)) => Err(StoreError::BadRequest(why.to_owned())),
            // The service was killed in the middle of its reply.
            _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        TcpStream::connect(self.address).await
    }
}

#[derive(Debug)]
pub(crate) enum StoreError {
    Connection(io::Error),
    BadRequest(String),
    Open(CircuitBreakerOpenError),
    Timeout(AttemptTimeoutError),
}

// Which errors are worth another attempt. `BadRequest` is none, and as the service did answer, it
// counts as a success of its circuit.
impl Classify for StoreError {
    fn classify(&self) -> Verdict {
        match self {
            Self::Connection(error) => error.classify(),
            Self::Timeout(_) => Verdict::Transient,
            Self::BadRequest(_) => Verdict::Permanent,
            Self::Open(_) => Verdict::Ignored,
        }
    }
}

// What a guarded function needs of its error: it may be rejected, and with `timeout` run late.
impl From<CircuitBreakerOpenError> for StoreError {
    fn from(open: CircuitBreakerOpenError) -> Self {
        Self::Open(open)
    }
}

impl From<AttemptTimeoutError> for StoreError {
    fn from(timeout: AttemptTimeoutError) -> Self {
        Self::Timeout(timeout)
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => write!(f, "no connection to the store: {error}"),
            Self::BadRequest(why) => write!(f, "bad request: {why}"),
            Self::Open(open) => open.fmt(f),
            Self::Timeout(timeout) => timeout.fmt(f),
        }
    }
}

impl error::Error for StoreError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Connection(error) => Some(error),
            Self::BadRequest(_) => None,
            Self::Open(open) => Some(open),
            Self::Timeout(timeout) => Some(timeout),
        }
    }
}
