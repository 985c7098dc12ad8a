use bindu_cb::retry_with_breaker;

struct Row;

#[retry_with_breaker(op = "storage", clone(row))]
async fn save(row: Row) -> std::io::Result<Row> {
    Ok(row)
}

fn main() {
    drop(save(Row));
}
