//! What all viewers of a page have in common: one sample of the registry a second.
//!
//! There is no task that takes it. Each viewer's stream sleeps until a sample is due, and the first
//! that wakes takes it for all; the others find it taken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use futures_util::stream::{Stream, unfold};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::history::History;
use super::view::View;
use crate::event::{Event, Subscription};
use crate::registry::Inner;

const TICK: Duration = Duration::from_secs(1);
/// So long after a sample at least comes the next one, however many circuits change their state.
const SHORTEST: Duration = Duration::from_millis(100);
/// Where a sample takes long, of very many circuits, so many times as long.
const REST: u32 = 20;

pub(super) struct Hub {
    registry: Arc<Inner>,
    watched: Mutex<Watched>,
    /// Of the newest only: whoever is slow misses those between.
    latest: watch::Sender<Latest>,
}

/// What there is while somebody watches.
#[derive(Default)]
struct Watched {
    viewers: usize,
    subscription: Option<Subscription>,
    history: History,
    /// The last sample that is in it.
    noted: u64,
    /// The settings that were last sent, and the number of that frame.
    settings: (Bytes, u64),
}

struct Latest {
    frame: Option<Frame>,
    /// How many samples were begun, the frame's among them.
    number: u64,
    /// When the first viewer came: whole seconds count from here.
    began: Instant,
    taken: Instant,
    /// How long after that a change of state may bring the next one.
    rest: Duration,
    due: Instant,
}

/// What is sent of a sample, as it goes over the wire: made once.
#[derive(Clone)]
struct Frame {
    number: u64,
    circuits: Bytes,
    settings: Bytes,
    /// The first frame that had these settings.
    settings_since: u64,
}

impl Hub {
    pub(super) fn new(registry: Arc<Inner>) -> Arc<Self> {
        let now = Instant::now();
        let latest =
            Latest { frame: None, number: 0, began: now, taken: now, rest: SHORTEST, due: now };
        Arc::new(Self { registry, watched: Mutex::default(), latest: watch::Sender::new(latest) })
    }

    /// How things stand, in full, whether or not somebody watches.
    pub(super) fn json(&self) -> Vec<u8> {
        let snapshots = self.registry.snapshot();
        let watched = self.watched();
        let view = View::new(SystemTime::now(), &self.registry, &snapshots, &watched.history);
        drop(watched);
        to_json(&view)
    }

    /// Events from now on, for as long as it is polled. The first one comes at once.
    pub(super) fn events(self: &Arc<Self>) -> impl Stream<Item = Bytes> + Send + use<> {
        unfold(Viewer::new(self), async |mut viewer| Some((viewer.next().await, viewer)))
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sample_if_due(&self) {
        let begun = Instant::now();
        let Some((number, second)) = self.claim(begun) else { return };
        // Without a lock: listeners of a user's may run in here.
        let snapshots = self.registry.snapshot();
        let mut watched = self.watched();
        if number < watched.noted {
            // A later one was quicker.
            return;
        }
        watched.noted = number;
        watched.history.note(second, &snapshots);
        let mut view = View::new(SystemTime::now(), &self.registry, &snapshots, &watched.history);
        let settings = event("settings", &to_json(&view.take_settings()));
        if watched.settings.0 != settings {
            watched.settings = (settings, number);
        }
        let (settings, settings_since) = watched.settings.clone();
        let circuits = event("circuits", &to_json(&view));
        let frame = Frame { number, circuits, settings, settings_since };
        // Under the lock still, so that frames come in their order.
        self.latest.send_modify(|latest| {
            latest.frame = Some(frame);
            latest.rest = rest_after(begun.elapsed());
        });
    }

    /// The right to take the sample that is due now, its number and its second. Only one has it.
    fn claim(&self, now: Instant) -> Option<(u64, u64)> {
        let mut claimed = None;
        self.latest.send_if_modified(|latest| {
            if latest.due <= now {
                let second = now.saturating_duration_since(latest.began).as_secs();
                latest.number += 1;
                latest.taken = now;
                latest.due = latest.began + Duration::from_secs(second) + TICK;
                claimed = Some((latest.number, second));
            }
            false
        });
        claimed
    }
}

fn rest_after(took: Duration) -> Duration {
    SHORTEST.max(took.saturating_mul(REST))
}

/// A circuit has changed its state: the next sample comes earlier, if it can.
fn hurry(latest: &mut Latest) -> bool {
    let due = latest.due.min(latest.taken + latest.rest);
    std::mem::replace(&mut latest.due, due) != due
}

struct Viewer {
    hub: Arc<Hub>,
    latest: watch::Receiver<Latest>,
    seen: u64,
}

impl Viewer {
    fn new(hub: &Arc<Hub>) -> Self {
        let mut watched = hub.watched();
        watched.viewers += 1;
        if watched.viewers == 1 {
            let now = Instant::now();
            hub.latest.send_modify(|latest| {
                *latest = Latest { frame: None, began: now, taken: now, due: now, ..*latest };
            });
            let latest = hub.latest.clone();
            let listener = move |_: &Event| {
                latest.send_if_modified(hurry);
            };
            watched.subscription = Some(hub.registry.listen(listener));
        }
        drop(watched);
        Self { hub: Arc::clone(hub), latest: hub.latest.subscribe(), seen: 0 }
    }

