//! Patterns as arguments.

use std::io;

use bindu_cb::{retry_with_breaker, with_circuit_breaker};

struct Point {
    x: u32,
    y: u32,
}

struct Unit;

struct Wrapper(String);

#[retry_with_breaker(op = "patterns")]
async fn tuple((a, b): (u32, String)) -> io::Result<String> {
    Ok(format!("{a}{b}"))
}

#[retry_with_breaker(op = "patterns")]
async fn nested(((a, _), [b, .., c]): ((u32, u32), [u32; 4])) -> io::Result<u32> {
    Ok(a + b + c)
}

#[retry_with_breaker(op = "patterns")]
async fn fields(Point { x, y: height }: Point, Wrapper(name): &Wrapper) -> io::Result<String> {
    Ok(format!("{x} {height} {name}"))
}

#[retry_with_breaker(op = "patterns")]
async fn by_reference(&x: &u32, ref y: u32, ref mut z: u32) -> io::Result<u32> {
    *z += 1;
    Ok(x + y + *z)
}

#[retry_with_breaker(op = "patterns")]
async fn ignored(_: String, _named: String, Unit: Unit) -> io::Result<()> {
    let Unit = Unit;
    Ok(())
}

#[retry_with_breaker(op = "patterns")]
async fn mutable((mut a, b): (u32, u32), Point { mut x, y }: Point) -> io::Result<u32> {
    a += b;
    x += y;
    Ok(a * x)
}

#[retry_with_breaker(op = "patterns")]
async fn bound(whole @ (_, _): (u32, u32)) -> io::Result<u32> {
    Ok(whole.0 + whole.1)
}

#[with_circuit_breaker]
async fn once((mut a, b): (u32, u32), mut c: Vec<u32>) -> io::Result<Vec<u32>> {
    a += b;
    c.push(a);
    Ok(c)
}

#[retry_with_breaker(op = "patterns")]
async fn raw(r#type: u32, mut r#fn: u32) -> io::Result<u32> {
    r#fn += r#type;
    Ok(r#fn)
}

#[retry_with_breaker(op = "patterns")]
async fn conditional(#[cfg(any())] mut x: u32, #[cfg(all())] mut y: u32) -> io::Result<u32> {
    y += 1;
    Ok(y)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    assert_eq!(tuple((1, "b".into())).await?, "1b");
    assert_eq!(nested(((1, 2), [3, 4, 5, 6])).await?, 10);
    assert_eq!(fields(Point { x: 1, y: 2 }, &Wrapper("n".into())).await?, "1 2 n");
    assert_eq!(by_reference(&1, 2, 3).await?, 7);
    ignored(String::new(), String::new(), Unit).await?;
    assert_eq!(mutable((1, 2), Point { x: 3, y: 4 }).await?, 21);
    assert_eq!(bound((1, 2)).await?, 3);
    assert_eq!(once((1, 2), vec![]).await?, [3]);
    assert_eq!(raw(1, 2).await?, 3);
    assert_eq!(conditional(1).await?, 2);
    Ok(())
}
