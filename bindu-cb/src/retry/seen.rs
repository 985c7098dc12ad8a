//! What may be known of an error whose type nothing is known of.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::verdict::{Judgement, Recorded, Retry, Verdict};
use crate::error::OpenCause;

/// How an error describes itself; made into text only when it is wanted.
#[derive(Clone, Copy)]
pub enum Text<'e> {
    /// By `Display`.
    Display(&'e dyn fmt::Display),
    /// By `Debug`.
    Debug(&'e dyn fmt::Debug),
    /// By nothing but the name of its type, or a sentence of ours.
    Static(&'static str),
}

impl Text<'_> {
    pub(crate) const NONE: Self = Self::Static("");

    pub(crate) fn make(self) -> Option<String> {
        match self {
            Self::Static("") => None,
            text => Some(text.to_string()),
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Display(text) => text.fmt(f),
            Self::Debug(text) => text.fmt(f),
            Self::Static(text) => f.write_str(text),
        }
    }
}

/// What an expansion has found out about an error.
#[derive(Clone, Copy)]
pub struct Seen<'e> {
    /// `Permanent` or `Throttled` by the error's own type, before any key: `backoff::Error`.
    pub own: Option<Verdict>,
    /// By `Classify`.
    pub classified: Option<Verdict>,
    /// Whether an inner guarded call was rejected.
    pub rejected: bool,
    /// How the error describes itself.
    pub text: Text<'e>,
    /// What the keys of the attribute say.
    pub keys: Keys,
}

/// The answers of `retry_if`, `record_if`, `retry_after` and `class`, where they were given.
#[derive(Clone, Copy, Default)]
pub struct Keys {
    retry: Option<bool>,
    record: Option<bool>,
    after: Option<After>,
    class: &'static str,
}

/// An answer of `retry_after`.
#[derive(Clone, Copy)]
enum After {
    Exactly(Duration),
    Scheduled,
}

impl Keys {
    /// None was given.
    pub const NONE: Self = Self { retry: None, record: None, after: None, class: "" };
}

impl Seen<'_> {
    /// The answer of `retry_if`.
    #[must_use]
    pub fn retry_if(mut self, retry: bool) -> Self {
        self.keys.retry = Some(retry);
        self
    }

    /// The answer of `record_if`.
    #[must_use]
    pub fn record_if(mut self, record: bool) -> Self {
        self.keys.record = Some(record);
        self
    }

    /// The answer of `retry_after`.
    #[must_use]
    pub fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.keys.after = Some(after.map_or(After::Scheduled, After::Exactly));
        self
    }

    /// The answer of `class`.
    #[must_use]
    pub fn class(mut self, class: &'static str) -> Self {
        self.keys.class = class;
        self
    }

    /// The class of the error; empty where it has none.
    pub(super) fn class_of_error(&self) -> &'static str {
        self.keys.class
    }

    /// Rule V1: an inner rejection first, then what the type is by itself, then the keys, each
    /// standing in for its part of the trait's answer, then the trait.
    pub(crate) fn judgement(&self) -> Judgement {
        if self.rejected {
            return Verdict::Ignored.into();
        }
        let base: Judgement = self.own.or(self.classified).unwrap_or(Verdict::Transient).into();
        let retry = match self.keys.retry {
            _ if self.own == Some(Verdict::Permanent) => Retry::No,
            Some(false) => Retry::No,
            Some(true) if base.retry == Retry::No => Retry::Scheduled,
            Some(true) | None => base.retry,
        };
        let retry = match (retry, self.keys.after) {
            (Retry::Scheduled | Retry::After(_), Some(After::Exactly(wait))) => Retry::After(wait),
            (Retry::After(_), Some(After::Scheduled)) => Retry::Scheduled,
            (retry, _) => retry,
        };
        // `record_if` stands in for the trait; where only `retry_if` is given, for both.
        let failure = self.keys.record.or(self.keys.retry.map(|_| retry != Retry::No));
        let recorded = match failure {
            Some(true) => Recorded::Failure,
            Some(false) => Recorded::Success,
            None => base.recorded,
        };
        Judgement { retry, recorded }
    }
}

