//! What somebody, or a function of the application's, did to a circuit.

use bindu_cb::{Event, get_circuit_breaker, registry};

use crate::page;
use crate::support::begin;

#[tokio::test(start_paused = true)]
async fn a_circuit_was_forced_and_is_reset() {
    let (_cb, log) = begin();
    let circuit = get_circuit_breaker("storage:save");
    circuit.force_open();
    circuit.reset();
    page::shows("forced", &log.take());
    circuit.force_closed();
    circuit.reset();
    page::shows("forced-closed", &log.take());
}

#[tokio::test(start_paused = true)]
async fn a_listener_panics() {
    let (_cb, log) = begin();
    registry().subscribe(|_: &Event| std::panic::panic_any("the pager is out of order"));
    get_circuit_breaker("storage:save").force_closed();
    page::shows("listener-panics", &log.take());
}
