use bindu_cb::{retry_with_breaker, with_circuit_breaker};
use std::future::Future;
use std::io;
use std::pin::Pin;

#[retry_with_breaker(op = "storage")]
fn load() -> impl Future<Output = io::Result<u32>> {
    async { Ok(1) }
}

#[with_circuit_breaker]
fn save() -> Pin<Box<dyn Future<Output = io::Result<u32>> + Send>> {
    Box::pin(load())
}

fn main() {
    drop(save());
}
