use bindu_cb::retry_storage_operation;

#[retry_storage_operation(retry_if = |e| e.kind())]
async fn no_bool() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_storage_operation(fail_if = is_empty)]
async fn other_argument() -> std::io::Result<u32> {
    Ok(1)
}

fn is_empty(text: &String) -> bool {
    text.is_empty()
}

fn main() {}
