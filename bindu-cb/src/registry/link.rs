//! Who leads the circuits of a registry from outside, and so is to know each of them.

use std::fmt;
use std::sync::Arc;

use super::Inner;
use crate::breaker::CircuitBreaker;

/// Hears of every circuit of a registry, but for those of keys, which are this process's own.
pub(crate) trait Link: Send + Sync + fmt::Debug {
    /// The registry has a new circuit, of an operation or of a class of errors; or it had it when
    /// the link was set. Each circuit once for each time that a link is set.
    ///
    /// Told without the registry's lock, on the thread that has made the circuit, before it is
    /// handed out there. Another thread may find it and use it a moment earlier, so ask the circuit
    /// how it stands. It must not panic, and should be quick: a first call waits for it.
    fn made(&self, circuit: &Arc<CircuitBreaker>);

    /// A function whose errors have classes has been registered for this circuit: from now on
    /// [`make_class`](Inner::make_class) makes circuits of its classes. As `made`, and after that.
    fn has_classes(&self, operation: &Arc<CircuitBreaker>);
}

/// The link, and those that it has not been told of.
#[derive(Default)]
pub(super) struct Linked {
    link: Option<Arc<dyn Link>>,
    untold: Vec<Arc<CircuitBreaker>>,
    /// Those of functions whose errors have classes.
    untold_classes: Vec<Arc<CircuitBreaker>>,
}

/// Circuits that are to be told of when the lock is free.
pub(super) struct Untold {
    link: Arc<dyn Link>,
    circuits: Vec<Arc<CircuitBreaker>>,
    with_classes: Vec<Arc<CircuitBreaker>>,
}

impl Linked {
    pub(super) fn note(&mut self, circuit: &Arc<CircuitBreaker>) {
        if self.link.is_some() {
            self.untold.push(Arc::clone(circuit));
        }
    }

    pub(super) fn note_classes(&mut self, operation: &Arc<CircuitBreaker>) {
        if self.link.is_some() {
            self.untold_classes.push(Arc::clone(operation));
        }
    }

    pub(super) fn take_untold(&mut self) -> Option<Untold> {
        if self.untold.is_empty() && self.untold_classes.is_empty() {
            return None;
        }
        let (circuits, with_classes) =
            (std::mem::take(&mut self.untold), std::mem::take(&mut self.untold_classes));
        Some(Untold { link: self.link.clone()?, circuits, with_classes })
    }

    /// Returns the link before this one.
    pub(super) fn set(
        &mut self,
        link: Arc<dyn Link>,
        circuits: impl Iterator<Item = Arc<CircuitBreaker>>,
    ) -> Option<Arc<dyn Link>> {
        self.untold = circuits.collect();
        self.link.replace(link)
    }

    /// Returns the link, if it is this one.
    pub(super) fn take(&mut self, link: &Arc<dyn Link>) -> Option<Arc<dyn Link>> {
        self.link.take_if(|linked| Arc::ptr_eq(linked, link))
    }
}

impl Untold {
    pub(super) fn tell(self) {
        for circuit in &self.circuits {
            self.link.made(circuit);
        }
        for operation in &self.with_classes {
            self.link.has_classes(operation);
        }
    }
}

impl Inner {
    /// From now on every circuit is told to this link: those that there are before this returns,
    /// the others as they are made. In place of the link that there was.
    pub(crate) fn link(&self, link: Arc<dyn Link>) {
        let before = self.write(|state, _| {
            let circuits = state.entries.values().map(|entry| Arc::clone(&entry.circuit));
            state.linked.set(link, circuits)
        });
        // Not under the lock: what goes with it is not ours.
        drop(before);
    }

    /// No circuit is told to this link any more, but for one that is being made at this moment.
    /// False if it is another one that is set.
    pub(crate) fn unlink(&self, link: &Arc<dyn Link>) -> bool {
        // Dropped here, and not under the lock, as in `link`.
        self.write(|state, _| state.linked.take(link)).is_some()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::{Barrier, Mutex, Weak};

    use super::*;
    use crate::breaker::CircuitState;

    /// Notes what it is told, and whether the circuit is in the registry by then, which it asks.
    #[derive(Debug)]
    struct Notes {
        registry: Weak<Inner>,
        told: Mutex<Vec<&'static str>>,
    }

    impl Notes {
        fn of(registry: &Arc<Inner>) -> Arc<Self> {
            Arc::new(Self { registry: Arc::downgrade(registry), told: Mutex::default() })
        }

        fn take(&self) -> Vec<&'static str> {
            std::mem::take(&mut self.told.lock().unwrap())
        }
    }

