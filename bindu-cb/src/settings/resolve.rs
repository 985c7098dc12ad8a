//! From all sources to one value a key, with the source that gave it.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::env::mangle;
use super::key::Value;
use super::layers::Level;
use super::{CircuitBreakerSettings, Key, Overrides, RetrySettings, Settings, Window};

/// Where a value comes from.
///
/// ```
/// use bindu_cb::{CircuitBreaker, Source};
///
/// let snapshot = CircuitBreaker::new("source", Default::default()).snapshot();
/// assert!(snapshot.settings.iter().all(|s| matches!(s.source, Source::Code(_))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Nobody gave it.
    Default,
    /// The presets of this kind of operation.
    Preset(&'static str),
    /// The attribute, or the builder, at this place.
    Attribute(&'static Location<'static>),
    /// [`Settings`] in code, at this level.
    Code(String),
    /// This environment variable.
    Environment(String),
    /// Another key, stronger than this one, that it would have contradicted.
    Adjusted(&'static str),
    /// A test's own switch.
    Test,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset(kind) => write!(f, "preset of {kind}"),
            Self::Attribute(place) => place.fmt(f),
            Self::Code(level) => write!(f, "code, {level}"),
            Self::Environment(variable) => write!(f, "environment, {variable}"),
            Self::Adjusted(key) => write!(f, "adjusted to {key}"),
            Self::Test => f.write_str("test"),
        }
    }
}

/// A setting as it is in force.
///
/// ```
/// let circuit = bindu_cb::get_circuit_breaker("setting-value");
/// for setting in circuit.snapshot().settings {
///     println!("{} = {}  ({})", setting.key, setting.value, setting.source);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingValue {
    /// The key.
    pub key: &'static str,
    /// The value, as it would be written in the environment.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
}

/// What an attribute, or a builder, gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) key: Key,
    pub(crate) value: Value,
    pub(crate) at: &'static Location<'static>,
}

impl Given {
    /// All settings of a loop, those that are not set included.
    pub(crate) fn of(settings: &RetrySettings, at: &'static Location<'static>) -> Vec<Self> {
        let given = |key: &Key| Self { key: *key, value: settings.value(*key), at };
        RetrySettings::KEYS.iter().map(given).collect()
    }

    pub(crate) fn all(overrides: &Overrides, at: &'static Location<'static>) -> Vec<Self> {
        let given = |key: &Key| Some(Self { key: *key, value: overrides.get(*key)?, at });
        Key::ALL.iter().filter_map(given).collect()
    }
}

/// Settings with the source of each value.
#[derive(Clone, Debug)]
pub(crate) struct Resolved<S> {
    pub(crate) settings: S,
    sources: Sources,
    /// Values that contradicted a stronger one and gave way.
    pub(crate) adjusted: Vec<String>,
}

/// Which value comes from where.
#[derive(Clone, Debug)]
enum Sources {
    Each(Vec<(Key, Source)>),
    /// All from one. A circuit of its own would hold the same text for each of its keys.
    One(&'static [Key], Source),
}

/// How strong a source is; smaller is stronger.
type Rank = usize;
const WEAKEST: Rank = usize::MAX;

impl Settings {
    pub(crate) fn circuit(
        &self,
        subject: Subject<'_>,
        given: &[Given],
    ) -> Resolved<CircuitBreakerSettings> {
        let mut settings = CircuitBreakerSettings::default();
        let mut ranked =
            self.resolve(subject, given, CircuitBreakerSettings::KEYS, |key, value| {
                settings.set(key, value);
            });
        let mut adjusted = Vec::new();
        // B4 caps the wait in any case; a cap that nobody asked for must not undercut a
        // recovery_timeout that somebody did.
        if settings.recovery_timeout > settings.max_recovery_timeout
            && rank(&ranked, Key::RecoveryTimeout) < rank(&ranked, Key::MaxRecoveryTimeout)
        {
            settings.max_recovery_timeout = settings.recovery_timeout;
            adjusted.push(adjust(&mut ranked, Key::MaxRecoveryTimeout, Key::RecoveryTimeout));
        }
        if let (Some(minimum), Some(Window::Calls(calls))) =
            (settings.minimum_calls, settings.window)
            && minimum > calls
        {
            // A window that never holds enough would never open. Whichever is stronger: the window
            // cannot grow without another shape.
            settings.minimum_calls = Some(calls);
            adjusted.push(adjust(&mut ranked, Key::MinimumCalls, Key::Window));
        }
        if settings.adaptive && rank(&ranked, Key::FailureRate) <= rank(&ranked, Key::Adaptive) {
            // Somebody, not further from the operation, wants this rate and no other.
            settings.adaptive = false;
            adjusted.push(adjust(&mut ranked, Key::Adaptive, Key::FailureRate));
        }
        if settings.adaptive && settings.window.is_none() {
            adjusted
                .push("adaptive learns from a window, and none is set: it does nothing".to_owned());
        }
        if settings.adaptive_min > settings.adaptive_max {
            let (min, max) = (&mut settings.adaptive_min, &mut settings.adaptive_max);
            let keys = (Key::AdaptiveMin, Key::AdaptiveMax);
            adjusted.push(clamp_to_stronger(&mut ranked, keys, min, max));
        }
        Resolved { settings, sources: sources(ranked), adjusted }
    }

