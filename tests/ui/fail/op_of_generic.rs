use bindu_cb::{retry_storage_operation, retry_with_breaker};

trait Named {
    const OP: &'static str;
}

#[retry_with_breaker(op = T::OP)]
async fn load<T: Named>() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_with_breaker(op = <T as Named>::OP)]
async fn qualified<T: Named>() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_storage_operation(attempts = N)]
async fn save<const N: u32>() -> std::io::Result<u32> {
    Ok(N)
}

fn main() {}
