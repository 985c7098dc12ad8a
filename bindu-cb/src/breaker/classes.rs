//! Classes of errors: circuits of their own, beside the circuit of their operation.
//!
//! # Rest
//!
//! A class is *at rest* while nothing that a call could tell it would change anything but a
//! failure: closed, in consecutive mode, with no failure counted and no ramp, or switched off. A
//! call asks no class while all are at rest, and says so to none when it succeeds. One bit of the
//! operation's mode, which every call reads anyway, says that not all are: *awake*.
//!
//! The bit is set before a class can leave its rest, by who may make it leave: a failure, a change
//! by hand, new settings. Such a change holds a [`Leaving`] from before its first look at the word
//! until after its last. The bit is cleared by a call that finds all classes at rest, under the
//! lock that counts the changes under way, and only if there are none. So a class that is not at
//! rest has the bit set, and who has seen the class's word before it began sees the bit: it was
//! set before the word was, and the word is released and acquired. It may be set in vain, which
//! costs a few calls their way past the classes.
//!
//! # Calls that hold no permit
//!
//! A call that began while the bit was clear has, at its end, to do as if it had been admitted by
//! every class (a success starts the failures of each over, whenever it began), and only under the
//! generation that was in force when it began (rule B5). Hence the count above the bit, in the same
//! word: it goes up by one at every change of a generation of any class, and each class remembers
//! what it was after its own last change. A class that remembers more than a call has read when it
//! began has changed since.
//!
//! That is exact. A call that has read the bit clear began, in the order of the changes of that one
//! word, before it was set again; all changes of generation since come later in that order. And all
//! earlier ones are counted: the count goes up under the lock of the class's circuit, which the one
//! who clears the bit takes after it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError, TryLockError, Weak};

use super::permit::{Role, Ticket};
use super::{CircuitBreaker, Mode};
use crate::sync::{self, AtomicU64, Mutex, MutexGuard};

/// Classes of an operation at most; all further ones are [`OTHER_CLASS`].
pub(crate) const MOST_CLASSES: usize = 16;
pub(crate) const OTHER_CLASS: &str = "other";

/// Whom a circuit belongs to, or who belongs to it. Nearly always nobody.
#[derive(Default)]
pub(super) struct Family {
    classes: OnceLock<Box<Classes>>,
    /// Of the circuit of a class: the operation's. Not for ever the same one.
    operation: OnceLock<std::sync::Mutex<Weak<CircuitBreaker>>>,
    /// Of the circuit of a class: the operation's count after the last change of generation. Zero:
    /// none so far.
    changed_at: AtomicU64,
}

#[derive(Default)]
struct Classes {
    /// In the order in which they were made, which is that in which calls ask them.
    slots: [OnceLock<Class>; MOST_CLASSES + 1],
    /// Changes under way that may end the rest of a class.
    leaving: Mutex<u32>,
}

struct Class {
    label: &'static str,
    circuit: Arc<CircuitBreaker>,
}

impl Mode {
    /// Not all classes are at rest.
    const AWAKE: u64 = 1 << 15;
    const CHANGE: u64 = 1 << 16;

    #[inline]
    pub(crate) fn has_classes_awake(self) -> bool {
        self.0 & Self::AWAKE != 0
    }

    pub(super) fn changes(self) -> u64 {
        self.0 / Self::CHANGE
    }
}

impl Classes {
    fn iter(&self) -> impl Iterator<Item = &Class> {
        self.slots.iter().map_while(OnceLock::get)
    }

    fn is_full(&self) -> bool {
        self.slots[MOST_CLASSES - 1].get().is_some()
    }

    fn leaving(&self) -> MutexGuard<'_, u32> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change that may end the rest of a class.
pub(super) struct Leaving {
    operation: Arc<CircuitBreaker>,
}

impl Leaving {
    fn begin(operation: Arc<CircuitBreaker>) -> Option<Self> {
        let classes = operation.family()?.classes.get()?;
        let mut leaving = classes.leaving();
        *leaving += 1;
        // Relaxed: see the module, it is one word's own order that counts.
        operation.gate.mode.fetch_or(Mode::AWAKE, Ordering::Relaxed);
        drop(leaving);
        Some(Self { operation })
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(classes) = self.operation.known_classes() {
            *classes.leaving() -= 1;
        }
    }
}

impl CircuitBreaker {
    fn family(&self) -> Option<&Family> {
        self.rare().map(|rare| &rare.family)
    }

    fn make_family(&self) -> &Family {
        &self.make_rare().family
    }
}

/// Of the circuit of an operation.
impl CircuitBreaker {
    fn known_classes(&self) -> Option<&Classes> {
        self.family()?.classes.get().map(|classes| &**classes)
    }

    /// The circuits of its classes, in the order in which calls ask them.
    pub(crate) fn classes(&self) -> impl Iterator<Item = &Arc<CircuitBreaker>> {
        self.known_classes().into_iter().flat_map(Classes::iter).map(|class| &class.circuit)
    }