    /// `preset`: attempts, `min_wait`, `max_wait`, and the kind they are those of.
    pub(crate) fn retry(
        &self,
        op: &str,
        preset: Option<(&'static str, u32, Duration, Duration)>,
        given: &[Given],
    ) -> Resolved<RetrySettings> {
        let mut settings = RetrySettings::default();
        let mut ranked =
            self.resolve(Subject::operation(op), given, RetrySettings::KEYS, |key, value| {
                settings.set(key, value);
            });
        if let Some((kind, attempts, min_wait, max_wait)) = preset {
            for (key, value) in [
                (Key::Attempts, Value::Number(attempts)),
                (Key::MinWait, Value::Duration(min_wait)),
                (Key::MaxWait, Value::Duration(max_wait)),
            ] {
                if rank(&ranked, key) == WEAKEST {
                    settings.set(key, value);
                    set_source(&mut ranked, key, WEAKEST - 1, Source::Preset(kind));
                }
            }
        }
        let mut adjusted = Vec::new();
        if settings.min_wait > settings.max_wait {
            let (min, max) = (&mut settings.min_wait, &mut settings.max_wait);
            adjusted.push(clamp_to_stronger(&mut ranked, (Key::MinWait, Key::MaxWait), min, max));
        }
        Resolved { settings, sources: sources(ranked), adjusted }
    }

    fn resolve(
        &self,
        subject: Subject<'_>,
        given: &[Given],
        keys: &[Key],
        mut set: impl FnMut(Key, Value),
    ) -> Vec<(Key, Rank, Source)> {
        let names = Names::of(subject);
        keys.iter()
            .map(|key| match self.strongest(&names, given, *key) {
                Some((rank, value, source)) => {
                    set(*key, key.clamp(value));
                    (*key, rank, source)
                }
                None => (*key, WEAKEST, Source::Default),
            })
            .collect()
    }

    fn strongest(
        &self,
        names: &Names<'_>,
        given: &[Given],
        key: Key,
    ) -> Option<(Rank, Value, Source)> {
        let test = || Some((self.switches.forced.get(key)?, Source::Test));
        let env = |scope: &str| {
            let variable = self.env.get(scope, key)?;
            Some((variable.value, Source::Environment(variable.name.clone())))
        };
        let code =
            |level: Level<'_>| Some((self.code(level)?.get(key)?, Source::Code(level.to_string())));
        let attribute = || {
            let given = given.iter().find(|given| given.key == key)?;
            Some((given.value, Source::Attribute(given.at)))
        };
        // The kill switch: for `enabled` the environment beats the attribute at every level.
        let kill_switch = |scope: &str| if key == Key::Enabled { env(scope) } else { None };
        let operation = || names.operation.as_ref();
        let sources: [&dyn Fn() -> Option<(Value, Source)>; 12] = [
            &test,
            &|| env(&names.op_scope),
            &|| operation().and_then(|(_, scope)| kill_switch(scope)),
            &|| kill_switch(&names.kind_scope),
            &|| kill_switch(""),
            &|| code(Level::Operation(names.op)),
            &|| {
                operation()
                    .and_then(|(op, scope)| env(scope).or_else(|| code(Level::Operation(op))))
            },
            &attribute,
            &|| env(&names.kind_scope),
            &|| code(Level::Kind(names.kind)),
            &|| env(""),
            &|| code(Level::All),
        ];
        sources
            .iter()
            .enumerate()
            .find_map(|(rank, source)| source().map(|(value, source)| (rank, value, source)))
    }
}

impl fmt::Display for Level<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Kind(kind) => write!(f, "kind {kind}"),
            Self::Operation(op) => write!(f, "operation {op}"),
        }
    }
}

