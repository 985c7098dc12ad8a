//! Why the server could not be asked.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use redis::{ErrorKind, RedisError};

/// Each is printed in one line that shows neither the URL nor a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientError {
    /// No answer in time. What was asked for may still be done.
    Timeout { after: Duration },
    /// There is no connection, or none any more.
    Io { kind: io::ErrorKind, text: String },
    /// The server's word: `NOAUTH`, `WRONGPASS`, `NOPERM`, `OOM`, `READONLY`, `LOADING`, …
    Refused { code: String, text: String },
    /// What came is nothing that was to come.
    Protocol { what: &'static str },
}

impl ClientError {
    /// The login was refused. The server's text is not passed on: one that does not know the
    /// command repeats its arguments, and the password is one of them.
    pub(super) fn at_login(error: RedisError) -> Self {
        let told = Self::from(error);
        let Self::Refused { code, text } = told else { return told };
        let text = match &*code {
            "WRONGPASS" => "the user or the password of the URL is wrong",
            "NOAUTH" => "a password is needed, and the URL has none",
            "NOPERM" => "the user may not connect",
            "DENIED" => "the server is in protected mode: it wants a password",
            "LOADING" => "the server is loading its data",
            "ERR" if text.starts_with("max number of clients") => "it has too many clients",
            "ERR" | "NOPROTO" => "HELLO 3 is needed, which Redis 6 and Valkey understand",
            _ => "the connection was not accepted",
        };
        Self::Refused { code, text: text.to_owned() }
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io { kind: error.kind(), text: one_line(&error.to_string()) }
    }
}

impl From<RedisError> for ClientError {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io if error.is_connection_dropped() => Self::Io {
                kind: io::ErrorKind::ConnectionAborted,
                text: "the connection is closed".to_owned(),
            },
            ErrorKind::Io => {
                Self::Io { kind: io::ErrorKind::Other, text: one_line(&error.to_string()) }
            }
            ErrorKind::Server(_) | ErrorKind::Extension => {
                let text = error.detail().unwrap_or_default();
                // Before it stands the user's name.
                let text = text.find("has no permissions").map_or(text, |at| &text[at..]);
                let code = one_line(error.code().unwrap_or("ERR"));
                Self::Refused { code, text: one_line(text) }
            }
            ErrorKind::RESP3NotSupported => {
                Self::Refused { code: "ERR".to_owned(), text: String::new() }
            }
            ErrorKind::Parse => Self::Protocol { what: "an answer that is no RESP" },
            _ => Self::Protocol { what: "an answer of the wrong kind" },
        }
    }
}

/// What somebody else wrote, fit for a log.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 200;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(LONGEST).map(plain).collect()
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { after } => write!(f, "no answer within {after:?}"),
            Self::Io { text, .. } => f.write_str(text),
            Self::Refused { code, text } if text.is_empty() => write!(f, "refused: {code}"),
            Self::Refused { code, text } => write!(f, "refused: {code} {text}"),
            Self::Protocol { what } => f.write_str(what),
        }
    }
}

impl Error for ClientError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn what_a_server_says_keeps_its_code_and_loses_the_names() {
        for (line, printed) in [
            ("OOM command not allowed", "refused: OOM command not allowed"),
            ("BUSY", "refused: BUSY"),
            (
                "NOPERM User bob has no permissions to run the 'eval' command",
                "refused: NOPERM has no permissions to run the 'eval' command",
            ),
            ("ERR a\tb", "refused: ERR a b"),
        ] {
            assert_eq!(ClientError::from(said(line)).to_string(), printed);
        }
        let endless = ClientError::from(said(&"x".repeat(10_000))).to_string();
        assert!(endless.len() < 300, "{endless}");
    }

    #[test]
    fn of_a_login_only_the_code_is_passed_on() {
        for line in [
            "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'bob' 'hush' ",
            "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `bob`, `hush`, ",
            "WRONGPASS invalid password 'hush' of 'bob'",
            "MINE bob hush",
        ] {
            let error = ClientError::at_login(said(line));
            let printed = format!("{error} {error:?}");
            assert!(!printed.contains("bob") && !printed.contains("hush"), "{printed}");
            assert!(matches!(error, ClientError::Refused { .. }), "{printed}");
        }
    }
}
