//! A fleet, its server and the network between them, one step at a time.

use std::collections::BTreeSet;

use bindu_cb::__shared::protocol::{
    Action, Answer, By, Command, Millis, Phase, Record, Stamp, apply,
};
use bindu_cb::__shared::replica::{News, Replica, Source, Terms};
use bindu_cb::{Cause, CircuitState};

use crate::circuit::{Circuit, WAIT};

const TICK: Millis = 1_000;
/// The server's clock is its own.
const SERVER_START: Millis = 1_000_000;

/// What is wrong with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    None,
    /// Outcomes count from anybody, whatever they have seen.
    NoFencing,
    /// A record that is made anew begins where every record began.
    NoEpoch,
    /// A push is believed though it is older than what is known.
    PushOverwrites,
    GiveBackIgnored,
    /// A lease is given though another one holds.
    LeaseIsNoLease,
    /// Votes are not given again when the server has lost data.
    LossUnheeded,
    /// One vote of any version opens.
    AnyVoteOpens,
}

/// How much may go wrong, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub replicas: usize,
    pub quorum: u32,
    pub ticks: u64,
    pub budget: Budget,
    pub mutation: Mutation,
}

/// What may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub trips: u8,
    pub manuals: u8,
    pub flushes: u8,
    pub failovers: u8,
    pub crashes: u8,
    pub timeouts: u8,
    pub lost_pushes: u8,
    pub doubled_pushes: u8,
}

