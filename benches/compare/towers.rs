//! A service under layers of tower: bindu-cb's one layer beside tower-resilience's breaker and retry.

use std::time::Duration;

use bindu_cb::tower::{OperationLayer, OperationService};
use bindu_cb::{Operation, get_circuit_breaker};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;
use tower_resilience_retry::RetryLayer;

use crate::case::{Case, Error, bare, case, down, now};
use crate::group;

const HOUR: Duration = Duration::from_hours(1);

/// A call of a service, as its contract wants it.
pub(crate) async fn tower_call<S: Service<u64, Response = u64>>(
    service: &mut S,
    n: u64,
) -> Result<u64, S::Error> {
    service.ready().await?.call(n).await
}

fn ours<S>(name: &str, inner: S) -> OperationService<S> {
    let builder = Operation::builder(name).enabled(true).attempts(3);
    let operation = builder.recovery_timeout(HOUR).max_recovery_timeout(HOUR).build();
    OperationLayer::new(operation.expect("the settings are valid")).layer(inner)
}

/// The retry inside of the breaker, as bindu-cb has it.
fn resilience<S>(
    inner: S,
) -> impl Service<u64, Response = u64, Error: Send, Future: Send> + Clone + Send + Sync
where
    S: Service<u64, Response = u64, Error = Error, Future: Send> + Clone + Send + Sync + 'static,
{
    let breaker = CircuitBreakerLayer::builder()
        .consecutive_failures(3)
        .wait_duration_in_open(HOUR)
        .build()
        .expect("the settings are valid");
    let retry = RetryLayer::<u64, u64, Error>::builder()
        .max_attempts(3)
        .exponential_backoff(Duration::from_secs(1))
        // With an error that ends at once, so that the circuit opens without waits.
        .retry_on(|_| false)
        .build();
    breaker.layer(retry.layer(inner))
}

fn each<T: Clone>(value: T) -> impl Fn() -> T + Clone {
    move || value.clone()
}

pub(crate) fn cases(named: &dyn Fn(&str) -> String) -> Vec<Case> {
    let peer = named("tower-resilience-circuitbreaker") + " around its retry";
    let open = ours("bench:tower-open", service_fn(bare));
    assert!(now(tower_call(&mut open.clone(), 1)).is_ok());
    let circuit = get_circuit_breaker("bench:tower-open");
    while let Ok(permit) = circuit.try_acquire() {
        permit.failure();
    }
    // Zero is the request that fails, so that this service opens and then rejects the others.
    let peer_open =
        resilience(service_fn(async |n| if n == 0 { down().await } else { bare(n).await }));
    assert!((0..200).all(|_| now(tower_call(&mut peer_open.clone(), 0)).is_err()));
    vec![
        case!(group::TOWER, Nobodys, "the service alone", each(service_fn(bare)), |s, n| {
            tower_call(&mut s, n)
        }),
        case!(
            group::TOWER,
            Ours,
            "OperationLayer",
            each(ours("bench:tower", service_fn(bare))),
            |s, n| { tower_call(&mut s, n) }
        ),
        case!(
            group::TOWER,
            Ours,
            "OperationLayer, another clone for each call",
            each(ours("bench:tower-clone", service_fn(bare))),
            |s, n| async { tower_call(&mut s.clone(), n).await }
        ),
        case!(
            group::TOWER,
            Nobodys,
            "the same layer, its future in a box",
            each(ours("bench:tower-boxed", service_fn(bare)).boxed_clone()),
            |s, n| { tower_call(&mut s, n) }
        ),
        case!(group::TOWER, Peers, peer.clone(), each(resilience(service_fn(bare))), |s, n| {
            tower_call(&mut s, n)
        }),
        case!(group::TOWER_OPEN, Ours, "OperationLayer", each(open), |s, n| {
            tower_call(&mut s, n)
        })
        .rejects(),
        case!(group::TOWER_OPEN, Peers, peer, each(peer_open), |s, n| tower_call(&mut s, n))
            .rejects(),
    ]
}

/// What must be true of the circuits once everything has been measured.
pub(crate) fn check() -> Result<(), String> {
    let counts = |op: &str| get_circuit_breaker(op).snapshot().calls;
    if counts("bench:tower").success == 0 || counts("bench:tower-open").rejected == 0 {
        return Err("the circuits of the layers have not counted".to_owned());
    }
    Ok(())
}
