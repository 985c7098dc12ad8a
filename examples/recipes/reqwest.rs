//! An HTTP API through `reqwest`: which answers are failures, and waiting as long as `Retry-After`
//! says.
//!
//! `cargo run --example recipe-reqwest`
use std::time::{Duration, SystemTime};

use bindu_cb::{Classify, Verdict, retry_api_call};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode};

struct Page {
    status: StatusCode,
    body: String,
}

#[retry_api_call(op = "api:quotes", timeout = "5s", fail_if = unwell, retry_after = ApiError::retry_after)]
async fn fetch(client: &Client, url: &str) -> Result<Page, ApiError> {
    let response = client.get(url).send().await?;
    let status = response.status();
    if let Some(wait) = retry_after(response.headers()) { return Err() }
    // In the attempt, so that a body that breaks off is fetched again.
    Ok(Page { status, body: response.text().await? })
}
