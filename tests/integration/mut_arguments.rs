//! M2: arguments are borrowed by each attempt, and `mut` ones start fresh.

use std::rc::Rc;

use bindu_cb::testing::isolate;
use bindu_cb::{retry_with_breaker, with_circuit_breaker};

use crate::support::{Failure, Service};

/// What the three attempts of a call have seen.
type Seen<T> = Vec<T>;

/// Fails the first two attempts.
fn third_time_lucky<T>(seen: &Seen<T>) -> Result<(), Failure> {
    match seen.len() {
        3 => Ok(()),
        n => Err(Failure::Refused(u32::try_from(n).unwrap_or(u32::MAX))),
    }
}

#[retry_with_breaker(op = "arguments", attempts = 3)]
async fn copied(seen: &mut Seen<u32>, mut n: u32) -> Result<u32, Failure> {
    n += 10;
    seen.push(n);
    third_time_lucky(seen)?;
    Ok(n)
}

#[tokio::test(start_paused = true)]
async fn a_mut_copy_starts_fresh_at_each_attempt() {
    let _cb = isolate();
    let mut seen = Vec::new();
    assert_eq!(copied(&mut seen, 1).await.unwrap(), 11);
    assert_eq!(seen, [11, 11, 11]);
}

#[retry_with_breaker(op = "arguments", attempts = 3, clone(names))]
async fn cloned(seen: &mut Seen<String>, mut names: Vec<String>) -> Result<(), Failure> {
    names.push("x".to_owned());
    seen.push(names.concat());
    third_time_lucky(seen)
}

#[tokio::test(start_paused = true)]
async fn a_mut_argument_in_clone_starts_fresh_at_each_attempt() {
    let _cb = isolate();
    let mut seen = Vec::new();
    cloned(&mut seen, vec!["a".to_owned()]).await.unwrap();
    assert_eq!(seen, ["ax", "ax", "ax"]);
}

#[retry_with_breaker(op = "arguments", attempts = 3, clone(a, b))]
async fn consumed(seen: &mut Seen<String>, a: String, b: Rc<str>) -> Result<(), Failure> {
    let both = a + &b;
    drop(b);
    seen.push(both);
    third_time_lucky(seen)
}

#[tokio::test(start_paused = true)]
async fn arguments_in_clone_may_be_consumed_by_each_attempt() {
    let _cb = isolate();
    let mut seen = Vec::new();
    let b: Rc<str> = "b".into();
    consumed(&mut seen, "a".to_owned(), Rc::clone(&b)).await.unwrap();
    assert_eq!(seen, ["ab", "ab", "ab"]);
    assert_eq!(Rc::strong_count(&b), 1, "no attempt's clone is left");
}

#[retry_with_breaker(op = "arguments", attempts = 3)]
async fn borrowed(seen: &mut Seen<usize>, text: String) -> Result<(), Failure> {
    seen.push(text.as_ptr().addr());
    third_time_lucky(seen)
}

#[tokio::test(start_paused = true)]
async fn an_argument_that_is_not_mut_is_the_same_in_each_attempt() {
    let _cb = isolate();
    let mut seen = Vec::new();
    let text = "text".to_owned();
    let address = text.as_ptr().addr();
    borrowed(&mut seen, text).await.unwrap();
    assert_eq!(seen, [address; 3]);
}

#[retry_with_breaker(op = "arguments", attempts = 3)]
async fn reborrowed(seen: &mut Seen<u32>, mut slice: &mut [u32]) -> Result<(), Failure> {
    slice[0] += 1;
    slice = &mut slice[1..];
    slice[0] += 1;
    seen.push(slice[0]);
    third_time_lucky(seen)
}

#[tokio::test(start_paused = true)]
async fn a_mut_reference_is_reborrowed_and_what_it_points_to_keeps_its_changes() {
    let _cb = isolate();
    let (mut seen, mut numbers) = (Vec::new(), [0, 0]);
    reborrowed(&mut seen, &mut numbers).await.unwrap();
    assert_eq!(seen, [1, 2, 3]);
    assert_eq!(numbers, [3, 3]);
}

#[retry_with_breaker(op = "arguments", attempts = 3)]
async fn a_mut_shared_reference(seen: &mut Seen<u32>, mut rest: &[u32]) -> Result<(), Failure> {
    while let Some((first, others)) = rest.split_first() {
        if seen.last() == Some(first) {
            break;
        }
        rest = others;
    }
    seen.push(u32::try_from(rest.len()).unwrap_or(u32::MAX));
    third_time_lucky(seen)
}

#[tokio::test(start_paused = true)]
async fn a_mut_shared_reference_starts_at_its_beginning_again() {
    let _cb = isolate();
    let mut seen = Vec::new();
    a_mut_shared_reference(&mut seen, &[7, 8, 9]).await.unwrap();
    assert_eq!(seen, [0, 0, 0]);
}

struct Point {
    x: u32,
    y: u32,
}

#[retry_with_breaker(op = "arguments", attempts = 3, clone(name))]
async fn patterns(
    seen: &mut Seen<(u32, u32, String)>,
    (mut a, [mut b, ..]): (u32, [u32; 2]),
    Point { mut x, y: mut height }: Point,
    (mut name, _): (String, u8),
) -> Result<(), Failure> {
    a += 1;
    b += 1;
    x += a;
    height += b;
    name.push('!');
    seen.push((x, height, name));
    third_time_lucky(seen)
}

#[tokio::test(start_paused = true)]
async fn mut_bindings_in_patterns_start_fresh_too() {
    let _cb = isolate();
    let mut seen = Vec::new();
    patterns(&mut seen, (1, [2, 0]), Point { x: 10, y: 20 }, ("n".to_owned(), 0)).await.unwrap();
    assert_eq!(seen, [(); 3].map(|()| (12, 23, "n!".to_owned())));
}

#[with_circuit_breaker(op = "arguments")]
async fn once(service: &Service, mut names: Vec<String>) -> Result<Vec<String>, Failure> {
    service.ask()?;
    names.push("x".to_owned());
    Ok(names)
}

#[tokio::test(start_paused = true)]
async fn without_a_loop_a_mut_argument_needs_no_clone() {
    let _cb = isolate();
    assert_eq!(once(&Service::up(), vec!["a".to_owned()]).await.unwrap(), ["a", "x"]);
}

#[async_trait::async_trait]
trait Store {
    async fn put(
        &mut self,
        n: u32,
        name: String,
        (a, b): (u32, u32),
    ) -> Result<(u32, String), Failure>;
}

#[derive(Default)]
struct Memory {
    seen: Seen<u32>,
}

#[async_trait::async_trait]
impl Store for Memory {
    #[retry_with_breaker(op = "arguments", attempts = 3, clone(name))]
    async fn put(
        &mut self,
        mut n: u32,
        mut name: String,
        (a, mut b): (u32, u32),
    ) -> Result<(u32, String), Failure> {
        n += 1;
        b += n;
        name.push('!');
        self.seen.push(a + b);
        third_time_lucky(&self.seen)?;
        Ok((n, name))
    }
}

#[tokio::test(start_paused = true)]
async fn mut_arguments_of_async_trait_start_fresh_too() {
    let _cb = isolate();
    let mut memory = Memory::default();
    let result = memory.put(1, "n".to_owned(), (100, 10)).await.unwrap();
    assert_eq!(result, (2, "n!".to_owned()));
    assert_eq!(memory.seen, [112, 112, 112]);
}
