//! What is printed: Markdown, to be pasted into `docs/PERFORMANCE.md`.

use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::case::{Case, Whose};
use crate::measure::{Figures, Mode};
use crate::{group, peers};

/// The name of a peer with the version that this binary was built with.
pub(crate) fn with_version(name: &str) -> String {
    const LOCK: &str = include_str!("../../Cargo.lock");
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = LOCK.split(&entry).nth(1).and_then(|rest| rest.split('"').next());
    format!("{name} {}", version.unwrap_or("(version unknown)"))
}

pub(crate) fn head() {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = line("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name\t: "));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let rustc = Command::new("rustc").arg("-V").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    println!(
        "{}, {cores} cores, {}",
        cpu.unwrap_or("unknown processor"),
        rustc.unwrap_or_else(|_| "unknown rustc".to_owned())
    );
    let (std, tokio) = (clock(Instant::now), clock(tokio::time::Instant::now));
    println!(
        "Profile: bench, lto {}, codegen-units {}",
        option_env!("CARGO_PROFILE_BENCH_LTO").unwrap_or("as by default"),
        option_env!("CARGO_PROFILE_BENCH_CODEGEN_UNITS").unwrap_or("as by default")
    );
    println!("One clock read: std {std:.1} ns, tokio {tokio:.1} ns");
    if tokio > std * 1.5 + 2.0 {
        println!("WARNING: tokio's clock is slow, `test-util` seems to be in this build");
    }
    let load = line("/proc/loadavg");
    let load: f64 = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    if load > 1.0 {
        println!("WARNING: the machine is busy (load {load}): the figures are noisy");
    }
    if cores < 2 {
        println!("WARNING: two threads share one core: the figures for two say nothing");
    }
}

/// The best of many short runs.
fn clock<T>(read: fn() -> T) -> f64 {
    let once = || {
        let begun = Instant::now();
        for _ in 0..1_000 {
            black_box(read());
        }
        begun.elapsed()
    };
    (0..200).map(|_| once()).min().unwrap_or(Duration::ZERO).as_secs_f64() * 1e6
}

pub(crate) fn table(cases: &[Case], figures: &[Figures]) {
    let bare = &figures[0];
    let mut rows = vec![
        [
            "case",
            "call",
            "ns",
            "±%",
            "over bare",
            "x bare",
            "x best peer",
            "2 threads, 1 runtime",
            "x 1 thread",
            "x best peer",
            "2 runtimes",
            "x 1 thread",
            "x best peer",
            "allocs",
            "bytes",
            "future +B",
            "circuit B",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    let mut last = "";
    for (case, figure) in cases.iter().zip(figures) {
        let best = |mode| {
            let of_group = cases
                .iter()
                .zip(figures)
                .filter(|(other, _)| other.group == case.group && other.whose == Whose::Peers);
            let calm = of_group.filter(|(_, figure)| !figure.disturbed(mode));
            calm.map(|(_, figure)| figure.median(mode)).min_by(f64::total_cmp)
        };
        let to_best = |mode| match best(mode) {
            Some(best) => format!("{:.2}", figure.median(mode) / best),
            None => "-".to_owned(),
        };
        let one = figure.median(Mode::One);
        let mut row = vec![
            if case.group == last { String::new() } else { case.group.to_owned() },
            if case.whose == Whose::Ours {
                format!("**{}**", case.name)
            } else {
                case.name.clone()
            },
            nanos(one),
            format!("{:.0}", figure.spread(Mode::One) * 100.0),
            nanos(one - bare.median(Mode::One)),
            format!("{:.1}", one / bare.median(Mode::One)),
            to_best(Mode::One),
        ];
        for mode in [Mode::Shared, Mode::Apart] {
            if figure.disturbed(mode) {
                row.extend(["busy", "", ""].map(str::to_owned));
            } else {
                row.push(nanos(figure.median(mode)));
                row.push(format!("{:.2}", figure.median(mode) / one));
                row.push(to_best(mode));
            }
        }
        row.extend([
            number(figure.allocations),
            number(figure.bytes),
            // A peer that boxes has a smaller one.
            format!("{:+}", case.future.cast_signed() - cases[0].future.cast_signed()),
            case.circuit.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string()),
        ]);
        rows.push(row);
        last = case.group;
    }
    print_columns(&rows);
}

fn print_columns(rows: &[Vec<String>]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..rows[0].len()).map(|column| width(column).unwrap_or(0)).collect();
    println!();
    for (index, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column < 2 { format!(" {cell:<width$} |") } else { format!(" {cell:>width$} |") }
        });
        println!("|{}", cells.collect::<String>());
        if index == 0 {
            let rule = |(column, width): (usize, &usize)| {
                let end = if column < 2 { '-' } else { ':' };
                format!(" {}{end} |", "-".repeat(width - 1))
            };
            println!("|{}", widths.iter().enumerate().map(rule).collect::<String>());
        }
    }
}

