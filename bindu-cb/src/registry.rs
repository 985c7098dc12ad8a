//! From a name to its circuit: the one global of the crate.

mod health;
#[cfg(feature = "redis")]
pub(crate) mod link;
#[cfg(feature = "otel")]
mod measured;
#[cfg(feature = "redis")]
mod share;
mod shutdown;
mod state;

use std::collections::HashSet;
use std::fmt::Display;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use crate::breaker::{CircuitBreaker, MOST_CLASSES, OTHER_CLASS, Snapshot};
use crate::event::{Listener, Listeners, Subscription};
use crate::keyed::{Keys, with_text};
use crate::name::Name;
use crate::operation::{Core, Origin, Preset};
use crate::retry::{Budget, Shutdown};
#[cfg(feature = "test-util")]
use crate::settings::Switches;
use crate::settings::{Given, RetrySettings, Settings, Subject};
pub use health::{CircuitHealth, Health};
#[cfg(feature = "redis")]
pub use share::SharedSnapshot;
use state::{Entry, Notice, State, warnings};

/// The circuits of the process, their settings and their listeners. There is one, [`registry`];
/// a test may have its own, see the feature `test-util`.
///
/// ```
/// for circuit in bindu_cb::registry().iter() {
///     println!("{}: {}", circuit.name(), circuit.state());
/// }
/// ```
#[derive(Debug)]
pub struct Registry(());

/// The registry of the process.
///
/// ```
/// let mut settings = bindu_cb::Settings::default();
/// settings.all().enabled(true);
/// bindu_cb::registry().configure(settings);
/// assert!(bindu_cb::registry().get("registry:nobody").is_none());
/// ```
pub fn registry() -> &'static Registry {
    static REGISTRY: Registry = Registry(());
    &REGISTRY
}

/// The circuit of an operation, made from the settings if it is new. The same name gives the same
/// circuit, from any thread. What the attributes of the operation's functions give it is in force
/// from their first call on, and from then on a name such as `"storage/timeout"` is that of a class of
/// their errors (the attributes' `class`), whether one of it has been seen or not.
///
/// ```
/// let circuit = bindu_cb::get_circuit_breaker("storage:docs");
/// assert!(std::sync::Arc::ptr_eq(&circuit, &bindu_cb::get_circuit_breaker("storage:docs")));
/// ```
pub fn get_circuit_breaker(name: &str) -> Arc<CircuitBreaker> {
    current().circuit(name)
}

static GLOBAL: LazyLock<Arc<Inner>> = LazyLock::new(|| Inner::new(true));

/// The registry that is in force on this thread.
pub(crate) fn current() -> Arc<Inner> {
    #[cfg(feature = "test-util")]
    if let Some(isolated) = crate::testing::isolated() {
        return isolated;
    }
    Arc::clone(&GLOBAL)
}

pub(crate) fn global() -> &'static Arc<Inner> {
    &GLOBAL
}

impl Registry {
    /// The circuit of this name, if there is one yet.
    pub fn get(&self, name: &str) -> Option<Arc<CircuitBreaker>> {
        current().read().entries.get(name).map(|entry| Arc::clone(&entry.circuit))
    }

    /// The circuit that a key has under an operation: see the attributes' `key`. `None` if it has
    /// none, or none any more.
    ///
    /// Nothing else takes a circuit's place while it is held, so do not keep many.
    ///
    /// ```
    /// use bindu_cb::{CircuitState, Operation, registry};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let fetch = Operation::builder("api:keyed-docs").enabled(true).build()?;
    /// fetch.keyed("acme").call(|| async { Ok::<_, std::io::Error>(()) }).await.unwrap();
    ///
    /// let acme = registry().get_keyed("api:keyed-docs", "acme").unwrap();
    /// acme.force_open();
    /// assert!(fetch.keyed("acme").call(|| async { Ok::<_, std::io::Error>(()) }).await.is_err());
    /// assert!(registry().remove("api:keyed-docs", "acme"));
    /// fetch.keyed("acme").call(|| async { Ok::<_, std::io::Error>(()) }).await.unwrap();
    /// # Ok::<(), bindu_cb::SettingsError>(()) }).unwrap();
    /// ```
    pub fn get_keyed(&self, name: &str, key: impl Display) -> Option<Arc<CircuitBreaker>> {
        let keys = current().keys(name)?;
        with_text(&key, |key| keys.get(key))
    }

