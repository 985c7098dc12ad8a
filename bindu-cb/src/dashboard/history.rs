//! The calls of the last minute, second by second, as far as somebody has watched.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use crate::breaker::{CallCounts, Snapshot};

/// Seconds that are shown.
const SHOWN: usize = 60;
/// Success, failure, rejected.
const COLUMNS: usize = 3;

/// Calls by outcome in each second, of an operation with those of its keys, the newest last. Fewer than 60 where it has not been watched for
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
    counted: [u64; COLUMNS],
    /// Of the seconds from `first` on.
    seconds: VecDeque<[u32; COLUMNS]>,
    first: u64,
}

impl History {
    /// Takes in what the circuits have counted at a moment in this second.
    pub(super) fn note(&mut self, second: u64, snapshots: &[Snapshot]) {
        let Some(before) = self.last.replace(second) else {
            let track = |snapshot| (id(snapshot), Track::new(second, columns(snapshot.calls)));
            self.tracks = snapshots.iter().map(track).collect();
            return;
        };
        let mut known = std::mem::take(&mut self.tracks);
        for of_operation in by_operation(snapshots) {
            // In the other order: the calls of its keys are an operation's, too.
            let mut of_keys = [0; COLUMNS];
            for snapshot in of_operation.iter().rev() {
                // Who was not there at the sample before has counted everything since.
                let track = known.remove(&id(snapshot));
                let mut track = track.unwrap_or_else(|| Track::new(before, [0; COLUMNS]));
                let mut new = track.count(columns(snapshot.calls));
                if snapshot.key.is_some() {
                    add(&mut of_keys, new);
                } else {
                    add(&mut new, of_keys);
                }
                track.spread(before, second, new);
                self.tracks.insert(id(snapshot), track);
            }
        }
    }

    /// Of the seconds that were over at the last sample.
    pub(super) fn of(&self, snapshot: &Snapshot) -> LastMinute {
        let (Some(track), Some(now)) = (self.tracks.get(&id(snapshot)), self.last) else {
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
    fn new(first: u64, counted: [u64; COLUMNS]) -> Self {
        Self { counted, seconds: VecDeque::new(), first }
    }

    /// What is new.
    fn count(&mut self, counted: [u64; COLUMNS]) -> [u64; COLUMNS] {
        let before = std::mem::replace(&mut self.counted, counted);
        // Less than before: it is another circuit, that of a key which had gone and is back.
        let new = |column: usize| counted[column].checked_sub(before[column]);
        std::array::from_fn(|column| new(column).unwrap_or(counted[column]))
    }

    /// Puts what is new since a sample in the second `before` into the seconds from that one on,
    /// evenly, but not into the one that has only just begun.
    fn spread(&mut self, before: u64, now: u64, new: [u64; COLUMNS]) {
        let seconds = now.saturating_sub(before).max(1);
        if seconds > SHOWN as u64 {
            // Nobody can say when.
            *self = Self::new(now, self.counted);
            return;
        }
        for nth in 0..seconds {
            let part = new.map(|new| {
                let part = new * (nth + 1) / seconds - new * nth / seconds;
                u32::try_from(part).unwrap_or(u32::MAX)
            });
            self.add(before + nth, part);
        }
    }

    fn add(&mut self, second: u64, part: [u32; COLUMNS]) {
        let index = usize::try_from(second.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if index == self.seconds.len() {
            self.seconds.push_back([0; COLUMNS]);
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

/// An operation and its keys.
pub(super) fn by_operation(snapshots: &[Snapshot]) -> impl Iterator<Item = &[Snapshot]> {
    snapshots.chunk_by(|_, next| next.key.is_some())
}

fn id(snapshot: &Snapshot) -> (&'static str, Option<String>) {
    (snapshot.operation, snapshot.key.clone())
}

fn add(sum: &mut [u64; COLUMNS], more: [u64; COLUMNS]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

fn columns(calls: CallCounts) -> [u64; COLUMNS] {
    [calls.success, calls.failure, calls.rejected]
}
