use bindu_cb::retry_with_breaker;

#[retry_with_breaker(op = "storage")]
async fn save(mut rows: Vec<u32>) -> std::io::Result<usize> {
    rows.push(1);
    Ok(rows.len())
}

fn main() {
    drop(save(Vec::new()));
}
