//! A server in this process's memory: for tests under the paused clock, and for simulations. It does
//! what Redis does with [`apply`] in place of the script.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::codec::{Changes, Cursor, Found, Mark, Message, Reply};
use super::millis;
use super::news::NewsSender;
#[cfg(feature = "test-util")]
use super::protocol::{Action, By, Phase, Stamp};
use super::protocol::{Command, Millis, Record, apply};
use super::replica::News;
use super::server::{Connector, Server, ServerError};
use super::supervisor::TIMEOUT;

/// The server, and a way to it. Clones are the same one.
#[derive(Clone, Debug)]
pub struct MemoryServer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Mutex<Store>,
    born: Instant,
    /// Connections end.
    cut: Notify,
}

#[derive(Debug)]
struct Store {
    records: HashMap<Arc<str>, Record>,
    /// Of the history: another one after each loss.
    history: u64,
    changes: u64,
    changed: BTreeMap<u64, Arc<str>>,
    subscribers: Vec<NewsSender<Message>>,
    is_down: bool,
    is_silent: bool,
    latency: Duration,
    commands: u64,
    ahead: Millis,
}

/// A connection to it.
#[derive(Clone, Debug)]
pub(crate) struct MemoryConnection(Arc<Inner>);

impl Default for MemoryServer {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryServer {
    /// Empty.
    pub fn new() -> Self {
        let store = Store {
            records: HashMap::new(),
            history: 1,
            changes: 0,
            changed: BTreeMap::new(),
            subscribers: Vec::new(),
            is_down: false,
            is_silent: false,
            latency: Duration::ZERO,
            commands: 0,
            ahead: 1_000_000,
        };
        Self(Arc::new(Inner { store: Mutex::new(store), born: Instant::now(), cut: Notify::new() }))
    }

    /// Commands that it has been sent.
    pub fn commands(&self) -> u64 {
        self.0.store().commands
    }
}

/// What can befall it.
#[cfg(feature = "test-util")]
impl MemoryServer {
    /// How long each command takes on its way there, and so long again on its way back.
    pub fn set_latency(&self, latency: Duration) {
        self.0.store().latency = latency;
    }

    /// Down: connections end and none can be had.
    pub fn set_down(&self, is_down: bool) {
        let mut store = self.0.store();
        store.is_down = is_down;
        if is_down {
            store.subscribers.clear();
            drop(store);
            self.0.cut.notify_waiters();
        }
    }

    /// Silent: connections stay, and nothing is answered or pushed.
    pub fn set_silent(&self, is_silent: bool) {
        self.0.store().is_silent = is_silent;
    }

    /// Loses everything.
    pub fn flush(&self) {
        let mut store = self.0.store();
        store.records.clear();
        store.changed.clear();
        store.history += 1;
        store.changes = 0;
    }

    /// Moves its clock.
    pub fn advance_clock(&self, ahead: Duration) {
        let ahead = millis(ahead);
        self.0.store().ahead += ahead;
    }

    /// Sets a circuit by hand, as an operator does.
    pub fn set_by_hand(&self, op: &str, phase: Phase) {
        let mut store = self.0.store();
        let now = self.0.now(&store);
        let by = By { who: "test".to_owned(), why: String::new() };
        let action = Action::Manual { phase, by };
        let command = Command { seen: Stamp::NONE, deadline: 0, keep: 0, action };
        store.execute(&Arc::from(op), &command, now);
    }
}

impl Inner {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self, store: &Store) -> Millis {
        store.ahead.saturating_add(millis(self.born.elapsed()))
    }

    /// Does `work` as a command: after the way there, and before the way back.
    async fn command<T>(
        &self,
        work: impl FnOnce(&mut Store, Millis) -> T,
    ) -> Result<T, ServerError> {
        let latency = self.store().latency;
        if !latency.is_zero() {
            sleep(latency).await;
        }
        if self.store().is_silent {
            sleep(TIMEOUT.saturating_sub(latency)).await;
            return Err(ServerError::TimedOut);
        }
        let result = {
            let mut store = self.store();
            if store.is_down {
                return Err(ServerError::Disconnected { reason: "it is down".to_owned() });
            }
            store.commands += 1;
            let now = self.now(&store);
            work(&mut store, now)
        };
        if !latency.is_zero() {
            sleep(latency).await;
        }
        Ok(result)
    }
}

