//! Metrics of all circuits, through the OpenTelemetry API (feature `otel`).
//!
//! One call installs them, and dropping what it returns ends them. SDK and exporter are the
//! application's. Where there is none, nothing is measured: a meter of `opentelemetry::global` is for
//! good that of the provider that was set when it was asked for, or of none.
//!
//! ```
//! let meter = opentelemetry::global::meter("bindu-cb");
//! let telemetry = bindu_cb::telemetry::install(&meter);
//! // Kept for as long as there are to be metrics; in a service, to the end of `main`.
//! drop(telemetry);
//! ```
//!
//! # Metrics
//!
//! | metric | kind, unit | attributes |
//! | --- | --- | --- |
//! | `circuit_breaker.state` | gauge | `circuit_breaker.state` = closed, open, `half_open`, `forced_open`, `forced_closed`; `circuit_breaker.scope` = local, shared |
//! | `circuit_breaker.calls` | counter, `{call}` | `circuit_breaker.outcome` = success, failure, ignored, cancelled, rejected, stale |
//! | `circuit_breaker.transitions` | counter, `{transition}` | `from`, `to`: states; `cause` = local, remote, probe, manual |
//! | `circuit_breaker.probes` | counter, `{probe}` | `result` = success, failure, ignored, cancelled, stale |
//! | `circuit_breaker.retries` | counter, `{retry}` | `reason` = error, throttled, `timed_out`, `failed_value` |
//! | `circuit_breaker.retries.refused` | counter, `{retry}` | |
//! | `circuit_breaker.attempt.duration` | histogram, s | `circuit_breaker.outcome` = success, failure, ignored, cancelled |
//! | `circuit_breaker.shared.connected` | gauge | |
//! | `circuit_breaker.shared.errors` | counter, `{error}` | |
//! | `circuit_breaker.shared.sync.duration` | histogram, s | |
//! | `circuit_breaker.shared.propagation.delay` | histogram, s | |
//!
//! All have the attribute `circuit_breaker.name` but the `shared` ones, which are about the process;
//! of those the delay has it. Gauges are 0 or 1: of the states of a circuit exactly one is 1.
//!
//! - The **shared** state is the fleet's, as this process knows it; there is none while the server is
//!   not reached. The `shared` metrics need the feature `redis`, and are there while circuits are shared.
//! - The circuits of **keys** are not in the metrics, but their calls and retries are among those of
//!   their operation, also when a circuit has been forgotten. [`TelemetryBuilder::keys`] adds their
//!   states.
//! - A **class** of errors has a circuit, and so a name, of its own: `storage/timeout`. A call that it
//!   rejects is among its calls alone. Retries are those of the operation.
//! - **Counters** begin with the circuit, and not with the installation; those whose values are known
//!   beforehand begin at zero, so that the first event is seen as an increase. Who has the SDK tell
//!   deltas is told first all that was before.
//! - **Retries** are counted when one is decided on. One that the circuit's opening cuts off while it
//!   waits is among them.
//! - The **duration of attempts** is measured if [asked for](TelemetryBuilder::attempt_durations). It is
//!   that of the attempts of guarded functions and of [`Operation`](crate::Operation)s whose circuit is
//!   on, from the beginning of the call or the end of the wait to the attempt's own end.
//! - The **delay** is the time from a change of a shared circuit, by the server's clock, until this
//!   process has heard of it. It is exact to a few milliseconds, since that is what is known of the
//!   server's clock.
//!
//! # Cost
//!
//! All but the durations is read off what the circuits keep anyway, when somebody collects. For the
//! durations a success costs one test of a bit, also while nobody has asked for them.

mod attributes;
mod circuits;
mod durations;
mod retries;
#[cfg(feature = "redis")]
mod shared;

use std::fmt;
use std::sync::{Arc, Weak};

use opentelemetry::metrics::Meter;

use crate::registry::{self, Inner};
use crate::watch::Watcher;
use durations::Durations;

/// From now on the circuits of the registry are measured by `meter`, until what is returned is dropped.
///
/// As [`Telemetry::builder`] without options.
///
/// ```
/// use opentelemetry::metrics::MeterProvider as _;
/// use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
///
/// let exporter = InMemoryMetricExporter::default();
/// let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
/// let telemetry = bindu_cb::telemetry::install(&provider.meter("bindu-cb"));
///
/// bindu_cb::get_circuit_breaker("measured");
/// provider.force_flush().unwrap();
/// let exported = exporter.get_finished_metrics().unwrap();
/// let names = exported[0].scope_metrics().flat_map(|scope| scope.metrics()).map(|m| m.name());
/// assert!(names.into_iter().any(|name| name == "circuit_breaker.state"));
/// # drop(telemetry);
/// ```
pub fn install(meter: &Meter) -> Telemetry {
    Telemetry::builder().install(meter)
}

