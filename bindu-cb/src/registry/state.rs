//! The circuits by name, each with its functions and what their attributes give it.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};

use crate::breaker::CircuitBreaker;
use crate::error::SettingProblem;
use crate::operation::{Core, Origin};
use crate::settings::{CircuitBreakerSettings, Given, Settings, kind_of, mangle};

#[derive(Default)]
pub(super) struct State {
    /// `None` until somebody configures or needs them.
    pub(super) settings: Option<Arc<Settings>>,
    pub(super) entries: BTreeMap<&'static str, Entry>,
    /// What has been logged and is not to be logged again.
    pub(super) told: HashSet<String>,
}

pub(super) struct Entry {
    pub(super) circuit: Arc<CircuitBreaker>,
    /// The breaker settings that attributes give, of each key the first.
    pub(super) given: Vec<Given>,
    pub(super) functions: Vec<Weak<Core>>,
    /// The module whose function first had this name made from its own.
    pub(super) derived_in: Option<&'static str>,
}

/// What is to be logged when the lock is free: a subscriber may call back.
pub(super) enum Notice {
    Warning(String),
    Unusable(SettingProblem),
}

pub(super) fn warnings(op: &str, adjusted: &[String]) -> Vec<Notice> {
    adjusted.iter().map(|text| Notice::Warning(format!("{op}: {text}"))).collect()
}

impl State {
    /// Settings for everything that exists and that will.
    pub(super) fn install(&mut self, settings: Settings, notices: &mut Vec<Notice>) {
        let settings = Arc::new(settings);
        for entry in self.entries.values() {
            entry.apply(&settings, notices);
            for function in entry.functions.iter().filter_map(Weak::upgrade) {
                let adjusted = function.apply(&settings);
                notices.extend(warnings(entry.circuit.name(), &adjusted));
            }
        }
        self.settings = Some(settings);
    }

    /// Operations whose variables are the new one's, too, though their names differ.
    pub(super) fn shared_variables(&self, settings: &Settings, name: &str) -> Option<Notice> {
        let scopes_of = |op: &str| [mangle(op), mangle(kind_of(op))];
        let [op_scope, kind_scope] = scopes_of(name);
        let clash = self.entries.keys().find(|other| {
            let [other_op, other_kind] = scopes_of(other);
            // Of one kind, or one the other's kind: by design.
            let related = kind_of(other) == kind_of(name);
            let same = other_op == op_scope
                || (!related
                    && (other_op == kind_scope
                        || other_kind == op_scope
                        || other_kind == kind_scope));
            same && (settings.has_variables_of(&op_scope) || settings.has_variables_of(&kind_scope))
        })?;
        Some(Notice::Warning(format!(
            "the operations {clash:?} and {name:?} read the same environment variables, \
             BINDU_CB_{op_scope}_…: rename one of them"
        )))
    }
}

impl Entry {
    /// Takes in what a function's attribute gives the circuit. True if that is anything new.
    pub(super) fn merge(&mut self, given: &[Given], notices: &mut Vec<Notice>) -> bool {
        let before = self.given.len();
        for new in given.iter().filter(|g| CircuitBreakerSettings::KEYS.contains(&g.key)) {
            match self.given.iter().find(|old| old.key == new.key) {
                None => self.given.push(*new),
                Some(old) if old.value == new.value => {}
                Some(old) => notices.push(Notice::Warning(format!(
                    "two functions give the circuit {op:?} different settings: {key} is {old} at \
                     {old_at} and {new} at {new_at}; {old} is in force",
                    op = self.circuit.name(),
                    key = new.key.name(),
                    old = old.value,
                    old_at = old.at,
                    new = new.value,
                    new_at = new.at,
                ))),
            }
        }
        self.given.len() > before
    }

    pub(super) fn apply(&self, settings: &Settings, notices: &mut Vec<Notice>) {
        let resolved = settings.circuit(self.circuit.name(), &self.given);
        notices.extend(warnings(self.circuit.name(), &resolved.adjusted));
        self.circuit.apply(resolved);
    }

    pub(super) fn note_derived(&mut self, origin: &Origin, notices: &mut Vec<Notice>) {
        let Some(module) = origin.derived_in else { return };
        match self.derived_in {
            None => self.derived_in = Some(module),
            Some(first) if first == module => {}
            Some(first) => notices.push(Notice::Warning(format!(
                "functions of one name in {first} and in {module} share the circuit {:?}, which \
                 was named after them: give them an `op`",
                self.circuit.name(),
            ))),
        }
    }
}
