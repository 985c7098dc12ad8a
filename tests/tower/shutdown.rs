//! A registry that shuts down ends the waits of layers, too, and counts none of them.

use std::error::Error;
use std::pin::Pin;

use bindu_cb::testing::{Process, isolate};
use bindu_cb::tower::BoxError;
use bindu_cb::{
    AttemptTimeoutError, CircuitBreakerOpenError, CircuitState, Count, OpenCause, OpenReason,
    OperationBuilder, Verdict, get_circuit_breaker, registry,
};
use tokio::time::{Instant, advance, sleep, timeout};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::*;

/// Why the circuit, or the registry, has stopped the call.
fn reason<T>(ended: Result<T, BoxError>) -> OpenReason {
    let stopped = ended.err().expect("it was stopped");
    let open: &CircuitBreakerOpenError = stopped.downcast_ref().expect("and not by its service");
    open.source().and_then(|cause| cause.downcast_ref::<OpenCause>()).unwrap().reason()
}

/// Successes, failures, ignored and cancelled calls.
fn outcomes(op: &str) -> [u64; 4] {
    let calls = counts(op);
    [calls.success, calls.failure, calls.ignored, calls.cancelled]
}

const CANCELLED: [u64; 4] = [0, 0, 0, 1];

fn patient(name: &str) -> OperationBuilder {
    operation(name).attempts(2).min_wait(secs(3_600)).max_wait(secs(3_600))
}

type AnyCall = Pin<Box<dyn Future<Output = Result<u32, BoxError>>>>;

