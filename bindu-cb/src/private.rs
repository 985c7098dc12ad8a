//! What the expansions of the attributes call. Not part of the public interface: it changes
//! without notice, together with `bindu-cb-macros`.

mod editor;
mod keyed;
mod probe;
mod site;
mod tag;

pub use crate::__bindu_cb_typed as typed;
pub use crate::error::{AttemptTimeoutError, CircuitBreakerOpenError};
pub use crate::operation::Preset;
pub use crate::retry::seen::Seen;
pub use crate::retry::{Call, ClassedCall, Delay};
pub use crate::settings::{Count, Nested, OnCancel, Window};
#[cfg(rust_analyzer)]
pub use editor::{Attribute, attribute};
pub use keyed::{CircuitKey, KeyExt, KeyOf, Keyed, key};
pub use probe::probe;
pub use site::Site;
pub use tag::{
    FromOpen, FromTimeout, Opened, Outcome, Tag, TagExt, on_open, on_open_path, on_timeout, tag,
};

use std::time::Duration;

/// Asks a predicate about a value. A function, so that a closure's argument type is inferred.
pub fn ask<V>(value: &V, predicate: impl Fn(&V) -> bool) -> bool {
    predicate(value)
}

/// Asks how long to wait after an error.
pub fn ask_after<E>(error: &E, after: impl Fn(&E) -> Option<Duration>) -> Option<Duration> {
    after(error)
}

/// Asks for the class of an error.
pub fn ask_class<E>(error: &E, class: impl Fn(&E) -> &'static str) -> &'static str {
    class(error)
}

/// An attempt that needs no other one after it.
#[inline]
pub fn success(call: &mut Call<'_>) -> Option<Delay> {
    call.success();
    None
}

/// Shows the type of what an `async` block returns, where it is never run.
///
/// # Panics
///
/// Always.
pub fn never<R>() -> R {
    unreachable!("only the type of this call is wanted")
}

/// Makes an `async` block capture its argument by unique reference: a shared one is `Send` only if
/// the argument is `Sync`.
pub fn touch<T: ?Sized>(_: &mut T) {}

/// What a `mut` argument starts from at each attempt.
pub fn fresh<T: Fresh>(argument: &T) -> T {
    argument.copied()
}

/// An argument that can be had afresh for each attempt.
#[diagnostic::on_unimplemented(
    message = "a `mut` argument must start fresh at each attempt, and `{Self}` is not `Copy`",
    label = "would keep what the attempt before has made of it",
    note = "clone it for each attempt: `clone(<argument>)` in the attribute",
    note = "or drop the `mut` here, and copy what the body changes"
)]
pub trait Fresh {
    /// A copy.
    #[must_use]
    fn copied(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Copy> Fresh for T {
    fn copied(&self) -> Self {
        *self
    }
}
