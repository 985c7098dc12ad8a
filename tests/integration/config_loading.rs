//! S1 to S6: where settings come from, which is in force, and what is said of the others.

use std::process::Command;

use bindu_cb::{
    CircuitState, Count, OnCancel, Operation, Settings, Source, get_circuit_breaker, registry,
    retry_storage_operation, retry_with_breaker, with_circuit_breaker,
};
use tokio::time::{Instant, sleep};
use tracing::Level;

use crate::support::{Failure, Log, Service, millis, secs, snapshot_of, trip};

fn variables(variables: &[(&str, &str)]) -> Settings {
    on_top_of(Settings::default(), variables)
}

fn on_top_of(settings: Settings, variables: &[(&str, &str)]) -> Settings {
    settings.with_variables(variables.iter().copied()).expect("the variables are good")
}

fn configure(given: &[(&str, &str)]) {
    registry().configure(variables(given));
}

fn enabled_for_all() -> Settings {
    let mut settings = Settings::default();
    settings.all().enabled(true);
    settings
}

/// A setting of the circuit `op`, or of its first function, and its source.
fn setting(op: &str, key: &str) -> (String, Source) {
    let snapshot = snapshot_of(op);
    let of_functions = snapshot.functions.iter().flat_map(|function| &function.settings);
    let mut all = snapshot.settings.iter().chain(of_functions);
    let found = all.find(|setting| setting.key == key).expect("a known key");
    (found.value.clone(), found.source.clone())
}

fn value(op: &str, key: &str) -> String {
    setting(op, key).0
}

fn source(op: &str, key: &str) -> String {
    setting(op, key).1.to_string()
}

