//! The shared circuits of a namespace, seen from outside: for operators and their tools.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::SharedSettings;
use super::client::Limits;
use super::codec::{Found, Message, Reply};
use super::news::{News as Queue, Received, news};
use super::protocol::{Action, Answer, By, Command, Millis, Phase, Stamp};
use super::redis::{RedisConnector, RedisServer};
use super::replica::News;
use super::server::{Connector, Server, ServerError};
use super::shared_error::SharedError;
use super::supervisor::TIMEOUT;
use crate::breaker::CircuitState;

/// Records that are read by one command.
const READS: usize = 64;
/// A list takes no longer, however many keys the server has.
const LONGEST_LIST: Duration = Duration::from_secs(10);
/// Changes that may wait to be read.
const CHANGES: usize = 4_096;
/// Between two looks at whether the server still answers.
const BEAT: Duration = Duration::from_millis(500);

/// The shared circuits of a namespace, for operators and their tools: what each of them is, and the
/// means to set one by hand in all processes that share it. No circuit of this process is involved.
///
/// It is one connection, which is not made again: after [`SharedError::NotConnected`] connect anew.
/// It works on the tokio runtime that it was connected on, which needs `enable_all`. No command waits
/// for its answer for longer than 300 ms.
///
/// ```no_run
/// use bindu_cb::{CircuitState, Fleet, SharedSettings};
///
/// # async fn run() -> Result<(), bindu_cb::SharedError> {
/// let settings = SharedSettings::new("redis://redis.internal:6379").namespace("billing");
/// let fleet = Fleet::connect(&settings).await?;
/// for circuit in fleet.list().await? {
///     println!("{:<30} {}", circuit.operation, circuit.state);
/// }
/// let circuit = fleet.force_open("storage:save", "ada", "the disk is being replaced").await?;
/// assert_eq!(circuit.state, CircuitState::ForcedOpen);
/// # Ok(()) }
/// ```
pub struct Fleet {
    settings: SharedSettings,
    server: RedisServer,
    news: Queue<Message>,
    /// Why there will be no more news.
    lost: watch::Receiver<Option<SharedError>>,
    keeper: Keeper,
}

/// A shared circuit, as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedCircuit {
    /// The name of the operation; of a class of errors, both.
    pub operation: String,
    /// [`HalfOpen`](CircuitState::HalfOpen) while the wait is over and somebody has the probe.
    pub state: CircuitState,
    /// Of the record: the server has lost what was under another one.
    pub epoch: u64,
    /// The fleet's, which each change raises: not that of any process's circuit.
    pub generation: u64,
    /// Open: how long until one process may probe. Zero: nobody has asked yet.
    pub half_open_in: Option<Duration>,
    /// How often in a row it opened again without having closed.
    pub reopens: u32,
    /// The process that has the probe: its number, and something that is different in each of its
    /// lives.
    pub probe_by: Option<String>,
    /// By whom it was set to this state by hand.
    pub set_by: Option<SetBy>,
}

/// Who has set a circuit by hand, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetBy {
    /// Who.
    pub who: String,
    /// Why; may be empty.
    pub why: String,
}

impl Fleet {
    /// Connects, within a second or not at all.
    ///
    /// # Errors
    ///
    /// The settings cannot be used, or the server cannot be reached, or it refuses the login.
    pub async fn connect(settings: &SharedSettings) -> Result<Self, SharedError> {
        settings.validate()?;
        let Some(address) = settings.address().cloned() else {
            return Err(SharedError::Argument { name: "settings", advice: "have no address" });
        };
        let (sender, news) = news(CHANGES);
        let connector = RedisConnector::new(address, settings.namespace.clone());
        let server = connector.connect(sender).await;
        let server = server.map_err(|error| SharedError::new(error, Limits::default().connect))?;
        let (end, lost) = watch::channel(None);
        let watched = server.clone();
        let keeper = Keeper(tokio::spawn(async move {
            // Nobody may listen any more.
            let _ = end.send(Some(end_of(&watched).await));
        }));
        Ok(Self { settings: settings.clone(), server, news, lost, keeper })
    }

    /// Every circuit that the server has a record of, by name: each that has opened, or was set by
    /// hand, and not been at rest for long since.
    ///
    /// It goes through all keys of the server's database, and so asks for more than one answer: it
    /// takes ten seconds at most.
    ///
    /// # Errors
    ///
    /// The server does not answer in time, or refuses. There is no list without the circuits whose
    /// records this version cannot read: the error names the first.
    pub async fn list(&self) -> Result<Vec<SharedCircuit>, SharedError> {
        match timeout(LONGEST_LIST, self.list_in_any_time()).await {
            Ok(list) => list,
            Err(_) => Err(SharedError::TimedOut { after: LONGEST_LIST }),
        }
    }

    async fn list_in_any_time(&self) -> Result<Vec<SharedCircuit>, SharedError> {
        let operations: Vec<Arc<str>> =
            self.server.operations().await.map_err(failed)?.into_iter().map(Arc::from).collect();
        let mut circuits = Vec::new();
        for operations in operations.chunks(READS) {
            let (_, found) = self.server.read(operations.to_vec()).await.map_err(failed)?;
            for (operation, found) in operations.iter().zip(found) {
                circuits.extend(understood(operation, found)?);
            }
        }
        Ok(circuits)
    }

