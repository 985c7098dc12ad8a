use bindu_cb::with_circuit_breaker;

#[with_circuit_breaker(window = "100 calls", minimum_calls = 101)]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
