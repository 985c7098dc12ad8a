use bindu_cb::retry_with_breaker;

#[derive(Clone)]
struct Store;

impl Store {
    #[retry_with_breaker(op = "storage", clone(self))]
    async fn load(self) -> std::io::Result<Self> {
        Ok(self)
    }
}

fn main() {
    drop(Store.load());
}
