//! `Settings`: what code and the environment say, at three levels each.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::env::Env;
use super::{Key, Overrides, problem};
use crate::error::{SettingProblem, SettingsError};
#[cfg(feature = "redis")]
use crate::shared::SharedSettings;

/// Settings for all operations, for a kind of operations, and for single operations.
///
/// At each level the environment is stronger than code. The order of all sources, strongest
/// first: the operation's level, the attribute, the kind's level, the level of all, the presets
/// of the kind, the defaults.
///
/// ```
/// # use std::time::Duration;
/// # fn main() -> Result<(), bindu_cb::SettingsError> {
/// let mut settings = bindu_cb::Settings::default();
/// settings.all().enabled(true);
/// settings.kind("storage").recovery_timeout(Duration::from_secs(5));
/// settings.operation("storage:save").attempts(2);
/// bindu_cb::registry().configure(settings.with_env()?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Settings {
    all: Overrides,
    kinds: BTreeMap<String, Overrides>,
    operations: BTreeMap<String, Overrides>,
    pub(super) env: Env,
    pub(crate) switches: Switches,
    /// What the variables say of sharing.
    #[cfg(feature = "redis")]
    pub(crate) shared: Option<SharedSettings>,
    /// The variables say something of sharing, which this build cannot.
    #[cfg(not(feature = "redis"))]
    pub(crate) shares_in_vain: bool,
}

/// What a test forces, stronger than everything. Kept when other settings are installed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switches {
    pub(crate) forced: Overrides,
    pub(crate) no_wait: bool,
}

/// A level of settings in code.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level<'a> {
    All,
    Kind(&'a str),
    Operation(&'a str),
}

/// That which turns sharing on.
#[cfg(not(feature = "redis"))]
const SHARED_URL: &str = "BINDU_CB_SHARED_URL";

impl Settings {
    /// The environment alone: every variable whose name begins with `BINDU_CB_`.
    ///
    /// # Errors
    ///
    /// Names every variable that cannot be used, with its value and what is expected, and every
    /// one whose name ends in no known key, with the nearest known one.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::default().with_env()
    }

    /// The environment on top of what code has set.
    ///
    /// # Errors
    ///
    /// As for [`from_env`](Self::from_env).
    pub fn with_env(self) -> Result<Self, SettingsError> {
        self.with_variables(std::env::vars_os())
    }

    /// The given variables on top of what code has set, in place of the process's environment.
    ///
    /// ```
    /// use bindu_cb::Settings;
    ///
    /// let error = Settings::default()
    ///     .with_variables([("BINDU_CB_ATTEMPTS", "0"), ("BINDU_CB_ENABELD", "true")])
    ///     .unwrap_err();
    /// assert_eq!(error.problems().len(), 2);
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`from_env`](Self::from_env).
    pub fn with_variables<N, V>(
        self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, SettingsError>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let (settings, problems) = self.with_usable_variables(
            variables.into_iter().map(|(name, value)| (name.into(), value.into())),
        );
        SettingsError::check(problems)?;
        Ok(settings)
    }

    /// What can be used of the variables, and what is wrong with the others.
    pub(crate) fn with_usable_variables(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> (Self, Vec<SettingProblem>) {
        #[cfg(feature = "redis")]
        let variables: Vec<_> = variables.into_iter().collect();
        #[cfg(feature = "redis")]
        let shared = SharedSettings::from_variables(variables.iter().cloned());
        #[cfg(not(feature = "redis"))]
        let mut shares = false;
        #[cfg(not(feature = "redis"))]
        let variables = variables.into_iter().inspect(|(name, value)| {
            shares |= name == SHARED_URL && !value.to_string_lossy().trim().is_empty();
        });
        let (env, problems) = Env::parse(variables);
        #[cfg(not(feature = "redis"))]
        {
            self.shares_in_vain = shares;
        }
        self.env = env;
        #[cfg(feature = "redis")]
        let problems = match shared {
            Ok(shared) => {
                self.shared = shared;
                problems
            }
            // Shared by half is with the wrong ones: circuits work by themselves.
            Err(error) => [problems, error.problems().to_vec()].concat(),
        };
        (self, problems)
    }

    /// What is to be logged where these settings come into force: nothing is wrong with them.
    #[cfg(not(feature = "redis"))]
    pub(crate) fn warning(&self) -> Option<String> {
        self.shares_in_vain.then(|| {
            format!("{SHARED_URL} needs the feature `redis` of bindu-cb: circuits are not shared")
        })
    }

    /// The level of all operations.
    pub fn all(&mut self) -> &mut Overrides {
        &mut self.all
    }

    /// The level of one kind: the text before the first `:` of an operation's name.
    pub fn kind(&mut self, kind: &str) -> &mut Overrides {
        self.kinds.entry(kind.to_owned()).or_default()
    }

    /// The level of one operation, or of one class of its errors: `"storage/timeout"`.
    pub fn operation(&mut self, op: &str) -> &mut Overrides {
        self.operations.entry(op.to_owned()).or_default()
    }

    /// Checks what code has set.
    ///
    /// # Errors
    ///
    /// Names every key whose value is out of range, with its level.
    pub fn validate(&self) -> Result<(), SettingsError> {
        SettingsError::check(self.problems())
    }

    pub(crate) fn problems(&self) -> Vec<SettingProblem> {
        let kinds = self.kinds.iter().map(|(kind, o)| (format!("kind({kind:?})."), o));
        let operations = self.operations.iter().map(|(op, o)| (format!("operation({op:?})."), o));
        std::iter::once(("all().".to_owned(), &self.all))
            .chain(kinds)
            .chain(operations)
            .flat_map(|(level, overrides)| {
                let single = |key: &Key| problem(*key, overrides.get(*key)?);
                let found = Key::ALL.iter().filter_map(single).chain(overrides.contradictions());
                found
                    .map(|found| SettingProblem { name: format!("{level}{}", found.name), ..found })
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    pub(super) fn code(&self, level: Level<'_>) -> Option<&Overrides> {
        match level {
            Level::All => Some(&self.all),
            Level::Kind(kind) => self.kinds.get(kind),
            Level::Operation(op) => self.operations.get(op),
        }
    }

    /// Whether any variable is about an operation or kind of this mangled name.
    pub(crate) fn has_variables_of(&self, scope: &str) -> bool {
        self.env.has_scope(scope)
    }

    /// The variables whose mangled operation or kind is none of `known`.
    pub(crate) fn variables_outside(&self, known: impl Fn(&str) -> bool) -> Vec<String> {
        self.env.outside(known)
    }
}
