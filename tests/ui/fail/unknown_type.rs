use bindu_cb::retry_storage_operation;

#[retry_storage_operation(timeout = 1)]
async fn load(key: Key) -> Result<Row, StoreError> {
    Ok(Row)
}

fn main() {}
