//! Every form of `on_open` and `on_timeout`.

use std::future::{Future, pending};

use bindu_cb::{
    AttemptTimeoutError, CircuitBreakerOpenError, retry_with_breaker, with_circuit_breaker,
};

type Open = CircuitBreakerOpenError;

#[derive(Debug, PartialEq)]
enum Plain {
    Open,
    Slow,
}

fn function(_: Open) -> Result<u32, Plain> {
    Ok(2)
}

async fn async_function(_: Open) -> Result<u32, Plain> {
    tokio::task::yield_now().await;
    Ok(3)
}

#[retry_with_breaker(op = "open", on_open = |open| Err(map(open)))]
async fn closure() -> Result<u32, Plain> {
    Ok(0)
}

fn map(_: Open) -> Plain {
    Plain::Open
}

#[retry_with_breaker(op = "open", on_open = |_: Open| -> Result<u32, Plain> { Ok(text.len() as u32 + n) })]
async fn sees_arguments(text: String, n: u32) -> Result<u32, Plain> {
    Ok(n + text.len() as u32)
}

#[retry_with_breaker(op = "open", on_open = move |_| Ok(text))]
async fn moves_arguments(text: String) -> Result<String, Plain> {
    Ok(text.clone())
}

#[retry_with_breaker(op = "open", on_open = function)]
async fn path() -> Result<u32, Plain> {
    Ok(0)
}

#[retry_with_breaker(op = "open", on_open = async_function)]
async fn async_path() -> Result<u32, Plain> {
    Ok(0)
}

#[retry_with_breaker(op = "open", on_open = async |open| async_function(open).await)]
async fn async_closure() -> Result<u32, Plain> {
    Ok(0)
}

#[retry_with_breaker(op = "open", on_open = async move |_: Open| {
    if text.is_empty() {
        return Err(Plain::Open);
    }
    Ok(text)
})]
async fn async_move_closure(text: String) -> Result<String, Plain> {
    Ok(text.clone())
}

#[retry_with_breaker(op = "open", on_open = |open| async move {
    let n = async_function(open).await?;
    Ok(n + 1)
})]
async fn closure_of_async_block() -> Result<u32, Plain> {
    Ok(0)
}

#[retry_with_breaker(op = "open", on_open = |_| Ok(Box::new(|| 5)))]
async fn coerces() -> Result<Box<dyn Fn() -> u32 + Send>, Plain> {
    Ok(Box::new(|| 0))
}

struct Fallback(u32);

impl Fallback {
    #[with_circuit_breaker(op = "open", on_open = async |_| Ok(self.0))]
    async fn once(&self) -> Result<u32, Plain> {
        Ok(0)
    }

    #[retry_with_breaker(op = "open", on_open = Self::open)]
    async fn associated(&self) -> Result<u32, Plain> {
        Ok(self.0)
    }

    fn open(_: Open) -> Result<u32, Plain> {
        Ok(8)
    }
}

fn slow(_: AttemptTimeoutError) -> Plain {
    Plain::Slow
}

#[retry_with_breaker(op = "slow", attempts = 1, timeout = "1ms", on_timeout = slow, on_open = function)]
async fn timeout_path() -> Result<u32, Plain> {
    pending().await
}

#[with_circuit_breaker(op = "slow", timeout = 0.001, on_timeout = |_| Plain::Slow, on_open = function)]
async fn timeout_closure() -> Result<u32, Plain> {
    pending().await
}

fn is_send<T: Future + Send>(future: T) -> T {
    future
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let circuits = bindu_cb::testing::isolate();
    circuits.enabled(true);
    circuits.force_open("open");
    assert_eq!(closure().await, Err(Plain::Open));
    assert_eq!(is_send(sees_arguments("a".into(), 1)).await, Ok(2));
    assert_eq!(moves_arguments("a".into()).await, Ok("a".into()));
    assert_eq!(path().await, Ok(2));
    assert_eq!(coerces().await.unwrap()(), 5);
    assert_eq!(is_send(async_path()).await, Ok(3));
    assert_eq!(is_send(async_closure()).await, Ok(3));
    assert_eq!(is_send(async_move_closure("b".into())).await, Ok("b".into()));
    assert_eq!(is_send(closure_of_async_block()).await, Ok(4));
    assert_eq!(is_send(Fallback(7).once()).await, Ok(7));
    assert_eq!(Fallback(7).associated().await, Ok(8));
    assert_eq!(is_send(timeout_path()).await, Err(Plain::Slow));
    assert_eq!(timeout_closure().await, Err(Plain::Slow));
}
