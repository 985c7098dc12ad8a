//! Fifty workers, each of which saves a row and runs a task on it ten times a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::run_task;
use crate::store::{Store, StoreError};

const WORKERS: u32 = 50;
const PACE: Duration = Duration::from_millis(100);

/// One call of `save` or `run_task`, as its caller saw it.
pub(crate) struct Call {
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
    pub(crate) end: End,
}

#[derive(PartialEq)]
pub(crate) enum End {
    Success,
    Rejected,
    Failure,
}

pub(crate) struct Load {
    workers: JoinSet<()>,
    receiver: UnboundedReceiver<Call>,
    calls: Vec<Call>,
}

impl Load {
    pub(crate) fn start(store: &Arc<Store>) -> Self {
        let (sender, receiver) = unbounded_channel();
        let mut workers = JoinSet::new();
        for number in 0..WORKERS {
            workers.spawn(work(number, Arc::clone(store), sender.clone()));
        }
        Self { workers, receiver, calls: Vec::new() }
    }

    /// The calls that ended since this was last asked.
    pub(crate) fn new_calls(&mut self) -> &[Call] {
        let seen = self.calls.len();
        while let Ok(call) = self.receiver.try_recv() {
            self.calls.push(call);
        }
        &self.calls[seen..]
    }

    /// Ends the workers where they are and hands over every call that they made.
    pub(crate) async fn stop(mut self) -> Vec<Call> {
        self.workers.shutdown().await;
        self.new_calls();
        self.calls
    }
}

async fn work(number: u32, store: Arc<Store>, calls: UnboundedSender<Call>) {
    let key = format!("task-{number}");
    // Spread over the pace, so that the load is even.
    let first = Instant::now() + PACE * number / WORKERS;
    let mut pace = interval_at(first, PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        pace.tick().await;
        note(&calls, store.save(&key, "forty-two")).await;
        note(&calls, run_task(&store, &key)).await;
    }
}

/// A worker goes on whatever comes of a call: here only that is looked at.
async fn note<T>(calls: &UnboundedSender<Call>, call: impl Future<Output = Result<T, StoreError>>) {
    let started = Instant::now();
    let end = match call.await {
        Ok(_) => End::Success,
        Err(StoreError::Open(_)) => End::Rejected,
        Err(_) => End::Failure,
    };
    let ended = Instant::now();
    // There is no receiver when the run has ended: then nobody counts any more.
    let _ = calls.send(Call { started, ended, end });
}
