//! Adaptive thresholds against fixed ones: how soon they open in an outage, and how often they open
//! though nothing is wrong. Print the tables of `docs/ADAPTIVE.md` with
//! `cargo test -p bindu-cb-tests --test adaptive -- --nocapture --test-threads=1`.

use std::fmt;
use std::time::Duration;

use bindu_cb::{CircuitBreaker, CircuitBreakerSettings, CircuitState, Window};

const SEEDS: u64 = 100;
/// At 20 calls a tick on average, either window holds a thousand.
const TICK: Duration = Duration::from_millis(200);
const TICKS_A_WINDOW: u64 = 50;
const CALLS: Window = Window::Calls(1_000);
const TIME: Window = Window::Time(Duration::from_secs(10));
/// More than the ten thousand calls that the history needs to be believed in full.
const HISTORY: u64 = 11 * TICKS_A_WINDOW;
/// How long a circuit is given to open, or to open wrongly.
const WATCHED: u64 = 9 * TICKS_A_WINDOW;

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ x >> 31) % end
    }
}

/// One run of a scenario: a day with its own hours, bursts of its own length.
struct Run {
    scenario: Scenario,
    dice: Dice,
    phase: u64,
    burst: u64,
    wobble: u64,
}

/// Rates are in parts of a hundred thousand.
const PERCENT: u64 = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Steady,
    Noisy,
    DayAndNight,
    Bursts,
    Step,
    StepFromNoisy,
    Creep,
    Outage,
}

use Scenario::{Bursts, Creep, DayAndNight, Noisy, Outage, Steady, Step, StepFromNoisy};

impl Scenario {
    const HEALTHY: [Self; 4] = [Steady, Noisy, DayAndNight, Bursts];
    const OUTAGES: [Self; 4] = [Step, StepFromNoisy, Creep, Outage];

    /// The tick from which on it is an outage.
    fn onset(self) -> Option<u64> {
        match self {
            Steady | Noisy | DayAndNight | Bursts => None,
            Step | StepFromNoisy | Outage => Some(HISTORY),
            // Half a point a window: here it is at 15 %, thirty times what it was.
            Creep => Some(HISTORY + 29 * TICKS_A_WINDOW),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Steady => "steady 0.1 %",
            Noisy => "steady 8 %, noisy",
            DayAndNight => "day and night",
            Bursts => "bursts shorter than the window",
            Step => "step from 1 % to 30 %",
            StepFromNoisy => "step from noisy 8 % to 30 %",
            Creep => "slow creep from 0.5 %, past 15 %",
            Outage => "total outage",
        })
    }
}

impl Run {
    fn new(scenario: Scenario, seed: u64) -> Self {
        let mut dice = Dice(seed << 8 | scenario as u64);
        let phase = dice.below(10 * TICKS_A_WINDOW);
        Self { scenario, dice, phase, burst: 0, wobble: 0 }
    }

    fn calls(&mut self, tick: u64) -> u64 {
        let mean = match self.scenario {
            // Between a tenth of the traffic and nearly twice of it, up and down in ten windows.
            DayAndNight => 2 + self.height(tick) * 36 / 1_000,
            _ => 20,
        };
        mean / 2 + self.dice.below(mean + 1)
    }

    /// Of the day, in thousandths.
    fn height(&self, tick: u64) -> u64 {
        let day = 10 * TICKS_A_WINDOW;
        let hour = (tick + self.phase) % day;
        hour.min(day - hour) * 2_000 / day
    }

    fn rate(&mut self, tick: u64) -> u64 {
        let past = |onset| tick >= onset;
        match self.scenario {
            Steady => PERCENT / 10,
            Noisy => self.noisy(tick),
            StepFromNoisy if !past(HISTORY) => self.noisy(tick),
            // Fewer calls at night, and more of them fail.
            DayAndNight => 4 * PERCENT - 3 * self.height(tick),
            Bursts => {
                // One in three windows, of 0.3 to 0.9 windows.
                let since = (tick + self.phase) % (3 * TICKS_A_WINDOW);
                if since == 0 {
                    self.burst = 15 + self.dice.below(31);
                }
                if since < self.burst { 30 * PERCENT } else { PERCENT }
            }
            Step | Outage if !past(HISTORY) => PERCENT,
            Step | StepFromNoisy => 30 * PERCENT,
            Outage => 100 * PERCENT,
            Creep => PERCENT / 2 + tick.saturating_sub(HISTORY) * PERCENT / 2 / TICKS_A_WINDOW,
        }
    }

    /// 4 to 12 %, another rate each second.
    fn noisy(&mut self, tick: u64) -> u64 {
        if tick.is_multiple_of(5) {
            self.wobble = 4 * PERCENT + self.dice.below(8 * PERCENT + 1);
        }
        self.wobble
    }
}

const POLICIES: [&str; 3] = ["fixed 10 %", "fixed 50 %", "adaptive"];
const ADAPTIVE: usize = 2;

fn circuits(window: Window) -> [CircuitBreaker; 3] {
    let settings = CircuitBreakerSettings::default().window(window).minimum_calls(100);
    [settings.clone().failure_rate(10), settings.clone().failure_rate(50), settings.adaptive(true)]
        .map(|settings| CircuitBreaker::new("adaptive", settings))
}

