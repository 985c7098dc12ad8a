//! What hardly any circuit needs, in one allocation: all others have a pointer for it. There may be
//! thousands, of keys, that need none of it.

use super::CircuitBreaker;
use super::classes::Family;
#[cfg(any(feature = "redis", loom))]
use super::hold::Led;
#[cfg(feature = "otel")]
use super::tally::Tally;

#[derive(Default)]
pub(super) struct Rare {
    /// Of the circuit of an operation with classes, or of such a class.
    pub(super) family: Family,
    /// Of a circuit that is led from outside.
    #[cfg(any(feature = "redis", loom))]
    pub(super) led: Led,
    /// Of a circuit that has changed its state.
    #[cfg(feature = "otel")]
    pub(super) tally: Tally,
}

impl CircuitBreaker {
    pub(super) fn rare(&self) -> Option<&Rare> {
        self.rare.get().map(|rare| &**rare)
    }

    pub(super) fn make_rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }
}
