//! What an attribute costs the compiler: the same functions bare, under
//! `#[tracing::instrument(skip_all)]`, with a retry written by hand, and under our attributes.
//!
//! ```text
//! cargo run -p bindu-cb-benches --bin compile-time              # 400 functions, 3 runs
//! cargo run -p bindu-cb-benches --bin compile-time -- 100 1
//! ```
//!
//! The crates are made in a temporary workspace, with the versions of this one's `Cargo.lock`.
//! Dependencies are built beforehand; then each crate alone is rebuilt, by turns.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Instant, SystemTime};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What stands around the body of a function.
struct Variant {
    name: &'static str,
    shown: &'static str,
    dependencies: &'static str,
    imports: &'static str,
    /// Above each function; `{i}` is its number.
    attribute: &'static str,
    around: [&'static str; 2],
}

const VARIANTS: [Variant; 5] = [
    Variant {
        name: "cost-bare",
        shown: "bare",
        dependencies: "",
        imports: "",
        attribute: "",
        around: ["", ""],
    },
    Variant {
        name: "cost-instrument",
        shown: "tracing::instrument(skip_all)",
        dependencies: "tracing = { version = \"0.1\", features = [\"attributes\"] }",
        imports: "",
        attribute: "#[tracing::instrument(skip_all)]",
        around: ["", ""],
    },
    Variant {
        name: "cost-backon",
        shown: "backon, by hand",
        dependencies: "backon = { version = \"1.6\", default-features = false, \
                       features = [\"std\", \"tokio-sleep\"] }",
        imports: "use backon::{ExponentialBuilder, Retryable};",
        attribute: "",
        around: ["(|| async {", "}).retry(ExponentialBuilder::default().with_max_times(2)).await"],
    },
    Variant {
        name: "cost-once",
        shown: "with_circuit_breaker",
        dependencies: "bindu-cb = { path = \"{root}/bindu-cb\" }",
        imports: "",
        attribute: "#[bindu_cb::with_circuit_breaker(op = \"op:{i}\", enabled = true)]",
        around: ["", ""],
    },
    Variant {
        name: "cost-retrying",
        shown: "retry_with_breaker",
        dependencies: "bindu-cb = { path = \"{root}/bindu-cb\" }",
        imports: "",
        attribute: "#[bindu_cb::retry_with_breaker(op = \"op:{i}\", enabled = true)]",
        around: ["", ""],
    },
];

/// Signature, body and a call of each shape of function, which take turns.
const SHAPES: [[&str; 3]; 4] = [
    ["f{i}(n: u64, name: &str) -> Result<u64>", "Ok(ask(n, name).await? + {i})", "f{i}(1, \"a\")"],
    [
        "f{i}(items: &[u64]) -> Result<Vec<u64>>",
        "let mut found = Vec::new();
        for item in items {
            found.push(ask(*item, \"item\").await? + {i});
        }
        Ok(found)",
        "f{i}(&[1, 2])",
    ],
    [
        "f{i}(name: &str, limit: Option<u64>) -> Result<String>",
        "let n = match limit {
            Some(limit) if limit > {i} => ask(limit, name).await?,
            Some(limit) => limit,
            None => return Ok(String::new()),
        };
        Ok(format!(\"{name}: {n}\"))",
        "f{i}(\"a\", Some(2))",
    ],
    [
        "f{i}(from: u64, to: u64) -> Result<()>",
        "let sum = ask(from, \"from\").await? + ask(to, \"to\").await?;
        if sum == {i} { Err(Error::other(\"no\")) } else { Ok(()) }",
        "f{i}(1, 2)",
    ],
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut numbers = env::args().skip(1).map(|argument| argument.parse::<usize>());
    let functions = numbers.next().transpose()?.unwrap_or(400);
    let runs = numbers.next().transpose()?.unwrap_or(3).max(1);

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let workspace = Workspace::create(&root, functions)?;
    for variant in &VARIANTS {
        eprintln!("building the dependencies: {}", variant.shown);
        for build in Build::ALL {
            workspace.build(variant, build)?;
        }
    }
    let mut seconds = [(); VARIANTS.len()].map(|()| [Vec::new(), Vec::new()]);
    for build in Build::ALL {
        let rounds = runs * build.rounds();
        for round in 1..=rounds {
            eprintln!("cargo {}, round {round} of {rounds}", build.arguments().join(" "));
            for (variant, seconds) in VARIANTS.iter().zip(&mut seconds) {
                workspace.touch(variant)?;
                seconds[build as usize].push(workspace.build(variant, build)?);
            }
        }
    }
    let medians = seconds.map(|of_builds| of_builds.map(median));
    report(functions, runs, &medians);
    Ok(())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn report(functions: usize, runs: usize, medians: &[[f64; 2]; VARIANTS.len()]) {
    println!(
        "\n{functions} async functions in one crate; medians of {} checks and {runs} release builds, by \
         turns; dependencies built.\n",
        runs * Build::Check.rounds()
    );
    println!("| functions                     | check s | x bare | release s | x bare |");
    println!("| ----------------------------- | ------: | -----: | --------: | -----: |");
    let [bare_check, bare_release] = medians[0];
    for (variant, [check, release]) in VARIANTS.iter().zip(medians) {
        println!(
            "| {:<29} | {check:>7.2} | {:>6.2} | {release:>9.2} | {:>6.2} |",
            variant.shown,
            check / bare_check,
            release / bare_release
        );
    }
    println!();
    for ([check, release], variant) in medians[3..].iter().zip(&VARIANTS[3..]) {
        for (what, reached, limit) in [
            ("check no longer than tracing::instrument", check, medians[1][0]),
            ("release build no longer than backon by hand", release, medians[2][1]),
        ] {
            let verdict = if *reached <= limit { "reached" } else { "MISSED " };
            println!("  {verdict}  {}, {what}: {reached:.2} of {limit:.2} s", variant.shown);
        }
    }
}

#[derive(Clone, Copy)]
enum Build {
    Check,
    Release,
}

impl Build {
    const ALL: [Self; 2] = [Self::Check, Self::Release];

    /// In each run: what is short varies more.
    fn rounds(self) -> usize {
        match self {
            Self::Check => 5,
            Self::Release => 1,
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Check => &["check"],
            Self::Release => &["build", "--release"],
        }
    }
}

/// The generated crates; gone when dropped.
struct Workspace(PathBuf);

impl Workspace {
    fn create(root: &Path, functions: usize) -> Result<Self> {
        let directory = env::temp_dir().join(format!("bindu-cb-compile-{}", std::process::id()));
        let workspace = Self(directory);
        fs::create_dir_all(&workspace.0)?;
        let members: Vec<_> = VARIANTS.iter().map(|variant| variant.name).collect();
        fs::write(
            workspace.0.join("Cargo.toml"),
            format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n"),
        )?;
        fs::copy(root.join("Cargo.lock"), workspace.0.join("Cargo.lock"))?;
        for variant in &VARIANTS {
            let member = workspace.0.join(variant.name);
            fs::create_dir_all(member.join("src"))?;
            let manifest = format!(
                "[package]\nname = {:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
                 [dependencies]\ntokio = {{ version = \"1\", features = [\"time\", \"sync\"] }}\n{}\n",
                variant.name,
                variant.dependencies.replace("{root}", &root.display().to_string()),
            );
            fs::write(member.join("Cargo.toml"), manifest)?;
            fs::write(member.join("src/lib.rs"), source(variant, functions)?)?;
        }
        Ok(workspace)
    }

    /// Makes cargo build the crate again, and nothing else.
    fn touch(&self, variant: &Variant) -> Result<()> {
        let path = self.0.join(variant.name).join("src/lib.rs");
        Ok(File::options().append(true).open(path)?.set_modified(SystemTime::now())?)
    }

    /// In seconds.
    fn build(&self, variant: &Variant, build: Build) -> Result<f64> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(build.arguments())
            .args(["--quiet", "-p", variant.name])
            .current_dir(&self.0)
            .env("CARGO_TARGET_DIR", self.0.join("target"))
            // Nothing has changed but the time stamp: with it there would be nothing to do.
            .env("CARGO_INCREMENTAL", "0");
        let begun = Instant::now();
        let output = command.output()?;
        let took = begun.elapsed().as_secs_f64();
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{} does not build:\n{text}", variant.shown).into());
        }
        Ok(took)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // A temporary directory that stays is no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn source(variant: &Variant, functions: usize) -> Result<String> {
    let mut source = format!("{}\n{PRELUDE}", variant.imports);
    let mut calls = String::new();
    let [before, after] = variant.around;
    for i in 0..functions {
        let number = |text: &str| text.replace("{i}", &i.to_string());
        let [signature, body, call] = SHAPES[i % SHAPES.len()].map(number);
        let attribute = number(variant.attribute);
        writeln!(source, "{attribute}\npub async fn {signature} {{ {before} {body} {after} }}\n")?;
        writeln!(calls, "    keep({call});")?;
    }
    writeln!(source, "pub fn all() {{\n{calls}}}")?;
    Ok(source)
}

/// `keep` has the future's code made: no function of a library is otherwise polled by anybody.
const PRELUDE: &str = "
use std::future::Future;
use std::hint::black_box;
use std::io::{Error, Result};
use std::pin::Pin;

async fn ask(n: u64, name: &str) -> Result<u64> {
    tokio::time::sleep(std::time::Duration::from_millis(n)).await;
    name.parse().map_err(Error::other)
}

fn keep<T, F: Future<Output = T> + Send>(future: F) {
    let boxed: Pin<Box<dyn Future<Output = T> + Send + '_>> = Box::pin(future);
    black_box(boxed);
}

";
