//! `SharedSettings`: whether circuits are shared, and through which server.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use super::address::{Address, BadAddress};
use crate::error::{SettingProblem, SettingsError};
use crate::settings::{PREFIX, SHARED, distance};

/// Circuits of one name are one in all processes that name the same server and namespace.
///
/// Printed, in any way, it does not show the URL's user and password.
///
/// ```
/// use bindu_cb::SharedSettings;
///
/// let settings = SharedSettings::new("redis://:secret@redis.internal:6379/0").namespace("billing");
/// assert!(settings.validate().is_ok());
/// assert!(!format!("{settings:?}").contains("secret"));
/// ```
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct SharedSettings {
    url: Result<Address, BadAddress>,
    /// Processes of different namespaces share nothing, whatever the names of their operations;
    /// 1 to 64 characters. Default: `"default"`.
    pub namespace: String,
    /// Replicas whose circuits must open before that of all does, 1 to 1000. Default: 1.
    pub quorum: u32,
}

const KEYS: [&str; 3] = ["namespace", "quorum", "url"];
const LONGEST_NAMESPACE: usize = 64;
const MOST_QUORUM: u32 = 1_000;

impl SharedSettings {
    /// Shared through the server of this URL: `redis://user:password@host:6379/0`, `rediss://…`
    /// (feature `redis-tls`), or `unix:///path?db=0&user=…&pass=…`. What is wrong with it
    /// [`validate`](Self::validate) says.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: Address::parse(&url.into()), namespace: "default".to_owned(), quorum: 1 }
    }

    /// Processes of different namespaces share nothing, whatever the names of their operations;
    /// 1 to 64 characters. Default: `"default"`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Replicas whose circuits must open before that of all does, 1 to 1000. Default: 1.
    #[must_use]
    pub fn quorum(mut self, quorum: u32) -> Self {
        self.quorum = quorum;
        self
    }

    /// What `BINDU_CB_SHARED_URL`, `BINDU_CB_SHARED_NAMESPACE` and `BINDU_CB_SHARED_QUORUM` say.
    /// `None`, nothing is shared, if there is no URL or it is empty.
    ///
    /// # Errors
    ///
    /// Names every variable that cannot be used, with its value but not with a user or password,
    /// and every other one that begins with `BINDU_CB_SHARED_`, with the nearest known one.
    pub fn from_env() -> Result<Option<Self>, SettingsError> {
        Self::from_variables(std::env::vars_os())
    }

    pub(crate) fn from_variables(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Option<Self>, SettingsError> {
        let mut given = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, value) in variables {
            // Lossy: what is not UTF-8 is found below, with its readable part.
            let name = name.to_string_lossy();
            let Some(key) = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix(SHARED))
            else {
                continue;
            };
            match KEYS.into_iter().find(|known| known.to_ascii_uppercase() == key) {
                Some(key) => drop(given.insert(key, value.to_string_lossy().into_owned())),
                None => problems.push(unknown(&name, key)),
            }
        }

        let url = given.remove("url").filter(|url| !url.trim().is_empty());
        let is_shared = url.is_some();
        let mut settings = Self::new(url.unwrap_or_default());
        if let Some(namespace) = given.remove("namespace") {
            settings.namespace = namespace;
        }
        if let Some(quorum) = given.remove("quorum") {
            match quorum.trim().parse() {
                Ok(quorum) => settings.quorum = quorum,
                Err(_) => problems.push(of_variable(bad_quorum(quorum))),
            }
        }
        let found = settings.problems().into_iter();
        problems.extend(found.filter(|it| is_shared || it.name != "url").map(of_variable));
        problems.sort_by(|a, b| a.name.cmp(&b.name));
        SettingsError::check(problems)?;
        Ok(is_shared.then_some(settings))
    }

    /// Checks every value.
    ///
    /// # Errors
    ///
    /// Names every one that cannot be used, the URL without its user and password.
    pub fn validate(&self) -> Result<(), SettingsError> {
        SettingsError::check(self.problems())
    }

    fn problems(&self) -> Vec<SettingProblem> {
        let mut problems = Vec::new();
        let namespace = &self.namespace;
        if !(1..=LONGEST_NAMESPACE).contains(&namespace.chars().count())
            || namespace.contains(char::is_control)
        {
            let advice =
                format!("expected 1 to {LONGEST_NAMESPACE} characters, none of them a control one");
            problems.push(problem("namespace", namespace.clone(), advice));
        }
        if !(1..=MOST_QUORUM).contains(&self.quorum) {
            problems.push(bad_quorum(self.quorum.to_string()));
        }
        if let Err(bad) = &self.url {
            problems.push(problem("url", bad.shown.clone(), bad.advice.clone()));
        }
        problems
    }

    /// `None` if the URL cannot be used.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.url.as_ref().ok()
    }
}

