//! As strict as `async_trait` and `instrument` allow: both contain an `#[allow(unreachable_code)]`.

#![deny(warnings, unused, rust_2018_idioms, unreachable_code, future_incompatible)]
#![deny(clippy::all, clippy::pedantic)]
#![forbid(unsafe_code, unused_mut, unused_variables, unused_must_use)]

use std::io;

use bindu_cb::{retry_storage_operation, retry_with_breaker};

struct Store {
    rows: Vec<u32>,
}

#[retry_with_breaker(op = "lints", attempts = 1)]
#[tracing::instrument(skip_all)]
async fn traced(text: &str) -> anyhow::Result<usize> {
    tokio::task::yield_now().await;
    Ok(text.len())
}

#[tracing::instrument(skip_all, err, ret)]
#[retry_with_breaker(op = "lints", clone(text))]
async fn traced_above(text: String, mut n: usize) -> anyhow::Result<usize> {
    tokio::task::yield_now().await;
    n += text.len();
    Ok(n)
}

#[async_trait::async_trait]
trait Load {
    async fn load(&self, text: String) -> io::Result<usize>;
}

#[async_trait::async_trait]
impl Load for Store {
    #[retry_storage_operation(timeout = 5)]
    async fn load(&self, text: String) -> io::Result<usize> {
        tokio::task::yield_now().await;
        Ok(text.len() + self.rows.len())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let store = Store { rows: Vec::new() };
    assert_eq!(store.load("ab".into()).await?, 2);
    assert_eq!(traced("abc").await?, 3);
    assert_eq!(traced_above("abc".into(), 1).await?, 4);
    Ok(())
}
