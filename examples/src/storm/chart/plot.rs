//! One pair of axes, with everything that is drawn on it.

use std::fmt::Write;

use bindu_cb::CircuitState;

use super::super::ledger::Change;
use super::super::measures::requests;
use super::super::scenario::Scenario;
use super::super::simulation::Run;

/// Where the axes are.
pub(super) struct Frame {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// How much the axes say.
pub(super) struct Scale {
    /// Requests a second at the top, and from line to line.
    top: f64,
    step: f64,
    /// Milliseconds from end to end, and from mark to mark.
    length: f64,
    mark: u64,
}

impl Scale {
    /// Of all these runs.
    pub(super) fn of<'r>(runs: impl IntoIterator<Item = &'r Run>, scenario: &Scenario) -> Self {
        let loads = runs.into_iter().flat_map(|run| &run.ledger.seconds).map(|it| it.requests);
        let most = f64::from(loads.max().unwrap_or(0).max(scenario.capacity));
        let step = step(most / 5.0);
        let mark = if scenario.length > 120_000 { 60_000 } else { 10_000 };
        Self { top: most * 1.04, step, length: scenario.length as f64, mark }
    }
}

/// 1, 2 or 5 times a power of ten, `least` or a little more.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|it| it * power).find(|it| *it >= least).unwrap_or(10.0 * power)
}

struct Plot<'p> {
    svg: &'p mut String,
    frame: &'p Frame,
    scale: &'p Scale,
}

pub(super) fn draw(svg: &mut String, run: &Run, scenario: &Scenario, frame: &Frame, scale: &Scale) {
    let mut plot = Plot { svg, frame, scale };
    plot.outage(scenario);
    plot.axes(if run.policy.is_guarded() { 34 } else { 18 });
    plot.curves(run, scenario);
    if run.policy.is_guarded() {
        plot.circuits(run, scenario);
    }
}

impl Plot<'_> {
    fn x(&self, millis: u64) -> f64 {
        self.frame.left as f64 + millis as f64 / self.scale.length * self.frame.width as f64
    }

    fn y(&self, requests: f64) -> f64 {
        let bottom = (self.frame.top + self.frame.height) as f64;
        bottom - requests / self.scale.top * self.frame.height as f64
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.svg, "{element}");
    }

    fn outage(&mut self, scenario: &Scenario) {
        let (from, to) = (self.x(scenario.outage), self.x(scenario.recovery));
        let (top, height, width) = (self.frame.top, self.frame.height, to - from);
        self.put(format_args!(
            "<rect class=\"dead\" x=\"{from:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\"/>"
        ));
    }

    /// With the marks' words so far below.
    fn axes(&mut self, below: usize) {
        let Frame { left, top, width, height } = *self.frame;
        let bottom = top + height;
        let mut level = 0.0;
        while level <= self.scale.top {
            let y = self.y(level);
            let class = if level > 0.0 { "grid" } else { "axis" };
            self.put(format_args!("<path class=\"{class}\" d=\"M{left} {y:.1}h{width}\"/>"));
            let (x, y, words) = (left - 8, y + 4.0, amount(level));
            self.put(format_args!(
                "<text class=\"word end\" x=\"{x}\" y=\"{y:.1}\">{words}</text>"
            ));
            level += self.scale.step;
        }
        let mut at = 0;
        while at as f64 <= self.scale.length {
            let (x, y) = (self.x(at), bottom + below);
            self.put(format_args!("<path class=\"axis\" d=\"M{x:.1} {bottom}v4\"/>"));
            let words = if self.scale.mark >= 60_000 { at / 60_000 } else { at / 1_000 };
            let unit = match at {
                0 if self.scale.mark >= 60_000 => " min",
                0 => " s",
                _ => "",
            };
            self.put(format_args!(
                "<text class=\"word mid\" x=\"{x:.1}\" y=\"{y}\">{words}{unit}</text>"
            ));
            at += self.scale.mark;
        }
    }

    fn curves(&mut self, run: &Run, scenario: &Scenario) {
        let seconds = &run.ledger.seconds;
        let good = self.line(seconds.iter().map(|it| f64::from(it.good)));
        let (left, right, base) = (self.x(500), self.x(scenario.length - 500), self.y(0.0));
        self.put(format_args!(
            "<path class=\"good\" d=\"M{left:.1} {base:.1}L{good}L{right:.1} {base:.1}Z\"/>"
        ));
        let capacity = self.line(seconds.iter().map(|it| requests(it.capacity)));
        self.put(format_args!("<path class=\"capacity\" d=\"M{capacity}\"/>"));
        let load = self.line(seconds.iter().map(|it| f64::from(it.requests)));
        self.put(format_args!("<path class=\"load\" d=\"M{load}\"/>"));
    }

    /// A point in the middle of each second.
    fn line(&self, values: impl Iterator<Item = f64>) -> String {
        let point = |(second, value): (usize, f64)| {
            format!("{:.1} {:.1}", self.x(second as u64 * 1_000 + 500), self.y(value))
        };
        values.enumerate().map(point).collect::<Vec<_>>().join("L")
    }

    /// A band below the axis, with a row for each circuit.
    fn circuits(&mut self, run: &Run, scenario: &Scenario) {
        let rows = run.policy.replicas;
        let (top, height) = (self.frame.top + self.frame.height + 6, 12.0 / rows as f64);
        for replica in 0..rows {
            let y = top as f64 + replica as f64 * height;
            let mut state = ("closed", 0);
            let mut bands = Vec::new();
            for change in run.ledger.changes.iter().filter(|it| it.replica == replica) {
                bands.push((state, change.at));
                state = (class(change, run), change.at);
            }
            bands.push((state, scenario.length));
            for ((class, from), to) in bands {
                let ramped = (from + scenario.ramp_up).min(to);
                if class == "ramp" {
                    self.band(class, from, ramped, y, height);
                    self.band("closed", ramped, to, y, height);
                } else {
                    self.band(class, from, to, y, height);
                }
            }
        }
    }

    fn band(&mut self, class: &str, from: u64, to: u64, y: f64, height: f64) {
        if from < to {
            let (x, width) = (self.x(from), self.x(to) - self.x(from));
            self.put(format_args!(
                "<rect class=\"{class}\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\"/>"
            ));
        }
    }
}

fn class(change: &Change, run: &Run) -> &'static str {
    match change.to {
        CircuitState::Closed if run.policy.ramps_up => "ramp",
        CircuitState::Closed => "closed",
        CircuitState::HalfOpen => "half",
        _ => "open",
    }
}

fn amount(requests: f64) -> String {
    if requests >= 1_000.0 {
        format!("{}k", (requests / 100.0).round() / 10.0)
    } else {
        format!("{requests}")
    }
}
