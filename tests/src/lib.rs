//! The code in the documents, compiled and run as doc tests.

#[doc = include_str!("../../README.md")]
pub struct Readme;

#[doc = include_str!("../../docs/CIRCUIT_BREAKER.md")]
pub struct Guide;

#[doc = include_str!("../../docs/ADAPTIVE.md")]
pub struct Adaptive;

#[doc = include_str!("../../docs/SHARED.md")]
pub struct Shared;

#[doc = include_str!("../../docs/telemetry/README.md")]
pub struct Telemetry;

#[doc = include_str!("../../docs/DASHBOARD.md")]
pub struct Dashboard;

#[doc = include_str!("../../docs/COMPATIBILITY.md")]
pub struct Compatibility;

#[doc = include_str!("../../docs/OUTAGES.md")]
pub struct Outages;
