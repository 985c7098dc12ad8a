//! The place of an attribute: a `static` that knows its operation from the first call on.

use std::panic::Location;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Keyed;
use crate::operation::{Core, Origin, Preset};
use crate::registry;
#[cfg(feature = "test-util")]
use crate::registry::Inner;
use crate::retry::{Call, core_ref};
use crate::settings::{Count, Given, Key, Nested, OnCancel, Overrides, Value, Window, each_key};

/// A site's operation lives as long as the program, unless a test has isolated its thread.
#[cfg(not(feature = "test-util"))]
pub(super) type SiteCore = &'static Arc<Core>;
#[cfg(feature = "test-util")]
pub(super) type SiteCore = Arc<Core>;

/// One annotated function.
pub struct Site {
    op: &'static str,
    preset: Preset,
    once: bool,
    name: Option<&'static str>,
    derived_in: Option<&'static str>,
    has_classes: bool,
    given: Overrides,
    at: &'static Location<'static>,
    core: OnceLock<Arc<Core>>,
}

impl Site {
    /// A function with a retry loop.
    #[track_caller]
    pub const fn new(op: &'static str, preset: Preset) -> Self {
        Self {
            op,
            preset,
            once: false,
            name: None,
            derived_in: None,
            has_classes: false,
            given: Overrides::NONE,
            at: Location::caller(),
            core: OnceLock::new(),
        }
    }

    /// A function without one.
    #[track_caller]
    pub const fn once(op: &'static str) -> Self {
        let mut site = Self::new(op, Preset::OfKind);
        site.once = true;
        site
    }

    /// The function's module path and name.
    #[must_use]
    pub const fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// The operation's name was made from the function's.
    #[must_use]
    pub const fn derived(mut self, module: &'static str) -> Self {
        self.derived_in = Some(module);
        self
    }

    /// The function's errors have classes.
    #[must_use]
    pub const fn classed(mut self) -> Self {
        self.has_classes = true;
        self
    }

    /// Begins a call, which may be a rejected one.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "some 20 instructions; a call of it is as long again")]
    pub fn enter(&'static self) -> Call<'static> {
        #[cfg(feature = "test-util")]
        if let Some(isolated) = crate::testing::isolated() {
            return Call::enter(core_ref(&self.core_in(&isolated)).detached());
        }
        let core = self.core.get().unwrap_or_else(|| self.first_core());
        Call::enter(core_ref(core))
    }

    /// The circuit that a key has, for one call.
    #[inline]
    pub(super) fn keyed(&'static self, key: &str) -> Keyed {
        let core = self.core();
        let slot = core.keys.slot(key);
        Keyed { core, slot }
    }

    #[inline]
    fn core(&'static self) -> SiteCore {
        #[cfg(feature = "test-util")]
        if let Some(isolated) = crate::testing::isolated() {
            return self.core_in(&isolated);
        }
        let core = self.core.get().unwrap_or_else(|| self.first_core());
        #[cfg(feature = "test-util")]
        let core = Arc::clone(core);
        core
    }

    #[cold]
    fn first_core(&'static self) -> &'static Arc<Core> {
        // Registered before it is stored, not while: registering logs, and a subscriber may call
        // this very function. Of two first calls one registers in vain.
        let core = registry::global().register(self.op, self.origin());
        self.core.get_or_init(|| core)
    }

    #[cfg(feature = "test-util")]
    fn core_in(&'static self, isolated: &Arc<Inner>) -> Arc<Core> {
        isolated.core_of_site(std::ptr::from_ref(self).addr(), || {
            isolated.register(self.op, self.origin())
        })
    }

    fn origin(&self) -> Origin {
        Origin {
            preset: self.preset,
            once: self.once,
            name: self.name,
            may_time_out: self.given.timeout.is_some(),
            given: Given::all(&self.given, self.at),
            at: self.at,
            derived_in: self.derived_in,
            has_classes: self.has_classes,
        }
    }
}

macro_rules! value {
    (bool $value:expr) => {
        Value::Flag($value)
    };
    (u32 $value:expr) => {
        Value::Number($value)
    };
    (f64 $value:expr) => {
        Value::Factor($value)
    };
    (Duration $value:expr) => {
        Value::Duration($value)
    };
    (Window $value:expr) => {
        Value::Window($value)
    };
    (Count $value:expr) => {
        Value::Count($value)
    };
    (Nested $value:expr) => {
        Value::Nested($value)
    };
    (OnCancel $value:expr) => {
        Value::OnCancel($value)
    };
}

macro_rules! site_setters {
    ($(
        $(#[$struct_doc:meta])*
        $settings:ident ($all:ident) {$(
            $(#[$doc:meta])*
            $variant:ident $name:ident: $ty:ident => $field:ty = $default:expr;
        )*}
    )*) => {
        /// A literal is checked by the attribute; what stands behind a path to a constant is
        /// checked here, when it is compiled.
        impl Site {
            $($(
                $(#[$doc])*
                #[must_use]
                pub const fn $name(mut self, $name: $ty) -> Self {
                    assert!(
                        Key::$variant.accepts(value!($ty $name)),
                        concat!("`", stringify!($name), "` is out of range"),
                    );
                    self.given.$name = Some($name);
                    self
                }
            )*)*
        }
    };
}

each_key!(site_setters);
