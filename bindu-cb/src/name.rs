//! Interned operation names, and what is remembered of an operation's last openings.
//!
//! Names are leaked once each: there are as many as operations. In return a rejection carries a
//! pointer instead of a string, and finds the reason of the opening through it when somebody
//! wants to read it. A rejected call so touches nothing that other threads write.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::event::Cause;

/// Openings that are remembered for each circuit.
const REMEMBERED: usize = 4;
/// Those of a key's circuit, of which there may be thousands.
const REMEMBERED_OF_KEY: usize = 1;

static NAMES: LazyLock<Mutex<HashMap<&'static str, &'static Name>>> = LazyLock::new(Mutex::default);

pub(crate) struct Name {
    text: &'static str,
    /// By circuit and generation.
    openings: Mutex<BTreeMap<(u64, u64), Opening>>,
}

/// Why a circuit opened.
#[derive(Clone)]
pub(crate) struct Opening {
    /// Circuits of one name exist side by side in tests; this tells them apart.
    pub(crate) circuit: u64,
    pub(crate) generation: u64,
    pub(crate) why: Why,
    pub(crate) last_failure: Option<Arc<str>>,
    /// Of the circuit of a key.
    pub(crate) key: Option<Box<str>>,
}

/// What was too much.
#[derive(Clone, Copy)]
pub(crate) enum Why {
    FailuresInARow(u64),
    /// With the threshold in percent, if that is learnt.
    FailureRate {
        failures: u64,
        calls: u64,
        learnt: Option<f64>,
    },
    SlowCallRate {
        slow: u64,
        calls: u64,
    },
    Probe,
    ByHand,
    /// Something that another process knows.
    #[cfg_attr(
        not(any(feature = "redis", loom)),
        expect(dead_code, reason = "nobody leads a circuit")
    )]
    Remote,
}

impl Why {
    pub(crate) fn cause(self) -> Cause {
        match self {
            Self::FailuresInARow(_) | Self::FailureRate { .. } | Self::SlowCallRate { .. } => {
                Cause::Local
            }
            Self::Probe => Cause::Probe,
            Self::ByHand => Cause::Manual,
            Self::Remote => Cause::Remote,
        }
    }
}

impl Name {
    pub(crate) fn intern(text: &str) -> &'static Self {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(text) {
            return name;
        }
        let text: &'static str = Box::leak(text.into());
        let name: &'static Self = Box::leak(Box::new(Self { text, openings: Mutex::default() }));
        names.insert(text, name);
        name
    }

    pub(crate) fn as_str(&self) -> &'static str {
        self.text
    }

    pub(crate) fn remember(&self, opening: Opening) {
        let circuit = opening.circuit;
        let most = if opening.key.is_some() { REMEMBERED_OF_KEY } else { REMEMBERED };
        let mut openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        // In place of one of this generation that a success has come before.
        openings.insert((circuit, opening.generation), opening);
        let excess = openings.range(of_circuit(circuit)).count().saturating_sub(most);
        for _ in 0..excess {
            if let Some((oldest, _)) = openings.range(of_circuit(circuit)).next() {
                let oldest = *oldest;
                openings.remove(&oldest);
            }
        }
    }

    /// The last opening of `circuit` that is not younger than `generation`.
    pub(crate) fn recall(&self, circuit: u64, generation: u64) -> Option<Opening> {
        let openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        openings.range((circuit, 0)..=(circuit, generation)).next_back().map(|(_, o)| o.clone())
    }

    /// The key of a circuit that has opened.
    pub(crate) fn key_of(&self, circuit: u64) -> Option<Box<str>> {
        let openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        openings.range(of_circuit(circuit)).next_back().and_then(|(_, o)| o.key.clone())
    }

    pub(crate) fn forget(&self, circuit: u64) {
        let mut openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((last, _)) = openings.range(of_circuit(circuit)).next_back() {
            let last = *last;
            openings.remove(&last);
        }
    }
}

fn of_circuit(circuit: u64) -> RangeInclusive<(u64, u64)> {
    (circuit, 0)..=(circuit, u64::MAX)
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(circuit: u64, generation: u64) -> Opening {
        Opening { circuit, generation, why: Why::Probe, last_failure: None, key: None }
    }

    #[test]
    fn one_text_is_one_name() {
        let (a, b) = (Name::intern("name::one"), Name::intern("name::one"));
        assert!(std::ptr::eq(a, b));
        assert!(!std::ptr::eq(a, Name::intern("name::two")));
    }

    #[test]
    fn a_circuit_keeps_its_own_last_openings_whatever_the_others_do() {
        let name = Name::intern("name::openings");
        name.remember(opening(1, 3));
        for generation in 0..20 {
            name.remember(opening(2, generation));
        }
        assert_eq!(name.recall(1, 3).map(|o| o.generation), Some(3));
        assert_eq!(name.recall(1, 4).map(|o| o.generation), Some(3), "half-open since");
        assert!(name.recall(1, 2).is_none());
        assert_eq!(name.openings.lock().unwrap().len(), 1 + REMEMBERED);
        name.forget(2);
        assert_eq!(name.openings.lock().unwrap().len(), 1);
    }
}
