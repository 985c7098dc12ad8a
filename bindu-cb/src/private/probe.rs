//! Finds out what an error can do, without a bound on its type.
//!
//! Method lookup dereferences its receiver step by step, and takes the first type whose bounds hold
//! for a method of the name: so each step points to the one to be tried after it. Lookup looks at
//! bounds, but not at lifetimes, which is why no bound here says `'static`: with one, an error that
//! borrows would be accepted here and refused afterwards. The methods' names are mangled against
//! blanket impls of a user's extension traits.
//!
//! This is compiled once for each guarded function of the user's. Inherent methods by value are
//! cheaper there by far than methods of traits; each step costs a little, each method more. They
//! are not inlined: compiled once for a type of error, and not into every function.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::ops::Deref;

use crate::retry::seen::{Keys, Seen, Text, is_rejection};
use crate::retry::verdict::{Classify, Verdict};

/// What is asked. First for the verdict of the error's own type, then for all that can be seen.
pub fn probe<E>(error: &E) -> Wrapped<'_, E> {
    Wrapped(Classified(Unclassified(error)))
}

/// An error, and the one in which to look for a rejection: mostly the same.
pub struct Facts<'e, E, I> {
    error: &'e E,
    inner: &'e I,
    own: Option<Verdict>,
    classified: Option<Verdict>,
}

impl<'e, E, I> Facts<'e, E, I> {
    /// Reached from any step.
    fn facts(self) -> Self {
        self
    }

    fn seen(self, rejected: bool, text: Text<'e>) -> Seen<'e> {
        let Self { own, classified, .. } = self;
        Seen { own, classified, rejected, text, keys: Keys::NONE }
    }
}

macro_rules! by_value {
    ($($name:ident<$($of:ident),*>;)*) => {$(
        impl<$($of),*> Clone for $name<'_, $($of),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($of),*> Copy for $name<'_, $($of),*> {}
    )*};
}

by_value! {
    Wrapped<E>;
    Classified<E>;
    Unclassified<E>;
    Facts<E, I>;
}

/// `backoff::Error`, whose variants say something.
pub struct Wrapped<'e, E>(Classified<'e, E>);
/// Types with a verdict.
pub struct Classified<'e, E>(Unclassified<'e, E>);
/// All others.
pub struct Unclassified<'e, E>(&'e E);

impl<'e, E> Deref for Wrapped<'e, E> {
    type Target = Classified<'e, E>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'e, E> Deref for Classified<'e, E> {
    type Target = Unclassified<'e, E>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

#[cfg(feature = "backoff")]
impl<'e, E> Wrapped<'e, backoff::Error<E>> {
    /// By the variant. Of `anyhow::Error` and boxes `backoff::Error` makes no error, so a
    /// rejection is looked for in the wrapped one.
    #[inline(never)]
    pub fn __bindu_cb_judged(self) -> IsError<'e, backoff::Error<E>, E> {
        let error = self.0.0.0;
        let (own, inner) = match error {
            backoff::Error::Permanent(err) => (Some(Verdict::Permanent), err),
            backoff::Error::Transient { err, retry_after } => {
                (retry_after.map(Verdict::Throttled), err)
            }
        };
        first_step(Facts { error, inner, own, classified: None })
    }
}

impl<'e, E: Classify> Classified<'e, E> {
    /// By `Classify`.
    #[inline(never)]
    pub fn __bindu_cb_judged(self) -> IsError<'e, E, E> {
        let error = self.0.0;
        let classified = Some(error.classify());
        first_step(Facts { error, inner: error, own: None, classified })
    }
}

impl<'e, E> Unclassified<'e, E> {
    /// By nothing.
    #[inline(never)]
    pub fn __bindu_cb_judged(self) -> IsError<'e, E, E> {
        let error = self.0;
        first_step(Facts { error, inner: error, own: None, classified: None })
    }
}

macro_rules! steps {
    (
        $first:ident;
        $($step:ident > $next:ident: [$($generics:tt)*] |$facts:ident| $seen:expr;)*
    ) => {
        fn first_step<E, I>(facts: Facts<'_, E, I>) -> $first<'_, E, I> {
            steps!(@nest facts $($step)*)
        }

        $(
            /// A step.
            pub struct $step<'e, E, I>($next<'e, E, I>);

            by_value! {
                $step<E, I>;
            }

            impl<'e, E, I> Deref for $step<'e, E, I> {
                type Target = $next<'e, E, I>;

                fn deref(&self) -> &Self::Target {
                    &self.0
                }
            }

            impl<'e, $($generics)*> $step<'e, E, I> {
                /// What can be seen.
                #[inline(never)]
                pub fn __bindu_cb_seen(self) -> Seen<'e> {
                    let $facts = self.facts();
                    $seen
                }
            }
        )*
    };
    (@nest $facts:ident) => { $facts };
    (@nest $facts:ident $step:ident $($rest:ident)*) => { $step(steps!(@nest $facts $($rest)*)) };
}

