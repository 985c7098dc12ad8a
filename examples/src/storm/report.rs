//! The figures of all runs, as tables of Markdown.

use std::fmt::Write;

use super::cost::Cost;
use super::measures::Figures;
use super::scenario::Scenario;
use super::simulation::Run;

/// What the policies came to. The same for the same seed.
pub fn report(runs: &[Run], scenario: &Scenario) -> String {
    let rows: Vec<_> = runs.iter().map(|run| (run, Figures::of(run, scenario))).collect();
    let mut text = scenario.to_string();
    text.push_str(
        "\n| policy | requests to the dead service | a call | calls lost in the outage | \
         after it | full goodput after | peak after | of capacity |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (run, figures) in &rows {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {}/s | {:.2} |",
            run.policy.title,
            count(figures.dead),
            a_call(figures),
            count(figures.lost_in_the_outage),
            count(figures.lost_after),
            figures.full_goodput.map_or_else(|| "never".to_owned(), seconds),
            count(figures.peak),
            figures.peak_of_capacity,
        );
    }
    text.push_str(
        "\nOnce the circuits have opened and what was in flight has ended, requests to the dead \
         service:\n\n",
    );
    for (run, figures) in &rows {
        text.push_str(&probing(run, figures));
    }
    text.push_str("\nAfter the recovery, the most that the service was asked for:\n\n");
    for (run, figures) in rows.iter().filter(|(run, _)| run.policy.ramps_up) {
        let (title, of) = (run.policy.title, figures.peak_of_capacity);
        let verdict = if of <= 1.0 { "never overloaded" } else { "OVERLOADED" };
        let _ = writeln!(text, "- {title}: {of:.2} x what it could do in that second: {verdict}");
    }
    text
}

fn probing(run: &Run, figures: &Figures) -> String {
    let title = run.policy.title;
    if !run.policy.is_guarded() {
        return String::new();
    }
    match &figures.probing {
        None => format!("- {title}: the circuits did not all open\n"),
        Some(probing) => format!(
            "- {title}: open after {} ms, then {} requests; a single probe schedule has {}: {:.2} x\n",
            count(probing.tripped_after),
            count(probing.sent),
            probing.schedule,
            probing.of_schedule(),
        ),
    }
}

/// What it took to find that out, which is another thing each time.
pub fn costs(costs: &[(&str, Cost)]) -> String {
    let mut text = String::from(
        "| policy | simulated in | processor time | memory at most |\n\
         | --- | ---: | ---: | ---: |\n",
    );
    for (title, cost) in costs {
        let memory = cost.bytes.map_or("?".to_owned(), |it| format!("{} MB", it / 1_000_000));
        let processor =
            cost.processor.map_or("?".to_owned(), |it| format!("{:.1} s", it.as_secs_f64()));
        let _ = writeln!(
            text,
            "| {title} | {:.1} s | {processor} | {memory} |",
            cost.time.as_secs_f64(),
        );
    }
    text
}

/// Requests to the dead service.
pub(super) fn a_call(figures: &Figures) -> String {
    match figures.multiple() {
        few if few < 0.0001 => "< 0.0001".to_owned(),
        multiple => format!("{multiple:.4}"),
    }
}

/// With commas.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Of milliseconds.
pub(super) fn seconds(millis: u64) -> String {
    format!("{} s", millis as f64 / 1_000.0)
}
