//! B6: a call that is dropped after an attempt of it had failed is a failure. Were it not, callers
//! with time limits of their own would never open the circuit of a service that is down.

use std::future::pending;

use bindu_cb::testing::isolate;
use bindu_cb::{
    CircuitState, Operation, RetrySettings, execute_with_retry, get_circuit_breaker,
    retry_storage_operation, retry_with_breaker,
};
use tokio::time::timeout;

use crate::support::{Failure, Service, millis, secs, trip_and_wait};

#[retry_storage_operation(op = "storage")]
async fn save(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(op = "storage", min_wait = "1s", max_wait = "1s")]
async fn fails_and_then_hangs(service: &Service) -> Result<u32, Failure> {
    match service.ask() {
        Ok(_) => pending().await,
        refused => refused,
    }
}

/// Failures, cancelled calls and stale ones of the circuit `storage`.
fn outcomes() -> (u64, u64, u64) {
    let calls = get_circuit_breaker("storage").snapshot().calls;
    (calls.failure, calls.cancelled, calls.stale)
}

#[tokio::test(start_paused = true)]
async fn a_callers_own_time_limit_does_not_keep_the_circuit_from_opening() {
    let cb = isolate();
    cb.enabled(true);
    let service = Service::down();
    for _ in 0..3 {
        assert!(timeout(secs(3), save(&service)).await.is_err(), "it was still retrying");
    }
    assert_eq!(get_circuit_breaker("storage").state(), CircuitState::Open);

    let asked = service.asked();
    let rejected = timeout(secs(3), save(&service)).await;
    assert!(matches!(rejected, Ok(Err(Failure::Open(_)))), "{rejected:?}");
    assert_eq!(service.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn dropped_while_it_waits_it_is_one_failure() {
    let cb = isolate();
    cb.enabled(true);
    assert!(timeout(millis(100), save(&Service::down())).await.is_err());
    assert_eq!(outcomes(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn dropped_after_several_failed_attempts_it_is_one_failure() {
    let cb = isolate();
    cb.enabled(true);
    let service = Service::down();
    assert!(timeout(secs(3), save(&service)).await.is_err());
    assert!(service.asked() > 1);
    assert_eq!(outcomes(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn dropped_during_a_later_attempt_it_is_a_failure() {
    let cb = isolate();
    cb.enabled(true);
    let service = Service::refusing(1);
    assert!(timeout(secs(3), fails_and_then_hangs(&service)).await.is_err());
    assert_eq!((service.asked(), outcomes()), (2, (1, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn dropped_during_the_first_attempt_it_is_cancelled() {
    let cb = isolate();
    cb.enabled(true);
    assert!(timeout(secs(3), fails_and_then_hangs(&Service::up())).await.is_err());
    assert_eq!(outcomes(), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_aborted_task_is_no_exception() {
    let cb = isolate();
    cb.enabled(true);
    let task = tokio::spawn(async { save(&Service::down()).await });
    tokio::task::yield_now().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(outcomes(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_timed_out_attempt_has_failed() {
    #[retry_with_breaker(op = "storage", timeout = "1s")]
    async fn hangs() -> Result<(), Failure> {
        pending().await
    }
    let cb = isolate();
    cb.enabled(true);
    assert!(timeout(millis(400), hangs()).await.is_err());
    assert_eq!(outcomes(), (0, 1, 0), "the first attempt still had time");
    assert!(timeout(millis(1_500), hangs()).await.is_err());
    assert_eq!(outcomes(), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_a_failure_has_failed() {
    #[retry_with_breaker(op = "storage", fail_if = |status| *status == 503)]
    async fn request() -> Result<u16, Failure> {
        Ok(503)
    }
    let cb = isolate();
    cb.enabled(true);
    assert!(timeout(millis(400), request()).await.is_err());
    assert_eq!(outcomes(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_retried_but_not_recorded_has_not_failed() {
    #[retry_with_breaker(op = "storage", record_if = |_| false)]
    async fn unrecorded() -> Result<u32, Failure> {
        Service::down().ask()
    }
    let cb = isolate();
    cb.enabled(true);
    assert!(timeout(millis(400), unrecorded()).await.is_err());
    assert_eq!(outcomes(), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn attempts_that_are_counted_singly_have_been_told_already() {
    #[retry_with_breaker(op = "storage", count = "attempt", min_wait = "1s", max_wait = "1s")]
    async fn counted(service: &Service) -> Result<u32, Failure> {
        match service.ask() {
            Ok(_) => pending().await,
            refused => refused,
        }
    }
    let cb = isolate();
    cb.enabled(true);
    assert!(timeout(millis(400), counted(&Service::down())).await.is_err());
    assert_eq!(outcomes(), (1, 0, 0), "while it waits it has no permit");
    assert!(timeout(millis(1_500), counted(&Service::refusing(1))).await.is_err());
    assert_eq!(outcomes(), (2, 1, 0), "the attempt under way is one of its own");
}

#[tokio::test(start_paused = true)]
async fn a_probe_re_opens_the_circuit() {
    #[retry_with_breaker(op = "storage", probe_attempts = 2)]
    async fn probe(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }
    let cb = isolate();
    cb.enabled(true);
    assert!(probe(&Service::up()).await.is_ok());
    let circuit = get_circuit_breaker("storage");
    trip_and_wait(&circuit).await;
    assert!(timeout(millis(400), probe(&Service::down())).await.is_err());
    let snapshot = circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.reopens), (CircuitState::Open, 1));
}

#[tokio::test(start_paused = true)]
async fn after_a_change_of_state_it_is_stale_all_the_same() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("storage");
    let service = Service::down();
    let call = timeout(secs(3), save(&service));
    let reset = async {
        tokio::time::sleep(secs(1)).await;
        circuit.reset();
    };
    assert!(tokio::join!(call, reset).0.is_err());
    assert_eq!(outcomes(), (0, 0, 1));
    assert_eq!(circuit.snapshot().consecutive_failures, 0);
}

#[tokio::test(start_paused = true)]
async fn it_holds_without_an_attribute() {
    let cb = isolate();
    cb.enabled(true);
    let operation = Operation::builder("storage").build().unwrap();
    let refused = || async { Service::down().ask() };
    assert!(timeout(millis(400), operation.call(refused)).await.is_err());
    let executed = execute_with_retry("storage", RetrySettings::default(), refused);
    assert!(timeout(millis(400), executed).await.is_err());
    assert_eq!(outcomes(), (2, 0, 0));
}
