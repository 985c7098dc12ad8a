//! C6: each key of an operation, a host or a tenant, has a circuit of its own under it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bindu_cb::testing::{Isolated, isolate};
use bindu_cb::{
    CallError, CircuitState, Event, Operation, Settings, get_circuit_breaker, registry,
    retry_with_breaker, with_circuit_breaker,
};
use tokio::sync::Notify;
use tokio::time::advance;
use tracing::Level;

use crate::support::{Failure, Log, Service, secs, snapshot_of};

fn enabled() -> Isolated {
    let cb = isolate();
    cb.enabled(true);
    cb.no_wait();
    cb
}

/// A service with tenants, one of which is never answered.
#[derive(Default)]
struct Tenants {
    asked: Mutex<BTreeMap<String, u32>>,
}

impl Tenants {
    fn ask(&self, tenant: &str) -> Result<(), Failure> {
        *self.asked.lock().unwrap().entry(tenant.to_owned()).or_default() += 1;
        if tenant == "bad" { Err(Failure::Refused(0)) } else { Ok(()) }
    }

    fn asked(&self, tenant: &str) -> u32 {
        self.asked.lock().unwrap().get(tenant).copied().unwrap_or(0)
    }

    #[with_circuit_breaker(op = "keyed:together")]
    async fn ask_together(&self, tenant: &str) -> Result<(), Failure> {
        self.ask(tenant)
    }

