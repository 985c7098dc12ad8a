//! A key must have a text.

use std::io;

use bindu_cb::{retry_with_breaker, with_circuit_breaker};

struct Tenant;

#[retry_with_breaker(op = "key", key = tenant)]
async fn no_text(tenant: &Tenant) -> io::Result<()> {
    let _ = tenant;
    Ok(())
}

#[with_circuit_breaker(op = "key", key = tenant)]
async fn perhaps(tenant: Option<&str>) -> io::Result<()> {
    let _ = tenant;
    Ok(())
}

#[with_circuit_breaker(op = "key", key = (tenant, host))]
async fn several(tenant: &str, host: &str) -> io::Result<()> {
    let _ = (tenant, host);
    Ok(())
}

fn main() {}
