//! A registry of one's own, for tests of guarded functions (feature `test-util`).
//!
//! Circuits are shared by name, so two tests that run side by side would trip each other's.
//! [`isolate`] gives the current thread a registry that nobody else sees and that ignores the
//! environment, until what it returns is dropped. Guarded functions use it by themselves.
//!
//! It is the *thread* that is isolated: run the test on a current-thread runtime, which is what
//! `#[tokio::test]` does by default.
//!
//! ```
//! use bindu_cb::retry_with_breaker;
//!
//! #[retry_with_breaker(op = "storage")]
//! async fn save(row: u32) -> std::io::Result<u32> {
//!     Ok(row)
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let cb = bindu_cb::testing::isolate();
//! cb.enabled(true);
//! assert_eq!(save(1).await.unwrap(), 1);
//!
//! cb.force_open("storage");
//! assert!(save(2).await.is_err());
//! # });
//! ```

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::registry::Inner;

thread_local! {
    /// The registries of this thread; the last one is in force.
    static ISOLATED: RefCell<Vec<Arc<Inner>>> = const { RefCell::new(Vec::new()) };
}

/// The registry that a test has given this thread.
pub(crate) fn isolated() -> Option<Arc<Inner>> {
    // While the thread ends there is none.
    ISOLATED.try_with(|stack| stack.borrow().last().cloned()).ok().flatten()
}

/// Gives the current thread a fresh registry, in which circuit breaking is off as it is by
/// default, until the returned guard is dropped.
///
/// ```
/// let cb = bindu_cb::testing::isolate();
/// assert_eq!(bindu_cb::registry().iter().count(), 0);
/// cb.force_open("storage");
/// assert_eq!(bindu_cb::registry().iter().count(), 1);
/// ```
pub fn isolate() -> Isolated {
    let inner = Inner::new(false);
    ISOLATED.with(|stack| stack.borrow_mut().push(Arc::clone(&inner)));
    Isolated { inner, of_this_thread: PhantomData }
}

/// The registry of a test; dropping it gives the thread back the one it had before.
///
/// ```
/// let cb = bindu_cb::testing::isolate();
/// cb.enabled(true);
/// cb.attempts(1);
/// assert!(bindu_cb::registry().get("storage").is_none());
/// drop(cb);
/// ```
#[must_use = "the registry is gone as soon as this is dropped"]
pub struct Isolated {
    inner: Arc<Inner>,
    of_this_thread: PhantomData<*const ()>,
}

impl Isolated {
    /// Turns circuit breaking on or off, whatever the attributes say.
    pub fn enabled(&self, enabled: bool) {
        self.inner.switch(|switches| switches.forced.enabled = Some(enabled));
    }

    /// Makes loops go on at once where they would wait.
    pub fn no_wait(&self) {
        self.inner.switch(|switches| switches.no_wait = true);
    }

    /// Sets the attempts of every function, whatever the attributes say.
    pub fn attempts(&self, attempts: u32) {
        self.inner.switch(|switches| switches.forced.attempts = Some(attempts));
    }

    /// Opens the circuit of an operation until it is reset.
    pub fn force_open(&self, op: &str) {
        self.inner.circuit(op).force_open();
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        // By identity: guards may be dropped in another order than they were made.
        let _ = ISOLATED.try_with(|stack| {
            stack.borrow_mut().retain(|inner| !Arc::ptr_eq(inner, &self.inner));
        });
    }
}

impl fmt::Debug for Isolated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Isolated").finish_non_exhaustive()
    }
}

/// Makes what this crate leaves to chance on the current thread the same in every run: the waits that
/// `jitter` and `recovery_jitter` draw, and how the time that rejected callers are told is spread
/// (but not that of the circuits of keys, which goes by where they lie in memory).
///
/// Call it before the first guarded call, on a current-thread runtime under the paused clock: where
/// threads race, or time is real, the order of the draws is chance again.
///
/// ```
/// use bindu_cb::retry_with_breaker;
///
/// #[retry_with_breaker(op = "storage", attempts = 3)]
/// async fn fails() -> std::io::Result<()> {
///     Err(std::io::ErrorKind::TimedOut.into())
/// }
///
/// async fn time_of_a_call(seed: u64) -> std::time::Duration {
///     let _cb = bindu_cb::testing::isolate();
///     bindu_cb::testing::seed(seed);
///     let start = tokio::time::Instant::now();
///     fails().await.unwrap_err();
///     start.elapsed()
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// assert_eq!(time_of_a_call(7).await, time_of_a_call(7).await);
/// assert_ne!(time_of_a_call(7).await, time_of_a_call(8).await);
/// # });
/// ```
pub fn seed(seed: u64) {
    crate::random::seed(seed);
}

/// A registry for a part of a program, as if that part were a process of its own: for simulations of
/// several in one.
#[doc(hidden)]
#[derive(Clone)]
pub struct Process {
    inner: Arc<Inner>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}

impl Default for Process {
    fn default() -> Self {
        Self { inner: Inner::new(false) }
    }
}

impl Process {
    /// Calls `f` in this process.
    pub fn enter<T>(&self, f: impl FnOnce() -> T) -> T {
        /// Also after a panic.
        struct Entered;
        impl Drop for Entered {
            fn drop(&mut self) {
                let _ = ISOLATED.try_with(|stack| stack.borrow_mut().pop());
            }
        }
        ISOLATED.with(|stack| stack.borrow_mut().push(Arc::clone(&self.inner)));
        let _entered = Entered;
        f()
    }

    /// Runs a future in this process.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| self.enter(|| future.as_mut().poll(cx))).await
    }

    /// Shares its circuits through a server in memory, while the future that is returned runs.
    #[cfg(feature = "redis")]
    pub fn share(
        &self,
        server: &crate::shared::MemoryServer,
        quorum: u32,
    ) -> impl Future<Output = ()> + Send + use<> {
        self.inner.share_through(server, quorum)
    }
}
