use bindu_cb::retry_storage_operation;

#[retry_storage_operation(attempts)]
async fn no_value() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_storage_operation(attempts = , timeout = 1)]
async fn nothing() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_storage_operation(attempts(3))]
async fn call() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_storage_operation(attempts = 3 timeout = 1)]
async fn no_comma() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {}
