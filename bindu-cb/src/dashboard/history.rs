//! The calls of the last minute, second by second, as far as somebody has watched.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use crate::breaker::{CallCounts, Snapshot};

/// Seconds that are shown.
const SHOWN: usize = 60;

/// Calls by outcome in each second, the newest last. Fewer than 60 where it has not been watched for
/// that long; a second that is not over is not among them.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct LastMinute {
    success: Vec<u32>,
    failure: Vec<u32>,
    rejected: Vec<u32>,
}

/// A circuit, and what is known of it.
type Tracks = HashMap<(&'static str, Option<String>), Track>;

/// What the circuits have counted in each second since it began.
///
/// Circuits count since they were made, so a sample that comes late, or early because a circuit has
/// changed its state, moves no call into another sample's: what it has more than the one before is of
/// the seconds between them.
#[derive(Debug, Default)]
pub(super) struct History {
    tracks: Tracks,
    /// The second of the last sample.
    last: Option<u64>,
}

#[derive(Debug)]
struct Track {
    counted: [u64; 3],
    /// Of the seconds from `first` on.
    seconds: VecDeque<[u32; 3]>,
    first: u64,
}

impl History {
    /// Takes in what the circuits have counted at a moment in this second.
    pub(super) fn note(&mut self, second: u64, snapshots: &[Snapshot]) {
        let before = self.last.replace(second);
        let mut known = std::mem::take(&mut self.tracks);
        self.tracks = snapshots
            .iter()
            .map(|snapshot| {
                let counted = columns(snapshot.calls);
                let id = (snapshot.operation, snapshot.key.clone());
                let is_keyed = snapshot.key.is_some();
                let track = match (known.remove(&id), before) {
                    (Some(track), Some(before)) => Some(track.on(before, second, counted)),
                    // New since the sample before. A key that is back may have been taken for gone.
                    (None, Some(before)) if !is_keyed => {
                        Some(Track::new(before).on(before, second, counted))
                    }
                    _ => None,
                };
                (id, track.unwrap_or_else(|| Track { counted, ..Track::new(second) }))
            })
            .collect();
    }

    /// Of the seconds that were over at the last sample.
    pub(super) fn of(&self, snapshot: &Snapshot) -> LastMinute {
        let id = (snapshot.operation, snapshot.key.clone());
        let (Some(track), Some(now)) = (self.tracks.get(&id), self.last) else {
            return LastMinute::default();
        };
        let over = usize::try_from(now.saturating_sub(track.first)).unwrap_or(usize::MAX);
        let over = over.min(track.seconds.len());
        let shown = track.seconds.range(over.saturating_sub(SHOWN)..over);
        let column = |index: usize| shown.clone().map(|second| second[index]).collect();
        LastMinute { success: column(0), failure: column(1), rejected: column(2) }
    }
}

impl Track {
    fn new(first: u64) -> Self {
        Self { counted: [0; 3], seconds: VecDeque::new(), first }
    }

    /// Puts what is new since a sample in the second `before` into the seconds from that one on,
    /// evenly, but not into the one that has only just begun.
    fn on(mut self, before: u64, now: u64, counted: [u64; 3]) -> Self {
        let until = now.max(before + 1);
        let seconds = until - before;
        if seconds > SHOWN as u64 {
            // Nobody can say when, and it would not be seen.
            return Self { counted, ..Self::new(now) };
        }
        // Less than before: another circuit that has its name.
        let new: [u64; 3] = std::array::from_fn(|column| {
            counted[column].checked_sub(self.counted[column]).unwrap_or(counted[column])
        });
        for nth in 0..seconds {
            let part = new.map(|new| {
                let part = new * (nth + 1) / seconds - new * nth / seconds;
                u32::try_from(part).unwrap_or(u32::MAX)
            });
            self.add(before + nth, part);
        }
        self.counted = counted;
        self
    }

    fn add(&mut self, second: u64, part: [u32; 3]) {
        let index = usize::try_from(second - self.first).unwrap_or(usize::MAX);
        if index == self.seconds.len() {
            self.seconds.push_back([0; 3]);
        }
        if let Some(sum) = self.seconds.get_mut(index) {
            for (sum, part) in sum.iter_mut().zip(part) {
                *sum = sum.saturating_add(part);
            }
        }
        // One more than is shown: the last one may not be over.
        while self.seconds.len() > SHOWN + 1 {
            self.seconds.pop_front();
            self.first += 1;
        }
    }
}

fn columns(calls: CallCounts) -> [u64; 3] {
    [calls.success, calls.failure, calls.rejected]
}
