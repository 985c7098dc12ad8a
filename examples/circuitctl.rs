//! The circuits that all replicas share, seen and set by hand from a terminal.
//!
//! ```text
//! export BINDU_CB_SHARED_URL=redis://127.0.0.1:6379
//! cargo run --example circuitctl -- list
//! cargo run --example circuitctl -- open storage:save --why "the disk is being replaced"
//! cargo run --example circuitctl -- --json watch
//! ```

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, bail};
use bindu_cb::{Fleet, SharedCircuit, SharedError, SharedSettings};
use clap::{Args, CommandFactory, Parser, Subcommand};
use serde_json::{Value, json};

/// Sees and sets by hand the circuits that all replicas share.
#[derive(Parser)]
#[command(
    name = "circuitctl",
    after_help = "Exit codes: 0 done; 1 the server cannot be asked, or has no such circuit; \
                  2 the arguments cannot be used."
)]
struct Arguments {
    /// The server, `redis://user:password@host:6379/0`; with a password rather in the environment,
    /// where no list of processes shows it
    #[arg(long, env = "BINDU_CB_SHARED_URL", hide_env_values = true, global = true)]
    url: Option<String>,
    /// The namespace that the replicas share their circuits in
    #[arg(long, env = "BINDU_CB_SHARED_NAMESPACE", default_value = "default", global = true)]
    namespace: String,
    /// Print JSON: an array by `list`, an object a line by the others
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Print the circuits that the server has a record of, or one of them
    List {
        /// Only this one
        operation: Option<String>,
    },
    /// Print each change, of any circuit or of one, until interrupted
    Watch {
        /// Only this one
        operation: Option<String>,
    },
    /// Force a circuit open in all replicas: every call is rejected, until `reset`
    Open(Order),
    /// Force a circuit closed in all replicas: every call goes through, until `reset`
    Close(Order),
    /// Back to automatic: close a circuit in all replicas, and let it open by itself again
    Reset(Order),
}

#[derive(Args)]
struct Order {
    /// Its name; of a class of errors: operation/class
    operation: String,
    /// Who does it: logged by every replica
    #[arg(long, env = "USER", default_value = "", hide_default_value = true)]
    who: String,
    /// Why: logged by every replica
    #[arg(long, default_value = "", hide_default_value = true)]
    why: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Err(error) = run(Arguments::parse()).await else { return ExitCode::SUCCESS };
    if error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == ErrorKind::BrokenPipe) {
        // Whoever read it has seen enough: `circuitctl watch | head -1`.
        return ExitCode::SUCCESS;
    }
    let text = format!("{error:#}");
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    eprintln!("circuitctl: {}", plain(&lines.join(" ")));
    match error.downcast_ref() {
        Some(SharedError::Settings { .. } | SharedError::Argument { .. }) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}

async fn run(Arguments { url, namespace, json, task }: Arguments) -> anyhow::Result<()> {
    let Some(url) = url.filter(|url| !url.trim().is_empty()) else {
        let text = "no server: give --url, or set BINDU_CB_SHARED_URL";
        Arguments::command().error(clap::error::ErrorKind::MissingRequiredArgument, text).exit();
    };
    let settings = SharedSettings::new(url).namespace(namespace);
    let mut fleet = Fleet::connect(&settings).await?;
    let circuit = match task {
        Task::List { operation } => {
            let circuits = match operation {
                Some(operation) => {
                    let none = || format!("there is no record of {operation:?}");
                    vec![fleet.get(&operation).await?.with_context(none)?]
                }
                None => fleet.list().await?,
            };
            return list(&circuits, json);
        }
        Task::Watch { operation } => return watch(&mut fleet, operation.as_deref(), json).await,
        Task::Open(Order { operation, who, why }) => {
            fleet.force_open(&operation, &who, &why).await?
        }
        Task::Close(Order { operation, who, why }) => {
            fleet.force_closed(&operation, &who, &why).await?
        }
        Task::Reset(Order { operation, who, why }) => fleet.reset(&operation, &who, &why).await?,
    };
    if json { print(&object(&circuit).to_string()) } else { list(&[circuit], false) }
}

