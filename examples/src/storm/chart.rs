//! Charts of load and goodput over time, as SVG with both a light and a dark dress: the viewer's
//! preference chooses. (No chart library that we know of can do that.)

mod plot;

use std::fmt::Write;

use self::plot::{Frame, Scale};
use super::measures::Figures;
use super::report::{a_call, count, seconds};
use super::scenario::Scenario;
use super::simulation::Run;

const STYLE: &str = "
  .page { fill: #ffffff } .grid { stroke: #d8dee4 } .axis { stroke: #8c959f }
  .dead { fill: #cf222e; fill-opacity: .08 } .word { fill: #57606a } .head { fill: #1f2328 }
  .good { fill: #2da44e; fill-opacity: .35; stroke: #1a7f37 } .load { stroke: #bc4c00 }
  .capacity { stroke: #6e7781 } .open { fill: #cf222e } .half { fill: #bf8700 }
  .ramp { fill: #2da44e; fill-opacity: .45 } .closed { fill: #2da44e }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .grid { stroke: #21262d } .axis { stroke: #6e7681 }
    .dead { fill: #f85149; fill-opacity: .13 } .word { fill: #8d96a0 } .head { fill: #e6edf3 }
    .good { fill: #3fb950; fill-opacity: .3; stroke: #3fb950 } .load { stroke: #f0883e }
    .capacity { stroke: #8d96a0 } .open { fill: #f85149 } .half { fill: #d29922 }
    .ramp { fill: #3fb950; fill-opacity: .45 } .closed { fill: #3fb950 }
  }
  text { font: 12px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif }
  .title { font-size: 15px; font-weight: 600 } .grid, .axis { fill: none; stroke-width: 1 }
  .good { stroke-width: 1 } .load { fill: none; stroke-width: 1.75; stroke-linejoin: round }
  .capacity { fill: none; stroke-width: 1.25; stroke-dasharray: 5 4 } .end { text-anchor: end }
  .mid { text-anchor: middle }
";

/// One policy, on its own scale.
pub fn chart(run: &Run, scenario: &Scenario) -> String {
    let (width, height) = (880, 360);
    let figures = Figures::of(run, scenario);
    let title = run.policy.title;
    let mut svg = begin(width, height, &format!("Load and goodput over time: {title}"));
    text(&mut svg, (20, 30), "head title", title);
    text(&mut svg, (20, 50), "word", &summary(&figures));
    let frame = Frame { left: 62, top: 70, width: 798, height: 200 };
    let scale = Scale::of([run], scenario);
    plot::draw(&mut svg, run, scenario, &frame, &scale);
    legend(&mut svg, (62, 344), run.policy.is_guarded(), run.policy.ramps_up);
    svg.push_str("</svg>\n");
    svg
}

/// All of them, on one scale.
pub fn overview(runs: &[Run], scenario: &Scenario) -> String {
    const COLUMNS: usize = 2;
    const CELL: (usize, usize) = (450, 220);
    let rows = runs.len().div_ceil(COLUMNS);
    let (width, height) = (CELL.0 * COLUMNS + 10, CELL.1 * rows + 45);
    let mut svg = begin(width, height, "Load and goodput over time, of all policies on one scale");
    let scale = Scale::of(runs, scenario);
    for (number, run) in runs.iter().enumerate() {
        let (x, y) = (number % COLUMNS * CELL.0, number / COLUMNS * CELL.1);
        text(&mut svg, (x + 15, y + 28), "head title", run.policy.title);
        let frame = Frame { left: x + 52, top: y + 40, width: 392, height: 130 };
        plot::draw(&mut svg, run, scenario, &frame, &scale);
    }
    legend(&mut svg, (62, height - 18), true, true);
    svg.push_str("</svg>\n");
    svg
}

fn begin(width: usize, height: usize, name: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\">\n<title>{name}</title>\n\
         <style>{STYLE}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n"
    )
}

fn summary(figures: &Figures) -> String {
    format!(
        "{} requests to the dead service, {} a call  ·  full goodput {}  ·  peak load then \
         {:.1} x the capacity",
        count(figures.dead),
        escaped(&a_call(figures)),
        match figures.full_goodput {
            Some(after) => format!("{} after the recovery", seconds(after)),
            None => "never again".to_owned(),
        },
        figures.peak_of_capacity,
    )
}

/// For the only character of ours that SVG reads as its own.
fn escaped(words: &str) -> String {
    words.replace('<', "&lt;")
}

fn text(svg: &mut String, (x, y): (usize, usize), class: &str, words: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{words}</text>");
}

fn legend(svg: &mut String, (mut x, y): (usize, usize), has_circuit: bool, ramps_up: bool) {
    let middle = y - 4;
    let mut entry = |words: &str, mark: &dyn Fn(usize) -> String| {
        svg.push_str(&mark(x));
        text(svg, (x + 27, y), "word", words);
        x += 40 + words.len() * 13 / 2;
    };
    let line = |class: &'static str| {
        move |x| format!("<path class=\"{class}\" d=\"M{x} {middle}h20\"/>\n")
    };
    let area = |class: &'static str| {
        move |x| {
            let y = middle - 5;
            format!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"20\" height=\"10\"/>\n")
        }
    };
    entry("requests a second", &line("load"));
    entry("calls that end well", &area("good"));
    entry("capacity", &line("capacity"));
    entry("outage", &area("dead"));
    if has_circuit {
        entry("circuit closed", &area("closed"));
        entry("open", &area("open"));
    }
    if ramps_up {
        entry("ramping up", &area("ramp"));
    }
}
