//! `Fleet`, on a real server, beside processes that share their circuits.

mod orders;
mod refusals;
mod support;
mod views;
