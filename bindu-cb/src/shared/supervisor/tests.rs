use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::time::sleep;

use super::*;
use crate::registry::link::Link as _;
use crate::shared::MemoryServer;
use crate::shared::codec::Cursor;
use crate::shared::hub::Side;

/// A server whose client has a bug: it panics.
#[derive(Clone)]
struct Fragile {
    server: MemoryServer,
    /// Of the next so many connects.
    connects: Arc<AtomicU32>,
    /// Of the next look at what has changed.
    look: Arc<AtomicBool>,
    /// Where the supervisor itself asks it, and not a task.
    clone: Arc<AtomicBool>,
}

struct FragileConnection {
    inner: <MemoryServer as Connector>::Server,
    look: Arc<AtomicBool>,
    clone: Arc<AtomicBool>,
}

impl Clone for FragileConnection {
    fn clone(&self) -> Self {
        assert!(!self.clone.load(Ordering::Relaxed), "a bug");
        let (look, clone) = (Arc::clone(&self.look), Arc::clone(&self.clone));
        Self { inner: self.inner.clone(), look, clone }
    }
}

impl Connector for Fragile {
    type Server = FragileConnection;

    async fn connect(&self, pushes: NewsSender<Message>) -> Result<FragileConnection, ServerError> {
        let left = self.connects.load(Ordering::Relaxed);
        self.connects.store(left.saturating_sub(1), Ordering::Relaxed);
        assert_eq!(left, 0, "a bug");
        let inner = self.server.connect(pushes).await?;
        let (look, clone) = (Arc::clone(&self.look), Arc::clone(&self.clone));
        Ok(FragileConnection { inner, look, clone })
    }
}

impl Server for FragileConnection {
    async fn execute(&self, op: Arc<str>, command: Command) -> Result<Reply, ServerError> {
        self.inner.execute(op, command).await
    }

    async fn read(&self, ops: Vec<Arc<str>>) -> Result<(Millis, Vec<Found>), ServerError> {
        self.inner.read(ops).await
    }

    async fn changes(&self, since: Option<Cursor>) -> Result<(Millis, Changes), ServerError> {
        assert!(!self.look.swap(false, Ordering::Relaxed), "a bug");
        self.inner.changes(since).await
    }

    async fn closed(&self) {
        self.inner.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_panics_is_a_lost_connection() {
    let fragile = Fragile {
        server: MemoryServer::new(),
        connects: Arc::new(AtomicU32::new(2)),
        look: Arc::default(),
        clone: Arc::default(),
    };
    let hub = Arc::<Hub>::default();
    let supervisor = Supervisor::new(fragile.clone(), Arc::clone(&hub), "me".to_owned(), 1);
    let running = tokio::spawn(supervisor.run());
    let is_connected = || hub.status.connected.load(Ordering::Relaxed);

    sleep(Duration::from_secs(2)).await;
    assert!(is_connected(), "it has tried again");

    let before = fragile.server.commands();
    fragile.look.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(3)).await;
    assert!(is_connected() && fragile.server.commands() > before + 3, "it looks again");
    hub.stop();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_panics_lets_everything_go() {
    let fragile = Fragile {
        server: MemoryServer::new(),
        connects: Arc::default(),
        look: Arc::default(),
        clone: Arc::default(),
    };
    let hub = Arc::<Hub>::default();
    let supervisor = Supervisor::new(fragile.clone(), Arc::clone(&hub), "me".to_owned(), 1);
    let running = tokio::spawn(supervisor.run());
    let (side, wanted) = (Side(Arc::clone(&hub)), Arc::<Hub>::clone(&hub) as Arc<dyn Wanted>);
    let (before, after) = (circuit("before"), circuit("after"));
    side.made(&before);
    sleep(Duration::from_secs(1)).await;
    assert!(hub.status.connected.load(Ordering::Relaxed));

    fragile.clone.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(1)).await;
    running.await.unwrap();
    assert!(hub.is_stopped() && !hub.status.connected.load(Ordering::Relaxed));
    assert!(!before.unlead(&wanted), "it is led by nobody");
    side.made(&after);
    hub.wanted("before");
    assert!(!after.unlead(&wanted) && hub.take().is_empty(), "nothing is left for nobody");
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_is_made_at_the_end_is_let_go() {
    let hub = Arc::<Hub>::default();
    let supervisor = Supervisor::new(MemoryServer::new(), Arc::clone(&hub), "me".to_owned(), 1);
    let side = Side(Arc::clone(&hub));
    let made = circuit("made last");
    side.made(&made);
    hub.stop();
    supervisor.run().await;
    drop(side);
    assert_eq!((Arc::strong_count(&hub), Arc::strong_count(&made)), (1, 1));
}

fn circuit(name: &'static str) -> Arc<CircuitBreaker> {
    Arc::new(CircuitBreaker::new(name, crate::CircuitBreakerSettings::default()))
}
