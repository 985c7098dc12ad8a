//! The connection to the server: one, for what is asked and for what the server pushes.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, Value,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::address::Address;
use super::client_error::ClientError;
use super::codec::Value as Answer;
use super::connect;
use super::script::{Script, from_value};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For all that it takes until the channel is subscribed to.
    pub(crate) connect: Duration,
    /// For a script, the second try included that sends its text.
    pub(crate) command: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), command: Duration::from_millis(300) }
    }
}

/// Never reconnects: when it is [closed](Self::closed) it is of no more use. Dropped, it closes the
/// connection, whatever is still to be answered.
#[derive(Debug)]
pub(crate) struct Client {
    connection: MultiplexedConnection,
    driver: Driver,
    /// Its sender is gone when the connection is.
    gone: watch::Receiver<()>,
    limits: Limits,
}

impl Client {
    /// Connects, logs in and subscribes to `channel`, whose messages go to `on_message` from then on:
    /// on the task that reads, so it must not wait.
    pub(crate) async fn connect(
        address: &Address,
        limits: Limits,
        on_message: impl Fn(Vec<u8>) + Send + Sync + 'static,
        channel: &[u8],
    ) -> Result<Self, ClientError> {
        let connecting = Self::connect_in_any_time(address, limits, on_message, channel);
        match timeout(limits.connect, connecting).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::Timeout { after: limits.connect }),
        }
    }

    async fn connect_in_any_time(
        address: &Address,
        limits: Limits,
        on_message: impl Fn(Vec<u8>) + Send + Sync + 'static,
        channel: &[u8],
    ) -> Result<Self, ClientError> {
        let stream = connect::open(&address.endpoint, limits.connect).await?;
        let (alive, gone) = watch::channel(());
        let config = AsyncConnectionConfig::new()
            // Ours is around each call, and there from its very beginning.
            .set_response_timeout(None)
            .set_push_sender(forward(on_message, alive));
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&login(address), stream, config)
                .await
                .map_err(ClientError::at_login)?;
        let driver = Driver(tokio::spawn(driver));
        let mut client = Self { connection, driver, gone, limits };
        if address.database != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(address.database);
            client.ask(&select).await?;
        }
        client.connection.subscribe(channel).await?;
        Ok(client)
    }

    /// Runs a script: by its hash, and where the server does not know that, by its text.
    ///
    /// After an error it may have run, and after a timeout it may run later.
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: &[impl AsRef<[u8]>],
        arguments: &[impl AsRef<[u8]>],
    ) -> Result<Answer, ClientError> {
        let command = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(keys.len());
            for key in keys {
                command.arg(key.as_ref());
            }
            for argument in arguments {
                command.arg(argument.as_ref());
            }
            command
        };
        let running = async {
            match self.ask(&command("EVALSHA", &script.sha1)).await {
                Err(ClientError::Refused { code, .. }) if code == "NOSCRIPT" => {
                    self.ask(&command("EVAL", script.text)).await
                }
                answer => answer,
            }
        };
        match timeout(self.limits.command, running).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Timeout { after: self.limits.command }),
        }
    }

    /// Some of the server's keys that match, from a cursor on.
    pub(crate) async fn scan(&self, cursor: &[u8], pattern: &[u8]) -> Result<Answer, ClientError> {
        // Of so many keys, matching or not: a server does that many in less than a millisecond.
        const COUNT: u32 = 1_000;
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(COUNT);
        match timeout(self.limits.command, self.ask(&scan)).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Timeout { after: self.limits.command }),
        }
    }

    /// Resolves when the connection is gone, at once if it is already.
    ///
    /// A server that is stopped, or a network that swallows everything, keeps it: only that
    /// scripts are not answered tells.
    pub(crate) async fn closed(&self) {
        // Nothing is ever sent.
        let _ = self.gone.clone().changed().await;
    }

    async fn ask(&self, command: &redis::Cmd) -> Result<Answer, ClientError> {
        let value = self.connection.clone().send_packed_command(command).await?;
        let answer = from_value(value);
        if let Err(ClientError::Protocol { .. }) = answer {
            // Questions and answers may have fallen out of step: none that follows can be trusted.
            self.driver.0.abort();
        }
        answer
    }
}

/// The task that reads and writes.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    /// By itself it would first write all that was asked, for which a stopped server has no room.
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn login(address: &Address) -> RedisConnectionInfo {
    let info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        // CLIENT SETINFO is one more command that a user must be allowed, and for nothing.
        .set_skip_set_lib_name();
    match &address.login {
        Some(login) => info.set_username(&login.user).set_password(&login.password),
        None => info,
    }
}

/// What is done with all that the server pushes. The driver calls it and owns it, and with it
/// `alive`, which so ends with the driver, however that ends.
fn forward(
    on_message: impl Fn(Vec<u8>) + Send + Sync + 'static,
    alive: watch::Sender<()>,
) -> impl Fn(PushInfo) -> Result<(), redis::aio::SendError> + Send + Sync + 'static {
    move |push| {
        let _ = &alive;
        // The channel, which is the only one, and the payload.
        if push.kind == PushKind::Message
            && let Ok([_, Value::BulkString(payload)]) = <[Value; 2]>::try_from(push.data)
        {
            on_message(payload);
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
