//! What the crate promises, rule by rule, each group in a file of its own.

mod support;

mod adaptive;
mod async_safety;
mod cancellation;
mod classes;
mod closed_to_open;
mod config_loading;
mod disabled_mode;
mod dropped_after_a_failed_attempt;
mod extremes;
mod half_open_to_closed;
mod half_open_to_open;
mod health;
mod isolation;
mod keyed;
mod loop_hears_the_trip;
mod mut_arguments;
mod nested_loops;
mod nested_rejection;
mod open_blocks;
mod open_to_half_open;
mod panics;
mod peer_defects;
mod probe_lease;
mod ramp_up;
mod retry_budget;
mod retry_integration;
mod send_and_shapes;
mod shutdown;
mod stale_outcomes;
mod verdicts;
mod windows;