/// Runs `body` in a process of its own, which has these variables and runs nothing but `test`.
fn alone(test: &str, given: &[(&str, &str)], body: impl FnOnce()) {
    const IS_ALONE: &str = "CONFIG_LOADING_IS_ALONE";
    if std::env::var_os(IS_ALONE).is_some() {
        return body();
    }
    let (_, module) = module_path!().split_once("::").expect("not the root of the crate");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{test}")])
        .env(IS_ALONE, "1")
        .envs(given.iter().copied())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// Value and source of `attempts` and of `failure_threshold`, where the `count` weakest of all
/// sources give them.
fn with_the_weakest(count: usize) -> [(String, String); 2] {
    let _cb = bindu_cb::testing::isolate();
    let mut settings = Settings::default();
    let mut environment = Vec::new();
    let mut operation = Operation::builder("storage:save");
    if count >= 1 {
        settings.all().attempts(11).failure_threshold(11);
    }
    if count >= 2 {
        environment.extend([("BINDU_CB_ATTEMPTS", "12"), ("BINDU_CB_FAILURE_THRESHOLD", "12")]);
    }
    if count >= 3 {
        settings.kind("storage").attempts(13).failure_threshold(13);
    }
    if count >= 4 {
        environment.extend([
            ("BINDU_CB_STORAGE_ATTEMPTS", "14"),
            ("BINDU_CB_STORAGE_FAILURE_THRESHOLD", "14"),
        ]);
    }
    if count >= 5 {
        operation = operation.attempts(15).failure_threshold(15);
    }
    if count >= 6 {
        settings.operation("storage:save").attempts(16).failure_threshold(16);
    }
    if count >= 7 {
        environment.extend([
            ("BINDU_CB_STORAGE_SAVE_ATTEMPTS", "17"),
            ("BINDU_CB_STORAGE_SAVE_FAILURE_THRESHOLD", "17"),
        ]);
    }
    registry().configure(on_top_of(settings, &environment));
    let _operation = operation.build().unwrap();
    ["attempts", "failure_threshold"]
        .map(|key| (value("storage:save", key), source("storage:save", key)))
}

/// S1.
#[test]
fn the_strongest_source_is_in_force_and_named() {
    for (count, source) in [
        (1, "code, all"),
        (2, "environment, BINDU_CB_"),
        (3, "code, kind storage"),
        (4, "environment, BINDU_CB_STORAGE_"),
        (5, file!()),
        (6, "code, operation storage:save"),
        (7, "environment, BINDU_CB_STORAGE_SAVE_"),
    ] {
        for (value, named) in with_the_weakest(count) {
            assert_eq!(value, (10 + count).to_string(), "{named}");
            assert!(named.starts_with(source), "{named} is not {source}");
        }
    }
    let [attempts, failure_threshold] = with_the_weakest(0);
    assert_eq!(attempts, ("5".to_owned(), "preset of storage".to_owned()));
    assert_eq!(failure_threshold, ("3".to_owned(), "default".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_attribute_is_named_by_its_place() {
    const LINE: u32 = line!() + 1;
    #[retry_with_breaker(op = "placed", attempts = 4, failure_threshold = 9)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    ask(&Service::up()).await.unwrap();
    for (key, expected) in [("attempts", "4"), ("failure_threshold", "9")] {
        let (value, source) = setting("placed", key);
        let Source::Attribute(place) = source else { panic!("{source} is no attribute") };
        assert_eq!((place.file(), place.line(), value.as_str()), (file!(), LINE, expected));
    }
    assert_eq!(setting("placed", "enabled").1, Source::Test);
    assert_eq!(setting("placed", "multiplier").1, Source::Default);
    let location = snapshot_of("placed").functions[0].location.clone();
    assert!(location.starts_with(&format!("{}:{LINE}:", file!())), "{location}");
}

/// S1: for `enabled` the environment beats the attribute at every level.
#[tokio::test(start_paused = true)]
async fn enabled_in_the_environment_is_a_kill_switch() {
    #[with_circuit_breaker(op = "storage:switched", enabled = true)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    let service = Service::up();
    get_circuit_breaker("storage:switched").force_open();
    ask(&service).await.unwrap_err();
    for variable in
        ["BINDU_CB_ENABLED", "BINDU_CB_STORAGE_ENABLED", "BINDU_CB_STORAGE_SWITCHED_ENABLED"]
    {
        configure(&[(variable, "false")]);
        ask(&service).await.unwrap();
        assert_eq!(source("storage:switched", "enabled"), format!("environment, {variable}"));
        configure(&[(variable, "true")]);
        ask(&service).await.unwrap_err();
    }
    configure(&[("BINDU_CB_STORAGE_SWITCHED_ENABLED", "true"), ("BINDU_CB_ENABLED", "false")]);
    ask(&service).await.unwrap_err();
    configure(&[("BINDU_CB_STORAGE_ENABLED", "false"), ("BINDU_CB_ENABLED", "true")]);
    ask(&service).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn enabled_in_the_environment_turns_on_what_the_attribute_turns_off() {
    #[with_circuit_breaker(op = "storage:off", enabled = false)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    get_circuit_breaker("storage:off").force_open();
    ask(&Service::up()).await.unwrap();
    registry().configure(enabled_for_all());
    ask(&Service::up()).await.unwrap();
    configure(&[("BINDU_CB_ENABLED", "true")]);
    ask(&Service::up()).await.unwrap_err();
}

/// S1: only functions whose attribute gives a `timeout` have promised the error.
#[tokio::test(start_paused = true)]
async fn a_timeout_from_settings_is_for_functions_that_have_one() {
    #[with_circuit_breaker(op = "storage:limited", timeout = "1s")]
    async fn limited() -> Result<(), Failure> {
        sleep(secs(10)).await;
        Ok(())
    }
    #[retry_with_breaker(op = "storage:limited", attempts = 1)]
    async fn unlimited() -> Result<(), Failure> {
        sleep(secs(10)).await;
        Ok(())
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    for (given, limit) in [
        (&[][..], Some(secs(1))),
        (&[("BINDU_CB_STORAGE_LIMITED_TIMEOUT", "3s")], Some(secs(3))),
        (&[("BINDU_CB_STORAGE_TIMEOUT", "3s")], Some(secs(1))),
        (&[("BINDU_CB_STORAGE_LIMITED_TIMEOUT", "none")], None),
    ] {
        registry().configure(on_top_of(enabled_for_all(), given));
        let began = Instant::now();
        match (limited().await, limit) {
            (Ok(()), None) => assert_eq!(began.elapsed(), secs(10)),
            (Err(Failure::Slow(slow)), Some(limit)) => {
                assert_eq!((slow.timeout(), began.elapsed()), (limit, limit));
            }
            (ended, limit) => panic!("{ended:?} with a limit of {limit:?}"),
        }
        unlimited().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn new_settings_reach_circuits_that_exist_without_touching_their_state() {
    #[with_circuit_breaker(op = "storage:kept")]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let service = Service::down();
    ask(&service).await.unwrap_err();
    ask(&service).await.unwrap_err();

    let mut settings = enabled_for_all();
    settings.operation("storage:kept").failure_threshold(4).recovery_timeout(secs(7));
    registry().configure(settings.clone());
    assert_eq!(snapshot_of("storage:kept").consecutive_failures, 2);
    ask(&service).await.unwrap_err();
    assert_eq!(snapshot_of("storage:kept").state, CircuitState::Closed);
    ask(&service).await.unwrap_err();
    assert_eq!(snapshot_of("storage:kept").state, CircuitState::Open);
    assert_eq!(snapshot_of("storage:kept").half_open_in, Some(secs(7)));

    settings.operation("storage:kept").success_threshold(2);
    registry().configure(settings);
    let snapshot = snapshot_of("storage:kept");
    assert_eq!((snapshot.state, snapshot.calls.failure), (CircuitState::Open, 4));
    tokio::time::advance(secs(7)).await;
    ask(&Service::up()).await.unwrap();
    assert_eq!(snapshot_of("storage:kept").state, CircuitState::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn permits_of_a_half_open_circuit_follow_new_settings() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("storage");
    trip(&circuit);
    tokio::time::advance(secs(30)).await;
    let _one = circuit.try_acquire().unwrap();
    circuit.try_acquire().unwrap_err();

    let mut settings = Settings::default();
    settings.all().half_open_permits(3);
    registry().configure(settings);
    let _two = circuit.try_acquire().unwrap();
    let _three = circuit.try_acquire().unwrap();
    circuit.try_acquire().unwrap_err();

    registry().configure(Settings::default());
    circuit.try_acquire().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn new_retry_settings_are_in_force_from_the_next_call_on() {
    #[retry_storage_operation(op = "storage:retried", jitter = 0.0)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let service = Service::down();
    ask(&service).await.unwrap_err();
    assert_eq!(service.asked(), 5);

    let mut settings = enabled_for_all();
    settings.kind("storage").attempts(2).min_wait(secs(3));
    registry().configure(settings);
    let (service, began) = (Service::down(), Instant::now());
    ask(&service).await.unwrap_err();
    assert_eq!((service.asked(), began.elapsed()), (2, secs(3)));
}

#[tokio::test(start_paused = true)]
async fn new_settings_take_the_place_of_all_earlier_ones() {
    let _cb = bindu_cb::testing::isolate();
    let _operation = Operation::builder("storage:save").build().unwrap();
    configure(&[("BINDU_CB_ATTEMPTS", "9"), ("BINDU_CB_COUNT", "attempt")]);
    assert_eq!(value("storage:save", "attempts"), "9");
    let mut settings = Settings::default();
    settings.all().multiplier(3.0);
    registry().configure(settings);
    assert_eq!(value("storage:save", "attempts"), "5");
    assert_eq!(value("storage:save", "count"), "call");
    assert_eq!(value("storage:save", "multiplier"), "3");
    assert_eq!(registry().settings().all().multiplier, Some(3.0));
}

/// S2.
#[test]
fn every_key_is_read_from_its_variable() {
    for (key, text, expected) in [
        ("enabled", "true", "true"),
        ("dry_run", "true", "true"),
        ("failure_threshold", "65535", "65535"),
        ("recovery_timeout", "30", "30s"),
        ("recovery_timeout", "0.5", "500ms"),
        ("recovery_timeout", "30s", "30s"),
        ("recovery_timeout", "250ms", "250ms"),
        ("recovery_timeout", "1m 30s", "1m 30s"),
        ("success_threshold", "2", "2"),
        ("half_open_permits", "128", "128"),
        ("half_open_permits", "none", "none"),
        ("probe_attempts", "2", "2"),
        ("probe_timeout", "15", "15s"),
        ("recovery_multiplier", "1.5", "1.5"),
        ("max_recovery_timeout", "1h", "1h"),
        ("recovery_jitter", "0.25", "0.25"),
        ("count", "attempt", "attempt"),
        ("on_cancel", "failure", "failure"),
        ("attempts", "4294967295", "4294967295"),
        ("min_wait", "0", "0s"),
        ("max_wait", "2m", "2m"),
        ("multiplier", "1", "1"),
        ("jitter", "0", "0"),
        ("deadline", "20s", "20s"),
        ("deadline", "none", "none"),
        ("timeout", "750ms", "750ms"),
        ("timeout", "None", "none"),
    ] {
        for scope in ["", "STORAGE_", "STORAGE_SAVE_ROW_"] {
            let variable = format!("BINDU_CB_{scope}{}", key.to_uppercase());
            let _cb = bindu_cb::testing::isolate();
            configure(&[(&variable, text)]);
            let _operation = Operation::builder("storage:save-row").build().unwrap();
            assert_eq!(value("storage:save-row", key), expected, "{variable}={text}");
            let named = format!("environment, {variable}");
            assert_eq!(source("storage:save-row", key), named, "{variable}={text}");
        }
    }
}

#[test]
fn booleans_may_be_written_in_eight_ways_and_any_case() {
    let _cb = bindu_cb::testing::isolate();
    get_circuit_breaker("storage");
    for (text, expected) in [
        ("true", "true"),
        ("1", "true"),
        ("Yes", "true"),
        ("ON", "true"),
        ("False", "false"),
        ("0", "false"),
        ("no", "false"),
        ("oFF", "false"),
    ] {
        configure(&[("BINDU_CB_DRY_RUN", text)]);
        assert_eq!(value("storage", "dry_run"), expected, "{text}");
    }
}

/// S2: `PROBE_TIMEOUT` is a key, not the timeout of an operation called "probe".
#[test]
fn the_longest_key_that_fits_is_meant() {
    let _cb = bindu_cb::testing::isolate();
    let _operation = Operation::builder("probe").timeout(secs(1)).build().unwrap();
    configure(&[
        ("BINDU_CB_PROBE_TIMEOUT", "9s"),
        ("BINDU_CB_MAX_RECOVERY_TIMEOUT", "5m"),
        ("BINDU_CB_PROBE_MAX_RECOVERY_TIMEOUT", "6m"),
    ]);
    assert_eq!(value("probe", "timeout"), "1s");
    assert_eq!(value("probe", "probe_timeout"), "9s");
    assert_eq!(value("probe", "max_recovery_timeout"), "6m");
    get_circuit_breaker("another");
    assert_eq!(value("another", "max_recovery_timeout"), "5m");
}

#[test]
fn without_a_colon_its_variables_are_also_those_of_the_kind() {
    let _cb = bindu_cb::testing::isolate();
    configure(&[("BINDU_CB_BILLING_FAILURE_THRESHOLD", "8")]);
    for (op, expected) in
        [("billing", "8"), ("billing:invoice", "8"), ("billing:a:b", "8"), ("billings", "3")]
    {
        get_circuit_breaker(op);
        assert_eq!(value(op, "failure_threshold"), expected, "{op}");
    }
    // Of the operation, it beats what the operation itself was given; of the kind it does not.
    let _own = Operation::builder("billing").failure_threshold(5).build().unwrap();
    let _of_kind = Operation::builder("billing:refund").failure_threshold(5).build().unwrap();
    assert_eq!(value("billing", "failure_threshold"), "8");
    assert_eq!(value("billing:refund", "failure_threshold"), "5");
}

#[test]
fn foreign_variables_are_passed_over_and_those_of_shared_circuits_are_no_operations() {
    let settings = Settings::default().with_variables([
        ("PATH", "/bin"),
        ("BINDU_CBX_ENABLED", "perhaps"),
        ("bindu_cb_enabled", "perhaps"),
        ("BINDU_CB_SHARED_NAMESPACE", "billing"),
        ("BINDU_CB_SHARED_QUORUM", "3"),
    ]);
    let _cb = bindu_cb::testing::isolate();
    registry().configure(settings.unwrap());
    get_circuit_breaker("shared");
    assert_eq!(registry().unmatched_variables(), Vec::<String>::new());

    let bad = Settings::default().with_variables([("BINDU_CB_SHARED_QUORUM", "many")]);
    assert_eq!(bad.unwrap_err().problems()[0].name(), "BINDU_CB_SHARED_QUORUM");
}

/// S2.
#[test]
fn operations_that_read_one_variable_are_named_in_one_warning() {
    let _cb = bindu_cb::testing::isolate();
    let log = Log::capture();
    configure(&[("BINDU_CB_USER_STORE_ATTEMPTS", "2")]);
    for _ in 0..3 {
        get_circuit_breaker("user-store");
        get_circuit_breaker("user_store");
        get_circuit_breaker("user");
        get_circuit_breaker("unrelated");
    }
    let warnings = log.messages(Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("user-store") && warnings[0].contains("user_store"));
    assert!(warnings[0].contains("BINDU_CB_USER_STORE_"), "{warnings:?}");
}

#[test]
fn an_operation_and_its_kind_are_no_clash() {
    let _cb = bindu_cb::testing::isolate();
    let log = Log::capture();
    configure(&[("BINDU_CB_STORAGE_ATTEMPTS", "2"), ("BINDU_CB_STORAGE_SAVE_ATTEMPTS", "2")]);
    for op in ["storage", "storage:save", "storage:load"] {
        get_circuit_breaker(op);
    }
    assert_eq!(log.messages(Level::WARN), Vec::<String>::new());
}

#[test]
fn names_that_would_clash_are_nobodys_business_without_a_variable() {
    let _cb = bindu_cb::testing::isolate();
    let log = Log::capture();
    configure(&[("BINDU_CB_ATTEMPTS", "2"), ("BINDU_CB_OTHER_ATTEMPTS", "2")]);
    get_circuit_breaker("user-store");
    get_circuit_breaker("user_store");
    assert_eq!(log.messages(Level::WARN), Vec::<String>::new());
}

#[test]
fn a_clash_that_comes_with_new_settings_is_named_too() {
    let _cb = bindu_cb::testing::isolate();
    get_circuit_breaker("user-store");
    get_circuit_breaker("user_store");
    let log = Log::capture();
    for _ in 0..2 {
        configure(&[("BINDU_CB_USER_STORE_ATTEMPTS", "2")]);
    }
    let warnings = log.messages(Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("user-store") && warnings[0].contains("user_store"));
}

/// S3.
#[test]
fn every_bad_variable_is_reported_at_once() {
    let bad = [
        ("BINDU_CB_ATTEMPTS", "none", "whole number"),
        ("BINDU_CB_COUNT", "calls", "\"call\" or \"attempt\""),
        ("BINDU_CB_ENABLED", "ture", "true or false"),
        ("BINDU_CB_FAILURE_THRESHOLD", "65536", "1 to 65535"),
        ("BINDU_CB_HALF_OPEN_PERMITS", "129", "1 to 128"),
        ("BINDU_CB_JITTER", "1.5", "0 to 1"),
        ("BINDU_CB_MULTIPLIER", "NaN", "1 or more"),
        ("BINDU_CB_ON_CANCEL", "", "\"ignore\" or \"failure\""),
        ("BINDU_CB_PROBE_TIMEOUT", "-1s", "duration"),
        ("BINDU_CB_RECOVERY_MULTIPLIER", "0.99", "1 or more"),
        ("BINDU_CB_RECOVERY_TIMEOUT", "soon", "duration"),
        ("BINDU_CB_STORAGE_SAVE_SUCCESS_THRESHOLD", "0", "1 to 65535"),
        ("BINDU_CB_STORAGE_TIMEOUT", "-5", "duration"),
    ];
    let given = bad.map(|(name, value, _)| (name, value));
    let with_a_good_one = given.into_iter().chain([("BINDU_CB_MIN_WAIT", "1s")]);
    let error = Settings::default().with_variables(with_a_good_one).unwrap_err();

    let problems = error.problems();
    assert_eq!(problems.len(), bad.len(), "{error}");
    for (problem, (name, value, expected)) in problems.iter().zip(bad) {
        assert_eq!((problem.name(), problem.value()), (name, Some(value)));
        assert!(problem.advice().contains(expected), "{problem}");
        assert!(error.to_string().contains(&problem.to_string()));
    }
}

#[test]
fn a_name_that_ends_in_no_key_is_answered_with_the_nearest() {
    let unknown = [
        ("BINDU_CB_ENABELD", "ENABLED"),
        ("BINDU_CB_RECOVERY_TIMOUT", "RECOVERY_TIMEOUT"),
        ("BINDU_CB_STORAGE_ATEMPTS", "ATTEMPTS"),
        ("BINDU_CB_STORAGE_SAVE_FAILURE_TRESHOLD", "FAILURE_THRESHOLD"),
        ("BINDU_CB__JITER", "JITTER"),
    ];
    let given = unknown.map(|(name, _)| (name, "1"));
    let error = Settings::default().with_variables(given).unwrap_err();
    assert_eq!(error.problems().len(), unknown.len(), "{error}");
    for (name, nearest) in unknown {
        let problem = error.problems().iter().find(|problem| problem.name() == name).unwrap();
        assert_eq!(problem.value(), None, "it is the name that is wrong");
        assert!(problem.advice().contains(nearest), "{problem}");
    }
}

#[test]
fn settings_in_code_are_checked_on_request_and_brought_into_range_anyway() {
    let mut settings = Settings::default();
    settings.all().failure_threshold(0).jitter(f64::NAN);
    settings.kind("storage").half_open_permits(500);
    settings.operation("storage:save").attempts(0);
    let error = settings.validate().unwrap_err();
    let mut names: Vec<_> = error.problems().iter().map(bindu_cb::SettingProblem::name).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "all().failure_threshold",
            "all().jitter",
            r#"kind("storage").half_open_permits"#,
            r#"operation("storage:save").attempts"#,
        ]
    );

    let _cb = bindu_cb::testing::isolate();
    let log = Log::capture();
    registry().configure(settings);
    assert_eq!(log.at(Level::ERROR).len(), 4);
    let _operation = Operation::builder("storage:save").build().unwrap();
    for (key, in_range) in [
        ("failure_threshold", "1"),
        ("jitter", "0"),
        ("half_open_permits", "128"),
        ("attempts", "1"),
    ] {
        assert_eq!(value("storage:save", key), in_range, "{key}");
    }
    assert_eq!(log.at(Level::ERROR).len(), 4, "not again with every circuit");
}

#[test]
fn a_builder_refuses_what_an_attribute_would() {
    let error = Operation::builder(" ").attempts(0).recovery_jitter(2.0).build().unwrap_err();
    let mut names: Vec<_> = error.problems().iter().map(bindu_cb::SettingProblem::name).collect();
    names.sort_unstable();
    assert_eq!(names, ["attempts", "op", "recovery_jitter"]);
}

#[test]
fn setters_and_fields_of_overrides_are_the_same_settings() {
    let mut settings = Settings::default();
    let operation = settings.operation("storage:save");
    operation.count(Count::Attempt);
    operation.on_cancel = Some(OnCancel::Failure);
    assert_eq!(operation.count, Some(Count::Attempt));
    let _cb = bindu_cb::testing::isolate();
    registry().configure(settings);
    get_circuit_breaker("storage:save");
    assert_eq!(value("storage:save", "count"), "attempt");
    assert_eq!(value("storage:save", "on_cancel"), "failure");
}

#[test]
fn variables_that_no_circuit_has_read_are_listed() {
    let _cb = bindu_cb::testing::isolate();
    configure(&[
        ("BINDU_CB_ATTEMPTS", "4"),
        ("BINDU_CB_STORAGE_ATTEMPTS", "4"),
        ("BINDU_CB_STORAGE_SAVE_ATTEMPTS", "4"),
        ("BINDU_CB_STROAGE_ATTEMPTS", "4"),
    ]);
    assert_eq!(registry().unmatched_variables().len(), 4);
    get_circuit_breaker("worker");
    assert_eq!(
        registry().unmatched_variables(),
        [
            "BINDU_CB_STORAGE_ATTEMPTS",
            "BINDU_CB_STORAGE_SAVE_ATTEMPTS",
            "BINDU_CB_STROAGE_ATTEMPTS"
        ]
    );
    get_circuit_breaker("storage:save");
    assert_eq!(registry().unmatched_variables(), ["BINDU_CB_STROAGE_ATTEMPTS"]);
}

/// S4.
#[tokio::test(start_paused = true)]
async fn of_two_settings_for_one_circuit_the_first_registered_wins_with_one_warning() {
    const FIRST: u32 = line!() + 1;
    #[with_circuit_breaker(op = "contested", recovery_timeout = "10s", success_threshold = 2)]
    async fn first(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }
    const SECOND: u32 = line!() + 1;
    #[with_circuit_breaker(op = "contested", recovery_timeout = "20s", success_threshold = 2)]
    async fn second(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let log = Log::capture();
    let service = Service::up();
    for _ in 0..3 {
        first(&service).await.unwrap();
        second(&service).await.unwrap();
    }
    assert_eq!(value("contested", "recovery_timeout"), "10s");

    cb.enabled(true);
    let warnings = log.messages(Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in [
        "contested",
        "recovery_timeout",
        "10s",
        "20s",
        &format!("{}:{FIRST}:", file!()),
        &format!("{}:{SECOND}:", file!()),
    ] {
        assert!(warnings[0].contains(part), "{part:?} is not in {warnings:?}");
    }
}

/// S4: retry settings belong to the function.
#[tokio::test(start_paused = true)]
async fn functions_of_one_circuit_retry_each_in_their_own_way() {
    #[retry_with_breaker(op = "retried", attempts = 2)]
    async fn twice(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }
    #[retry_with_breaker(op = "retried", attempts = 4, failure_threshold = 3)]
    async fn four_times(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let log = Log::capture();
    let service = Service::down();
    twice(&service).await.unwrap_err();
    assert_eq!(service.asked(), 2);
    four_times(&service).await.unwrap_err();
    assert_eq!(service.asked(), 6);
    assert_eq!(log.messages(Level::WARN), Vec::<String>::new());
    assert_eq!(snapshot_of("retried").functions.len(), 2);
}

mod orders {
    use super::{Failure, Service, retry_storage_operation};

    #[retry_storage_operation]
    pub async fn load(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }
}

mod users {
    use super::{Failure, Service, retry_storage_operation};

    #[retry_storage_operation]
    pub async fn load(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }
}

/// S4.
#[tokio::test(start_paused = true)]
async fn functions_of_one_name_in_two_modules_share_a_circuit_with_one_warning() {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let log = Log::capture();
    let service = Service::up();
    for _ in 0..3 {
        orders::load(&service).await.unwrap();
        users::load(&service).await.unwrap();
    }
    assert_eq!(snapshot_of("storage:load").calls.success, 6);
    let warnings = log.messages(Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in ["storage:load", "config_loading::orders", "config_loading::users"] {
        assert!(warnings[0].contains(part), "{part:?} is not in {warnings:?}");
    }
}

/// S6, and S1 for which of the two is the stronger.
#[tokio::test(start_paused = true)]
async fn settings_that_conflict_once_merged_give_way_to_the_stronger_source() {
    #[retry_with_breaker(op = "storage:merged", attempts = 3, min_wait = "2s", jitter = 0.0)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    for (variable, waits, adjusted) in [
        ("BINDU_CB_STORAGE_MERGED_MAX_WAIT", millis(200) * 2, ("min_wait", "200ms")),
        ("BINDU_CB_STORAGE_MAX_WAIT", secs(2) * 2, ("max_wait", "2s")),
    ] {
        let cb = bindu_cb::testing::isolate();
        let log = Log::capture();
        let settings = on_top_of(enabled_for_all(), &[(variable, "200ms")]);
        registry().configure(settings.clone());
        for _ in 0..2 {
            let began = Instant::now();
            ask(&Service::down()).await.unwrap_err();
            assert_eq!(began.elapsed(), waits, "{variable}");
        }
        registry().configure(settings);
        cb.attempts(3);

        let (key, expected) = adjusted;
        let (value, source) = setting("storage:merged", key);
        assert_eq!(value, expected);
        assert!(matches!(source, Source::Adjusted(_)), "{source}");
        let warnings = log.messages(Level::WARN);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        for part in ["storage:merged", "min_wait", "max_wait", variable, file!()] {
            assert!(warnings[0].contains(part), "{part:?} is not in {warnings:?}");
        }
    }
}

#[test]
fn the_environment_of_the_process_is_read_where_nobody_configures() {
    #[retry_with_breaker(op = "storage:implicit")]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let variables = [
        ("BINDU_CB_ENABLED", "true"),
        ("BINDU_CB_FAILURE_THRESHOLD", "2"),
        ("BINDU_CB_STORAGE_ATTEMPTS", "2"),
    ];
    alone("the_environment_of_the_process_is_read_where_nobody_configures", &variables, || {
        block_on(async {
            let service = Service::down();
            ask(&service).await.unwrap_err();
            ask(&service).await.unwrap_err();
            assert_eq!(service.asked(), 4);
            assert!(matches!(ask(&service).await, Err(Failure::Open(_))));
        });
        assert!(Settings::from_env().is_ok());
    });
}

/// S3: protection is never lost to a typo.
#[test]
fn bad_variables_are_logged_once_and_a_bad_enabled_means_on() {
    #[retry_with_breaker(op = "storage:typos", jitter = 0.0)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let variables = [
        ("BINDU_CB_ENABLED", "ture"),
        ("BINDU_CB_FAILURE_THRESHOLD", "few"),
        ("BINDU_CB_STORAGE_ATEMPTS", "2"),
        ("BINDU_CB_STORAGE_MIN_WAIT", "1s"),
    ];
    alone("bad_variables_are_logged_once_and_a_bad_enabled_means_on", &variables, || {
        let log = Log::capture();
        let service = Service::down();
        block_on(async {
            for _ in 0..3 {
                ask(&service).await.unwrap_err();
            }
            assert!(matches!(ask(&service).await, Err(Failure::Open(_))));
        });
        assert_eq!(service.asked(), 15, "the preset's five attempts, the default's three failures");
        assert_eq!(value("storage:typos", "min_wait"), "1s", "the good one is in force");

        let errors = log.at(Level::ERROR);
        let mut logged: Vec<_> = errors.iter().map(|line| line.field("variable")).collect();
        logged.sort_unstable();
        assert_eq!(
            logged,
            ["BINDU_CB_ENABLED", "BINDU_CB_FAILURE_THRESHOLD", "BINDU_CB_STORAGE_ATEMPTS"]
        );
        assert!(errors.iter().all(|line| !line.field("expected").is_empty()), "{errors:?}");

        let error = Settings::from_env().unwrap_err();
        assert_eq!(error.problems().len(), 3, "{error}");
    });
}

#[test]
fn settings_in_code_and_the_environment_on_top_of_them() {
    let variables = [("BINDU_CB_STORAGE_ATTEMPTS", "2")];
    alone("settings_in_code_and_the_environment_on_top_of_them", &variables, || {
        let mut settings = Settings::default();
        settings.kind("storage").attempts(7).max_wait(secs(9));
        registry().configure(settings.clone());
        let _operation = Operation::builder("storage:save").build().unwrap();
        assert_eq!(value("storage:save", "attempts"), "7", "code alone, where code configures");
        registry().configure(settings.with_env().unwrap());
        assert_eq!(value("storage:save", "attempts"), "2");
        assert_eq!(value("storage:save", "max_wait"), "9s");
    });
}

/// What code says of sharing takes the place of what the environment says, whichever comes first.
#[test]
fn the_first_guarded_call_does_not_undo_what_code_has_shared() {
    use bindu_cb::SharedSettings;

    // Nobody listens there.
    let variables = [("BINDU_CB_SHARED_URL", "redis://127.0.0.1:1/1")];
    alone("the_first_guarded_call_does_not_undo_what_code_has_shared", &variables, || {
        let shared = || registry().shared().map(|shared| shared.settings);
        let settings = SharedSettings::new("redis://127.0.0.1:1/2");
        registry().share(settings.clone()).unwrap();
        let _first = Operation::builder("storage:save").build().unwrap();
        assert_eq!(shared(), Some(settings));
        registry().unshare();
        let _second = Operation::builder("storage:load").build().unwrap();
        assert_eq!(shared(), None);
    });
}

#[test]
fn what_is_not_shared_is_not_shared_by_the_first_guarded_call() {
    let variables = [("BINDU_CB_SHARED_URL", "redis://127.0.0.1:1/1")];
    alone("what_is_not_shared_is_not_shared_by_the_first_guarded_call", &variables, || {
        registry().unshare();
        let _operation = Operation::builder("storage:save").build().unwrap();
        assert!(registry().shared().is_none());
    });
}
