use bindu_cb::{AttemptTimeoutError, retry_storage_operation};

#[retry_storage_operation(on_open = without_argument)]
async fn open() -> std::io::Result<u32> {
    Ok(1)
}

fn without_argument() -> std::io::Result<u32> {
    Ok(0)
}

#[retry_storage_operation(timeout = 1, on_timeout = text)]
async fn timeout() -> std::io::Result<u32> {
    Ok(1)
}

fn text(timeout: AttemptTimeoutError) -> String {
    timeout.to_string()
}

fn main() {}
