//! bindu-cb beside its peers, in one process and one table.
//!
//! ```text
//! cargo bench -p bindu-cb-benches --bench compare
//! cargo bench -p bindu-cb-benches --bench compare -- recloser     # only rows with this text
//! BENCH_SECONDS=20 cargo bench -p bindu-cb-benches --bench compare
//! CARGO_PROFILE_BENCH_LTO=fat CARGO_PROFILE_BENCH_CODEGEN_UNITS=1 cargo bench …   # as above
//! ```
//!
//! By itself, as above: built together with the tests it would get tokio's `test-util`, whose
//! clock is slower. Without `--bench` (as `cargo test --benches` runs it) it only tries each case.

mod alloc;
mod case;
mod measure;
mod ours;
mod peers;
mod report;
mod towers;

use std::process::ExitCode;
use std::time::Duration;

use case::{Case, REJECTED, bare, case};
use measure::Plan;

/// The rows of the table, in this order.
mod group {
    pub(crate) const BARE: &str = "bare call";
    pub(crate) const CLOSED: &str = "closed, consecutive";
    pub(crate) const DISABLED: &str = "disabled";
    pub(crate) const OPEN: &str = "open, rejected";
    pub(crate) const RETRY: &str = "retry, first attempt succeeds";
    pub(crate) const BOTH: &str = "breaker and retry";
    pub(crate) const CALLS: &str = "window of 100 calls";
    pub(crate) const TIME: &str = "window of 30 s";
    pub(crate) const CALLS_SLOW: &str = "100 calls, slow_call";
    pub(crate) const TIME_SLOW: &str = "30 s, slow_call";
    pub(crate) const KEYED: &str = "a circuit for each key";
    pub(crate) const TOWER: &str = "tower, breaker and retry";
    pub(crate) const TOWER_OPEN: &str = "tower, open, rejected";

    pub(crate) const ALL: [&str; 13] = [
        BARE, CLOSED, DISABLED, OPEN, RETRY, BOTH, CALLS, TIME, CALLS_SLOW, TIME_SLOW, KEYED,
        TOWER, TOWER_OPEN,
    ];
}

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(), String> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let in_earnest = arguments.iter().any(|argument| argument == "--bench");
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    if let Some((name, _)) =
        std::env::vars_os().find(|(name, _)| name.to_string_lossy().starts_with("BINDU_CB_"))
    {
        return Err(format!("{} would change what is measured", name.display()));
    }

    let mut cases = vec![case!(group::BARE, Nobodys, "async fn", || (), |s, n| bare(n))];
    cases.extend(ours::cases());
    cases.extend(peers::cases(&report::with_version));
    cases.extend(towers::cases(&report::with_version));
    cases.sort_by_key(|case| group::ALL.iter().position(|group| *group == case.group));
    if let Some(filter) = filter {
        cases.retain(|case| {
            case.group == group::BARE || case.group.contains(filter) || case.name.contains(filter)
        });
    }

    check(&cases)?;
    report::head();
    let (figures, rounds) = measure::run(&cases, plan(in_earnest)?).map_err(|e| e.to_string())?;
    check(&cases)?;
    if filter.is_none() {
        ours::check()?;
        towers::check()?;
    }
    report::table(&cases, &figures);
    report::foot(rounds, in_earnest, &figures);
    report::targets(&cases, &figures);
    Ok(())
}

fn plan(in_earnest: bool) -> Result<Plan, String> {
    if !in_earnest {
        return Ok(Plan {
            sample: Duration::from_micros(20),
            total: Duration::ZERO,
            least_rounds: 1,
        });
    }
    let seconds = match std::env::var("BENCH_SECONDS") {
        Ok(seconds) => seconds.parse().map_err(|_| "BENCH_SECONDS: expected a whole number")?,
        Err(_) => 140,
    };
    Ok(Plan {
        sample: Duration::from_millis(1),
        total: Duration::from_secs(seconds),
        least_rounds: 20,
    })
}

/// Whether each case does what its row says: a circuit that has opened would be measured
/// rejecting, and look fast.
fn check(cases: &[Case]) -> Result<(), String> {
    for case in cases {
        let expected = if case.rejects { REJECTED } else { 1 };
        if (case.once)() != expected {
            let what = if case.rejects { "rejects" } else { "lets through" };
            return Err(format!("{}, {}: no longer {what}", case.group, case.name));
        }
    }
    Ok(())
}
