//! The server of the shared circuits, as a real one is: Redis or Valkey.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::address::Address;
use super::client::{Client, Limits};
use super::client_error::ClientError;
use super::codec::{
    CHANGES, Call, Changes, CodecError, Cursor, Found, Message, PROTOCOL, Reply, Value, channel,
    decode_changes, decode_found, decode_keys, decode_message, decode_reply, encode,
    encode_changes, encode_read, operation_of, state_pattern,
};
use super::news::NewsSender;
use super::protocol::{Command, Millis};
use super::script::Script;
use super::server::{Connector, Server, ServerError};

/// The way to it.
pub(crate) struct RedisConnector {
    address: Address,
    shared: Arc<Shared>,
}

struct Shared {
    namespace: String,
    protocol: Script,
    changes: Script,
}

/// A connection to it.
#[derive(Clone)]
pub(crate) struct RedisServer {
    client: Arc<Client>,
    shared: Arc<Shared>,
}

impl RedisConnector {
    pub(crate) fn new(address: Address, namespace: String) -> Self {
        let shared =
            Shared { namespace, protocol: Script::new(PROTOCOL), changes: Script::new(CHANGES) };
        Self { address, shared: Arc::new(shared) }
    }
}

impl Connector for RedisConnector {
    type Server = RedisServer;

    async fn connect(&self, pushes: NewsSender<Message>) -> Result<RedisServer, ServerError> {
        let on_message = move |payload: Vec<u8>| match decode_message(&payload) {
            Ok(message) => pushes.send(message),
            // Of a later version: what it says is read, or it is said that it cannot be.
            Err(_) => pushes.miss(),
        };
        let channel = channel(&self.shared.namespace);
        let client =
            Client::connect(&self.address, Limits::default(), on_message, &channel).await?;
        Ok(RedisServer { client: Arc::new(client), shared: Arc::clone(&self.shared) })
    }
}

impl RedisServer {
    async fn run(&self, Call { script, keys, args }: Call) -> Result<Value, ServerError> {
        let script = if script == CHANGES { &self.shared.changes } else { &self.shared.protocol };
        Ok(self.client.run(script, &keys, &args).await?)
    }
}

impl RedisServer {
    /// Every operation whose circuit the server has a record of. Goes through all of its keys.
    pub(crate) async fn operations(&self) -> Result<BTreeSet<String>, ServerError> {
        let namespace = &self.shared.namespace;
        let pattern = state_pattern(namespace);
        let (mut operations, mut cursor) = (BTreeSet::new(), b"0".to_vec());
        loop {
            let (next, keys) = decode_keys(self.client.scan(&cursor, &pattern).await?)?;
            operations.extend(keys.iter().filter_map(|key| operation_of(namespace, key)));
            if next == b"0" {
                return Ok(operations);
            }
            cursor = next;
        }
    }
}

impl Server for RedisServer {
    async fn execute(&self, op: Arc<str>, command: Command) -> Result<Reply, ServerError> {
        Ok(decode_reply(&self.run(encode(&self.shared.namespace, &op, &command)).await?)?)
    }

    async fn read(&self, ops: Vec<Arc<str>>) -> Result<(Millis, Vec<Found>), ServerError> {
        let ops: Vec<&str> = ops.iter().map(|op| &**op).collect();
        Ok(decode_found(&self.run(encode_read(&self.shared.namespace, &ops)).await?)?)
    }

    async fn changes(&self, since: Option<Cursor>) -> Result<(Millis, Changes), ServerError> {
        Ok(decode_changes(&self.run(encode_changes(&self.shared.namespace, since)).await?)?)
    }

    async fn closed(&self) {
        self.client.closed().await;
    }
}

impl From<ClientError> for ServerError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Timeout { .. } => Self::TimedOut,
            ClientError::Io { .. } | ClientError::Protocol { .. } => {
                Self::Disconnected { reason: error.to_string() }
            }
            ClientError::Refused { code, text } if text.is_empty() => {
                Self::Refused { reason: code }
            }
            ClientError::Refused { code, text } => {
                Self::Refused { reason: format!("{code} {text}") }
            }
        }
    }
}

impl From<CodecError> for ServerError {
    fn from(error: CodecError) -> Self {
        Self::NotUnderstood { reason: error.to_string() }
    }
}
