//! Every receiver, and every visibility.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use bindu_cb::{retry_storage_operation, retry_with_breaker, with_circuit_breaker};

#[derive(Clone, Default)]
pub struct Store {
    rows: Vec<u32>,
}

impl Store {
    #[retry_with_breaker(op = "storage")]
    pub async fn by_ref(&self) -> io::Result<usize> {
        Ok(self.rows.len())
    }

    #[retry_with_breaker(op = "storage")]
    pub(crate) async fn by_mut(&mut self, row: u32) -> io::Result<()> {
        self.rows.push(row);
        Ok(())
    }

    #[retry_storage_operation]
    async fn by_value(self) -> io::Result<usize> {
        Ok(self.rows.len())
    }

    #[with_circuit_breaker]
    async fn consumed(self) -> io::Result<Vec<u32>> {
        Ok(self.rows)
    }

    #[retry_storage_operation]
    pub(self) async fn by_arc(self: Arc<Self>) -> io::Result<usize> {
        Ok(self.rows.len())
    }

    #[retry_storage_operation]
    async fn by_rc(self: Rc<Self>) -> io::Result<usize> {
        Ok(self.rows.len())
    }

    #[retry_storage_operation]
    async fn by_box(self: Box<Self>) -> io::Result<usize> {
        Ok(self.rows.len())
    }

    #[retry_storage_operation]
    async fn by_pin(self: Pin<&mut Self>) -> io::Result<usize> {
        Ok(self.rows.len())
    }

    #[retry_storage_operation]
    async fn by_typed_ref(self: &Self) -> io::Result<usize> {
        Ok(self.rows.len())
    }

    #[retry_storage_operation]
    async fn by_typed_mut(self: &mut Self) -> io::Result<usize> {
        self.rows.push(1);
        Ok(self.rows.len())
    }

    #[retry_storage_operation]
    async fn none() -> io::Result<Self> {
        Ok(Self::default())
    }

    #[retry_storage_operation]
    async fn borrows(&self) -> io::Result<&[u32]> {
        Ok(&self.rows)
    }

    #[with_circuit_breaker]
    async fn borrows_mut(&mut self) -> io::Result<&mut u32> {
        self.rows.push(1);
        self.rows.last_mut().ok_or_else(|| io::Error::other("none"))
    }
}

pub trait Load {
    fn size(&self) -> usize;

    #[allow(async_fn_in_trait)]
    #[retry_with_breaker(op = "storage")]
    async fn load(&self) -> io::Result<usize>
    where
        Self: Sized,
    {
        Ok(self.size())
    }
}

impl Load for Store {
    fn size(&self) -> usize {
        self.rows.len()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut store = Store::none().await?;
    store.by_mut(7).await?;
    assert_eq!(store.by_ref().await?, 1);
    assert_eq!(store.clone().by_value().await?, 1);
    assert_eq!(store.clone().consumed().await?, [7]);
    assert_eq!(Arc::new(store.clone()).by_arc().await?, 1);
    assert_eq!(Rc::new(store.clone()).by_rc().await?, 1);
    assert_eq!(Box::new(store.clone()).by_box().await?, 1);
    assert_eq!(Pin::new(&mut store).by_pin().await?, 1);
    assert_eq!(store.by_typed_ref().await?, 1);
    assert_eq!(store.by_typed_mut().await?, 2);
    assert_eq!(store.borrows().await?, [7, 1]);
    *store.borrows_mut().await? = 9;
    assert_eq!(store.load().await?, 3);
    Ok(())
}
