use bindu_cb::{retry_storage_operation, retry_with_breaker};

#[retry_with_breaker(op = "")]
async fn empty() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_storage_operation(op = " \t")]
async fn blank() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop((empty(), blank()));
}
