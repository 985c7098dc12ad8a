use bindu_cb::retry_with_breaker;

struct Store;

#[retry_with_breaker(op = "storage")]
impl Store {
    async fn load(&self) -> std::io::Result<u32> {
        Ok(1)
    }
}

fn main() {
    drop(Store.load());
}
