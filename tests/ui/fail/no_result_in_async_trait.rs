use bindu_cb::retry_storage_operation;

#[async_trait::async_trait]
trait Store {
    async fn load(&self) -> u32;
    async fn save(&self);
}

#[async_trait::async_trait]
impl Store for () {
    #[retry_storage_operation]
    async fn load(&self) -> u32 {
        1
    }

    #[retry_storage_operation]
    async fn save(&self) {}
}

fn main() {}
