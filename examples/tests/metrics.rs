//! The example `metrics`, collected from by a real Prometheus while its service is killed and restored,
//! and its circuits are shared through a real Redis that is killed, too.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bindu_cb::{Fleet, SharedSettings};
use bindu_cb_test_servers::{PrometheusServer, RedisServer, http};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

/// The running example.
struct Example {
    child: Child,
    port: u16,
}

impl Example {
    fn start(redis: &RedisServer) -> Self {
        let mut path = std::env::current_exe().unwrap();
        path.pop();
        path.set_file_name("examples");
        path.push("metrics");
        assert!(path.exists(), "cargo test -p bindu-cb-examples builds {}", path.display());
        let mut child = Command::new(path)
            .args(["--address", "127.0.0.1:0", "--quiet"])
            .env("BINDU_CB_SHARED_URL", redis.url())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim_end().strip_prefix("http://127.0.0.1:").expect("it prints its URL");
        let port = port.strip_suffix("/metrics").unwrap().parse().unwrap();
        Self { child, port }
    }

    /// The status of the answer.
    fn post(&self, path: &str) -> u16 {
        http("POST", self.port, path).unwrap().0
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a query gives now: the labels without those that all have in common, and the value.
fn ask(prometheus: &PrometheusServer, query: &str) -> BTreeMap<String, String> {
    let answer: Value = serde_json::from_str(&prometheus.query(query)).unwrap();
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    let result = answer["data"]["result"].as_array().unwrap();
    let value = |of: &Value| of["value"][1].as_str().unwrap().to_owned();
    result.iter().map(|of| (labels(of), value(of))).collect()
}

fn labels(of: &Value) -> String {
    const COMMON: [&str; 6] =
        ["__name__", "instance", "job", "otel_scope_name", "circuit_breaker_name", "scope"];
    let labels = of["metric"].as_object().unwrap().iter();
    let labels = labels.filter(|(name, _)| !COMMON.contains(&name.as_str()));
    labels.map(|(_, value)| value.as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// Waits until a query gives this, whatever it has given before.
#[track_caller]
fn expect(prometheus: &PrometheusServer, query: &str, expected: &[(&str, &str)]) {
    let text = |(labels, value): &(&str, &str)| ((*labels).to_owned(), (*value).to_owned());
    let expected: BTreeMap<_, _> = expected.iter().map(text).collect();
    until(prometheus, query, |now| *now == expected);
}

#[track_caller]
fn until(
    prometheus: &PrometheusServer,
    query: &str,
    condition: impl Fn(&BTreeMap<String, String>) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = ask(prometheus, query);
        if condition(&now) {
            return;
        }
        assert!(Instant::now() < deadline, "{query}: {now:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn documentation(file: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/telemetry");
    folder.canonicalize().unwrap().join(file)
}

const SAVE: &str = r#"circuit_breaker_name="storage:save""#;

#[test]
fn prometheus_sees_an_outage_as_it_was() {
    let redis = RedisServer::start();
    let example = Example::start(&redis);
    let prometheus = PrometheusServer::start(example.port, &documentation("alerts.yml"));

    let begun = an_outage(&example, &prometheus);
    one_hot(&prometheus, begun);
    an_order_to_the_fleet(&redis, &prometheus);
    dashboard(&prometheus);
    rules(&prometheus);

    redis.kill();
    expect(&prometheus, "circuit_breaker_shared_connected", &[("", "0")]);
    expect(&prometheus, r#"count(circuit_breaker_state{circuit_breaker_scope="shared"})"#, &[]);
    let local = r#"count(circuit_breaker_state{circuit_breaker_scope="local"})"#;
    expect(&prometheus, local, &[("", "10")]);
    expect(&prometheus, "circuit_breaker_shared_errors_total > bool 0", &[("", "1")]);
}

/// Makes calls while the service is there, gone, and there again. Returns when that began.
fn an_outage(example: &Example, prometheus: &PrometheusServer) -> f64 {
    // By their answers.
    let mut saved: BTreeMap<u16, u64> = BTreeMap::new();
    let mut save = || {
        let status = example.post("/save");
        *saved.entry(status).or_default() += 1;
        status
    };
    // As the fleet sees it once the server of the shared circuits was asked.
    let states = format!("circuit_breaker_state{{{SAVE}}} == 1");
    assert_eq!([0; 5].map(|_| save()), [200; 5]);
    expect(prometheus, &states, &[("local closed", "1"), ("shared closed", "1")]);
    expect(prometheus, "circuit_breaker_shared_connected", &[("", "1")]);
    let begun = now();
    // What was before is to be seen at a step of the range, which has one every 200 ms.
    std::thread::sleep(Duration::from_millis(500));

    assert_eq!(example.post("/service/kill"), 200);
    assert_eq!([0; 3].map(|_| save()), [502; 3], "both attempts fail");
    assert_eq!([0; 4].map(|_| save()), [503; 4], "it is open");
    expect(prometheus, &states, &[("local open", "1"), ("shared open", "1")]);
    for _ in 0..8 {
        assert_eq!(example.post("/quote"), 502);
    }
    let mut answered = |what: u16| {
        let deadline = Instant::now() + PATIENCE;
        while save() != what {
            assert!(Instant::now() < deadline, "no {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    answered(502);
    assert_eq!(example.post("/service/restore"), 200);
    answered(200);
    expect(prometheus, &states, &[("local closed", "1"), ("shared closed", "1")]);

    let count = |status: u16| saved[&status].to_string();
    let (success, failure, rejected) = (count(200), count(502), count(503));
    assert_eq!((&*success, &*failure), ("6", "4"), "the last of each was a probe");
    let calls = [
        ("cancelled", "0"),
        ("failure", &*failure),
        ("ignored", "0"),
        ("rejected", &*rejected),
        ("stale", "0"),
        ("success", &*success),
    ];
    expect(prometheus, &format!("circuit_breaker_calls_total{{{SAVE}}}"), &calls);
    let transitions = [
        ("local closed open", "1"),
        ("local open half_open", "2"),
        ("probe half_open closed", "1"),
        ("probe half_open open", "1"),
    ];
    expect(prometheus, &format!("circuit_breaker_transitions_total{{{SAVE}}} > 0"), &transitions);
    let probes = [("failure", "1"), ("success", "1")];
    expect(prometheus, &format!("circuit_breaker_probes_total{{{SAVE}}} > 0"), &probes);
    let retries = format!("circuit_breaker_retries_total{{{SAVE}}} > 0");
    expect(prometheus, &retries, &[("error", "3")]);
    let refused = "circuit_breaker_retries_refused_total > bool 0";
    expect(prometheus, refused, &[("", "1")]);
    let attempts = format!("circuit_breaker_attempt_duration_seconds_count{{{SAVE}}}");
    expect(prometheus, &attempts, &[("failure", "7"), ("success", "6")]);
    // So is what is after.
    std::thread::sleep(Duration::from_millis(500));
    begun
}

/// At all times since then exactly one of a circuit's states was 1, and those of the outage are there in
/// their order.
fn one_hot(prometheus: &PrometheusServer, begun: f64) {
    let range = |query: &str| {
        let answer = prometheus.query_range(query, begun, now());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    };
    let sums =
        range("sum by (circuit_breaker_name, circuit_breaker_scope) (circuit_breaker_state)");
    assert_eq!(sums.len(), 4, "two circuits, here and in the fleet: {sums:?}");
    for of in &sums {
        let values = of["values"].as_array().unwrap();
        assert!(values.iter().all(|value| value[1] == "1"), "{of}");
    }
    let local = format!(r#"circuit_breaker_state{{{SAVE}, circuit_breaker_scope="local"}} == 1"#);
    let mut states: Vec<(f64, String)> = Vec::new();
    for of in range(&local) {
        let times = of["values"].as_array().unwrap().iter().map(|value| value[0].as_f64().unwrap());
        states.extend(times.map(|time| (time, labels(&of))));
    }
    states.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(states.len() > 10, "{states:?}");
    let mut states: Vec<_> = states.into_iter().map(|(_, state)| state).collect();
    // It is that for a few milliseconds: mostly nobody looks.
    states.retain(|state| state != "local half_open");
    states.dedup();
    assert_eq!(states, ["local closed", "local open", "local closed"]);
}

/// Somebody forces a circuit open for all replicas, and lets it go again.
fn an_order_to_the_fleet(redis: &RedisServer, prometheus: &PrometheusServer) {
    const QUOTE: &str = r#"circuit_breaker_name="api:quote""#;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let settings = SharedSettings::new(redis.url());
        let fleet = Fleet::connect(&settings).await.unwrap();
        fleet.force_open("api:quote", "tester", "a test").await.unwrap();
        let states = format!("circuit_breaker_state{{{QUOTE}}} == 1");
        expect(prometheus, &states, &[("local forced_open", "1"), ("shared forced_open", "1")]);
        fleet.reset("api:quote", "tester", "a test").await.unwrap();
        expect(prometheus, &states, &[("local closed", "1"), ("shared closed", "1")]);
    });
    let remote = format!(r#"circuit_breaker_transitions_total{{{QUOTE}, cause="remote"}} > 0"#);
    let transitions = [("remote closed forced_open", "1"), ("remote forced_open closed", "1")];
    expect(prometheus, &remote, &transitions);
    let delay = format!("circuit_breaker_shared_propagation_delay_seconds_count{{{QUOTE}}}");
    expect(prometheus, &delay, &[("", "2")]);
}

/// Every query of the dashboard has an answer.
fn dashboard(prometheus: &PrometheusServer) {
    let text = fs::read_to_string(documentation("grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(queries.len() >= 12, "{queries:?}");
    for query in queries {
        // What Grafana puts in their place.
        let query = query
            .replace("$__rate_interval", "1m")
            .replace("$__range", "1h")
            .replace("$job", "tested")
            .replace("$operation", ".*");
        assert!(!query.contains('$'), "{query}");
        until(prometheus, &query, |answer| {
            !answer.is_empty() && answer.values().all(|value| value != "NaN")
        });
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let query = |name: &str| {
        let variable = variables.iter().find(|of| of["name"] == name).unwrap();
        variable["query"]["query"].as_str().unwrap()
    };
    assert_eq!(query("job"), "label_values(circuit_breaker_state, job)");
    let operations = r#"label_values(circuit_breaker_state{job=~"$job"}, circuit_breaker_name)"#;
    assert_eq!(query("operation"), operations);
}

/// Prometheus evaluates the alerts of the documentation without an error.
fn rules(prometheus: &PrometheusServer) {
    let rules: Value = serde_json::from_str(&prometheus.rules()).unwrap();
    let groups = rules["data"]["groups"].as_array().unwrap();
    let rules: Vec<_> = groups.iter().flat_map(|of| of["rules"].as_array().unwrap()).collect();
    assert_eq!(rules.len(), 4);
    assert!(rules.iter().all(|rule| rule["health"] == "ok"), "{rules:?}");
}
