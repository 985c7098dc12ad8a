//! What cannot be a key by its form.

use std::io;

use bindu_cb::{retry_with_breaker, with_circuit_breaker};

#[retry_with_breaker(op = "key", key = "acme")]
async fn literal() -> io::Result<()> {
    Ok(())
}

#[retry_with_breaker(op = "key", key = |tenant| tenant)]
async fn closure(tenant: &str) -> io::Result<()> {
    let _ = tenant;
    Ok(())
}

#[with_circuit_breaker(op = "key", key = tenant, key = host)]
async fn twice(tenant: &str, host: &str) -> io::Result<()> {
    let _ = (tenant, host);
    Ok(())
}

#[with_circuit_breaker(op = "key", key)]
async fn nothing(tenant: &str) -> io::Result<()> {
    let _ = tenant;
    Ok(())
}

#[with_circuit_breaker(op = "key", key = , max_keys = 0)]
async fn empty(tenant: &str) -> io::Result<()> {
    let _ = tenant;
    Ok(())
}

#[with_circuit_breaker(op = "key", key = tenant, class = |_| "")]
async fn classed(tenant: &str) -> io::Result<()> {
    let _ = tenant;
    Ok(())
}

fn main() {}
