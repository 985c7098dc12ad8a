//! L2: a loop that waits between two attempts learns at once when its circuit opens.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake};
use std::thread;

use bindu_cb::testing::isolate;
use bindu_cb::{
    CircuitBreaker, CircuitState, Operation, RetrySettings, Settings, execute_with_retry,
    get_circuit_breaker, registry, retry_with_breaker,
};
use tokio::time::{Instant, advance, sleep};

use crate::support::{Failure, Service, begin, millis, secs, trip, trip_and_wait};

#[retry_with_breaker(op = "loop", attempts = 2, min_wait = "1h", max_wait = "1h")]
async fn waits_an_hour(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(
    op = "loop", attempts = 2, min_wait = "1h", max_wait = "1h", on_open = |_| Ok(1_000)
)]
async fn waits_an_hour_or_falls_back(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(
    op = "loop",
    attempts = 2,
    min_wait = "1h",
    max_wait = "1h",
    count = "attempt"
)]
async fn counts_attempts(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

#[retry_with_breaker(
    op = "probes",
    attempts = 2,
    min_wait = "1h",
    max_wait = "1h",
    probe_attempts = 2,
    probe_timeout = "20s",
    half_open_permits = 2
)]
async fn probes(service: &Service) -> Result<u32, Failure> {
    service.ask()
}

/// A call of [`waits_an_hour`] and how often the service was asked.
async fn one_call() -> (Result<u32, Failure>, u32) {
    let service = Service::refusing(1);
    let result = waits_an_hour(&service).await;
    (result, service.asked())
}

#[tokio::test(start_paused = true)]
async fn when_somebody_else_trips_the_circuit() {
    let cb = isolate();
    cb.enabled(true);
    let waiting = begin(one_call()).await;
    trip(&get_circuit_breaker("loop"));
    let (result, asked) = waiting.ends_at_once().await;
    let Err(Failure::Open(open)) = result else { panic!("{result:?}") };
    assert_eq!(open.operation(), "loop");
    assert!(open.retry_after() > secs(29) && open.retry_after() <= secs(33), "{open:?}");
    assert_eq!(asked, 1, "there was no second attempt");
    assert_eq!(get_circuit_breaker("loop").snapshot().calls.stale, 1, "the loop's own failure");
}

#[tokio::test(start_paused = true)]
async fn when_it_is_forced_open() {
    let cb = isolate();
    cb.enabled(true);
    let waiting = begin(one_call()).await;
    get_circuit_breaker("loop").force_open();
    let (result, asked) = waiting.ends_at_once().await;
    assert!(matches!(result, Err(Failure::Open(_))), "{result:?}");
    assert_eq!(asked, 1);
}

#[tokio::test(start_paused = true)]
async fn when_another_thread_trips_it() {
    let cb = isolate();
    cb.enabled(true);
    let waiting = begin(one_call()).await;
    let circuit = get_circuit_breaker("loop");
    std::thread::spawn(move || trip(&circuit)).join().unwrap();
    assert!(matches!(waiting.ends_at_once().await.0, Err(Failure::Open(_))));
}

#[tokio::test(start_paused = true)]
async fn it_returns_through_on_open() {
    let cb = isolate();
    cb.enabled(true);
    let waiting =
        begin(async { waits_an_hour_or_falls_back(&Service::down()).await.unwrap() }).await;
    trip(&get_circuit_breaker("loop"));
    assert_eq!(waiting.ends_at_once().await, 1_000);
}

