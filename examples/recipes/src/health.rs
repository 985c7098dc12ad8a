//! The health service of tonic, which can be told to answer something else.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc::Receiver};

use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Server, server::TcpIncoming};
use tonic::{Request, Status};

use crate::Service;

impl Service {
    /// As [`start`](Self::start), of gRPC's health service. Each status that is received is the
    /// answer to one call.
    ///
    /// # Errors
    ///
    /// As of [`start`](Self::start).
    pub fn health(answers: Receiver<Status>) -> io::Result<Self> {
        let answers = Arc::new(Mutex::new(answers));
        Self::start(move |listener| {
            let answers = Arc::clone(&answers);
            let answer = move |request: Request<()>| {
                let next = answers.lock().unwrap_or_else(PoisonError::into_inner).try_recv();
                next.map_or(Ok(request), Err)
            };
            let (_, health) = tonic_health::server::health_reporter();
            let server = Server::builder().add_service(InterceptedService::new(health, answer));
            let until_dropped = server.serve_with_incoming(TcpIncoming::from(listener));
            async { until_dropped.await.expect("it serves until it is dropped") }
        })
    }
}
