//! As code of the editions 2018 and 2021 is written.

extern crate bindu_cb;

use bindu_cb::{retry_with_breaker, with_circuit_breaker};
use std::{future::Future, io, pin::Pin};

pub struct Client {
    base: String,
}

impl Client {
    #[retry_with_breaker(op = "client", timeout = "5s")]
    pub async fn get<'a>(&'a self, path: &'a str) -> Result<String, io::Error> {
        let gathered = [1, 2].iter().map(|n| n * 2).collect::<Vec<i32>>();
        Ok(format!("{}/{}/{}", self.base, path, gathered.len()))
    }

    #[with_circuit_breaker(op = "client")]
    pub async fn head(&self, path: &str) -> Result<usize, io::Error> {
        match self.get(path).await {
            Ok(text) => Ok(text.len()),
            Err(e) => Err(e),
        }
    }
}

fn boxed<'a>(client: &'a Client) -> Pin<Box<dyn Future<Output = io::Result<usize>> + Send + 'a>> {
    Box::pin(client.head("a"))
}

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client { base: "b".to_string() };
    assert_eq!(runtime.block_on(boxed(&client))?, 5);
    Ok(())
}
