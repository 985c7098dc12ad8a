//! `enabled = false` and `dry_run`.

use bindu_cb::{
    CircuitState, Operation, RetrySettings, Settings, execute_with_retry, get_circuit_breaker,
    registry, retry_with_breaker, with_circuit_breaker,
};
use tokio::time::{Instant, advance, sleep};
use tracing::Level;

use crate::support::{Failure, Log, Service, millis, secs, snapshot_of, trip};

fn enabled(enabled: bool) -> Settings {
    let mut settings = Settings::default();
    settings.all().enabled(enabled);
    settings
}

fn dry_run(dry_run: bool) -> Settings {
    let mut settings = enabled(true);
    settings.all().dry_run(dry_run);
    settings
}

#[tokio::test(start_paused = true)]
async fn off_by_default_it_is_a_plain_retry_loop() {
    #[retry_with_breaker(op = "plain", attempts = 4, jitter = 0.0)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    for _ in 0..10 {
        let (service, began) = (Service::down(), Instant::now());
        let last = ask(&service).await.unwrap_err();
        assert!(matches!(last, Failure::Refused(4)), "{last}");
        assert_eq!((service.asked(), began.elapsed()), (4, secs(1 + 2 + 4)));
    }
    assert_eq!(ask(&Service::refusing(2)).await.unwrap(), 3);
    assert_untouched("plain");
}

fn assert_untouched(op: &str) {
    let snapshot = snapshot_of(op);
    assert_eq!((snapshot.state, snapshot.consecutive_failures), (CircuitState::Closed, 0));
    assert_eq!(snapshot.calls, bindu_cb::CallCounts::default());
    assert_eq!(snapshot.last_failure, None);
}

#[tokio::test(start_paused = true)]
async fn off_it_runs_once_where_there_is_no_loop() {
    #[with_circuit_breaker(op = "once")]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    let service = Service::down();
    for asked in 1..=10 {
        assert!(matches!(ask(&service).await, Err(Failure::Refused(n)) if n == asked));
    }
    assert_untouched("once");
}

#[tokio::test(start_paused = true)]
async fn off_the_limits_of_the_loop_hold_all_the_same() {
    #[retry_with_breaker(
        op = "limits",
        attempts = 10,
        timeout = "2s",
        deadline = "10s",
        min_wait = "1s",
        jitter = 0.0
    )]
    async fn ask(attempts: &mut u32) -> Result<(), Failure> {
        *attempts += 1;
        sleep(secs(100)).await;
        Ok(())
    }

    let _cb = bindu_cb::testing::isolate();
    let (mut attempts, began) = (0, Instant::now());
    assert!(matches!(ask(&mut attempts).await, Err(Failure::Slow(_))));
    // 2 s, wait 1, 2 s, wait 2, 2 s: a wait of 4 would end after 13 s.
    assert_eq!((attempts, began.elapsed()), (3, secs(9)));
    assert_untouched("limits");
}

#[tokio::test(start_paused = true)]
async fn off_an_open_circuit_stops_nobody_and_stays_as_it_is() {
    #[retry_with_breaker(op = "open", attempts = 2)]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    registry().configure(enabled(true));
    let service = Service::down();
    for _ in 0..3 {
        ask(&service).await.unwrap_err();
    }
    ask(&Service::up()).await.unwrap_err();
    let before = snapshot_of("open");
    assert_eq!(before.state, CircuitState::Open);

    registry().configure(enabled(false));
    ask(&Service::up()).await.unwrap();
    assert_eq!(snapshot_of("open").calls, before.calls);
    advance(secs(60)).await;
    ask(&Service::up()).await.unwrap();
    assert_eq!(snapshot_of("open").state, CircuitState::Open, "not a probe");

    registry().configure(enabled(true));
    ask(&Service::up()).await.unwrap();
    assert_eq!(snapshot_of("open").state, CircuitState::Closed);
}

