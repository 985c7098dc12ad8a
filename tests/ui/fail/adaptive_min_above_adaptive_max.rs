use bindu_cb::with_circuit_breaker;

#[with_circuit_breaker(window = "30s", adaptive = true, adaptive_min = 40, adaptive_max = 30)]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
