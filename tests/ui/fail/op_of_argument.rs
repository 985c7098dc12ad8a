use bindu_cb::retry_with_breaker;

#[retry_with_breaker(op = host)]
async fn load(host: &'static str) -> std::io::Result<&'static str> {
    Ok(host)
}

fn main() {
    drop(load("a"));
}
