//! `circuitctl`, as its user runs it, on a real server.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use bindu_cb_test_servers::RedisServer;
use serde_json::{Value, json};

/// Cargo builds the package's examples with its tests.
fn program() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push("circuitctl");
    assert!(path.exists(), "cargo test -p bindu-cb-examples builds {}", path.display());
    path
}

fn command(server: &RedisServer, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).env("BINDU_CB_SHARED_URL", server.url()).env("USER", "tester");
    command.env_remove("BINDU_CB_SHARED_NAMESPACE");
    command
}

/// Exit code, output, and what it complained of.
fn run(mut command: Command) -> (i32, String, String) {
    loop {
        let output = command.output().unwrap();
        let problem = String::from_utf8(output.stderr).unwrap();
        // A busy machine may be late for once.
        if !problem.contains("no answer within") {
            let text = String::from_utf8(output.stdout).unwrap();
            return (output.status.code().unwrap(), text, problem);
        }
    }
}

#[track_caller]
fn done(server: &RedisServer, arguments: &[&str]) -> String {
    let (code, text, problem) = run(command(server, arguments));
    assert_eq!((code, &*problem), (0, ""), "{arguments:?}: {text}");
    text
}

#[track_caller]
fn fails(command: Command) -> (i32, String) {
    let (code, text, problem) = run(command);
    assert_eq!(text, "");
    assert_eq!(problem.lines().count(), 1, "{problem}");
    (code, problem.trim_end().to_owned())
}

#[test]
fn orders_and_lists_are_tables_that_a_person_can_read() {
    let server = RedisServer::start();
    let nothing = "the server has no record of any circuit in this namespace\n";
    assert_eq!(done(&server, &["list"]), nothing);
    let row = done(&server, &["open", "storage:save", "--who", "ada", "--why", "a new\ndisk"]);
    assert!(row.starts_with("OPERATION     STATE        HALF-OPEN IN"), "{row}");
    assert!(
        row.ends_with(
            "storage:save  forced_open  -             0         -         ada     a new\\ndisk\n"
        ),
        "{row}"
    );
    done(&server, &["close", "{a} b/c"]);
    done(&server, &["reset", "storage:load", "--why", "well again"]);
    assert_eq!(
        done(&server, &["list"]),
        "\
OPERATION     STATE          HALF-OPEN IN  RE-OPENS  PROBE BY  SET BY  WHY
storage:load  closed         -             0         -         tester  well again
storage:save  forced_open    -             0         -         ada     a new\\ndisk
{a} b/c       forced_closed  -             0         -         tester  -
"
    );
    assert_eq!(done(&server, &["--namespace", "other", "list"]), nothing);
}

#[test]
fn json_says_the_same() {
    let server = RedisServer::start();
    assert_eq!(done(&server, &["--json", "list"]), "[]\n");
    let text = done(&server, &["open", "a\nb", "--why", "to \"see\"", "--json"]);
    assert_eq!(text.lines().count(), 1);
    let mut circuit: Value = serde_json::from_str(&text).unwrap();
    let list: Value = serde_json::from_str(&done(&server, &["list", "--json"])).unwrap();
    assert_eq!(list, json!([circuit]));
    let one: Value = serde_json::from_str(&done(&server, &["list", "a\nb", "--json"])).unwrap();
    assert_eq!(one, list);
    assert!(circuit["epoch"].take().as_u64().is_some_and(|epoch| epoch > 0));
    let expected = json!({
        "operation": "a\nb",
        "state": "forced_open",
        "epoch": null,
        "generation": 1,
        "half_open_in_ms": null,
        "reopens": 0,
        "probe_by": null,
        "set_by": { "who": "tester", "why": "to \"see\"" },
    });
    assert_eq!(circuit, expected);
}

/// Killed when the test is over.
struct Watch(Child);

impl Watch {
    fn start(server: &RedisServer, arguments: &[&str]) -> (Self, impl Iterator<Item = String>) {
        let mut child = command(server, arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // It watches when the server has a subscriber.
        while server.cli(&["PUBSUB", "CHANNELS"]).is_empty() {}
        (Self(child), lines)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watch_prints_each_change() {
    let server = RedisServer::start();
    let (_watch, mut lines) = Watch::start(&server, &["watch"]);
    let head = lines.next().unwrap();
    assert!(head.starts_with("TIME ") && head.ends_with("SET BY    WHY"), "{head}");
    done(&server, &["open", "a", "--why", "because"]);
    let line = lines.next().unwrap();
    let words: Vec<_> = line.split_whitespace().skip(1).collect();
    assert_eq!(words, ["a", "forced_open", "-", "0", "-", "tester", "because"]);
    assert_eq!(line.find("forced_open"), head.find("STATE"));
}

#[test]
fn watch_prints_an_object_a_line_of_the_circuit_that_is_asked_for() {
    let server = RedisServer::start();
    let (mut watch, mut lines) = Watch::start(&server, &["watch", "b", "--json"]);
    done(&server, &["open", "a"]);
    done(&server, &["open", "b"]);
    done(&server, &["reset", "b"]);
    for state in ["forced_open", "closed"] {
        let change: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
        assert_eq!((&change["operation"], &change["state"]), (&json!("b"), &json!(state)));
        assert!(change["time"].as_str().unwrap().ends_with('Z'));
    }
    server.kill();
    assert_eq!(lines.next(), None);
    assert_eq!(watch.0.wait().unwrap().code(), Some(1));
}

#[test]
fn failures_are_one_line_and_a_code() {
    let server = RedisServer::options().with_password("right").start();
    assert_eq!(
        fails(command(&server, &["list", "nothing"])),
        (1, "circuitctl: there is no record of \"nothing\"".to_owned())
    );
    let mut nobody = command(&server, &["reset", "a"]);
    nobody.env("USER", "");
    let (code, problem) = fails(nobody);
    assert_eq!(code, 2);
    assert!(problem.starts_with("circuitctl: `who` is empty"), "{problem}");

    let mut wrong = command(&server, &["list"]);
    wrong.env("BINDU_CB_SHARED_URL", server.url().replace("right", "hush"));
    let (code, problem) = fails(wrong);
    assert_eq!(code, 1);
    assert!(problem.contains("WRONGPASS") && !problem.contains("hush"), "{problem}");

    let (code, problem) = fails(command(&server, &["--url", "redis://:hush@h/x", "list"]));
    assert_eq!(code, 2);
    assert!(!problem.contains("hush"), "{problem}");

    let (code, problem) = fails(command(&server, &["--namespace", "", "--url", "x", "list"]));
    assert_eq!(code, 2);
    assert!(problem.contains("namespace") && problem.contains("url"), "{problem}");

    server.kill();
    let (code, problem) = fails(command(&server, &["list"]));
    assert_eq!(code, 1);
    assert!(problem.starts_with("circuitctl: not connected: "), "{problem}");
}

#[test]
fn without_a_server_it_says_how_to_name_one() {
    let mut command = Command::new(program());
    command.arg("list").env_remove("BINDU_CB_SHARED_URL");
    let (code, _, problem) = run(command);
    assert_eq!(code, 2);
    assert!(problem.contains("--url") && problem.contains("BINDU_CB_SHARED_URL"), "{problem}");
}
