//! The protocol of the shared circuits, in every order of events that the bounds allow.
//!
//! The function and the replicas are the crate's own. What is abstract is the circuit, which is an
//! automaton that obeys, and time, which comes in ticks of a second.

mod circuit;
mod fleet;

use std::time::Instant;

use bindu_cb::__shared::protocol::{Action, Phase, Record, Stamp};
use bindu_cb::CircuitState;
use stateright::{Checker, HasDiscoveries, Model, Property};

use fleet::{Bounds, Budget, Fleet, Flight, Mutation, Step, Wrong};

impl Model for Bounds {
    type State = Fleet;
    type Action = Step;

    fn init_states(&self) -> Vec<Fleet> {
        vec![self.fleet()]
    }

    fn actions(&self, state: &Fleet, actions: &mut Vec<Step>) {
        actions.extend(state.steps(self));
    }

    fn next_state(&self, state: &Fleet, step: Step) -> Option<Fleet> {
        let mut next = state.clone();
        next.step(step, self);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one probe", |_, fleet| Self::is_without(fleet, Wrong::TwoProbes)),
            Property::always("a stale outcome changes nothing", |_, fleet| {
                Self::is_without(fleet, Wrong::StaleOutcome)
            }),
            Property::always("nobody goes back", |_, fleet| {
                Self::is_without(fleet, Wrong::WentBack)
            }),
            Property::always("a quorum opens", |_, fleet| {
                Self::is_without(fleet, Wrong::OpenedByTooFew)
            }),
            Property::always("no trip is lost", Bounds::no_trip_is_lost),
            Property::always("all agree who have nothing to do", |_, fleet| Self::all_agree(fleet)),
            Property::always("all come to have nothing to do", Bounds::settles),
            // Not a model in which nothing happens.
            Property::sometimes("there is news", |bounds: &Bounds, fleet: &Fleet| {
                let is_closed = |record: &Record| record.content.phase == Phase::Closed;
                let has_closed = fleet.record.as_ref().is_some_and(is_closed);
                fleet.generation() > 1 && (has_closed || bounds.ticks < 3)
                    || bounds.quorum > 1 && fleet.generation() > 0
            }),
        ]
    }
}

impl Bounds {
    fn is_without(fleet: &Fleet, wrong: Wrong) -> bool {
        !fleet.wrongs.contains(&wrong)
    }

    /// An open circuit of its own that the fleet has not taken over wants to vote, or the server has
    /// its vote.
    fn no_trip_is_lost(&self, fleet: &Fleet) -> bool {
        fleet.processes.iter().all(|process| {
            let is_tripped = process.circuit.is_own_trip && process.circuit.until > fleet.now;
            let is_to_hear = process.is_behind
                || process.has_not_heard_of_loss
                || !process.pushes.is_empty()
                || process.flight.is_some();
            if !is_tripped || is_to_hear || process.replica.phase() != Phase::Closed {
                return true;
            }
            let standing = process.circuit.standing(fleet.now);
            let wants = process.replica.clone().next(standing, self.terms(), fleet.now);
            let votes = fleet.record.iter().flat_map(|record| record.votes.keys());
            matches!(wants, Some(Action::Vote { .. }))
                || votes.into_iter().any(|voter| process.replica.is_me(voter))
        })
    }

    fn is_quiet(fleet: &Fleet) -> bool {
        fleet.strays.is_empty()
            && fleet.processes.iter().all(|process| {
                process.flight.is_none()
                    && process.pushes.is_empty()
                    && !process.is_behind
                    && !process.has_not_heard_of_loss
            })
    }

    /// Where nothing is under way and nobody wants anything (who does has a flight), everybody is
    /// where the server is.
    fn all_agree(fleet: &Fleet) -> bool {
        if !Self::is_quiet(fleet) {
            return true;
        }
        let Some(record) = &fleet.kept() else {
            let is_unforced =
                |state| !matches!(state, CircuitState::ForcedOpen | CircuitState::ForcedClosed);
            return fleet.processes.iter().all(|process| is_unforced(process.circuit.state));
        };
        fleet.processes.iter().all(|process| {
            let circuit = &process.circuit;
            let is_told = process.replica.stamp() == record.stamp
                && process.replica.phase() == record.content.phase;
            // One that never heard of a circuit that is as closed as its own.
            let has_no_part = process.replica.stamp() == Stamp::NONE;
            let agrees = match (record.content.phase, circuit.state) {
                // Open by itself, or since the server has lost that it was.
                (
                    Phase::Closed,
                    CircuitState::Closed | CircuitState::Open | CircuitState::HalfOpen,
                )
                | (Phase::Open, CircuitState::Open | CircuitState::HalfOpen)
                | (Phase::ForcedOpen, CircuitState::ForcedOpen)
                | (Phase::ForcedClosed, CircuitState::ForcedClosed) => true,
                // It waits for somebody else's lease, or what it believes to be the end of the wait,
                // to say that its own probe has closed it.
                (Phase::Open, CircuitState::Closed) => process.replica.wake_at(fleet.now).is_some(),
                _ => false,
            };
            agrees && is_told && !has_no_part
        })
    }

