//! Where the server is, and who we are to it: what a URL says, without ever showing all of it.

use std::fmt;
use std::path::PathBuf;

use redis::{ConnectionAddr, IntoConnectionInfo};

/// The server and the login. What it prints is fit for a log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(super) endpoint: Endpoint,
    pub(super) login: Option<Login>,
    pub(super) database: i64,
    /// The URL without the login.
    shown: String,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// A text that is no URL of a server, as far as it can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadAddress {
    pub(super) shown: String,
    pub(super) advice: String,
}

const MASK: &str = "***";
const SYNTAX: &str = "expected a URL such as redis://user:password@host:6379/0, rediss://host or \
                      unix:///run/redis.sock?db=0; in a user or password @ is written %40, : %3A, \
                      / %2F, ? %3F, # %23 and % %25";

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, BadAddress> {
        let text = text.trim();
        let no_url = || BadAddress { shown: hidden(text), advice: SYNTAX.to_owned() };
        let mut url = redis::parse_redis_url(text).ok_or_else(no_url)?;
        let scheme = url.scheme().to_owned();
        let is_unix = scheme.ends_with("unix");
        let tls = matches!(&*scheme, "rediss" | "valkeys");
        let has_login = !url.username().is_empty() || url.password().is_some();
        let path = url.path().trim_matches('/');
        let parameters: Vec<_> = url.query_pairs().collect();

        // A `/` or `?` in a password ends what is taken for the host: then nothing is what it seems.
        let rest = [url.path(), url.query().unwrap_or(""), url.fragment().unwrap_or("")];
        let has_stray_at = rest.concat().contains('@');
        if if is_unix { has_login } else { has_stray_at } {
            return Err(no_url());
        }

        let shown = if is_unix {
            let secret = parameters.iter().any(|(name, _)| matches!(&**name, "user" | "pass"));
            // It may be part of a path, or of a login that is out of place.
            let path = if has_stray_at { MASK } else { url.path() };
            format!("{scheme}://{path}{}", if secret { "?***" } else { "" })
        } else {
            let is_number = path.bytes().all(|byte| byte.is_ascii_digit());
            format!(
                "{scheme}://{}{}{}/{}",
                if has_login { "***@" } else { "" },
                url.host_str().unwrap_or_default(),
                url.port().map(|port| format!(":{port}")).unwrap_or_default(),
                match path {
                    "" => "0",
                    path if is_number => path,
                    _ => MASK,
                },
            )
        };
        let bad = |advice: &str| BadAddress { shown: shown.clone(), advice: advice.to_owned() };

        let known: &[&str] =
            if is_unix { &["db", "user", "pass", "protocol"] } else { &["protocol"] };
        if parameters.iter().any(|(name, _)| !known.contains(&&**name)) {
            return Err(bad(if is_unix {
                "expected no parameters but db, user and pass"
            } else {
                "expected no parameters after a ?"
            }));
        }
        if url.fragment().is_some() {
            return Err(bad("expected nothing after a #: certificates are always checked"));
        }
        if !is_unix && !path.is_empty() && path.parse::<u32>().is_err() {
            return Err(bad("expected the number of a database after the host: redis://host/0"));
        }
        if tls && cfg!(not(feature = "redis-tls")) {
            return Err(bad("needs TLS: enable the feature \"redis-tls\" of bindu-cb"));
        }

        drop(parameters);
        // The crate's own TLS is not compiled in, and it would refuse the URL.
        if tls && url.set_scheme("redis").is_err() {
            return Err(no_url());
        }
        let info = url.into_connection_info().map_err(|_| bad(SYNTAX))?;
        let endpoint = match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                Endpoint::Tcp { host: host.clone(), port: *port, tls }
            }
            ConnectionAddr::Unix(path) => Endpoint::Unix(path.clone()),
            _ => return Err(bad(SYNTAX)),
        };
        let settings = info.redis_settings();
        let login = match (settings.username(), settings.password()) {
            (None, None) => None,
            // Without a password the crate would leave the user out and be let in as `default`.
            (user, password) => Some(Login {
                user: user.unwrap_or("default").to_owned(),
                password: password.unwrap_or_default().to_owned(),
            }),
        };
        Ok(Self { endpoint, login, database: settings.db(), shown })
    }
}

