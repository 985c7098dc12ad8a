//! The end of a process: loops end their waits, and nothing is shared any more.

use super::{Inner, Registry, current};

impl Registry {
    /// Ends the waits of all retry loops at once, because the process is about to end: a loop that
    /// would have slept for ten seconds more must not hold that up. For good, and it does not wait
    /// for anything itself.
    ///
    /// - A loop that **waits** between two attempts returns through `on_open` a
    ///   [`CircuitBreakerOpenError`](crate::CircuitBreakerOpenError) of the reason
    ///   [`OpenReason::Shutdown`](crate::OpenReason::Shutdown). The error of its last attempt is
    ///   gone by then, as it is in every wait; the `debug` line before the wait has its text.
    /// - A loop whose attempt is **under way** goes on with that. Should it fail, the loop returns
    ///   its own error at once.
    /// - A call that **begins** afterwards makes one attempt. Circuits are asked as ever, so that what
    ///   is still to be done can be done, and turns away what had better not be tried.
    ///
    /// A call that this keeps from another attempt counts as `cancelled` for its circuits, whatever
    /// its attempts have come to: it neither opens nor closes one, is in no window, and gives back
    /// its permit. So does a call that is dropped after the shutdown, whatever `on_cancel` says: a
    /// runtime that ends drops all its tasks. All other calls count as ever.
    ///
    /// With the feature `redis`, circuits are this process's own from now on: the thread that shares
    /// them gives its leases back, for 300 ms at most, and ends. Nobody waits for it.
    ///
    /// It may be called from any thread, and again. What concerns the runtime, such as tasks and
    /// listeners, is not touched. How to do it on a signal is in the guide, under "Shutting down".
    ///
    /// ```standalone_crate
    /// use bindu_cb::{CallError, OpenCause, OpenReason, Operation, registry};
    /// use std::error::Error;
    /// use std::time::Duration;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
    /// let an_hour = Duration::from_secs(3_600);
    /// let mail = Operation::builder("api:mail").min_wait(an_hour).max_wait(an_hour).build()?;
    /// let refused = || async { Err::<(), _>("refused") };
    /// let (ended, ()) = tokio::join!(mail.call(refused), async { registry().shutdown() });
    ///
    /// let Err(CallError::Open(open)) = ended else { panic!("it waits no longer") };
    /// let cause: &OpenCause = open.source().and_then(|cause| cause.downcast_ref()).unwrap();
    /// assert_eq!(cause.reason(), OpenReason::Shutdown);
    ///
    /// let ended = mail.call(refused).await;
    /// assert!(matches!(ended, Err(CallError::Inner("refused"))), "one attempt, and its own error");
    /// # Ok::<(), bindu_cb::SettingsError>(()) }).unwrap();
    /// ```
    pub fn shutdown(&self) {
        current().shut_down();
    }
}

impl Inner {
    pub(super) fn shut_down(&self) {
        let is_first = self.shutdown.begin();
        // After the mark: whoever starts to share looks at that under the lock that is taken here.
        #[cfg(feature = "redis")]
        self.stop_sharing();
        if is_first {
            tracing::info!("shutting down: retry loops end their waits");
        }
    }
}
