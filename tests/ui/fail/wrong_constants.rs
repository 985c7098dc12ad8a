use bindu_cb::retry_with_breaker;

const NAME: String = String::new();
const MANY: u64 = 3;

#[retry_with_breaker(op = NAME)]
async fn name() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_with_breaker(op = "storage", attempts = MANY)]
async fn wrong_type() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {}
