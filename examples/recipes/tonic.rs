//! gRPC through tonic: which codes are worth another attempt, and which count as failures.
//! `cargo run --example recipe-tonic`

use std::sync::{Arc, mpsc};
use std::{error::Error, time::Duration};

use bindu_cb::{CircuitState, get_circuit_breaker, retry_api_call};
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};
use tonic_types::{ErrorDetails, StatusExt};

#[retry_api_call(op = "api:health", timeout = "1s", retry_if = is_transient, record_if = is_failure,
    retry_after = retry_delay, on_timeout = |timeout| status(Code::DeadlineExceeded, None, timeout),
    on_open = |open| Err(status(Code::Unavailable, Some(open.retry_after()), open)))]
async fn check(client: &HealthClient<Channel>, of: &str) -> Result<HealthCheckResponse, Status> {
    let request = HealthCheckRequest { service: of.to_owned() };
    Ok(client.clone().check(request).await?.into_inner())
}

/// Of a call that may run twice. (`Aborted` is for whoever can begin a transaction anew.)
fn is_transient(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => true,
        // An overload ends; without a word of when, it is a quota.
        Code::ResourceExhausted => retry_delay(status).is_some(),
        // With a source it is tonic's word and not the service's: the connection broke.
        Code::Unknown | Code::Internal | Code::Cancelled => status.source().is_some(),
        _ => false,
    }
}

/// The service is ill, or has a bug. All other codes are answers to this one request.
fn is_failure(status: &Status) -> bool {
    is_transient(status) || matches!(status.code(), Code::Unknown | Code::Internal | Code::DataLoss)
}

fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// By its source an outer circuit knows an inner one's rejection, which is no failure.
fn status<E: Error + Send + Sync + 'static>(
    code: Code,
    wait: Option<Duration>,
    error: E,
) -> Status {
    let details = ErrorDetails::with_retry_info(wait);
    let mut status = Status::with_error_details(code, error.to_string(), details);
    status.set_source(Arc::new(error));
    status
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bindu_cb_recipes::set_up();
    let (answers, next) = mpsc::channel();
    let mut service = bindu_cb_recipes::Service::health(next)?;
    let client = HealthClient::new(Channel::from_shared(service.url())?.connect_lazy());

    assert_eq!(check(&client, "nobody").await.map_err(|status| status.code()), Err(Code::NotFound));
    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
    answers.send(Status::with_error_details(Code::ResourceExhausted, "full", details))?;
    check(&client, "").await?; // at the second attempt
    answers.send(Status::internal("a bug"))?;
    check(&client, "").await.expect_err("not asked again");
    let calls = get_circuit_breaker("api:health").snapshot().calls;
    assert_eq!((calls.success, calls.failure), (2, 1));

    service.stop();
    assert!(check(&client, "").await.is_err() && check(&client, "").await.is_err());
    let open = check(&client, "").await.expect_err("three calls have failed");

    service.restart()?;
    tokio::time::sleep(retry_delay(&open).expect("it is open")).await;
    check(&client, "").await?;
    assert_eq!(get_circuit_breaker("api:health").state(), CircuitState::Closed);
    Ok(())
}
