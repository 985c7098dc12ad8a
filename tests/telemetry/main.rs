//! The metrics of the feature `otel`.

mod attempts;
mod circuits;
mod installation;
mod keys;
mod layers;
mod otlp;
mod retries;
mod rules;
mod shared;
mod support;
