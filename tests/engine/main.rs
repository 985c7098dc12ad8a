//! The engine against the rules of sections 7 and 8 written plainly, over random histories.
//!
//! `BINDU_CB_TEST_HISTORIES` sets how many in all; the default is what every run can afford.

mod concurrent;
mod loops;
mod pair;
mod permits;
mod reference;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::{RngAlgorithm, TestCaseError};

/// So many parts in a hundred of all the histories.
fn histories(percent: u32) -> ProptestConfig {
    let wanted = std::env::var("BINDU_CB_TEST_HISTORIES").ok();
    let all: u32 = wanted
        .map_or(20_000, |wanted| wanted.parse().expect("BINDU_CB_TEST_HISTORIES is a number"));
    // Numbers that are good enough, at a fraction of what ChaCha takes without optimization.
    let rng_algorithm = RngAlgorithm::XorShift;
    ProptestConfig {
        cases: all.div_ceil(100) * percent,
        rng_algorithm,
        ..ProptestConfig::default()
    }
}

/// Runs one history under a clock of its own.
fn play(history: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime with nothing but a clock")
        .block_on(history)
}
