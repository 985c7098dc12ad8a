//! The keys: their names, what they take, and where they belong.

use syn::Expr;

use crate::{args::Hooks, value::Kind};

/// A key of the attributes.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) scope: Scope,
}

/// What a key is given.
pub(crate) enum Form {
    /// The name of the operation.
    Op,
    /// A value for the setter of the key's name.
    Setting(Kind),
    /// A closure or the path of a function.
    Hook(fn(&mut Hooks) -> &mut Option<Expr>),
    /// An expression over the arguments.
    Key,
    /// The names of bindings, in parentheses.
    Names,
    /// Where the runtime crate is found.
    Crate,
}

/// Where a key may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// On every attribute.
    All,
    /// On those that retry.
    Retry,
}

const fn key(name: &'static str, form: Form, scope: Scope) -> Key {
    Key { name, form, scope }
}

const fn setting(name: &'static str, kind: Kind, scope: Scope) -> Key {
    key(name, Form::Setting(kind), scope)
}

const THRESHOLD: Kind = Kind::Integer { min: 1, max: 65_535 };
const POSITIVE: Kind = Kind::Integer { min: 1, max: u32::MAX };
const PERCENT: Kind = Kind::Integer { min: 1, max: 100 };
const MULTIPLIER: Kind = Kind::Real { min: 1.0, max: f64::MAX };
const FRACTION: Kind = Kind::Real { min: 0.0, max: 1.0 };
const COUNT: Kind =
    Kind::Choice { ty: "Count", variants: &[("call", "Call"), ("attempt", "Attempt")] };
const NESTED: Kind =
    Kind::Choice { ty: "Nested", variants: &[("once", "Once"), ("multiply", "Multiply")] };
const ON_CANCEL: Kind =
    Kind::Choice { ty: "OnCancel", variants: &[("ignore", "Ignore"), ("failure", "Failure")] };

/// Every key, in the order in which they are listed to the user.
pub(crate) static KEYS: [Key; 44] = [
    key("op", Form::Op, Scope::All),
    setting("enabled", Kind::Bool, Scope::All),
    setting("dry_run", Kind::Bool, Scope::All),
    setting("failure_threshold", THRESHOLD, Scope::All),
    setting("recovery_timeout", Kind::Duration, Scope::All),
    setting("success_threshold", THRESHOLD, Scope::All),
    setting("half_open_permits", Kind::Integer { min: 1, max: 128 }, Scope::All),
    setting("probe_attempts", POSITIVE, Scope::All),
    setting("probe_timeout", Kind::Duration, Scope::All),
    setting("recovery_multiplier", MULTIPLIER, Scope::All),
    setting("max_recovery_timeout", Kind::Duration, Scope::All),
    setting("recovery_jitter", FRACTION, Scope::All),
    setting("window", Kind::Window, Scope::All),
    setting("failure_rate", PERCENT, Scope::All),
    setting("slow_call_rate", PERCENT, Scope::All),
    setting("minimum_calls", POSITIVE, Scope::All),
    setting("slow_call", Kind::Duration, Scope::All),
    setting("adaptive", Kind::Bool, Scope::All),
    setting("adaptive_min", PERCENT, Scope::All),
    setting("adaptive_max", PERCENT, Scope::All),
    setting("ramp_up", Kind::Duration, Scope::All),
    key("key", Form::Key, Scope::All),
    setting("max_keys", POSITIVE, Scope::All),
    setting("count", COUNT, Scope::All),
    setting("on_cancel", ON_CANCEL, Scope::All),
    setting("attempts", POSITIVE, Scope::Retry),
    setting("min_wait", Kind::Duration, Scope::Retry),
    setting("max_wait", Kind::Duration, Scope::Retry),
    setting("multiplier", MULTIPLIER, Scope::Retry),
    setting("jitter", FRACTION, Scope::Retry),
    setting("deadline", Kind::Duration, Scope::Retry),
    setting("timeout", Kind::Duration, Scope::All),
    setting("retry_budget", FRACTION, Scope::Retry),
    setting("retry_budget_reserve", Kind::Integer { min: 0, max: u32::MAX }, Scope::Retry),
    setting("nested", NESTED, Scope::Retry),
    key("retry_if", Form::Hook(|hooks| &mut hooks.retry_if), Scope::Retry),
    key("record_if", Form::Hook(|hooks| &mut hooks.record_if), Scope::All),
    key("fail_if", Form::Hook(|hooks| &mut hooks.fail_if), Scope::All),
    key("retry_after", Form::Hook(|hooks| &mut hooks.retry_after), Scope::Retry),
    key("class", Form::Hook(|hooks| &mut hooks.class), Scope::All),
    key("on_open", Form::Hook(|hooks| &mut hooks.on_open), Scope::All),
    key("on_timeout", Form::Hook(|hooks| &mut hooks.on_timeout), Scope::All),
    key("clone", Form::Names, Scope::Retry),
    key("crate", Form::Crate, Scope::All),
];

pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key that a misspelt name was probably meant to be.
pub(crate) fn nearest(name: &str, keys: &[&'static str]) -> Option<&'static str> {
    // A third of the letters: `atempts` is `attempts`, and `name` is nothing.
    let limit = name.chars().count().div_ceil(3);
    keys.iter()
        .map(|key| (distance(name, key), *key))
        .min()
        .filter(|(distance, _)| *distance <= limit)
        .map(|(_, name)| name)
}

/// Levenshtein's distance, row by row.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearest(name: &str) -> Option<&'static str> {
        let keys: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        super::nearest(name, &keys)
    }

    #[test]
    fn a_misspelt_key_has_a_nearest_one() {
        for (given, meant) in [
            ("atempts", "attempts"),
            ("attempt", "attempts"),
            ("failure_treshold", "failure_threshold"),
            ("timout", "timeout"),
            ("Op", "op"),
            ("retry_of", "retry_if"),
            ("minwait", "min_wait"),
        ] {
            assert_eq!(nearest(given), Some(meant), "{given}");
        }
    }

    #[test]
    fn a_name_unlike_any_key_has_none() {
        for given in ["name", "x", "backoff", "fallback", ""] {
            assert_eq!(nearest(given), None, "{given}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn names_are_unique() {
        for key in &KEYS {
            assert_eq!(
                KEYS.iter().filter(|other| other.name == key.name).count(),
                1,
                "{}",
                key.name
            );
        }
    }
}
