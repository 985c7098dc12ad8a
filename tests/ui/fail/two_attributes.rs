use bindu_cb::{retry_with_breaker, with_circuit_breaker};

#[retry_with_breaker(op = "storage")]
#[with_circuit_breaker(op = "storage")]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
