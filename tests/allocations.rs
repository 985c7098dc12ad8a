//! B9: a guarded call that succeeds allocates nothing, nor does one that is rejected; and the future
//! of a guarded function is little larger than the function's own.
//!
//! A binary of its own, because the allocator that counts is that of the whole process.

#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::io;

use bindu_cb::{
    CallError, CircuitBreaker, CircuitBreakerOpenError, CircuitBreakerSettings, CircuitState,
    Operation, get_circuit_breaker, registry, retry_with_breaker, with_circuit_breaker,
};
use tokio::task::yield_now;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// What this thread holds, more or less: others may give back what it has allocated.
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

/// Counts by thread, so that tests may run side by side.
struct Counting;

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size().cast_signed());
        // SAFETY: the caller's promises are those that are asked of us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        hold(new_size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        hold(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

fn count() {
    // While the thread ends there is nothing left to count for.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

fn hold(bytes: isize) {
    let _ = BYTES.try_with(|held| held.set(held.get() + bytes));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often a hundred calls allocate, after the first.
async fn allocations<Fut: Future>(mut call: impl FnMut() -> Fut) -> u64 {
    call().await;
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        call().await;
    }
    ALLOCATIONS.get() - before
}

#[tokio::test]
async fn allocations_are_seen_where_there_are_any() {
    let seen = allocations(async || drop(std::hint::black_box(Box::new(1)))).await;
    assert_eq!(seen, 100);
}

#[retry_with_breaker(op = "allocations:loop", enabled = true)]
async fn with_a_loop(n: u32) -> io::Result<u32> {
    yield_now().await;
    Ok(n)
}

#[retry_with_breaker(op = "allocations:off", enabled = false)]
async fn switched_off(n: u32) -> io::Result<u32> {
    yield_now().await;
    Ok(n)
}

#[with_circuit_breaker(op = "allocations:once", enabled = true)]
async fn without_a_loop(n: u32) -> io::Result<u32> {
    yield_now().await;
    Ok(n)
}

#[retry_with_breaker(op = "allocations:timeout", enabled = true, timeout = "1s")]
async fn with_a_timeout(n: u32) -> io::Result<u32> {
    yield_now().await;
    Ok(n)
}

#[retry_with_breaker(
    op = "allocations:hooks", enabled = true, deadline = "1s", fail_if = |n| *n == 0,
    retry_if = |_| true, retry_after = |_| None, on_open = |_| Ok(0)
)]
async fn with_every_hook(n: u32) -> io::Result<u32> {
    yield_now().await;
    Ok(n)
}

#[tokio::test]
async fn a_success_allocates_nothing_after_the_first_call() {
    assert_eq!(allocations(async || with_a_loop(1).await.unwrap()).await, 0);
    assert_eq!(allocations(async || switched_off(1).await.unwrap()).await, 0);
    assert_eq!(allocations(async || without_a_loop(1).await.unwrap()).await, 0);
    assert_eq!(allocations(async || with_a_timeout(1).await.unwrap()).await, 0);
    assert_eq!(allocations(async || with_every_hook(1).await.unwrap()).await, 0);
    assert_eq!(get_circuit_breaker("allocations:loop").snapshot().calls.success, 101);
    assert_eq!(get_circuit_breaker("allocations:off").snapshot().calls.success, 0);
}

#[retry_with_breaker(op = "allocations:class", enabled = true, class = |_| "any")]
async fn with_classes(n: u32) -> Result<u32, CircuitBreakerOpenError> {
    yield_now().await;
    Ok(n)
}

#[retry_with_breaker(
    op = "allocations:class", enabled = true, class = |_| "any", attempts = 1, failure_threshold = 2
)]
async fn fails() -> io::Result<u32> {
    Err(io::ErrorKind::TimedOut.into())
}

