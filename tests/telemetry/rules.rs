//! The alerts of the documentation, by Prometheus's own tool.

use bindu_cb_test_servers::promtool;

fn file(name: &str) -> String {
    format!("{}/../docs/telemetry/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_alerts_are_rules_of_prometheus() {
    let told = promtool(&["check", "rules", &file("alerts.yml")]).unwrap();
    assert!(told.contains("SUCCESS: 4 rules found"), "{told}");
}

#[test]
fn the_alerts_fire_when_they_should_and_not_before() {
    promtool(&["test", "rules", &file("alerts_test.yml")]).unwrap();
}
