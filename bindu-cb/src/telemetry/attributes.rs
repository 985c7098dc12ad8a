//! The names of attributes, and what stands behind them.

use opentelemetry::KeyValue;

use crate::breaker::{CallCounts, CircuitBreaker, CircuitState, Outcome};

pub(super) const NAME: &str = "circuit_breaker.name";
pub(super) const KEY: &str = "circuit_breaker.key";
pub(super) const STATE: &str = "circuit_breaker.state";
pub(super) const SCOPE: &str = "circuit_breaker.scope";
pub(super) const OUTCOME: &str = "circuit_breaker.outcome";
pub(super) const FROM: &str = "from";
pub(super) const TO: &str = "to";
pub(super) const CAUSE: &str = "cause";
pub(super) const RESULT: &str = "result";
pub(super) const REASON: &str = "reason";

pub(super) const STATES: [CircuitState; 5] = [
    CircuitState::Closed,
    CircuitState::Open,
    CircuitState::HalfOpen,
    CircuitState::ForcedOpen,
    CircuitState::ForcedClosed,
];

pub(super) fn name_of(circuit: &CircuitBreaker) -> KeyValue {
    KeyValue::new(NAME, circuit.name())
}

pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Failure => "failure",
        Outcome::Ignored => "ignored",
        Outcome::Cancelled => "cancelled",
        Outcome::Rejected => "rejected",
        Outcome::Stale => "stale",
    }
}

pub(super) fn by_outcome(calls: CallCounts) -> [(Outcome, u64); 6] {
    let CallCounts { success, failure, ignored, cancelled, rejected, stale } = calls;
    [
        (Outcome::Success, success),
        (Outcome::Failure, failure),
        (Outcome::Ignored, ignored),
        (Outcome::Cancelled, cancelled),
        (Outcome::Rejected, rejected),
        (Outcome::Stale, stale),
    ]
}
