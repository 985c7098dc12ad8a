use bindu_cb::with_circuit_breaker;

#[with_circuit_breaker(treshold(3), fallback = |_| Ok(0))]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
