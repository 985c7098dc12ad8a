//! Inside `#[async_trait]` impls and traits.

use std::cell::Cell;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bindu_cb::{retry_storage_operation, retry_with_breaker, with_circuit_breaker};

#[async_trait]
pub trait Store: Send + Sync {
    async fn get(&self, key: &str) -> io::Result<String>;
    async fn put(&mut self, key: String, pair: (u32, u32)) -> io::Result<u32>;
    async fn shared(self: Arc<Self>, values: Vec<u32>) -> io::Result<Vec<u32>>;
    async fn generic<T: Debug + Send + Sync>(&self, value: T) -> io::Result<String>
    where
        Self: Sized;
    async fn consume(self: Box<Self>) -> io::Result<u32>;
    async fn moved(&self, cell: Cell<u32>, other: &mut u32) -> io::Result<u32>;

    #[retry_with_breaker(op = "default")]
    async fn by_default(&self, key: &str) -> io::Result<String> {
        self.get(key).await
    }
}

struct Memory(String);

#[async_trait]
impl Store for Memory {
    #[retry_storage_operation]
    async fn get(&self, key: &str) -> io::Result<String> {
        if key.is_empty() {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        Ok(format!("{}{key}", self.0))
    }

    #[retry_storage_operation(clone(key))]
    async fn put(&mut self, mut key: String, (a, mut b): (u32, u32)) -> io::Result<u32> {
        key.push('!');
        self.0 = key;
        b += a;
        Ok(b)
    }

    #[retry_storage_operation(clone(values))]
    async fn shared(self: Arc<Self>, values: Vec<u32>) -> io::Result<Vec<u32>> {
        Ok(values)
    }

    #[with_circuit_breaker(op = "generic")]
    async fn generic<T: Debug + Send + Sync>(&self, value: T) -> io::Result<String> {
        Ok(format!("{value:?}"))
    }

    #[retry_storage_operation(on_open = async |_| Ok(self.0.len() as u32))]
    async fn consume(self: Box<Self>) -> io::Result<u32> {
        Ok(1)
    }

    #[retry_storage_operation(timeout = "1s", on_open = |_| Ok(u32::from(self.0.is_empty())))]
    async fn moved(&self, cell: Cell<u32>, other: &mut u32) -> io::Result<u32> {
        *other += cell.get();
        tokio::task::yield_now().await;
        Ok(*other)
    }
}

#[async_trait(?Send)]
trait Local {
    async fn local(&self) -> Result<u32, Box<dyn std::error::Error + Send + Sync>>;
}

#[async_trait(?Send)]
impl Local for Memory {
    #[retry_storage_operation]
    async fn local(&self) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
        Ok("5".parse()?)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut memory = Memory("m".into());
    assert_eq!(memory.get("k").await?, "mk");
    assert_eq!(memory.by_default("k").await?, "mk");
    assert_eq!(memory.put("k".into(), (1, 2)).await?, 3);
    assert_eq!(memory.0, "k!");
    assert_eq!(memory.generic(1).await?, "1");
    assert_eq!(memory.local().await.unwrap(), 5);
    assert_eq!(memory.moved(Cell::new(1), &mut 2).await?, 3);
    assert_eq!(Arc::new(Memory("m".into())).shared(vec![1]).await?, [1]);
    assert_eq!(Box::new(memory).consume().await?, 1);
    Ok(())
}
