use bindu_cb::with_circuit_breaker;

#[with_circuit_breaker(window = "many calls")]
async fn words() -> std::io::Result<u32> {
    Ok(1)
}

#[with_circuit_breaker(window = "0 calls")]
async fn empty() -> std::io::Result<u32> {
    Ok(1)
}

#[with_circuit_breaker(window = "9ms")]
async fn short() -> std::io::Result<u32> {
    Ok(1)
}

#[with_circuit_breaker(window = 100, failure_rate = 101, slow_call_rate = 0, minimum_calls = 0)]
async fn number() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {}
