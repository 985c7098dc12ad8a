//! The environment: `BINDU_CB_<KEY>`, `BINDU_CB_<KIND>_<KEY>`, `BINDU_CB_<OP>_<KEY>`.

use std::collections::HashMap;
use std::ffi::OsString;

use super::{Key, Value, problem};
use crate::error::SettingProblem;

pub(crate) const PREFIX: &str = "BINDU_CB_";
/// Variables of the shared circuits, read by that feature.
pub(crate) const SHARED: &str = "SHARED_";

/// A variable that was understood.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: Value,
}

/// The variables that were understood, by scope and key. The scope is a mangled kind or
/// operation, or empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Env(HashMap<(String, Key), Variable>);

/// An operation or kind as it stands in a variable: upper case, and `_` for every character that
/// is no letter or digit.
pub(crate) fn mangle(name: &str) -> String {
    name.chars()
        .flat_map(char::to_uppercase)
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect()
}

impl Env {
    /// Reads every variable that is ours; what cannot be used is reported, all of it.
    pub(crate) fn parse(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> (Self, Vec<SettingProblem>) {
        let mut env = Self::default();
        let mut problems = Vec::new();
        for (name, raw) in variables {
            // Lossy: a name or value that is not UTF-8 fails below, with its readable part.
            let name = name.to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix(PREFIX).filter(|r| !r.starts_with(SHARED)) else {
                continue;
            };
            let Some((scope, key)) = split(rest) else {
                problems.push(unknown(&name, rest));
                continue;
            };
            let scope = scope.to_owned();
            let raw = raw.to_string_lossy();
            let value = key.parse(&raw);
            let found = match value {
                Some(value) => problem(key, value),
                None => Some(key.problem(raw.into_owned())),
            };
            // Protection is never lost to a typo: an `ENABLED` that cannot be read is on.
            let value = match &found {
                None => value,
                Some(_) => (key == Key::Enabled).then_some(Value::Flag(true)),
            };
            problems.extend(found.map(|found| SettingProblem { name: name.clone(), ..found }));
            if let Some(value) = value {
                env.0.insert((scope, key), Variable { name, value });
            }
        }
        problems.extend(env.contradictions());
        problems.sort_by(|a, b| a.name.cmp(&b.name));
        (env, problems)
    }

    pub(crate) fn get(&self, scope: &str, key: Key) -> Option<&Variable> {
        self.0.get(&(scope.to_owned(), key))
    }

    /// Whether any variable names this kind or operation.
    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        self.0.keys().any(|(s, _)| s == scope)
    }

    /// The names of the variables whose scope is none of `scopes`.
    pub(crate) fn outside(&self, scopes: impl Fn(&str) -> bool) -> Vec<String> {
        let mut names: Vec<_> = self
            .0
            .iter()
            .filter(|((scope, _), _)| !scopes(scope))
            .map(|(_, variable)| variable.name.clone())
            .collect();
        names.sort();
        names
    }

    /// Pairs that contradict each other within one scope; across scopes the stronger one wins.
    fn contradictions(&self) -> Vec<SettingProblem> {
        let Self(table) = self;
        table
            .iter()
            .filter(|((_, key), _)| *key == Key::MinWait)
            .filter_map(|((scope, _), min)| {
                let max = self.get(scope, Key::MaxWait)?;
                let (Value::Duration(low), Value::Duration(high)) = (min.value, max.value) else {
                    return None;
                };
                (low > high).then(|| SettingProblem {
                    name: min.name.clone(),
                    value: Some(min.value.to_string()),
                    advice: format!("expected at most {}, which is {}", max.name, max.value),
                })
            })
            .collect()
    }
}

/// Splits at the longest key that fits: `STORAGE_MAX_WAIT` is `MAX_WAIT` of `STORAGE`.
fn split(rest: &str) -> Option<(&str, Key)> {
    let scope_before = |key: Key| {
        let before = rest.strip_suffix(key.name().to_ascii_uppercase().as_str())?;
        match before.strip_suffix('_') {
            _ if before.is_empty() => Some(""),
            Some("") | None => None,
            Some(scope) => Some(scope),
        }
    };
    Key::ALL
        .iter()
        .filter_map(|key| Some((scope_before(*key)?, *key)))
        .max_by_key(|(_, key)| key.name().len())
}

fn unknown(name: &str, rest: &str) -> SettingProblem {
    let words: Vec<_> = rest.split('_').collect();
    let nearest = Key::ALL
        .iter()
        .map(|key| {
            let length = key.name().split('_').count().min(words.len());
            let tail = words[words.len() - length..].join("_").to_lowercase();
            (distance(&tail, key.name()), *key)
        })
        .min_by_key(|(distance, _)| *distance);
    let advice = match nearest {
        Some((_, key)) => {
            format!("ends in no known key; the nearest is {}", key.name().to_ascii_uppercase())
        }
        None => "ends in no known key".to_owned(),
    };
    SettingProblem { name: name.to_owned(), value: None, advice }
}

