//! What `docs/MIGRATING.md` says of other crates, shown on them: where it no longer holds, the page
//! has to be mended. (What it says of Python's is from their sources.)

use std::io;
use std::time::Duration;

use tokio::time::Instant;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The least and the most of many draws.
fn range(draw: impl FnMut() -> Duration) -> (Duration, Duration) {
    let mut draws: Vec<_> = std::iter::repeat_with(draw).take(10_000).collect();
    draws.sort_unstable();
    (draws[0], draws[draws.len() - 1])
}

mod of_backon {
    use backon::{BackoffBuilder, ExponentialBuilder, Retryable};

    use super::*;

    #[test]
    fn jitter_comes_after_the_cap_and_is_up_to_the_whole_delay() {
        let policy = ExponentialBuilder::default().with_max_delay(secs(1)).with_jitter();
        let (least, most) = range(|| policy.build().next().unwrap());
        assert!(least >= secs(1) && least < millis(1_050), "{least:?}");
        assert!(most > millis(1_950) && most <= secs(2), "{most:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn by_default_three_retries_follow_the_first_attempt_after_1_2_and_4_seconds() {
        let (begun, mut attempts) = (Instant::now(), 0);
        let attempt = || {
            attempts += 1;
            std::future::ready(Err::<(), _>(io::ErrorKind::TimedOut))
        };
        attempt.retry(ExponentialBuilder::default()).await.unwrap_err();
        assert_eq!((attempts, begun.elapsed()), (4, secs(7)));
    }

    #[test]
    fn the_total_delay_is_of_delays_alone() {
        let policy = ExponentialBuilder::default().with_total_delay(Some(secs(3)));
        assert_eq!(policy.build().collect::<Vec<_>>(), [secs(1), secs(2)]);
    }
}

mod of_tokio_retry {
    use tokio_retry::strategy::{ExponentialBackoff, jitter};

    use super::*;

    #[test]
    fn the_waits_are_powers_of_the_milliseconds() {
        let waits: Vec<_> = ExponentialBackoff::from_millis(500).take(2).collect();
        assert_eq!(waits, [millis(500), secs(250)]);
        let waits: Vec<_> = ExponentialBackoff::from_millis(2).factor(250).take(3).collect();
        assert_eq!(waits, [millis(500), secs(1), secs(2)]);
    }

    #[test]
    fn jitter_is_from_nothing_to_the_delay() {
        let (least, most) = range(|| jitter(secs(1)));
        assert!(least < millis(50) && most > millis(950) && most <= secs(1), "{least:?} {most:?}");
    }
}

mod of_tokio_retry2 {
    use tokio_retry2::strategy::{FixedInterval, jitter};
    use tokio_retry2::{Retry, RetryError};

    use super::*;

    #[test]
    fn jitter_is_from_half_to_one_and_a_half_of_the_delay() {
        let (least, most) = range(|| jitter(secs(1)));
        assert!(least >= millis(500) && least < millis(550), "{least:?}");
        assert!(most > millis(1_450) && most <= millis(1_500), "{most:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_the_strategys_also_where_the_error_says_another() {
        let begun = Instant::now();
        let attempt = || async { Err::<(), _>(RetryError::retry_after("429", secs(60))) };
        Retry::spawn(FixedInterval::from_millis(1_000).take(1), attempt).await.unwrap_err();
        assert_eq!(begun.elapsed(), secs(1));
    }
}

mod of_failsafe {
    use failsafe::{Config, backoff, failure_policy};

    use super::*;

    #[tokio::test]
    async fn while_half_open_every_call_goes_through() {
        // Open for no time at all, so that there is nothing to wait for.
        let policy = failure_policy::consecutive_failures(1, backoff::constant(Duration::ZERO));
        let breaker = Config::new().failure_policy(policy).build();
        failsafe::CircuitBreaker::call(&breaker, || Err::<(), _>(())).unwrap_err();
        let probes: Vec<_> = (0..100)
            .map(|_| breaker.clone())
            .filter(failsafe::futures::CircuitBreaker::is_call_permitted)
            .collect();
        assert_eq!(probes.len(), 100);
    }

    #[test]
    fn the_waits_double_in_whole_seconds() {
        let waits = backoff::exponential(millis(1_900), secs(3));
        assert_eq!(waits.take(3).collect::<Vec<_>>(), [secs(1), secs(2), secs(3)]);
    }

    #[test]
    fn equal_jitter_is_of_the_upper_half_and_full_jitter_of_all() {
        let (least, most) = range(|| backoff::equal_jittered(secs(10), secs(300)).next().unwrap());
        assert_eq!((least, most), (secs(5), secs(10)));
        let (least, most) = range(|| backoff::full_jittered(secs(10), secs(300)).next().unwrap());
        assert!(least == secs(0) && most >= secs(9), "{least:?} {most:?}");
    }
}

mod of_recloser {
    use recloser::{Error, Recloser};

    use super::*;

    fn fail(breaker: &Recloser) -> Error<()> {
        breaker.call(|| Err::<(), _>(())).unwrap_err()
    }

    #[test]
    fn the_rate_is_judged_at_the_call_after_those_that_fill_the_ring() {
        let breaker = Recloser::default();
        for _ in 0..101 {
            assert!(matches!(fail(&breaker), Error::Inner(())));
        }
        assert!(matches!(fail(&breaker), Error::Rejected));
    }

    #[test]
    fn half_open_lets_all_calls_through_until_it_has_results() {
        let breaker =
            Recloser::custom().closed_len(1).half_open_len(10).open_wait(Duration::ZERO).build();
        for _ in 0..2 {
            fail(&breaker);
        }
        let probes = (0..11).filter(|_| matches!(fail(&breaker), Error::Inner(()))).count();
        assert_eq!(probes, 11);
    }
}

mod of_tower_resilience {
    use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
    use tower_resilience_circuitbreaker::CircuitBreakerLayer;
    use tower_resilience_retry::{ExponentialRandomBackoff, IntervalFunction, RetryLayer};

    use super::*;

    #[test]
    fn jitter_comes_after_the_cap() {
        let waits = ExponentialRandomBackoff::new(secs(1), 0.5).unwrap().max_interval(secs(1));
        let (least, most) = range(|| waits.next_interval(5));
        assert!(least < millis(550) && most > millis(1_450), "{least:?} {most:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_outside_of_the_breaker_tries_again_what_the_breaker_rejects() {
        let breaker = CircuitBreakerLayer::builder().consecutive_failures(1).build().unwrap();
        let retry =
            RetryLayer::<(), (), _>::builder().max_attempts(3).fixed_backoff(secs(1)).build();
        let down = service_fn(|()| std::future::ready(Err::<(), _>(io::ErrorKind::TimedOut)));
        let mut service = ServiceBuilder::new().layer(retry).layer(breaker).service(down);
        let begun = Instant::now();
        let error = service.ready().await.unwrap().call(()).await.unwrap_err();
        assert!(error.is_circuit_open());
        assert_eq!(begun.elapsed(), secs(2), "it waited twice, and was rejected twice");
    }
}
