use bindu_cb::retry_with_breaker;

struct Store(u32);

impl Store {
    #[retry_with_breaker(op = "storage")]
    async fn save(mut self) -> std::io::Result<u32> {
        self.0 += 1;
        Ok(self.0)
    }

    #[retry_with_breaker(op = "storage")]
    async fn boxed(mut self: Box<Self>) -> std::io::Result<u32> {
        self.0 += 1;
        Ok(self.0)
    }
}

fn main() {
    drop((Store(1).save(), Box::new(Store(1)).boxed()));
}
