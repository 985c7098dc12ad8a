#![deny(unused_variables, unused_mut, unreachable_code, unused_must_use, dead_code)]

use bindu_cb::retry_storage_operation;

#[retry_storage_operation]
pub async fn load(unused: u32, mut constant: u32, mut never: u32) -> std::io::Result<u32> {
    let result = 1;
    let mut other = 2;
    std::io::Result::Ok(());
    return Ok(constant + other);
    println!("unreachable");
}

#[retry_storage_operation]
async fn dead() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load(1, 2, 3));
}
