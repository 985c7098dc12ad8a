//! Every attempt starts with the arguments of the call.

use std::cell::Cell;
use std::io;

use bindu_cb::retry_with_breaker;

fn fail_twice(attempts: &Cell<u32>) -> io::Result<()> {
    attempts.set(attempts.get() + 1);
    if attempts.get() < 3 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
}

#[retry_with_breaker(op = "fresh")]
async fn copied(attempts: &Cell<u32>, mut sum: u32) -> io::Result<u32> {
    sum += 10;
    fail_twice(attempts)?;
    Ok(sum)
}

#[retry_with_breaker(op = "fresh", clone(rows))]
async fn cloned(attempts: &Cell<u32>, mut rows: Vec<u32>) -> io::Result<Vec<u32>> {
    rows.push(1);
    fail_twice(attempts)?;
    Ok(rows)
}

#[retry_with_breaker(op = "fresh", clone(rows, name))]
async fn consumed(attempts: &Cell<u32>, rows: Vec<u32>, name: String) -> io::Result<usize> {
    drop(name);
    let taken = rows;
    fail_twice(attempts)?;
    Ok(taken.len())
}

#[retry_with_breaker(op = "fresh")]
async fn rebound(
    attempts: &Cell<u32>,
    mut rows: &mut Vec<u32>,
    mut rest: &[u32],
) -> io::Result<usize> {
    rows.push(1);
    let mut other = Vec::new();
    rows = &mut other;
    rest = &rest[1..];
    fail_twice(attempts)?;
    Ok(rows.len() + rest.len())
}

#[retry_with_breaker(op = "fresh", clone(b))]
async fn in_patterns(
    attempts: &Cell<u32>,
    (mut a, mut b): (u32, String),
    [mut c, _]: [u32; 2],
) -> io::Result<String> {
    a += 1;
    b.push('!');
    c *= 2;
    fail_twice(attempts)?;
    Ok(format!("{a}{b}{c}"))
}

#[retry_with_breaker(
    op = "fresh",
    timeout = "1s",
    retry_if = |_| sum == 0,
    fail_if = |n| *n == sum,
    on_open = |_| Ok(sum),
    on_timeout = |_| io::Error::other(sum.to_string())
)]
async fn seen_by_hooks(attempts: &Cell<u32>, mut sum: u32) -> io::Result<u32> {
    sum += 10;
    fail_twice(attempts)?;
    Ok(sum)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let circuits = bindu_cb::testing::isolate();
    circuits.no_wait();
    assert_eq!(copied(&Cell::new(0), 0).await?, 10);
    assert_eq!(cloned(&Cell::new(0), vec![]).await?, [1]);
    assert_eq!(consumed(&Cell::new(0), vec![1, 2], String::new()).await?, 2);
    let mut rows = Vec::new();
    assert_eq!(rebound(&Cell::new(0), &mut rows, &[1, 2, 3]).await?, 2);
    assert_eq!(rows, [1, 1, 1]);
    assert_eq!(in_patterns(&Cell::new(0), (1, "b".into()), [3, 4]).await?, "2b!6");
    assert_eq!(seen_by_hooks(&Cell::new(0), 0).await?, 10);
    Ok(())
}