#[tokio::test(start_paused = true)]
async fn nor_does_one_whose_errors_have_classes_while_all_are_at_rest() {
    assert!(fails().await.is_err());
    with_classes(1).await.unwrap();
    assert_eq!(allocations(async || with_classes(1).await.unwrap()).await, 0);
    let class = get_circuit_breaker("allocations:class/any");
    assert_eq!(class.snapshot().calls.success, 1, "the others were not told to it");

    assert!(fails().await.is_err());
    assert!(fails().await.is_err());
    assert_eq!(class.state(), CircuitState::Open);
    assert_eq!(allocations(async || assert!(with_classes(1).await.is_err())).await, 0);
}

#[tokio::test]
async fn a_success_without_an_attribute_allocates_nothing_either() {
    let circuit = CircuitBreaker::new("allocations", CircuitBreakerSettings::default());
    assert_eq!(allocations(async || circuit.try_acquire().unwrap().success()).await, 0);
    assert_eq!(
        allocations(async || circuit.call(async || io::Result::Ok(1)).await.unwrap()).await,
        0
    );

    let operation = Operation::builder("allocations:operation").enabled(true).build().unwrap();
    let call = async || operation.call(async || io::Result::Ok(1)).await.unwrap();
    assert_eq!(allocations(call).await, 0);
    assert_eq!(operation.circuit_breaker().snapshot().calls.success, 101);
}

#[retry_with_breaker(op = "allocations:rejected", enabled = true)]
async fn rejected() -> Result<u32, CircuitBreakerOpenError> {
    Ok(1)
}

#[with_circuit_breaker(op = "allocations:rejected", enabled = true)]
async fn rejected_without_a_loop() -> Result<u32, CircuitBreakerOpenError> {
    Ok(1)
}

#[retry_with_breaker(op = "allocations:rejected", enabled = true, on_open = |_| Ok(0))]
async fn falls_back() -> Result<u32, io::Error> {
    Ok(1)
}