/// An operation's name in the forms in which settings are looked up.
struct Names<'a> {
    op: &'a str,
    /// Of the circuit of a class of errors: its operation, and that as it stands in a variable.
    operation: Option<(&'a str, String)>,
    kind: &'a str,
    op_scope: String,
    kind_scope: String,
}

impl<'a> Names<'a> {
    fn of(subject: Subject<'a>) -> Self {
        Self {
            op: subject.name,
            operation: subject.class_of.map(|op| (op, mangle(op))),
            kind: subject.kind(),
            op_scope: subject.scope(),
            kind_scope: subject.kind_scope(),
        }
    }
}

/// What has settings: an operation, or a class of the errors of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a str,
    /// The operation of a class. Not to be had from the name: a `/` may be part of any.
    pub(crate) class_of: Option<&'a str>,
}

impl<'a> Subject<'a> {
    pub(crate) fn operation(name: &'a str) -> Self {
        Self { name, class_of: None }
    }

    pub(crate) fn kind(self) -> &'a str {
        kind_of(self.class_of.unwrap_or(self.name))
    }

    /// As it stands in a variable: of a class with two `_` after its operation.
    pub(crate) fn scope(self) -> String {
        match self.class_of.and_then(|op| Some((op, self.name.strip_prefix(op)?))) {
            Some((op, label)) => format!("{}_{}", mangle(op), mangle(label)),
            None => mangle(self.name),
        }
    }

    pub(crate) fn kind_scope(self) -> String {
        mangle(self.kind())
    }
}

/// The text before the first `:`; a name without one is its own kind.
pub(crate) fn kind_of(op: &str) -> &str {
    op.split_once(':').map_or(op, |(kind, _)| kind)
}

fn rank(ranked: &[(Key, Rank, Source)], key: Key) -> Rank {
    ranked.iter().find(|(k, ..)| *k == key).map_or(WEAKEST, |(_, rank, _)| *rank)
}

fn set_source(ranked: &mut [(Key, Rank, Source)], key: Key, rank: Rank, source: Source) {
    if let Some(entry) = ranked.iter_mut().find(|(k, ..)| *k == key) {
        *entry = (key, rank, source);
    }
}

/// Of two bounds that are the wrong way round, moves the one from the weaker source to the other.
fn clamp_to_stronger<T: Copy>(
    ranked: &mut [(Key, Rank, Source)],
    (low, high): (Key, Key),
    min: &mut T,
    max: &mut T,
) -> String {
    if rank(ranked, low) <= rank(ranked, high) {
        *max = *min;
        adjust(ranked, high, low)
    } else {
        *min = *max;
        adjust(ranked, low, high)
    }
}

/// Notes that `weak` was moved to where `strong` is, or off; returns the sentence for the log.
fn adjust(ranked: &mut [(Key, Rank, Source)], weak: Key, strong: Key) -> String {
    let source_of =
        |key: Key| ranked.iter().find(|(k, ..)| *k == key).map(|(.., source)| source.to_string());
    let sentence = format!(
        "{} ({}) contradicts {} ({}) and was {}",
        weak.name(),
        source_of(weak).unwrap_or_default(),
        strong.name(),
        source_of(strong).unwrap_or_default(),
        if weak == Key::Adaptive { "switched off" } else { "set to the same" },
    );
    let rank = rank(ranked, weak);
    set_source(ranked, weak, rank, Source::Adjusted(strong.name()));
    sentence
}

fn sources(ranked: Vec<(Key, Rank, Source)>) -> Sources {
    Sources::Each(ranked.into_iter().map(|(key, _, source)| (key, source)).collect())
}

impl<S> Resolved<S> {
    /// Values that were handed over as they are, all from one source.
    pub(crate) fn from_one_source(settings: S, keys: &'static [Key], source: Source) -> Self {
        Self { settings, sources: Sources::One(keys, source), adjusted: Vec::new() }
    }

    fn list(&self, value: impl Fn(Key) -> Value) -> Vec<SettingValue> {
        let setting = |key: Key, source: &Source| SettingValue {
            key: key.name(),
            value: value(key).to_string(),
            source: source.clone(),
        };
        match &self.sources {
            Sources::Each(sources) => sources.iter().map(|(key, of)| setting(*key, of)).collect(),
            Sources::One(keys, source) => keys.iter().map(|key| setting(*key, source)).collect(),
        }
    }
}

impl Resolved<CircuitBreakerSettings> {
    pub(crate) fn values(&self) -> Vec<SettingValue> {
        self.list(|key| self.settings.value(key))
    }
}

impl Resolved<RetrySettings> {
    pub(crate) fn values(&self) -> Vec<SettingValue> {
        self.list(|key| self.settings.value(key))
    }
}
