//! HTTP through reqwest: which answers are failures, and waiting as long as they say.
//! `cargo run --example recipe-reqwest`

use std::time::{Duration, SystemTime};

use bindu_cb::{CircuitState, get_circuit_breaker, retry_api_call};
use bindu_cb_recipes::{Answers, Service};
use reqwest::{Client, Response, StatusCode, header::RETRY_AFTER};

// A GET may run twice. The last answer that `fail_if` refuses is returned as it is. One that says
// when to come back is made an error, so that `retry_after` is asked; beyond `max_wait` (15 s) the
// loop ends with it. Of reqwest's own errors the request's mistakes are permanent; all others, a
// body that breaks off among them (`is_decode`), are transient.
#[retry_api_call(op = "api:quotes", fail_if = |page: &Page| is_failure(page.status),
    retry_after = |error| match error { ApiError::Busy(_, wait) => Some(*wait), _ => None },
    retry_if = |error| !matches!(error, ApiError::Http(e) if e.is_builder() || e.is_redirect()))]
async fn fetch(client: &Client, url: &str) -> Result<Page, ApiError> {
    let response = client.get(url).send().await?;
    match (response.status(), retry_after(&response)) {
        (status, Some(wait)) if is_failure(status) => Err(ApiError::Busy(status, wait)),
        (status, _) => Ok(Page { status, body: response.text().await? }),
    }
}

/// Any other status is the service's answer: not retried, and a success of its circuit.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let date = || httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).ok();
    value.parse().map(Duration::from_secs).ok().or_else(date)
}

struct Page {
    status: StatusCode,
    body: String,
}

#[derive(Debug, thiserror::Error)]
enum ApiError {
    #[error("{0}, come back in {1:?}")]
    Busy(StatusCode, Duration),
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Open(#[from] bindu_cb::CircuitBreakerOpenError),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bindu_cb_recipes::set_up();
    let answers = Answers::default();
    let mut service = Service::http(answers.routes())?;
    let client = Client::builder().timeout(Duration::from_secs(5)).build()?; // for each attempt
    let url = service.url();

    answers.next(&[(404, "")]);
    assert_eq!(fetch(&client, &url).await?.status, StatusCode::NOT_FOUND); // at once
    let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    answers.next(&[(429, &soon), (503, "1")]);
    assert_eq!(fetch(&client, &url).await?.body, "well"); // at the third attempt
    assert!(SystemTime::now() >= httpdate::parse_http_date(&soon)? + Duration::from_secs(1));
    answers.next(&[(502, ""); 4]);
    assert_eq!(fetch(&client, &url).await?.status, StatusCode::BAD_GATEWAY); // at the fourth
    let calls = get_circuit_breaker("api:quotes").snapshot().calls;
    assert_eq!((calls.success, calls.failure), (2, 1));

    service.stop();
    assert!(fetch(&client, &url).await.is_err() && fetch(&client, &url).await.is_err());
    let Err(ApiError::Open(open)) = fetch(&client, &url).await else { panic!("not open") };

    service.restart()?;
    tokio::time::sleep(open.retry_after()).await;
    assert_eq!(fetch(&client, &url).await?.body, "well");
    assert_eq!(get_circuit_breaker("api:quotes").state(), CircuitState::Closed);
    Ok(())
}