    /// The circuit of one operation; `None` if the server has no record of it, as of one that has
    /// never opened.
    ///
    /// # Errors
    ///
    /// The server does not answer in time, or refuses, or this version cannot read the record.
    pub async fn get(&self, operation: &str) -> Result<Option<SharedCircuit>, SharedError> {
        let (_, found) = self.read(operation).await.map_err(failed)?;
        understood(operation, found)
    }

    /// Forces the circuit open in every process, and in every one that starts: all calls are
    /// rejected, until somebody sets it again. It need not exist yet. Each process logs who and why,
    /// of which the first 200 characters count.
    ///
    /// Returns what the circuit is then.
    ///
    /// # Errors
    ///
    /// `who` or the operation is empty; or the server does not answer in time, asked twice, or
    /// refuses. What was not answered in time is not done later.
    pub async fn force_open(
        &self,
        operation: &str,
        who: &str,
        why: &str,
    ) -> Result<SharedCircuit, SharedError> {
        self.set(operation, Phase::ForcedOpen, who, why).await
    }

    /// Forces the circuit closed in every process: all calls go through, and nothing opens it, until
    /// somebody sets it again. Otherwise as [`force_open`](Self::force_open).
    ///
    /// # Errors
    ///
    /// As [`force_open`](Self::force_open).
    pub async fn force_closed(
        &self,
        operation: &str,
        who: &str,
        why: &str,
    ) -> Result<SharedCircuit, SharedError> {
        self.set(operation, Phase::ForcedClosed, who, why).await
    }

    /// Closes the circuit in every process, whatever it was, and lets it open again when its calls
    /// fail. Otherwise as [`force_open`](Self::force_open).
    ///
    /// # Errors
    ///
    /// As [`force_open`](Self::force_open).
    pub async fn reset(
        &self,
        operation: &str,
        who: &str,
        why: &str,
    ) -> Result<SharedCircuit, SharedError> {
        self.set(operation, Phase::Closed, who, why).await
    }

    async fn set(
        &self,
        operation: &str,
        phase: Phase,
        who: &str,
        why: &str,
    ) -> Result<SharedCircuit, SharedError> {
        if operation.is_empty() {
            return Err(SharedError::Argument { name: "operation", advice: "is empty" });
        }
        if who.trim().is_empty() {
            let advice = "is empty: whoever sets a circuit by hand is named to every process";
            return Err(SharedError::Argument { name: "who", advice });
        }
        let action = Action::Manual { phase, by: By { who: who.to_owned(), why: why.to_owned() } };
        // Asked twice it is done once.
        let reply = match self.order(operation, &action).await {
            Err(ServerError::TimedOut) => self.order(operation, &action).await,
            reply => reply,
        };
        match reply.map_err(failed)? {
            Reply { answer: Answer::Done, message: Some(message), .. } => {
                Ok(SharedCircuit::of(message))
            }
            Reply { answer: Answer::Schema, .. } => Err(unreadable(operation)),
            _ => Err(SharedError::NotUnderstood {
                reason: "the server's answer is not understood".to_owned(),
            }),
        }
    }

    /// An order that has timed out here is refused by the server from then on. As that goes by a
    /// clock of the server's, this is asked for first.
    async fn order(&self, operation: &str, action: &Action) -> Result<Reply, ServerError> {
        let (now, _) = self.read(operation).await?;
        let command = Command {
            seen: Stamp::NONE,
            deadline: now.saturating_add(super::millis(TIMEOUT)),
            // Unused: what was set by hand is kept for good.
            keep: 0,
            action: action.clone(),
        };
        match self.server.execute(operation.into(), command).await {
            Ok(Reply { answer: Answer::Late, .. }) => Err(ServerError::TimedOut),
            reply => reply,
        }
    }

    async fn read(&self, operation: &str) -> Result<(Millis, Found), ServerError> {
        let (now, found) = self.server.read(vec![operation.into()]).await?;
        Ok((now, found.into_iter().next().unwrap_or(Found::Nothing)))
    }