/// The error that something points to.
macro_rules! target {
    ($facts:ident, $error:ty) => {
        AsRef::<$error>::as_ref($facts.inner)
    };
}

steps! {
    IsError;
    IsError > ToSendSync: [E: Display, I: Error] |facts| {
        facts.seen(is_rejection(facts.inner), Text::Display(facts.error))
    };
    // `anyhow`, `eyre`, most boxes.
    ToSendSync > ToSend: ['l, E: Display, I: AsRef<dyn Error + Send + Sync + 'l>] |facts| {
        let rejected = is_rejection(target!(facts, dyn Error + Send + Sync + 'l));
        facts.seen(rejected, Text::Display(facts.error))
    };
    ToSend > ToSync: ['l, E: Display, I: AsRef<dyn Error + Send + 'l>] |facts| {
        let rejected = is_rejection(target!(facts, dyn Error + Send + 'l));
        facts.seen(rejected, Text::Display(facts.error))
    };
    ToSync > ToLocal: ['l, E: Display, I: AsRef<dyn Error + Sync + 'l>] |facts| {
        let rejected = is_rejection(target!(facts, dyn Error + Sync + 'l));
        facts.seen(rejected, Text::Display(facts.error))
    };
    ToLocal > Shown: ['l, E: Display, I: AsRef<dyn Error + 'l>] |facts| {
        let rejected = is_rejection(target!(facts, dyn Error + 'l));
        facts.seen(rejected, Text::Display(facts.error))
    };
    // Nothing to look for a rejection in from here on, unless it is pointed to.
    Shown > OnlyToSendSync: [E: Display, I] |facts| {
        facts.seen(false, Text::Display(facts.error))
    };
    OnlyToSendSync > OnlyToSend: ['l: 'e, E, I: AsRef<dyn Error + Send + Sync + 'l>] |facts| {
        let error = target!(facts, dyn Error + Send + Sync + 'l);
        facts.seen(is_rejection(error), Text::Display(error))
    };
    OnlyToSend > OnlyToSync: ['l: 'e, E, I: AsRef<dyn Error + Send + 'l>] |facts| {
        let error = target!(facts, dyn Error + Send + 'l);
        facts.seen(is_rejection(error), Text::Display(error))
    };
    OnlyToSync > OnlyToLocal: ['l: 'e, E, I: AsRef<dyn Error + Sync + 'l>] |facts| {
        let error = target!(facts, dyn Error + Sync + 'l);
        facts.seen(is_rejection(error), Text::Display(error))
    };
    OnlyToLocal > Debugged: ['l: 'e, E, I: AsRef<dyn Error + 'l>] |facts| {
        let error = target!(facts, dyn Error + 'l);
        facts.seen(is_rejection(error), Text::Display(error))
    };
    Debugged > Facts: [E: Debug, I] |facts| facts.seen(false, Text::Debug(facts.error));
}

impl<'e, E, I> Facts<'e, E, I> {
    /// Nothing but the name of the type.
    #[inline(never)]
    pub fn __bindu_cb_seen(self) -> Seen<'e> {
        self.seen(false, Text::Static(std::any::type_name::<E>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::CircuitBreaker;
    use crate::error::CircuitBreakerOpenError;
    use std::io;
    use std::sync::Arc;

    macro_rules! seen {
        ($error:expr) => {{
            let error = $error;
            let seen = probe(&error).__bindu_cb_judged().__bindu_cb_seen();
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

    struct Pointer(Box<dyn Error>);

    impl AsRef<dyn Error> for Pointer {
        fn as_ref(&self) -> &(dyn Error + 'static) {
            &*self.0
        }
    }

    #[test]
    fn what_only_points_to_an_error_has_its_text() {
        let open = open();
        let (text, _, rejected) = seen!(Pointer(Box::new(open.clone())));
        assert_eq!((text, rejected), (open.to_string(), true));
    }
}