    /// Forgets a key of an operation with its circuit, whatever state that is in: a tenant that has
    /// left, a host that is no more. Calls under way end on the old circuit; the next call of the
    /// key has a new one. False if there was none.
    pub fn remove(&self, name: &str, key: impl Display) -> bool {
        let keys = current().keys(name);
        keys.is_some_and(|keys| with_text(&key, |key| keys.remove(key)))
    }

    /// All circuits, in the order of their names; after that of an operation those of its keys.
    pub fn iter(&self) -> impl Iterator<Item = Arc<CircuitBreaker>> + use<> {
        current().circuits().into_iter()
    }

    /// All circuits as they are at this moment, each with its guarded functions; after that of an
    /// operation those of its keys. Calls go on meanwhile.
    pub fn snapshot(&self) -> Vec<Snapshot> {
        current().snapshot()
    }

    /// Closes every circuit.
    pub fn reset_all(&self) {
        self.iter().for_each(|circuit| circuit.reset());
    }

    /// Installs settings, at any time. Circuits that exist keep their state; calls that begin
    /// afterwards have the new values. These settings take the place of all earlier ones, those
    /// of the environment included: see [`Settings::with_env`].
    ///
    /// Values that are out of range are moved into it and logged as an error; call
    /// [`Settings::validate`] first to hear of them.
    pub fn configure(&self, settings: Settings) {
        current().configure(settings);
    }

    /// The settings in force: what [`configure`](Self::configure) was given, or the environment.
    pub fn settings(&self) -> Settings {
        current().settings().as_ref().clone()
    }

    /// Tells `listener` every change of state of every circuit, from now on. To end it, keep what
    /// is returned.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// static CHANGES: AtomicU32 = AtomicU32::new(0);
    ///
    /// let subscription = bindu_cb::registry().subscribe(|_: &bindu_cb::Event| {
    ///     CHANGES.fetch_add(1, Ordering::Relaxed);
    /// });
    /// bindu_cb::get_circuit_breaker("listened-to").force_open();
    /// assert_eq!(CHANGES.load(Ordering::Relaxed), 1);
    /// subscription.unsubscribe();
    /// ```
    pub fn subscribe(&self, listener: impl Listener) -> Subscription {
        current().listen(listener)
    }

    /// The environment variables that were understood and concern no operation so far: a typo in
    /// an operation's name, or one that has not been called yet.
    pub fn unmatched_variables(&self) -> Vec<String> {
        current().unmatched_variables()
    }
}

/// What is behind [`Registry`].
pub(crate) struct Inner {
    state: RwLock<State>,
    listeners: Arc<Listeners>,
    /// Whether settings come from the environment as long as nobody configures.
    reads_environment: bool,
    told_all_disabled: AtomicBool,
    shutdown: Arc<Shutdown>,
    #[cfg(feature = "redis")]
    sharing: std::sync::Mutex<Option<crate::shared::Sharing>>,
    /// Of all sharings, so that it never falls.
    #[cfg(all(feature = "redis", feature = "otel"))]
    shared_errors: std::sync::atomic::AtomicU64,
    /// For who must not keep it alive.
    this: Weak<Self>,
    #[cfg(feature = "test-util")]
    sites: std::sync::Mutex<std::collections::HashMap<usize, Arc<Core>>>,
}

