//! `bindu_cb::tower`: an operation around any service.

mod support;

mod attempts;
mod cancellation;
mod circuit;
mod readiness;
mod requests;
mod shapes;
mod shutdown;
mod stacks;