/// The metrics of a registry's circuits, for as long as this is kept.
///
/// Dropped, it ends them: nothing is observed any more, by any of its instruments. The instruments
/// themselves stay with the meter, since OpenTelemetry has no way to take them off; they hold nothing of
/// the circuits.
///
/// Several may be there at a time, each with a meter of its own. Two at a time with one meter record every
/// duration twice. (What they observe is the same, and of that the SDK keeps the last.) One after the
/// other is fine; but an SDK that tells deltas, and has collected in between, begins over, with all that
/// was counted before.
///
/// ```
/// use bindu_cb::telemetry::{Telemetry, install};
///
/// struct Service {
///     telemetry: Telemetry,
/// }
///
/// let service = Service { telemetry: install(&opentelemetry::global::meter("service")) };
/// # drop(service.telemetry);
/// ```
#[must_use = "the metrics end as soon as this is dropped"]
pub struct Telemetry {
    measuring: Arc<Measuring>,
    watcher: Arc<dyn Watcher>,
}

/// What is to be measured besides what always is.
///
/// ```
/// use bindu_cb::telemetry::Telemetry;
///
/// let meter = opentelemetry::global::meter("bindu-cb");
/// let telemetry = Telemetry::builder().attempt_durations(true).install(&meter);
/// # drop(telemetry);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is measured until `install`"]
pub struct TelemetryBuilder {
    attempt_durations: bool,
    keys: bool,
}

/// What the callbacks have of an installation: a weak reference, and through this one another, to the
/// registry. Either may be gone when they are called.
pub(crate) struct Measuring {
    registry: Weak<Inner>,
    keys: bool,
}

type WeakMeasuring = Weak<Measuring>;

/// Calls `f` with what there is to measure, if there still is.
fn measure(measuring: &WeakMeasuring, f: impl FnOnce(&Inner, &Measuring)) {
    if let Some(measuring) = measuring.upgrade()
        && let Some(registry) = measuring.registry.upgrade()
    {
        f(&registry, &measuring);
    }
}

impl Telemetry {
    /// For more than [`install`] measures.
    pub fn builder() -> TelemetryBuilder {
        TelemetryBuilder::default()
    }
}

impl TelemetryBuilder {
    /// Whether to measure how long attempts take: `circuit_breaker.attempt.duration`. By default not,
    /// since a success then reads the clock twice and writes into the histogram.
    ///
    /// It is in force for calls that begin afterwards.
    pub fn attempt_durations(mut self, measured: bool) -> Self {
        self.attempt_durations = measured;
        self
    }

    /// Whether `circuit_breaker.state` has the states of the circuits of keys, too, with the attribute
    /// `circuit_breaker.key`. By default not: of each key there are five, and keys are the callers'.
    /// SDKs have a limit of attribute sets; that of the Rust one is 2,000 an instrument unless a view
    /// sets another.
    ///
    /// Keys that are longer than 128 bytes are cut, and those that begin alike are one here.
    ///
    /// There is no such thing for calls: the circuit of a key is forgotten when it is idle, and a counter
    /// must not fall.
    pub fn keys(mut self, keys: bool) -> Self {
        self.keys = keys;
        self
    }

    /// From now on the circuits of the registry are measured by `meter`, until what is returned is
    /// dropped.
    pub fn install(self, meter: &Meter) -> Telemetry {
        let registry = registry::current();
        let measuring = Arc::new(Measuring { registry: registry.downgrade(), keys: self.keys });
        let measured = || Arc::downgrade(&measuring);
        circuits::install(meter, measured);
        retries::install(meter, measured);
        #[cfg(feature = "redis")]
        shared::install(meter, measured);
        let watcher: Arc<dyn Watcher> = Arc::new(Durations::new(meter, self.attempt_durations));
        registry.watch(Arc::clone(&watcher));
        Telemetry { measuring, watcher }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(registry) = self.measuring.registry.upgrade() {
            registry.unwatch(&self.watcher);
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}
