//! The one task of a process that talks to the server: it publishes what the process's own circuits
//! do, follows what the fleet's do, and feeds the one from the other.
//!
//! It waits for nothing but the next thing to happen, so whatever the server does, what it has learnt
//! and what the process's circuits tell it is looked at at once. No guarded call waits for it: a call
//! leaves a note in the [`Hub`] and goes on.
//!
//! Here is what it does by itself, and with what its circuits tell it; what it does with an answer is in
//! [`returned`].

#[cfg(feature = "otel")]
mod measure;
mod returned;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::codec::{Changes, Cursor, Found, Mark, Message, Reply};
use super::hub::{Hub, Note};
use super::member::Member;
use super::millis;
use super::news::{News as Queue, NewsSender, Received, news};
use super::protocol::{Action, Command, Millis, Phase};
use super::replica::{At, News, Source};
use super::report::Report;
use super::server::{Connector, Server, ServerError};
use crate::breaker::{CircuitBreaker, Wanted};

/// Any command is answered by then, or has failed.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(300);
/// Between two looks at the index of changes, which are the heartbeat.
const BEAT: Duration = Duration::from_millis(500);
/// Reconnects are spread over so long.
const SPREAD: Duration = Duration::from_millis(500);
/// A server that has refused a command is asked again after so long.
const PAUSE: Millis = 1_000;
/// Records that are read by one command, when many are.
const READS: usize = 64;
/// Pushes that may wait to be looked at.
const PUSHES: usize = 4_096;

/// Something to look at.
enum Happened<S> {
    Notes,
    Pushed(Message),
    Missed,
    Returned(Returned<S>),
    Time,
}

/// What has come back from the server.
enum Returned<S> {
    Connected(Result<S, ServerError>),
    Closed,
    Changes(Result<(Millis, Changes), ServerError>),
    Read(Vec<Arc<str>>, Result<(Millis, Vec<Found>), ServerError>),
    Done(Arc<str>, Action, Box<Result<Reply, ServerError>>),
    /// Something has, and nobody will say what.
    Nothing,
}

enum Link<S> {
    Down { next_try: Instant },
    Connecting,
    Up(Up<S>),
}

struct Up<S> {
    server: S,
    next_beat: Instant,
    /// A look at the index is on its way.
    is_looking: bool,
    /// The last change that had been heard of when it was sent.
    heard_before: Option<Mark>,
    /// Looks in a row that were not answered.
    misses: u32,
    /// The first look has been answered: the server's clock is known.
    is_ready: bool,
    /// Operations whose records are to be read.
    unread: HashSet<Arc<str>>,
    /// Some are being read.
    is_reading: bool,
}

pub(crate) struct Supervisor<C: Connector> {
    connector: Arc<C>,
    hub: Arc<Hub>,
    /// Of this life of this process.
    me: String,
    quorum: u32,
    born: Instant,
    // Boxed: a table has room for up to twice as many as there are.
    members: HashMap<Arc<str>, Box<Member>>,
    /// When each member wants to be looked at though nothing has happened.
    wakes: BTreeSet<(At, Arc<str>)>,
    link: Link<C::Server>,
    tasks: JoinSet<Returned<C::Server>>,
    /// How far the changes of the namespace have been followed.
    cursor: Option<Cursor>,
    /// The last change that has been told of.
    heard: Option<Mark>,
    /// Of operations without a circuit here: the changes that have been told of since the last look
    /// at the index, which is to ask for none of them.
    heard_of_others: HashMap<Arc<str>, Mark>,
    /// The server's clock, less one's own.
    ahead: i128,
    report: Report,
}

impl<C: Connector> Supervisor<C> {
    /// `me` is of one life of one process.
    pub(crate) fn new(connector: C, hub: Arc<Hub>, me: String, quorum: u32) -> Self {
        Self {
            connector: Arc::new(connector),
            report: Report::new(Arc::clone(&hub)),
            hub,
            me,
            quorum,
            born: Instant::now(),
            members: HashMap::new(),
            wakes: BTreeSet::new(),
            link: Link::Down { next_try: Instant::now() },
            tasks: JoinSet::new(),
            cursor: None,
            heard: None,
            heard_of_others: HashMap::new(),
            ahead: 0,
        }
    }

