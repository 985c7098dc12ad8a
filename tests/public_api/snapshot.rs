//! A text that is kept in a file.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Compares `found` with the file of that name, or, with `BLESS` set, writes the file.
#[track_caller]
pub(crate) fn assert_unchanged(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("public-api").join(name);
    if env::var_os("BLESS").is_some() {
        fs::write(&path, found).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == found,
        "tests/public-api/{name} is no longer what there is:\n\n{}\n\
         If this is meant, `BLESS=1 cargo test --all-features surface_` writes the file anew; \
         docs/COMPATIBILITY.md says what such a change takes.",
        difference(&kept, found),
    );
}

/// The lines that one of them has more often. Their order is that of names, and tells nothing.
fn difference(kept: &str, found: &str) -> String {
    let count = |text: &str, line: &str| text.lines().filter(|there| *there == line).count();
    let mut text = String::new();
    for (mark, lines, other) in [('-', kept, found), ('+', found, kept)] {
        let different: BTreeSet<_> = lines.lines().collect();
        for line in different {
            for _ in count(other, line)..count(lines, line) {
                writeln!(text, "{mark} {line}").unwrap();
            }
        }
    }
    text
}

#[test]
fn a_difference_is_what_is_gone_and_what_is_new() {
    assert_eq!(difference("a\nb\nc\n", "a\nc\nd\n"), "- b\n+ d\n");
    assert_eq!(difference("a\na\nb\n", "a\nb\nb\nb\n"), "- a\n+ b\n+ b\n");
}
