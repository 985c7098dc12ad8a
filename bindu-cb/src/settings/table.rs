//! The table of keys: the one place where a key has its name, its type and its default.

/// Calls a macro with the table. A row is
/// `Variant name: type where it is given => type in the settings = default;`.
macro_rules! each_key {
    ($callback:ident) => {
        $callback! {
        /// The settings of a circuit.
        ///
        /// ```
        /// use bindu_cb::CircuitBreakerSettings;
        /// use std::time::Duration;
        ///
        /// let settings = CircuitBreakerSettings::default()
        ///     .failure_threshold(5)
        ///     .recovery_timeout(Duration::from_secs(10));
        /// assert!(settings.validate().is_ok());
        /// ```
        CircuitBreakerSettings (KEYS) {
            /// Whether annotated functions ask the circuit at all. Default: false.
            Enabled enabled: bool => bool = false;
            /// Records, changes state and logs, but never rejects. Default: false.
            DryRun dry_run: bool => bool = false;
            /// Consecutive failures that open the circuit, 1 to 65535. Default: 3.
            FailureThreshold failure_threshold: u32 => u32 = 3;
            /// From open to half-open. Default: 30 s.
            RecoveryTimeout recovery_timeout: Duration => Duration = Duration::from_secs(30);
            /// Consecutive probe successes that close the circuit, 1 to 65535. Default: 1.
            SuccessThreshold success_threshold: u32 => u32 = 1;
            /// Probes in flight at most, 1 to 128. Default: as many as `success_threshold`.
            HalfOpenPermits half_open_permits: u32 => Option<u32> = None;
            /// Attempts that a probe may make, 1 or more. Default: 1.
            ProbeAttempts probe_attempts: u32 => u32 = 1;
            /// After it the permit of a probe that has not ended is taken back. Default: 60 s.
            ProbeTimeout probe_timeout: Duration => Duration = Duration::from_mins(1);
            /// Each consecutive re-open waits this many times longer, 1.0 or more. Default: 1.0.
            RecoveryMultiplier recovery_multiplier: f64 => f64 = 1.0;
            /// The longest time that a circuit stays open. Default: 10 min.
            MaxRecoveryTimeout max_recovery_timeout: Duration => Duration = Duration::from_mins(10);
            /// The part of the wait that is left to chance, 0.0 to 1.0. Default: 0.0.
            RecoveryJitter recovery_jitter: f64 => f64 = 0.0;
            /// A sliding window instead of consecutive counting; `failure_threshold` then counts
            /// for nothing. Default: none.
            Window window: Window => Option<Window> = None;
            /// Percent of failures in the window that open, 1 to 100. Default: 50.
            FailureRate failure_rate: u32 => u32 = 50;
            /// Percent of slow calls in the window that open, 1 to 100. Default: 100.
            SlowCallRate slow_call_rate: u32 => u32 = 100;
            /// Calls that the window must hold before it decides, 1 or more.
            /// Default: 10, or the size of the window if that is smaller.
            MinimumCalls minimum_calls: u32 => Option<u32> = None;
            /// A call that takes longer counts as slow, in a window. Calls that began before it was
            /// set are never slow. Default: none.
            SlowCall slow_call: Duration => Option<Duration> = None;
            /// The rate of failures that opens follows the operation's own history, in place of
            /// `failure_rate`, in a window. Default: false.
            Adaptive adaptive: bool => bool = false;
            /// The least that an adaptive threshold comes to, in percent, 1 to 100. Default: 10.
            AdaptiveMin adaptive_min: u32 => u32 = 10;
            /// The most that it is, in percent, 1 to 100: what reaches this opens at once, what is
            /// only above the threshold when it has lasted for longer than the window. Default: 50.
            AdaptiveMax adaptive_max: u32 => u32 = 50;
            /// Closed again, the part of the calls that is let through rises over this time.
            /// Default: none, all are.
            RampUp ramp_up: Duration => Option<Duration> = None;
            /// Keys that have a circuit of their own at the same time, where a function has a
            /// `key`; 1 or more. Default: 1024.
            MaxKeys max_keys: u32 => u32 = 1_024;
            /// What one outcome is. Default: the call.
            Count count: Count => Count = Count::Call;
            /// What a dropped call counts as if no attempt of it had failed. Default: nothing.
            OnCancel on_cancel: OnCancel => OnCancel = OnCancel::Ignore;
        }

        /// The settings of a retry loop.
        ///
        /// ```
        /// use bindu_cb::RetrySettings;
        /// use std::time::Duration;
        ///
        /// let settings = RetrySettings::default().attempts(5).max_wait(Duration::from_secs(2));
        /// assert!(settings.validate().is_ok());
        /// assert!(settings.min_wait(Duration::from_secs(3)).validate().is_err());
        /// ```
        RetrySettings (KEYS) {
            /// Runs of the body at most, the first included; 1 or more. Default: 3.
            Attempts attempts: u32 => u32 = 3;
            /// The first wait, and the shortest. Default: 1 s.
            MinWait min_wait: Duration => Duration = Duration::from_secs(1);
            /// The longest wait. Default: 10 s.
            MaxWait max_wait: Duration => Duration = Duration::from_secs(10);
            /// Each wait is this many times the one before, 1.0 or more. Default: 2.0.
            Multiplier multiplier: f64 => f64 = 2.0;
            /// How far a wait is drawn around its middle, 0.0 to 1.0. Default: 0.5.
            Jitter jitter: f64 => f64 = 0.5;
            /// No wait is begun that would end later than this after the call began. Default: none.
            Deadline deadline: Duration => Option<Duration> = None;
            /// The time limit of one attempt. Default: none.
            Timeout timeout: Duration => Option<Duration> = None;
            /// The part of an operation's calls that may be retried, 0.0 to 1.0: once it is used
            /// up, loops return their error at once. Default: none, all are.
            RetryBudget retry_budget: f64 => Option<f64> = None;
            /// Retries that the budget gives every 10 s whatever the calls, so that a quiet
            /// operation can retry. Default: 10.
            RetryBudgetReserve retry_budget_reserve: u32 => u32 = 10;
            /// What a loop does inside a further attempt of another one. Default: one attempt.
            Nested nested: Nested => Nested = Nested::Once;
        }
        }
    };
}

pub(crate) use each_key;
