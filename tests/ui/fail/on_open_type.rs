use bindu_cb::retry_storage_operation;

#[retry_storage_operation(on_open = |_| 0)]
async fn no_result() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_storage_operation(on_open = async |_| Ok("none"))]
async fn other_value() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {}
