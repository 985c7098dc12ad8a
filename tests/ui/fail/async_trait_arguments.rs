use bindu_cb::retry_storage_operation;

#[async_trait::async_trait]
trait Store {
    async fn load(self: Box<Self>, key: String) -> std::io::Result<String>;
    async fn save(&self, key: String) -> std::io::Result<String>;
}

#[async_trait::async_trait]
impl Store for () {
    #[retry_storage_operation(clone(kee))]
    async fn load(mut self: Box<Self>, key: String) -> std::io::Result<String> {
        *self = ();
        Ok(key)
    }

    #[retry_storage_operation]
    async fn save(&self, mut key: String) -> std::io::Result<String> {
        key.push('!');
        Ok(key)
    }
}

fn main() {}
