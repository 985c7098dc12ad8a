//! The keys of a sliding window.

use std::io;
use std::time::Duration;

use bindu_cb::{
    Window, get_circuit_breaker, retry_storage_operation, retry_with_breaker, with_circuit_breaker,
};

const RATE: u32 = 25;
const SLOW: Duration = Duration::from_millis(1_500);

#[retry_with_breaker(
    op = "windows:calls",
    window = "100 calls",
    failure_rate = 60,
    slow_call_rate = 80,
    minimum_calls = 100,
    slow_call = "2s",
)]
async fn calls() -> io::Result<()> {
    Ok(())
}

#[with_circuit_breaker(
    op = "windows:time",
    window = "1m 30s",
    failure_rate = RATE,
    slow_call_rate = 100,
    minimum_calls = 1_000,
    slow_call = self::SLOW
)]
async fn time() -> io::Result<()> {
    Ok(())
}

#[retry_storage_operation(op = "windows:short", window = "10ms", slow_call = 0.5)]
async fn short() -> io::Result<()> {
    Ok(())
}

// One call, and keys of a window that the environment may give.
#[retry_with_breaker(op = "windows:one", window = "1 call", minimum_calls = 1)]
async fn one() -> io::Result<()> {
    Ok(())
}

#[retry_with_breaker(op = "windows:none", failure_threshold = 5, failure_rate = 1, slow_call = 1)]
async fn none() -> io::Result<()> {
    Ok(())
}

// Bounds that the environment may make use of, and a window whose rate it may let be learnt.
#[retry_with_breaker(op = "windows:learns", window = "1m", adaptive = true, adaptive_min = RATE)]
async fn learns() -> io::Result<()> {
    Ok(())
}

#[with_circuit_breaker(op = "windows:bounds", adaptive_max = 30, adaptive = false, failure_rate = 2)]
async fn bounds() -> io::Result<()> {
    Ok(())
}

/// The window of the circuit, and the values of its other keys.
fn in_force(op: &str) -> (String, [String; 4]) {
    let snapshot = get_circuit_breaker(op).snapshot();
    let value = |key| {
        let setting = snapshot.settings.iter().find(|setting| setting.key == key);
        setting.expect("a known key").value.clone()
    };
    let others = ["failure_rate", "slow_call_rate", "minimum_calls", "slow_call"];
    (value("window"), others.map(value))
}

fn window(window: Window, others: [&str; 4]) -> (String, [String; 4]) {
    (window.to_string(), others.map(str::to_owned))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let _circuits = bindu_cb::testing::isolate();
    calls().await?;
    time().await?;
    short().await?;
    one().await?;
    none().await?;
    learns().await?;
    bounds().await?;
    let calls = window(Window::Calls(100), ["60", "80", "100", "2s"]);
    assert_eq!(in_force("windows:calls"), calls);
    let time = window(Window::Time(Duration::from_secs(90)), ["25", "100", "1000", "1s 500ms"]);
    assert_eq!(in_force("windows:time"), time);
    let short = in_force("windows:short");
    assert_eq!((short.0.as_str(), short.1[3].as_str()), ("10ms", "500ms"));
    let one = in_force("windows:one");
    assert_eq!((one.0.as_str(), one.1[2].as_str()), ("1 calls", "1"));
    let none = in_force("windows:none");
    assert_eq!((none.0.as_str(), none.1[0].as_str()), ("none", "1"));
    Ok(())
}
