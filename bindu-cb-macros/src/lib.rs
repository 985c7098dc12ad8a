//! The attributes of `bindu-cb`.
//!
//! Use them through that crate, which re-exports them and holds what they expand to:
//!
//! ```text
//! use bindu_cb::retry_with_breaker;
//!
//! #[retry_with_breaker(op = "storage", attempts = 5)]
//! async fn save(&self, row: &Row) -> Result<(), StoreError> {
//!     self.put(row).await
//! }
//! ```
//!
//! The body runs in a retry loop, in place, and the loop stands behind the circuit breaker that all
//! functions of the same operation share.
//!
//! The attributes go on `async fn`s that return a `Result`: free functions, methods, default
//! methods of traits, methods under `#[async_trait]`. `#[tracing::instrument]` may stand above or below.

#![forbid(unsafe_code)]

use proc_macro::TokenStream;

mod args;
mod arguments;
mod attribute;
mod body;
mod errors;
mod expand;
mod fallback;
mod function;
mod hooks;
mod key;
mod model;
mod ret;
mod site;
#[cfg(test)]
mod tests;
mod typed;
mod value;

use attribute::Attribute;

/// Retries an async function with exponential backoff, behind a circuit breaker.
///
/// ```text
/// #[retry_with_breaker(op = "storage", attempts = 5)]
/// async fn save(&self, row: &Row) -> Result<(), StoreError> {
///     self.put(row).await
/// }
/// ```
///
/// `op` names what is protected; all functions that name the same operation share its circuit.
/// While that is open, a call returns at once: `E` is made from the `CircuitBreakerOpenError`, or
/// by `on_open`.
///
/// Each attempt borrows the arguments. A body that consumes one needs `clone(argument)`; a `mut`
/// argument starts afresh at each attempt.
///
/// # Keys
///
/// Durations are written `"250ms"`, `"1m 30s"`, or as a number of seconds. Where a number or a
/// duration goes, the path of a `const` does too.
///
/// | key | value | |
/// | --- | --- | --- |
/// | `op` | string, or the path of a `&'static str` constant | required |
/// | `enabled` | bool | whether the circuit is asked at all; off by default |
/// | `dry_run` | bool | the circuit works, and rejects nothing |
/// | `failure_threshold` | 1 to 65535 | failures in a row that open the circuit |
/// | `recovery_timeout` | duration | how long it stays open |
/// | `success_threshold` | 1 to 65535 | successful probes in a row that close it |
/// | `half_open_permits` | 1 to 128 | probes at the same time |
/// | `probe_attempts` | at least 1 | attempts of a probe |
/// | `probe_timeout` | duration | after it the permit of a probe is taken back |
/// | `recovery_multiplier`, `max_recovery_timeout`, `recovery_jitter` | at least 1.0, duration, 0.0 to 1.0 | how the wait grows when the circuit opens again |
/// | `window` | `"100 calls"` or `"30s"` | a sliding window in place of failures in a row |
/// | `failure_rate`, `slow_call_rate` | 1 to 100 | percent of the calls in the window that open the circuit |
/// | `adaptive` | bool | the rate of failures that opens is learnt, in place of `failure_rate` |
/// | `adaptive_min`, `adaptive_max` | 1 to 100 | bounds of that, in percent |
/// | `minimum_calls` | at least 1 | calls that the window must hold first |
/// | `slow_call` | duration | a call that takes longer is slow |
/// | `ramp_up` | duration | closed again, the calls that are let through rise over this time |
/// | `key` | expression over the arguments that has a text: `AsRef<str>` or `Display` | each key has a circuit of its own under the operation |
/// | `max_keys` | at least 1 | keys that have one at the same time |
/// | `count` | `"call"` or `"attempt"` | what is counted as one outcome |
/// | `on_cancel` | `"ignore"` or `"failure"` | what a dropped call counts as |
/// | `attempts` | at least 1 | runs of the body, the first included |
/// | `min_wait`, `max_wait` | duration | bounds of each wait |
/// | `multiplier` | at least 1.0 | how the wait grows |
/// | `jitter` | 0.0 to 1.0 | how far the wait is drawn at random |
/// | `deadline` | duration | no wait is begun that would end after it |
/// | `timeout` | duration | limit of one attempt |
/// | `retry_budget` | 0.0 to 1.0 | part of the operation's calls that may be retried |
/// | `retry_budget_reserve` | whole number | retries that the budget gains every 10 s |
/// | `nested` | `"once"` or `"multiply"` | what it does inside a further attempt of another loop |
/// | `retry_if` | `Fn(&E) -> bool` | which errors are retried |
/// | `record_if` | `Fn(&E) -> bool` | which errors are failures of the operation |
/// | `fail_if` | `Fn(&T) -> bool` | which `Ok` values are failures |
/// | `retry_after` | `Fn(&E) -> Option<Duration>` | a wait that the error asks for |
/// | `class` | `Fn(&E) -> &'static str` | failures of each class count in a circuit of their own |
/// | `on_open` | `FnOnce(CircuitBreakerOpenError) -> Result<T, E>`, may be async | what is returned when the circuit is open |
/// | `on_timeout` | `Fn(AttemptTimeoutError) -> E` | the error of an attempt that has timed out |
/// | `clone(a, b)` | names of arguments | these are cloned for each attempt |
/// | `crate` | path | where `bindu_cb` is found |
///
/// Functions are given as a closure or a path: `retry_if = StoreError::is_transient`.
#[proc_macro_attribute]
pub fn retry_with_breaker(args: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::RetryWithBreaker, args.into(), item.into()).into()
}

