use bindu_cb::retry_with_breaker;

struct Store {
    rows: Vec<u32>,
}

impl Store {
    #[retry_with_breaker(op = "storage")]
    async fn last(&mut self) -> std::io::Result<&mut u32> {
        self.rows.last_mut().ok_or_else(|| std::io::Error::other("empty"))
    }
}

fn main() {
    drop(Store { rows: Vec::new() }.last());
}
