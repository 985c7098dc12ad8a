//! tmp
use bindu_cb_examples::storm::*;
fn main() {
    let scenario = Scenario::new(10_000, 10, 1);
    let only = std::env::args().nth(1);
    for policy in POLICIES.iter().filter(|p| only.as_ref().is_none_or(|o| o==p.name)) {
        let (run, cost) = Cost::of(|| simulate(policy, &scenario, |_| ()));
        println!("{} {:?} {:?}\n   {:?}", policy.title, cost.time, cost.bytes.map(|b| b >> 20), Figures::of(&run, &scenario));
        std::fs::write(format!("/tmp/storm-{}.csv", policy.name), csv(&run)).unwrap();
    }
}