/// When a circuit opened: in which tick, and after how many calls since the onset.
type Opened = Option<(u64, u64)>;

async fn run(scenario: Scenario, window: Window, seed: u64) -> [Opened; 3] {
    let mut run = Run::new(scenario, seed);
    let circuits = circuits(window);
    let mut opened = [None; 3];
    let mut calls = 0;
    let onset = scenario.onset();
    for tick in 0..onset.unwrap_or(HISTORY) + WATCHED {
        tokio::time::advance(TICK).await;
        let rate = run.rate(tick);
        for _ in 0..run.calls(tick) {
            calls += u64::from(onset.is_some_and(|onset| tick >= onset));
            let fails = run.dice.below(100 * PERCENT) < rate;
            for (circuit, opened) in circuits.iter().zip(&mut opened) {
                if opened.is_some() {
                    continue;
                }
                let permit = circuit.try_acquire().expect("it is closed");
                if fails {
                    permit.failure();
                } else {
                    permit.success();
                }
                // A success can be the last of the calls that a window must hold.
                if circuit.state() == CircuitState::Open {
                    *opened = Some((tick, calls));
                }
            }
        }
        if opened[ADAPTIVE].is_some() && tick > onset.unwrap_or(u64::MAX) + 3 * TICKS_A_WINDOW {
            break;
        }
    }
    opened
}

async fn all_seeds(scenario: Scenario, window: Window) -> Vec<[Opened; 3]> {
    let mut runs = Vec::new();
    for seed in 0..SEEDS {
        runs.push(run(scenario, window, seed).await);
    }
    runs
}

/// Windows, in hundredths, from the onset to the opening; negative before it.
fn windows_after(onset: u64, opened: (u64, u64)) -> i64 {
    (opened.0.cast_signed() - onset.cast_signed()) * 100 / TICKS_A_WINDOW.cast_signed()
}

fn cell(runs: &[[Opened; 3]], policy: usize, onset: Option<u64>) -> String {
    let Some(onset) = onset else {
        let wrong = runs.iter().filter(|run| run[policy].is_some()).count();
        return format!("{wrong} wrong");
    };
    let mut opened: Vec<_> = runs.iter().filter_map(|run| run[policy]).collect();
    opened.sort_unstable();
    let (Some(median), Some(last)) = (opened.get(opened.len() / 2), opened.last()) else {
        return "never".to_owned();
    };
    let windows = |opened: &(u64, u64)| {
        let windows = windows_after(onset, *opened);
        format!(
            "{}{}.{:02}",
            if windows < 0 { "-" } else { "" },
            windows.abs() / 100,
            windows.abs() % 100
        )
    };
    let seldom =
        if opened.len() < runs.len() { format!(", {} runs", opened.len()) } else { String::new() };
    format!("{} calls, {} (at most {}){seldom}", median.1, windows(median), windows(last))
}

async fn compare(window: Window) {
    println!("\nWindow of {window}:\n");
    println!("| scenario | {} |\n| --- | --- | --- | --- |", POLICIES.join(" | "));
    let mut wrong = [0; 3];
    for scenario in Scenario::HEALTHY {
        let runs = all_seeds(scenario, window).await;
        let cells = [0, 1, 2].map(|policy| cell(&runs, policy, None));
        println!("| {scenario} | {} |", cells.join(" | "));
        for run in &runs {
            (0..3).for_each(|policy| wrong[policy] += u64::from(run[policy].is_some()));
        }
    }
    assert_eq!(wrong[ADAPTIVE], 0, "adaptive opened though nothing was wrong");
    let qualified: Vec<_> = (0..ADAPTIVE).filter(|policy| wrong[*policy] == 0).collect();

    for scenario in Scenario::OUTAGES {
        let onset = scenario.onset().expect("an outage has one");
        let runs = all_seeds(scenario, window).await;
        let cells = [0, 1, 2].map(|policy| cell(&runs, policy, Some(onset)));
        println!("| {scenario} | {} |", cells.join(" | "));
        for (seed, run) in runs.iter().enumerate() {
            let adaptive =
                run[ADAPTIVE].unwrap_or_else(|| panic!("{scenario}, {seed}: no opening"));
            let after = windows_after(onset, adaptive);
            assert!(after <= 300, "{scenario}, seed {seed}: {after} % of a window after the onset");
            // A creep is above normal before it is far above.
            let earliest = if scenario == Creep { HISTORY } else { onset };
            assert!(adaptive.0 >= earliest, "{scenario}, seed {seed}: opened wrongly");
            for fixed in qualified.iter().filter_map(|policy| run[*policy]) {
                assert!(adaptive <= fixed, "{scenario}, seed {seed}: {adaptive:?} after {fixed:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_window_of_calls_it_opens_in_every_outage_and_never_wrongly() {
    compare(CALLS).await;
}

#[tokio::test(start_paused = true)]
async fn with_a_window_of_time_it_opens_in_every_outage_and_never_wrongly() {
    compare(TIME).await;
}