impl Inner {
    pub(crate) fn new(reads_environment: bool) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            state: RwLock::default(),
            listeners: Arc::default(),
            reads_environment,
            told_all_disabled: AtomicBool::new(false),
            shutdown: Arc::default(),
            #[cfg(feature = "redis")]
            sharing: std::sync::Mutex::default(),
            #[cfg(all(feature = "redis", feature = "otel"))]
            shared_errors: std::sync::atomic::AtomicU64::default(),
            this: Weak::clone(this),
            #[cfg(feature = "test-util")]
            sites: std::sync::Mutex::default(),
        })
    }

    pub(crate) fn downgrade(&self) -> Weak<Self> {
        Weak::clone(&self.this)
    }

    pub(crate) fn listen(&self, listener: impl Listener) -> Subscription {
        self.listeners.add(listener)
    }

    pub(crate) fn shutdown(&self) -> Arc<Shutdown> {
        Arc::clone(&self.shutdown)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then logs what the change has brought to light.
    fn write<T>(&self, change: impl FnOnce(&mut State, &mut Vec<Notice>) -> T) -> T {
        let mut notices = Vec::new();
        let mut state: RwLockWriteGuard<'_, State> =
            self.state.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state, &mut notices);
        notices.retain(|notice| match notice {
            Notice::Warning(text) => state.told.insert(text.clone()),
            Notice::Unusable(_) => true,
        });
        #[cfg(feature = "redis")]
        let untold = state.linked.take_untold();
        #[cfg(feature = "redis")]
        let sharing = state.sharing_has_changed().then(|| state.shared.clone());
        drop(state);
        // Before the log, which may panic.
        #[cfg(feature = "redis")]
        if let Some(untold) = untold {
            untold.tell();
        }
        #[cfg(feature = "redis")]
        if let Some(settings) = sharing {
            self.share_as(settings);
        }
        for notice in notices {
            match notice {
                Notice::Warning(text) => tracing::warn!("{text}"),
                Notice::Unusable(problem) => tracing::error!(
                    variable = problem.name(),
                    value = problem.value(),
                    expected = problem.advice(),
                    "circuit breaker setting cannot be used; its default is in force"
                ),
            }
        }
        result
    }

    pub(crate) fn circuit(&self, name: &str) -> Arc<CircuitBreaker> {
        self.make_class(name);
        self.shared(name).0
    }

    /// The circuit of a class that is known by its name alone, if `name` is such a one: of an
    /// operation that is here, with a function whose errors have classes. Where there is one too
    /// many of them already it is left to be.
    pub(crate) fn make_class(&self, name: &str) {
        let class = self.read().class_to_make(name);
        if let Some((operation, label)) = class {
            self.circuit_of_class(&operation, Name::intern(label).as_str());
        }
    }

    /// What the functions of an operation have in common.
    fn shared(&self, name: &str) -> (Arc<CircuitBreaker>, Arc<Budget>, Arc<Keys>) {
        if let Some(entry) = self.read().entries.get(name) {
            return entry.shared();
        }
        self.write(|state, notices| self.entry(state, name, notices).shared())
    }

    /// A function that is called once and listed nowhere.
    #[track_caller]
    pub(crate) fn unlisted(&self, name: &str, options: &RetrySettings) -> Arc<Core> {
        let origin = Origin {
            preset: Preset::OfKind,
            once: false,
            name: None,
            may_time_out: true,
            given: Given::of(options, Location::caller()),
            at: Location::caller(),
            derived_in: None,
            has_classes: false,
        };
        let shared = self.shared(name);
        Arc::new(Core::new(shared, origin, self, &self.settings()))
    }

    /// A guarded function, with its circuit.
    pub(crate) fn register(&self, name: &str, origin: Origin) -> Arc<Core> {
        self.write(|state, notices| {
            let settings = self.ensure_settings(state, notices);
            let entry = self.entry(state, name, notices);
            entry.note_derived(&origin, notices);
            let shared = entry.shared();
            if entry.merge(&origin.given, notices) {
                entry.apply(&settings, notices);
                state.apply_to_classes_of(name, &settings, notices);
            }
            let entry = self.entry(state, name, notices);
            let core = Arc::new(Core::new(shared, origin, self, &settings));
            notices.extend(warnings(name, &core.adjusted()));
            entry.functions.retain(|function| function.strong_count() > 0);
            entry.functions.push(Arc::downgrade(&core));
            #[cfg(feature = "redis")]
            if core.has_classes() {
                state.linked.note_classes(&core.circuit);
            }
            core
        })
    }

    /// The circuit of a class of an operation's errors. An ordinary one but for what it has from
    /// its operation: the attributes' settings, and calls that ask both.
    pub(crate) fn circuit_of_class(
        &self,
        operation: &Arc<CircuitBreaker>,
        label: &'static str,
    ) -> Arc<CircuitBreaker> {
        self.write(|state, notices| {
            // Another call may have come first.
            if let Some(class) = operation.class(label) {
                return Arc::clone(class);
            }
            let settings = self.ensure_settings(state, notices);
            let op = operation.name();
            let is_one_too_many = operation.has_most_classes();
            let label = if is_one_too_many { OTHER_CLASS } else { label };
            if is_one_too_many {
                notices.push(Notice::Warning(format!(
                    "the errors of {op:?} have more than {MOST_CLASSES} classes: all further ones \
                     count as \"{OTHER_CLASS}\""
                )));
            }
            let given = state.entries.get(op).map(|entry| entry.given.clone()).unwrap_or_default();
            let name = format!("{op}/{label}");
            let class = Subject { name: &name, class_of: Some(op) };
            let entry = self.entry_of(state, class, notices);
            entry.class_of = Some(op);
            entry.merge(&given, notices);
            entry.apply(&settings, notices);
            operation.adopt(label, &entry.circuit);
            Arc::clone(&entry.circuit)
        })
    }

    fn entry<'s>(
        &self,
        state: &'s mut State,
        name: &str,
        notices: &mut Vec<Notice>,
    ) -> &'s mut Entry {
        self.entry_of(state, Subject::operation(name), notices)
    }

    fn entry_of<'s>(
        &self,
        state: &'s mut State,
        subject: Subject<'_>,
        notices: &mut Vec<Notice>,
    ) -> &'s mut Entry {
        let settings = self.ensure_settings(state, notices);
        if !state.entries.contains_key(subject.name) {
            notices.extend(state.shared_variables(&settings, subject));
        }
        let name = Name::intern(subject.name);
        state.entries.entry(name.as_str()).or_insert_with(|| {
            let resolved = settings.circuit(subject, &[]);
            notices.extend(warnings(name.as_str(), &resolved.adjusted));
            let listeners = Arc::clone(&self.listeners);
            let circuit = Arc::new(CircuitBreaker::with_listeners(name, resolved, listeners));
            #[cfg(feature = "redis")]
            state.linked.note(&circuit);
            Entry {
                keys: Arc::new(Keys::new(Arc::clone(&circuit))),
                circuit,
                budget: Arc::default(),
                given: Vec::new(),
                functions: Vec::new(),
                derived_in: None,
                class_of: None,
            }
        })
    }

    fn ensure_settings(&self, state: &mut State, notices: &mut Vec<Notice>) -> Arc<Settings> {
        let settings = state.settings.get_or_insert_with(|| {
            if !self.reads_environment {
                return Arc::default();
            }
            let (settings, problems) =
                Settings::default().with_usable_variables(std::env::vars_os());
            notices.extend(problems.into_iter().map(Notice::Unusable));
            #[cfg(not(feature = "redis"))]
            notices.extend(settings.warning().map(Notice::Warning));
            Arc::new(settings)
        });
        Arc::clone(settings)
    }

    fn settings(&self) -> Arc<Settings> {
        if let Some(settings) = &self.read().settings {
            return Arc::clone(settings);
        }
        self.write(|state, notices| self.ensure_settings(state, notices))
    }

    fn configure(&self, mut settings: Settings) {
        self.write(|state, notices| {
            notices.extend(settings.problems().into_iter().map(Notice::Unusable));
            #[cfg(not(feature = "redis"))]
            notices.extend(settings.warning().map(Notice::Warning));
            if let Some(before) = &state.settings {
                settings.switches = before.switches.clone();
            }
            state.install(settings, notices);
        });
    }

    /// Changes what a test forces.
    #[cfg(feature = "test-util")]
    pub(crate) fn switch(&self, change: impl FnOnce(&mut Switches)) {
        self.write(|state, notices| {
            let mut settings = self.ensure_settings(state, notices).as_ref().clone();
            change(&mut settings.switches);
            state.install(settings, notices);
        });
    }

    /// The function of an attribute, registered once.
    #[cfg(feature = "test-util")]
    pub(crate) fn core_of_site(
        &self,
        site: usize,
        register: impl FnOnce() -> Arc<Core>,
    ) -> Arc<Core> {
        let known = self.sites.lock().unwrap_or_else(PoisonError::into_inner).get(&site).cloned();
        known.unwrap_or_else(|| {
            let core = register();
            let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(sites.entry(site).or_insert(core))
        })
    }

    fn keys(&self, name: &str) -> Option<Arc<Keys>> {
        self.read().entries.get(name).map(|entry| Arc::clone(&entry.keys))
    }

    fn circuits(&self) -> Vec<Arc<CircuitBreaker>> {
        let entries: Vec<_> = self.read().entries.values().map(Entry::shared).collect();
        let with_keys =
            |(circuit, _, keys): (_, _, Arc<Keys>)| std::iter::once(circuit).chain(keys.circuits());
        entries.into_iter().flat_map(with_keys).collect()
    }

    pub(crate) fn snapshot(&self) -> Vec<Snapshot> {
        // Taken out first: the first call of a function waits for this lock.
        let entries: Vec<_> = self
            .read()
            .entries
            .values()
            .map(|entry| (entry.shared(), entry.functions.clone()))
            .collect();
        let mut all = Vec::with_capacity(entries.len());
        for ((circuit, budget, keys), functions) in entries {
            let functions: Vec<_> = functions.iter().filter_map(Weak::upgrade).collect();
            let has_budget = functions.iter().any(|function| function.has_budget());
            all.push(Snapshot {
                // Who asked may be listed nowhere, or gone.
                retry_budget: (has_budget || budget.was_asked()).then(|| budget.snapshot()),
                functions: functions.iter().map(|function| function.snapshot()).collect(),
                ..circuit.snapshot()
            });
            all.extend(keys.circuits().iter().map(|circuit| circuit.figures().0));
        }
        all
    }

    fn unmatched_variables(&self) -> Vec<String> {
        let settings = self.settings();
        let mut scopes: HashSet<String> = self
            .read()
            .entries
            .values()
            .map(Entry::subject)
            .flat_map(|subject| [subject.scope(), subject.kind_scope()])
            .collect();
        if !scopes.is_empty() {
            // The variables of all operations are read by any.
            scopes.insert(String::new());
        }
        settings.variables_outside(|scope| scopes.contains(scope))
    }

    pub(crate) fn warn_if_all_disabled(&self) {
        // Relaxed: of two that come at once the swap lets one through.
        if self.told_all_disabled.load(Ordering::Relaxed)
            || self.read().entries.values().any(|entry| entry.circuit.is_enabled())
            || self.told_all_disabled.swap(true, Ordering::Relaxed)
        {
            return;
        }
        tracing::warn!(
            "circuit breaking is off: guarded functions only retry. \
             Turn it on with BINDU_CB_ENABLED=true, `enabled = true` on the attribute, \
             or Settings::all().enabled(true)"
        );
    }
}

#[cfg(all(test, not(feature = "redis"), not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_server_to_share_through_is_not_passed_over_in_silence() {
        let told = |variables: &[(&str, &str)]| {
            let registry = Inner::new(false);
            let settings = Settings::default().with_variables(variables.iter().copied());
            registry.configure(settings.unwrap());
            registry.read().told.iter().cloned().collect::<Vec<_>>()
        };
        let told_of_url = told(&[("BINDU_CB_SHARED_URL", "redis://user:secret@h")]);
        let text =
            "BINDU_CB_SHARED_URL needs the feature `redis` of bindu-cb: circuits are not shared";
        assert_eq!(told_of_url, [text]);
        for nothing in [("BINDU_CB_SHARED_URL", " "), ("BINDU_CB_SHARED_QUORUM", "2")] {
            assert!(told(&[nothing]).is_empty());
        }
        let variables = [("BINDU_CB_SHARED_URL", "redis://h")];
        let shared = Settings::default().with_variables(variables).unwrap();
        let anew = shared.with_variables([("BINDU_CB_ENABLED", "true")]).unwrap();
        assert_eq!(anew.warning(), None, "in place of the variables before");
    }
}