/// [`macro@retry_with_breaker`] with the presets for workers: 3 attempts, waits of 1 s to 10 s.
///
/// The operation is `worker:<function>`, unless `op` is given.
///
/// ```text
/// #[retry_worker_operation]
/// async fn run_task(&self, task: Task) -> anyhow::Result<Report> {
///     self.client.run(&task).await
/// }
/// ```
#[proc_macro_attribute]
pub fn retry_worker_operation(args: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::RetryWorkerOperation, args.into(), item.into()).into()
}

/// [`macro@retry_with_breaker`] with the presets for storage: 5 attempts, waits of 0.5 s to 5 s.
///
/// The operation is `storage:<function>`, unless `op` is given.
///
/// ```text
/// #[retry_storage_operation(timeout = "2s")]
/// async fn load(&self, key: &str) -> io::Result<Vec<u8>> {
///     self.get(key).await
/// }
/// ```
#[proc_macro_attribute]
pub fn retry_storage_operation(args: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::RetryStorageOperation, args.into(), item.into()).into()
}

/// [`macro@retry_with_breaker`] with the presets for schedulers: 3 attempts, waits of 1 s to 8 s.
///
/// The operation is `scheduler:<function>`, unless `op` is given.
///
/// ```text
/// #[retry_scheduler_operation(op = "scheduler:lease")]
/// async fn renew(&self) -> Result<Lease, SchedulerError> {
///     self.lease.renew().await
/// }
/// ```
#[proc_macro_attribute]
pub fn retry_scheduler_operation(args: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::RetrySchedulerOperation, args.into(), item.into()).into()
}

/// [`macro@retry_with_breaker`] with the presets for calls of an API: 4 attempts, waits of 1 s to
/// 15 s.
///
/// The operation is `api:<function>`, unless `op` is given.
///
/// ```text
/// #[retry_api_call(fail_if = Response::is_server_error, retry_after = ApiError::retry_after)]
/// async fn fetch(&self, url: &str) -> Result<Response, ApiError> {
///     self.http.get(url).await
/// }
/// ```
#[proc_macro_attribute]
pub fn retry_api_call(args: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::RetryApiCall, args.into(), item.into()).into()
}

/// Puts an async function behind a circuit breaker, without retries.
///
/// The body runs once. The keys are those of [`macro@retry_with_breaker`] but for the ones of its
/// loop: `attempts`, `min_wait`, `max_wait`, `multiplier`, `jitter`, `deadline`, `retry_if`,
/// `retry_after` and `clone`.
///
/// The operation is the function's path, `my_crate::payments::charge`, unless `op` is given.
///
/// ```text
/// #[with_circuit_breaker(op = "payments", timeout = "3s")]
/// async fn charge(&self, order: Order) -> Result<Receipt, PaymentError> {
///     self.gateway.charge(order).await
/// }
/// ```
#[proc_macro_attribute]
pub fn with_circuit_breaker(args: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::WithCircuitBreaker, args.into(), item.into()).into()
}

fn expand(
    which: Attribute,
    args: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
) -> proc_macro2::TokenStream {
    match model::Model::new(which, args, item.clone()) {
        Ok((model, None)) => expand::expand(&model),
        // What is half typed in the attribute changes nothing in front of it: an editor completes
        // there by comparing this expansion with the one of what may be typed next.
        Ok((model, Some(error))) => fallback::with_error(expand::expand(&model), &error),
        Err(error) => fallback::with_error(item, &error),
    }
}