fn list(circuits: &[SharedCircuit], json: bool) -> anyhow::Result<()> {
    if json {
        return print(&circuits.iter().map(object).collect::<Value>().to_string());
    }
    if circuits.is_empty() {
        return print("the server has no record of any circuit in this namespace");
    }
    let rows: Vec<_> = circuits.iter().map(cells).collect();
    let mut table = Table::default();
    table.fit(&HEAD.map(str::to_owned));
    for row in &rows {
        table.fit(row);
    }
    print(&table.line(&HEAD.map(str::to_owned)))?;
    rows.iter().try_for_each(|row| print(&table.line(row)))
}

async fn watch(fleet: &mut Fleet, operation: Option<&str>, json: bool) -> anyhow::Result<()> {
    // Wide enough for most of what is to come: what is printed stays as it is.
    let mut table = Table { widths: [24, 13, 12, 8, 20, 8, 0] };
    if !json {
        print(&format!("{:20}  {}", "TIME", table.line(&HEAD.map(str::to_owned))))?;
    }
    loop {
        let circuit = match fleet.changed().await {
            Err(error @ SharedError::Missed) => {
                eprintln!("circuitctl: {error}");
                continue;
            }
            Err(error) => bail!(error),
            Ok(circuit) => circuit,
        };
        if operation.is_some_and(|operation| operation != circuit.operation) {
            continue;
        }
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        if json {
            let mut object = object(&circuit);
            object["time"] = now.to_string().into();
            print(&object.to_string())?;
        } else {
            let row = cells(&circuit);
            table.fit(&row);
            print(&format!("{now}  {}", table.line(&row)))?;
        }
    }
}

fn object(circuit: &SharedCircuit) -> Value {
    let left = circuit.half_open_in.map(|left| u64::try_from(left.as_millis()));
    json!({
        "operation": circuit.operation,
        "state": circuit.state.to_string(),
        "epoch": circuit.epoch,
        "generation": circuit.generation,
        "half_open_in_ms": left.and_then(Result::ok),
        "reopens": circuit.reopens,
        "probe_by": circuit.probe_by,
        "set_by": circuit.set_by.as_ref().map(|by| json!({ "who": by.who, "why": by.why })),
    })
}

const HEAD: [&str; 7] =
    ["OPERATION", "STATE", "HALF-OPEN IN", "RE-OPENS", "PROBE BY", "SET BY", "WHY"];

fn cells(circuit: &SharedCircuit) -> [String; 7] {
    let by = circuit.set_by.as_ref();
    let cell = |text: Option<&str>| plain(text.filter(|text| !text.is_empty()).unwrap_or("-"));
    [
        cell(Some(&circuit.operation)),
        circuit.state.to_string(),
        circuit.half_open_in.map_or("-".to_owned(), |left| format!("{:.1}s", left.as_secs_f64())),
        circuit.reopens.to_string(),
        cell(circuit.probe_by.as_deref()),
        cell(by.map(|by| &*by.who)),
        cell(by.map(|by| &*by.why)),
    ]
}

/// Names are anybody's: what would move the cursor, or break the line, is written as an escape.
fn plain(text: &str) -> String {
    text.chars().fold(String::new(), |mut plain, c| {
        if c.is_control() {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
        plain
    })
}

/// Columns as wide as what has been seen in them.
#[derive(Default)]
struct Table {
    widths: [usize; 7],
}

impl Table {
    fn fit(&mut self, row: &[String; 7]) {
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }

    fn line(&self, row: &[String; 7]) -> String {
        let cells = row.iter().zip(self.widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }
}

/// `println!` panics where nobody reads any more.
fn print(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
