//! The circuit of a layer is that of its operation: registry, settings and events are the same.

use std::sync::{Arc, Mutex};

use bindu_cb::testing::isolate;
use bindu_cb::{
    CallCounts, CircuitBreakerOpenError, CircuitState, Count, Event, OpenCause, OpenReason,
    Operation, Settings, get_circuit_breaker, registry, retry_with_breaker,
};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn failures_open_the_circuit_and_a_probe_closes_it() {
    let _cb = isolate();
    let server = Server::refusing(3);
    let service = layer(operation("trips").attempts(1)).layer(server.clone());
    let changes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&changes);
    let _events = registry().subscribe(move |event: &Event| seen.lock().unwrap().push(event.to));
    for _ in 0..3 {
        assert!(service.clone().oneshot(()).await.unwrap_err().is::<Refused>());
    }
    let rejected = service.clone().oneshot(()).await.unwrap_err();
    let open = rejected.downcast_ref::<CircuitBreakerOpenError>().expect("it is open");
    assert_eq!(open.operation(), "trips");
    assert!(open.retry_after() >= secs(30), "{open}");
    assert_eq!(server.asked(), 3);

    advance(secs(30)).await;
    assert_eq!(service.clone().oneshot(()).await.unwrap(), 4);
    let states = [CircuitState::Open, CircuitState::HalfOpen, CircuitState::Closed];
    assert_eq!(*changes.lock().unwrap(), states);
}

