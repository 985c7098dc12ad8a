use bindu_cb::retry_with_breaker;

#[allow(async_fn_in_trait)]
#[retry_with_breaker(op = "storage")]
pub trait Store {
    async fn load(&self) -> std::io::Result<u32>;
}

#[retry_with_breaker(op = "storage")]
pub mod store {}

#[retry_with_breaker(op = "storage")]
pub const STORE: u32 = 1;

fn main() {}
