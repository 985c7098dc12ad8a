//! Loops inside loops do not multiply: while an attempt of an outer loop is a repetition, the loops
//! in it make one attempt each.
//!
//! The outer loop marks its thread while it polls such an attempt, and an inner loop looks at the
//! mark when it would retry. So a first attempt that succeeds pays for neither; a task that was
//! spawned is polled from elsewhere, sees no mark, and is a root of its own.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

thread_local! {
    static REPEATING: Cell<bool> = const { Cell::new(false) };
}

/// Whether an outer loop repeats an attempt, and this is run by it.
pub(super) fn is_repeated() -> bool {
    REPEATING.get()
}

/// The mark; put back as it was when dropped, also by a panic.
struct Repeating {
    before: bool,
}

impl Repeating {
    #[cold]
    fn mark() -> Self {
        Self { before: REPEATING.replace(true) }
    }
}

impl Drop for Repeating {
    #[cold]
    fn drop(&mut self) {
        REPEATING.set(self.before);
    }
}

/// One attempt of a call.
#[must_use = "an attempt that is not awaited is none"]
pub struct Attempt<'c, F> {
    attempt: Pin<&'c mut F>,
    repeating: bool,
}

impl<'c, F: Future> Attempt<'c, F> {
    #[inline]
    pub(super) fn new(attempt: Pin<&'c mut F>, repeating: bool) -> Self {
        Self { attempt, repeating }
    }
}

impl<F: Future> Future for Attempt<'_, F> {
    type Output = F::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // One place for both cases: it is where the user's code is expanded.
        let _mark = self.repeating.then(Repeating::mark);
        self.attempt.as_mut().poll(cx)
    }
}