#[tokio::test(start_paused = true)]
async fn loops_without_an_attribute_hear_it_alike() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("loop");
    let refused = || async { Service::down().ask() };
    let builder = Operation::builder("loop").min_wait(secs(3_600)).max_wait(secs(3_600));
    let operation = builder.build().unwrap();
    let waiting = begin(async move { operation.call(refused).await }).await;
    trip(&circuit);
    assert!(matches!(waiting.ends_at_once().await, Err(bindu_cb::CallError::Open(_))));

    circuit.reset();
    let an_hour = RetrySettings::default().min_wait(secs(3_600)).max_wait(secs(3_600));
    let waiting = begin(execute_with_retry("loop", an_hour, refused)).await;
    trip(&circuit);
    assert!(matches!(waiting.ends_at_once().await, Err(bindu_cb::CallError::Open(_))));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_loops_hear_it_in_the_same_instant() {
    let cb = isolate();
    cb.enabled(true);
    let loops: Vec<_> = (0..1_000).map(|_| tokio::spawn(one_call())).collect();
    sleep(secs(10)).await;
    trip(&get_circuit_breaker("loop"));
    let began = Instant::now();
    for task in loops {
        let (result, asked) = task.await.unwrap();
        assert!(matches!(result, Err(Failure::Open(_))), "{result:?}");
        assert_eq!(asked, 1);
    }
    assert!(began.elapsed() <= millis(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_loop_whose_own_failure_trips_does_not_wait_when_attempts_count() {
    let cb = isolate();
    cb.enabled(true);
    let began = Instant::now();
    let circuit = get_circuit_breaker("loop");
    circuit.try_acquire().unwrap().failure();
    circuit.try_acquire().unwrap().failure();
    let service = Service::down();
    let result = counts_attempts(&service).await;
    assert!(matches!(result, Err(Failure::Open(_))), "{result:?}");
    assert_eq!(service.asked(), 1);
    assert!(began.elapsed() <= millis(1));
}

#[tokio::test(start_paused = true)]
async fn other_loops_hear_it_when_attempts_count() {
    let cb = isolate();
    cb.enabled(true);
    let waiting = begin(async { counts_attempts(&Service::refusing(1)).await }).await;
    trip(&get_circuit_breaker("loop"));
    assert!(matches!(waiting.ends_at_once().await, Err(Failure::Open(_))));
}

#[tokio::test(start_paused = true)]
async fn a_trip_in_the_instant_in_which_the_wait_ends_is_heard() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = get_circuit_breaker("loop");
    // Sleeps that end together end in the order in which they began.
    let tripper = tokio::spawn(async move {
        sleep(secs(3_600)).await;
        trip(&circuit);
    });
    tokio::task::yield_now().await;
    let (result, asked) = tokio::spawn(one_call()).await.unwrap();
    tripper.await.unwrap();
    assert!(matches!(result, Err(Failure::Open(_))), "{result:?}");
    assert_eq!(asked, 1);
}

#[tokio::test(start_paused = true)]
async fn neither_closing_nor_forcing_closed_stops_it() {
    let cb = isolate();
    cb.enabled(true);
    for change in [CircuitBreaker::reset, CircuitBreaker::force_closed] {
        let mut waiting = begin(one_call()).await;
        change(&get_circuit_breaker("loop"));
        waiting.go_on(secs(10)).await;
        assert!(!waiting.has_ended());
        assert_eq!(waiting.ends_in_its_own_time().await.0.unwrap(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_has_outlived_a_reset_still_hears_a_trip() {
    let cb = isolate();
    cb.enabled(true);
    let mut waiting = begin(one_call()).await;
    let circuit = get_circuit_breaker("loop");
    circuit.reset();
    waiting.go_on(secs(10)).await;
    trip(&circuit);
    assert!(matches!(waiting.ends_at_once().await.0, Err(Failure::Open(_))));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_stops_nobody() {
    let cb = isolate();
    cb.enabled(true);
    let mut settings = Settings::default();
    settings.all().enabled(true).dry_run(true);
    registry().configure(settings);
    let mut waiting = begin(one_call()).await;
    let circuit = get_circuit_breaker("loop");
    for _ in 0..3 {
        circuit.try_acquire().unwrap().failure();
    }
    assert_eq!(circuit.state(), CircuitState::Open);
    waiting.go_on(secs(10)).await;
    assert!(!waiting.has_ended());
    assert_eq!(waiting.ends_in_its_own_time().await.0.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_does_not_trip_stops_nobody() {
    let cb = isolate();
    cb.enabled(true);
    let mut waiting = begin(one_call()).await;
    get_circuit_breaker("loop").try_acquire().unwrap().failure();
    waiting.go_on(secs(10)).await;
    assert!(!waiting.has_ended());
    assert_eq!(waiting.ends_in_its_own_time().await.0.unwrap(), 2);
}

/// The circuit of [`probes`], about to let two probes through.
async fn before_probes() -> Arc<CircuitBreaker> {
    assert!(probes(&Service::up()).await.is_ok(), "this also gives the circuit its settings");
    let circuit = get_circuit_breaker("probes");
    trip_and_wait(&circuit).await;
    circuit
}

async fn one_probe() -> Result<u32, Failure> {
    probes(&Service::refusing(1)).await
}

#[tokio::test(start_paused = true)]
async fn a_waiting_probe_whose_time_is_up_ends_whether_or_not_somebody_wants_its_permit() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = before_probes().await;
    let began = Instant::now();
    let result = one_probe().await;
    assert!(matches!(result, Err(Failure::Open(_))), "{result:?}");
    let took = began.elapsed();
    assert!(took >= secs(20) && took <= secs(20) + millis(1), "{took:?}");
    assert_eq!(circuit.state(), CircuitState::HalfOpen, "it was no probe any more");
    circuit.try_acquire().unwrap().success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_wait_ends_with_its_time_makes_no_further_attempt() {
    #[retry_with_breaker(
        op = "probes",
        attempts = 2,
        min_wait = "20s",
        max_wait = "20s",
        probe_attempts = 2,
        probe_timeout = "20s"
    )]
    async fn waits_as_long_as_it_may(service: &Service) -> Result<u32, Failure> {
        service.ask()
    }
    let cb = isolate();
    cb.enabled(true);
    before_probes().await;
    let service = Service::refusing(1);
    let result = waits_as_long_as_it_may(&service).await;
    assert!(matches!(result, Err(Failure::Open(_))), "{result:?}");
    assert_eq!(service.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_probe_hears_that_another_has_re_opened_the_circuit() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = before_probes().await;
    let waiting = begin(one_probe()).await;
    circuit.try_acquire().unwrap().failure();
    assert!(matches!(waiting.ends_at_once().await, Err(Failure::Open(_))));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_probe_goes_on_when_another_has_closed_the_circuit() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = before_probes().await;
    let mut waiting = begin(one_probe()).await;
    circuit.try_acquire().unwrap().success();
    waiting.go_on(secs(60)).await;
    assert!(!waiting.has_ended(), "it has no lease that could end");
    assert_eq!(waiting.ends_in_its_own_time().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_probe_of_an_earlier_opening_is_none_of_the_next() {
    let cb = isolate();
    cb.enabled(true);
    let circuit = before_probes().await;
    let waiting = begin(one_probe()).await;
    circuit.try_acquire().unwrap().failure();
    // Without letting it run in between, so that it wakes up to a half-open circuit.
    advance(secs(30)).await;
    let _next = circuit.try_acquire().unwrap();
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    assert!(matches!(waiting.ends_at_once().await, Err(Failure::Open(_))));
}

/// An executor's waker is foreign code, which may want to know of the circuit what there is.
struct LooksAtTheCircuit {
    circuit: Arc<CircuitBreaker>,
    woken: AtomicU32,
}

impl Wake for LooksAtTheCircuit {
    fn wake(self: Arc<Self>) {
        assert_eq!(self.circuit.snapshot().operation, self.circuit.name());
        self.woken.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets the call wait between two attempts, does this to the circuit, and returns what the call
/// then says. Its waker must have been woken.
async fn woken_by<T>(
    circuit: Arc<CircuitBreaker>,
    call: impl Future<Output = T>,
    change: impl AsyncFnOnce(&CircuitBreaker),
) -> Poll<T> {
    let waker = Arc::new(LooksAtTheCircuit { circuit, woken: AtomicU32::new(0) });
    let task = Arc::clone(&waker).into();
    let mut call = pin!(call);
    assert!(call.as_mut().poll(&mut Context::from_waker(&task)).is_pending());
    change(&waker.circuit).await;
    assert_eq!(waker.woken.load(Ordering::Relaxed), 1);
    call.poll(&mut Context::from_waker(&task))
}

/// On a thread of its own: a deadlock fails the test and does not hang it.
fn without_deadlock(test: impl AsyncFnOnce() + Send + 'static) {
    let (ends, has_ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let cb = isolate();
            cb.enabled(true);
            test().await;
        });
        ends.send(()).unwrap();
    });
    match has_ended.recv_timeout(secs(20)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("a waker cannot look at the circuit"),
        _ => thread.join().unwrap(),
    }
}

#[test]
fn those_who_trip_the_circuit_wake_its_loops_without_its_lock() {
    for trip in [trip, CircuitBreaker::force_open] {
        without_deadlock(async move || {
            let circuit = get_circuit_breaker("loop");
            let said = woken_by(circuit, one_call(), async |c| trip(c)).await;
            assert!(matches!(said, Poll::Ready((Err(Failure::Open(_)), 1))));
        });
    }
}

#[test]
fn a_probe_that_re_opens_wakes_the_other_one_without_the_lock() {
    without_deadlock(async || {
        let said = woken_by(before_probes().await, one_probe(), async |circuit| {
            circuit.try_acquire().unwrap().failure();
        });
        assert!(matches!(said.await, Poll::Ready(Err(Failure::Open(_)))));
    });
}

#[test]
fn a_probe_that_takes_a_permit_back_wakes_the_others_without_the_lock() {
    without_deadlock(async || {
        let circuit = before_probes().await;
        let hangs = Arc::clone(&circuit);
        let _hung = hangs.try_acquire().unwrap();
        advance(secs(10)).await;
        let said = woken_by(circuit, one_probe(), async |circuit| {
            advance(secs(10)).await;
            drop(circuit.try_acquire().unwrap());
        });
        assert!(said.await.is_pending(), "it was not its own permit");
    });
}
