//! Unsafe functions: what the body may do is what it could do before.

use std::io;

use bindu_cb::{retry_with_breaker, with_circuit_breaker};

#[retry_with_breaker(op = "unsafe")]
async unsafe fn read(pointer: *const u32) -> io::Result<u32> {
    Ok(unsafe { *pointer })
}

#[with_circuit_breaker]
pub async unsafe fn once(value: u32) -> io::Result<u32> {
    Ok(value)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let value = 3;
    assert_eq!(unsafe { read(&raw const value) }.await?, 3);
    assert_eq!(unsafe { once(4) }.await?, 4);
    Ok(())
}
