use bindu_cb::retry_with_breaker;

#[retry_with_breaker(op = "storage")]
fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
