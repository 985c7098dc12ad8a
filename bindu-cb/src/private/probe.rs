//! Finds out what an error can do, without a bound on its type.
//!
//! By autoref: method lookup takes the first of several receivers `&Probe`, `&&Probe`, … for which
//! some trait in scope has the method, so the more specific trait is implemented for the type with
//! fewer references. Lookup looks at bounds, but not at lifetimes, which is why no bound here says
//! `'static`: with one, an error that borrows would be accepted here and refused afterwards. The
//! methods' names are mangled against blanket impls of a user's extension traits.

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

impl<E: Classify> Classified for Probe<'_, E> {
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

impl<E> Unclassified for &Probe<'_, E> {}

/// Errors.
pub trait ErrorSource {
    /// Whether an inner guarded call was rejected.
    fn __bindu_cb_rejected(&self) -> bool;
}

impl<E: Error> ErrorSource for Probe<'_, E> {
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
    SharedErrorSource for &Probe<'_, E>, dyn Error + Send + Sync + 'l;
    /// What points to an error that can be sent.
    SendErrorSource for &&Probe<'_, E>, dyn Error + Send + 'l;
    /// What points to an error that can be shared.
    SyncErrorSource for &&&Probe<'_, E>, dyn Error + Sync + 'l;
    /// What points to an error.
    LocalErrorSource for &&&&Probe<'_, E>, dyn Error + 'l;
}

/// Everything else: nothing can be seen.
pub trait AnySource {
    /// No.
    fn __bindu_cb_rejected(&self) -> bool {
        false
    }
}

impl<E> AnySource for &&&&&Probe<'_, E> {}

/// By `Display`.
pub trait DisplayText<'e> {
    /// The text.
    fn __bindu_cb_text(&self) -> Text<'e>;
}

impl<'e, E: fmt::Display> DisplayText<'e> for Probe<'e, E> {
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

impl<E> AnyText for &&Probe<'_, E> {
    fn __bindu_cb_text(&self) -> Text<'static> {
        Text::Static(std::any::type_name::<E>())
    }
}

/// Everything that can be found out about the error in a variable.
#[doc(hidden)]
#[macro_export]
macro_rules! __bindu_cb_seen {
    ($tag:expr, $error:ident) => {{
        use p::{
            AnySource as _, AnyText as _, Classified as _, DebugText as _, DisplayText as _,
            ErrorSource as _, LocalErrorSource as _, SendErrorSource as _, SharedErrorSource as _,
            SyncErrorSource as _, TagExt as _, Unclassified as _,
        };
        use $crate::__private as p;
        let probe = p::Probe(&$error);
        p::Seen {
            own: $tag.__bindu_cb_own_verdict(&$error),
            classified: (&probe).__bindu_cb_classified(),
            rejected: (&&&&&probe).__bindu_cb_rejected(),
            text: (&&probe).__bindu_cb_text(),
            keys: p::Keys::NONE,
        }
    }};
}
