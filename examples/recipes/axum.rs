//! An axum handler that says when to come back: an open circuit is 503 with `Retry-After`.
//! `cargo run --example recipe-axum`

use axum::extract::State;
use axum::http::{StatusCode, header::RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use bindu_cb::{CircuitState, get_circuit_breaker, retry_api_call};
use bindu_cb_recipes::Service;
use reqwest::Client;

// Someone waits for the page, so there are few attempts and no long waits.
#[retry_api_call(op = "api:prices", attempts = 2, min_wait = "100ms", max_wait = "300ms",
    timeout = "500ms", retry_if = |error| !error.is_refusal())]
async fn price(client: &Client, url: &str) -> Result<String, PageError> {
    Ok(client.get(url).send().await?.error_for_status()?.text().await?)
}

async fn page(State((client, url)): State<(Client, String)>) -> Result<String, PageError> {
    Ok(format!("It costs {}.", price(&client, &url).await?))
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            Self::Open(open) => {
                // Whole seconds, rounded up: rounded down, all would be back while it is open.
                let seconds = open.retry_after().as_nanos().div_ceil(1_000_000_000);
                let headers = [(RETRY_AFTER, seconds.to_string())];
                (StatusCode::SERVICE_UNAVAILABLE, headers, "try again later").into_response()
            }
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT.into_response(),
            Self::Prices(_) => StatusCode::BAD_GATEWAY.into_response(),
        }
    }
}

impl PageError {
    /// Not of us, as by 408 and 429, but of what we ask for. (More on statuses: `reqwest.rs`.)
    fn is_refusal(&self) -> bool {
        let status = if let Self::Prices(error) = self { error.status() } else { None };
        matches!(status.map(|status| status.as_u16()), Some(400..=407 | 409..=428 | 430..=499))
    }
}

#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error(transparent)]
    Prices(#[from] reqwest::Error),
    #[error(transparent)]
    Timeout(#[from] bindu_cb::AttemptTimeoutError),
    #[error(transparent)]
    Open(#[from] bindu_cb::CircuitBreakerOpenError),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bindu_cb_recipes::set_up();
    let mut prices = Service::http(Router::new().route("/", get("3")))?;
    let app = Router::new().route("/", get(page)).with_state((Client::new(), prices.url()));
    let shop = Service::http(app)?;

    assert_eq!(reqwest::get(shop.url()).await?.text().await?, "It costs 3.");

    prices.stop();
    for _ in 0..3 {
        assert_eq!(reqwest::get(shop.url()).await?.status(), StatusCode::BAD_GATEWAY);
    }
    let answer = reqwest::get(shop.url()).await?;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let seconds = answer.headers()[RETRY_AFTER].to_str()?.parse()?;
    println!("503, Retry-After: {seconds}");

    prices.restart()?;
    tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
    assert_eq!(reqwest::get(shop.url()).await?.status(), StatusCode::OK);
    assert_eq!(get_circuit_breaker("api:prices").state(), CircuitState::Closed);
    Ok(())
}