    /// With nothing more going wrong, and time standing still, all that is under way comes to an end.
    fn settles(&self, fleet: &Fleet) -> bool {
        let mut fleet = fleet.clone();
        fleet.strays.clear();
        for _ in 0..60 {
            let next =
                fleet.processes.iter().enumerate().find_map(|(i, process)| match &process.flight {
                    Some(Flight::Sent(_)) => Some(Step::Serve(i)),
                    Some(Flight::Answered(..)) => Some(Step::Receive(i)),
                    None if !process.pushes.is_empty() => Some(Step::Push(i, 0)),
                    None if process.is_behind || process.has_not_heard_of_loss => {
                        Some(Step::Heartbeat(i))
                    }
                    None => None,
                });
            match next {
                Some(step) => fleet.step(step, self),
                None => return Self::all_agree(&fleet) && self.no_trip_is_lost(&fleet),
            }
        }
        false
    }
}

/// What goes wrong, in each of the models.
fn models() -> [(&'static str, Bounds); 8] {
    let none = Budget { trips: 1, ..Budget::default() };
    let bounds = |replicas, quorum, ticks, budget| Bounds {
        replicas,
        quorum,
        ticks,
        budget,
        mutation: Mutation::None,
    };
    [
        ("late commands", bounds(2, 1, 3, Budget { timeouts: 1, ..none })),
        (
            "lost and doubled pushes",
            bounds(2, 1, 3, Budget { lost_pushes: 1, doubled_pushes: 1, ..none }),
        ),
        ("a crash", bounds(2, 1, 4, Budget { crashes: 1, ..none })),
        ("a flush", bounds(2, 1, 3, Budget { flushes: 1, timeouts: 1, ..none })),
        ("a failover", bounds(2, 1, 3, Budget { failovers: 1, timeouts: 1, ..none })),
        ("two votes", bounds(2, 2, 2, Budget { trips: 3, failovers: 1, lost_pushes: 1, ..none })),
        ("by hand", bounds(2, 1, 2, Budget { manuals: 2, flushes: 1, failovers: 1, ..none })),
        ("three replicas, two votes", bounds(3, 2, 2, Budget { trips: 2, ..none })),
    ]
}

/// Enough for fifteen or so events. A build for debugging is slow.
const ALL: usize = 1_500_000;
const SOME: usize = if cfg!(debug_assertions) { ALL / 5 } else { ALL };

/// Breadth first: every order of events, up to some number of them.
fn run(bounds: Bounds, states: usize) -> impl Checker<Bounds> {
    let checker = bounds.checker().threads(2).target_state_count(states);
    checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join()
}

#[test]
fn the_protocol_holds() {
    for (name, bounds) in models() {
        let began = Instant::now();
        let checker = run(bounds, SOME);
        println!(
            "{name}: {} states, depth {}, {:?}",
            checker.unique_state_count(),
            checker.max_depth(),
            began.elapsed()
        );
        checker.assert_properties();
    }
}

#[test]
fn a_protocol_that_is_wrong_does_not() {
    for (mutation, model) in [
        (Mutation::NoFencing, "a crash"),
        (Mutation::NoEpoch, "a flush"),
        (Mutation::PushOverwrites, "lost and doubled pushes"),
        (Mutation::GiveBackIgnored, "late commands"),
        (Mutation::LeaseIsNoLease, "late commands"),
        (Mutation::LossUnheeded, "two votes"),
        (Mutation::AnyVoteOpens, "two votes"),
    ] {
        let bounds = models().into_iter().find(|(name, _)| *name == model).unwrap().1;
        let checker = run(Bounds { mutation, ..bounds }, ALL);
        let mut discoveries = checker.discoveries().into_iter();
        let found = discoveries.find(|(property, _)| *property != "there is news");
        let (property, path) = found.unwrap_or_else(|| panic!("{mutation:?} is not noticed"));
        let steps = path.into_actions();
        println!("{mutation:?}: not `{property}` after {} steps: {steps:?}", steps.len());
    }
}
