use bindu_cb::retry_with_breaker;

#[retry_with_breaker(op = "storage")]
async fn save(rows: Vec<u32>) -> std::io::Result<Vec<u32>> {
    Ok(rows)
}

fn main() {
    drop(save(Vec::new()));
}
