use bindu_cb::{retry_storage_operation, retry_with_breaker};

struct Store;

impl Store {
    const OP: &'static str = "storage";
    const ATTEMPTS: u32 = 3;

    #[retry_with_breaker(op = Self::OP)]
    async fn load(&self) -> std::io::Result<u32> {
        Ok(1)
    }

    #[retry_storage_operation(attempts = Self::ATTEMPTS)]
    async fn save(&self) -> std::io::Result<u32> {
        Ok(1)
    }
}

fn main() {
    drop((Store.load(), Store.save()));
}
