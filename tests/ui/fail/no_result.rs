use bindu_cb::retry_with_breaker;

#[retry_with_breaker(op = "storage")]
async fn load() -> Option<u32> {
    Some(1)
}

fn main() {
    drop(load());
}
