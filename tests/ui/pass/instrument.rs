//! Above, below and together with `#[tracing::instrument]`.

use std::io;

use async_trait::async_trait;
use bindu_cb::{retry_storage_operation, retry_with_breaker, with_circuit_breaker};
use tracing::instrument;

#[instrument]
#[retry_with_breaker(op = "traced", attempts = 2)]
async fn above(n: u32, text: String) -> io::Result<String> {
    Ok(format!("{n}{text}"))
}

#[instrument(err, ret, skip(text))]
#[retry_with_breaker(op = "traced", clone(text))]
async fn above_with_results(mut n: u32, text: String) -> io::Result<String> {
    n += 1;
    if n == 0 {
        return Err(io::Error::other("zero"));
    }
    Ok(text + &n.to_string())
}

#[instrument(err)]
#[with_circuit_breaker]
async fn above_with_errors(n: u32) -> io::Result<u32> {
    Ok(n)
}

#[instrument(ret)]
#[retry_with_breaker(op = "traced")]
async fn above_with_values(n: u32) -> io::Result<u32> {
    Ok(n)
}

#[retry_with_breaker(op = "traced")]
#[instrument(err(Debug), ret, skip_all, fields(n))]
async fn below(n: u32, text: &str) -> io::Result<String> {
    Ok(format!("{n}{text}"))
}

#[tracing::instrument(skip_all)]
#[retry_with_breaker(op = "traced")]
async fn opaque(n: u32) -> io::Result<impl Iterator<Item = u32>> {
    Ok(0..n)
}

struct Memory;

impl Memory {
    #[instrument(skip(self))]
    #[retry_storage_operation(on_open = |_| Ok(self.fallback(n)))]
    async fn method(&mut self, n: u32) -> io::Result<u32> {
        Ok(n)
    }

    fn fallback(&self, n: u32) -> u32 {
        n
    }
}

#[async_trait]
trait Store {
    async fn above(&self, n: u32, text: String) -> io::Result<String>;
    async fn below(&self, n: u32, text: String) -> io::Result<String>;
    async fn with_results(&self, n: u32) -> io::Result<u32>;
}

#[async_trait]
impl Store for Memory {
    #[instrument(skip(self))]
    #[retry_storage_operation]
    async fn above(&self, n: u32, text: String) -> io::Result<String> {
        Ok(format!("{n}{text}"))
    }

    #[retry_storage_operation]
    #[instrument(skip(self))]
    async fn below(&self, n: u32, text: String) -> io::Result<String> {
        Ok(format!("{n}{text}"))
    }

    #[instrument(skip(self), err, ret)]
    #[retry_storage_operation]
    async fn with_results(&self, mut n: u32) -> io::Result<u32> {
        n += 1;
        Ok(n)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    assert_eq!(above(1, "a".into()).await?, "1a");
    assert_eq!(above_with_results(1, "a".into()).await?, "a2");
    assert_eq!(above_with_errors(1).await?, 1);
    assert_eq!(above_with_values(1).await?, 1);
    assert_eq!(below(1, "a").await?, "1a");
    assert_eq!(opaque(2).await?.count(), 2);
    assert_eq!(Memory.method(3).await?, 3);
    assert_eq!(Memory.above(1, "a".into()).await?, "1a");
    assert_eq!(Memory.below(1, "a".into()).await?, "1a");
    assert_eq!(Memory.with_results(1).await?, 2);
    Ok(())
}
