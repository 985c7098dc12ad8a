use bindu_cb::retry_with_breaker;

#[allow(async_fn_in_trait)]
trait Store {
    #[retry_with_breaker(op = "storage")]
    async fn load(&self) -> std::io::Result<u32>;
}

impl Store for () {
    async fn load(&self) -> std::io::Result<u32> {
        Ok(1)
    }
}

fn main() {}
