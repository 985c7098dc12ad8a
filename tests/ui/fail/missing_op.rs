use bindu_cb::retry_with_breaker;

#[retry_with_breaker]
async fn bare() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_with_breaker(attempts = 3)]
async fn without() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_with_breaker("storage")]
async fn without_key() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop((bare(), without(), without_key()));
}
