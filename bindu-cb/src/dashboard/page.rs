//! The page: one document, with its script and style inside.

use std::sync::LazyLock;

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing from elsewhere, and of scripts and styles these two. They are named by what they are, so a
/// change of one needs a new hash: the test below tells it.
pub(super) const POLICY: &str = concat!(
    "default-src 'none'; ",
    "script-src 'sha256-aOmFnsdZcHlWUEj60qC6qd93prHEdsLLiOzIZXJEY6o='; ",
    "style-src 'sha256-tHry7v0NwcpBxJFwsWpuHvGY6T+ewbiIeGCWxPIVNkA='; ",
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

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine};
    use sha2::{Digest, Sha256};

    use super::*;

    /// What the browser compares. It reads the lines of a checkout with other line ends as these.
    fn hash(text: &str) -> String {
        format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text.replace("\r\n", "\n"))))
    }

    fn between<'p>(page: &'p str, begin: &str, end: &str) -> &'p str {
        let (_, rest) = page.split_once(begin).expect("it begins");
        rest.split_once(end).expect("it ends").0
    }

    #[test]
    fn the_policy_names_the_script_and_the_style_of_the_page() {
        let script = between(html(), "<script type=\"module\">", "</script>");
        let style = between(html(), "<style>", "</style>");
        for (directive, text) in [("script-src", script), ("style-src", style)] {
            assert!(text.len() > 1_000, "it is there");
            let rule = format!("{directive} {}; ", hash(text));
            assert!(POLICY.contains(&rule), "page.rs is to say: {rule}");
        }
    }

    #[test]
    fn there_is_one_script_and_one_style() {
        for element in ["<script", "</script", "<style", "</style"] {
            assert_eq!(html().matches(element).count(), 1, "{element}");
        }
        assert!(!html().contains(" style=") && !html().contains(" onclick="));
    }
}
