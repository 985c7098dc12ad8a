//! Histories of permits: taken, given back late or never, while time passes and settings change.

use std::time::Duration;

use bindu_cb::get_circuit_breaker;
use bindu_cb::testing::isolate;
use proptest::prelude::*;

use crate::pair::{OP, Pair, Step, by_hand, configure, end, install, settings};
use crate::{histories, play};

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![
        (0..3_000_000_u64).prop_map(Duration::from_nanos),
        (1..60_u64).prop_map(Duration::from_millis),
        (60..500_u64).prop_map(Duration::from_millis),
    ];
    prop_oneof![
        20 => Just(Step::Start),
        20 => (any::<usize>(), end()).prop_map(|(which, end)| Step::End(which, end)),
        20 => (end(), 1..30_u8).prop_map(|(end, times)| Step::Calls(end, times)),
        20 => wait.prop_map(Step::Wait),
        5 => (0..2_u64).prop_map(|nanos| Step::WaitUntilDue(Duration::from_nanos(nanos))),
        1 => by_hand(),
        5 => configure(),
    ]
}

proptest! {
    #![proptest_config(histories(70))]

    #[test]
    fn the_circuit_does_what_the_rules_say_at_every_step(
        settings in settings(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        play(async {
            let _cb = isolate();
            install(&settings);
            let circuit = get_circuit_breaker(OP);
            let mut pair = Pair::new(&circuit, settings);
            for step in steps {
                pair.take(step).await?;
            }
            Ok(())
        })?;
    }
}
