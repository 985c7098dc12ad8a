//! The keys of the settings, with the variable and the default of each.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bindu_cb::{Operation, SettingValue, Settings, registry, testing};

use crate::snapshot::assert_unchanged;

#[test]
fn surface_of_the_settings() {
    let _registry = testing::isolate();
    let kinds = ["other", "worker", "storage", "scheduler", "api"];
    let defaults = kinds.map(|kind| (kind, effective(kind)));
    let (_, others) = &defaults[0];
    let mut lines = String::new();
    for (key, value) in others {
        let variable = format!("BINDU_CB_{}", key.to_ascii_uppercase());
        let read = Settings::default().with_variables([(&variable, value)]);
        assert!(read.is_ok(), "{variable}={value}: {read:?}");
        write!(lines, "{key} {variable}={value}").unwrap();
        for (kind, values) in defaults.iter().filter(|(_, values)| values[key] != *value) {
            write!(lines, " {kind}={}", values[key]).unwrap();
        }
        lines.push('\n');
    }
    assert_unchanged("settings.txt", &lines);
}

/// Every key and its value in an operation of this kind, of which nothing is set.
fn effective(kind: &str) -> BTreeMap<&'static str, String> {
    let _operation = Operation::builder(kind).build().unwrap();
    let circuits = registry().snapshot();
    let circuit = circuits.into_iter().find(|circuit| circuit.operation == kind).unwrap();
    let retry = circuit.functions.into_iter().flat_map(|function| function.settings);
    circuit
        .settings
        .into_iter()
        .chain(retry)
        .map(|SettingValue { key, value, .. }| (key, value))
        .collect()
}
