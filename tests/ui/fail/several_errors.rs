use bindu_cb::retry_with_breaker;

#[retry_with_breaker(op = " ", atempts = 3, jitter = 2.0, timeout = "soon", clone(other))]
async fn load(key: String) -> std::io::Result<String> {
    Ok(key)
}

#[retry_with_breaker(attempts = 0)]
fn save() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop((load(String::new()), save()));
}
