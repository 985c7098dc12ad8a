use bindu_cb::retry_with_breaker;

#[retry_with_breaker(op = "storage")]
pub struct Store {
    rows: Vec<u32>,
}

fn main() {
    drop(Store { rows: Vec::new() }.rows);
}
