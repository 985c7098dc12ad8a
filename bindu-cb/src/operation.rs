//! An operation: a circuit and the retry policy of one function; what an attribute builds.

use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::breaker::{CircuitBreaker, FunctionSnapshot};
use crate::error::{CallError, SettingProblem, SettingsError};
use crate::registry::{self, Inner};
use crate::retry::seen::Text;
use crate::retry::verdict::Verdict;
use crate::retry::{Call, CoreRef};
use crate::settings::{
    Count, Given, OnCancel, Overrides, Resolved, RetrySettings, Settings, Source, Window, each_key,
    kind_of, problem,
};

/// Which kind's presets a function starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Those of the operation's own kind.
    OfKind,
    /// Workers.
    Worker,
    /// Storage.
    Storage,
    /// Schedulers.
    Scheduler,
    /// Calls to APIs.
    Api,
}

impl Preset {
    /// Attempts, `min_wait` and `max_wait`. `None`: the defaults.
    fn values(self, op: &str) -> Option<(&'static str, u32, Duration, Duration)> {
        let secs = Duration::from_secs;
        let preset = match (self, kind_of(op)) {
            (Self::Worker, _) | (Self::OfKind, "worker") => ("worker", 3, secs(1), secs(10)),
            (Self::Storage, _) | (Self::OfKind, "storage") => {
                ("storage", 5, Duration::from_millis(500), secs(5))
            }
            (Self::Scheduler, _) | (Self::OfKind, "scheduler") => {
                ("scheduler", 3, secs(1), secs(8))
            }
            (Self::Api, _) | (Self::OfKind, "api") => ("api", 4, secs(1), secs(15)),
            (Self::OfKind, _) => return None,
        };
        Some(preset)
    }
}

/// Where a guarded function comes from and what it says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) preset: Preset,
    /// One attempt, no loop.
    pub(crate) once: bool,
    /// Whether the function can return a timeout: settings alone must not impose one on it.
    pub(crate) may_time_out: bool,
    pub(crate) given: Vec<Given>,
    pub(crate) at: &'static Location<'static>,
    /// The module of a function whose operation's name was made from its own.
    pub(crate) derived_in: Option<&'static str>,
}

/// The retry policy in force.
pub(crate) struct Policy {
    pub(crate) settings: RetrySettings,
    pub(crate) no_wait: bool,
    sources: Resolved<RetrySettings>,
}

/// An operation as it stands in the registry.
pub(crate) struct Core {
    pub(crate) circuit: Arc<CircuitBreaker>,
    origin: Origin,
    registry: Weak<Inner>,
    /// The time limit of an attempt in nanoseconds; the maximum stands for none. Beside the
    /// policy, because the first attempt needs it and must not lock.
    timeout: AtomicU64,
    has_deadline: AtomicBool,
    told_disabled: AtomicBool,
    policy: Mutex<Arc<Policy>>,
}

const NO_TIMEOUT: u64 = u64::MAX;

impl Core {
    pub(crate) fn new(
        circuit: Arc<CircuitBreaker>,
        origin: Origin,
        registry: Weak<Inner>,
        settings: &Settings,
    ) -> Self {
        let policy = Self::resolve(circuit.name(), &origin, settings);
        Self {
            timeout: AtomicU64::new(Self::timeout_nanos(&policy.settings)),
            has_deadline: AtomicBool::new(policy.settings.deadline.is_some()),
            told_disabled: AtomicBool::new(false),
            policy: Mutex::new(Arc::new(policy)),
            circuit,
            origin,
            registry,
        }
    }

    /// A policy of its own, outside the registry's settings.
    fn with_policy(
        circuit: Arc<CircuitBreaker>,
        settings: RetrySettings,
        at: &'static Location<'static>,
    ) -> Self {
        let origin = Origin {
            preset: Preset::OfKind,
            once: false,
            may_time_out: true,
            given: Vec::new(),
            at,
            derived_in: None,
        };
        let core = Self::new(circuit, origin, Weak::new(), &Settings::default());
        let sources = Resolved::from_one_source(
            settings.clone(),
            RetrySettings::KEYS,
            &Source::Attribute(at),
        );
        core.install(Policy { settings, no_wait: false, sources });
        core
    }

