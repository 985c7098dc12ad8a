//! What is written to the log: the level, the names of the fields and the message of each line.

use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};

use crate::snapshot::assert_unchanged;

#[test]
fn surface_of_the_log() {
    let mut lines = Vec::new();
    of_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../bindu-cb/src"), &mut lines);
    assert!(!lines.is_empty(), "nothing is logged");
    lines.sort();
    assert_unchanged("log.txt", &lines.concat());
}

fn of_folder(folder: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            of_folder(&path, lines);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = fs::read_to_string(&path).unwrap();
            of_code(code.parse().unwrap(), lines);
        }
    }
}

/// Finds `tracing::level!(…)`, which is how all lines are written: of a macro by another name nobody
/// could tell what it is.
fn of_code(code: TokenStream, lines: &mut Vec<String>) {
    let trees: Vec<_> = code.into_iter().collect();
    for (i, tree) in trees.iter().enumerate() {
        if let [
            TokenTree::Ident(path),
            TokenTree::Punct(_),
            TokenTree::Punct(_),
            TokenTree::Ident(level),
            TokenTree::Punct(bang),
            TokenTree::Group(arguments),
            ..,
        ] = &trees[i..]
            && path == "tracing"
            && bang.as_char() == '!'
        {
            lines.push(line(&level.to_string(), arguments.stream()));
        }
        if let [TokenTree::Ident(keyword), TokenTree::Ident(path), ..] = &trees[i..] {
            assert!(keyword != "use" || path != "tracing", "write `tracing::…!` out, to be listed");
        }
        if let TokenTree::Group(group) = tree {
            of_code(group.stream(), lines);
        }
    }
}

/// A line of the file: each argument is a field, by its name, or the message.
fn line(level: &str, arguments: TokenStream) -> String {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let is_comma = |tree: &TokenTree| matches!(tree, TokenTree::Punct(p) if p.as_char() == ',');
    let names = arguments.split(is_comma).filter_map(|argument| {
        argument.iter().find_map(|tree| match tree {
            TokenTree::Ident(name) => Some(name.to_string()),
            TokenTree::Literal(message) => Some(one_line(&message.to_string())),
            // `%` and `?` before a field.
            _ => None,
        })
    });
    format!("{level}: {}\n", names.collect::<Vec<_>>().join(", "))
}

/// A literal without the line breaks that a `\` hides.
fn one_line(literal: &str) -> String {
    literal.split("\\\n").map(str::trim_start).collect()
}

#[test]
fn fields_and_message_of_a_line() {
    let code = r#"tracing::warn!(operation, %error, wait = wait.map(f), "it \
        failed");"#;
    let mut lines = Vec::new();
    of_code(code.parse().unwrap(), &mut lines);
    assert_eq!(lines, ["warn: operation, error, wait, \"it failed\"\n"]);
}

#[test]
#[should_panic(expected = "to be listed")]
fn a_line_by_another_name_does_not_go_unseen() {
    of_code("use tracing::warn; fn f() { warn!(\"unseen\"); }".parse().unwrap(), &mut Vec::new());
}
