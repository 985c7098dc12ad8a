//! The probe permits of a half-open circuit, each with a time limit.
//!
//! They live under the circuit's lock: at most `half_open_permits` calls take it with success,
//! and all others are turned away by [`Leases::full_until`] before they reach it.

use super::permit::LeaseId;
use crate::sync;

/// Nanoseconds on the circuit's own clock.
pub(super) type Nanos = u64;

/// Made when the circuit is first half-open: one that never was has a pointer for it.
#[derive(Default)]
pub(super) struct Leases(Option<Box<Book>>);

#[derive(Default)]
struct Book {
    /// Not reused in any time that counts, so that a lease that was taken back is not mistaken for
    /// its successor.
    last: LeaseId,
    out: Vec<(LeaseId, Nanos)>,
}

/// The answer to a caller that wants to be a probe.
pub(super) enum Claim {
    Granted(LeaseId),
    /// Nobody else's time was up; the first one's will be then.
    Full(Nanos),
}

impl Leases {
    fn out(&self) -> &[(LeaseId, Nanos)] {
        self.0.as_ref().map_or(&[], |book| &book.out)
    }

    /// A new half-open state: whoever held a lease before is a stale call now.
    pub(super) fn clear(&mut self) {
        if let Some(book) = &mut self.0 {
            book.out.clear();
        }
    }

    /// Takes back what has expired, then hands out a permit if there is one.
    ///
    /// Returns whether any was taken back, too: its holder may be waiting between two attempts.
    pub(super) fn claim(&mut self, permits: usize, now: Nanos, limit: Nanos) -> (Claim, bool) {
        let book = self.0.get_or_insert_default();
        let before = book.out.len();
        book.out.retain(|(_, until)| now < *until);
        let took_back = book.out.len() < before;
        if book.out.len() >= permits {
            return (Claim::Full(self.first_end()), took_back);
        }
        let id = book.last.next();
        book.last = id;
        book.out.push((id, now.saturating_add(limit)));
        (Claim::Granted(id), took_back)
    }

    /// Gives a lease back. False if it is no longer out, or its time is up.
    pub(super) fn give_back(&mut self, id: LeaseId, now: Nanos) -> bool {
        let held = self.out().iter().position(|(out, _)| *out == id);
        match held.zip(self.0.as_mut()) {
            Some((index, book)) => now < book.out.swap_remove(index).1,
            None => sync::mutated("leases_for_ever"),
        }
    }

    /// Until when this lease holds; `None` if it no longer does.
    pub(super) fn end_of(&self, id: LeaseId, now: Nanos) -> Option<Nanos> {
        let (_, until) = self.out().iter().find(|(out, _)| *out == id)?;
        (now < *until).then_some(*until)
    }

    /// Before this moment no permit can be had, unless one is given back. Zero if one is free.
    pub(super) fn full_until(&self, permits: usize) -> Nanos {
        if self.out().len() >= permits { self.first_end() } else { 0 }
    }

    fn first_end(&self) -> Nanos {
        self.out().iter().map(|(_, until)| *until).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(leases: &mut Leases, permits: usize, now: Nanos) -> Option<LeaseId> {
        match leases.claim(permits, now, 60).0 {
            Claim::Granted(id) => Some(id),
            Claim::Full(_) => None,
        }
    }

    #[test]
    fn no_more_are_out_than_there_are() {
        let mut leases = Leases::default();
        assert!(granted(&mut leases, 2, 0).is_some());
        assert!(granted(&mut leases, 2, 10).is_some());
        assert!(granted(&mut leases, 2, 20).is_none());
        assert_eq!(leases.full_until(2), 60);
        assert_eq!(leases.full_until(3), 0);
    }

    #[test]
    fn one_that_is_given_back_is_free_and_cannot_be_given_back_again() {
        let mut leases = Leases::default();
        let id = granted(&mut leases, 1, 0).unwrap();
        assert!(leases.give_back(id, 59));
        assert!(!leases.give_back(id, 59));
        assert!(granted(&mut leases, 1, 59).is_some());
    }

    #[test]
    fn its_end_takes_it_back_whether_or_not_somebody_else_wants_it() {
        let mut leases = Leases::default();
        let unwanted = granted(&mut leases, 1, 0).unwrap();
        assert_eq!(leases.end_of(unwanted, 60), None);
        assert!(!leases.give_back(unwanted, 60));

        let hung = granted(&mut leases, 1, 100).unwrap();
        let next = granted(&mut leases, 1, 160).unwrap();
        assert!(!leases.give_back(hung, 159), "taken back for the next one");
        assert!(leases.give_back(next, 161));
    }
}
