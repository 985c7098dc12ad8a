//! The key `class` on every shape of function that has one: hooks of its own, receivers, generics,
//! `async_trait`, errors of several kinds, futures that are `Send`.

use std::io;
use std::sync::Arc;

use bindu_cb::{retry_storage_operation, retry_with_breaker, with_circuit_breaker};

struct Store {
    prefix: &'static str,
}

impl Store {
    /// The closure may look at arguments and at `self`.
    #[retry_storage_operation(class = |_| if key.is_empty() { self.prefix } else { "key" })]
    async fn load(&self, key: &str) -> io::Result<u32> {
        tokio::task::yield_now().await;
        Ok(key.len().try_into().unwrap_or(0))
    }

    #[with_circuit_breaker(class = class, timeout = 1, on_timeout = |_| io::Error::other("late"))]
    async fn by_value(self: Arc<Self>) -> io::Result<&'static str> {
        Ok(self.prefix)
    }

    #[retry_storage_operation(class = |_| "any", on_open = async |_| Ok(()), timeout = "1s")]
    async fn change(&mut self, prefix: &'static str) -> io::Result<()> {
        self.prefix = prefix;
        Ok(())
    }
}

fn class<E: ToString>(error: &E) -> &'static str {
    if error.to_string().contains("late") { "late" } else { "" }
}

#[retry_with_breaker(op = "generic", class = class, clone(value))]
async fn generic<T: Clone + Send>(value: T) -> Result<T, anyhow::Error> {
    Ok(value)
}

#[retry_with_breaker(op = "boxed", class = |_| "any")]
async fn boxed()
-> Result<Box<dyn Fn() -> u32 + Send + Sync>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Box::new(|| 1))
}

#[retry_with_breaker(op = "backoff", class = |error| match error {
    backoff::Error::Permanent(_) => "permanent",
    backoff::Error::Transient { .. } => "transient",
})]
async fn backed_off() -> Result<u32, backoff::Error<io::Error>> {
    Ok(1)
}

#[async_trait::async_trait]
trait Load {
    async fn load(&self) -> io::Result<u32>;
}

#[async_trait::async_trait]
impl Load for Store {
    #[retry_storage_operation(class = |_| self.prefix)]
    async fn load(&self) -> io::Result<u32> {
        Ok(1)
    }
}

/// Neither `Send` nor `Sync`, nor an error.
struct Local(std::rc::Rc<()>);

impl From<bindu_cb::CircuitBreakerOpenError> for Local {
    fn from(_: bindu_cb::CircuitBreakerOpenError) -> Self {
        Self(std::rc::Rc::new(()))
    }
}

#[retry_with_breaker(op = "local", class = |error| if Arc::strong_count(&Arc::new(&error.0)) == 1 { "one" } else { "" })]
async fn local() -> Result<u32, Local> {
    tokio::task::yield_now().await;
    Ok(1)
}

fn send<T: Send>(future: T) -> T {
    future
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut store = Store { prefix: "store" };
    assert!(matches!(send(store.load("ab")).await, Ok(2)));
    send(store.change("changed")).await.unwrap();
    assert!(matches!(Load::load(&store).await, Ok(1)));
    assert!(matches!(send(Arc::new(store).by_value()).await, Ok("changed")));
    assert!(matches!(send(generic(3)).await, Ok(3)));
    assert_eq!(send(boxed()).await.unwrap()(), 1);
    assert!(matches!(send(backed_off()).await, Ok(1)));
    assert!(matches!(send(local()).await, Ok(1)));
}
