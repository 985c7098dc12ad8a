//! A service on a port of its own that answers every connection with one byte, until it is killed.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

pub(crate) struct Service {
    address: SocketAddr,
    /// `None` while it is dead.
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Service {
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        Ok(Self { address, running: Mutex::new(Some(tokio::spawn(serve(listener)))) })
    }

    /// Its port is closed when this returns.
    pub(crate) async fn kill(&self) {
        if let Some(running) = self.running.lock().await.take() {
            running.abort();
            // That it was aborted is what it says.
            let _ = running.await;
        }
    }

    /// On the same port. Nothing if it lives.
    pub(crate) async fn restore(&self) -> io::Result<()> {
        let mut running = self.running.lock().await;
        if running.is_none() {
            let listener = TcpListener::bind(self.address).await?;
            *running = Some(tokio::spawn(serve(listener)));
        }
        Ok(())
    }

    /// What its clients do.
    pub(crate) async fn ask(&self) -> io::Result<()> {
        TcpStream::connect(self.address).await?.read_u8().await?;
        Ok(())
    }
}

async fn serve(listener: TcpListener) {
    // With an error of its own it ends as if it were killed; one of a client is the client's affair.
    while let Ok((mut connection, _)) = listener.accept().await {
        let _ = connection.write_u8(1).await;
    }
}