    /// Until the hub is stopped. A panic, which is a bug or that of whoever listens to the log, ends
    /// it, too: see the drop.
    pub(crate) async fn run(self) {
        let mut living = pin!(self.live());
        let ended = poll_fn(|cx| {
            // Nothing that it may have left half done is looked at again.
            let poll = AssertUnwindSafe(|| living.as_mut().poll(cx));
            catch_unwind(poll).map_or(Poll::Ready(false), |poll| poll.map(|()| true))
        });
        if !ended.await {
            tracing::error!(
                "shared circuits: the supervisor has panicked; circuits are this process's own \
                 until they are shared anew"
            );
        }
    }

    async fn live(mut self) {
        let (pushes, mut queue) = news(PUSHES);
        while !self.hub.is_stopped() {
            self.keep_time(&pushes);
            match self.happened(&mut queue).await {
                Happened::Notes => {
                    for note in self.hub.take() {
                        self.note(note);
                    }
                }
                Happened::Pushed(message) => self.heard(&message, Source::Push),
                Happened::Missed => self.read_everything(),
                Happened::Returned(returned) => self.returned(returned),
                Happened::Time => {}
            }
        }
        self.leave();
        // The others need not wait for what nobody here will do. Whether it comes in time is not waited
        // for any longer than for anything else.
        let _ = timeout(TIMEOUT, self.let_go()).await;
    }

    /// The circuits are this process's own again.
    fn leave(&self) {
        let wanted: Arc<dyn Wanted> = Arc::<Hub>::clone(&self.hub);
        self.members.values().for_each(|member| member.leave(&wanted));
    }

    /// Of the leases that are held.
    async fn let_go(&mut self) {
        let now = self.now();
        let Link::Up(Up { server, is_ready: true, .. }) = &self.link else { return };
        let mut words = JoinSet::new();
        for (operation, member) in &self.members {
            let Some(action) = member.last_word(now) else { continue };
            let command = command(member, action, now, self.ahead);
            let (server, operation) = (server.clone(), Arc::clone(operation));
            words.spawn(async move { server.execute(operation, command).await });
        }
        while words.join_next().await.is_some() {}
    }

