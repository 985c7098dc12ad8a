//! Names of the user's that the expansion uses as well.

use std::io;

use bindu_cb::{retry_with_breaker, with_circuit_breaker};

trait Ext {
    fn enter(&self) {}
    fn split(&self) {}
    fn ok(&self) {}
    fn err(&self) {}
    fn success(&self) {}
    fn failed(&self) {}
    fn wait(&self) {}
    fn within(&self) {}
}

impl<T> Ext for T {}

#[allow(non_upper_case_globals, dead_code)]
const __ret: u32 = 0;
#[allow(non_upper_case_globals, dead_code)]
static tag: u32 = 0;

#[retry_with_breaker(op = "names", timeout = 5)]
async fn all(
    __tag: u32,
    __call: u32,
    __open: u32,
    __r: u32,
    __v: u32,
    __e: u32,
) -> io::Result<u32> {
    let __delay = __tag + __call + __open + __r + __v + __e;
    Ok(__delay)
}

#[with_circuit_breaker(timeout = 5)]
async fn once(call: u32, open: u32, __t: u32, __attempt: u32) -> io::Result<u32> {
    0.enter();
    Ok(call + open + __t + __attempt)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    assert_eq!(all(1, 2, 3, 4, 5, 6).await?, 21);
    assert_eq!(once(1, 2, 3, 4).await?, 10);
    Ok(())
}