    #[with_circuit_breaker(op = "keyed:apart", key = tenant)]
    async fn ask_apart(&self, tenant: &str) -> Result<(), Failure> {
        self.ask(tenant)
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_tenant_does_not_open_everyones_circuit() {
    let _cb = enabled();
    let mut settings = Settings::default();
    // Of failures in a row the next good tenant's success would start the count over.
    settings.kind("keyed").window(bindu_cb::Window::Calls(10));
    registry().configure(settings);
    let good: Vec<_> = (0..9).map(|n| format!("good-{n}")).collect();
    let (together, apart) = (Tenants::default(), Tenants::default());
    for _ in 0..100 {
        // The bad one calls as often as all others.
        for tenant in &good {
            for tenant in [tenant, "bad"] {
                let _ = together.ask_together(tenant).await;
                let _ = apart.ask_apart(tenant).await;
            }
        }
    }
    let reached =
        |service: &Tenants| good.iter().map(|tenant| service.asked(tenant)).collect::<Vec<_>>();
    assert_eq!(reached(&apart), [100; 9], "with a key all calls of the good ones arrive");
    assert_eq!(apart.asked("bad"), 10, "and of the bad one as many as open its circuit");
    assert_eq!(reached(&together), [1, 1, 1, 1, 1, 0, 0, 0, 0], "without, it takes all down");
    assert_eq!(snapshot_of("keyed:together").state, CircuitState::Open);
}

#[with_circuit_breaker(op = "keyed:few", key = key, max_keys = 4)]
async fn ask_few(key: u32, service: &Service) -> Result<u32, Failure> {
    service.ask()
}

async fn trip_few(key: u32) {
    let down = Service::down();
    for _ in 0..3 {
        ask_few(key, &down).await.unwrap_err();
    }
    assert_eq!(down.asked(), 3);
}

fn keys_of(op: &str) -> Vec<String> {
    let all = registry().iter().filter(|circuit| circuit.name() == op);
    all.filter_map(|circuit| circuit.key().map(str::to_owned)).collect()
}

#[tokio::test(start_paused = true)]
async fn there_are_never_more_than_max_keys() {
    let _cb = enabled();
    let service = Service::up();
    for key in 0..40 {
        ask_few(key, &service).await.unwrap();
        assert!(keys_of("keyed:few").len() <= 4);
        assert!(registry().get_keyed("keyed:few", key).is_some(), "the newest is there");
    }
    assert_eq!(keys_of("keyed:few").len(), 4);
    assert_eq!(service.asked(), 40);
    assert_eq!(snapshot_of("keyed:few").calls.success, 0, "none shared the operation's circuit");
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_not_evicted_before_its_time() {
    let _cb = enabled();
    let service = Service::up();
    trip_few(7).await;
    for round in 0..29_u32 {
        for key in 100..140 {
            ask_few(key + round, &service).await.unwrap();
        }
        assert!(matches!(ask_few(7, &service).await, Err(Failure::Open(_))));
        advance(secs(1)).await;
    }
    // Nobody asks for it any more, and its time comes.
    advance(secs(1)).await;
    for key in 200..240 {
        ask_few(key, &service).await.unwrap();
    }
    assert!(registry().get_keyed("keyed:few", 7).is_none());
    assert_eq!(ask_few(7, &service).await.unwrap(), service.asked());
}

#[tokio::test(start_paused = true)]
async fn neither_is_one_that_was_forced_or_has_a_call_under_way() {
    #[with_circuit_breaker(op = "keyed:under-way", key = key, max_keys = 2)]
    async fn wait(key: &str, go_on: &Notify) -> Result<(), Failure> {
        go_on.notified().await;
        Err(Failure::Refused(1))
    }

    let _cb = enabled();
    let go_on = Notify::new();
    go_on.notify_one();
    wait("forced", &go_on).await.unwrap_err();
    registry().get_keyed("keyed:under-way", "forced").unwrap().force_closed();

    let mut under_way = std::pin::pin!(wait("waits", &go_on));
    tokio::select! {
        biased;
        _ = &mut under_way => unreachable!("nobody has told it to go on"),
        () = std::future::ready(()) => {}
    }
    for key in 0..20 {
        go_on.notify_waiters();
        let _ = futures_now(wait(&key.to_string(), &go_on));
    }
    assert_eq!(keys_of("keyed:under-way"), ["forced", "waits"]);
    go_on.notify_waiters();
    under_way.await.unwrap_err();
    let waited = registry().get_keyed("keyed:under-way", "waits").unwrap();
    assert_eq!(waited.snapshot().calls.failure, 1);
}

/// Polls once and drops.
fn futures_now<T>(future: impl Future<Output = T>) -> Option<T> {
    use std::task::{Context, Poll, Waker};
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_circuit_may_go_further_keys_share_the_operations() {
    let _cb = enabled();
    let log = Log::capture();
    for key in 0..4 {
        trip_few(key).await;
    }
    let service = Service::up();
    for key in 4..100 {
        ask_few(key, &service).await.unwrap();
    }
    assert_eq!(service.asked(), 96);
    assert_eq!(keys_of("keyed:few"), ["0", "1", "2", "3"]);
    assert_eq!(snapshot_of("keyed:few").calls.success, 96);
    let told = log.at(Level::WARN).into_iter().filter(|line| line.message.contains("no circuit"));
    assert_eq!(told.map(|line| line.field("max_keys").to_owned()).collect::<Vec<_>>(), ["4"]);

    advance(secs(30)).await;
    ask_few(100, &service).await.unwrap();
    assert!(registry().get_keyed("keyed:few", 100).is_some(), "their time has come");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_in_use_stays_while_others_come_and_go() {
    let _cb = enabled();
    let service = Service::up();
    for key in 0..100 {
        ask_few(1_000, &service).await.unwrap();
        ask_few(key, &service).await.unwrap();
    }
    let used = registry().get_keyed("keyed:few", 1_000).unwrap();
    assert_eq!(used.snapshot().calls.success, 100);
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_begins_anew() {
    let _cb = enabled();
    trip_few(1).await;
    let held = registry().get_keyed("keyed:few", 1).unwrap();
    assert!(registry().remove("keyed:few", 1));
    assert!(!registry().remove("keyed:few", 1));
    assert!(!registry().remove("keyed:nobody", 1));
    assert!(registry().get_keyed("keyed:few", 1).is_none());

    ask_few(1, &Service::up()).await.unwrap();
    assert_eq!(held.state(), CircuitState::Open);
    let new = registry().get_keyed("keyed:few", 1).unwrap();
    assert_eq!((new.state(), new.snapshot().calls.success), (CircuitState::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_ends_on_the_circuit_that_was_removed() {
    #[with_circuit_breaker(op = "keyed:removed", key = key)]
    async fn ask(key: &str, go_on: Option<&Notify>) -> Result<(), Failure> {
        if let Some(go_on) = go_on {
            go_on.notified().await;
        }
        Ok(())
    }

    let _cb = enabled();
    let go_on = Notify::new();
    let mut under_way = std::pin::pin!(ask("a", Some(&go_on)));
    tokio::select! {
        biased;
        _ = &mut under_way => unreachable!("nobody has told it to go on"),
        () = std::future::ready(()) => {}
    }
    let old = registry().get_keyed("keyed:removed", "a").unwrap();
    assert!(registry().remove("keyed:removed", "a"));
    ask("a", None).await.unwrap();
    let new = registry().get_keyed("keyed:removed", "a").unwrap();
    assert!(!Arc::ptr_eq(&old, &new), "the call under way keeps the old one, and nobody else");
    go_on.notify_one();
    under_way.await.unwrap();
    assert_eq!(old.snapshot().calls.success, 1);
    assert_eq!(new.snapshot().calls.success, 1);
}

#[tokio::test(start_paused = true)]
async fn a_keys_circuit_has_the_settings_of_its_operation() {
    #[with_circuit_breaker(op = "keyed:settings", key = key, failure_threshold = 2)]
    async fn ask(key: &str, service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let _cb = enabled();
    let down = Service::down();
    for _ in 0..10 {
        let _ = ask("before", &down).await;
    }
    assert_eq!(down.asked(), 2, "of the attribute");

    registry().get_keyed("keyed:settings", "before").unwrap().reset();
    let mut settings = Settings::default();
    settings.operation("keyed:settings").failure_threshold(5);
    registry().configure(settings);
    for key in ["before", "after"] {
        let down = Service::down();
        for _ in 0..10 {
            let _ = ask(key, &down).await;
        }
        assert_eq!(down.asked(), 5, "{key}");
        let circuit = registry().get_keyed("keyed:settings", key).unwrap().snapshot();
        let threshold = circuit.settings.iter().find(|s| s.key == "failure_threshold").unwrap();
        assert_eq!(threshold.value, "5");
    }
}

#[tokio::test(start_paused = true)]
async fn fewer_keys_by_new_settings_are_fewer_at_once() {
    let _cb = enabled();
    let operation = Operation::builder("keyed:fewer").build().unwrap();
    let call = async |key: u32| operation.keyed(key).call(async || Ok::<_, ()>(())).await;
    for key in 0..100 {
        call(key).await.unwrap();
    }
    for _ in 0..3 {
        operation.keyed(1_000).call(async || Err::<(), _>(())).await.unwrap_err();
    }
    let mut settings = Settings::default();
    settings.operation("keyed:fewer").max_keys(5);
    registry().configure(settings);
    assert_eq!(keys_of("keyed:fewer").len(), 5);
    assert!(keys_of("keyed:fewer").contains(&"1000".to_owned()), "it is open");
}

#[tokio::test(start_paused = true)]
async fn each_test_has_keys_of_its_own() {
    for _ in 0..2 {
        let _cb = enabled();
        assert!(registry().get_keyed("keyed:few", 1).is_none());
        ask_few(1, &Service::up()).await.unwrap();
        trip_few(1).await;
        let inner = enabled();
        ask_few(1, &Service::up()).await.unwrap();
        drop(inner);
        assert!(matches!(ask_few(1, &Service::up()).await, Err(Failure::Open(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_is_off_or_set_by_hand_is_one_for_all_keys() {
    let cb = isolate();
    ask_few(1, &Service::up()).await.unwrap();
    assert!(keys_of("keyed:few").is_empty());

    cb.enabled(true);
    ask_few(1, &Service::up()).await.unwrap();
    cb.force_open("keyed:few");
    for key in [1, 2] {
        assert!(matches!(ask_few(key, &Service::up()).await, Err(Failure::Open(_))));
    }
    get_circuit_breaker("keyed:few").reset();
    trip_few(1).await;
    get_circuit_breaker("keyed:few").force_closed();
    ask_few(1, &Service::up()).await.unwrap();

    get_circuit_breaker("keyed:few").reset();
    assert!(matches!(ask_few(1, &Service::up()).await, Err(Failure::Open(_))));
    registry().reset_all();
    ask_few(1, &Service::up()).await.unwrap();
}

#[test]
fn threads_that_meet_on_a_key_share_its_circuit() {
    const THREADS: u32 = 8;
    const KEYS: u32 = 50;
    const CALLS: u32 = 20;
    let operation = Operation::builder("keyed:threads").enabled(true).build().unwrap();
    let operation = Arc::new(operation);
    let handles: Vec<_> = (0..THREADS)
        .map(|thread| {
            let operation = Arc::clone(&operation);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    for n in 0..KEYS * CALLS {
                        let key = (n * 7 + thread) % KEYS;
                        operation.keyed(key).call(async || Ok::<_, ()>(())).await.unwrap();
                    }
                });
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    let all = registry().snapshot().into_iter().filter(|s| s.operation == "keyed:threads");
    let by_key: HashMap<_, _> =
        all.filter_map(|snapshot| Some((snapshot.key?, snapshot.calls.success))).collect();
    assert_eq!(by_key.len(), KEYS as usize);
    assert!(by_key.values().all(|calls| *calls == u64::from(THREADS * CALLS)), "{by_key:?}");
}

#[test]
fn threads_that_crowd_each_other_out_lose_no_call_and_keep_the_bound() {
    const KEYS: u32 = 400;
    let operation = Operation::builder("keyed:crowd").enabled(true).max_keys(8).build().unwrap();
    let operation = Arc::new(operation);
    let most = Arc::new(AtomicU32::new(0));
    let handles: Vec<_> = (0..4_u32)
        .map(|thread| {
            let (operation, most) = (Arc::clone(&operation), Arc::clone(&most));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    for n in 0..KEYS * 5 {
                        let key = (n + thread * 3) % KEYS;
                        operation.keyed(key).call(async || Ok::<_, ()>(())).await.unwrap();
                        if n % 50 == 0 {
                            let now = u32::try_from(keys_of("keyed:crowd").len()).unwrap();
                            most.fetch_max(now, Ordering::Relaxed);
                        }
                    }
                });
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    assert!((1..=8).contains(&most.load(Ordering::Relaxed)), "{most:?}");
}

#[tokio::test(start_paused = true)]
async fn an_opened_circuit_says_whose_it_is() {
    let _cb = enabled();
    let log = Log::capture();
    let heard: Arc<Mutex<Vec<Event>>> = Arc::default();
    let listener = Arc::clone(&heard);
    registry().subscribe(move |event: &Event| listener.lock().unwrap().push(event.clone()));
    trip_few(7).await;

    let Err(Failure::Open(open)) = ask_few(7, &Service::up()).await else { panic!("it is open") };
    assert_eq!((open.operation(), open.key().as_deref()), ("keyed:few", Some("7")));
    assert!(open.to_string().starts_with("circuit breaker is open for 'keyed:few': retry after "));
    let event = heard.lock().unwrap()[0].clone();
    assert_eq!((event.operation, event.key.as_deref()), ("keyed:few", Some("7")));
    let warning = &log.at(Level::WARN)[0];
    assert_eq!((warning.field("operation"), warning.field("key")), ("keyed:few", "7"));

    let all = registry().snapshot();
    let keyed: Vec<_> = all.iter().filter(|snapshot| snapshot.key.is_some()).collect();
    assert_eq!(keyed.len(), 1);
    assert_eq!((keyed[0].operation, keyed[0].state), ("keyed:few", CircuitState::Open));

    let forced = registry().get_keyed("keyed:few", 7).unwrap();
    forced.reset();
    forced.force_open();
    let Err(Failure::Open(open)) = ask_few(7, &Service::up()).await else { panic!("it is open") };
    assert_eq!(open.key().as_deref(), Some("7"));
    get_circuit_breaker("keyed:few").force_open();
    let Err(Failure::Open(open)) = ask_few(8, &Service::up()).await else { panic!("it is open") };
    assert_eq!(open.key(), None, "the operation's own");
}

struct Client {
    host: String,
    keys: AtomicU32,
}

impl Client {
    fn key(&self) -> &str {
        self.keys.fetch_add(1, Ordering::Relaxed);
        &self.host
    }

    #[retry_with_breaker(op = "keyed:client", key = self.key(), attempts = 3, timeout = "1s")]
    async fn get(&self, service: &Service) -> Result<u32, Failure> {
        if service.asked() == 1 {
            std::future::pending::<()>().await;
        }
        service.ask()
    }

    #[retry_with_breaker(
        op = "keyed:fallback", key = format_args!("{}/{tenant}", self.host), attempts = 1,
        clone(tenant), on_open = |open| Ok(format!("{:?} {tenant}", open.key()))
    )]
    async fn fetch(&self, tenant: String, mut n: u32) -> Result<String, Failure> {
        n += 1;
        drop((tenant, n));
        Err(Failure::Refused(1))
    }
}

#[tokio::test(start_paused = true)]
async fn the_key_is_asked_for_once_a_call_and_sees_the_arguments() {
    let _cb = enabled();
    let client = Client { host: "a.example".to_owned(), keys: AtomicU32::new(0) };
    let service = Service::refusing(1);
    assert!(matches!(client.get(&service).await, Err(Failure::Slow(_))));
    assert_eq!(client.keys.load(Ordering::Relaxed), 1, "of three attempts");
    assert_eq!(keys_of("keyed:client"), ["a.example"]);

    for _ in 0..3 {
        client.fetch("t".to_owned(), 1).await.unwrap_err();
    }
    assert_eq!(client.fetch("t".to_owned(), 1).await.unwrap(), "Some(\"a.example/t\") t");
    assert!(client.fetch("u".to_owned(), 1).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_waits_hears_of_its_keys_circuit_alone() {
    #[retry_with_breaker(op = "keyed:loop", key = key, min_wait = "10s", max_wait = "10s")]
    async fn ask(key: &str, service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = isolate();
    cb.enabled(true);
    let (down, other) = (Service::down(), Service::refusing(1));
    let opens = async {
        tokio::task::yield_now().await;
        registry().get_keyed("keyed:loop", "bad").unwrap().force_open();
    };
    let (bad, good, ()) = tokio::join!(ask("bad", &down), ask("good", &other), opens);
    assert!(matches!(bad, Err(Failure::Open(_))));
    assert_eq!(down.asked(), 1);
    assert_eq!(good.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_retry_budget_is_one_for_all_keys() {
    let _cb = enabled();
    let operation = Operation::builder("keyed:budget").attempts(2).failure_threshold(1_000);
    let operation = operation.retry_budget(0.5).retry_budget_reserve(0).build().unwrap();
    let attempts = AtomicU32::new(0);
    for n in 0..100 {
        let operation = operation.keyed(n % 5);
        let failed = operation.call(async || {
            attempts.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(())
        });
        assert!(matches!(failed.await, Err(CallError::Inner(()))));
    }
    let made = attempts.load(Ordering::Relaxed);
    assert!((140..=150).contains(&made), "{made} attempts of 100 calls");
}

#[tokio::test(start_paused = true)]
async fn a_long_key_is_cut_and_still_another_key() {
    let _cb = enabled();
    let operation = Operation::builder("keyed:long").build().unwrap();
    let keys = ["a", "b"].map(|end| format!("{}{end}", "ä".repeat(1_000)));
    for key in &keys {
        operation.keyed(key).call(async || Ok::<_, ()>(())).await.unwrap();
        let circuit = registry().get_keyed("keyed:long", key).unwrap();
        assert_eq!(circuit.snapshot().calls.success, 1);
        assert_eq!(circuit.key(), Some(&*format!("{}…", "ä".repeat(64))));
    }
    assert_eq!(keys_of("keyed:long").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_came_to_nothing_keeps_its_circuit_for_another_wait() {
    let _cb = enabled();
    let service = Service::up();
    trip_few(7).await;
    advance(secs(30)).await;
    let circuit = registry().get_keyed("keyed:few", 7).unwrap();
    circuit.try_acquire().unwrap().ignore();
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    drop(circuit);
    for (seconds, is_there) in [(0, true), (29, true), (1, false)] {
        advance(secs(seconds)).await;
        for key in 100..140 {
            ask_few(key, &service).await.unwrap();
        }
        assert_eq!(registry().get_keyed("keyed:few", 7).is_some(), is_there, "{seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_calls_rise_by_and_by_is_not_evicted_meanwhile() {
    let _cb = enabled();
    let mut settings = Settings::default();
    settings.all().ramp_up(secs(10));
    registry().configure(settings);
    let service = Service::up();
    trip_few(7).await;
    advance(secs(30)).await;
    ask_few(7, &service).await.unwrap();
    for (seconds, is_there) in [(0, true), (9, true), (1, false)] {
        advance(secs(seconds)).await;
        for key in 100..140 {
            ask_few(key, &service).await.unwrap();
        }
        assert_eq!(registry().get_keyed("keyed:few", 7).is_some(), is_there, "{seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_reserve_of_the_budget_comes_by_one_clock_whatever_keys_come_and_go() {
    let _cb = enabled();
    let operation = Operation::builder("keyed:reserve").attempts(2).failure_threshold(1_000);
    let operation = operation.retry_budget(0.0).retry_budget_reserve(10).build().unwrap();
    let attempts = AtomicU32::new(0);
    let fail = async |key: &str| {
        for _ in 0..20 {
            let operation = operation.keyed(key);
            let failed = operation.call(async || {
                attempts.fetch_add(1, Ordering::Relaxed);
                Err::<(), _>(())
            });
            assert!(matches!(failed.await, Err(CallError::Inner(()))));
        }
        attempts.swap(0, Ordering::Relaxed)
    };
    for key in ["old", "old", "new", "new", "old"] {
        assert_eq!(fail(key).await, 30, "{key}: twenty calls, and the reserve of ten seconds");
        advance(secs(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_all_keys_pay_for_the_retries_of_one() {
    let _cb = enabled();
    let operation = Operation::builder("keyed:payers").attempts(2).failure_threshold(1_000);
    let operation =
        operation.retry_budget(0.1).retry_budget_reserve(0).max_keys(100).build().unwrap();
    for n in 0..1_000 {
        operation.keyed(n).call(async || Ok::<_, ()>(())).await.unwrap();
    }
    let attempts = AtomicU32::new(0);
    for _ in 0..10 {
        let operation = operation.keyed("bad");
        let failed = operation.call(async || {
            attempts.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(())
        });
        assert!(matches!(failed.await, Err(CallError::Inner(()))));
    }
    assert_eq!(attempts.into_inner(), 20, "a thousand calls are worth a hundred retries");
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_waits_hears_that_the_operation_was_forced_open() {
    #[retry_with_breaker(op = "keyed:stopped", key = key, min_wait = "10s", max_wait = "10s")]
    async fn ask(key: &str, service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let cb = isolate();
    cb.enabled(true);
    let down = Service::down();
    let opens = async {
        tokio::task::yield_now().await;
        get_circuit_breaker("keyed:stopped").force_open();
    };
    let began = tokio::time::Instant::now();
    let (stopped, ()) = tokio::join!(ask("a", &down), opens);
    assert!(matches!(stopped, Err(Failure::Open(open)) if open.key().is_none()));
    assert!(began.elapsed() <= std::time::Duration::from_millis(1));
    assert_eq!(down.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_opens_circuits_also_where_more_keys_take_turns_than_there_is_room_for() {
    let _cb = enabled();
    for window in [None, Some(bindu_cb::Window::Calls(10))] {
        let mut settings = Settings::default();
        settings.all().max_keys(4);
        if let Some(window) = window {
            settings.all().window(window).minimum_calls(3);
        }
        registry().configure(settings);
        registry().reset_all();
        let (down, up) = (Service::down(), Service::up());
        for _ in 0..100 {
            for key in 0..9 {
                let _ = ask_few(key, &down).await;
            }
        }
        assert_eq!(down.asked(), 15, "three of each of the four, and three of all others");

        // It is over, and the keys that are asked for now have circuits again.
        advance(secs(60)).await;
        for key in 100..104 {
            ask_few(key, &up).await.unwrap();
            assert!(registry().get_keyed("keyed:few", key).is_some());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_circuit_is_spared_for_its_failures_as_long_as_an_open_one() {
    let _cb = enabled();
    let service = Service::up();
    ask_few(7, &Service::down()).await.unwrap_err();
    for (seconds, is_there) in [(0, true), (29, true), (1, false)] {
        advance(secs(seconds)).await;
        for key in 100..140 {
            ask_few(key, &service).await.unwrap();
        }
        assert_eq!(registry().get_keyed("keyed:few", 7).is_some(), is_there, "{seconds}");
    }
}
