//! The end of all waits of a registry.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use tokio::sync::Notify;

use crate::breaker::Admission;
use crate::sync::{self, AtomicU32};

/// Whether a registry has been told to shut down. Only calls in trouble ask.
#[derive(Default)]
pub(crate) struct Shutdown {
    begun: AtomicU32,
    told: Notify,
}

impl Shutdown {
    /// Ends the waits that there are, and all that will be. True the first time.
    pub(crate) fn begin(&self) -> bool {
        if sync::mutated("told_before_the_mark") {
            self.told.notify_waiters();
            return self.begun.swap(1, Ordering::AcqRel) == 0;
        }
        // Before the notification, which is for those who have asked earlier. Acquire and release:
        // partner of the swap of nothing in `begun`.
        let before = self.begun.swap(1, Ordering::AcqRel);
        self.told.notify_waiters();
        before == 0
    }

    pub(crate) fn has_begun(&self) -> bool {
        // Acquire: partner of the swap in `begin`.
        self.begun.load(Ordering::Acquire) != 0
    }

    /// Ends when it has begun.
    async fn begun(&self) {
        // Before the question: a notification from here on is kept for who holds this.
        let told = self.told.notified();
        // Acquire and release, and no mere load: partner of the swap in `begin`. Of the two one is
        // first. If it is that one, the mark is seen here, which a load might miss; if it is this
        // one, what is above comes before the notification.
        if self.begun.fetch_or(0, Ordering::AcqRel) == 0 {
            told.await;
        }
    }
}

/// Waits, unless the registry shuts down: then the call is a rejected one. Of two that come in the
/// same instant the shutdown is first, so that what else has happened is not counted.
pub(super) async fn unless_shut_down(
    shutdown: Arc<Shutdown>,
    waiting: impl Future<Output = Result<(), Admission>>,
) -> Result<(), Admission> {
    let (mut begun, mut waiting) = (pin!(shutdown.begun()), pin!(waiting));
    poll_fn(|cx| {
        // Asked also where nobody has been woken yet: no wait ends well once it has begun.
        if shutdown.has_begun() || begun.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Admission::shut_down()));
        }
        waiting.as_mut().poll(cx)
    })
    .await
}

#[cfg(all(test, loom))]
mod models {
    use std::sync::atomic::AtomicBool;
    use std::task::{Context, Wake};

    use loom::thread;

    use super::*;
    use crate::breaker::models::model;

    /// Not one of loom's: it is read when all have come to their end.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wait_that_begins_while_the_registry_shuts_down_hears_of_it() {
        model("told_before_the_mark", || {
            let shutdown = Arc::<Shutdown>::default();
            let begins = {
                let shutdown = Arc::clone(&shutdown);
                thread::spawn(move || assert!(shutdown.begin()))
            };
            let waits = thread::spawn(move || {
                let woken = Arc::<Woken>::default();
                let waker = Arc::clone(&woken).into();
                let mut begun = Box::pin(async move { shutdown.begun().await });
                let at_once = begun.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
                (at_once, woken, begun)
            });
            begins.join().unwrap();
            let (at_once, woken, _begun) = waits.join().unwrap();
            assert!(at_once || woken.0.load(Ordering::Relaxed), "it would wait for ever");
        });
    }
}
