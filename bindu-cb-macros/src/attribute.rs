//! The six attributes, and what they differ in.

/// One of the six attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    RetryWithBreaker,
    RetryWorkerOperation,
    RetryStorageOperation,
    RetrySchedulerOperation,
    RetryApiCall,
    WithCircuitBreaker,
}

/// What an attribute for one kind of operations brings along.
pub(crate) struct Kind {
    /// The variant of `__private::Preset`.
    pub(crate) preset: &'static str,
    /// The text before the `:` of a derived name.
    pub(crate) prefix: &'static str,
}

impl Attribute {
    pub(crate) const ALL: [Self; 6] = [
        Self::RetryWithBreaker,
        Self::RetryWorkerOperation,
        Self::RetryStorageOperation,
        Self::RetrySchedulerOperation,
        Self::RetryApiCall,
        Self::WithCircuitBreaker,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RetryWithBreaker => "retry_with_breaker",
            Self::RetryWorkerOperation => "retry_worker_operation",
            Self::RetryStorageOperation => "retry_storage_operation",
            Self::RetrySchedulerOperation => "retry_scheduler_operation",
            Self::RetryApiCall => "retry_api_call",
            Self::WithCircuitBreaker => "with_circuit_breaker",
        }
    }

    /// Whether the body runs in a retry loop.
    pub(crate) fn retries(self) -> bool {
        self != Self::WithCircuitBreaker
    }

    pub(crate) fn kind(self) -> Option<Kind> {
        let (preset, prefix) = match self {
            Self::RetryWorkerOperation => ("Worker", "worker"),
            Self::RetryStorageOperation => ("Storage", "storage"),
            Self::RetrySchedulerOperation => ("Scheduler", "scheduler"),
            Self::RetryApiCall => ("Api", "api"),
            Self::RetryWithBreaker | Self::WithCircuitBreaker => return None,
        };
        Some(Kind { preset, prefix })
    }
}
