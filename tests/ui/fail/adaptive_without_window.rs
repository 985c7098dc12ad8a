use bindu_cb::with_circuit_breaker;

#[with_circuit_breaker(adaptive = true, adaptive_min = 20)]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
