use bindu_cb::{retry_storage_operation, with_circuit_breaker};

#[retry_storage_operation]
async fn load() {
    println!("loaded");
}

#[with_circuit_breaker(timeout = 1)]
async fn save() {
    println!("saved");
}

fn main() {
    drop((load(), save()));
}