    /// Waits for the next change of any of the circuits, its lease among what changes: that of each
    /// since the fleet was connected, in order. That a wait ends is none. Cancel safe: dropped, it loses
    /// nothing.
    ///
    /// ```no_run
    /// # async fn run(mut fleet: bindu_cb::Fleet) -> Result<(), bindu_cb::SharedError> {
    /// loop {
    ///     let circuit = fleet.changed().await?;
    ///     println!("{} is {}", circuit.operation, circuit.state);
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotConnected`](SharedError::NotConnected) when there will be no more of them, at most two
    /// seconds after the server has ceased to answer; [`Missed`](SharedError::Missed) in place of
    /// changes that are lost, after which it goes on.
    pub async fn changed(&mut self) -> Result<SharedCircuit, SharedError> {
        let (mut next, mut lost) =
            (pin!(self.news.next()), pin!(self.lost.wait_for(Option::is_some)));
        poll_fn(|cx| {
            // First what has come before the end.
            if let Poll::Ready(received) = next.as_mut().poll(cx) {
                return Poll::Ready(match received {
                    Received::Message(message) => Ok(SharedCircuit::of(message)),
                    Received::Missed => Err(SharedError::Missed),
                });
            }
            lost.as_mut().poll(cx).map(|lost| {
                let lost = lost.ok().and_then(|lost| lost.clone());
                // The keeper has gone without a word with its runtime.
                Err(lost.unwrap_or_else(ended))
            })
        })
        .await
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("settings", &self.settings)
            .field("is_connected", &!self.keeper.0.is_finished())
            .finish_non_exhaustive()
    }
}

/// The task that finds out when the server has ceased to answer.
struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Resolves when the server no longer answers.
async fn end_of(server: &RedisServer) -> SharedError {
    let mut closed = pin!(server.closed());
    let mut has_missed = false;
    loop {
        let mut beat = pin!(async {
            sleep(BEAT).await;
            server.read(Vec::new()).await
        });
        let answer = poll_fn(|cx| match closed.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => beat.as_mut().poll(cx).map(Some),
        });
        match answer.await {
            None => return ended(),
            Some(Err(ServerError::Disconnected { reason })) => {
                return SharedError::NotConnected { reason };
            }
            Some(Err(ServerError::TimedOut)) if has_missed => {
                let reason = "the server no longer answers".to_owned();
                return SharedError::NotConnected { reason };
            }
            Some(answer) => has_missed = matches!(answer, Err(ServerError::TimedOut)),
        }
    }
}

fn ended() -> SharedError {
    SharedError::NotConnected { reason: "the connection has ended".to_owned() }
}

fn failed(error: ServerError) -> SharedError {
    SharedError::new(error, TIMEOUT)
}

fn understood(operation: &str, found: Found) -> Result<Option<SharedCircuit>, SharedError> {
    match found {
        Found::Nothing => Ok(None),
        Found::Record(message) => Ok(Some(SharedCircuit::of(message))),
        Found::Unreadable => Err(unreadable(operation)),
    }
}

fn unreadable(operation: &str) -> SharedError {
    let reason =
        format!("the record of {operation:?} is of a later version of bindu-cb, or damaged");
    SharedError::NotUnderstood { reason }
}

impl SharedCircuit {
    fn of(message: Message) -> Self {
        let News { stamp, phase, left, reopens, by, lease, .. } = message.news;
        let probe_by = lease.filter(|(_, left)| *left > 0).map(|(owner, _)| owner);
        let state = match phase {
            Phase::Closed => CircuitState::Closed,
            Phase::Open if left == 0 && probe_by.is_some() => CircuitState::HalfOpen,
            Phase::Open => CircuitState::Open,
            Phase::ForcedOpen => CircuitState::ForcedOpen,
            Phase::ForcedClosed => CircuitState::ForcedClosed,
        };
        Self {
            operation: message.op,
            state,
            epoch: stamp.epoch,
            generation: stamp.generation,
            half_open_in: (state == CircuitState::Open).then(|| Duration::from_millis(left)),
            reopens: reopens.into(),
            probe_by,
            set_by: by.map(|By { who, why }| SetBy { who, why }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit(phase: Phase, left: Millis, lease: Option<Millis>) -> SharedCircuit {
        let lease = lease.map(|left| ("7-ab#1".to_owned(), left));
        let stamp = Stamp { epoch: 5, generation: 6 };
        let news =
            News { stamp, phase, left, wait: 9_000, reopens: 2, by: None, lease, revision: 0 };
        SharedCircuit::of(Message { op: "a".to_owned(), mark: None, news })
    }

    #[test]
    fn it_is_half_open_while_somebody_has_the_probe_and_the_wait_is_over() {
        for (left, lease, state, half_open_in) in [
            (3_000, None, CircuitState::Open, Some(3_000)),
            (50, Some(61_000), CircuitState::Open, Some(50)),
            (0, Some(60_000), CircuitState::HalfOpen, None),
            (0, Some(0), CircuitState::Open, Some(0)),
            (0, None, CircuitState::Open, Some(0)),
        ] {
            let circuit = circuit(Phase::Open, left, lease);
            assert_eq!(circuit.state, state, "{left} {lease:?}");
            assert_eq!(circuit.half_open_in, half_open_in.map(Duration::from_millis));
            assert_eq!(circuit.probe_by.is_some(), lease.is_some_and(|left| left > 0));
        }
        let closed = circuit(Phase::Closed, 0, None);
        assert_eq!((closed.state, closed.half_open_in), (CircuitState::Closed, None));
    }

    #[test]
    fn it_can_be_used_from_any_thread() {
        fn is_send<T: Send>(_: &T) {}
        fn is_sync<T: Sync>() {}
        fn futures(fleet: &mut Fleet) {
            is_send(&fleet.list());
            is_send(&fleet.get(""));
            is_send(&fleet.reset("", "", ""));
            is_send(&fleet.changed());
            is_send(&Fleet::connect(&SharedSettings::new("")));
        }
        is_sync::<Fleet>();
        let _ = futures;
    }
}
