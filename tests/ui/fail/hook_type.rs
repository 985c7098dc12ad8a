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

#[retry_storage_operation(class = |e| e.to_string())]
async fn no_static_text() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_storage_operation(class = class_of_text)]
async fn class_of_another() -> std::io::Result<u32> {
    Ok(1)
}

fn class_of_text(_: &String) -> &'static str {
    ""
}

fn main() {}
