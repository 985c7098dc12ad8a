//! The seconds of a run as comma-separated values.

use std::fmt::Write;

use bindu_cb::CircuitState;

use super::measures::requests;
use super::simulation::Run;

/// A line a second. `time_ms` is the mean of the calls that ended well; `open` are the replicas whose
/// circuit is not closed at the end of the second.
pub fn csv(run: &Run) -> String {
    let mut text = String::from(
        "second,capacity,calls,requests,dead,in_vain,good,failed,rejected,time_ms,open\n",
    );
    for (number, second) in run.ledger.seconds.iter().enumerate() {
        let time = second.time as f64 / f64::from(second.good.max(1));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{number},{},{},{},{},{},{},{},{},{time:.1},{}",
            requests(second.capacity).round(),
            second.calls,
            second.requests,
            second.dead,
            second.in_vain,
            second.good,
            second.failed,
            second.rejected,
            open(run, (number as u64 + 1) * 1_000),
        );
    }
    text
}

fn open(run: &Run, end: u64) -> usize {
    let is_open = |replica: &usize| {
        let changes = run.ledger.changes.iter().rev();
        let last = changes.filter(|it| it.at < end).find(|it| it.replica == *replica);
        last.is_some_and(|it| it.to != CircuitState::Closed)
    };
    (0..run.policy.replicas).filter(is_open).count()
}
