//! What takes its time, told as it happens.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use super::attributes::{NAME, OUTCOME, outcome};
use crate::breaker::Outcome;
use crate::watch::Watcher;

/// In seconds, those of OpenTelemetry's conventions for the durations of requests, and finer below.
const OF_ATTEMPTS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// In seconds. On loopback an exchange takes a tenth of a millisecond, and none takes longer than 0.3.
#[cfg(feature = "redis")]
const OF_EXCHANGES: [f64; 11] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25];
/// In seconds. A push takes a millisecond, a look at the changes comes every half second.
#[cfg(feature = "redis")]
const OF_DELAYS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

pub(super) struct Durations {
    attempts: Option<Histogram<f64>>,
    #[cfg(feature = "redis")]
    exchanges: Histogram<f64>,
    #[cfg(feature = "redis")]
    delays: Histogram<f64>,
}

impl Durations {
    pub(super) fn new(meter: &Meter, with_attempts: bool) -> Self {
        let histogram = |name: &'static str, of: &'static str, boundaries: &[f64]| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(of)
                .with_boundaries(boundaries.to_vec())
                .build()
        };
        Self {
            attempts: with_attempts.then(|| {
                histogram(
                    "circuit_breaker.attempt.duration",
                    "How long attempts took, by what they were to their circuit",
                    &OF_ATTEMPTS,
                )
            }),
            #[cfg(feature = "redis")]
            exchanges: histogram(
                "circuit_breaker.shared.sync.duration",
                "How long the server of the shared circuits took to answer a command, or to fail",
                &OF_EXCHANGES,
            ),
            #[cfg(feature = "redis")]
            delays: histogram(
                "circuit_breaker.shared.propagation.delay",
                "How long after a change of a shared circuit this process has heard of it",
                &OF_DELAYS,
            ),
        }
    }
}

impl Watcher for Durations {
    fn attempt(&self, operation: &'static str, of: Outcome, took: Duration) {
        if let Some(histogram) = &self.attempts {
            let attributes = [KeyValue::new(NAME, operation), KeyValue::new(OUTCOME, outcome(of))];
            histogram.record(took.as_secs_f64(), &attributes);
        }
    }

    #[cfg(feature = "redis")]
    fn exchange(&self, took: Duration) {
        self.exchanges.record(took.as_secs_f64(), &[]);
    }

    #[cfg(feature = "redis")]
    fn propagation(&self, operation: &str, took: Duration) {
        let name = KeyValue::new(NAME, operation.to_owned());
        self.delays.record(took.as_secs_f64(), &[name]);
    }

    fn wants_attempts(&self) -> bool {
        self.attempts.is_some()
    }
}
