//! An HTTP service through reqwest: which answers are failures, and how long to wait after them.
//! `cargo run --example recipe-reqwest`

use std::time::{Duration, SystemTime};

use axum::{Router, extract::Path, http::header::RETRY_AFTER, routing::get};
use bindu_cb::{CircuitState, Classify, Verdict, get_circuit_breaker, retry_api_call};
use reqwest::{Client, Response, StatusCode};

struct Page(StatusCode, String);

// A GET may run twice. An answer of 5xx comes as `Ok`: `fail_if` has it retried, and the last one
// is returned as it is. One that says when to come back is an error, which `retry_after` asks.
#[retry_api_call(op = "api:quotes", timeout = "5s",
    fail_if = |page: &Page| is_failure(page.0), retry_after = ApiError::retry_after)]
async fn fetch(client: &Client, url: String) -> Result<Page, ApiError> {
    let response = client.get(&url).send().await?;
    let status = response.status();
    match retry_after(&response) {
        Some(wait) if is_failure(status) => Err(ApiError::Busy(status, wait)),
        // Read in here: one that breaks off is asked for again.
        _ => Ok(Page(status, response.text().await?)),
    }
}

/// Worth another attempt. Every other status is the service's answer: a success of its circuit.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// In seconds, or as a date.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let date = || httpdate::parse_http_date(value).ok();
    let until = || Some(date()?.duration_since(SystemTime::now()).unwrap_or_default());
    value.parse().ok().map(Duration::from_secs).or_else(until)
}

#[derive(Debug, thiserror::Error)]
enum ApiError {
    #[error("{0}, to be asked again in {1:?}")]
    Busy(StatusCode, Duration),
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Timeout(#[from] bindu_cb::AttemptTimeoutError),
    #[error(transparent)]
    Open(#[from] bindu_cb::CircuitBreakerOpenError),
}

impl ApiError {
    fn retry_after(&self) -> Option<Duration> {
        if let Self::Busy(_, wait) = self { Some(*wait) } else { None }
    }
}

impl Classify for ApiError {
    fn classify(&self) -> Verdict {
        match self {
            // The request itself is wrong, or goes in circles.
            Self::Http(error) if error.is_builder() || error.is_redirect() => Verdict::Permanent,
            Self::Open(open) => open.classify(),
            // No connection, too late, broken off (which `text` calls a decode error).
            Self::Http(_) | Self::Timeout(_) | Self::Busy(..) => Verdict::Transient,
        }
    }
}
