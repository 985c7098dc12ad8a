//! The storage service: `SET key value` and `GET key`, a line each, kept in memory.

use std::collections::HashMap;
use std::env;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, ensure};
use tokio::io::{self, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

type Rows = Arc<Mutex<HashMap<String, String>>>;

/// Starts the service as a process of its own and waits until it listens.
pub(crate) async fn start(address: SocketAddr) -> anyhow::Result<Child> {
    let mut service = Command::new(env::current_exe()?)
        .args(["serve", &address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = service.stdout.take().context("the output is piped")?;
    let first_line = BufReader::new(output).lines().next_line().await?;
    ensure!(first_line.is_some(), "the service did not start");
    Ok(service)
}

/// What the process started by [`start`] does.
pub(crate) async fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let listener = socket(address)?.listen(1024)?;
    println!("listening on {address}");
    // The parent holds the other end of the input: however the parent ends, this process does too.
    let (mut input, mut sink) = (io::stdin(), io::sink());
    tokio::select! {
        result = accept(listener) => result?,
        _ = io::copy(&mut input, &mut sink) => {}
    }
    Ok(())
}

/// A socket that may be bound to an address which others (the service that was killed, the parent
/// that keeps the port) had or have.
pub(crate) fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    let rows = Rows::default();
    loop {
        let (connection, _) = listener.accept().await?;
        tokio::spawn(answer(connection, Arc::clone(&rows)));
    }
}

async fn answer(mut connection: TcpStream, rows: Rows) -> io::Result<()> {
    let (reader, mut writer) = connection.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let reply = match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["SET", key, value] => {
                rows.lock().await.insert(key.to_owned(), value.to_owned());
                "OK \n".to_owned()
            }
            ["GET", key] => {
                let rows = rows.lock().await;
                format!("OK {}\n", rows.get(key).map_or("", String::as_str))
            }
            _ => "ERR neither SET nor GET\n".to_owned(),
        };
        writer.write_all(reply.as_bytes()).await?;
    }
    Ok(())
}
