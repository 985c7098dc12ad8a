use bindu_cb::retry_with_breaker;

#[retry_with_breaker(op = "storage", clone = key)]
async fn load(key: String) -> std::io::Result<String> {
    Ok(key.clone())
}

#[retry_with_breaker(op = "storage", clone(key.name, &key))]
async fn save(key: String) -> std::io::Result<String> {
    Ok(key.clone())
}

#[retry_with_breaker(op = "storage", clone(key, key), clone())]
async fn twice(key: String) -> std::io::Result<String> {
    Ok(key)
}

fn main() {}
