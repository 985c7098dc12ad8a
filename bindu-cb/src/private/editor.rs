//! What an editor is shown of an attribute. rust-analyzer sets `cfg(rust_analyzer)`; to the compiler
//! there is nothing here.

/// Code that is there for editors, half typed or not.
#[cfg(not(rust_analyzer))]
#[doc(hidden)]
#[macro_export]
macro_rules! __bindu_cb_typed {
    ($($typed:tt)*) => {};
}

/// Code that is there for editors, half typed or not.
#[cfg(rust_analyzer)]
#[doc(hidden)]
#[macro_export]
macro_rules! __bindu_cb_typed {
    ($($typed:tt)*) => { $($typed)* };
}

#[cfg(rust_analyzer)]
pub use attribute::{Attribute, attribute};

#[cfg(rust_analyzer)]
mod attribute {
    use std::marker::PhantomData;
    use std::time::Duration;

    use crate::error::{AttemptTimeoutError, CircuitBreakerOpenError};
    use crate::private::{Outcome, Tag};
    use crate::settings::each_key;

    /// The keys of an attribute, on a function that returns `Result<T, E>`.
    #[must_use]
    pub struct Attribute<T, E>(PhantomData<fn() -> Result<T, E>>);

    /// The attribute of a function with this return type.
    pub fn attribute<R: Outcome<Tag<T, E>, E>, T, E>() -> Attribute<T, E> {
        Attribute(PhantomData)
    }

    macro_rules! settings {
        ($($(#[$_struct:meta])* $_name:ident ($_keys:ident) { $(
            $(#[$doc:meta])* $_variant:ident $key:ident: $_given:ty => $_ty:ty = $_default:expr;
        )* })*) => {
            impl<T, E> Attribute<T, E> {$($(
                $(#[$doc])*
                pub fn $key<V>(self, _: V) -> Self {
                    self
                }
            )*)*}
        };
    }
    each_key!(settings);

    impl<T, E> Attribute<T, E> {
        /// What is protected: all functions that name the same operation share its circuit.
        pub fn op(self, _: &'static str) -> Self {
            self
        }

        /// Which errors are retried.
        pub fn retry_if(self, _: impl Fn(&E) -> bool) -> Self {
            self
        }

        /// Which errors are failures of the operation.
        pub fn record_if(self, _: impl Fn(&E) -> bool) -> Self {
            self
        }

        /// Which `Ok` values are failures.
        pub fn fail_if(self, _: impl Fn(&T) -> bool) -> Self {
            self
        }

        /// A wait that the error asks for.
        pub fn retry_after(self, _: impl Fn(&E) -> Option<Duration>) -> Self {
            self
        }

        /// Failures of each class count in a circuit of their own.
        pub fn class(self, _: impl Fn(&E) -> &'static str) -> Self {
            self
        }

        /// What is returned when the circuit is open; may be async.
        pub fn on_open<R>(self, _: impl FnOnce(CircuitBreakerOpenError) -> R) -> Self {
            self
        }

        /// The error of an attempt that has timed out.
        pub fn on_timeout<R>(self, _: impl Fn(AttemptTimeoutError) -> R) -> Self {
            self
        }

        /// An expression over the arguments: each key has a circuit of its own.
        pub fn key<K: ?Sized>(self, _: &K) -> Self {
            self
        }
    }
}
