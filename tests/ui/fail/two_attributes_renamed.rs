use bindu_cb::{retry_with_breaker, with_circuit_breaker as guarded};

#[retry_with_breaker(op = "storage")]
#[guarded(op = "storage")]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
