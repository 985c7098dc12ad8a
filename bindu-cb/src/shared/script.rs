//! A Lua script, and what one answers.

use redis::Value;

use super::client_error::ClientError;

#[derive(Debug)]
pub(crate) struct Script {
    pub(super) text: &'static str,
    /// The server knows it by its SHA1, once it has seen it.
    pub(super) sha1: String,
}

impl Script {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, sha1: redis::Script::new(text).get_hash().to_owned() }
    }
}

/// What a script can return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Nil,
    Int(i64),
    /// Also a status, such as `OK`.
    Bytes(Vec<u8>),
    List(Vec<Answer>),
}

impl Answer {
    pub(super) fn from_value(value: Value) -> Result<Self, ClientError> {
        match value {
            Value::Nil => Ok(Self::Nil),
            Value::Int(number) => Ok(Self::Int(number)),
            Value::BulkString(bytes) => Ok(Self::Bytes(bytes)),
            Value::SimpleString(text) => Ok(Self::Bytes(text.into_bytes())),
            Value::Okay => Ok(Self::Bytes(b"OK".to_vec())),
            Value::Array(values) => {
                let answers: Result<_, _> = values.into_iter().map(Self::from_value).collect();
                answers.map(Self::List)
            }
            Value::ServerError(error) => Err(redis::RedisError::from(error).into()),
            // A script speaks RESP2 unless it asks otherwise: this is the answer to something else.
            _ => Err(ClientError::Protocol { what: "an answer that no script gives" }),
        }
    }
}