#[tokio::test(start_paused = true)]
async fn a_probe_makes_one_attempt() {
    let _cb = isolate();
    let server = Server::down();
    let service = layer(operation("probe").failure_threshold(1)).layer(server.clone());
    get_circuit_breaker("probe").try_acquire().unwrap().failure();
    advance(secs(30)).await;
    service.oneshot(()).await.unwrap_err();
    assert_eq!(server.asked(), 1);
    assert_eq!(get_circuit_breaker("probe").snapshot().reopens, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_hears_at_once_that_its_circuit_opens() {
    let _cb = isolate();
    let service = layer(operation("heard").min_wait(secs(10))).layer(Server::down());
    let began = Instant::now();
    let trip = async {
        sleep(secs(3)).await;
        get_circuit_breaker("heard").force_open();
    };
    let rejected = tokio::join!(service.oneshot(()), trip).0.unwrap_err();
    assert!(is_open(&rejected), "{rejected}");
    assert_eq!(began.elapsed(), secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_ends_at_once_when_the_process_shuts_down() {
    for enabled in [true, false] {
        let _cb = isolate();
        let service = layer(operation("ends").enabled(enabled).min_wait(secs(10)));
        let server = Server::down();
        let (waits, later) = (service.layer(server.clone()), service.layer(Server::down()));
        let began = Instant::now();
        let shutdown = async {
            sleep(secs(3)).await;
            registry().shutdown();
        };
        let ended = tokio::join!(waits.oneshot(()), shutdown).0.unwrap_err();
        let reason = OpenCause::find(&*ended).map(OpenCause::reason);
        assert_eq!(reason, Some(OpenReason::Shutdown), "{ended}");
        assert_eq!((began.elapsed(), server.asked()), (secs(3), 1));

        let ended = later.oneshot(()).await.unwrap_err();
        assert_eq!(ended.downcast_ref(), Some(&Refused(1)), "one attempt, and its own error");
        assert_eq!(began.elapsed(), secs(3));
        let calls = counts("ends");
        assert_eq!((calls.failure, calls.cancelled), (0, if enabled { 2 } else { 0 }));
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_that_are_counted_singly_open_the_circuit_within_a_call() {
    let _cb = isolate();
    let server = Server::down();
    let service =
        layer(operation("single").attempts(9).count(Count::Attempt)).layer(server.clone());
    let rejected = service.oneshot(()).await.unwrap_err();
    assert!(is_open(&rejected), "{rejected}");
    assert_eq!((server.asked(), counts("single").failure), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_layer_and_a_function_of_one_operation_share_their_circuit() {
    #[retry_with_breaker(op = "shared", attempts = 1)]
    async fn ask() -> std::io::Result<()> {
        Err(std::io::ErrorKind::TimedOut.into())
    }

    let cb = isolate();
    cb.enabled(true);
    let service = layer(operation("shared").attempts(1)).layer(Server::up());
    for _ in 0..3 {
        ask().await.unwrap_err();
    }
    assert!(is_open(&service.oneshot(()).await.unwrap_err()));
}

#[tokio::test(start_paused = true)]
async fn a_layer_is_a_function_of_its_operation_at_its_place() {
    let _cb = isolate();
    let line = line!() + 1;
    let built = Operation::builder("placed").attempts(2).build().unwrap();
    let _layer = bindu_cb::tower::OperationLayer::new(built);
    let snapshots = registry().snapshot();
    let placed = snapshots.iter().find(|snapshot| snapshot.operation == "placed").unwrap();
    assert!(placed.functions[0].location.contains(&format!("circuit.rs:{line}:")));
}

#[tokio::test(start_paused = true)]
async fn a_layer_has_the_settings_of_the_environment() {
    let _cb = isolate();
    let variables = [
        ("BINDU_CB_ENABLED", "true"),
        ("BINDU_CB_API_ENV_ATTEMPTS", "2"),
        ("BINDU_CB_API_ENV_FAILURE_THRESHOLD", "1"),
        ("BINDU_CB_API_TIMEOUT", "5s"),
    ];
    let server = Server::down();
    // Before and after: a layer that exists takes them, too.
    let service = layer(Operation::builder("api:env").attempts(9)).layer(server.clone());
    registry().configure(Settings::default().with_variables(variables).unwrap());
    service.clone().oneshot(()).await.unwrap_err();
    assert_eq!(server.asked(), 2);
    assert!(is_open(&service.oneshot(()).await.unwrap_err()));

    let (mut hung, mut handle) = mock(Operation::builder("api:hung").attempts(1));
    let began = Instant::now();
    let call = begin(&mut hung, "request").await;
    let _answer = expect(&mut handle, "request").await;
    call.await.unwrap_err();
    assert_eq!(began.elapsed(), secs(5));
}

#[tokio::test(start_paused = true)]
async fn off_it_is_a_plain_retry_loop() {
    let _cb = isolate();
    let server = Server::down();
    let service = layer(Operation::builder("off").attempts(2).jitter(0.0)).layer(server.clone());
    for calls in 1..=10 {
        service.clone().oneshot(()).await.unwrap_err();
        assert_eq!(server.asked(), calls * 2);
    }
    assert_eq!(counts("off"), CallCounts::default());
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_rejects_nobody() {
    let _cb = isolate();
    let server = Server::down();
    let service = layer(operation("dry").dry_run(true).attempts(2)).layer(server.clone());
    for calls in 1..=5 {
        assert!(service.clone().oneshot(()).await.unwrap_err().is::<Refused>());
        assert_eq!(server.asked(), calls * 2);
    }
    assert_eq!(get_circuit_breaker("dry").state(), CircuitState::Open);
    assert_eq!((counts("dry").failure, counts("dry").rejected), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_circuit_of_its_own() {
    let _cb = isolate();
    let (mock, mut handle) = tower_test::mock::pair::<String, ()>();
    let keyed = layer(operation("keyed").attempts(1)).key(|host: &String| host.into());
    let service = keyed.layer(mock);
    let server = async move {
        while let Some((host, answer)) = handle.next_request().await {
            if host == "up" { answer.send_response(()) } else { answer.send_error("down") }
        }
    };
    let client = async move {
        for _ in 0..3 {
            service.clone().oneshot("down".to_owned()).await.unwrap_err();
        }
        let rejected = service.clone().oneshot("down".to_owned()).await.unwrap_err();
        let open = rejected.downcast_ref::<CircuitBreakerOpenError>().expect("it is open");
        assert_eq!(open.key().as_deref(), Some("down"));
        service.clone().oneshot("up".to_owned()).await.unwrap();
    };
    tokio::join!(server, client);
    assert_eq!(counts("keyed"), CallCounts::default(), "nothing is counted by the operation's own");
    let up = registry().get_keyed("keyed", "up").unwrap().snapshot();
    assert_eq!((up.calls.success, up.calls.failure), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_waits_hears_of_its_own_circuit_and_of_a_forced_operation() {
    let _cb = isolate();
    let keyed = layer(operation("keyed-wait").min_wait(secs(10))).key(|key: &String| key.into());
    let service = keyed.layer(Server::down());
    for forced_key in [true, false] {
        let began = Instant::now();
        let force = async {
            sleep(secs(2)).await;
            let key = registry().get_keyed("keyed-wait", "k").unwrap();
            if forced_key {
                key.force_open();
                key.reset();
                key.force_open();
            } else {
                get_circuit_breaker("keyed-wait").force_open();
            }
        };
        let call = service.clone().oneshot("k".to_owned());
        let rejected = tokio::join!(call, force).0.unwrap_err();
        assert!(is_open(&rejected), "{rejected}");
        assert_eq!(began.elapsed(), secs(2));
        registry().get_keyed("keyed-wait", "k").unwrap().reset();
    }
}
