//! Retrying without retry storms.
#![doc = ""]
#![forbid(unsafe_code)]

mod breaker;
mod error;
mod event;
mod name;
mod operation;
mod private;
mod random;
mod registry;
mod retry;
mod settings;
#[cfg(feature = "test-util")]
pub mod testing;

#[doc(hidden)]
pub mod __private {
    pub use crate::private::*;
}

#[cfg(feature = "macros")]
pub use bindu_cb_macros::{
    retry_api_call, retry_scheduler_operation, retry_storage_operation, retry_with_breaker,
    retry_worker_operation, with_circuit_breaker,
};

pub use breaker::{CallCounts, CircuitBreaker, CircuitState, FunctionSnapshot, Permit, Snapshot};
pub use error::{
    AttemptTimeoutError, CallError, CircuitBreakerOpenError, OpenCause, OpenReason, SettingProblem,
    SettingsError,
};
pub use event::{Cause, Event, Listener, Subscription};
pub use operation::{Operation, OperationBuilder, execute_with_retry};
pub use registry::{Registry, get_circuit_breaker, registry};
pub use retry::verdict::{Classify, Verdict};
pub use settings::{
    CircuitBreakerSettings, Count, OnCancel, Overrides, ParseValueError, RetrySettings,
    SettingValue, Settings, Source, Window,
};