/// The Levenshtein distance, one row at a time.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<_> = b.chars().collect();
    let mut row: Vec<_> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStringExt;
    use std::time::Duration;

    fn parse(variables: &[(&str, &str)]) -> (Env, Vec<SettingProblem>) {
        Env::parse(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    fn value(env: &Env, scope: &str, key: Key) -> Option<Value> {
        env.get(scope, key).map(|variable| variable.value)
    }

    #[test]
    fn the_longest_key_that_fits_is_meant() {
        for key in Key::ALL {
            let name = key.name().to_ascii_uppercase();
            assert_eq!(split(&name), Some(("", *key)));
            assert_eq!(split(&format!("STORAGE_SAVE_{name}")), Some(("STORAGE_SAVE", *key)));
        }
    }

    #[test]
    fn the_documented_variables_are_understood() {
        let (env, problems) = parse(&[
            ("BINDU_CB_ENABLED", "true"),
            ("BINDU_CB_FAILURE_THRESHOLD", "5"),
            ("BINDU_CB_RECOVERY_TIMEOUT", "30"),
            ("BINDU_CB_STORAGE_ATTEMPTS", "2"),
            ("BINDU_CB_STORAGE_SAVE_FAILURE_THRESHOLD", "10"),
            ("BINDU_CB_STORAGE_SAVE_TIMEOUT", "none"),
            ("BINDU_CB_SHARED_URL", "redis://localhost"),
            ("UNRELATED", "x"),
        ]);
        assert_eq!(problems, []);
        assert_eq!(value(&env, "", Key::Enabled), Some(Value::Flag(true)));
        assert_eq!(
            value(&env, "", Key::RecoveryTimeout),
            Some(Value::Duration(Duration::from_secs(30)))
        );
        assert_eq!(value(&env, "STORAGE", Key::Attempts), Some(Value::Number(2)));
        assert_eq!(value(&env, "STORAGE_SAVE", Key::FailureThreshold), Some(Value::Number(10)));
        assert_eq!(value(&env, "STORAGE_SAVE", Key::Timeout), Some(Value::Unset));
    }

    #[test]
    fn a_typo_in_a_name_is_answered_with_the_nearest_key() {
        let (_, problems) = parse(&[("BINDU_CB_STORAGE_FAILURE_TRESHOLD", "5")]);
        assert_eq!(
            problems[0].to_string(),
            "BINDU_CB_STORAGE_FAILURE_TRESHOLD: ends in no known key; the nearest is FAILURE_THRESHOLD"
        );
    }

    #[test]
    fn a_typo_in_enabled_is_reported_and_means_on() {
        let (env, problems) = parse(&[("BINDU_CB_ENABLED", "ture")]);
        assert_eq!(problems.len(), 1);
        assert_eq!(value(&env, "", Key::Enabled), Some(Value::Flag(true)));
    }

    #[test]
    fn a_contradiction_within_a_scope_is_reported() {
        let (_, problems) =
            parse(&[("BINDU_CB_API_MIN_WAIT", "20s"), ("BINDU_CB_API_MAX_WAIT", "10s")]);
        assert_eq!(
            problems[0].to_string(),
            r#"BINDU_CB_API_MIN_WAIT="20s": expected at most BINDU_CB_API_MAX_WAIT, which is 10s"#
        );
    }

    #[test]
    fn operations_are_mangled_as_documented() {
        assert_eq!(mangle("storage:save"), "STORAGE_SAVE");
        assert_eq!(mangle("a.b-c d/é"), "A_B_C_D_É");
    }

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (a, b, expected) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0)] {
            assert_eq!(distance(a, b), expected);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_nothing_of_ours_is_lost(
            variables in proptest::collection::vec((
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..24)
                        .prop_map(|tail| [b"BINDU_CB_", &tail[..]].concat()),
                    proptest::sample::select(Key::ALL).prop_map(|key| {
                        format!("BINDU_CB_X_{}", key.name().to_ascii_uppercase()).into_bytes()
                    }),
                    proptest::collection::vec(any::<u8>(), 0..24),
                ],
                proptest::collection::vec(any::<u8>(), 0..24),
            ), 0..8)
        ) {
            let ours = |name: &[u8]| {
                let name = String::from_utf8_lossy(name).into_owned();
                (name.starts_with(PREFIX) && !name.starts_with("BINDU_CB_SHARED_")).then_some(name)
            };
            let expected: std::collections::HashSet<_> =
                variables.iter().filter_map(|(name, _)| ours(name)).collect();
            let (env, problems) = Env::parse(variables.into_iter().map(|(name, value)| {
                (OsString::from_vec(name), OsString::from_vec(value))
            }));
            let reported: std::collections::HashSet<_> = problems
                .iter()
                .map(|problem| problem.name.clone())
                .chain(env.0.values().map(|variable| variable.name.clone()))
                .collect();
            prop_assert_eq!(reported, expected);
        }
    }
}