    /// Cancel safe, as all that it waits for is.
    async fn happened(&mut self, queue: &mut Queue<Message>) -> Happened<C::Server> {
        let hub = Arc::clone(&self.hub);
        let (mut arrived, mut pushed) = (pin!(hub.arrived()), pin!(queue.next()));
        let mut time = pin!(sleep_until(self.next_moment()));
        poll_fn(|cx| {
            if arrived.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Happened::Notes);
            }
            if let Poll::Ready(received) = pushed.as_mut().poll(cx) {
                return Poll::Ready(match received {
                    Received::Message(message) => Happened::Pushed(message),
                    Received::Missed => Happened::Missed,
                });
            }
            if let Poll::Ready(Some(result)) = self.tasks.poll_join_next(cx) {
                // None is aborted but with all of them: it has panicked.
                let returned = result.unwrap_or(Returned::Nothing);
                return Poll::Ready(Happened::Returned(returned));
            }
            time.as_mut().poll(cx).map(|()| Happened::Time)
        })
        .await
    }

    fn now(&self) -> At {
        millis(Instant::now().saturating_duration_since(self.born))
    }

    fn next_moment(&self) -> Instant {
        let member = self.wakes.first().map(|(at, _)| self.born + Duration::from_millis(*at));
        let link = match &self.link {
            Link::Down { next_try } => Some(*next_try),
            Link::Connecting => None,
            Link::Up(up) => Some(up.next_beat),
        };
        let far = Instant::now() + Duration::from_mins(1);
        [member, link].into_iter().flatten().fold(far, Instant::min)
    }

    /// Does what is due.
    fn keep_time(&mut self, pushes: &NewsSender<Message>) {
        let now = self.now();
        while let Some((at, _)) = self.wakes.first()
            && *at <= now
            && let Some((_, operation)) = self.wakes.pop_first()
        {
            if let Some(member) = self.members.get_mut(&operation) {
                member.wakes_at = None;
            }
            self.step(&operation);
        }
        match &mut self.link {
            Link::Down { next_try } if *next_try <= Instant::now() => {
                self.link = Link::Connecting;
                let (connector, pushes) = (Arc::clone(&self.connector), pushes.clone());
                self.tasks
                    .spawn(async move { Returned::Connected(connector.connect(pushes).await) });
            }
            Link::Up(up) if up.next_beat <= Instant::now() => {
                up.next_beat = Instant::now() + BEAT;
                if !up.is_looking {
                    (up.is_looking, up.heard_before) = (true, self.heard);
                    let (server, since) = (up.server.clone(), self.cursor);
                    let hub = Arc::clone(&self.hub);
                    self.tasks.spawn(async move {
                        Returned::Changes(hub.exchange(server.changes(since)).await)
                    });
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, note: Note) {
        let now = self.now();
        match note {
            Note::Made(circuit) => self.join(circuit),
            Note::Changed(operation, change) => {
                let Some(member) = self.members.get_mut(operation) else { return };
                member.changed(change, now);
                self.step(&Arc::from(operation));
            }
            Note::Wanted(operation) => self.step(&Arc::from(operation)),
        }
    }

    fn join(&mut self, circuit: Arc<CircuitBreaker>) {
        let operation: Arc<str> = circuit.name().into();
        if let Some(before) = self.members.get_mut(&operation)
            && before.is_of(&circuit)
        {
            return;
        }
        let member = Member::new(circuit, &self.me, self.quorum, self.now());
        self.members.insert(Arc::clone(&operation), Box::new(member));
        if let Some(remembered) = self.hub.remembered(&operation) {
            self.learn(&operation, Some(&remembered.at_last()), Source::Push);
        }
        // What was pushed before there was a circuit may not be the last word.
        if let Link::Up(up) = &mut self.link {
            up.unread.insert(operation);
        }
        self.read_on();
    }

    fn heard(&mut self, message: &Message, source: Source) {
        let operation: Arc<str> = message.op.as_str().into();
        if let Some(mark) = message.mark {
            #[cfg(feature = "otel")]
            self.measure_delay(&operation, mark, source);
            self.heard = self.heard.max(Some(mark));
            if let Some(member) = self.members.get_mut(&operation) {
                member.mark = Some(mark);
            } else {
                self.heard_of_others.insert(Arc::clone(&operation), mark);
            }
        }
        self.learn(&operation, Some(&message.news), source);
    }

    /// Something has come from the server, of an operation that may have no circuit here.
    fn learn(&mut self, operation: &Arc<str>, news: Option<&News>, source: Source) {
        let now = self.now();
        let Some(member) = self.members.get_mut(operation) else {
            match news {
                Some(news) if news.phase != Phase::Closed => {
                    self.hub.remember(operation, news);
                    self.hub.make_class(operation);
                }
                _ => self.hub.forget(operation),
            }
            return;
        };
        member.learn(news, source, now);
        #[cfg(feature = "otel")]
        self.note_fleet(operation);
        self.step(operation);
    }

    /// Looks at one circuit, and sends what it wants to be sent.
    fn step(&mut self, operation: &Arc<str>) {
        let now = self.now();
        let Some(member) = self.members.get_mut(operation) else { return };
        member.keep_time(now);
        if let Link::Up(up) = &self.link
            && up.is_ready
            && let Some(action) = member.next(now)
        {
            let command = command(member, action.clone(), now, self.ahead);
            let (server, operation) = (up.server.clone(), Arc::clone(operation));
            let hub = Arc::clone(&self.hub);
            self.tasks.spawn(async move {
                let executed = server.execute(Arc::clone(&operation), command);
                let result = hub.exchange(executed).await;
                Returned::Done(operation, action, Box::new(result))
            });
        }
        let wakes_at = member.wake_at(now);
        if wakes_at != member.wakes_at {
            if let Some(at) = member.wakes_at {
                self.wakes.remove(&(at, Arc::clone(operation)));
            }
            member.wakes_at = wakes_at;
            self.wakes.extend(wakes_at.map(|at| (at, Arc::clone(operation))));
        }
    }
}

/// However it ends: circuits that nobody feeds any more must not be led, nor say that they are.
impl<C: Connector> Drop for Supervisor<C> {
    fn drop(&mut self) {
        self.hub.stop();
        // Relaxed: a figure for whoever looks.
        self.hub.status.connected.store(false, Ordering::Relaxed);
        self.leave();
        let wanted: Arc<dyn Wanted> = Arc::<Hub>::clone(&self.hub);
        // Those that were made last: a note holds its circuit, that the hub, and that the note.
        for note in self.hub.take() {
            if let Note::Made(circuit) = note {
                circuit.unlead(&wanted);
            }
        }
    }
}

fn command(member: &Member, action: Action, now: At, ahead: i128) -> Command {
    let keep = member.terms().keep();
    Command { seen: member.stamp(), deadline: deadline(now, ahead), keep, action }
}

/// The moment of the server's clock by which a command that is sent now must run, or not at all.
fn deadline(now: At, ahead: i128) -> Millis {
    let at = i128::from(now) + ahead + i128::from(millis(TIMEOUT));
    // Never zero, which would be never.
    Millis::try_from(at).unwrap_or(1).max(1)
}

#[cfg(all(test, not(loom)))]
mod tests;