/// What must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wrong {
    TwoProbes,
    StaleOutcome,
    WentBack,
    OpenedByTooFew,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Flight {
    Sent(Command),
    Answered(Command, Answer, Option<News>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub replica: Replica,
    pub circuit: Circuit,
    life: u8,
    pub flight: Option<Flight>,
    /// On their way, to arrive in any order.
    pub pushes: Vec<News>,
    /// Something has changed of which the push was lost: the next heartbeat will tell.
    pub is_behind: bool,
    /// The server has lost data: the next heartbeat will tell.
    pub has_not_heard_of_loss: bool,
}

/// What the server has granted, by its answers alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Granted {
    stamp: Stamp,
    owner: String,
    until: Millis,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fleet {
    pub now: Millis,
    pub record: Option<Record>,
    /// As it was before the last change: what a server has that takes over.
    older: Option<Record>,
    losses: u8,
    granted: Option<Granted>,
    pub processes: Vec<Process>,
    /// Commands that were given up and may still run.
    pub strays: Vec<Command>,
    budget: Budget,
    pub wrongs: BTreeSet<Wrong>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Tick,
    /// A call comes to an open circuit.
    Call(usize),
    Trips(usize),
    Succeeds(usize),
    Fails(usize),
    Serve(usize),
    Receive(usize),
    GiveUp(usize),
    RunStray(usize),
    Push(usize, usize),
    PushTwice(usize, usize),
    LosePush(usize, usize),
    Heartbeat(usize),
    Crash(usize),
    Manual(Phase),
    Flush,
    Failover,
}

impl Bounds {
    /// A lease is a tick longer than a probe, and one that is only offered has two.
    pub fn terms(&self) -> Terms {
        Terms { quorum: self.quorum, probe: 0, longest: WAIT }
    }

    fn name(at: usize, life: u8) -> String {
        format!("{}{life}", ["a", "b", "c"][at])
    }

    pub fn fleet(&self) -> Fleet {
        let process = |at| Process {
            replica: Replica::new(&Self::name(at, 0), Circuit::new().standing(0), 0),
            circuit: Circuit::new(),
            life: 0,
            flight: None,
            pushes: Vec::new(),
            is_behind: false,
            has_not_heard_of_loss: false,
        };
        Fleet {
            now: 0,
            record: None,
            older: None,
            losses: 0,
            granted: None,
            processes: (0..self.replicas).map(process).collect(),
            strays: Vec::new(),
            budget: self.budget,
            wrongs: BTreeSet::new(),
        }
    }
}

impl Fleet {
    /// The steps that are possible.
    pub fn steps(&self, bounds: &Bounds) -> Vec<Step> {
        let mut steps = Vec::new();
        let budget = &self.budget;
        // A command is given up long before a tick is over.
        let is_waited_for = self.processes.iter().any(|process| process.flight.is_some());
        if self.now < bounds.ticks * TICK && !is_waited_for {
            steps.push(Step::Tick);
        }
        for (i, process) in self.processes.iter().enumerate() {
            let Process { circuit, flight, pushes, .. } = process;
            match circuit.state {
                // Before anything has happened all are the same.
                CircuitState::Closed if budget.trips > 0 && (i == 0 || self.record.is_some()) => {
                    steps.push(Step::Trips(i));
                }
                CircuitState::HalfOpen => steps.extend([Step::Succeeds(i), Step::Fails(i)]),
                CircuitState::Open if !circuit.turns_away(self.now) || circuit.rejected < 1 => {
                    steps.push(Step::Call(i));
                }
                _ => {}
            }
            match flight {
                Some(Flight::Sent(_)) => steps.push(Step::Serve(i)),
                Some(Flight::Answered(..)) => steps.push(Step::Receive(i)),
                None => {}
            }
            if flight.is_some() && budget.timeouts > 0 {
                steps.push(Step::GiveUp(i));
            }
            for k in 0..pushes.len() {
                steps.push(Step::Push(i, k));
                if budget.doubled_pushes > 0 {
                    steps.push(Step::PushTwice(i, k));
                }
                if budget.lost_pushes > 0 {
                    steps.push(Step::LosePush(i, k));
                }
            }
            if process.is_behind || process.has_not_heard_of_loss {
                steps.push(Step::Heartbeat(i));
            }
            if budget.crashes > 0 {
                steps.push(Step::Crash(i));
            }
        }
        steps.extend((0..self.strays.len()).map(Step::RunStray));
        if budget.manuals > 0 {
            steps.extend([Phase::ForcedOpen, Phase::Closed].map(Step::Manual));
        }
        if budget.flushes > 0 && self.record.is_some() {
            steps.push(Step::Flush);
        }
        if budget.failovers > 0 && self.record != self.older {
            steps.push(Step::Failover);
        }
        steps
    }

    pub fn step(&mut self, step: Step, bounds: &Bounds) {
        let before: Vec<_> = self.lives();
        match step {
            Step::Tick => self.tick(),
            Step::Call(i) => self.call(i),
            Step::Trips(i) => {
                self.budget.trips -= 1;
                self.goes(i, CircuitState::Open, Cause::Local);
            }
            Step::Succeeds(i) => self.goes(i, CircuitState::Closed, Cause::Probe),
            Step::Fails(i) => self.goes(i, CircuitState::Open, Cause::Probe),
            Step::Serve(i) => self.serve(i, bounds),
            Step::Receive(i) => self.receive(i, bounds),
            Step::GiveUp(i) => {
                self.budget.timeouts -= 1;
                self.give_up(i);
            }
            Step::RunStray(k) => {
                let command = self.strays.remove(k);
                self.run(&command, bounds);
            }
            Step::Push(i, k) => {
                let news = self.processes[i].pushes.remove(k);
                self.push(i, &news, bounds);
            }
            Step::PushTwice(i, k) => {
                self.budget.doubled_pushes -= 1;
                let news = self.processes[i].pushes[k].clone();
                self.push(i, &news, bounds);
            }
            Step::LosePush(i, k) => {
                self.budget.lost_pushes -= 1;
                self.processes[i].pushes.remove(k);
                self.processes[i].is_behind = true;
            }
            Step::Heartbeat(i) => self.heartbeat(i, bounds),
            Step::Crash(i) => self.crash(i),
            Step::Manual(phase) => {
                self.budget.manuals -= 1;
                let by = By { who: "ops".to_owned(), why: String::new() };
                let action = Action::Manual { phase, by };
                self.run(&self.command(Stamp::NONE, action, bounds), bounds);
            }
            Step::Flush => {
                self.budget.flushes -= 1;
                self.lose(None);
            }
            Step::Failover => {
                self.budget.failovers -= 1;
                self.lose(self.older.clone());
            }
        }
        for i in 0..self.processes.len() {
            self.send(i, bounds);
        }
        let is_same_life = |((name, was), (now_name, is)): (&(_, Stamp), &(_, Stamp))| {
            name == now_name && is < was
        };
        let went_back = before.iter().zip(&self.lives()).any(is_same_life);
        self.judged(went_back, Wrong::WentBack);
    }

    /// The record, if the server has not forgotten it.
    pub fn kept(&self) -> Option<Record> {
        let now = self.server_now();
        self.record.clone().filter(|record| record.expires.is_none_or(|at| now < at))
    }

    pub fn generation(&self) -> u64 {
        self.record.as_ref().map_or(0, |record| record.stamp.generation)
    }

    fn lives(&self) -> Vec<(u8, Stamp)> {
        self.processes.iter().map(|process| (process.life, process.replica.stamp())).collect()
    }

    fn server_now(&self) -> Millis {
        // No two histories begin in the same millisecond.
        SERVER_START + self.now + 10 * u64::from(self.losses)
    }

    fn command(&self, seen: Stamp, action: Action, bounds: &Bounds) -> Command {
        let deadline = self.server_now() + TICK;
        Command { seen, deadline, keep: bounds.terms().keep(), action }
    }

    fn tick(&mut self) {
        self.now += TICK;
        let server_now = self.server_now();
        // What can no longer do anything need not be remembered.
        self.strays.retain(|command| command.deadline >= server_now);
        for process in &mut self.processes {
            if process.replica.is_unclaimed(self.now) {
                let nobody_came = process.circuit.state == CircuitState::Open;
                if nobody_came {
                    process.circuit.held_until = process.replica.held_until();
                }
                process.replica.withdrawn(nobody_came, self.now);
            }
        }
    }

    fn call(&mut self, i: usize) {
        if self.processes[i].circuit.turns_away(self.now) {
            self.processes[i].circuit.rejected += 1;
        } else {
            self.goes(i, CircuitState::HalfOpen, Cause::Local);
        }
    }

    fn goes(&mut self, i: usize, to: CircuitState, cause: Cause) {
        let process = &mut self.processes[i];
        let change = process.circuit.go(to, cause, self.now);
        process.replica.changed(change, self.now);
    }

    /// The next command, if none is under way.
    fn send(&mut self, i: usize, bounds: &Bounds) {
        let process = &mut self.processes[i];
        if process.flight.is_some() {
            return;
        }
        let standing = process.circuit.standing(self.now);
        if let Some(action) = process.replica.next(standing, bounds.terms(), self.now) {
            let seen = process.replica.stamp();
            let command = self.command(seen, action, bounds);
            self.processes[i].flight = Some(Flight::Sent(command));
        }
    }

    fn serve(&mut self, i: usize, bounds: &Bounds) {
        let Some(Flight::Sent(command)) = self.processes[i].flight.take() else { return };
        let answer = self.run(&command, bounds);
        let news = self.record.as_ref().map(|record| News::of(record, self.server_now()));
        self.processes[i].flight = Some(Flight::Answered(command, answer, news));
    }

    /// At the server.
    fn run(&mut self, command: &Command, bounds: &Bounds) -> Answer {
        let now = self.server_now();
        let before = self.record.clone();
        let (after, answer) = bounds.apply(before.clone(), now, command);
        self.judge(before.as_ref(), after.as_ref(), command, answer);
        if answer != Answer::Late && after != before {
            if let Some(record) = &after {
                let news = News::of(record, now);
                for process in &mut self.processes {
                    process.pushes.retain(|push| *push != news);
                    process.pushes.push(news.clone());
                    if process.pushes.len() > 2 {
                        process.pushes.remove(0);
                        process.is_behind = true;
                    }
                }
            }
            self.older = before;
        }
        self.record = after;
        answer
    }

    /// Whether the server may do what it has done, by what it has answered until now.
    fn judge(
        &mut self,
        before: Option<&Record>,
        after: Option<&Record>,
        command: &Command,
        answer: Answer,
    ) {
        let now = self.server_now();
        let stamp = before.map_or(Stamp::NONE, |record| record.stamp);
        let holds = |granted: &Granted| granted.stamp == stamp && granted.until > now;
        match &command.action {
            Action::Lease { owner, .. } if answer == Answer::Done => {
                let is_anothers = |granted: &Granted| holds(granted) && granted.owner != *owner;
                let is_second = self.granted.as_ref().is_some_and(is_anothers);
                self.judged(is_second, Wrong::TwoProbes);
                let lease = after.and_then(|record| record.lease.as_ref());
                self.granted =
                    lease.map(|lease| Granted { stamp, owner: owner.clone(), until: lease.until });
            }
            Action::GiveBack { .. } if answer == Answer::Done => self.granted = None,
            Action::Outcome { owner, .. } if after != before => {
                let is_its = |granted: &Granted| holds(granted) && granted.owner == *owner;
                let is_its = self.granted.as_ref().is_some_and(is_its);
                self.judged(command.seen != stamp || !is_its, Wrong::StaleOutcome);
            }
            Action::Vote { quorum, voter, .. } => {
                let has_opened = after.is_some_and(|record| record.content.phase == Phase::Open)
                    && before.is_none_or(|record| record.content.phase != Phase::Open);
                let others = before.into_iter().flat_map(|record| &record.votes);
                let count = 1 + others.filter(|(who, at)| **at > now && *who != voter).count();
                self.judged(has_opened && count < *quorum as usize, Wrong::OpenedByTooFew);
            }
            _ => {}
        }
    }

    fn judged(&mut self, is_wrong: bool, wrong: Wrong) {
        if is_wrong {
            self.wrongs.insert(wrong);
        }
    }

    fn receive(&mut self, i: usize, bounds: &Bounds) {
        let flight = self.processes[i].flight.take();
        let Some(Flight::Answered(command, answer, news)) = flight else { return };
        self.learn(i, news.as_ref(), Source::Answer, bounds);
        let process = &mut self.processes[i];
        let standing = process.circuit.standing(self.now);
        let feeds = process.replica.answered(&command.action, answer, standing, self.now);
        self.obey(i, &feeds);
    }

    fn learn(&mut self, i: usize, news: Option<&News>, source: Source, bounds: &Bounds) {
        let process = &mut self.processes[i];
        let standing = process.circuit.standing(self.now);
        let feeds = process.replica.learn(news, source, standing, bounds.terms(), self.now);
        self.obey(i, &feeds);
    }

    fn obey(&mut self, i: usize, feeds: &[bindu_cb::__shared::replica::Feed]) {
        let process = &mut self.processes[i];
        for feed in feeds {
            if let Some(change) = process.circuit.obey(feed, self.now) {
                process.replica.changed(change, self.now);
            }
        }
    }

    fn give_up(&mut self, i: usize) {
        match self.processes[i].flight.take() {
            Some(Flight::Sent(command)) => {
                self.processes[i].replica.unanswered(&command.action);
                self.strays.push(command);
            }
            Some(Flight::Answered(command, ..)) => {
                self.processes[i].replica.unanswered(&command.action);
            }
            None => {}
        }
    }

    fn push(&mut self, i: usize, news: &News, bounds: &Bounds) {
        let process = &mut self.processes[i];
        if bounds.mutation == Mutation::PushOverwrites && news.stamp < process.replica.stamp() {
            let name = Bounds::name(i, process.life);
            process.replica = Replica::new(&name, process.circuit.standing(self.now), self.now);
        }
        self.learn(i, Some(news), Source::Push, bounds);
    }

    fn heartbeat(&mut self, i: usize, bounds: &Bounds) {
        let now = self.server_now();
        let news = self.kept().map(|record| News::of(&record, now));
        if self.processes[i].has_not_heard_of_loss {
            // A new connection: nothing of the history that was lost comes after this.
            self.give_up(i);
            self.processes[i].pushes.clear();
        }
        let process = &mut self.processes[i];
        process.is_behind = false;
        if process.has_not_heard_of_loss && bounds.mutation != Mutation::LossUnheeded {
            process.replica.server_has_lost();
        }
        process.has_not_heard_of_loss = false;
        self.learn(i, news.as_ref(), Source::Answer, bounds);
    }

    fn crash(&mut self, i: usize) {
        self.budget.crashes -= 1;
        self.give_up(i);
        let process = &mut self.processes[i];
        process.life += 1;
        process.circuit = Circuit::new();
        let name = Bounds::name(i, process.life);
        process.replica = Replica::new(&name, process.circuit.standing(self.now), self.now);
        process.pushes.clear();
        process.is_behind = true;
        process.has_not_heard_of_loss = false;
    }

    fn lose(&mut self, record: Option<Record>) {
        self.record = record;
        self.older = self.record.clone();
        self.losses += 1;
        // What was granted is lost, too.
        self.granted = self.record.as_ref().and_then(|record| {
            let lease = record.lease.as_ref()?;
            Some(Granted { stamp: record.stamp, owner: lease.owner.clone(), until: lease.until })
        });
        for process in &mut self.processes {
            process.has_not_heard_of_loss = true;
        }
    }
}

impl Bounds {
    /// The function of the crate, or one that is wrong.
    fn apply(
        &self,
        record: Option<Record>,
        now: Millis,
        command: &Command,
    ) -> (Option<Record>, Answer) {
        let mut command = command.clone();
        match (self.mutation, &mut command.action, record) {
            (Mutation::NoFencing, Action::Outcome { owner, .. }, Some(mut record)) => {
                command.seen = record.stamp;
                if let Some(lease) = &mut record.lease {
                    owner.clone_from(&lease.owner);
                    lease.until = lease.until.max(now + 1);
                }
                apply(Some(record), now, &command)
            }
            (Mutation::GiveBackIgnored, Action::GiveBack { .. }, record) => (record, Answer::Done),
            (Mutation::LeaseIsNoLease, Action::Lease { .. }, Some(record)) => {
                apply(Some(Record { lease: None, ..record }), now, &command)
            }
            (Mutation::AnyVoteOpens, Action::Vote { quorum, .. }, record) => {
                *quorum = 1;
                command.seen = record.as_ref().map_or(command.seen, |record| record.stamp);
                apply(record, now, &command)
            }
            (Mutation::NoEpoch, _, record) => {
                let (mut record, answer) = apply(record, now, &command);
                if let Some(record) = &mut record {
                    record.stamp.epoch = SERVER_START;
                }
                (record, answer)
            }
            (_, _, record) => apply(record, now, &command),
        }
    }
}
