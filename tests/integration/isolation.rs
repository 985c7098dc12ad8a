//! T1: a test has circuits of its own.

use std::process::Command;
use std::sync::{Arc, Barrier};

use bindu_cb::testing::isolate;
use bindu_cb::{CircuitState, get_circuit_breaker, registry, retry_with_breaker};
use tokio::time::Instant;

use crate::support::{Failure, Service, secs, trip};

#[retry_with_breaker(op = "isolated", attempts = 4, min_wait = "1m", max_wait = "1m")]
async fn ask(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(op = "isolated:always", enabled = true)]
async fn always_guarded() -> Result<u32, Failure> {
    Service::up().ask()
}

/// Runs the future as a test of its own would.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future)
}

#[test]
fn tests_side_by_side_on_one_operation_do_not_see_each_other() {
    let at_once = Arc::new(Barrier::new(2));
    let [open, closed] = [true, false].map(|trips| {
        let at_once = Arc::clone(&at_once);
        std::thread::spawn(move || {
            let cb = isolate();
            cb.enabled(true);
            run(async {
                if trips {
                    trip(&get_circuit_breaker("isolated"));
                }
                at_once.wait();
                let result = ask(&Service::up()).await;
                at_once.wait();
                (result.is_ok(), get_circuit_breaker("isolated").snapshot().calls.success)
            })
        })
    });
    assert_eq!(open.join().unwrap(), (false, 0));
    assert_eq!(closed.join().unwrap(), (true, 1));
}

#[tokio::test(start_paused = true)]
async fn one_registry_knows_nothing_of_the_one_before() {
    for _ in 0..2 {
        let cb = isolate();
        cb.enabled(true);
        assert!(registry().get("isolated").is_none());
        assert!(registry().iter().next().is_none());
        assert_eq!(ask(&Service::up()).await.unwrap(), 1);
        trip(&get_circuit_breaker("isolated"));
        assert!(matches!(ask(&Service::up()).await, Err(Failure::Open(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_process_knows_nothing_of_a_tests_circuits() {
    {
        let _cb = isolate();
        trip(&get_circuit_breaker("isolated:of-a-test"));
    }
    assert!(registry().get("isolated:of-a-test").is_none());
}

#[tokio::test(start_paused = true)]
async fn the_inner_of_two_is_in_force_and_then_the_outer_again() {
    let outer = isolate();
    outer.enabled(true);
    outer.attempts(1);
    trip(&get_circuit_breaker("isolated"));
    {
        let inner = isolate();
        inner.enabled(true);
        inner.no_wait();
        assert_eq!(get_circuit_breaker("isolated").state(), CircuitState::Closed);
        let service = Service::refusing(3);
        assert_eq!(ask(&service).await.unwrap(), 4, "with the attribute's own attempts");
        outer.force_open("isolated:other");
        assert!(registry().get("isolated:other").is_none(), "a guard speaks to its own registry");
    }
    assert_eq!(get_circuit_breaker("isolated").state(), CircuitState::Open);
    assert_eq!(get_circuit_breaker("isolated:other").state(), CircuitState::ForcedOpen);
    assert!(matches!(ask(&Service::up()).await, Err(Failure::Open(_))));
    get_circuit_breaker("isolated").reset();
    assert!(matches!(ask(&Service::refusing(1)).await, Err(Failure::Refused(1))));
}

#[tokio::test(start_paused = true)]
async fn guards_may_be_dropped_in_any_order() {
    let first = isolate();
    let second = isolate();
    second.force_open("isolated");
    drop(first);
    assert_eq!(get_circuit_breaker("isolated").state(), CircuitState::ForcedOpen);
    drop(second);
    let third = isolate();
    assert_eq!(get_circuit_breaker("isolated").state(), CircuitState::Closed);
    drop(third);
}

#[tokio::test(start_paused = true)]
async fn circuit_breaking_is_off_until_it_is_turned_on() {
    let cb = isolate();
    get_circuit_breaker("isolated").force_open();
    assert!(ask(&Service::up()).await.is_ok());
    cb.enabled(true);
    assert!(matches!(ask(&Service::up()).await, Err(Failure::Open(_))));
    cb.enabled(false);
    assert!(ask(&Service::up()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn enabled_goes_before_the_attribute() {
    let cb = isolate();
    cb.force_open("isolated:always");
    assert!(matches!(always_guarded().await, Err(Failure::Open(_))));
    cb.enabled(false);
    assert!(always_guarded().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_wait_makes_every_attempt_at_once() {
    let cb = isolate();
    let (service, began) = (Service::refusing(3), Instant::now());
    assert_eq!(ask(&service).await.unwrap(), 4);
    assert_eq!(began.elapsed(), secs(180), "three waits of a minute");

    cb.no_wait();
    let (service, began) = (Service::refusing(3), Instant::now());
    assert_eq!(ask(&service).await.unwrap(), 4);
    assert_eq!(began.elapsed(), secs(0));
}

#[tokio::test(start_paused = true)]
async fn attempts_goes_before_the_attribute() {
    let cb = isolate();
    cb.no_wait();
    for attempts in [1, 2, 9] {
        cb.attempts(attempts);
        let service = Service::down();
        assert!(ask(&service).await.is_err());
        assert_eq!(service.asked(), attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn force_open_rejects_until_it_is_reset() {
    let cb = isolate();
    cb.enabled(true);
    cb.force_open("isolated");
    tokio::time::advance(secs(1_000_000)).await;
    let Err(Failure::Open(open)) = ask(&Service::up()).await else {
        panic!("it was let through");
    };
    assert_eq!(open.operation(), "isolated");
    get_circuit_breaker("isolated").reset();
    assert!(ask(&Service::up()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_guard_has_set_ends_with_it() {
    let cb = isolate();
    cb.no_wait();
    cb.attempts(1);
    assert!(ask(&Service::refusing(1)).await.is_err());
    drop(cb);

    let _cb = isolate();
    let (service, began) = (Service::refusing(3), Instant::now());
    assert_eq!(ask(&service).await.unwrap(), 4);
    assert_eq!(began.elapsed(), secs(180));
}

/// The process's environment cannot be changed in the middle of a test, so this runs itself again
/// in a process that has the variables.
#[test]
fn the_environment_is_ignored() {
    const AGAIN: &str = "BINDU_TESTS_AGAIN";
    const NAME: &str = "isolation::the_environment_is_ignored";
    if std::env::var_os(AGAIN).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(AGAIN, "1")
            .env("BINDU_CB_ENABLED", "true")
            .env("BINDU_CB_ISOLATED_ATTEMPTS", "2")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    run(async {
        {
            let cb = isolate();
            cb.no_wait();
            cb.force_open("isolated");
            assert_eq!(ask(&Service::refusing(3)).await.unwrap(), 4, "neither variable is heard");
        }
        get_circuit_breaker("isolated").force_open();
        let result = ask(&Service::up()).await;
        assert!(matches!(result, Err(Failure::Open(_))), "outside, the variables are: {result:?}");
        get_circuit_breaker("isolated").reset();
        let service = Service::down();
        assert!(ask(&service).await.is_err());
        assert_eq!(service.asked(), 2);
    });
}
