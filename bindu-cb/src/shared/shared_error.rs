//! Why a `Fleet` could not do what it was asked.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::server::ServerError;
use crate::error::SettingsError;

/// Why a [`Fleet`](crate::Fleet) could not do what it was asked.
///
/// Holds no user and no password, whatever the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedError {
    /// The settings cannot be used; nobody was asked.
    #[non_exhaustive]
    Settings {
        /// What is wrong with them.
        source: SettingsError,
    },
    /// An argument cannot be used; nobody was asked.
    #[non_exhaustive]
    Argument {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        advice: &'static str,
    },
    /// There is no connection, or none any more.
    #[non_exhaustive]
    NotConnected {
        /// Why.
        reason: String,
    },
    /// No answer in time. If it was to change something, it may have done so, but will not do so any
    /// more.
    #[non_exhaustive]
    TimedOut {
        /// What was waited for the one answer that did not come.
        after: Duration,
    },
    /// The server's word, by its code: `WRONGPASS`, `NOPERM`, `OOM`, `READONLY`, …
    #[non_exhaustive]
    Refused {
        /// What it said.
        reason: String,
    },
    /// What the server has is not what this version of the crate understands.
    #[non_exhaustive]
    NotUnderstood {
        /// What is not understood.
        reason: String,
    },
    /// Changes were pushed that are lost: more than may wait to be read, or of a later version of
    /// the crate. [`Fleet::list`](crate::Fleet::list) says how things stand.
    Missed,
}

impl SharedError {
    pub(super) fn new(error: ServerError, after: Duration) -> Self {
        match error {
            ServerError::Disconnected { reason } => Self::NotConnected { reason },
            ServerError::TimedOut => Self::TimedOut { after },
            ServerError::Refused { reason } => Self::Refused { reason },
            ServerError::NotUnderstood { reason } => Self::NotUnderstood { reason },
        }
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings { source } => source.fmt(f),
            Self::Argument { name, advice } => write!(f, "`{name}` {advice}"),
            Self::NotConnected { reason } => write!(f, "not connected: {reason}"),
            Self::TimedOut { after } => write!(f, "no answer within {after:?}"),
            Self::Refused { reason } => write!(f, "refused by the server: {reason}"),
            Self::NotUnderstood { reason } => f.write_str(reason),
            Self::Missed => f.write_str("changes were missed; list the circuits again"),
        }
    }
}

impl Error for SharedError {}

impl From<SettingsError> for SharedError {
    fn from(source: SettingsError) -> Self {
        Self::Settings { source }
    }
}
