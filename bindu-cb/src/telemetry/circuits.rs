//! What the circuits are and have done.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use super::attributes::{
    CAUSE, FROM, KEY, OUTCOME, RESULT, SCOPE, STATE, STATES, TO, by_outcome, name_of, outcome,
};
use super::{WeakMeasuring, measure};
use crate::breaker::{CircuitBreaker, CircuitState, Outcome, Transition};
use crate::event::Cause;

/// A circuit's way through an outage. Those are observed also where they have not happened yet: of a
/// counter that begins with its first event nobody sees that one as an increase.
const USUAL: [Transition; 4] = {
    use CircuitState::{Closed, HalfOpen, Open};
    [
        Transition { from: Closed, to: Open, cause: Cause::Local },
        Transition { from: Open, to: HalfOpen, cause: Cause::Local },
        Transition { from: HalfOpen, to: Closed, cause: Cause::Probe },
        Transition { from: HalfOpen, to: Open, cause: Cause::Probe },
    ]
};

/// What an outage brings to a circuit besides, where another process has seen it first.
#[cfg(feature = "redis")]
const USUAL_IN_A_FLEET: [Transition; 2] = {
    use CircuitState::{Closed, Open};
    [
        Transition { from: Closed, to: Open, cause: Cause::Remote },
        Transition { from: Open, to: Closed, cause: Cause::Remote },
    ]
};

/// What can become of a probe.
const RESULTS: [Outcome; 5] =
    [Outcome::Success, Outcome::Failure, Outcome::Ignored, Outcome::Cancelled, Outcome::Stale];

pub(super) fn install(meter: &Meter, measured: impl Fn() -> WeakMeasuring) {
    let measuring = measured();
    meter
        .u64_observable_gauge("circuit_breaker.state")
        .with_description("1 for the state that the circuit is in, 0 for the others")
        .with_callback(move |observer| observe_states(&measuring, observer))
        .build();
    let measuring = measured();
    meter
        .u64_observable_counter("circuit_breaker.calls")
        .with_unit("{call}")
        .with_description("Calls by what they were to their circuit")
        .with_callback(move |observer| observe_calls(&measuring, observer))
        .build();
    let measuring = measured();
    meter
        .u64_observable_counter("circuit_breaker.transitions")
        .with_unit("{transition}")
        .with_description("Changes of a circuit's state")
        .with_callback(move |observer| observe_transitions(&measuring, observer))
        .build();
    let measuring = measured();
    meter
        .u64_observable_counter("circuit_breaker.probes")
        .with_unit("{probe}")
        .with_description("Calls let through by a half-open circuit that have ended")
        .with_callback(move |observer| observe_probes(&measuring, observer))
        .build();
}

fn observe_states(measuring: &WeakMeasuring, observer: &dyn AsyncInstrument<u64>) {
    measure(measuring, |registry, options| {
        for operation in registry.measured() {
            let circuit = &operation.circuit;
            observe_state(observer, &[name_of(circuit)], "local", circuit.state());
            if options.keys {
                for keyed in operation.circuits_of_keys() {
                    observe_state(observer, &of_key(&keyed), "local", keyed.state());
                }
            }
        }
        #[cfg(feature = "redis")]
        for (name, state) in registry.states_of_fleet() {
            let name = KeyValue::new(super::attributes::NAME, name);
            observe_state(observer, &[name], "shared", state);
        }
    });
}

fn of_key(circuit: &CircuitBreaker) -> [KeyValue; 2] {
    let key = circuit.key().unwrap_or_default().to_owned();
    [name_of(circuit), KeyValue::new(KEY, key)]
}

fn observe_state(
    observer: &dyn AsyncInstrument<u64>,
    circuit: &[KeyValue],
    scope: &'static str,
    state: CircuitState,
) {
    for of in STATES {
        let mut attributes = circuit.to_vec();
        attributes.push(KeyValue::new(STATE, of.as_str()));
        attributes.push(KeyValue::new(SCOPE, scope));
        observer.observe(u64::from(of == state), &attributes);
    }
}

fn observe_calls(measuring: &WeakMeasuring, observer: &dyn AsyncInstrument<u64>) {
    measure(measuring, |registry, _| {
        for operation in registry.measured() {
            let name = name_of(&operation.circuit);
            for (of, calls) in by_outcome(operation.calls()) {
                observer.observe(calls, &[name.clone(), KeyValue::new(OUTCOME, outcome(of))]);
            }
        }
    });
}

fn observe_transitions(measuring: &WeakMeasuring, observer: &dyn AsyncInstrument<u64>) {
    measure(measuring, |registry, _| {
        let usual = USUAL.iter();
        #[cfg(feature = "redis")]
        let usual = usual.chain(USUAL_IN_A_FLEET.iter().filter(|_| registry.is_shared()));
        let usual: Vec<_> = usual.collect();
        for operation in registry.measured() {
            let name = name_of(&operation.circuit);
            let happened = operation.circuit.transitions();
            let has_happened = |of: &Transition| happened.iter().any(|(known, _)| known == of);
            let not_yet = usual.iter().filter(|usual| !has_happened(usual));
            for (transition, count) in not_yet.map(|of| (**of, 0)).chain(happened.iter().copied()) {
                let Transition { from, to, cause } = transition;
                let attributes = [
                    name.clone(),
                    KeyValue::new(FROM, from.as_str()),
                    KeyValue::new(TO, to.as_str()),
                    KeyValue::new(CAUSE, cause.as_str()),
                ];
                observer.observe(count, &attributes);
            }
        }
    });
}

fn observe_probes(measuring: &WeakMeasuring, observer: &dyn AsyncInstrument<u64>) {
    measure(measuring, |registry, _| {
        for operation in registry.measured() {
            let name = name_of(&operation.circuit);
            for result in RESULTS {
                let attributes = [name.clone(), KeyValue::new(RESULT, outcome(result))];
                observer.observe(operation.circuit.probes(result), &attributes);
            }
        }
    });
}
