//! A worker that acknowledges a job when it is done and not before. The queue is a list in Redis.
//! `cargo run --example recipe-worker`

use bindu_cb::{CircuitState, get_circuit_breaker, retry_worker_operation};
use bindu_cb_recipes::{Answers, Service, until};
use redis::Direction::{Left, Right};
use redis::{AsyncCommands, RedisResult, aio::MultiplexedConnection};
use reqwest::{Client, Response};

/// The job of this worker: one at most, and still there when the worker comes back after a crash.
const MINE: &str = "jobs:worker-1";

// May run twice, also because a worker died before it had acknowledged: hence the key.
#[retry_worker_operation(op = "worker:mail", timeout = "5s", retry_if = |e| !e.is_refusal())]
async fn send(client: &Client, url: &str, mail: &str) -> Result<Response, JobError> {
    let request = client.post(url).header("Idempotency-Key", mail).body(mail.to_owned());
    Ok(request.send().await?.error_for_status()?)
}

// An error of the queue ends it; started again it goes on where it was.
async fn work(mut queue: MultiplexedConnection, url: String) -> RedisResult<()> {
    let client = Client::new();
    loop {
        let mut job: Option<String> = queue.lindex(MINE, 0).await?;
        if job.is_none() {
            job = queue.blmove("jobs", MINE, Right, Left, 0.2).await?;
        }
        let Some(job) = job else { continue };
        match send(&client, &url, &job).await {
            Ok(_) => queue.lpop(MINE, None).await?,
            Err(error) if error.is_refusal() => queue.lmove(MINE, "refused", Left, Left).await?,
            // Every other job would fare as this one, so none is taken meanwhile.
            Err(JobError::Open(open)) => tokio::time::sleep(open.retry_after()).await,
            Err(_) => {}
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Timeout(#[from] bindu_cb::AttemptTimeoutError),
    #[error(transparent)]
    Open(#[from] bindu_cb::CircuitBreakerOpenError),
}

impl JobError {
    /// Of this one job. Not so 401 or 404: by these all jobs would be lost.
    fn is_refusal(&self) -> bool {
        let status = if let Self::Http(error) = self { error.status() } else { None };
        matches!(status.map(|status| status.as_u16()), Some(400 | 413 | 422))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bindu_cb_recipes::set_up();
    let redis = bindu_cb_test_servers::RedisServer::start();
    let mut queue = redis::Client::open(redis.url())?.get_multiplexed_async_connection().await?;
    let mut service = Service::http(Answers::default().next(&[(200, ""), (422, "")]).routes())?;
    let circuit = get_circuit_breaker("worker:mail");
    tokio::spawn(work(queue.clone(), service.url()));

    let _: u8 = queue.lpush("jobs", &["a", "b"]).await?;
    until(|| circuit.snapshot().calls.success == 2).await;
    service.stop();
    let _: u8 = queue.lpush("jobs", &["c", "d", "e"]).await?;
    until(|| circuit.state() == CircuitState::Open).await;
    assert_eq!(queue.llen::<_, u8>("jobs").await?, 2); // one is taken

    service.restart()?;
    until(|| circuit.snapshot().calls.success == 5).await;
    assert_eq!(circuit.state(), CircuitState::Closed);
    assert_eq!(queue.llen::<_, u8>("refused").await?, 1);
    Ok(())
}