impl fmt::Debug for SharedSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_ref().map_or_else(|bad| bad.shown.clone(), Address::to_string);
        f.debug_struct("SharedSettings")
            .field("url", &url)
            .field("namespace", &self.namespace)
            .field("quorum", &self.quorum)
            .finish()
    }
}

fn problem(name: &str, value: String, advice: String) -> SettingProblem {
    SettingProblem { name: name.to_owned(), value: Some(value), advice }
}

fn bad_quorum(value: String) -> SettingProblem {
    problem("quorum", value, format!("expected a whole number from 1 to {MOST_QUORUM}"))
}

/// The same of the variable that gave the key its value.
fn of_variable(problem: SettingProblem) -> SettingProblem {
    SettingProblem { name: variable(&problem.name), ..problem }
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{SHARED}{}", key.to_ascii_uppercase())
}

fn unknown(name: &str, key: &str) -> SettingProblem {
    let nearest = KEYS.into_iter().min_by_key(|known| distance(&key.to_ascii_lowercase(), known));
    let advice = match nearest {
        Some(nearest) => format!("is not known; the nearest is {}", variable(nearest)),
        None => "is not known".to_owned(),
    };
    SettingProblem { name: name.to_owned(), value: None, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<SharedSettings>, Vec<String>> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        SharedSettings::from_variables(variables)
            .map_err(|error| error.problems().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn without_a_url_nothing_is_shared() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("BINDU_CB_SHARED_URL", " "), ("BINDU_CB_ENABLED", "1")]), Ok(None));
        assert_eq!(read(&[("BINDU_CB_SHARED_NAMESPACE", "billing")]), Ok(None));
    }

    #[test]
    fn the_variables_are_those_of_the_setters() {
        let settings = read(&[
            ("BINDU_CB_SHARED_URL", "redis://h/1"),
            ("BINDU_CB_SHARED_NAMESPACE", "billing"),
            ("BINDU_CB_SHARED_QUORUM", " 3 "),
        ]);
        let expected = SharedSettings::new("redis://h/1").namespace("billing").quorum(3);
        assert_eq!(settings, Ok(Some(expected)));
        let defaults = SharedSettings::new("redis://h");
        assert_eq!(defaults, SharedSettings::new("redis://h/").namespace("default").quorum(1));
        assert!(defaults.address().is_some());
        assert_ne!(defaults, SharedSettings::new("redis://:p@h"));
    }

    #[test]
    fn every_problem_is_reported_at_once_and_none_shows_the_password() {
        let problems = read(&[
            ("BINDU_CB_SHARED_URL", "redis://u:secret@h/x"),
            ("BINDU_CB_SHARED_NAMESPACE", ""),
            ("BINDU_CB_SHARED_QUORUM", "most"),
            ("BINDU_CB_SHARED_NAMSPACE", "a"),
            ("BINDU_CB_SHARED_URI", "redis://u:secret@h"),
        ])
        .unwrap_err();
        assert_eq!(
            problems,
            [
                "BINDU_CB_SHARED_NAMESPACE=\"\": expected 1 to 64 characters, none of them a \
                 control one",
                "BINDU_CB_SHARED_NAMSPACE: is not known; the nearest is BINDU_CB_SHARED_NAMESPACE",
                "BINDU_CB_SHARED_QUORUM=\"most\": expected a whole number from 1 to 1000",
                "BINDU_CB_SHARED_URI: is not known; the nearest is BINDU_CB_SHARED_URL",
                "BINDU_CB_SHARED_URL=\"redis://***@h/***\": expected the number of a database after \
                 the host: redis://host/0",
            ]
        );
        // Also where nothing would be shared.
        assert!(read(&[("BINDU_CB_SHARED_QUORUM", "0")]).is_err());
    }

    #[test]
    fn values_are_checked_in_code_too() {
        let with = || SharedSettings::new("redis://h");
        for good in [with().quorum(1_000), with().namespace("é".repeat(64))] {
            assert_eq!(good.validate(), Ok(()), "{good:?}");
        }
        for bad in [
            with().quorum(0),
            with().quorum(1_001),
            with().namespace(""),
            with().namespace("a\nb"),
            with().namespace("a".repeat(65)),
            SharedSettings::new("secret"),
        ] {
            assert_eq!(bad.validate().unwrap_err().problems().len(), 1, "{bad:?}");
        }
    }

    #[test]
    fn nothing_that_is_printed_shows_a_login() {
        for url in ["redis://admin:secret@h", "admin:secret@h", "redis://admin:se/secret@h"] {
            let settings = SharedSettings::new(url);
            let printed = format!("{settings:?} {settings:#?} {:?}", settings.validate());
            assert!(!printed.contains("secret") && !printed.contains("admin"), "{printed}");
        }
    }
}
