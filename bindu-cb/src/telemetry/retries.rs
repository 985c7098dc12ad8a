//! What the loops have done.

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::attributes::{REASON, name_of};
use super::{WeakMeasuring, measure};
use crate::retry::Reason;

pub(super) fn install(meter: &Meter, measured: impl Fn() -> WeakMeasuring) {
    let measuring = measured();
    meter
        .u64_observable_counter("circuit_breaker.retries")
        .with_unit("{retry}")
        .with_description("Retries that were decided on, by what the attempt before had come to")
        .with_callback(move |observer| {
            measure(&measuring, |registry, _| {
                for operation in registry.measured().iter().filter(|of| of.has_retries()) {
                    let name = name_of(&operation.circuit);
                    for reason in Reason::ALL {
                        let attributes = [name.clone(), KeyValue::new(REASON, reason.as_str())];
                        observer.observe(operation.budget.reasons.of(reason), &attributes);
                    }
                }
            });
        })
        .build();
    let measuring = measured();
    meter
        .u64_observable_counter("circuit_breaker.retries.refused")
        .with_unit("{retry}")
        .with_description("Retries that were not made because the retry budget was used up")
        .with_callback(move |observer| {
            measure(&measuring, |registry, _| {
                for operation in registry.measured() {
                    if let Some(budget) = operation.retry_budget() {
                        observer.observe(budget.refused, &[name_of(&operation.circuit)]);
                    }
                }
            });
        })
        .build();
}
