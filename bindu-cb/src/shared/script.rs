//! A Lua script, and what one answers.

use redis::Value;

use super::client_error::ClientError;
use super::codec::Value as Answer;

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
pub(super) fn from_value(value: Value) -> Result<Answer, ClientError> {
    match value {
        Value::Nil => Ok(Answer::Nil),
        Value::Int(number) => Ok(Answer::Int(number)),
        Value::BulkString(bytes) => Ok(Answer::Bytes(bytes)),
        Value::SimpleString(text) => Ok(Answer::Bytes(text.into_bytes())),
        Value::Okay => Ok(Answer::Bytes(b"OK".to_vec())),
        Value::Array(values) => {
            let answers: Result<_, _> = values.into_iter().map(from_value).collect();
            answers.map(Answer::List)
        }
        Value::ServerError(error) => Err(redis::RedisError::from(error).into()),
        // A script speaks RESP2 unless it asks otherwise: this is the answer to something else.
        _ => Err(ClientError::Protocol { what: "an answer that no script gives" }),
    }
}
