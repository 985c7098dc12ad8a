//! What is measured of circuits that are shared.

use std::time::{Duration, Instant};

use bindu_cb::__shared::MemoryServer;
use bindu_cb::testing::Process;
use bindu_cb::{Settings, SharedSettings, get_circuit_breaker, registry};
use bindu_cb_test_servers::{Mode, Proxy, RedisServer};
use tokio::time::sleep;

use crate::support::Sdk;

const STATE: &str = "circuit_breaker.state";

fn process() -> Process {
    let process = Process::default();
    process.enter(|| {
        let mut settings = Settings::default();
        let all = settings.all().enabled(true).failure_threshold(1);
        all.recovery_timeout(Duration::from_secs(10));
        registry().configure(settings);
        get_circuit_breaker("storage");
    });
    process
}

/// The states of the fleet's circuit that are 1.
fn shared_state(sdk: &Sdk) -> Vec<String> {
    let shared = "circuit_breaker.scope=shared,circuit_breaker.state=";
    let ones = sdk.counted(STATE).into_iter().map(|(of, _)| of);
    ones.filter_map(|of| Some(of.split_once(shared)?.1.to_owned())).collect()
}

async fn settle() {
    sleep(Duration::from_millis(5)).await;
}

#[tokio::test(start_paused = true)]
async fn the_fleets_state_is_one_hot_beside_the_local_one() {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let (server, sdk) = (MemoryServer::new(), Sdk::new());
            let (here, elsewhere) = (process(), process());
            let _telemetry = here.enter(|| sdk.install());
            assert!(shared_state(&sdk).is_empty(), "it is not shared");
            tokio::task::spawn_local(here.share(&server, 1));
            tokio::task::spawn_local(elsewhere.share(&server, 1));
            settle().await;
            assert_eq!(shared_state(&sdk), ["closed"]);
            let transitions = sdk.metric("circuit_breaker.transitions");
            assert_eq!(transitions.values.len(), 6, "also those that come from elsewhere, at zero");

            elsewhere.enter(|| get_circuit_breaker("storage").try_acquire().unwrap().failure());
            settle().await;
            let scopes = ["local", "shared"];
            let open = scopes.map(|scope| {
                let name = "circuit_breaker.name=storage";
                format!("{name},circuit_breaker.scope={scope},circuit_breaker.state=open")
            });
            assert_eq!(sdk.counted(STATE), open.map(|open| (open, 1)));
            assert_eq!(sdk.metric(STATE).values.len(), 10);
            let remote = "cause=remote,circuit_breaker.name=storage,from=closed,to=open";
            assert_eq!(
                sdk.counted("circuit_breaker.transitions"),
                [(remote.to_owned(), 1)],
                "what the fleet has done to it"
            );

            // The probe of the fleet is elsewhere.
            let end = tokio::time::Instant::now() + Duration::from_secs(12);
            let probe = loop {
                assert!(tokio::time::Instant::now() < end);
                sleep(Duration::from_millis(50)).await;
                let circuit = elsewhere.enter(|| get_circuit_breaker("storage"));
                if let Ok(permit) = circuit.try_acquire() {
                    settle().await;
                    let half_open = shared_state(&sdk);
                    permit.success();
                    break half_open;
                }
            };
            assert_eq!(probe, ["half_open"]);
            settle().await;
            assert_eq!(shared_state(&sdk), ["closed"]);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn while_the_server_is_silent_nothing_is_said_of_the_fleet() {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let (server, sdk, here) = (MemoryServer::new(), Sdk::new(), process());
            let _telemetry = here.enter(|| sdk.install());
            tokio::task::spawn_local(here.share(&server, 1));
            settle().await;
            let mut seen = Vec::new();
            for is_silent in [true, false] {
                server.set_silent(is_silent);
                for _ in 0..200 {
                    sleep(Duration::from_millis(10)).await;
                    let connected = connected(&sdk);
                    if connected == Some(0) {
                        assert!(shared_state(&sdk).is_empty());
                    }
                    seen.push((connected, shared_state(&sdk)));
                }
            }
            seen.dedup();
            let closed = || vec!["closed".to_owned()];
            let (lost, back) = (seen.first(), seen.last());
            assert_eq!((lost, back), (Some(&(Some(1), closed())), Some(&(Some(1), closed()))));
            assert!(seen.contains(&(Some(0), Vec::new())));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn exchanges_with_the_server_are_timed() {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let (server, sdk) = (MemoryServer::new(), Sdk::new());
            let here = process();
            let _telemetry = here.enter(|| sdk.install());
            server.set_latency(Duration::from_millis(5));
            tokio::task::spawn_local(here.share(&server, 1));
            let exchanges = || sdk.metric("circuit_breaker.shared.sync.duration");
            let so_far = || {
                let (count, sum, _) = exchanges().durations[""].clone();
                (count, Duration::from_secs_f64(sum).as_millis(), server.commands())
            };
            sleep(Duration::from_millis(100)).await;
            let before = so_far();
            sleep(Duration::from_millis(4_800)).await;
            let after = so_far();
            assert_eq!(after.2 - before.2, 9, "a look every half second");
            assert_eq!(after.0 - before.0, 9);
            assert_eq!(after.1 - before.1, 90, "milliseconds, there and back");
            let exchanges = exchanges();
            assert_eq!((exchanges.kind, &*exchanges.unit), ("histogram", "s"));
            let (_, _, boundaries) = &exchanges.durations[""];
            assert!(boundaries.last() < Some(&1.0), "in seconds");
        })
        .await;
}