/// A hundred rejections of each way to call.
async fn allocations_of_rejections(circuit: &CircuitBreaker) -> u64 {
    allocations(async || {
        assert!(circuit.try_acquire().is_err());
        let call = circuit.call(async || io::Result::Ok(1)).await;
        assert!(matches!(call, Err(CallError::Open(_))));
        assert!(rejected().await.is_err());
        assert!(rejected_without_a_loop().await.is_err());
        assert!(matches!(falls_back().await, Ok(0)));
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_rejection_allocates_nothing() {
    let circuit = get_circuit_breaker("allocations:rejected");
    while let Ok(permit) = circuit.try_acquire() {
        permit.failure();
    }
    assert_eq!(allocations_of_rejections(&circuit).await, 0);
    assert_eq!(circuit.state(), CircuitState::Open);

    tokio::time::advance(std::time::Duration::from_secs(30)).await;
    let probe = circuit.try_acquire().unwrap();
    assert_eq!(allocations_of_rejections(&circuit).await, 0);
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    probe.ignore();

    circuit.force_open();
    assert_eq!(allocations_of_rejections(&circuit).await, 0);
}

#[retry_with_breaker(op = "allocations:keyed", enabled = true, key = tenant)]
async fn keyed(tenant: &str) -> io::Result<()> {
    yield_now().await;
    assert!(!tenant.is_empty());
    Ok(())
}

#[with_circuit_breaker(
    op = "allocations:keyed-number", enabled = true, key = format_args!("host-{tenant}")
)]
async fn keyed_by_number(tenant: u64) -> Result<(), CircuitBreakerOpenError> {
    yield_now().await;
    Ok(())
}

#[tokio::test]
async fn a_call_of_a_known_key_allocates_nothing() {
    let long = "long.".repeat(100);
    for tenant in ["acme", "another.example", &long] {
        assert_eq!(allocations(async || keyed(tenant).await.unwrap()).await, 0);
    }
    assert_eq!(allocations(async || keyed_by_number(u64::MAX).await.unwrap()).await, 0);
    let acme = registry().get_keyed("allocations:keyed", "acme").unwrap();
    assert_eq!(acme.snapshot().calls.success, 101);

    let number =
        registry().get_keyed("allocations:keyed-number", format_args!("host-{}", u64::MAX));
    number.unwrap().force_open();
    assert_eq!(allocations(async || keyed_by_number(u64::MAX).await.unwrap_err()).await, 0);
}

/// All there is: the circuit, its key, its place in the table of the operation and what the calling
/// thread remembers.
#[tokio::test]
async fn a_key_costs_less_than_512_bytes() {
    let operation = Operation::builder("allocations:keys").enabled(true).build().unwrap();
    let call = async |n: u32| {
        let tenant = format!("tenant-{n:05}.example");
        operation.keyed(tenant).call(async || io::Result::Ok(())).await.unwrap();
    };
    call(0).await;
    for keys in [1_000, 10_000] {
        let before = BYTES.get();
        for n in 1..keys {
            call(n).await;
        }
        let held = BYTES.get() - before;
        let there = registry().iter().filter(|circuit| circuit.name() == "allocations:keys");
        let there = there.count().min(1_025) - 1;
        if keys == 1_000 {
            assert_eq!(there, 1_000);
            let each = held / 999;
            println!("{each} bytes a key");
            assert!((1..512).contains(&each), "{each} bytes a key");
        } else {
            assert_eq!(there, 1_024);
            // What was evicted is gone: no more than the other 24, and what threads remember.
            println!("{held} bytes more after ten times as many");
            assert!(held < 24 * 512 + 160 * 1_024, "{held}");
        }
    }
}

/// By how many bytes the attribute enlarges the future of a function.
macro_rules! growth {
    ([$attribute:meta] ($($arg:ident: $ty:ty = $value:expr),*) -> $ret:ty $body:block) => {{
        async fn bare($($arg: $ty),*) -> $ret $body

        #[$attribute]
        async fn guarded($($arg: $ty),*) -> $ret $body

        size_of_val(&guarded($($value),*)).saturating_sub(size_of_val(&bare($($value),*)))
    }};
}

fn never<T>(_: &T) -> bool {
    false
}

/// The growth of functions of several shapes under one attribute.
macro_rules! growths {
    ([$attribute:meta]) => {[
        growth!([$attribute] () -> io::Result<()> { Ok(()) }),
        growth!([$attribute] (n: u32 = 1, text: &str = "") -> io::Result<u32> {
            yield_now().await;
            Ok(n + u32::from(text.is_empty()))
        }),
        growth!([$attribute] (buffer: &mut [u8] = &mut []) -> io::Result<usize> {
            let mut large = [0_u8; 4_096];
            yield_now().await;
            large[0] = 1;
            yield_now().await;
            Ok(large.iter().chain(&*buffer).filter(|byte| **byte == 1).count())
        }),
        growth!([$attribute] (large: [u64; 64] = [1; 64]) -> io::Result<u64> {
            yield_now().await;
            Ok(large.iter().sum())
        }),
        growth!([$attribute] (n: usize = 1) -> io::Result<[u64; 64]> {
            yield_now().await;
            Ok([n as u64; 64])
        }),
    ]};
}

#[tokio::test]
async fn the_future_of_a_guarded_function_is_at_most_256_bytes_larger() {
    for (attribute, growths) in [
        ("a loop", growths!([retry_with_breaker(op = "sizes")])),
        ("no loop", growths!([with_circuit_breaker(op = "sizes")])),
        (
            "hooks",
            growths!([retry_with_breaker(
                op = "sizes",
                retry_if = |_| true,
                fail_if = never,
                on_open = |open| Err(open.into())
            )]),
        ),
        ("classes", growths!([retry_with_breaker(op = "sizes", class = |_| "any")])),
    ] {
        assert!(growths.iter().all(|growth| *growth <= 256), "{attribute}: {growths:?}");
    }
}

#[tokio::test]
async fn the_future_is_at_most_256_bytes_larger_with_a_timeout_too() {
    let growths = growths!([retry_with_breaker(op = "sizes", timeout = "1s")]);
    assert!(growths.iter().all(|growth| *growth <= 256), "{growths:?}");
    let growths = growths!([with_circuit_breaker(op = "sizes", timeout = "1s")]);
    assert!(growths.iter().all(|growth| *growth <= 256), "{growths:?}");
}
