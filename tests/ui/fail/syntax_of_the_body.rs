use bindu_cb::retry_storage_operation;

struct Store;

impl Store {
    #[retry_storage_operation]
    async fn load(&self) -> std::io::Result<u32> {
        let half = self.;
        Ok(1)
    }
}

fn main() {
    drop(Store.load());
}
