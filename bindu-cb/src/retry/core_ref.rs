//! Whose call it is.

#[cfg(feature = "test-util")]
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use crate::breaker::CircuitBreaker;
use crate::operation::Core;

/// The operation of a call and the circuit that it stands behind: the operation's, or that of a key
/// under it.
///
/// `core.circuit` is the call's own; what else there is in `core` is the operation's.
#[cfg_attr(feature = "tower", derive(Clone))]
pub(crate) struct Whose<C, K> {
    core: C,
    pub(super) circuit: K,
}

/// Where a call has these from.
pub(crate) trait Hold<'a> {
    type Core: Deref<Target = Core>;
    type Circuit: Deref<Target = CircuitBreaker> + Clone + Send + Sync + 'a;
    /// What is in the call.
    type Place: Deref<Target = Whose<Self::Core, Self::Circuit>>;

    /// The circuit of the operation, also where the call stands behind that of a key.
    fn circuit_of_operation(place: &Self::Place) -> Self::Circuit;

    /// The same for a wait, if the call stands behind that of a key.
    fn operation_for_wait(place: &Self::Place) -> Option<Self::Circuit> {
        (!place.is_of_operation()).then(|| Self::circuit_of_operation(place))
    }
}

/// By [`CoreRef`]. A name for it that the types of expansions may contain.
pub enum InPlace {}

/// What lives as long as the call. A site's operation lives as long as the program, unless a test
/// has isolated its thread: with `test-util` a call owns its share.
pub(crate) struct CoreRef<'a> {
    whose: Whose<OwnerRef<'a>, CircuitRef<'a>>,
    #[cfg(feature = "test-util")]
    lifetime: PhantomData<&'a Core>,
}

#[cfg(not(feature = "test-util"))]
type OwnerRef<'a> = &'a Core;
#[cfg(feature = "test-util")]
type OwnerRef<'a> = Arc<Core>;

/// The circuit of a call.
#[cfg(not(feature = "test-util"))]
type CircuitRef<'a> = &'a CircuitBreaker;
#[cfg(feature = "test-util")]
type CircuitRef<'a> = Arc<CircuitBreaker>;

impl<'a> CoreRef<'a> {
    #[cfg(not(feature = "test-util"))]
    #[inline]
    pub(crate) fn new(core: &'a Arc<Core>, circuit: &'a Arc<CircuitBreaker>) -> Self {
        Self { whose: Whose { core, circuit } }
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn new(core: &'a Arc<Core>, circuit: &'a Arc<CircuitBreaker>) -> Self {
        let (core, circuit) = (Arc::clone(core), Arc::clone(circuit));
        Self { whose: Whose { core, circuit }, lifetime: PhantomData }
    }

    /// It owns what it points to.
    #[cfg(feature = "test-util")]
    pub(crate) fn detached(self) -> CoreRef<'static> {
        CoreRef { whose: self.whose, lifetime: PhantomData }
    }
}

impl<'a> Hold<'a> for InPlace {
    type Core = OwnerRef<'a>;
    type Circuit = CircuitRef<'a>;
    type Place = CoreRef<'a>;

    #[cfg(not(feature = "test-util"))]
    fn circuit_of_operation(place: &CoreRef<'a>) -> CircuitRef<'a> {
        let core: &'a Core = place.whose.core;
        &core.circuit
    }

    #[cfg(feature = "test-util")]
    fn circuit_of_operation(place: &CoreRef<'a>) -> CircuitRef<'a> {
        Arc::clone(&place.whose.core.circuit)
    }
}

impl<'a> Deref for CoreRef<'a> {
    type Target = Whose<OwnerRef<'a>, CircuitRef<'a>>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.whose
    }
}

impl<C: Deref<Target = Core>, K: Deref<Target = CircuitBreaker>> Whose<C, K> {
    #[inline]
    pub(super) fn circuit(&self) -> &CircuitBreaker {
        &self.circuit
    }

    /// The circuit of the operation, also where the call stands behind that of a key.
    pub(super) fn operation(&self) -> &CircuitBreaker {
        let core: &Core = self;
        &core.circuit
    }

    /// Whether it stands behind no circuit but that of the operation.
    pub(super) fn is_of_operation(&self) -> bool {
        std::ptr::eq(self.operation(), self.circuit())
    }
}

impl<C: Deref<Target = Core>, K> Deref for Whose<C, K> {
    type Target = Core;

    #[inline]
    fn deref(&self) -> &Core {
        &self.core
    }
}

#[cfg(feature = "tower")]
impl Whose<Arc<Core>, Arc<CircuitBreaker>> {
    pub(super) fn new(core: Arc<Core>, circuit: Arc<CircuitBreaker>) -> Self {
        Self { core, circuit }
    }

    pub(super) fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core)
    }
}

#[inline]
pub(crate) fn core_ref(core: &Arc<Core>) -> CoreRef<'_> {
    CoreRef::new(core, &core.circuit)
}