    /// The circuit of a class, if it has been made; once there are too many, that of the others.
    pub(crate) fn class(&self, label: &str) -> Option<&Arc<CircuitBreaker>> {
        let classes = self.known_classes()?;
        let find = |label: &str| Some(&classes.iter().find(|class| class.label == label)?.circuit);
        find(label).or_else(|| if classes.is_full() { find(OTHER_CLASS) } else { None })
    }

    /// Whether a class that is not there yet must be one of the others.
    pub(crate) fn has_most_classes(&self) -> bool {
        self.known_classes().is_some_and(Classes::is_full)
    }

    /// Takes in the circuit of a new class. By one thread at a time.
    pub(crate) fn adopt(self: &Arc<Self>, label: &'static str, class: &Arc<CircuitBreaker>) {
        let operation = class.make_family().operation.get_or_init(std::sync::Mutex::default);
        *operation.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(self);
        let classes = self.make_family().classes.get_or_init(Box::default);
        for slot in &classes.slots {
            if slot.set(Class { label, circuit: Arc::clone(class) }).is_ok() {
                break;
            }
        }
        // It may have a window, or a history: a circuit of its name may have been made by hand.
        drop(Leaving::begin(Arc::clone(self)));
    }

    /// Calls need not ask the classes any more, if all are at rest.
    pub(crate) fn rest_if_quiet(&self) {
        let Some(classes) = self.known_classes() else { return };
        if !classes.iter().all(|class| class.circuit.is_at_rest()) {
            return;
        }
        let leaving = match classes.leaving.try_lock() {
            Ok(leaving) => leaving,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody leaves, or does this very thing.
            Err(TryLockError::WouldBlock) => return,
        };
        let is_at_rest = |class: &Class| {
            let _changes_are_counted = class.circuit.cold();
            class.circuit.is_at_rest()
        };
        let none_leaves = *leaving == 0 || sync::mutated("rest_at_any_time");
        if none_leaves && classes.iter().all(is_at_rest) {
            // Relaxed: as where it is set.
            self.gate.mode.fetch_and(!Mode::AWAKE, Ordering::Relaxed);
        }
    }

    /// New switches; what is kept of the classes stays.
    pub(super) fn set_mode(&self, mode: Mode) {
        let with = |now: u64| Some(now & Mode::NO_SETTINGS | mode.0);
        // Relaxed: a setting. Never refused: `with` always has an answer.
        let _ = self.gate.mode.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with);
    }
}

/// Of the circuit of a class. Any other has nothing to do here.
impl CircuitBreaker {
    fn operation(&self) -> Option<Arc<CircuitBreaker>> {
        let operation = self.family()?.operation.get()?;
        operation.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        let word = self.word();
        !self.is_enabled() || word.is_untroubled(word.generation()) && !self.has_window()
    }

    /// To be held by what may end this circuit's rest, from before it looks at the word, and dropped
    /// when the circuit's lock is free: who clears the bit takes that one after this one's.
    pub(super) fn leave_rest(&self) -> Option<Leaving> {
        Leaving::begin(self.operation()?)
    }

    /// The generation has changed. Under the circuit's lock.
    pub(super) fn note_generation(&self) {
        let Some(operation) = self.operation() else { return };
        // Release: partner of the fence in `ClassedCall::ask`. Who has read this count sees every
        // class that it counts.
        let before = operation.gate.mode.fetch_add(Mode::CHANGE, Ordering::Release);
        // Relaxed: under the lock that its readers take.
        let after = Mode(before).changes() + u64::from(!sync::mutated("change_before_the_call"));
        self.make_family().changed_at.store(after, Ordering::Relaxed);
    }

    /// The permit of a call that began when the operation's mode was `then`, and did not ask.
    pub(crate) fn ticket_since(&self, then: Mode) -> Ticket {
        let _the_word_stays = self.cold();
        let generation = self.word().generation();
        // Relaxed: stored under the lock that is held.
        let changed_at =
            self.family().map_or(0, |family| family.changed_at.load(Ordering::Relaxed));
        let has_changed = changed_at > then.changes();
        Ticket::caller(if has_changed { generation.another() } else { generation })
    }
}

impl CircuitBreaker {
    /// Takes a permit back as if it had never been given: nothing ran under it.
    pub(crate) fn give_back(&self, ticket: Ticket) {
        let Role::Probe(lease) = ticket.role() else { return };
        let now = self.now();
        let mut cold = self.cold();
        if self.word().generation() != ticket.generation() {
            return;
        }
        cold.leases.give_back(lease, now);
        let permits = cold.settings.settings.effective_half_open_permits();
        // Relaxed: a hint, see `pass_gate`.
        self.gate.full_until.store(cold.leases.full_until(permits), Ordering::Relaxed);
    }
}
