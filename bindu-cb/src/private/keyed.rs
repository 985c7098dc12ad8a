//! The key of a call: an expression of the attribute.

use std::fmt::Display;
use std::sync::Arc;

use super::Site;
use super::site::SiteCore;
use crate::keyed::{Slot, with_text};
use crate::retry::{Call, CoreRef};

/// The value of the expression.
pub struct KeyOf<'k, K: ?Sized>(&'k K);

/// The key of a call.
#[inline]
pub fn key<K: ?Sized>(key: &K) -> KeyOf<'_, K> {
    KeyOf(key)
}

impl<K: AsRef<str> + ?Sized> KeyOf<'_, K> {
    /// A text needs not be made.
    #[inline]
    pub fn __bindu_cb_keyed(self, site: &'static Site) -> Keyed {
        site.keyed(self.0.as_ref())
    }
}

/// What holds for keys of any type; the inherent method goes before it.
pub trait KeyExt<K: ?Sized> {
    /// What the key has at the place of an attribute.
    fn __bindu_cb_keyed(self, site: &'static Site) -> Keyed
    where
        K: CircuitKey;
}

impl<K: ?Sized> KeyExt<K> for KeyOf<'_, K> {
    #[inline]
    fn __bindu_cb_keyed(self, site: &'static Site) -> Keyed
    where
        K: CircuitKey,
    {
        self.0.keyed(site)
    }
}

/// What can be a key.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the `key` of a circuit",
    label = "must have a text: be `AsRef<str>` or `Display`",
    note = "of several values make one: `key = format_args!(\"{{tenant}}/{{host}}\")`"
)]
pub trait CircuitKey {
    /// What the key has at the place of an attribute.
    fn keyed(&self, site: &'static Site) -> Keyed;
}

#[diagnostic::do_not_recommend]
impl<K: Display + ?Sized> CircuitKey for K {
    #[inline]
    fn keyed(&self, site: &'static Site) -> Keyed {
        with_text(self, |key| site.keyed(key))
    }
}

/// The circuit of a key at the place of an attribute, for the time of a call.
pub struct Keyed {
    pub(super) core: SiteCore,
    /// `None`: the operation's own.
    pub(super) slot: Option<Arc<Slot>>,
}

impl Keyed {
    /// Begins a call, which may be a rejected one.
    #[inline]
    pub fn enter(&self) -> Call<'_> {
        let core: &SiteCore = &self.core;
        let circuit = self.slot.as_ref().map_or(&core.circuit, |slot| &slot.circuit);
        Call::enter(CoreRef::new(core, circuit))
    }
}
