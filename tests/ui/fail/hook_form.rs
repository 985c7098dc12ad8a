use bindu_cb::retry_storage_operation;

#[retry_storage_operation(retry_if = "is_transient")]
async fn text() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_storage_operation(on_open = |open, n| Ok(n))]
async fn two_arguments(n: u32) -> std::io::Result<u32> {
    Ok(n)
}

#[retry_storage_operation(fail_if = async |n| *n == 0)]
async fn asynchronous() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_storage_operation(class = "timeout")]
async fn text_for_class() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_storage_operation(class = async |_| "timeout")]
async fn asynchronous_class() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop((text(), two_arguments(1), asynchronous(), text_for_class(), asynchronous_class()));
}
