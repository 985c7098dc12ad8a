//! What a strict crate denies and forbids does not fire on the expansion.

#![deny(warnings, missing_docs, rust_2018_idioms, unused, future_incompatible, let_underscore)]
#![deny(unused_results, unused_qualifications, unused_lifetimes, single_use_lifetimes)]
#![deny(
    missing_debug_implementations,
    trivial_casts,
    unreachable_pub,
    absolute_paths_not_starting_with_crate
)]
#![forbid(
    unsafe_code,
    unreachable_code,
    unused_must_use,
    unused_mut,
    unused_variables,
    unused_braces
)]
#![forbid(unused_parens, unused_imports, dead_code, unused_assignments, non_upper_case_globals)]
#![deny(clippy::all, clippy::pedantic)]

use std::io;

use bindu_cb::{retry_storage_operation, retry_with_breaker, with_circuit_breaker};

#[derive(Debug)]
struct Store {
    rows: Vec<u32>,
}

impl Store {
    #[retry_storage_operation]
    async fn save(&mut self, row: u32) -> io::Result<()> {
        self.rows.push(row);
        tokio::task::yield_now().await;
        Ok(())
    }

    #[retry_storage_operation(timeout = "5s", clone(name), on_open = |_| Ok(name.len()))]
    async fn name(&self, name: String, mut n: usize) -> io::Result<usize> {
        tokio::task::yield_now().await;
        n += self.rows.len();
        Ok(name.len() + n)
    }

    #[with_circuit_breaker(on_open = async |_| Ok(0), fail_if = |n| *n == 0)]
    async fn len(self) -> io::Result<usize> {
        tokio::task::yield_now().await;
        Ok(self.rows.len())
    }
}

#[retry_with_breaker(op = "lints", retry_if = is_transient, timeout = 5, class = class)]
async fn expression(_unused: u32) -> io::Result<u32> {
    other().await
}

#[with_circuit_breaker(timeout = 5, class = class, fail_if = |n| *n == 0)]
async fn other() -> io::Result<u32> {
    tokio::task::yield_now().await;
    Ok(1)
}

#[retry_with_breaker(op = "lints")]
async fn backed_off(n: u32) -> Result<u32, backoff::Error<io::Error>> {
    tokio::task::yield_now().await;
    Ok(n)
}

fn is_transient(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

fn class(error: &io::Error) -> &'static str {
    if is_transient(error) { "timeout" } else { "" }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut store = Store { rows: Vec::new() };
    store.save(1).await?;
    assert_eq!(store.name("ab".into(), 1).await?, 4);
    assert_eq!(store.len().await?, 1);
    assert_eq!(expression(0).await?, 1);
    assert!(matches!(backed_off(1).await, Ok(1)));
    Ok(())
}
