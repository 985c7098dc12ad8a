use bindu_cb::{retry_with_breaker, with_circuit_breaker};

#[retry_with_breaker(op = "storage")]
async fn value() -> std::io::Result<u32> {
    Ok("one")
}

#[retry_with_breaker(op = "storage", timeout = 1)]
async fn nothing(n: u32) -> std::io::Result<u32> {
    println!("{n}");
}

#[with_circuit_breaker]
async fn early(n: u32) -> std::io::Result<u32> {
    if n == 0 {
        return n;
    }
    Ok(n)
}

fn main() {}
