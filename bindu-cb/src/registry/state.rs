//! The circuits by name, each with its functions and what their attributes give it.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};

#[cfg(feature = "redis")]
use super::link::Linked;
use crate::breaker::{CircuitBreaker, OTHER_CLASS};
use crate::error::SettingProblem;
use crate::keyed::Keys;
use crate::operation::{Core, Origin};
use crate::retry::Budget;
use crate::settings::{CircuitBreakerSettings, Given, Settings, Subject};
#[cfg(feature = "redis")]
use crate::shared::SharedSettings;

#[derive(Default)]
pub(super) struct State {
    /// `None` until somebody configures or needs them.
    pub(super) settings: Option<Arc<Settings>>,
    pub(super) entries: BTreeMap<&'static str, Entry>,
    /// What has been logged and is not to be logged again.
    pub(super) told: HashSet<String>,
    #[cfg(feature = "redis")]
    pub(super) linked: Linked,
    /// What the settings that were in force last said of sharing.
    #[cfg(feature = "redis")]
    pub(super) shared: Option<SharedSettings>,
}

pub(super) struct Entry {
    pub(super) circuit: Arc<CircuitBreaker>,
    pub(super) budget: Arc<Budget>,
    pub(super) keys: Arc<Keys>,
    /// The breaker settings that attributes give, of each key the first.
    pub(super) given: Vec<Given>,
    pub(super) functions: Vec<Weak<Core>>,
    /// The module whose function first had this name made from its own.
    pub(super) derived_in: Option<&'static str>,
    /// The operation of whose errors this is a class.
    pub(super) class_of: Option<&'static str>,
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
            notices.extend(self.shared_variables(&settings, entry.subject()));
            entry.apply(&settings, notices);
            for function in entry.functions.iter().filter_map(Weak::upgrade) {
                let adjusted = function.apply(&settings);
                notices.extend(warnings(entry.circuit.name(), &adjusted));
            }
        }
        self.settings = Some(settings);
    }

    /// Whether the settings say something else of sharing than when this was last asked.
    #[cfg(feature = "redis")]
    pub(super) fn sharing_has_changed(&mut self) -> bool {
        let now = self.settings.as_ref().and_then(|settings| settings.shared.as_ref());
        let has_changed = now != self.shared.as_ref();
        if has_changed {
            self.shared = now.cloned();
        }
        has_changed
    }

    /// What an operation's attributes give is given to the classes of its errors, too.
    pub(super) fn apply_to_classes_of(
        &mut self,
        op: &str,
        settings: &Settings,
        notices: &mut Vec<Notice>,
    ) {
        let Some(given) = self.entries.get(op).map(|entry| entry.given.clone()) else { return };
        for entry in self.entries.values_mut().filter(|entry| entry.class_of == Some(op)) {
            if entry.merge(&given, notices) {
                entry.apply(settings, notices);
            }
        }
    }

    /// The operation and the label of a class of errors, if this is the name of one that there is
    /// no circuit of and that there may be one of.
    pub(super) fn class_to_make<'n>(
        &self,
        name: &'n str,
    ) -> Option<(Arc<CircuitBreaker>, &'n str)> {
        if self.entries.contains_key(name) {
            return None;
        }
        // From the end: names of operations and labels may both have a `/`.
        let (entry, label) = name.rmatch_indices('/').find_map(|(at, _)| {
            let (op, label) = (name.get(..at)?, name.get(at + 1..)?);
            let entry = self.entries.get(op).filter(|entry| entry.has_classes())?;
            (!label.is_empty()).then_some((entry, label))
        })?;
        let fits = label == OTHER_CLASS || !entry.circuit.has_most_classes();
        fits.then(|| (Arc::clone(&entry.circuit), label))
    }

    /// Whether this operation and another one read the same variables.
    pub(super) fn shared_variables(
        &self,
        settings: &Settings,
        subject: Subject<'_>,
    ) -> Option<Notice> {
        let name = subject.name;
        let others = self.entries.values().map(Entry::subject).filter(|other| other.name != name);
        let (other, scope) = others
            .filter_map(|other| Some((other.name, shared_scope(other, subject)?)))
            .find(|(_, scope)| settings.has_variables_of(scope))?;
        let (first, second) = if other < name { (other, name) } else { (name, other) };
        Some(Notice::Warning(format!(
            "the operations {first:?} and {second:?} read the same environment variables, \
             BINDU_CB_{scope}_…: rename one of them"
        )))
    }
}

/// What stands for both in a variable's name, other than by design: a kind is its operations'.
fn shared_scope(a: Subject<'_>, b: Subject<'_>) -> Option<String> {
    let [a_op, b_op] = [a, b].map(Subject::scope);
    if a_op == b_op {
        return Some(a_op);
    }
    if a.kind() == b.kind() {
        return None;
    }
    let b_scopes = [b_op, b.kind_scope()];
    [a_op, a.kind_scope()].into_iter().find(|scope| b_scopes.contains(scope))
}

impl Entry {
    fn has_classes(&self) -> bool {
        self.functions.iter().filter_map(Weak::upgrade).any(|function| function.has_classes())
    }

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

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject { name: self.circuit.name(), class_of: self.class_of }
    }

    pub(super) fn shared(&self) -> (Arc<CircuitBreaker>, Arc<Budget>, Arc<Keys>) {
        (Arc::clone(&self.circuit), Arc::clone(&self.budget), Arc::clone(&self.keys))
    }

    pub(super) fn apply(&self, settings: &Settings, notices: &mut Vec<Notice>) {
        let resolved = settings.circuit(self.subject(), &self.given);
        notices.extend(warnings(self.circuit.name(), &resolved.adjusted));
        let resolved = Arc::new(resolved);
        self.circuit.apply(&resolved);
        self.keys.apply(&resolved);
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