fn nanos(nanos: f64) -> String {
    if nanos.abs() < 100.0 { format!("{nanos:.1}") } else { format!("{nanos:.0}") }
}

fn number(number: f64) -> String {
    if number.fract().abs() < 0.01 { format!("{number:.0}") } else { format!("{number:.2}") }
}

pub(crate) fn foot(rounds: u32, in_earnest: bool, figures: &[Figures]) {
    println!(
        "\nMedians of the least disturbed quarter of {rounds} rounds, nanoseconds a call; bold: bindu-cb."
    );
    let disturbed = |figure: &Figures| Mode::ALL.iter().any(|mode| figure.disturbed(*mode));
    if figures.iter().any(disturbed) {
        println!(
            "busy: there was no time in which both threads had a core for themselves. Run it again \
             on an idle machine; ratios to the best peer are to those that could be measured."
        );
    }
    if !in_earnest {
        println!("A trial of one round without `--bench`: the times say nothing.");
    }
    println!(
        "±: half of the distance between the quartiles. circuit B: what a circuit holds once two \
         threads have used it. future +B: the size of a call's future less the bare one's."
    );
    for note in peers::LEFT_OUT {
        println!("{note}");
    }
}

/// What the project has set itself, and whether this run reached it.
pub(crate) fn targets(cases: &[Case], figures: &[Figures]) {
    let bare = figures[0].median(Mode::One);
    let ours = || cases.iter().zip(figures).filter(|(case, _)| case.whose == Whose::Ours);
    println!("\nTargets, over the bare call:");
    let tell = |what: &str, reached: f64, limit: f64, unit: &str| {
        let verdict = if reached <= limit { "reached" } else { "MISSED " };
        println!("  {verdict}  {what}: {reached:.1} of at most {limit} {unit}");
    };
    for (group, limit) in [
        (group::CLOSED, 5.0),
        (group::DISABLED, 3.0),
        (group::OPEN, 30.0),
        (group::CALLS, 10.0),
        (group::TIME, 45.0),
        (group::KEYED, 60.0),
    ] {
        for (case, figure) in ours().filter(|(case, _)| case.group == group) {
            let over = figure.median(Mode::One) - bare;
            tell(&format!("{group}, {}", case.name), over, limit, "ns");
        }
    }
    for (plain, slow) in [(group::CALLS, group::CALLS_SLOW), (group::TIME, group::TIME_SLOW)] {
        let first = |group| ours().find(|(case, _)| case.group == group);
        if let (Some((_, plain)), Some((_, with))) = (first(plain), first(slow)) {
            let more = with.median(Mode::One) - plain.median(Mode::One);
            tell(&format!("{slow}, on top"), more, 30.0, "ns");
        }
    }
    for (case, figure) in ours() {
        let what = format!("{}, {}", case.group, case.name);
        let one = figure.median(Mode::One);
        for (mode, runtimes) in [(Mode::Shared, "one runtime"), (Mode::Apart, "two runtimes")] {
            let ratio = figure.median(mode) / one;
            if figure.disturbed(mode) {
                println!("  unknown  {what}, two threads, {runtimes}: the machine was busy");
            } else if ratio > 1.25 {
                println!("  MISSED   {what}, two threads, {runtimes}: {ratio:.2} of at most 1.25");
            }
        }
        if figure.allocations > 0.0 {
            println!("  MISSED   {what}: {} allocations a call", number(figure.allocations));
        }
        if let Some(bytes) = case.circuit {
            let limit = if case.group == group::CLOSED { 4 << 10 } else { 16 << 10 };
            let verdict = if bytes <= limit { "reached" } else { "MISSED " };
            println!("  {verdict}  {what}: a circuit of {bytes} of at most {limit} B");
        }
        let growth = case.future.saturating_sub(cases[0].future);
        if case.is_annotated() && growth > 256 {
            println!("  MISSED   {what}: a future larger by {growth} of at most 256 B");
        }
    }
    println!(
        "  Not listed: two threads within 1.25 x one, no allocation, futures of annotated\n  functions within 256 B."
    );
}
