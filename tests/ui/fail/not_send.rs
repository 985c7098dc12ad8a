use bindu_cb::retry_storage_operation;
use std::rc::Rc;

#[retry_storage_operation]
async fn load() -> std::io::Result<u32> {
    let local = Rc::new(1);
    tokio::task::yield_now().await;
    Ok(*local)
}

fn is_send<T: Send>(_: T) {}

fn main() {
    is_send(load());
}
