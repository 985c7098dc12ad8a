//! An application with the page in it, on a port of loopback.

use std::net::{Ipv4Addr, TcpListener};

use axum::Router;
use bindu_cb_test_servers::free_port;
use tokio::runtime::{Builder, Runtime};

/// Gone with its drop, connections included.
pub struct Site {
    app: Router,
    port: u16,
    runtime: Option<Runtime>,
}

impl Site {
    pub fn start(app: Router) -> Self {
        let mut site = Self { app, port: 0, runtime: None };
        for _ in 0..10 {
            // Another process may have taken it meanwhile.
            if let Ok(listener) = listen(free_port()) {
                site.port = listener.local_addr().unwrap().port();
                site.serve(listener);
                return site;
            }
        }
        panic!("ten ports that were free were not");
    }

    /// The page under `/circuits`.
    pub fn of_page() -> Self {
        Self::start(Router::new().nest_service("/circuits", bindu_cb::dashboard::router()))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// On the same port.
    pub fn restart(&mut self) {
        let listener = listen(self.port).expect("nobody else wants this port");
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        // Of its own, so that all of it can be ended.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let app = self.app.clone();
        runtime.spawn(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
        self.runtime = Some(runtime);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop();
    }
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
