//! `impl Trait` as argument and return type.

use std::fmt::{Debug, Display};
use std::io;

use bindu_cb::{retry_with_breaker, with_circuit_breaker};

#[retry_with_breaker(op = "impl")]
async fn argument(value: impl Display, name: &impl Debug) -> io::Result<String> {
    Ok(format!("{value} {name:?}"))
}

#[retry_with_breaker(op = "impl")]
async fn iterator(n: u32) -> io::Result<impl Iterator<Item = u32>> {
    if n > 100 {
        return Err(io::Error::other("too many"));
    }
    Ok((0..n).map(|i| i * 2))
}

#[retry_with_breaker(op = "impl")]
async fn nested(n: u32) -> io::Result<Vec<impl Display + use<>>> {
    Ok(vec![n])
}

#[retry_with_breaker(op = "impl")]
async fn boxed(n: u32) -> Result<Box<dyn Display + Send>, io::Error> {
    Ok(Box::new(n))
}

#[with_circuit_breaker]
async fn closure() -> io::Result<impl Fn(u32) -> u32> {
    Ok(|n| n + 1)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    assert_eq!(argument(1, &"a").await?, "1 \"a\"");
    assert_eq!(iterator(3).await?.collect::<Vec<_>>(), [0, 2, 4]);
    assert!(iterator(101).await.is_err());
    assert_eq!(nested(3).await?[0].to_string(), "3");
    assert_eq!(boxed(3).await?.to_string(), "3");
    assert_eq!(closure().await?(1), 2);
    Ok(())
}
