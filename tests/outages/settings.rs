//! What is said of settings. Each in a process of its own: variables are a process's.

use std::io;

use bindu_cb::{CircuitState, get_circuit_breaker, retry_with_breaker, with_circuit_breaker};

use crate::page;
use crate::support::{Log, alone, block_on};

#[retry_with_breaker(op = "storage:save", min_wait = "1s")]
async fn save() -> io::Result<()> {
    Ok(())
}

#[test]
fn circuit_breaking_is_off() {
    alone("settings::circuit_breaking_is_off", &[], || {
        let log = Log::of_the_process();
        block_on(save()).unwrap();
        page::shows("off", &log.take());
        assert_eq!(get_circuit_breaker("storage:save").snapshot().calls.success, 0, "not counted");
    });
}

#[test]
fn variables_are_bad() {
    let variables = [
        ("BINDU_CB_ENABLED", "ture"),
        ("BINDU_CB_RECOVERY_TIMEOUT", "30 sek"),
        ("BINDU_CB_STORAGE_ATEMPTS", "2"),
        ("BINDU_CB_MAX_WAIT", "500ms"),
    ];
    alone("settings::variables_are_bad", &variables, || {
        let log = Log::of_the_process();
        block_on(save()).unwrap();
        page::shows("bad-variables", &placed(&log.take(), "src/store.rs"));
        get_circuit_breaker("storage:save").force_open();
        assert!(block_on(save()).is_err(), "a bad ENABLED counts as on");
    });
}

#[test]
fn variables_concern_nothing_or_two_operations() {
    let variables = [
        ("BINDU_CB_STORAGE_SAFE_ATTEMPTS", "2"),
        ("BINDU_CB_STORAGE_SAVE_ATTEMPTS", "2"),
        ("BINDU_CB_ENABLED", "yes"),
    ];
    alone("settings::variables_concern_nothing_or_two_operations", &variables, || {
        let log = Log::of_the_process();
        block_on(save()).unwrap();
        assert_eq!(get_circuit_breaker("storage-save").state(), CircuitState::Closed);
        page::shows("one-variable-for-two", &log.take());
        let unmatched = bindu_cb::registry().unmatched_variables();
        assert_eq!(unmatched, ["BINDU_CB_STORAGE_SAFE_ATTEMPTS"]);
    });
}

mod first {
    #[bindu_cb::with_circuit_breaker(op = "cache", failure_threshold = 3, enabled = true)]
    pub(super) async fn get() -> std::io::Result<()> {
        Ok(())
    }
}

#[with_circuit_breaker(op = "cache", failure_threshold = 5, enabled = true)]
async fn put() -> io::Result<()> {
    Ok(())
}

#[test]
fn two_functions_disagree() {
    alone("settings::two_functions_disagree", &[], || {
        let log = Log::of_the_process();
        block_on(async { first::get().await.and(put().await) }).unwrap();
        page::shows("two-settings", &placed(&log.take(), "src/cache.rs"));
    });
}

/// Where the functions stand here is not what the page is about.
fn placed(lines: &str, elsewhere: &str) -> String {
    let (before, rest) = lines.split_once(file!()).expect("a place in a file");
    let places = rest.split(file!()).zip((10..).step_by(20)).map(|(part, line)| {
        let (_, column) = part[1..].split_once(':').expect("file:line:column");
        format!("{elsewhere}:{line}:{column}")
    });
    before.to_owned() + &places.collect::<String>()
}