/// Whether an error is, or comes from, the rejection by a circuit (rule B7).
///
/// The error itself may borrow and cannot be downcast; but a rejection shows its cause as its
/// source, also behind a wrapper that is transparent.
pub(crate) fn is_rejection<'e>(error: &'e (dyn Error + 'e)) -> bool {
    OpenCause::is_cause(error)
        || error.source().is_some_and(|source| OpenCause::find(source).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AN_HOUR: Duration = Duration::from_hours(1);

    fn seen(classified: Option<Verdict>) -> Seen<'static> {
        Seen { own: None, classified, rejected: false, text: Text::NONE, keys: Keys::NONE }
    }

    fn judged(seen: &Seen<'_>) -> (Retry, Recorded) {
        let judgement = seen.judgement();
        (judgement.retry, judgement.recorded)
    }

    #[test]
    fn an_error_of_which_nothing_is_known_is_transient() {
        assert_eq!(judged(&seen(None)), (Retry::Scheduled, Recorded::Failure));
    }

    #[test]
    fn the_trait_decides_where_no_key_does() {
        for (verdict, expected) in [
            (Verdict::Transient, (Retry::Scheduled, Recorded::Failure)),
            (Verdict::Throttled(AN_HOUR), (Retry::After(AN_HOUR), Recorded::Failure)),
            (Verdict::Permanent, (Retry::No, Recorded::Success)),
            (Verdict::Ignored, (Retry::No, Recorded::Nothing)),
        ] {
            assert_eq!(judged(&seen(Some(verdict))), expected, "{verdict:?}");
        }
    }

    #[test]
    fn retry_if_goes_before_the_trait_and_decides_what_is_recorded() {
        let (yes, no) = (Some(Verdict::Transient), Some(Verdict::Permanent));
        assert_eq!(judged(&seen(no).retry_if(true)), (Retry::Scheduled, Recorded::Failure));
        assert_eq!(judged(&seen(yes).retry_if(false)), (Retry::No, Recorded::Success));
        let ignored = seen(Some(Verdict::Ignored)).retry_if(false);
        assert_eq!(judged(&ignored), (Retry::No, Recorded::Success));
        let throttled = seen(Some(Verdict::Throttled(AN_HOUR))).retry_if(true);
        assert_eq!(judged(&throttled), (Retry::After(AN_HOUR), Recorded::Failure));
    }

    #[test]
    fn record_if_decides_alone_what_is_recorded() {
        assert_eq!(judged(&seen(None).record_if(false)), (Retry::Scheduled, Recorded::Success));
        let recorded = seen(Some(Verdict::Permanent)).record_if(true);
        assert_eq!(judged(&recorded), (Retry::No, Recorded::Failure));
        let both = seen(None).retry_if(false).record_if(true);
        assert_eq!(judged(&both), (Retry::No, Recorded::Failure));
    }

    #[test]
    fn retry_after_sets_the_wait_of_what_is_retried_and_of_nothing_else() {
        let after = |verdict| seen(verdict).retry_after(Some(AN_HOUR));
        assert_eq!(judged(&after(None)), (Retry::After(AN_HOUR), Recorded::Failure));
        assert_eq!(judged(&after(Some(Verdict::Permanent))), (Retry::No, Recorded::Success));
        let none = seen(Some(Verdict::Throttled(AN_HOUR))).retry_after(None);
        assert_eq!(judged(&none), (Retry::Scheduled, Recorded::Failure));
    }

    #[test]
    fn what_the_type_says_of_itself_goes_before_the_keys() {
        let permanent = Seen { own: Some(Verdict::Permanent), ..seen(None) };
        assert_eq!(judged(&permanent.retry_if(true)).0, Retry::No);
        let throttled = Seen { own: Some(Verdict::Throttled(AN_HOUR)), ..seen(None) };
        assert_eq!(judged(&throttled), (Retry::After(AN_HOUR), Recorded::Failure));
    }

    #[test]
    fn an_inner_rejection_is_ignored_whatever_the_keys_say() {
        let rejected = Seen { rejected: true, ..seen(None) };
        assert_eq!(
            judged(&rejected.retry_if(true).record_if(true)),
            (Retry::No, Recorded::Nothing)
        );
    }
}
