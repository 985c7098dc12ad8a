use bindu_cb::retry_with_breaker;

#[retry_with_breaker(op = "storage", attempts = 5, clone(n), attempts = 3, clone(n))]
async fn load(n: u32) -> std::io::Result<u32> {
    Ok(n)
}

fn main() {
    drop(load(1));
}