    fn resolve(op: &str, origin: &Origin, settings: &Settings) -> Policy {
        let mut sources = settings.retry(op, origin.preset.values(op), &origin.given);
        if !origin.may_time_out {
            sources.settings.timeout = None;
        }
        Policy { settings: sources.settings.clone(), no_wait: settings.no_wait, sources }
    }

    fn timeout_nanos(settings: &RetrySettings) -> u64 {
        let nanos = settings.timeout.map(|timeout| u64::try_from(timeout.as_nanos()));
        nanos.and_then(Result::ok).unwrap_or(NO_TIMEOUT)
    }

    /// New settings, in force for calls that begin, or fail for the first time, afterwards.
    /// Returns what contradicted and had to give way.
    pub(crate) fn apply(&self, settings: &Settings) -> Vec<String> {
        let policy = Self::resolve(self.circuit.name(), &self.origin, settings);
        let adjusted = policy.sources.adjusted.clone();
        self.install(policy);
        adjusted
    }

    fn install(&self, policy: Policy) {
        // Relaxed: settings, not messages; a call takes the old ones or the new ones.
        self.timeout.store(Self::timeout_nanos(&policy.settings), Ordering::Relaxed);
        self.has_deadline.store(policy.settings.deadline.is_some(), Ordering::Relaxed);
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn adjusted(&self) -> Vec<String> {
        self.policy().sources.adjusted.clone()
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        match self.timeout.load(Ordering::Relaxed) {
            NO_TIMEOUT => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    pub(crate) fn has_deadline(&self) -> bool {
        self.has_deadline.load(Ordering::Relaxed)
    }

    /// A call runs without protection: says so once, if nothing at all is protected (rule S5).
    pub(crate) fn note_disabled(&self) {
        if !self.told_disabled.load(Ordering::Relaxed) {
            self.tell_disabled();
        }
    }

    #[cold]
    fn tell_disabled(&self) {
        self.told_disabled.store(true, Ordering::Relaxed);
        if let Some(registry) = self.registry.upgrade() {
            registry.warn_if_all_disabled();
        }
    }

    pub(crate) fn snapshot(&self) -> FunctionSnapshot {
        let mut settings = self.policy().sources.values();
        settings.retain(|value| match value.key {
            "timeout" => self.origin.may_time_out,
            _ => !self.origin.once,
        });
        FunctionSnapshot { location: self.origin.at.to_string(), settings }
    }
}

/// A circuit and a retry policy, for code that no attribute can stand on.
///
/// What an attribute does for a function, this does for a closure, with the same names, settings
/// and environment variables, and, like there, the circuit is asked only where `enabled` is true.
///
/// ```
/// use bindu_cb::{CallError, Operation};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let operation = Operation::builder("storage:load").enabled(true).attempts(2).build()?;
/// let loaded = operation.call(|| async { Ok::<_, std::io::Error>(7) }).await;
/// assert!(matches!(loaded, Ok(7)));
/// # Ok::<(), bindu_cb::SettingsError>(()) }).unwrap();
/// ```
pub struct Operation {
    core: Arc<Core>,
}

impl Operation {
    /// Begins an operation of this name.
    #[track_caller]
    pub fn builder(name: impl Into<String>) -> OperationBuilder {
        OperationBuilder { name: name.into(), given: Overrides::default(), at: Location::caller() }
    }

    /// The circuit of the operation.
    pub fn circuit_breaker(&self) -> &CircuitBreaker {
        &self.core.circuit
    }

    /// Calls `f` until it succeeds or the attempts are used up; every `Err` is transient.
    ///
    /// # Errors
    ///
    /// The last attempt's own error, its timeout, or the rejection by an open circuit.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it ends, the call counts as a failure if an attempt of it had failed, else
    /// as cancelled. Its permit is free again in any case.
    pub async fn call<T, E, Fut>(&self, f: impl FnMut() -> Fut) -> Result<T, CallError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        self.call_with(f, transient_errors).await
    }

    /// As [`call`](Self::call), with `verdict` to say what each result means. A value that is a
    /// failure is retried, too; the last one is returned as it is.
    ///
    /// ```
    /// use bindu_cb::{Classify, Operation, Verdict};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let operation = Operation::builder("storage:find").enabled(true).build()?;
    /// let mut attempts = 0;
    /// let missing = || {
    ///     attempts += 1;
    ///     async { Err::<(), _>(std::io::Error::from(std::io::ErrorKind::NotFound)) }
    /// };
    /// let verdict = |result: &Result<_, std::io::Error>| match result {
    ///     Ok(()) => Verdict::Success,
    ///     Err(error) => error.classify(),
    /// };
    /// assert!(operation.call_with(missing, verdict).await.is_err());
    /// assert_eq!(attempts, 1, "a file that is not there is not looked for again");
    /// # Ok::<(), bindu_cb::SettingsError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As for [`call`](Self::call).
    pub async fn call_with<T, E, Fut>(
        &self,
        f: impl FnMut() -> Fut,
        verdict: impl Fn(&Result<T, E>) -> Verdict,
    ) -> Result<T, CallError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        run(&self.core, f, verdict).await
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation").field("circuit", &self.core.circuit).finish_non_exhaustive()
    }
}

fn transient_errors<T, E>(result: &Result<T, E>) -> Verdict {
    if result.is_ok() { Verdict::Success } else { Verdict::Transient }
}

async fn run<T, E, Fut>(
    core: &Core,
    mut f: impl FnMut() -> Fut,
    verdict: impl Fn(&Result<T, E>) -> Verdict,
) -> Result<T, CallError<E>>
where
    Fut: Future<Output = Result<T, E>>,
{
    let mut call = Call::enter(CoreRef::Borrowed(core))?;
    loop {
        let delay = match call.within(pin!(f()).as_mut()).await {
            Err(timeout) => match call.timed_out(&timeout) {
                Some(delay) => delay,
                None => return Err(CallError::Timeout(timeout)),
            },
            Ok(result) => match verdict(&result) {
                Verdict::Success => {
                    call.success();
                    return result.map_err(CallError::Inner);
                }
                verdict => match call.after_attempt(verdict.into(), Text::NONE) {
                    Some(delay) => delay,
                    None => return result.map_err(CallError::Inner),
                },
            },
        };
        call.wait(delay).await?;
    }
}

/// Runs `f` in a retry loop with exactly these settings, behind the circuit of `name`.
///
/// The circuit has the settings of the registry and is asked if it is `enabled` there.
///
/// ```
/// use bindu_cb::{RetrySettings, execute_with_retry};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let options = RetrySettings::default().attempts(2);
/// let value = execute_with_retry("api:quote", options, || async { Ok::<_, String>(42) }).await;
/// assert!(matches!(value, Ok(42)));
/// # })
/// ```
///
/// # Errors
///
/// As for [`Operation::call`]. Settings that are out of range are moved into it and logged.
///
/// # Cancel safety
///
/// As for [`Operation::call`].
#[track_caller]
pub fn execute_with_retry<T, E, Fut, F>(
    name: &str,
    options: RetrySettings,
    f: F,
) -> impl Future<Output = Result<T, CallError<E>>> + use<T, E, Fut, F>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let at = Location::caller();
    if let Err(error) = options.validate() {
        tracing::error!(operation = name, %error, "retry settings out of range");
    }
    let circuit = registry::get_circuit_breaker(name);
    async move {
        let core = Core::with_policy(circuit, options.clamped(), at);
        run(&core, f, transient_errors).await
    }
}

/// Builds an [`Operation`]. What it is given stands where an attribute's keys stand: stronger than
/// the settings of the kind and of all, weaker than those of the operation.
#[derive(Clone, Debug)]
#[must_use]
pub struct OperationBuilder {
    name: String,
    given: Overrides,
    at: &'static Location<'static>,
}

impl OperationBuilder {
    /// Takes the operation's circuit from the registry, or makes it.
    ///
    /// # Errors
    ///
    /// Names every key whose value is out of range, and an empty name.
    pub fn build(self) -> Result<Operation, SettingsError> {
        let Self { name, given, at } = self;
        let given = Given::all(&given, at);
        let mut problems: Vec<_> = given.iter().filter_map(|g| problem(g.key, g.value)).collect();
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
            may_time_out: true,
            given,
            at,
            derived_in: None,
        };
        Ok(Operation { core: registry::current().register(&name, origin) })
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
