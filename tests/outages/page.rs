//! The blocks of the page that are log lines: those whose fence says ` ```text <name> `.

use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../docs/OUTAGES.md");

/// Every source that compares a block.
const SCENARIOS: [&str; 5] = [
    include_str!("by_hand.rs"),
    include_str!("calls.rs"),
    include_str!("servers.rs"),
    include_str!("settings.rs"),
    include_str!("states.rs"),
];

fn blocks() -> BTreeMap<&'static str, &'static str> {
    let blocks = PAGE.split("\n```text ").skip(1).map(|rest| {
        let (name, rest) = rest.split_once('\n').expect("a fence is a line");
        (name, rest.split_once("```").expect("each block has its end").0.trim_end())
    });
    blocks.collect()
}

/// Fails unless the page shows these lines under this name, and no others.
#[track_caller]
pub fn shows(name: &str, lines: &str) {
    let documented = blocks().get(name).copied().unwrap_or_default();
    assert_eq!(documented, lines.trim_end(), "\nto be in docs/OUTAGES.md as {name}:\n{lines}\n");
}

/// The same, but for what follows `error=`: the texts of the system and of the server.
#[track_caller]
pub fn shows_but_for_errors(name: &str, lines: &str) {
    alike(name, lines, " error=");
}

/// The same, but for what follows `wait=`: what is left of a wait elsewhere.
#[track_caller]
pub fn shows_but_for_waits(name: &str, lines: &str) {
    alike(name, lines, " wait=");
}

#[track_caller]
fn alike(name: &str, lines: &str, field: &str) {
    let cut = |lines: &str| {
        let up_to = |line: &str| match line.split_once(field) {
            Some((before, _)) => format!("{before}{field}"),
            None => line.to_owned(),
        };
        lines.lines().map(up_to).collect::<Vec<_>>()
    };
    let documented = blocks().get(name).copied().unwrap_or_default();
    assert_eq!(cut(documented), cut(lines), "\nto be in docs/OUTAGES.md as {name}:\n{lines}\n");
}

#[test]
fn every_block_is_the_output_of_a_run() {
    assert!(!blocks().is_empty());
    for name in blocks().keys() {
        let calls = ["", "_but_for_errors", "_but_for_waits"]
            .map(|form| format!("page::shows{form}(\"{name}\""));
        let compares = |source: &&str| calls.iter().any(|call| source.contains(call));
        let count = SCENARIOS.into_iter().filter(compares).count();
        assert_eq!(count, 1, "the block {name:?} of docs/OUTAGES.md");
    }
}

/// Those of its first table, which leads from a line to its outage.
#[test]
fn every_message_that_the_table_lists_is_in_a_block() {
    let table = PAGE.split_once("| message |").expect("there is the table").1;
    let table = table.split_once("\n\n").expect("it ends").0;
    let messages: Vec<_> = table.lines().skip(2).map(|row| row.split('`').nth(1)).collect();
    assert!(messages.len() > 10, "{messages:?}");
    for message in messages {
        let message = message.expect("a row begins with a message");
        let shown = blocks()
            .values()
            .flat_map(|block| block.lines())
            .any(|line| message.split(" … ").all(|part| line.contains(part)));
        assert!(shown, "no block shows {message:?}");
    }
}