impl Store {
    fn execute(&mut self, op: &Arc<str>, command: &Command, now: Millis) -> Reply {
        let before = self.live(op, now);
        let (after, answer) = apply(before.clone(), now, command);
        let mut mark = None;
        if let Some(record) = &after
            && after != before
        {
            mark = Some(self.changed(op, record, now));
            self.records.insert(Arc::clone(op), record.clone());
        }
        let message = after.as_ref().map(|record| message(op, record, now, mark));
        Reply { now, answer, message }
    }

    fn mark(&self) -> Mark {
        Mark { time: self.history, number: self.changes }
    }

    fn cursor(&self) -> Cursor {
        Cursor { mark: self.mark(), count: self.changes }
    }

    fn changed(&mut self, op: &Arc<str>, record: &Record, now: Millis) -> Mark {
        self.changes += 1;
        self.changed.retain(|_, other| other != op);
        self.changed.insert(self.changes, Arc::clone(op));
        let mark = self.mark();
        if !self.is_silent {
            for subscriber in &self.subscribers {
                subscriber.send(message(op, record, now, Some(mark)));
            }
        }
        mark
    }

    fn live(&self, op: &str, now: Millis) -> Option<Record> {
        let record = self.records.get(op)?;
        record.expires.is_none_or(|expires| now < expires).then(|| record.clone())
    }
}

fn message(op: &Arc<str>, record: &Record, now: Millis, mark: Option<Mark>) -> Message {
    Message { op: op.to_string(), mark, news: News::of(record, now) }
}

impl Connector for MemoryServer {
    type Server = MemoryConnection;

    async fn connect(&self, pushes: NewsSender<Message>) -> Result<MemoryConnection, ServerError> {
        let subscribe = |store: &mut Store, _| {
            // Who connects again has lost what went to its last connection.
            store.subscribers.retain(|subscriber| !subscriber.is_same(&pushes));
            store.subscribers.push(pushes);
        };
        self.0.command(subscribe).await?;
        Ok(MemoryConnection(Arc::clone(&self.0)))
    }
}

impl Server for MemoryConnection {
    async fn execute(&self, op: Arc<str>, command: Command) -> Result<Reply, ServerError> {
        self.0.command(|store, now| store.execute(&op, &command, now)).await
    }

    async fn read(&self, ops: Vec<Arc<str>>) -> Result<(Millis, Vec<Found>), ServerError> {
        let read = |store: &mut Store, now| {
            let found = ops.iter().map(|op| match store.live(op, now) {
                Some(record) => Found::Record(message(op, &record, now, None)),
                None => Found::Nothing,
            });
            (now, found.collect())
        };
        self.0.command(read).await
    }

    async fn changes(&self, since: Option<Cursor>) -> Result<(Millis, Changes), ServerError> {
        let look = |store: &mut Store, now| {
            let cursor = store.cursor();
            let changes = match since {
                None => Changes::Start { cursor },
                Some(since) if since.count > 0 && since.mark.time != store.history => {
                    Changes::Lost { cursor }
                }
                Some(since) if since.count == store.changes => Changes::Nothing,
                Some(since) => {
                    let mark = |number| Mark { time: store.history, number };
                    let later = store.changed.range(since.count + 1..);
                    let ops = later.map(|(number, op)| (op.to_string(), mark(*number))).collect();
                    Changes::Some { cursor, ops }
                }
            };
            (now, changes)
        };
        self.0.command(look).await
    }

    async fn closed(&self) {
        let cut = self.0.cut.notified();
        if !self.0.store().is_down {
            cut.await;
        }
    }
}
