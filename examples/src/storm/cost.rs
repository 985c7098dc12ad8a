//! What a simulation itself costs.

use std::fs;
use std::time::{Duration, Instant};

/// Time and memory of a simulation.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Of the clock on the wall.
    pub time: Duration,
    /// The most that the process held of physical memory meanwhile, where the system says so (Linux).
    pub bytes: Option<u64>,
}

impl Cost {
    /// Of what `work` does.
    pub fn of<T>(work: impl FnOnce() -> T) -> (T, Self) {
        // Begins the maximum anew; without it the one of the process's life is an upper bound.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let start = Instant::now();
        let result = work();
        (result, Self { time: start.elapsed(), bytes: most_memory() })
    }
}

fn most_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}
