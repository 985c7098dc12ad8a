//! The page: one document, with its script and style inside.

use std::sync::LazyLock;

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing from elsewhere, and of scripts and styles these two. They are named by what they are, so a
/// change of one needs a new hash: the test below tells it.
pub(super) const POLICY: &str = concat!(
    "default-src 'none'; ",
    "script-src 'sha256-RQCYuTHZZuJICY/9dO8Jfxj2fI6jb6q1zwepwmEsS78='; ",
    "style-src 'sha256-y9ertG6V0/eoIQWc4xqqUwHG94r7CpjdvsbLWyRLRQE='; ",
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; ",
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

pub(super) fn html() -> &'static str {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let with_style = HTML.replacen("/* page.css */", STYLE, 1);
        with_style.replacen("/* page.js */", SCRIPT, 1)
    });
    &PAGE
}
