//! The page for whoever is on call, `docs/OUTAGES.md`, held to what is logged: each of its log
//! lines is the output of a run here, as `tracing_subscriber::fmt` prints it.

mod by_hand;
mod calls;
mod page;
mod servers;
mod settings;
mod states;
mod support;
