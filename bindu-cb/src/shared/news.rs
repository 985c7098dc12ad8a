//! What the server pushes, on its way to the supervisor.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// One end outlives the connections, each of which has a clone of the other.
pub(crate) fn news<T>(capacity: usize) -> (NewsSender<T>, News<T>) {
    let queue = Queue { payloads: VecDeque::new(), missed: false };
    let shared = Arc::new(Shared { queue: Mutex::new(queue), capacity, arrived: Notify::new() });
    (NewsSender(Arc::clone(&shared)), News(shared))
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<T> {
    /// One message.
    Message(T),
    /// Messages were dropped: only reading everything again tells what they said.
    Missed,
}

#[derive(Debug)]
pub(crate) struct News<T>(Arc<Shared<T>>);

#[derive(Debug)]
pub(crate) struct NewsSender<T>(Arc<Shared<T>>);

impl<T> Clone for NewsSender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Queue<T>>,
    capacity: usize,
    arrived: Notify,
}

#[derive(Debug)]
struct Queue<T> {
    payloads: VecDeque<T>,
    missed: bool,
}

impl<T> NewsSender<T> {
    /// Never waits, whether or not anybody reads. Where there is no room, what waits goes too:
    /// reading everything is what comes next, and says more.
    pub(crate) fn send(&self, payload: T) {
        let mut queue = self.0.lock();
        if queue.payloads.len() >= self.0.capacity {
            queue.payloads.clear();
            queue.missed = true;
        } else {
            queue.payloads.push_back(payload);
        }
        drop(queue);
        self.0.arrived.notify_one();
    }

    /// Something came that cannot be sent on.
    pub(crate) fn miss(&self) {
        self.0.lock().missed = true;
        self.0.arrived.notify_one();
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> News<T> {
    /// Waits for what comes next. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Received<T> {
        loop {
            if let Some(received) = self.0.lock().take() {
                return received;
            }
            // What came since then has left a permit.
            self.0.arrived.notified().await;
        }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Queue<T> {
    fn take(&mut self) -> Option<Received<T>> {
        if std::mem::take(&mut self.missed) {
            return Some(Received::Missed);
        }
        self.payloads.pop_front().map(Received::Message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &[u8]) -> Received<Vec<u8>> {
        Received::Message(payload.to_vec())
    }

    #[tokio::test]
    async fn messages_come_in_order_and_wake_who_waits() {
        let (sender, mut news) = news(4);
        let other = sender.clone();
        let read = async { (news.next().await, news.next().await) };
        let write = async {
            tokio::task::yield_now().await;
            sender.send(b"1".to_vec());
            other.send(b"2".to_vec());
        };
        let (read, ()) = tokio::join!(read, write);
        assert_eq!(read, (message(b"1"), message(b"2")));
    }

    #[tokio::test]
    async fn a_full_queue_is_emptied_and_said_to_have_missed_something() {
        let (sender, mut news) = news(2);
        for payload in [b"1", b"2", b"3", b"4"] {
            sender.send(payload.to_vec());
        }
        assert_eq!(news.next().await, Received::Missed);
        assert_eq!(news.next().await, message(b"4"), "which came after the loss");
    }
}
