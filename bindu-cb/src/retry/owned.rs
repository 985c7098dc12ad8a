//! Calls that own what they belong to, and that a future drives which was written out by hand.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::core_ref::{Hold, Whose};
use super::seen::Text;
use super::verdict::{Judgement, Retry, Verdict};
use super::{Call, Delay, FAILED_VALUE, Reason};
use crate::breaker::CircuitBreaker;
use crate::error::AttemptTimeoutError;
use crate::operation::Core;

type Own = Whose<Arc<Core>, Arc<CircuitBreaker>>;

/// What a call belongs to, with a share in it.
#[derive(Clone)]
pub(crate) enum Owned {
    /// Behind one pointer: two would be two counters, that all threads write to, for each call.
    Shared(Arc<Own>),
    /// Behind the circuit of a key.
    OfKey(Own),
}

impl Owned {
    pub(crate) fn new(core: Arc<Core>, circuit: Arc<CircuitBreaker>) -> Self {
        Self::Shared(Arc::new(Whose::new(core, circuit)))
    }

    /// The same operation behind the circuit of a key.
    pub(crate) fn keyed(&self, key: &str) -> Self {
        let circuit = match self.keys.slot(key) {
            Some(slot) => Arc::clone(&slot.circuit),
            None if self.is_of_operation() => return self.clone(),
            // This stands behind that of another key.
            None => Self::circuit_of_operation(self),
        };
        Self::OfKey(Whose::new(self.core(), circuit))
    }
}

impl Deref for Owned {
    type Target = Own;

    #[inline]
    fn deref(&self) -> &Own {
        match self {
            Self::Shared(own) => own,
            Self::OfKey(own) => own,
        }
    }
}

impl fmt::Debug for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.circuit().fmt(f)
    }
}

impl Hold<'static> for Owned {
    type Core = Arc<Core>;
    type Circuit = Arc<CircuitBreaker>;
    type Place = Self;

    fn circuit_of_operation(place: &Self) -> Arc<CircuitBreaker> {
        Arc::clone(&place.core().circuit)
    }
}

impl Call<'static, Owned> {
    #[inline]
    pub(crate) fn is_rejected(&self) -> bool {
        self.admission.rejection().is_some()
    }

    /// The time limit of an attempt that begins now.
    #[inline]
    pub(crate) fn time_limit(&self) -> Option<Duration> {
        self.core.time_limit()
    }

    /// Whether the attempt that begins now is the last one, whatever comes of it.
    pub(crate) fn is_at_last_attempt(&self) -> bool {
        let last = |trouble: &super::Trouble<'_>| trouble.attempts + 1 >= trouble.settings.attempts;
        self.trouble.as_deref().is_some_and(last)
    }

    /// An attempt has returned an error with this text, or, without one, a value that means a failure.
    /// Begins the wait before the next one; false if that was the last one.
    pub(crate) fn go_on(
        &mut self,
        verdict: Verdict,
        can_repeat: bool,
        error: Option<Text<'_>>,
        reason: Reason,
    ) -> bool {
        let mut judgement = Judgement::from(verdict);
        if !can_repeat {
            judgement.retry = Retry::No;
        }
        let delay = self.after_attempt(judgement, error.unwrap_or(FAILED_VALUE), reason);
        delay.map(|delay| self.begin_wait(delay)).is_some()
    }

    /// The error of an attempt that has run into its time limit.
    pub(crate) fn ran_into(&self, limit: Duration) -> AttemptTimeoutError {
        self.timeout_error(limit)
    }

    /// Between two attempts, also while the service is not ready: begins to listen for what ends the
    /// call (rule L2), for so long at most.
    pub(crate) fn listen(&mut self, at_most: Option<Duration>) {
        self.begin_wait(Delay(at_most.unwrap_or(Duration::MAX)));
    }

    /// The wait that was begun last. After it the call may be a rejected one.
    pub(crate) fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_pause(cx)
    }

    /// What has been waited for is there: another attempt begins, if the circuit lets it.
    pub(crate) fn begin_attempt(&mut self) {
        self.trouble().waiting = None;
        self.ask_again();
    }
}
