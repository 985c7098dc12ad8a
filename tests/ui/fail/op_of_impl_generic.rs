use bindu_cb::retry_with_breaker;

trait Named {
    const OP: &'static str;
}

struct Store<T>(T);

impl<T: Named> Store<T> {
    #[retry_with_breaker(op = T::OP)]
    async fn load(&self) -> std::io::Result<u32> {
        Ok(1)
    }
}

fn main() {
    drop(Store(1));
}
