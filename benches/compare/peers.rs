//! What else a Rust user could take, each called as its documentation says and set as near to
//! bindu-cb's defaults as it can be.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use circuitbreaker_rs::DefaultPolicy;
use failsafe::futures::CircuitBreaker as _;
use failsafe::{StateMachine, failure_policy};
use recloser::{AsyncRecloser, Recloser};
use tokio_retry2::strategy::{ExponentialFactorBackoff, jitter};
use tokio_retry2::{MapErr, Retry};
use tower::{Layer, service_fn};
use tower_resilience_circuitbreaker::{
    CircuitBreakerConfigBuilder, CircuitBreakerLayer, DefaultClassifier, SlidingWindowType,
};

use crate::case::{Case, Error, bare, case, down, footprint, now};
use crate::group;
use crate::towers::tower_call;

const HOUR: Duration = Duration::from_hours(1);
const WINDOW: Duration = Duration::from_secs(30);

/// What has no row, and why: printed under the table.
pub(crate) const LEFT_OUT: &[&str] = &[
    "recloser has no consecutive counting: its rows are those of its ring of 100 results.",
    "circuitbreaker-rs counts consecutive failures and a rate since its start; it has no window of \
     calls, and nothing feeds the window of its TimeBasedPolicy.",
    "tower-resilience's count window evicts nothing, and its time window keeps every call and walks \
     over them at each: measured on a fresh circuit, the mean of its first 500 calls.",
    "backon is without jitter, as in its documentation, but where its row says otherwise.",
    "No peer can be switched off; nobreak, recloser, failsafe and circuitbreaker-rs know no slow \
     calls.",
];

type Circuitbreaker = circuitbreaker_rs::CircuitBreaker<DefaultPolicy, Error>;

fn nobreak() -> nobreak::CircuitBreaker {
    nobreak::builder().with_failure_threshold(3).with_open_duration(HOUR).build()
}

fn recloser() -> AsyncRecloser {
    Recloser::custom().error_rate(0.5).closed_len(100).open_wait(HOUR).build().into()
}

fn failsafe_consecutive() -> StateMachine<impl failsafe::FailurePolicy + Send + Sync, ()> {
    let policy = failure_policy::consecutive_failures(3, failsafe::backoff::constant(HOUR));
    failsafe::Config::new().failure_policy(policy).build()
}

fn failsafe_time() -> StateMachine<impl failsafe::FailurePolicy + Send + Sync, ()> {
    let backoff = failsafe::backoff::constant(HOUR);
    let policy = failure_policy::success_rate_over_time_window(0.5, 10, WINDOW, backoff);
    failsafe::Config::new().failure_policy(policy).build()
}

fn circuitbreaker() -> Circuitbreaker {
    Circuitbreaker::builder().consecutive_failures(3).cooldown(HOUR).build()
}

type Builder = CircuitBreakerConfigBuilder<DefaultClassifier>;

fn tower_layer(settings: impl FnOnce(Builder) -> Builder) -> CircuitBreakerLayer {
    let builder = CircuitBreakerLayer::builder().wait_duration_in_open(HOUR);
    settings(builder).build().expect("the settings are valid")
}

fn tower_calls(builder: Builder) -> Builder {
    builder.sliding_window_size(100).minimum_number_of_calls(10)
}

fn tower_time(builder: Builder) -> Builder {
    builder
        .sliding_window_type(SlidingWindowType::TimeBased)
        .sliding_window_duration(WINDOW)
        .minimum_number_of_calls(10)
}

fn tower_slow(builder: Builder) -> Builder {
    builder.slow_call_duration_threshold(Duration::from_secs(1))
}

/// More failures than any of them needs to open.
fn open<E>(mut fail: impl FnMut() -> Result<u64, E>) {
    assert!((0..200).all(|_| fail().is_err()));
}

fn share<T>(value: T) -> impl Fn() -> Arc<T> + Clone {
    let value = Arc::new(value);
    move || Arc::clone(&value)
}

fn each<T: Clone>(value: T) -> impl Fn() -> T + Clone {
    move || value.clone()
}

pub(crate) fn cases(named: &dyn Fn(&str) -> String) -> Vec<Case> {
    [closed(named), rejecting(named), windows(named), retries(named)]
        .into_iter()
        .flatten()
        .collect()
}

fn closed(named: &dyn Fn(&str) -> String) -> Vec<Case> {
    let tower = || tower_layer(|builder| builder.consecutive_failures(3)).layer(service_fn(bare));
    vec![
        case!(group::CLOSED, Peers, named("nobreak"), share(nobreak()), |s, n| {
            s.call_async(|| bare(n))
        })
        .circuit(footprint(
            |_| nobreak(),
            |s| {
                let _ = (now(s.call_async(|| bare(1))), now(s.call_async(down)));
            },
        )),
        case!(group::CLOSED, Peers, named("recloser"), each(recloser()), |s, n| s.call(bare(n)))
            .circuit(bytes_of_recloser()),
        case!(group::CLOSED, Peers, named("failsafe"), each(failsafe_consecutive()), |s, n| {
            s.call(bare(n))
        })
        .circuit(footprint(
            |_| failsafe_consecutive(),
            |s| {
                let _ = (now(s.call(bare(1))), now(s.call(down())));
            },
        )),
        case!(group::CLOSED, Peers, named("circuitbreaker-rs"), each(circuitbreaker()), |s, n| {
            s.call_async(|| bare(n))
        })
        .circuit(footprint(
            |_| circuitbreaker(),
            |s| {
                let _ = (now(s.call_async(|| bare(1))), now(s.call_async(down)));
            },
        )),
        case!(
            group::CLOSED,
            Peers,
            named("tower-resilience-circuitbreaker"),
            each(tower()),
            |s, n| { tower_call(&mut s, n) }
        )
        .circuit(footprint(
            |_| tower(),
            |s| {
                let _ = now(tower_call(&mut s.clone(), 1));
            },
        )),
    ]
}

