//! What the documentation says of storms, on small ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use bindu_cb_examples::storm::{
    BUDGET_ALONE, Figures, POLICIES, Policy, Run, Scenario, chart, csv, overview, report, simulate,
};

fn small(seed: u64) -> Scenario {
    Scenario::new(200, 1, seed)
}

fn policy(name: &str) -> &'static Policy {
    POLICIES.iter().find(|policy| policy.name == name).unwrap()
}

fn run(policy: &'static Policy, scenario: &Scenario) -> Run {
    simulate(policy, scenario, |_| ())
}

fn figures(name: &str, scenario: &Scenario) -> Figures {
    Figures::of(&run(policy(name), scenario), scenario)
}

/// The service is back at some moment of the wait of a circuit that opened at once: the fifth.
fn recoveries() -> impl Iterator<Item = Scenario> {
    (0..5).map(|fifth| {
        let mut scenario = small(fifth);
        scenario.recovery = scenario.outage + scenario.recovery_timeout * (20 + fifth) / 5;
        scenario
    })
}

#[test]
fn once_open_a_guarded_fleet_sends_no_more_than_a_single_probe_schedule() {
    let dead_and_hanging = |dead: Scenario| [dead.clone(), Scenario { hangs: true, ..dead }];
    for scenario in recoveries().step_by(2).flat_map(dead_and_hanging) {
        for policy in POLICIES.iter().filter(|it| it.is_guarded()) {
            if policy.replicas > 1 && !policy.is_shared {
                continue;
            }
            let probing = Figures::of(&run(policy, &scenario), &scenario).probing.unwrap();
            let at = format!("{}, {scenario:?}: {probing:?}", policy.name);
            assert!(probing.schedule >= 3, "{at}");
            assert!(probing.sent > 0, "{at}");
            assert!(probing.of_schedule() <= 1.05, "{at}");
        }
    }
}

#[test]
fn replicas_with_circuits_of_their_own_have_a_probe_schedule_each() {
    let probing = figures("replicas-local", &small(1)).probing.unwrap();
    assert_eq!(probing.sent, 8 * probing.schedule);
}

#[test]
fn with_ramp_up_the_service_is_never_overloaded_whenever_it_comes_back() {
    for scenario in recoveries() {
        for policy in POLICIES.iter().filter(|it| it.ramps_up) {
            let run = run(policy, &scenario);
            let figures = Figures::of(&run, &scenario);
            let at = format!("{}, back at {}: {figures:?}", policy.name, scenario.recovery);
            let after =
                &run.ledger.seconds[usize::try_from(scenario.recovery / 1_000).unwrap() + 1..];
            assert!(after.iter().all(|it| it.failed == 0 && it.in_vain == 0), "{at}");
            assert!(figures.peak_of_capacity <= 1.0, "{at}");
            assert!(figures.peak <= u64::from(scenario.capacity), "{at}");
            assert!(figures.full_goodput.is_some(), "{at}");
        }
    }
}

#[test]
fn without_ramp_up_those_who_come_back_overload_a_cold_service() {
    for name in ["no-retry", "breaker-calls", "breaker-attempts"] {
        assert!(figures(name, &small(1)).peak_of_capacity > 1.0, "{name}");
    }
}

#[test]
fn retries_alone_multiply_the_load_and_keep_the_service_down_that_has_come_back() {
    let (alone, without) = (figures("retry-alone", &small(1)), figures("no-retry", &small(1)));
    assert!((2.9..=3.0).contains(&alone.multiple()), "{alone:?}");
    assert!((0.99..=1.01).contains(&without.multiple()), "{without:?}");
    assert_eq!(alone.full_goodput, None);
    assert!(without.full_goodput.is_some());
    assert!(alone.lost_after > 3 * without.lost_after, "{alone:?} {without:?}");
}

#[test]
fn longer_waits_do_not_help_retries_alone() {
    for wait in [1_000, 3_000] {
        let alone = figures("retry-alone", &Scenario { wait, ..Scenario::new(200, 3, 1) });
        assert_eq!(alone.full_goodput, None, "{wait} ms: {alone:?}");
    }
}

#[test]
fn a_budget_alone_lets_the_service_recover_and_goes_on_asking_while_it_is_dead() {
    let alone = Figures::of(&run(BUDGET_ALONE, &small(1)), &small(1));
    assert!(alone.full_goodput.is_some(), "{alone:?}");
    assert!((1.05..=1.15).contains(&alone.multiple()), "{alone:?}");
}

#[test]
fn a_queue_that_is_shorter_than_the_clients_patience_lets_retries_alone_recover() {
    let mut scenario = small(1);
    scenario.queue = scenario.capacity / 5;
    assert!(figures("retry-alone", &scenario).full_goodput.is_some());
}

#[test]
fn a_ramp_that_is_faster_than_the_service_warms_up_may_overload_it() {
    let mut scenario = small(1);
    scenario.ramp_up = scenario.recovery_timeout / 3;
    assert!(figures("attempts-budget-ramp", &scenario).peak_of_capacity > 1.0);
}

