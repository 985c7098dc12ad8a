//! Type and const parameters, lifetimes, where-clauses.

use std::borrow::Cow;
use std::fmt::{Debug, Display};
use std::io;
use std::marker::PhantomData;

use bindu_cb::{retry_with_breaker, with_circuit_breaker};

#[retry_with_breaker(op = "generic")]
async fn describe<T: Debug, const N: usize>(items: [T; N]) -> io::Result<String> {
    Ok(format!("{items:?} of {N}"))
}

#[retry_with_breaker(op = "generic")]
async fn longest<'a, 'b: 'a>(a: &'a str, b: &'b str) -> Result<&'a str, io::Error> {
    if a.len() > b.len() { Ok(a) } else { Ok(b) }
}

#[retry_with_breaker(op = "generic")]
async fn elided(text: &str) -> io::Result<Cow<'_, str>> {
    Ok(Cow::Borrowed(text.trim()))
}

#[retry_with_breaker(op = "generic")]
async fn bounded<T, E>(value: &T) -> Result<String, E>
where
    T: Display + ?Sized,
    E: From<bindu_cb::CircuitBreakerOpenError>,
{
    Ok(value.to_string())
}

#[with_circuit_breaker]
async fn borrowing_error<'a>(text: &'a str) -> Result<u32, Borrowed<'a>> {
    text.parse().map_err(|_| Borrowed(text))
}

#[derive(Debug)]
struct Borrowed<'a>(&'a str);

impl Display for Borrowed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Borrowed<'_> {}

impl From<bindu_cb::CircuitBreakerOpenError> for Borrowed<'_> {
    fn from(_: bindu_cb::CircuitBreakerOpenError) -> Self {
        Borrowed("open")
    }
}

struct Client<'a, T>(&'a str, PhantomData<T>);

impl<'a, T: Default> Client<'a, T> {
    #[retry_with_breaker(op = "generic")]
    async fn name(&self) -> io::Result<&'a str> {
        Ok(self.0)
    }

    #[retry_with_breaker(op = "generic")]
    async fn make(&self) -> io::Result<T> {
        Ok(T::default())
    }

    #[retry_with_breaker(op = "generic")]
    async fn convert<U>(&self, value: T) -> io::Result<U>
    where
        T: Clone,
        U: From<T>,
    {
        Ok(U::from(value.clone()))
    }
}

type Answer<T> = Result<T, io::Error>;

#[retry_with_breaker(op = "generic")]
async fn alias<T: Copy>(value: T) -> Answer<T> {
    Ok(value)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    assert_eq!(describe([1, 2]).await?, "[1, 2] of 2");
    assert_eq!(longest("a", "bc").await?, "bc");
    assert_eq!(elided(" a ").await?, "a");
    assert_eq!(bounded::<str, io::Error>("x").await?, "x");
    assert!(borrowing_error("x").await.is_err());
    let client = Client("c", PhantomData::<u8>);
    assert_eq!(client.name().await?, "c");
    assert_eq!(client.make().await?, 0);
    assert_eq!(client.convert::<u32>(3).await?, 3);
    assert_eq!(alias(4).await?, 4);
    Ok(())
}
