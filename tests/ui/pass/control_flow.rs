//! `?`, `return`, loops, nested items and recursion in the body.

use std::io;

use bindu_cb::{retry_with_breaker, with_circuit_breaker};

#[retry_with_breaker(op = "flow")]
async fn early(n: i32) -> io::Result<i32> {
    if n < 0 {
        return Ok(-n);
    }
    let parsed: i32 = "1".parse().map_err(io::Error::other)?;
    for i in 0..10 {
        if i == n {
            return Ok(i + parsed);
        }
    }
    Err(io::Error::other("none"))
}

#[retry_with_breaker(op = "flow")]
async fn fact(n: u64) -> io::Result<u64> {
    if n == 0 {
        return Ok(1);
    }
    Ok(n * Box::pin(fact(n - 1)).await?)
}

#[retry_with_breaker(op = "flow")]
async fn items(n: u32) -> io::Result<u32> {
    const N: u32 = 2;
    fn double(n: u32) -> u32 {
        n * N
    }
    #[with_circuit_breaker]
    async fn inner(n: u32) -> io::Result<u32> {
        Ok(double(n))
    }
    macro_rules! add {
        ($x:expr) => {
            $x + 1
        };
    }
    Ok(add!(inner(n).await?))
}

#[retry_with_breaker(op = "flow", attempts = 1)]
async fn never() -> io::Result<()> {
    for _ in 0..2 {
        tokio::task::yield_now().await;
    }
    Err(io::Error::other("never"))
}

#[retry_with_breaker(op = "flow")]
async fn unfinished() -> io::Result<u32> {
    todo!()
}

#[retry_with_breaker(op = "flow")]
async fn shadowing(x: u32) -> io::Result<u32> {
    #[allow(non_upper_case_globals, dead_code)]
    const y: u32 = 1;
    let x = x + 1;
    Ok(x)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    assert_eq!(early(-3).await?, 3);
    assert_eq!(early(3).await?, 4);
    assert_eq!(fact(5).await?, 120);
    assert_eq!(items(3).await?, 7);
    assert!(never().await.is_err());
    assert_eq!(shadowing(1).await?, 2);
    drop(unfinished());
    Ok(())
}
