//! The storm laboratory: ten thousand workers, a service that dies and comes back, and eight policies
//! side by side, in virtual time.
//!
//! ```text
//! cargo run --release --example storm
//! cargo run --example storm -- --workers 100 --minutes 1
//! ```
//!
//! It prints what each policy came to, and writes that, a chart and the figures of every second. The
//! same seed gives the same files. The model is told in `src/storm/mod.rs`, what came out of it in
//! `docs/STORMS.md`.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use anyhow::Context;
use bindu_cb_examples::storm::{
    Cost, POLICIES, Run, Scenario, chart, costs, csv, overview, report, simulate,
};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

/// Millions of small allocations are a tenth of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lets a storm happen under one policy after another and compares what comes of it.
#[derive(Parser)]
#[command(name = "storm")]
struct Arguments {
    /// Workers, each of which begins a call in every second; from 100 to 100000
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    workers: u32,
    /// Virtual minutes, a fifth of them before the outage; from 1 to 60
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    minutes: u32,
    /// Let the dead service not refuse connections, but not answer at all
    #[arg(long)]
    hangs: bool,
    /// Milliseconds before the second attempt, about; twice that before the third; from 1 to 10000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    wait: u64,
    /// Of all that is left to chance: the same seed gives the same figures
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The directory for the charts, the figures of every second and the report
    #[arg(long, default_value = "target/storm")]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Arguments { workers, minutes, hangs, wait, seed, out } = Arguments::parse();
    let scenario = Scenario { hangs, wait, ..Scenario::new(workers, minutes, seed) };
    fs::create_dir_all(&out)
        .with_context(|| format!("cannot make the directory {}", out.display()))?;
    let write = |name: &str, text: &str| {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };

    let style =
        ProgressStyle::with_template("{prefix} {msg:26} {bar:40} {pos:>4}/{len} s  {elapsed}")?;
    let mut runs: Vec<Run> = Vec::new();
    let mut prices = Vec::new();
    for (number, policy) in POLICIES.iter().enumerate() {
        let bar = ProgressBar::new(u64::from(minutes) * 60).with_style(style.clone());
        bar.set_prefix(format!("{}/{}", number + 1, POLICIES.len()));
        bar.set_message(policy.title);
        let (run, cost) =
            Cost::of(|| simulate(policy, &scenario, |second| bar.set_position(second)));
        bar.finish_and_clear();
        write(&format!("{}.svg", policy.name), &chart(&run, &scenario))?;
        write(&format!("{}.csv", policy.name), &csv(&run))?;
        runs.push(run);
        prices.push((policy.title, cost));
    }
    let report = report(&runs, &scenario);
    write("overview.svg", &overview(&runs, &scenario))?;
    write("report.md", &report)?;
    let text = format!("{report}\n{}\nCharts and figures: {}\n", costs(&prices), out.display());
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever read it has seen enough; the files are there.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
