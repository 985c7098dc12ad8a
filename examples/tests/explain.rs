//! `explain`, as its user runs it, in different environments.

use std::path::PathBuf;
use std::process::Command;

/// Cargo builds the package's examples with its tests.
fn program() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push("explain");
    assert!(path.exists(), "cargo test -p bindu-cb-examples builds {}", path.display());
    path
}

/// Exit code, output, and what it complained of.
fn run(variables: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"BINDU_CB_") {
            command.env_remove(name);
        }
    }
    let output = command.args(arguments).envs(variables.iter().copied()).output().unwrap();
    let [text, problem] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
    (output.status.code().unwrap(), text, problem)
}

#[track_caller]
fn explains(variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let (code, text, problem) = run(variables, arguments);
    assert_eq!((code, &*problem), (0, ""), "{text}");
    text
}

#[track_caller]
fn fails(variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let (code, text, problem) = run(variables, arguments);
    assert_eq!((code, &*text), (2, ""), "{problem}");
    problem
}

/// What is said of a key below a title that begins like this: its source, and its value.
#[track_caller]
fn setting(text: &str, title: &str, key: &str) -> (String, String) {
    let below = text.lines().skip_while(|line| !line.starts_with(title)).skip(1);
    let mut lines = below.take_while(|line| line.starts_with("  "));
    let is_meant = |line: &str| line.contains(&format!("  {key} = "));
    let line = lines.find(|line| is_meant(line)).unwrap_or_else(|| panic!("{key}:\n{text}"));
    let (source, value) = line.split_once(&format!("  {key} = ")).unwrap();
    (source.trim().to_owned(), value.to_owned())
}

#[track_caller]
fn assert_setting(text: &str, title: &str, key: &str, source: &str, value: &str) {
    assert_eq!(setting(text, title, key), (source.to_owned(), value.to_owned()), "{key}");
}

const SAVE: &str = "function explain::save (";
const SAVE_ALL: &str = "function explain::save_all (";

/// File, line and column of the attribute on this function.
fn place_of(function: &str) -> String {
    let source = include_str!("../explain.rs");
    let line = source.lines().position(|line| line.starts_with(&format!("async fn {function}(")));
    // The attribute is one line above, and lines are counted from one.
    format!("examples/explain.rs:{}:1", line.unwrap())
}

#[test]
fn without_variables_there_are_attributes_presets_and_defaults() {
    let text = explains(&[], &["storage:save"]);
    let place = place_of("save");
    assert_setting(&text, "circuit storage:save", "enabled", "default", "false");
    assert_setting(&text, "circuit storage:save", "failure_threshold", &place, "5");
    assert_setting(&text, "circuit storage:save", "recovery_timeout", "default", "30s");
    assert_setting(&text, SAVE, "attempts", &place, "4");
    assert_setting(&text, SAVE, "min_wait", "preset of storage", "500ms");
    assert_setting(&text, SAVE, "jitter", "default", "0.5");
    assert_setting(&text, SAVE, "deadline", "default", "none");
    assert_setting(&text, SAVE_ALL, "attempts", "preset of storage", "5");
    assert_setting(&text, SAVE_ALL, "deadline", &place_of("save_all"), "1m");
    assert!(!text.contains('#'), "{text}");
}

#[test]
fn a_variable_is_named_at_whatever_level_it_is() {
    let variables = [
        ("BINDU_CB_ENABLED", "yes"),
        ("BINDU_CB_STORAGE_ATTEMPTS", "2"),
        ("BINDU_CB_STORAGE_MAX_WAIT", "9"),
        ("BINDU_CB_STORAGE_SAVE_JITTER", "0"),
        ("BINDU_CB_JITTER", "1"),
        ("BINDU_CB_STORAGE_SAVE_FAILURE_THRESHOLD", "7"),
    ];
    let text = explains(&variables, &["storage:save"]);
    let circuit = "circuit storage:save";
    assert_setting(&text, circuit, "enabled", "environment, BINDU_CB_ENABLED", "true");
    let threshold = "environment, BINDU_CB_STORAGE_SAVE_FAILURE_THRESHOLD";
    assert_setting(&text, circuit, "failure_threshold", threshold, "7");
    assert_setting(&text, SAVE, "attempts", &place_of("save"), "4");
    let attempts = "environment, BINDU_CB_STORAGE_ATTEMPTS";
    assert_setting(&text, SAVE_ALL, "attempts", attempts, "2");
    assert_setting(&text, SAVE, "max_wait", "environment, BINDU_CB_STORAGE_MAX_WAIT", "9s");
    assert_setting(&text, SAVE, "jitter", "environment, BINDU_CB_STORAGE_SAVE_JITTER", "0");
}

#[test]
fn what_had_to_give_way_says_to_what() {
    let text = explains(&[("BINDU_CB_MAX_WAIT", "100ms")], &["storage:save"]);
    assert_setting(&text, SAVE, "min_wait", "adjusted to max_wait", "100ms");
}

#[test]
fn one_function_can_be_asked_for_with_its_module_or_without() {
    for name in ["save_all", "explain::save_all"] {
        let text = explains(&[], &["storage:save", "--function", name]);
        assert!(text.starts_with(SAVE_ALL), "{text}");
        assert_setting(&text, SAVE_ALL, "deadline", &place_of("save_all"), "1m");
        assert!(!text.contains(SAVE) && !text.contains("circuit"), "{text}");
    }
    assert_eq!(
        fails(&[], &["storage:save", "--function", "load"]),
        "explain: storage:save has no function \"load\"; it has explain::save, explain::save_all\n"
    );
    assert_eq!(
        fails(&[], &["storage:load", "--function", "load"]),
        "explain: storage:load has no function \"load\"; it has none\n"
    );
}

