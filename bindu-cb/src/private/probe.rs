//! Finds out what an error can do, without a bound on its type.
//!
//! Method lookup strips one reference after the other from its receiver, `&&&Probe`, `&&Probe`,
//! `&Probe`, and takes the first for which some trait in scope has the method: so the more specific
//! a trait is, the more references it is implemented behind. Lookup looks at bounds, but not at
//! lifetimes, which is why no bound here says `'static`: with one, an error that borrows would be
//! accepted here and refused afterwards. The methods' names are mangled against blanket impls of a
//! user's extension traits.

use std::error::Error;
use std::fmt;

use crate::retry::seen::{Text, is_rejection};
use crate::retry::verdict::{Classify, Verdict};

/// What is asked.
pub struct Probe<'e, E>(pub &'e E);

/// The verdict of the error's own type.
pub trait Classified {
    /// By `Classify`.
    fn __bindu_cb_classified(&self) -> Option<Verdict>;
}

impl<E: Classify> Classified for &Probe<'_, E> {
    fn __bindu_cb_classified(&self) -> Option<Verdict> {
        Some(self.0.classify())
    }
}

/// Types that say nothing.
pub trait Unclassified {
    /// Nothing.
    fn __bindu_cb_classified(&self) -> Option<Verdict> {
        None
    }
}

impl<E> Unclassified for Probe<'_, E> {}

/// Errors.
pub trait ErrorSource {
    /// Whether an inner guarded call was rejected.
    fn __bindu_cb_rejected(&self) -> bool;
}

impl<E: Error> ErrorSource for &&&&&Probe<'_, E> {
    fn __bindu_cb_rejected(&self) -> bool {
        is_rejection(self.0)
    }
}

macro_rules! pointers_to_errors {
    ($($(#[$doc:meta])* $name:ident for $probe:ty, $error:ty;)*) => {$(
        $(#[$doc])*
        pub trait $name {
            /// Whether an inner guarded call was rejected.
            fn __bindu_cb_rejected(&self) -> bool;
        }

        impl<'l, E: AsRef<$error>> $name for $probe {
            fn __bindu_cb_rejected(&self) -> bool {
                let error: &$error = self.0.as_ref();
                is_rejection(error)
            }
        }
    )*};
}

pointers_to_errors! {
    /// What points to an error that can be sent and shared: `anyhow`, `eyre`, most boxes.
    SharedErrorSource for &&&&Probe<'_, E>, dyn Error + Send + Sync + 'l;
    /// What points to an error that can be sent.
    SendErrorSource for &&&Probe<'_, E>, dyn Error + Send + 'l;
    /// What points to an error that can be shared.
    SyncErrorSource for &&Probe<'_, E>, dyn Error + Sync + 'l;
    /// What points to an error.
    LocalErrorSource for &Probe<'_, E>, dyn Error + 'l;
}

/// Everything else: nothing can be seen.
pub trait AnySource {
    /// No.
    fn __bindu_cb_rejected(&self) -> bool {
        false
    }
}

impl<E> AnySource for Probe<'_, E> {}

/// By `Display`.
pub trait DisplayText<'e> {
    /// The text.
    fn __bindu_cb_text(&self) -> Text<'e>;
}

impl<'e, E: fmt::Display> DisplayText<'e> for &&Probe<'e, E> {
    fn __bindu_cb_text(&self) -> Text<'e> {
        Text::Display(self.0)
    }
}

/// By `Debug`.
pub trait DebugText<'e> {
    /// The text.
    fn __bindu_cb_text(&self) -> Text<'e>;
}

impl<'e, E: fmt::Debug> DebugText<'e> for &Probe<'e, E> {
    fn __bindu_cb_text(&self) -> Text<'e> {
        Text::Debug(self.0)
    }
}

/// By the name of the type.
pub trait AnyText {
    /// The name.
    fn __bindu_cb_text(&self) -> Text<'static>;
}

impl<E> AnyText for Probe<'_, E> {
    fn __bindu_cb_text(&self) -> Text<'static> {
        Text::Static(std::any::type_name::<E>())
    }
}

/// Everything that can be found out about the error in a variable.
#[doc(hidden)]
#[macro_export]
macro_rules! __bindu_cb_seen {
    ($tag:expr, $error:ident) => {{
        // A glob: of the traits, each error type needs only some.
        use $crate::__private::probing::*;
        let probe = $crate::__private::Probe(&$error);
        let inner = $crate::__private::Probe($tag.__bindu_cb_inner(&$error));
        $crate::__private::Seen {
            own: $tag.__bindu_cb_own_verdict(&$error),
            classified: (&&probe).__bindu_cb_classified(),
            rejected: (&&&&&&inner).__bindu_cb_rejected(),
            text: (&&&probe).__bindu_cb_text(),
            keys: $crate::__private::Keys::NONE,
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::CircuitBreaker;
    use crate::error::CircuitBreakerOpenError;
    use std::io;
    use std::sync::Arc;

    type TagOf<E> = crate::private::Tag<(), E>;

    fn tag_of<E>(_: &E) -> TagOf<E> {
        crate::private::tag::<Result<(), E>, _, _>()
    }

    macro_rules! seen {
        ($error:expr) => {{
            let error = $error;
            let tag = tag_of(&error);
            let seen = crate::private::seen!(tag, error);
            (seen.text.to_string(), seen.classified, seen.rejected)
        }};
    }

    fn open() -> CircuitBreakerOpenError {
        let circuit = CircuitBreaker::new("probe", crate::CircuitBreakerSettings::default());
        circuit.force_open();
        circuit.try_acquire().unwrap_err()
    }

    #[derive(Debug)]
    struct DebugOnly;
    struct Nothing;

    #[test]
    fn a_text_is_by_display_else_by_debug_else_the_types_name() {
        assert_eq!(seen!("shown").0, "shown");
        assert_eq!(seen!(DebugOnly).0, "DebugOnly");
        assert!(seen!(Nothing).0.ends_with("tests::Nothing"));
    }

    #[test]
    fn the_trait_is_found_where_it_is_implemented() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(seen!(refused).1, Some(Verdict::Transient));
        assert_eq!(seen!("text").1, None);
    }

    #[test]
    fn a_rejection_is_seen_through_errors_and_through_what_points_to_them() {
        assert!(seen!(open()).2);
        assert!(seen!(io::Error::from(open())).2);
        assert!(seen!(Box::new(open())).2);
        assert!(seen!(Box::<dyn Error + Send + Sync>::from(open())).2);
        let sendable: Box<dyn Error + Send> = Box::new(open());
        assert!(seen!(sendable).2);
        let shareable: Arc<dyn Error + Sync> = Arc::new(open());
        assert!(seen!(shareable).2);
        assert!(seen!(Box::<dyn Error>::from(open())).2);
    }

    #[test]
    fn nothing_else_is_taken_for_a_rejection() {
        assert!(!seen!(io::Error::other("busy")).2);
        assert!(!seen!(Box::<dyn Error>::from("busy")).2);
        assert!(!seen!(Nothing).2);
        assert!(!seen!(String::from("circuit breaker is open for 'x'")).2);
    }
}
