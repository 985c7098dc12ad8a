//! Circuits of keys: not in the metrics, but for what is their operation's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bindu_cb::telemetry::Telemetry;
use bindu_cb::testing::Process;
use bindu_cb::{Operation, registry};

use crate::support::Sdk;

fn operation(max_keys: u32) -> Operation {
    let builder = Operation::builder("api:fetch").enabled(true).attempts(1);
    builder.failure_threshold(1).max_keys(max_keys).build().unwrap()
}

async fn call(operation: &Operation, key: &str, fails: bool) {
    let outcome = if fails { Err("down") } else { Ok(()) };
    let _ = operation.keyed(key).call(|| async { outcome }).await;
}

fn calls(sdk: &Sdk, outcome: &str) -> u64 {
    let calls = sdk.metric("circuit_breaker.calls");
    assert!(calls.values.keys().all(|of| !of.contains("key")));
    calls.values[&format!("circuit_breaker.name=api:fetch,circuit_breaker.outcome={outcome}")]
}

#[tokio::test(start_paused = true)]
async fn their_calls_are_their_operations() {
    let _cb = bindu_cb::testing::isolate();
    let (sdk, fetch) = (Sdk::new(), operation(100));
    let _telemetry = sdk.install();
    call(&fetch, "good", false).await;
    call(&fetch, "bad", true).await;
    call(&fetch, "bad", false).await;
    fetch.call(|| async { Ok::<_, &str>(()) }).await.unwrap();
    assert_eq!(["success", "failure", "rejected"].map(|of| calls(&sdk, of)), [2, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_has_been_forgotten_stays_counted() {
    let _cb = bindu_cb::testing::isolate();
    let (sdk, fetch) = (Sdk::new(), operation(4));
    let _telemetry = sdk.install();
    let mut before = 0;
    for n in 0..100 {
        call(&fetch, &format!("key {n}"), false).await;
        let now = calls(&sdk, "success");
        assert!(now > before, "{n}: {before} to {now}");
        before = now;
    }
    assert_eq!(before, 100);
    assert!(registry().iter().count() <= 5, "most have been forgotten");

    // While a call is under way, and after it.
    call(&fetch, "removed", false).await;
    let held = fetch.keyed("removed");
    let under_way = held.call(|| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, &str>(())
    });
    let remove = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(registry().remove("api:fetch", "removed"));
        assert_eq!(calls(&sdk, "success"), 101);
    };
    assert!(tokio::join!(under_way, remove).0.is_ok());
    assert_eq!(calls(&sdk, "success"), 102);
    drop(held);
    assert_eq!(calls(&sdk, "success"), 102);
    call(&fetch, "removed", false).await;
    assert_eq!(calls(&sdk, "success"), 103);
}

#[test]
fn nothing_is_lost_or_counted_twice_while_keys_come_and_go() {
    const THREADS: usize = 3;
    const CALLS: usize = 2_000;
    let (sdk, process) = (Sdk::new(), Process::default());
    let (_telemetry, fetch) = process.enter(|| (sdk.install(), operation(4)));
    let left = AtomicUsize::new(THREADS);
    let seen = std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (fetch, left, process) = (&fetch, &left, &process);
            scope.spawn(move || {
                process.enter(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    for n in 0..CALLS {
                        let key = format!("key {}", n % 8);
                        runtime.block_on(call(fetch, &key, false));
                        if (n + thread) % 5 == 0 {
                            registry().remove("api:fetch", &key);
                        }
                    }
                });
                left.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let mut seen = Vec::new();
        while left.load(Ordering::Relaxed) > 0 {
            seen.push(calls(&sdk, "success"));
        }
        seen
    });
    assert!(seen.is_sorted(), "it has fallen: {seen:?}");
    assert_eq!(calls(&sdk, "success"), (THREADS * CALLS) as u64);
}

#[tokio::test(start_paused = true)]
async fn their_states_are_there_if_asked_for() {
    let _cb = bindu_cb::testing::isolate();
    let (without, with, fetch) = (Sdk::new(), Sdk::new(), operation(100));
    let _without = without.install();
    let _with = with.install_with(Telemetry::builder().keys(true));
    call(&fetch, "bad", true).await;
    call(&fetch, "good", false).await;
    let ones: Vec<_> =
        with.counted("circuit_breaker.state").into_iter().map(|(of, _)| of).collect();
    let (name, scope) = ("circuit_breaker.name=api:fetch", "circuit_breaker.scope=local");
    assert_eq!(
        ones,
        [
            format!("circuit_breaker.key=bad,{name},{scope},circuit_breaker.state=open"),
            format!("circuit_breaker.key=good,{name},{scope},circuit_breaker.state=closed"),
            format!("{name},{scope},circuit_breaker.state=closed"),
        ]
    );
    let own = format!("{name},{scope},circuit_breaker.state=closed");
    assert_eq!(without.counted("circuit_breaker.state"), [(own, 1)]);
    assert_eq!(without.metric("circuit_breaker.transitions").sum(&[]), 0, "the key's, not its");
}
