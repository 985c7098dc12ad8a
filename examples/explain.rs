//! Every setting in force and where it comes from, as `git config --show-origin` does it.
//!
//! ```text
//! cargo run --example explain -- storage:save
//! cargo run --example explain -- storage:save --function save_all
//! BINDU_CB_STORAGE_ATTEMPTS=2 cargo run --example explain -- storage:save
//! cargo run --example explain -- api:charge/timeout
//! ```
//!
//! The functions are those of this program: put `explain` into your own to see yours. For an
//! operation that none of them has, it shows what a function without keys of its own would have.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::bail;
use bindu_cb::{
    FunctionSnapshot, Operation, SettingValue, Settings, SharedSettings, Snapshot,
    get_circuit_breaker, registry, retry_api_call, retry_storage_operation, with_circuit_breaker,
};
use clap::Parser;

/// Shows every setting of an operation, and of its functions, with its source.
#[derive(Parser)]
#[command(
    name = "explain",
    after_help = "Exit codes: 0 done; 2 a variable or an argument cannot be used."
)]
struct Arguments {
    /// Its name, such as storage:save, or with a class of its errors, api:charge/timeout; without
    /// one, that of every operation is listed
    operation: Option<String>,
    /// Only of this function of the operation, and not of the circuit
    #[arg(long, requires = "operation")]
    function: Option<String>,
}

#[retry_storage_operation(attempts = 4, timeout = "2s", failure_threshold = 5)]
async fn save() -> io::Result<()> {
    Ok(())
}

#[retry_storage_operation(op = "storage:save", deadline = "1m")]
async fn save_all() -> io::Result<()> {
    Ok(())
}

#[retry_api_call(window = "100 calls", failure_rate = 30, class = class_of)]
async fn charge() -> io::Result<()> {
    Ok(())
}

fn class_of(error: &io::Error) -> &'static str {
    if error.kind() == ErrorKind::TimedOut { "timeout" } else { "other" }
}

#[with_circuit_breaker(op = "reports", recovery_timeout = "5m")]
async fn report() -> io::Result<()> {
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let problem = match run(&Arguments::parse()).await.map(|text| print(&text)) {
        Ok(Err(error)) if error.kind() != ErrorKind::BrokenPipe => format!("{error:#}"),
        Err(error) => format!("{error:#}"),
        Ok(_) => return ExitCode::SUCCESS,
    };
    eprintln!("explain: {problem}");
    ExitCode::from(2)
}

async fn run(Arguments { operation, function }: &Arguments) -> anyhow::Result<String> {
    // All of them, for what is wrong with them. What is said of sharing is not installed: to look
    // at settings is no reason to join a fleet.
    Settings::from_env()?;
    let own = std::env::vars_os()
        .filter(|(name, _)| !name.as_encoded_bytes().starts_with(b"BINDU_CB_SHARED_"));
    registry().configure(Settings::default().with_variables(own)?);

    // A function is known from its first call on.
    tokio::try_join!(save(), save_all(), charge(), report())?;
    let Some(operation) = operation else { return Ok(names()) };
    let is_known = is_here(operation);
    // As of a function that is given nothing. It is listed as long as it is held.
    let _unknown = if is_known { None } else { Some(Operation::builder(operation).build()?) };
    let snapshots = registry().snapshot();
    let Some(circuit) = snapshots.iter().find(|circuit| circuit.operation == operation) else {
        bail!("there is no circuit {operation:?}");
    };
    let mut text = match function {
        None => whole(circuit, is_known),
        Some(name) => of_function(find(circuit, name)?),
    };
    if let Some(shared) = SharedSettings::from_env()? {
        section(&mut text, "all circuits are shared", &[]);
        writeln!(text, "  environment, BINDU_CB_SHARED_*  {shared:?}")?;
    }
    if !is_known && let Some((of, class)) = operation.rsplit_once('/') {
        let [of_variable, class_variable] = [of, class].map(in_a_variable);
        writeln!(
            text,
            "# taken for an operation: no function here has classes of errors of {of:?}; \
             the variables of its class {class:?} are BINDU_CB_{of_variable}__{class_variable}_…"
        )?;
    }
    for variable in registry().unmatched_variables() {
        writeln!(text, "# read by no operation here: {variable}")?;
    }
    Ok(text)
}

/// Whether a function here has this operation, or it is a class of the errors of one.
fn is_here(operation: &str) -> bool {
    // From the end, as both names may have a `/`.
    let mut fronts = operation.rmatch_indices('/').map(|(at, _)| &operation[..at]);
    let is_known = registry().get(operation).is_some();
    let may_be_class = !is_known && fronts.any(|front| registry().get(front).is_some());
    if may_be_class {
        // It has a circuit when it is asked for by name, or from its first error on.
        get_circuit_breaker(operation);
    }
    is_known || may_be_class
}

fn in_a_variable(name: &str) -> String {
    name.to_uppercase().replace(|c: char| !c.is_alphanumeric(), "_")
}

fn names() -> String {
    let line = |circuit: &Snapshot| {
        let functions = circuit.functions.iter().map(title).collect::<Vec<_>>().join(", ");
        format!("{}  {functions}\n", circuit.operation)
    };
    registry().snapshot().iter().map(line).collect()
}

fn whole(circuit: &Snapshot, is_known: bool) -> String {
    let mut text = String::new();
    section(&mut text, &format!("circuit {}", circuit.operation), &circuit.settings);
    for function in &circuit.functions {
        text.push('\n');
        let title = if is_known {
            format!("function {}", title(function))
        } else {
            "any function without keys of its own".to_owned()
        };
        section(&mut text, &title, &function.settings);
    }
    text
}

fn of_function(function: &FunctionSnapshot) -> String {
    let mut text = String::new();
    section(&mut text, &format!("function {}", title(function)), &function.settings);
    text
}

/// The function of this name, with its modules or without.
fn find<'c>(circuit: &'c Snapshot, name: &str) -> anyhow::Result<&'c FunctionSnapshot> {
    let is_meant = |function: &&FunctionSnapshot| {
        let own = function.name.unwrap_or_default();
        own == name || own.rsplit("::").next() == Some(name)
    };
    let Some(function) = circuit.functions.iter().find(is_meant) else {
        let known: Vec<_> = circuit.functions.iter().filter_map(|it| it.name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        bail!("{} has no function {name:?}; it has {known}", circuit.operation);
    };
    Ok(function)
}

fn title(function: &FunctionSnapshot) -> String {
    let FunctionSnapshot { name, location, .. } = function;
    name.map_or_else(|| location.clone(), |name| format!("{name} ({location})"))
}

/// Where each comes from, and what it is, in columns.
fn section(text: &mut String, title: &str, settings: &[SettingValue]) {
    let sources: Vec<_> = settings.iter().map(|setting| setting.source.to_string()).collect();
    let width = sources.iter().map(|source| source.chars().count()).max().unwrap_or(0);
    text.push_str(title);
    text.push('\n');
    for (source, SettingValue { key, value, .. }) in sources.iter().zip(settings) {
        // A string takes all that it is given.
        let _ = writeln!(text, "  {source:width$}  {key} = {value}");
    }
}

/// `print!` panics where nobody reads any more.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
