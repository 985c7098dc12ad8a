//! A service that can be stopped and started.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use axum::Router;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime;
use tokio::sync::oneshot;

type Serve = dyn Fn(TcpListener) -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync;

/// A service on a port of loopback, on a thread and a runtime of its own: stopped, it is gone with
/// all its connections, as a process is that was killed.
pub struct Service {
    address: SocketAddr,
    /// Bound and not listening: nobody else gets the port while the service is stopped.
    _port: TcpSocket,
    serve: Arc<Serve>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Service {
    /// Starts it on a free port. `serve` makes the future that accepts connections.
    ///
    /// # Errors
    ///
    /// If no port can be had, or no thread.
    pub fn start<F>(serve: impl Fn(TcpListener) -> F + Send + Sync + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()> + 'static,
    {
        let port = socket(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let mut service = Self {
            address: port.local_addr()?,
            _port: port,
            serve: Arc::new(move |listener| Box::pin(serve(listener))),
            running: None,
        };
        service.restart()?;
        Ok(service)
    }

    /// As [`start`](Self::start), of an HTTP server.
    ///
    /// # Errors
    ///
    /// As of [`start`](Self::start).
    pub fn http(routes: Router) -> io::Result<Self> {
        Self::start(move |listener| {
            let routes = routes.clone();
            async { axum::serve(listener, routes).await.expect("it serves until it is dropped") }
        })
    }

    /// Its address, for a client.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it. When this returns, connections are refused.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // It has printed why, if it panicked.
            let _ = thread.join();
        }
    }

    /// Starts it again, on the same port. When this returns, connections are accepted.
    ///
    /// # Errors
    ///
    /// If it cannot listen, or there is no thread.
    pub fn restart(&mut self) -> io::Result<()> {
        self.stop();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            socket(self.address)?.listen(1024)?
        };
        let serve = Arc::clone(&self.serve);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("service".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener) => {}
                    _ = stopped => {}
                }
            });
        })?;
        self.running = Some((stop, thread));
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A socket that may be bound to an address that others have or had.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}
