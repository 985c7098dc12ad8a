//! How the process stands, for a probe endpoint.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::{Inner, Registry, current};
use crate::breaker::{CircuitBreaker, CircuitState};

impl Registry {
    /// How the process stands, for a probe endpoint or a line in the log. Cheap enough to be asked
    /// at any rate: of a closed circuit it costs a load, and no call waits for it.
    ///
    /// ```
    /// use bindu_cb::{CircuitState, get_circuit_breaker, registry};
    ///
    /// get_circuit_breaker("health:search");
    /// get_circuit_breaker("health:mail").force_open();
    ///
    /// let health = registry().health();
    /// assert!(health.is_ready(), "what it calls is down, and not this process");
    /// let mail = &health.not_closed[0];
    /// assert_eq!((mail.operation, mail.state), ("health:mail", CircuitState::ForcedOpen));
    /// # #[cfg(not(feature = "redis"))]
    /// assert_eq!(
    ///     health.to_string(),
    ///     "ready; 1 of 2 circuits not closed: health:mail forced_open",
    /// );
    /// ```
    pub fn health(&self) -> Health {
        current().health()
    }
}

/// How a process stands, from [`Registry::health`]. Printed it is one line, which names the first ten
/// circuits at most.
///
/// ```
/// assert!(bindu_cb::registry().health().to_string().starts_with("ready"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether the process [shuts down](Registry::shutdown).
    pub shutting_down: bool,
    /// All circuits that there are, those of keys and of classes included.
    pub circuits: usize,
    /// Those of them that are not closed, in the order of their names.
    pub not_closed: Vec<CircuitHealth>,
    /// Whether the server through which circuits are shared has answered the last time that it was
    /// asked. `None`: nothing is shared.
    #[cfg(feature = "redis")]
    pub shared_connected: Option<bool>,
}

/// A circuit that is not closed, in a [`Health`].
///
/// ```
/// let circuit = bindu_cb::get_circuit_breaker("health:one");
/// circuit.force_closed();
/// let health = bindu_cb::registry().health();
/// assert_eq!(health.not_closed[0].to_string(), "health:one forced_closed");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitHealth {
    /// The name of the operation.
    pub operation: &'static str,
    /// The key, of a circuit that a key has under its operation.
    pub key: Option<String>,
    /// The state.
    pub state: CircuitState,
    /// Open: how long until a call becomes a probe. Zero: the next call will.
    pub half_open_in: Option<Duration>,
}

impl Health {
    /// Whether the process is to be sent requests: until it shuts down.
    ///
    /// Not so that it is not while circuits are open: they say that something *else* is down, and
    /// all replicas that call it find that out together. A readiness probe that went by circuits
    /// would take all of them out of the load balancer at once, those requests that need nothing of
    /// the service that is down included, and would keep the probes away that close the circuits.
    /// For the same reason the server of shared circuits may be gone: each replica then goes by its
    /// own.
    ///
    /// ```
    /// fn status() -> u16 {
    ///     if bindu_cb::registry().health().is_ready() { 200 } else { 503 }
    /// }
    /// assert_eq!(status(), 200);
    /// ```
    pub fn is_ready(&self) -> bool {
        !self.shutting_down
    }
}

/// So many circuits are named in a line.
const NAMED: usize = 10;

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.shutting_down { "shutting down" } else { "ready" })?;
        let (all, some) = (self.circuits, self.not_closed.len());
        match (all, some) {
            (0, _) => f.write_str("; no circuits")?,
            (1, 0) => f.write_str("; 1 circuit closed")?,
            (_, 0) => write!(f, "; {all} circuits closed")?,
            (1, _) => f.write_str("; 1 of 1 circuit not closed: ")?,
            _ => write!(f, "; {some} of {all} circuits not closed: ")?,
        }
        for (number, circuit) in self.not_closed.iter().take(NAMED).enumerate() {
            let before = if number == 0 { "" } else { ", " };
            write!(f, "{before}{circuit}")?;
        }
        if some > NAMED {
            write!(f, " and {} more", some - NAMED)?;
        }
        #[cfg(feature = "redis")]
        f.write_str(match self.shared_connected {
            None => "",
            Some(true) => "; shared, connected",
            Some(false) => "; shared, not connected",
        })?;
        Ok(())
    }
}

impl fmt::Display for CircuitHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_plain(f, self.operation)?;
        if let Some(key) = &self.key {
            f.write_char('[')?;
            write_plain(f, key)?;
            f.write_char(']')?;
        }
        write!(f, " {}", self.state)?;
        match self.half_open_in {
            None => Ok(()),
            Some(Duration::ZERO) => f.write_str(" (half-open at the next call)"),
            Some(left) => write!(f, " (half-open in {:.1}s)", left.as_secs_f64()),
        }
    }
}

/// Keys may be chosen by strangers: what would break the line is written as an escape.
fn write_plain(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| {
        if c.is_control() { write!(f, "{}", c.escape_default()) } else { f.write_char(c) }
    })
}

impl Inner {
    pub(super) fn health(&self) -> Health {
        let (mut circuits, mut not_closed) = (0, Vec::new());
        let mut look = |circuit: &CircuitBreaker| {
            circuits += 1;
            let (state, half_open_in) = circuit.stands();
            if state != CircuitState::Closed {
                let (operation, key) = (circuit.name(), circuit.key().map(str::to_owned));
                not_closed.push(CircuitHealth { operation, key, state, half_open_in });
            }
        };
        // Under the lock, which others want only to make a circuit: taken out, each would have to be
        // counted as held, and so kept from being forgotten.
        for entry in self.read().entries.values() {
            look(&entry.circuit);
            entry.keys.each(&mut look);
        }
        // Keys are kept in the order of their hashes. Stable: an operation's own circuit is first.
        not_closed.sort_by(|a, b| (a.operation, &a.key).cmp(&(b.operation, &b.key)));
        Health {
            shutting_down: self.shutdown.has_begun(),
            circuits,
            not_closed,
            #[cfg(feature = "redis")]
            shared_connected: self.is_connected(),
        }
    }
}
