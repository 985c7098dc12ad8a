use bindu_cb::retry_with_breaker;

#[retry_with_breaker(op = "storage", clone(keys))]
async fn load(key: String, (limit, _): (u32, u32)) -> std::io::Result<u32> {
    drop(key);
    Ok(limit)
}

#[retry_with_breaker(op = "storage", clone(key))]
async fn none() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop((load(String::new(), (1, 2)), none()));
}