/// One of every sort, each of which waits for an hour after its first attempt.
fn calls() -> Vec<(&'static str, AnyCall)> {
    let hangs = service_fn(|()| std::future::pending::<Result<u32, Refused>>());
    let throttled = |_: &Result<u32, Refused>| Verdict::Throttled(secs(3_600));
    let keyed = layer(patient("keyed")).key(|key: &String| key.into()).layer(Server::down());
    let slow = layer(patient("timeout").timeout(secs(1))).layer(hangs);
    let value = layer(patient("value")).verdict(throttled).layer(Server::up());
    let single = layer(patient("attempts").count(Count::Attempt)).layer(Server::down());
    let dry = layer(patient("dry").dry_run(true)).layer(Server::down());
    vec![
        ("plain", Box::pin(layer(patient("plain")).layer(Server::down()).oneshot(()))),
        ("off", Box::pin(layer(patient("off").enabled(false)).layer(Server::down()).oneshot(()))),
        ("keyed", Box::pin(keyed.oneshot("acme".to_owned()))),
        ("timeout", Box::pin(slow.oneshot(()))),
        ("value", Box::pin(value.oneshot(()))),
        ("attempts", Box::pin(single.oneshot(()))),
        ("dry", Box::pin(dry.oneshot(()))),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_call_that_waits_ends_at_once_and_is_not_counted() {
    let _cb = isolate();
    let begun = Instant::now();
    let shutdown = async {
        sleep(secs(10)).await;
        registry().shutdown();
    };
    let ended = async {
        let mut waiting = Vec::new();
        for (of, mut call) in calls() {
            assert!(timeout(secs(1) + millis(1), &mut call).await.is_err(), "{of}");
            waiting.push((of, call));
        }
        for (of, call) in waiting {
            assert_eq!(reason(call.await), OpenReason::Shutdown, "{of}");
        }
    };
    tokio::join!(ended, shutdown);
    assert!(begun.elapsed() <= secs(10) + millis(1), "{:?}", begun.elapsed());
    for of in ["plain", "timeout", "value", "dry"] {
        assert_eq!(outcomes(of), CANCELLED, "{of}");
    }
    assert_eq!(outcomes("off"), [0; 4]);
    assert_eq!(outcomes("attempts"), [0, 1, 0, 0], "the attempt that was told before the wait");
    let acme = registry().get_keyed("keyed", "acme").unwrap().snapshot().calls;
    assert_eq!((acme.failure, acme.cancelled), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn so_does_one_whose_service_is_not_ready() {
    for (of, builder) in [
        ("call", operation("unready")),
        ("attempt", operation("unready").count(Count::Attempt)),
        ("off", operation("unready").enabled(false)),
        ("limited", operation("unready").timeout(secs(60))),
    ] {
        let _cb = isolate();
        let (call, mut handle) = unready(builder).await;
        let began = Instant::now();
        let shutdown = async {
            sleep(secs(5)).await;
            // In the same instant, of which the shutdown is first.
            handle.allow(1);
            get_circuit_breaker("unready").force_open();
            registry().shutdown();
        };
        let (ended, ()) = tokio::join!(call, shutdown);
        assert_eq!(reason(ended), OpenReason::Shutdown, "{of}");
        assert_eq!(began.elapsed(), secs(5), "{of}");
        assert!(handle.next_request().await.is_none(), "{of}: it was not called again");
        assert_eq!(counts("unready").failure, u64::from(of == "attempt"), "{of}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_instant_in_which_a_wait_ends_it_is_heard() {
    let _cb = isolate();
    let server = Server::down();
    let shutdown = tokio::spawn(async {
        sleep(secs(3_600)).await;
        registry().shutdown();
    });
    tokio::task::yield_now().await;
    // Sleeps that end together end in the order in which they began.
    let call = tokio::spawn(layer(patient("instant")).layer(server.clone()).oneshot(()));
    assert_eq!(reason(call.await.unwrap()), OpenReason::Shutdown);
    shutdown.await.unwrap();
    assert_eq!((server.asked(), outcomes("instant")), (1, CANCELLED));
}

/// Takes a minute for an answer.
fn slow(server: Server) -> impl Service<(), Response = u32, Error = Refused> + Clone {
    service_fn(move |()| {
        let server = server.clone();
        async move {
            sleep(secs(60)).await;
            server.oneshot(()).await
        }
    })
}

#[tokio::test(start_paused = true)]
async fn an_attempt_under_way_goes_on_and_a_failed_one_is_the_last() {
    let by_value = |result: &Result<u32, Refused>| match result {
        Ok(1) | Err(_) => Verdict::Transient,
        Ok(_) => Verdict::Success,
    };
    for (builder, server, outcome) in [
        (patient("under-way"), Server::down(), CANCELLED),
        (patient("under-way").timeout(secs(30)), Server::down(), CANCELLED),
        (patient("under-way").count(Count::Attempt), Server::down(), CANCELLED),
        (patient("under-way"), Server::up(), CANCELLED),
        (patient("under-way").attempts(1), Server::down(), [0, 1, 0, 0]),
        (patient("under-way").enabled(false), Server::down(), [0; 4]),
    ] {
        let _cb = isolate();
        let call = layer(builder).verdict(by_value).layer(slow(server)).oneshot(());
        let shutdown = async {
            sleep(secs(10)).await;
            registry().shutdown();
        };
        let began = Instant::now();
        match tokio::join!(call, shutdown).0 {
            Ok(value) => assert_eq!(value, 1, "as it is"),
            Err(own) => assert!(own.is::<Refused>() || own.is::<AttemptTimeoutError>(), "{own}"),
        }
        assert!(began.elapsed() <= secs(60) + millis(1), "{:?}", began.elapsed());
        assert_eq!(outcomes("under-way"), outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn its_success_is_one() {
    let _cb = isolate();
    let call = layer(patient("success")).layer(slow(Server::up())).oneshot(());
    let (ended, ()) = tokio::join!(call, async { registry().shutdown() });
    assert_eq!((ended.unwrap(), outcomes("success")), (1, [1, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_begins_afterwards_makes_one_attempt() {
    let _cb = isolate();
    registry().shutdown();
    let server = Server::down();
    let mut service = layer(patient("afterwards")).layer(server.clone());
    let began = Instant::now();
    let own = begin(&mut service, ()).await.await.unwrap_err();
    assert_eq!((own.downcast_ref(), server.asked()), (Some(&Refused(1)), 1));
    assert_eq!((began.elapsed(), outcomes("afterwards")), (secs(0), CANCELLED));

    // Of a request that cannot be copied it would have made no more in any case.
    let single = service_fn(|()| async { Err::<(), _>(Refused(0)) });
    let service = layer(patient("single")).clone_request(|(): &()| None).layer(single);
    service.oneshot(()).await.unwrap_err();
    assert_eq!(outcomes("single"), [0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_afterwards_is_not_counted() {
    let _cb = isolate();
    let (call, _handle) = unready(operation("dropped")).await;
    registry().shutdown();
    drop(call);
    assert_eq!(outcomes("dropped"), CANCELLED);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_waits_for_its_service_gives_its_permit_back() {
    let _cb = isolate();
    let builder = operation("probe").failure_threshold(1).probe_attempts(2);
    let (mut service, mut handle) = mock(builder);
    let circuit = get_circuit_breaker("probe");
    circuit.try_acquire().unwrap().failure();
    advance(secs(30)).await;
    handle.allow(1);
    let mut call = Box::pin(begin(&mut service, "request").await);
    expect(&mut handle, "request").await.send_error("busy");
    assert!(timeout(secs(2), &mut call).await.is_err());
    assert!(circuit.try_acquire().is_err(), "there is one probe");
    registry().shutdown();
    assert_eq!(reason(in_time(call).await), OpenReason::Shutdown);
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    circuit.try_acquire().expect("the permit is free").success();
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[test]
fn no_call_on_another_thread_misses_it_nor_keeps_a_place() {
    const CALLS: usize = 4;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    for round in 0..100 {
        let process = Process::default();
        let server = Server::down();
        let mut limited = ConcurrencyLimit::new(server.clone(), 1);
        let builder = || operation("threads").attempts(u32::MAX).enabled(false);
        let calls: Vec<_> = (0..CALLS)
            .map(|_| {
                let no_waits = builder().min_wait(secs(0)).max_wait(secs(0));
                let service = process.enter(|| layer(no_waits).layer(limited.clone()));
                let process = process.clone();
                runtime.spawn(async move { process.run(service.oneshot(())).await })
            })
            .collect();
        // In the midst of attempts, waits and queues.
        while server.asked() < round {
            std::thread::yield_now();
        }
        process.enter(|| registry().shutdown());
        runtime.block_on(async {
            for call in calls {
                let ended = timeout(secs(60), call).await.expect("none goes on").unwrap();
                let error = ended.expect_err("it is down");
                assert!(is_open(&error) || error.is::<Refused>(), "{error}");
            }
            ServiceExt::<()>::ready(&mut limited).await.unwrap();
        });
    }
}