#[test]
fn an_operation_that_no_function_has_is_explained_by_the_settings_alone() {
    let variables = [("BINDU_CB_STORAGE_LOAD_ATTEMPTS", "6"), ("BINDU_CB_STORAGE_ENABLED", "1")];
    let text = explains(&variables, &["storage:load"]);
    let function = "any function without keys of its own";
    let attempts = "environment, BINDU_CB_STORAGE_LOAD_ATTEMPTS";
    assert_setting(&text, function, "attempts", attempts, "6");
    assert_setting(&text, function, "max_wait", "preset of storage", "5s");
    let enabled = "environment, BINDU_CB_STORAGE_ENABLED";
    assert_setting(&text, "circuit storage:load", "enabled", enabled, "true");
    assert!(!text.contains("explain.rs"), "nobody gives it anything:\n{text}");
}

#[test]
fn a_class_of_errors_has_variables_of_its_own_and_the_attribute_of_its_operation() {
    let variables = [
        ("BINDU_CB_API_CHARGE__TIMEOUT_RECOVERY_TIMEOUT", "7s"),
        ("BINDU_CB_API_CHARGE_TIMEOUT_RAMP_UP", "1s"),
        ("BINDU_CB_API_ENABLED", "1"),
    ];
    let text = explains(&variables, &["api:charge/timeout"]);
    let circuit = "circuit api:charge/timeout";
    let own = "environment, BINDU_CB_API_CHARGE__TIMEOUT_RECOVERY_TIMEOUT";
    assert_setting(&text, circuit, "recovery_timeout", own, "7s");
    assert_setting(&text, circuit, "window", &place_of("charge"), "100 calls");
    assert_setting(&text, circuit, "enabled", "environment, BINDU_CB_API_ENABLED", "true");
    assert_setting(&text, circuit, "ramp_up", "default", "none");
    let unread: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(unread, ["# read by no operation here: BINDU_CB_API_CHARGE_TIMEOUT_RAMP_UP"]);
    assert!(!text.contains("function"), "those are its operation's:\n{text}");
}

#[test]
fn what_may_be_a_class_elsewhere_is_said_to_be_none_here() {
    let variables = [("BINDU_CB_STORAGE__TIMEOUT_RECOVERY_TIMEOUT", "7s")];
    let text = explains(&variables, &["storage/timeout"]);
    assert_setting(&text, "circuit storage/timeout", "recovery_timeout", "default", "30s");
    let notes: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(
        notes,
        [
            "# taken for an operation: no function here has classes of errors of \"storage\"; \
             the variables of its class \"timeout\" are BINDU_CB_STORAGE__TIMEOUT_…",
            "# read by no operation here: BINDU_CB_STORAGE__TIMEOUT_RECOVERY_TIMEOUT",
        ]
    );
}

#[test]
fn variables_that_nobody_reads_are_mentioned() {
    let variables = [("BINDU_CB_STORGE_ATTEMPTS", "2"), ("BINDU_CB_API_CHARGE_ATTEMPTS", "2")];
    let text = explains(&variables, &["storage:save"]);
    let unread: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(unread, ["# read by no operation here: BINDU_CB_STORGE_ATTEMPTS"]);
}

#[test]
fn every_bad_variable_is_an_error_that_names_it() {
    let variables = [
        ("BINDU_CB_ATTEMPTS", "three"),
        ("BINDU_CB_ENABELD", "true"),
        ("BINDU_CB_SHARED_QUORUM", "many"),
    ];
    let problem = fails(&variables, &["storage:save"]);
    assert!(problem.starts_with("explain: 3 settings cannot be used:"), "{problem}");
    for part in [
        r#"BINDU_CB_ATTEMPTS="three": expected a whole number, 1 or more"#,
        "BINDU_CB_ENABELD: ends in no known key; the nearest is ENABLED",
        "BINDU_CB_SHARED_QUORUM=\"many\"",
    ] {
        assert!(problem.contains(part), "{part}:\n{problem}");
    }
}

#[test]
fn a_shared_server_is_named_without_its_password_and_not_asked() {
    let url = "redis://:hush@127.0.0.1:1";
    let text = explains(&[("BINDU_CB_SHARED_URL", url)], &["reports"]);
    assert!(text.contains("environment, BINDU_CB_SHARED_*"), "{text}");
    assert!(text.contains("127.0.0.1:1") && !text.contains("hush"), "{text}");
}

#[test]
fn a_function_without_a_loop_has_no_settings_of_one() {
    let text = explains(&[], &["reports"]);
    assert_setting(&text, "circuit reports", "recovery_timeout", &place_of("report"), "5m");
    let (_, function) = text.split_once("function explain::report (").unwrap();
    assert_eq!(function.lines().count(), 1, "{text}");
}

#[test]
fn without_an_operation_all_are_listed() {
    let text = explains(&[], &[]);
    let names: Vec<_> = text.lines().filter_map(|line| line.split("  ").next()).collect();
    assert_eq!(names, ["api:charge", "reports", "storage:save"]);
    let save = format!("explain::save ({})", place_of("save"));
    assert!(text.contains(&save) && text.contains("explain::save_all ("), "{text}");
}

#[test]
fn an_empty_name_is_refused() {
    let problem = fails(&[], &[" "]);
    assert!(problem.contains("expected a name, such as \"storage:save\""), "{problem}");
    assert_eq!(problem.lines().count(), 1, "{problem}");
}
