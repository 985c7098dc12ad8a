//! C2: loops inside loops do not multiply.

use bindu_cb::testing::isolate;
use bindu_cb::{Operation, retry_with_breaker, with_circuit_breaker};
use tokio::time::sleep;

use crate::support::{Failure, Service, millis, secs};

#[retry_with_breaker(op = "outer", attempts = 3, min_wait = "1ms", max_wait = "1ms")]
async fn outer(service: &'static Service) -> Result<u32, Failure> {
    middle(service).await
}

#[retry_with_breaker(op = "middle", attempts = 3, min_wait = "1ms", max_wait = "1ms")]
async fn middle(service: &'static Service) -> Result<u32, Failure> {
    // Polled anew after a wait of its own, as real calls are.
    sleep(millis(1)).await;
    inner(service).await
}

#[retry_with_breaker(op = "inner", attempts = 3, min_wait = "1ms", max_wait = "1ms")]
async fn inner(service: &'static Service) -> Result<u32, Failure> {
    sleep(millis(1)).await;
    service.ask()
}

#[retry_with_breaker(
    op = "product",
    attempts = 3,
    min_wait = "1ms",
    max_wait = "1ms",
    nested = "multiply"
)]
async fn product_by_the_outer_one(service: &'static Service) -> Result<u32, Failure> {
    inner(service).await
}

#[retry_with_breaker(
    op = "product-inner",
    attempts = 3,
    min_wait = "1ms",
    max_wait = "1ms",
    nested = "multiply"
)]
async fn multiplying_inner(service: &'static Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(op = "around", attempts = 3, min_wait = "1ms", max_wait = "1ms")]
async fn product_by_the_inner_one(service: &'static Service) -> Result<u32, Failure> {
    multiplying_inner(service).await
}

#[retry_with_breaker(op = "spawning", attempts = 3, min_wait = "1ms", max_wait = "1ms")]
async fn spawning(service: &'static Service) -> Result<u32, Failure> {
    tokio::spawn(inner(service)).await.expect("it does not panic")
}

#[with_circuit_breaker(op = "between")]
async fn between(service: &'static Service) -> Result<u32, Failure> {
    inner(service).await
}

#[retry_with_breaker(op = "over-a-breaker", attempts = 3, min_wait = "1ms", max_wait = "1ms")]
async fn over_a_breaker(service: &'static Service) -> Result<u32, Failure> {
    between(service).await
}

#[retry_with_breaker(
    op = "timed",
    attempts = 3,
    min_wait = "1ms",
    max_wait = "1ms",
    timeout = "1h"
)]
async fn with_a_timeout(service: &'static Service) -> Result<u32, Failure> {
    inner(service).await
}

fn down() -> &'static Service {
    Box::leak(Box::new(Service::down()))
}

#[tokio::test(start_paused = true)]
async fn three_deep_a_dead_service_gets_seven_attempts_and_not_twenty_seven() {
    let _cb = isolate();
    let service = down();
    outer(service).await.unwrap_err();
    assert_eq!(service.asked(), 3 + 2 + 2);
}

#[tokio::test(start_paused = true)]
async fn either_loop_can_ask_for_the_product() {
    let _cb = isolate();
    let (by_outer, by_inner) = (down(), down());
    product_by_the_outer_one(by_outer).await.unwrap_err();
    product_by_the_inner_one(by_inner).await.unwrap_err();
    assert_eq!((by_outer.asked(), by_inner.asked()), (9, 9));
}

#[tokio::test(start_paused = true)]
async fn a_spawned_task_is_a_root_of_its_own() {
    let _cb = isolate();
    let service = down();
    spawning(service).await.unwrap_err();
    assert_eq!(service.asked(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_loop_beside_one_that_repeats_is_not_inside_it() {
    let _cb = isolate();
    let (repeated, beside) = (down(), down());
    let (first, second) = tokio::join!(outer(repeated), async {
        // Begins while the outer loop repeats its attempt.
        sleep(millis(12)).await;
        inner(beside).await
    });
    assert!(first.is_err() && second.is_err());
    assert_eq!((repeated.asked(), beside.asked()), (7, 3));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_in_between_and_a_time_limit_change_nothing() {
    let _cb = isolate();
    let (between, timed) = (down(), down());
    over_a_breaker(between).await.unwrap_err();
    with_a_timeout(timed).await.unwrap_err();
    assert_eq!((between.asked(), timed.asked()), (5, 5));
}

fn three_attempts(name: &str) -> Operation {
    let operation = Operation::builder(name).attempts(3).min_wait(millis(1));
    operation.max_wait(secs(1)).build().expect("all in range")
}

#[tokio::test(start_paused = true)]
async fn operations_for_closures_are_loops_like_any_other() {
    let _cb = isolate();
    let service = down();
    three_attempts("closure").call(|| inner(service)).await.unwrap_err();
    assert_eq!(service.asked(), 3 + 2);
}

#[tokio::test(start_paused = true)]
async fn the_mark_goes_with_the_attempt_also_by_a_panic() {
    let _cb = isolate();
    let operation = three_attempts("panics");
    // On this thread, as all tasks of this runtime.
    let task = tokio::spawn(async move {
        let mut attempts = 0;
        let call = operation.call(|| {
            attempts += 1;
            let panics = attempts == 2;
            async move {
                assert!(!panics, "the second attempt panics");
                Err::<(), _>("down")
            }
        });
        call.await
    });
    assert!(task.await.unwrap_err().is_panic());

    let service = down();
    inner(service).await.unwrap_err();
    assert_eq!(service.asked(), 3, "no loop repeats any more");
}