fn bytes_of_recloser() -> i64 {
    footprint(
        |_| recloser(),
        |s| {
            let _ = (now(s.call(bare(1))), now(s.call(down())));
        },
    )
}

fn rejecting(named: &dyn Fn(&str) -> String) -> Vec<Case> {
    let nobreak = nobreak();
    open(|| now(nobreak.call_async(down)));
    let recloser = recloser();
    open(|| now(recloser.call(down())));
    let failsafe = failsafe_consecutive();
    open(|| now(failsafe.call(down())));
    let circuitbreaker = circuitbreaker();
    open(|| now(circuitbreaker.call_async(down)));
    // Zero is the request that fails, so that this service opens and then rejects the others.
    let layer = tower_layer(|builder| builder.consecutive_failures(3));
    let tower =
        layer.layer(service_fn(async |n| if n == 0 { down().await } else { bare(n).await }));
    open(|| now(tower_call(&mut tower.clone(), 0)));
    vec![
        case!(group::OPEN, Peers, named("nobreak"), share(nobreak), |s, n| {
            s.call_async(|| bare(n))
        })
        .rejects(),
        case!(group::OPEN, Peers, named("recloser"), each(recloser), |s, n| s.call(bare(n)))
            .rejects(),
        case!(group::OPEN, Peers, named("failsafe"), each(failsafe), |s, n| s.call(bare(n)))
            .rejects(),
        case!(group::OPEN, Peers, named("circuitbreaker-rs"), each(circuitbreaker), |s, n| {
            s.call_async(|| bare(n))
        })
        .rejects(),
        case!(group::OPEN, Peers, named("tower-resilience-circuitbreaker"), each(tower), |s, n| {
            tower_call(&mut s, n)
        })
        .rejects(),
    ]
}

fn windows(named: &dyn Fn(&str) -> String) -> Vec<Case> {
    let tower =
        |settings: fn(Builder) -> Builder| move || tower_layer(settings).layer(service_fn(bare));
    let calls = tower(tower_calls);
    let (time, time_slow) = (tower(tower_time), tower(|b| tower_slow(tower_time(b))));
    let calls_slow = tower(|builder| tower_slow(tower_calls(builder)));
    let name = named("tower-resilience-circuitbreaker");
    vec![
        case!(group::CALLS, Peers, named("recloser"), each(recloser()), |s, n| s.call(bare(n)))
            .circuit(bytes_of_recloser()),
        case!(group::CALLS, Peers, name.clone(), each(calls()), |s, n| tower_call(&mut s, n))
            .circuit(footprint(
                |_| calls(),
                |s| {
                    let _ = now(tower_call(&mut s.clone(), 1));
                },
            )),
        case!(group::TIME, Peers, named("failsafe"), each(failsafe_time()), |s, n| {
            s.call(bare(n))
        })
        .circuit(footprint(
            |_| failsafe_time(),
            |s| {
                let _ = (now(s.call(bare(1))), now(s.call(down())));
            },
        )),
        case!(group::TIME, Peers, name.clone(), time, |s, n| tower_call(&mut s, n)).most_calls(500),
        case!(group::CALLS_SLOW, Peers, name.clone(), each(calls_slow()), |s, n| {
            tower_call(&mut s, n)
        }),
        case!(group::TIME_SLOW, Peers, name, time_slow, |s, n| tower_call(&mut s, n))
            .most_calls(500),
    ]
}

// The waits are never reached; they are those of bindu-cb's defaults, made for each call as the
// documentation of each shows it.

fn backon_schedule() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_secs(1))
        .with_max_delay(Duration::from_secs(10))
        .with_max_times(2)
}

fn retry2_schedule() -> impl Iterator<Item = Duration> {
    let seconds = ExponentialFactorBackoff::from_millis(1_000, 2.0).max_delay_millis(10_000);
    seconds.map(jitter).take(2)
}

fn backoff_schedule() -> backoff::ExponentialBackoff {
    backoff::ExponentialBackoff {
        initial_interval: Duration::from_secs(1),
        max_interval: Duration::from_secs(10),
        ..backoff::ExponentialBackoff::default()
    }
}

fn retries(named: &dyn Fn(&str) -> String) -> Vec<Case> {
    vec![
        case!(group::RETRY, Peers, named("backon"), || (), |s, n| {
            (|| bare(n)).retry(backon_schedule())
        }),
        case!(group::RETRY, Peers, named("backon") + ", with_jitter", || (), |s, n| {
            (|| bare(n)).retry(backon_schedule().with_jitter())
        }),
        case!(group::RETRY, Peers, named("tokio-retry2"), || (), |s, n| {
            Retry::spawn(retry2_schedule(), async || bare(n).await.map_transient_err())
        }),
        case!(group::RETRY, Peers, named("backoff"), || (), |s, n| {
            backoff::future::retry(backoff_schedule(), || async {
                bare(n).await.map_err(backoff::Error::transient)
            })
        }),
        case!(group::BOTH, Peers, "recloser around backon", each(recloser()), |s, n| {
            s.call((|| bare(n)).retry(backon_schedule()).into_future())
        }),
        case!(group::BOTH, Peers, "nobreak around backon", share(nobreak()), |s, n| {
            s.call_async(|| (|| bare(n)).retry(backon_schedule()).into_future())
        }),
    ]
}