/// All that can be said of a text in which the password may be anywhere.
fn hidden(text: &str) -> String {
    const SCHEMES: [&str; 7] =
        ["redis", "rediss", "valkey", "valkeys", "unix", "redis+unix", "valkey+unix"];
    match text.split_once("://") {
        Some((scheme, _)) if SCHEMES.contains(&scheme) => format!("{scheme}://{MASK}"),
        _ => MASK.to_owned(),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Host and port, user and password, database, and how it is shown.
    type Parts = (String, Option<(String, String)>, i64, String);

    fn parts(text: &str) -> Parts {
        let address = Address::parse(text).unwrap_or_else(|bad| panic!("{text}: {bad:?}"));
        let shown = address.to_string();
        let endpoint = match address.endpoint {
            Endpoint::Tcp { host, port, tls: false } => format!("{host} {port}"),
            Endpoint::Tcp { host, port, tls: true } => format!("{host} {port} tls"),
            Endpoint::Unix(path) => path.display().to_string(),
        };
        (endpoint, address.login.map(|login| (login.user, login.password)), address.database, shown)
    }

    #[track_caller]
    fn check(text: &str, endpoint: &str, login: Option<(&str, &str)>, database: i64, shown: &str) {
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        assert_eq!(parts(text), (endpoint.to_owned(), login, database, shown.to_owned()));
    }

    #[test]
    fn urls_are_understood_and_shown_without_the_login() {
        check("redis://h", "h 6379", None, 0, "redis://h/0");
        check("redis://h:1/", "h 1", None, 0, "redis://h:1/0");
        check(" redis://127.0.0.1:7000/3\n", "127.0.0.1 7000", None, 3, "redis://127.0.0.1:7000/3");
        check("redis://[::1]:7000", "::1 7000", None, 0, "redis://[::1]:7000/0");
        check("redis://u:p@h/2", "h 6379", Some(("u", "p")), 2, "redis://***@h/2");
        check("redis://:p@h", "h 6379", Some(("default", "p")), 0, "redis://***@h/0");
        check("redis://u@h", "h 6379", Some(("u", "")), 0, "redis://***@h/0");
        check("redis://u:@h", "h 6379", Some(("u", "")), 0, "redis://***@h/0");
        check("unix:///run/redis@1/r", "/run/redis@1/r", None, 0, "unix://***");
        check("valkey://h/?protocol=resp3", "h 6379", None, 0, "valkey://h/0");
        check("unix:///run/r.sock", "/run/r.sock", None, 0, "unix:///run/r.sock");
        check(
            "unix:///run/r.sock?db=2&user=u&pass=p",
            "/run/r.sock",
            Some(("u", "p")),
            2,
            "unix:///run/r.sock?***",
        );
    }

    #[test]
    fn passwords_may_hold_anything_that_is_escaped_and_much_that_is_not() {
        for (written, meant) in [
            ("p%40ss", "p@ss"),
            ("p@ss", "p@ss"),
            ("a:b", "a:b"),
            ("%2F%3F%23%25%3A", "/?#%:"),
            ("100%", "100%"),
            ("+%20 ", "+  "),
            ("é", "é"),
        ] {
            let text = format!("redis://u:{written}@h:1/0");
            check(&text, "h 1", Some(("u", meant)), 0, "redis://***@h:1/0");
        }
    }

    #[test]
    fn tls_needs_its_feature_and_says_so() {
        let parsed = Address::parse("rediss://:p@h");
        if cfg!(feature = "redis-tls") {
            check("rediss://:p@h", "h 6379 tls", Some(("default", "p")), 0, "rediss://***@h/0");
            check("valkeys://h", "h 6379 tls", None, 0, "valkeys://h/0");
        } else {
            let bad = parsed.unwrap_err();
            assert_eq!(bad.shown, "rediss://***@h/0");
            assert!(bad.advice.contains("redis-tls"), "{bad:?}");
        }
    }

    #[test]
    fn of_what_is_no_url_nothing_is_shown_that_could_be_the_password() {
        for (text, shown) in [
            ("", "***"),
            ("secret", "***"),
            ("user:secret@host:6379", "***"),
            ("http://:secret@host", "***"),
            ("secret://host", "***"),
            ("redis:secret", "redis:///***"),
            ("redis://:se/cret@host:6379/0", "redis://***"),
            ("redis://:12/secret@host:6379/0", "redis://***"),
            ("redis://user:12/secret@host:6379/0", "redis://***"),
            ("redis://user:12?secret@host", "redis://***"),
            ("redis://user:12#secret@host", "redis://***"),
            ("redis://:se#cret@host", "redis://***"),
            ("redis://:secret@host:port/0", "redis://***"),
            ("redis://:secret@host:99999", "redis://***"),
            ("redis://:secret@", "redis://***"),
            ("redis://:secret@host/secret", "redis://***@host/***"),
            ("redis://:secret@host/-1", "redis://***@host/***"),
            ("redis://:secret@host?timeout=5", "redis://***@host/0"),
            ("redis://:secret@host#insecure", "redis://***@host/0"),
            ("redis://:secret@0.0.0.0", "redis://***@0.0.0.0/0"),
            ("redis://:%FF@host", "redis://***@host/0"),
            ("unix://user:secret@/run/r.sock", "unix://***"),
            ("unix:///run/r.sock?pass=secret&db=x", "unix:///run/r.sock?***"),
            ("unix:///run/r.sock?secret", "unix:///run/r.sock"),
        ] {
            let bad = Address::parse(text).expect_err(text);
            assert_eq!(bad.shown, shown, "{text}");
            assert!(!format!("{bad:?}").contains("secret"), "{text}: {bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_with_a_login_is_ever_shown_with_it(
            scheme in "redis://|rediss://|unix://|redis:|http://|",
            user in "[a-z0-9@:/?#%]{0,6}",
            before in "[ -~]{0,4}",
            after in "[ -~]{0,4}",
            host in "h(:[0-9]{1,6})?(/[0-9]?)?",
        ) {
            let text = format!("{scheme}{user}:{before}SECRET{after}@{host}");
            let shown = match Address::parse(&text) {
                Ok(address) => format!("{address} {address:?}"),
                Err(bad) => format!("{bad:?}"),
            };
            prop_assert!(!shown.to_ascii_uppercase().contains("SECRET"), "{} as {}", text, shown);
        }

        #[test]
        fn every_password_arrives_if_it_is_escaped(password in ".{0,12}") {
            let escaped = password.bytes().fold(String::new(), |text, byte| {
                format!("{text}%{byte:02X}")
            });
            let address = Address::parse(&format!("redis://u:{escaped}@h")).unwrap();
            prop_assert_eq!(address.login.unwrap().password, password);
        }
    }
}