/// B11: `enabled` is read once per call.
#[tokio::test(start_paused = true)]
async fn a_call_ends_as_it_began_though_it_is_turned_on_or_off_meanwhile() {
    #[with_circuit_breaker(op = "switched")]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        sleep(secs(5)).await;
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    let service = Service::down();
    for (at_first, later, failures) in [(true, false, 1), (false, true, 1), (true, true, 2)] {
        registry().configure(enabled(at_first));
        let (ended, ()) = tokio::join!(ask(&service), async {
            sleep(secs(1)).await;
            registry().configure(enabled(later));
        });
        ended.unwrap_err();
        assert_eq!(snapshot_of("switched").calls.failure, failures, "{at_first}, then {later}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_rejected_where_code_asks_without_an_attribute() {
    let _cb = bindu_cb::testing::isolate();
    let operation = Operation::builder("operation").attempts(1).build().unwrap();
    get_circuit_breaker("operation").force_open();
    let asked = operation.call(async || Ok::<_, ()>(1)).await;
    assert_eq!(asked.unwrap(), 1);
    let asked =
        execute_with_retry("operation", RetrySettings::default(), async || Ok::<_, ()>(2)).await;
    assert_eq!(asked.unwrap(), 2);
    assert_eq!(snapshot_of("operation").calls, bindu_cb::CallCounts::default());
}

/// S5.
#[tokio::test(start_paused = true)]
async fn that_nothing_is_protected_is_said_once() {
    #[retry_with_breaker(op = "unprotected:a", attempts = 1)]
    async fn a(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }
    #[with_circuit_breaker(op = "unprotected:b", enabled = false)]
    async fn b(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    let log = Log::capture();
    get_circuit_breaker("unprotected:c");
    assert!(log.is_empty(), "no guarded call has run");
    for _ in 0..5 {
        a(&Service::up()).await.unwrap();
        b(&Service::up()).await.unwrap();
    }
    registry().configure(Settings::default());
    a(&Service::up()).await.unwrap();

    let warnings = log.messages(Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("circuit breaking is off"), "{warnings:?}");
    assert!(warnings[0].contains("BINDU_CB_ENABLED=true"), "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn it_is_said_only_once_the_last_one_is_unprotected() {
    #[with_circuit_breaker(op = "some:protected", enabled = true)]
    async fn protected(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }
    #[with_circuit_breaker(op = "some:unprotected")]
    async fn unprotected(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    let log = Log::capture();
    protected(&Service::up()).await.unwrap();
    unprotected(&Service::up()).await.unwrap();
    assert_eq!(log.messages(Level::WARN), Vec::<String>::new());

    // The last one is turned off.
    let mut settings = Settings::default();
    settings.operation("some:protected").enabled(false);
    registry().configure(settings);
    unprotected(&Service::up()).await.unwrap();
    assert_eq!(log.messages(Level::WARN).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn that_nothing_is_protected_is_said_to_code_without_attributes_too() {
    let ask = async || Ok::<_, Failure>(1);

    let _cb = bindu_cb::testing::isolate();
    let log = Log::capture();
    Operation::builder("operation").build().unwrap().call(ask).await.unwrap();
    assert_eq!(log.messages(Level::WARN).len(), 1);
    drop(log);

    let _cb = bindu_cb::testing::isolate();
    let log = Log::capture();
    for _ in 0..3 {
        execute_with_retry("executed", RetrySettings::default(), ask).await.unwrap();
    }
    assert_eq!(log.messages(Level::WARN).len(), 1);
}

#[retry_with_breaker(op = "dry", attempts = 1)]
async fn ask_dry(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

/// B11: who would have been rejected is counted as that, and moves nothing.
#[tokio::test(start_paused = true)]
async fn dry_run_records_changes_state_and_logs_but_never_rejects() {
    let _cb = bindu_cb::testing::isolate();
    registry().configure(dry_run(true));
    let log = Log::capture();
    let (up, down) = (Service::up(), Service::down());
    for _ in 0..3 {
        ask_dry(&down).await.unwrap_err();
    }
    assert_eq!(snapshot_of("dry").state, CircuitState::Open);
    assert_eq!(log.at(Level::WARN)[0].field("to"), "open");

    for _ in 0..5 {
        ask_dry(&up).await.unwrap();
        let failed = ask_dry(&down).await.unwrap_err();
        assert!(matches!(failed, Failure::Refused(_)), "its own error: {failed}");
    }
    let snapshot = snapshot_of("dry");
    assert_eq!((snapshot.state, snapshot.half_open_in), (CircuitState::Open, Some(secs(30))));
    let calls = snapshot.calls;
    assert_eq!((calls.rejected, calls.failure, calls.success), (10, 3, 0));
    assert_eq!((calls.stale, calls.ignored, calls.cancelled), (0, 0, 0));
    assert_eq!((up.asked(), down.asked()), (5, 8));

    advance(secs(30)).await;
    ask_dry(&up).await.unwrap();
    assert_eq!(snapshot_of("dry").state, CircuitState::Closed);
    assert_eq!(snapshot_of("dry").calls.success, 1);
    assert_eq!(log.at(Level::INFO).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn in_dry_run_who_is_no_probe_runs_beside_the_probe() {
    #[with_circuit_breaker(op = "dry", enabled = true, dry_run = true)]
    async fn ask(seconds: u64, service: &Service) -> Result<u32, Failure> {
        sleep(secs(seconds)).await;
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    let (up, down) = (Service::up(), Service::down());
    for _ in 0..3 {
        ask(0, &down).await.unwrap_err();
    }
    advance(secs(30)).await;
    let (probe, beside, failing) = tokio::join!(ask(3, &up), ask(1, &up), ask(2, &down));
    probe.unwrap();
    beside.unwrap();
    failing.unwrap_err();
    let snapshot = snapshot_of("dry");
    assert_eq!(snapshot.state, CircuitState::Closed, "by the probe alone");
    assert_eq!((snapshot.calls.rejected, snapshot.calls.success), (2, 1));
    assert_eq!(snapshot.calls.failure, 3);
}

#[tokio::test(start_paused = true)]
async fn in_dry_run_a_call_has_all_its_attempts() {
    #[retry_with_breaker(
        op = "dry",
        enabled = true,
        dry_run = true,
        attempts = 4,
        count = "attempt"
    )]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    let service = Service::down();
    let last = ask(&service).await.unwrap_err();
    assert!(matches!(last, Failure::Refused(4)), "{last}");
    let snapshot = snapshot_of("dry");
    assert_eq!(snapshot.state, CircuitState::Open);
    assert_eq!((snapshot.calls.failure, snapshot.calls.rejected), (3, 1));
    ask(&service).await.unwrap_err();
    assert_eq!(service.asked(), 8);
    assert_eq!(snapshot_of("dry").calls.rejected, 5);
}

#[tokio::test(start_paused = true)]
async fn in_dry_run_even_a_circuit_forced_open_rejects_nobody() {
    let _cb = bindu_cb::testing::isolate();
    registry().configure(dry_run(true));
    let circuit = get_circuit_breaker("dry");
    circuit.force_open();
    ask_dry(&Service::up()).await.unwrap();
    assert_eq!(snapshot_of("dry").calls.rejected, 1);
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::ForcedOpen);
}

#[tokio::test(start_paused = true)]
async fn dry_run_is_nothing_without_enabled() {
    let _cb = bindu_cb::testing::isolate();
    let mut settings = Settings::default();
    settings.all().dry_run(true);
    registry().configure(settings);
    for _ in 0..5 {
        ask_dry(&Service::down()).await.unwrap_err();
    }
    assert_untouched("dry");
}

/// B11: `dry_run` is read once per call.
#[tokio::test(start_paused = true)]
async fn a_loop_stays_dry_or_not_as_it_began() {
    #[retry_with_breaker(op = "dry", attempts = 2, min_wait = "10s")]
    async fn ask(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }

    let _cb = bindu_cb::testing::isolate();
    for (at_first, later) in [(true, false), (false, true)] {
        registry().configure(dry_run(at_first));
        let circuit = get_circuit_breaker("dry");
        circuit.reset();
        let (service, began) = (Service::down(), Instant::now());
        let (ended, ()) = tokio::join!(ask(&service), async {
            sleep(secs(1)).await;
            registry().configure(dry_run(later));
            circuit.force_open();
        });
        if at_first {
            assert!(matches!(ended, Err(Failure::Refused(2))), "{ended:?}");
        } else {
            assert!(matches!(ended, Err(Failure::Open(_))), "{ended:?}");
            assert!(began.elapsed() <= secs(1) + millis(1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_circuit_breaks_whatever_the_attributes_switch_says() {
    let circuit = bindu_cb::CircuitBreaker::new(
        "own",
        bindu_cb::CircuitBreakerSettings::default().enabled(false),
    );
    trip(&circuit);
    circuit.try_acquire().unwrap_err();
}
