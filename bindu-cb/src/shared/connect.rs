//! A stream of bytes to the server, ours rather than the `redis` crate's: that one leaves Nagle's
//! algorithm on, and takes the process's provider of cryptography, which there may be none of or
//! two, and then panics.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::Endpoint;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// `patience` is for all of a host's addresses together.
pub(super) async fn open(endpoint: &Endpoint, patience: Duration) -> io::Result<Box<dyn Stream>> {
    match endpoint {
        Endpoint::Tcp { host, port, tls: false } => Ok(Box::new(tcp(host, *port, patience).await?)),
        #[cfg(feature = "redis-tls")]
        Endpoint::Tcp { host, port, tls: true } => {
            let stream = tcp(host, *port, patience).await?;
            Ok(Box::new(super::tls::wrap(host, stream).await?))
        }
        #[cfg(unix)]
        Endpoint::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        // Settings have refused it already.
        #[allow(unreachable_patterns, reason = "none are left on unix with all features")]
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

async fn tcp(host: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    // One that swallows everything must not take the time of the next one.
    let share = patience / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A command is small, and the next one must not wait for its acknowledgement.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_packets_are_not_held_back() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = tcp("localhost", port, Duration::from_secs(5)).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }
}
