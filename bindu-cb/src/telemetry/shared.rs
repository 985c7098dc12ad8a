//! How the sharing of circuits stands.

use opentelemetry::metrics::Meter;

use super::{WeakMeasuring, measure};

pub(super) fn install(meter: &Meter, measured: impl Fn() -> WeakMeasuring) {
    let measuring = measured();
    meter
        .u64_observable_gauge("circuit_breaker.shared.connected")
        .with_description("1 while the server of the shared circuits answers, else 0")
        .with_callback(move |observer| {
            measure(&measuring, |registry, _| {
                if let Some(shared) = registry.shared_snapshot() {
                    observer.observe(u64::from(shared.connected), &[]);
                }
            });
        })
        .build();
    let measuring = measured();
    meter
        .u64_observable_counter("circuit_breaker.shared.errors")
        .with_unit("{error}")
        .with_description(
            "Commands to the server of the shared circuits, and connections, that failed",
        )
        .with_callback(move |observer| {
            measure(&measuring, |registry, _| {
                // Also when circuits are no longer shared: of a counter that is gone for a while the
                // whole is a delta again.
                let errors = registry.shared_errors();
                if errors > 0 || registry.is_shared() {
                    observer.observe(errors, &[]);
                }
            });
        })
        .build();
}