    impl Link for Notes {
        fn made(&self, circuit: &Arc<CircuitBreaker>) {
            // Both locks are taken for this.
            let registry = self.registry.upgrade().unwrap();
            assert!(Arc::ptr_eq(&registry.circuit(circuit.name()), circuit));
            registry.configure(crate::Settings::default());
            self.told.lock().unwrap().push(circuit.name());
        }

        fn has_classes(&self, operation: &Arc<CircuitBreaker>) {
            let registry = self.registry.upgrade().unwrap();
            registry.make_class(&format!("{}/from afar", operation.name()));
        }
    }

    fn registry() -> Arc<Inner> {
        Inner::new(false)
    }

    #[test]
    fn those_that_are_there_are_told_and_each_new_one_before_it_is_handed_out() {
        let registry = registry();
        let (a, _) = (registry.circuit("link:a"), registry.circuit("link:b"));
        assert!(registry.read().linked.untold.is_empty(), "nothing is kept for nobody");
        let notes = Notes::of(&registry);
        registry.link(Arc::<Notes>::clone(&notes));
        assert_eq!(notes.take(), ["link:a", "link:b"]);

        registry.circuit("link:c");
        assert_eq!(notes.take(), ["link:c"]);
        registry.circuit_of_class(&a, "timeouts");
        assert_eq!(notes.take(), ["link:a/timeouts"]);
        registry.unlisted("link:d", &crate::RetrySettings::default());
        assert_eq!(notes.take(), ["link:d"]);

        registry.circuit("link:c");
        registry.circuit_of_class(&a, "timeouts");
        assert!(notes.take().is_empty(), "those that are known are not new");
    }

    #[test]
    fn the_circuits_of_keys_are_nobody_elses() {
        let registry = registry();
        let notes = Notes::of(&registry);
        registry.link(Arc::<Notes>::clone(&notes));
        registry.circuit("link:keyed");
        assert_eq!(notes.take(), ["link:keyed"]);
        let keys = registry.keys("link:keyed").unwrap();
        // Off by default, and then without circuits of keys.
        let mut settings = crate::Settings::default();
        settings.all().enabled(true);
        registry.configure(settings);
        assert!(keys.slot("acme").is_some());
        assert_eq!(registry.circuits().len(), 2);
        assert!(notes.take().is_empty());

        registry.link(Arc::<Notes>::clone(&notes));
        assert_eq!(notes.take(), ["link:keyed"]);
    }

    #[test]
    fn there_is_one_link_and_it_can_be_taken_off() {
        let registry = registry();
        let (first, second) = (Notes::of(&registry), Notes::of(&registry));
        let (as_first, as_second): (Arc<dyn Link>, Arc<dyn Link>) =
            (Arc::<Notes>::clone(&first), Arc::<Notes>::clone(&second));
        registry.link(Arc::clone(&as_first));
        registry.link(Arc::clone(&as_second));
        registry.circuit("link:one");
        assert_eq!((first.take().len(), second.take().len()), (0, 1));

        assert!(!registry.unlink(&as_first), "it is not the one that is set");
        assert!(registry.unlink(&as_second) && !registry.unlink(&as_second));
        registry.circuit("link:two");
        assert!(second.take().is_empty());
    }

    #[test]
    fn circuits_made_while_a_link_is_set_are_told_once_each() {
        for _ in 0..50 {
            let (registry, start) = (registry(), Arc::new(Barrier::new(4)));
            let notes = Notes::of(&registry);
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let (registry, start) = (Arc::clone(&registry), Arc::clone(&start));
                    std::thread::spawn(move || {
                        start.wait();
                        for name in ["link:x", "link:y", "link:z"] {
                            assert_eq!(registry.circuit(name).state(), CircuitState::Closed);
                        }
                    })
                })
                .collect();
            start.wait();
            registry.link(Arc::<Notes>::clone(&notes));
            for thread in threads {
                thread.join().unwrap();
            }
            let mut told = notes.take();
            told.sort_unstable();
            assert_eq!(told, ["link:x", "link:y", "link:z"]);
        }
    }
}
