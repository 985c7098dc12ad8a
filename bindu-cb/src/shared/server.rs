//! What a supervisor needs of a server: the trait between it and the network.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::codec::{Changes, Cursor, Found, Message, Reply};
use super::news::NewsSender;
use super::protocol::{Command, Millis};

/// A way to the server, which may be down.
pub(crate) trait Connector: Send + Sync + 'static {
    type Server: Server;

    /// Connects, and from then on sends what is published into `pushes`.
    fn connect(
        &self,
        pushes: NewsSender<Message>,
    ) -> impl Future<Output = Result<Self::Server, ServerError>> + Send;
}

/// A connection. Every answer comes, or fails, within [`TIMEOUT`](super::supervisor::TIMEOUT).
pub(crate) trait Server: Clone + Send + Sync + 'static {
    /// Does something to the record of an operation's circuit.
    fn execute(
        &self,
        op: Arc<str>,
        command: Command,
    ) -> impl Future<Output = Result<Reply, ServerError>> + Send;

    /// Asks for the records of some operations' circuits; they come in order, with the server's
    /// clock.
    fn read(
        &self,
        ops: Vec<Arc<str>>,
    ) -> impl Future<Output = Result<(Millis, Vec<Found>), ServerError>> + Send;

    /// Asks what has changed. One command, whatever the number of circuits.
    fn changes(
        &self,
        since: Option<Cursor>,
    ) -> impl Future<Output = Result<(Millis, Changes), ServerError>> + Send;

    /// Resolves when the connection is gone.
    fn closed(&self) -> impl Future<Output = ()> + Send;
}

/// Why there is no answer. Holds nothing secret.
#[derive(Clone, Debug)]
pub(crate) enum ServerError {
    /// The connection is of no more use, or there was none.
    Disconnected { reason: String },
    /// No answer in time.
    TimedOut,
    /// The server has answered that it will not: out of memory, read-only, no permission.
    Refused { reason: String },
    /// It has answered what no server of this version would.
    NotUnderstood { reason: String },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected { reason } => write!(f, "not connected: {reason}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Refused { reason } | Self::NotUnderstood { reason } => f.write_str(reason),
        }
    }
}
