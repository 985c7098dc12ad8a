//! What a simulation itself costs.

use std::fs;
use std::time::{Duration, Instant};

/// Time and memory of a simulation. What the system does not say is `None`; Linux says it all.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Of the clock on the wall.
    pub time: Duration,
    /// Of the processors, which others may want at the same time.
    pub processor: Option<Duration>,
    /// The most that the process held of physical memory meanwhile.
    pub bytes: Option<u64>,
}

impl Cost {
    /// Of what `work` does.
    pub fn of<T>(work: impl FnOnce() -> T) -> (T, Self) {
        // Begins the maximum anew. Where that is not allowed the one of the process's life is an
        // upper bound.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let (start, used) = (Instant::now(), processor_time());
        let result = work();
        let processor =
            processor_time().zip(used).map(|(after, before)| after.saturating_sub(before));
        (result, Self { time: start.elapsed(), processor, bytes: most_memory() })
    }
}

/// Of all threads, user and system; see `man 5 proc`.
fn processor_time() -> Option<Duration> {
    /// Linux tells user space of hundredths of a second, whatever its own ticks are.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, in parentheses, may hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

fn most_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}
