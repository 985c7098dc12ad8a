//! Whose call it is.

#[cfg(feature = "test-util")]
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use crate::breaker::CircuitBreaker;
use crate::operation::Core;

/// The operation of a call and the circuit that it stands behind: the operation's, or that of a key
/// under it. A site's operation lives as long as the program, unless a test has isolated its
/// thread: with `test-util` a call owns its share.
///
/// `core.circuit` is the call's own; what else there is in `core` is the operation's.
pub(crate) struct CoreRef<'a> {
    core: OwnerRef<'a>,
    pub(super) circuit: CircuitRef<'a>,
    #[cfg(feature = "test-util")]
    lifetime: PhantomData<&'a Core>,
}

#[cfg(not(feature = "test-util"))]
type OwnerRef<'a> = &'a Core;
#[cfg(feature = "test-util")]
type OwnerRef<'a> = Arc<Core>;

/// The circuit of a call.
#[cfg(not(feature = "test-util"))]
pub(super) type CircuitRef<'a> = &'a CircuitBreaker;
#[cfg(feature = "test-util")]
pub(super) type CircuitRef<'a> = Arc<CircuitBreaker>;

impl<'a> CoreRef<'a> {
    #[cfg(not(feature = "test-util"))]
    #[inline]
    pub(crate) fn new(core: &'a Arc<Core>, circuit: &'a Arc<CircuitBreaker>) -> Self {
        Self { core, circuit }
    }

    /// The circuit for a wait, which is part of the call.
    #[cfg(not(feature = "test-util"))]
    pub(super) fn for_wait(&self) -> CircuitRef<'a> {
        self.circuit
    }

    #[cfg(feature = "test-util")]
    pub(super) fn for_wait(&self) -> CircuitRef<'a> {
        Arc::clone(&self.circuit)
    }

    /// The circuit of the operation for a wait, if the call stands behind that of a key.
    #[cfg(not(feature = "test-util"))]
    pub(super) fn operation_for_wait(&self) -> Option<CircuitRef<'a>> {
        let operation: &'a CircuitBreaker = &self.core.circuit;
        (!std::ptr::eq(operation, self.circuit)).then_some(operation)
    }

    #[cfg(feature = "test-util")]
    pub(super) fn operation_for_wait(&self) -> Option<CircuitRef<'a>> {
        let operation = &self.core.circuit;
        (!Arc::ptr_eq(operation, &self.circuit)).then(|| Arc::clone(operation))
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn new(core: &'a Arc<Core>, circuit: &'a Arc<CircuitBreaker>) -> Self {
        let (core, circuit) = (Arc::clone(core), Arc::clone(circuit));
        Self { core, circuit, lifetime: PhantomData }
    }

    /// It owns what it points to.
    #[cfg(feature = "test-util")]
    pub(crate) fn detached(self) -> CoreRef<'static> {
        CoreRef { core: self.core, circuit: self.circuit, lifetime: PhantomData }
    }
}

impl CoreRef<'_> {
    #[inline]
    pub(super) fn circuit(&self) -> &CircuitBreaker {
        let circuit: &CircuitRef<'_> = &self.circuit;
        circuit
    }

    /// The circuit of the operation, also where the call stands behind that of a key.
    pub(super) fn operation(&self) -> &CircuitBreaker {
        let core: &Core = self;
        &core.circuit
    }
}

impl Deref for CoreRef<'_> {
    type Target = Core;

    #[inline]
    fn deref(&self) -> &Core {
        let core: &OwnerRef<'_> = &self.core;
        core
    }
}

#[inline]
pub(crate) fn core_ref(core: &Arc<Core>) -> CoreRef<'_> {
    CoreRef::new(core, &core.circuit)
}