// Against a real server, in real time.

fn until(what: &str, sdk: &Sdk, condition: impl Fn(&Sdk) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition(sdk) {
        assert!(Instant::now() < deadline, "{what}: {:?}", sdk.collect());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn connected(sdk: &Sdk) -> Option<u64> {
    let connected = sdk.metric("circuit_breaker.shared.connected");
    assert_eq!(connected.unit, "", "a unit would be in Prometheus's name");
    connected.values.get("").copied()
}

fn share(process: &Process, server: &RedisServer) {
    process.enter(|| registry().share(SharedSettings::new(server.url())).unwrap());
}

#[test]
fn without_the_server_it_is_not_connected_and_nothing_is_said_of_the_fleet() {
    fn errors(sdk: &Sdk) -> u64 {
        let errors = sdk.metric("circuit_breaker.shared.errors");
        assert_eq!((errors.kind, &*errors.unit), ("counter", "{error}"));
        errors.values[""]
    }

    let (server, sdk, here) = (RedisServer::start(), Sdk::new(), process());
    let _telemetry = here.enter(|| sdk.install());
    assert_eq!(connected(&sdk), None, "it is not shared");
    share(&here, &server);
    until("connected", &sdk, |sdk| connected(sdk) == Some(1) && shared_state(sdk) == ["closed"]);

    server.kill();
    until("disconnected", &sdk, |sdk| connected(sdk) == Some(0));
    assert!(shared_state(&sdk).is_empty());
    assert_eq!(sdk.counted(STATE).len(), 1, "the local one goes on");
    until("errors", &sdk, |sdk| errors(sdk) > 0);

    server.restart();
    until("back", &sdk, |sdk| connected(sdk) == Some(1) && shared_state(sdk) == ["closed"]);
    let before = errors(&sdk);
    share(&here, &server);
    assert!(errors(&sdk) >= before, "another supervisor does not begin at zero");
    here.enter(|| registry().unshare());
    assert_eq!(connected(&sdk), None);
    assert!(errors(&sdk) >= before, "who is told of deltas is not told of them again");
}

#[test]
fn the_delay_of_a_change_is_by_the_servers_clock_alone() {
    const LATE: Duration = Duration::from_millis(100);
    const ROUNDS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let begun = Instant::now();
    // An hour ahead.
    let server = RedisServer::options().with_faketime(3_600).start();
    let proxy = Proxy::to(server.port());
    let (sdk, here, elsewhere) = (Sdk::new(), process(), process());
    let _telemetry = here.enter(|| sdk.install());
    let delays = || sdk.metric("circuit_breaker.shared.propagation.delay");
    let url = server.url_at(proxy.port());
    here.enter(|| registry().share(SharedSettings::new(url)).unwrap());
    share(&elsewhere, &server);
    for process in [&here, &elsewhere] {
        process.enter(|| ROUNDS.map(get_circuit_breaker));
    }
    let fleets = |sdk: &Sdk, name: &str, state: &str| {
        let name = format!("circuit_breaker.name={name}");
        let state = format!("circuit_breaker.state={state}");
        sdk.metric(STATE).sum(&[&name, "circuit_breaker.scope=shared", &state]) == 1
    };
    until("connected", &sdk, |sdk| ROUNDS.iter().all(|name| fleets(sdk, name, "closed")));
    assert!(delays().durations.is_empty(), "nothing has changed");

    // If an answer comes before the change it is as late as that, and then nobody can tell: on a
    // machine that is busy it takes several rounds.
    let is_seen = ROUNDS.iter().any(|name| {
        proxy.set(Mode::Pass);
        // The server is asked for its clock.
        std::thread::sleep(Duration::from_millis(700));
        proxy.set(Mode::Delay(LATE));
        elsewhere.enter(|| get_circuit_breaker(name).try_acquire().unwrap().failure());
        until("open", &sdk, |sdk| fleets(sdk, name, "open"));
        let delays = delays();
        assert_eq!((delays.kind, &*delays.unit), ("histogram", "s"));
        let (count, sum, boundaries) = &delays.durations[&format!("circuit_breaker.name={name}")];
        let most = begun.elapsed().as_secs_f64();
        assert!(*count >= 1 && (0.0..=most).contains(sum), "{count} in {sum} of {most} s");
        assert!(boundaries.first() < Some(&0.01), "in seconds");
        *sum > LATE.as_secs_f64() / 2.0
    });
    assert!(is_seen, "{:?}", delays());
}