    /// The next sample that this viewer has not seen, whatever it has missed.
    async fn next(&mut self) -> Bytes {
        loop {
            let (frame, due) = {
                let latest = self.latest.borrow_and_update();
                (latest.frame.clone().filter(|frame| frame.number > self.seen), latest.due)
            };
            if let Some(frame) = frame {
                let before = std::mem::replace(&mut self.seen, frame.number);
                return if before < frame.settings_since {
                    [frame.settings, frame.circuits].concat().into()
                } else {
                    frame.circuits
                };
            }
            if timeout_at(due, self.latest.changed()).await.is_err() {
                self.hub.sample_if_due();
            }
        }
    }
}

impl Drop for Viewer {
    /// Who leaves last takes everything away.
    fn drop(&mut self) {
        let mut watched = self.hub.watched();
        watched.viewers -= 1;
        if watched.viewers == 0 {
            let Watched { subscription, .. } = std::mem::take(&mut *watched);
            if let Some(subscription) = subscription {
                subscription.unsubscribe();
            }
            self.hub.latest.send_modify(|latest| latest.frame = None);
        }
    }
}

/// A server-sent event. JSON has no line breaks of its own, so its data is one line.
fn event(name: &str, json: &[u8]) -> Bytes {
    [b"event: ", name.as_bytes(), b"\ndata: ", json, b"\n\n"].concat().into()
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("names and figures, in maps whose keys are text")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::pin::pin;

    use futures_util::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn changes_of_state_take_no_more_than_a_twentieth_of_the_time() {
        assert_eq!(rest_after(Duration::from_millis(4)), SHORTEST);
        assert_eq!(rest_after(Duration::from_millis(30)), Duration::from_millis(600));
        let hub = Hub::new(Inner::new(false));
        let mut viewer = pin!(hub.events());
        viewer.next().await;
        for (rest, due) in [(600, 600), (3_000, 1_000)] {
            hub.latest.send_modify(|latest| {
                latest.rest = Duration::from_millis(rest);
                latest.due = latest.taken + TICK;
                hurry(latest);
            });
            let latest = hub.latest.borrow();
            assert_eq!(latest.due - latest.taken, Duration::from_millis(due), "never later");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_viewer_that_leaves_takes_everything_away() {
        let registry = Inner::new(false);
        let hub = Hub::new(Arc::clone(&registry));
        let circuit = registry.circuit("hub:watched");
        let number = || hub.latest.borrow().number;
        {
            let (mut first, mut second) = (pin!(hub.events()), Some(Box::pin(hub.events())));
            first.next().await;
            if let Some(mut second) = second.take() {
                second.next().await;
            }
            assert!(hub.watched().subscription.is_some(), "one of two has left");
            first.next().await;
            assert_eq!(number(), 2);
            assert!(hub.latest.borrow().frame.is_some());
        }
        assert_eq!(hub.watched().viewers, 0);
        assert!(hub.watched().subscription.is_none());
        assert!(hub.latest.borrow().frame.is_none());
        // Nobody hears of it, and no sample is taken.
        let due = hub.latest.borrow().due;
        circuit.force_open();
        assert_eq!(hub.latest.borrow().due, due);
        tokio::time::advance(TICK * 10).await;
        assert_eq!(number(), 2);
        // Nor is anything of the registry kept by what has gone.
        let weak = Arc::downgrade(&hub);
        drop(hub);
        assert!(weak.upgrade().is_none());
    }
}
