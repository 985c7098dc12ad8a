use bindu_cb::with_circuit_breaker;

#[with_circuit_breaker(
    window = "100 calls",
    failure_rate = 50,
    slow_call_rate = 90,
    minimum_calls = 10,
    slow_call = "2s"
)]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
