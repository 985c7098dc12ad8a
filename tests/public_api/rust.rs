//! The items of both crates, as rustdoc lists them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use public_api::Builder;

use crate::snapshot::assert_unchanged;

/// The version of rustdoc's JSON that `public-api` reads. rustc 1.95, the `rust-version` of the
/// crates, writes it.
const FORMAT: u64 = 57;

#[test]
fn surface_of_bindu_cb() {
    assert_unchanged("bindu-cb.txt", &items("bindu-cb", &[]));
}

#[test]
fn surface_of_bindu_cb_with_all_features() {
    assert_unchanged("bindu-cb.all-features.txt", &items("bindu-cb", &["--all-features"]));
}

#[test]
fn surface_of_bindu_cb_macros() {
    assert_unchanged("bindu-cb-macros.txt", &items("bindu-cb-macros", &[]));
}

/// Traits that only the compiler names.
const UNSTABLE: [&str; 3] =
    ["core::marker::Freeze", "core::marker::StructuralPartialEq", "core::marker::UnsafeUnpin"];

/// The public items of a crate, one a line. What is `#[doc(hidden)]` is not among them.
fn items(package: &str, features: &[&str]) -> String {
    // The crate with other features is documented in the same place.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let json = rustdoc(package, features);
    assert_format(&json);
    let api = Builder::from_rustdoc_json(&json)
        .omit_blanket_impls(true)
        .build()
        .unwrap_or_else(|error| panic!("{}: {error}", json.display()));
    let lines = api.items().map(|item| format!("{item}\n"));
    lines.filter(|line| !UNSTABLE.iter().any(|name| line.contains(name))).collect()
}

/// Documents the crate and says where the JSON is.
fn rustdoc(package: &str, features: &[&str]) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("public-api");
    let name = package.replace('-', "_");
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["rustdoc", "--locked", "--quiet", "--lib", "-p", package])
        .args(features)
        .arg("--target-dir")
        .arg(&target)
        .args(["--", "-Z", "unstable-options", "--output-format", "json"])
        // Of this crate alone: all others are built as they always are.
        .env("RUSTC_BOOTSTRAP", &name)
        .env_remove("RUSTDOCFLAGS")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo rustdoc -p {package}: {stderr}");
    target.join("doc").join(format!("{name}.json"))
}

#[track_caller]
fn assert_format(json: &Path) {
    let json: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(
        json["format_version"], FORMAT,
        "this rustdoc writes another version of its JSON than that of Rust 1.95, which \
         `public-api` reads here: run this test with Rust 1.95, as in \
         `cargo +1.95 test --all-features surface_`. When the `rust-version` of the crates is \
         raised, take the `public-api` of that version, and its number here",
    );
}