#[test]
fn counting_attempts_opens_sooner_than_counting_calls() {
    let (calls, attempts) =
        (figures("breaker-calls", &small(1)), figures("breaker-attempts", &small(1)));
    let after = |figures: &Figures| figures.probing.as_ref().unwrap().tripped_after;
    // A call fails when it has made three attempts, with two waits of 50 ms at least.
    assert!(after(&calls) >= 100 && after(&attempts) < 50, "{calls:?} {attempts:?}");
    assert!(calls.dead > attempts.dead, "{calls:?} {attempts:?}");
}

#[test]
fn every_call_is_counted_once() {
    for policy in POLICIES {
        let scenario = small(1);
        let seconds = run(policy, &scenario).ledger.seconds;
        let began: u32 = seconds.iter().map(|it| it.calls).sum();
        let ended: u32 = seconds.iter().map(|it| it.good + it.failed + it.rejected).sum();
        assert_eq!(began, 200 * 60, "{}", policy.name);
        // The others are under way when the run ends: of each worker those of two seconds at most.
        assert!((began - 2 * 200..=began).contains(&ended), "{}: {ended}", policy.name);
    }
}

/// Everything that is written.
fn written(scenario: &Scenario) -> Vec<String> {
    let runs: Vec<_> = POLICIES.iter().map(|policy| run(policy, scenario)).collect();
    let mut files = vec![report(&runs, scenario), overview(&runs, scenario)];
    files.extend(runs.iter().map(csv));
    files.extend(runs.iter().map(|run| chart(run, scenario)));
    files
}

#[test]
fn the_same_seed_gives_the_same_figures_and_another_one_others() {
    let first = written(&small(1));
    assert_eq!(first, written(&small(1)));
    assert_ne!(first, written(&small(2)));
}

#[test]
fn progress_is_told_each_second() {
    let seen = Mutex::new(Vec::new());
    let scenario = small(1);
    simulate(policy("breaker-calls"), &scenario, |second| seen.lock().unwrap().push(second));
    assert_eq!(seen.into_inner().unwrap(), (0..60).collect::<Vec<_>>());
}

/// Cargo builds the package's examples with its tests.
fn storm(arguments: &[&str]) -> Output {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push("storm");
    assert!(path.exists(), "cargo test -p bindu-cb-examples builds {}", path.display());
    Command::new(path).args(arguments).output().unwrap()
}

/// Gone when the test is over.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id())))
    }

    fn storm(&self) -> String {
        let out = self.0.to_str().unwrap();
        let output = storm(&["--workers", "100", "--minutes", "1", "--out", out]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn files(&self) -> Vec<(String, String)> {
        let read = |path: PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        };
        let mut files: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| read(entry.unwrap().path())).collect();
        files.sort();
        files
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_program_writes_the_same_files_each_time_and_prints_what_it_took() {
    let (first, second) = (Directory::new("storm-first"), Directory::new("storm-second"));
    let printed = first.storm();
    second.storm();
    let files = first.files();
    assert_eq!(files, second.files());
    assert_eq!(files.len(), 2 * POLICIES.len() + 2);
    let report = &files.iter().find(|(name, _)| name == "report.md").unwrap().1;
    assert!(printed.starts_with(report.as_str()), "{printed}");
    assert!(printed.contains("| policy | simulated in | processor time | memory at most |"));
}

#[test]
fn arguments_that_cannot_be_used_are_named() {
    for (argument, value) in [("--workers", "99"), ("--minutes", "0"), ("--seed", "-")] {
        let output = storm(&[argument, value]);
        let problem = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{problem}");
        assert!(problem.contains(argument) && problem.contains(value), "{problem}");
    }
}

/// `docs/storms/report.md` is what the program has written beside the charts.
#[test]
fn the_documentation_says_what_the_program_has_said() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let read = |name: &str| fs::read_to_string(docs.join(name)).unwrap();
    let (text, report) = (read("STORMS.md"), read("storms/report.md"));
    for line in report.lines() {
        assert!(text.contains(line) || line.ends_with(':'), "docs/STORMS.md lacks: {line}");
    }
    assert!(report.contains(&Scenario::new(10_000, 10, 1).to_string()), "of the default storm");
}

#[test]
fn the_links_of_the_readme_lead_to_what_is_said_of_storms() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let (readme, text) = (read("README.md"), read("docs/STORMS.md"));
    // As GitHub makes anchors of headings.
    let anchor = |heading: &str| -> String {
        let kept = |it: &char| it.is_alphanumeric() || matches!(it, ' ' | '_' | '-');
        heading
            .trim_matches(['#', ' '])
            .to_lowercase()
            .replace('`', "")
            .chars()
            .filter(kept)
            .map(|it| if it == ' ' { '-' } else { it })
            .collect()
    };
    let anchors: Vec<_> = text.lines().filter(|it| it.starts_with('#')).map(anchor).collect();
    let links = readme.split("docs/STORMS.md#").skip(1).map(|it| it.split(')').next().unwrap());
    assert_eq!(links.clone().count(), 4);
    for link in links {
        assert!(anchors.iter().any(|it| it == link), "{link} is not in {anchors:?}");
    }
}
