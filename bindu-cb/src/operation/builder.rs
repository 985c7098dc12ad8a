//! Builds an operation by hand.

use std::panic::Location;
use std::time::Duration;

use super::{Operation, Origin, Preset};
use crate::error::{SettingProblem, SettingsError};
use crate::registry;
use crate::settings::{Count, Given, Nested, OnCancel, Overrides, Window, each_key, problem};

/// Builds an [`Operation`]. What it is given stands where an attribute's keys stand: stronger than
/// the settings of the kind and of all, weaker than those of the operation.
///
/// ```
/// use std::time::Duration;
///
/// let operation = bindu_cb::Operation::builder("api:mail")
///     .enabled(true)
///     .attempts(2)
///     .timeout(Duration::from_secs(3))
///     .build()?;
/// assert_eq!(operation.circuit_breaker().name(), "api:mail");
///
/// let error = bindu_cb::Operation::builder("api:mail").attempts(0).build().unwrap_err();
/// assert_eq!(error.to_string(), r#"attempts="0": expected a whole number, 1 or more"#);
/// # Ok::<(), bindu_cb::SettingsError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct OperationBuilder {
    name: String,
    given: Overrides,
    at: &'static Location<'static>,
}

impl OperationBuilder {
    pub(super) fn new(name: String, at: &'static Location<'static>) -> Self {
        Self { name, given: Overrides::default(), at }
    }

    /// Takes the operation's circuit from the registry, or makes it.
    ///
    /// # Errors
    ///
    /// Names every key whose value is out of range, and an empty name.
    pub fn build(self) -> Result<Operation, SettingsError> {
        let Self { name, given, at } = self;
        let mut problems = given.contradictions();
        let given = Given::all(&given, at);
        problems.extend(given.iter().filter_map(|given| problem(given.key, given.value)));
        if name.trim().is_empty() {
            problems.push(SettingProblem {
                name: "op".to_owned(),
                value: Some(name.clone()),
                advice: "expected a name, such as \"storage:save\"".to_owned(),
            });
        }
        SettingsError::check(problems)?;
        let origin = Origin {
            preset: Preset::OfKind,
            once: false,
            name: None,
            may_time_out: true,
            given,
            at,
            derived_in: None,
            has_classes: false,
        };
        Ok(Operation::new(registry::current().register(&name, origin)))
    }
}

macro_rules! builder_setters {
    ($(
        $(#[$struct_doc:meta])*
        $settings:ident ($all:ident) {$(
            $(#[$doc:meta])*
            $variant:ident $name:ident: $ty:ident => $field:ty = $default:expr;
        )*}
    )*) => {
        impl OperationBuilder {
            $($(
                $(#[$doc])*
                pub fn $name(mut self, $name: $ty) -> Self {
                    self.given.$name($name);
                    self
                }
            )*)*
        }
    };
}

each_key!(builder_setters);
