//! Functions made by `macro_rules`: names and types come from elsewhere.

use bindu_cb::retry_with_breaker;
use std::io;

macro_rules! load {
    ($(#[$attr:meta])* $vis:vis $name:ident($arg:ident: $ty:ty) -> $ret:ty, $op:literal, $attempts:expr, $wait:literal, $body:block) => {
        $(#[$attr])*
        #[retry_with_breaker(op = $op, attempts = $attempts, min_wait = $wait)]
        $vis async fn $name($arg: $ty) -> $ret $body
    };
}

load! {
    /// Doubles.
    pub double(n: u32) -> io::Result<u32>, "macro", 3, 0.01, { Ok(n * 2) }
}

macro_rules! hygienic {
    ($name:ident, $body:expr) => {
        #[retry_with_breaker(op = "macro", clone(text))]
        async fn $name(mut n: u32, text: String) -> io::Result<String> {
            n += 1;
            drop(text);
            let _ = n;
            $body
        }
    };
}

hygienic!(hygiene, Ok(String::from("body")));

macro_rules! wrapped {
    ($($item:item)*) => { $(#[retry_with_breaker(op = "macro")] $item)* };
}

wrapped! {
    async fn first() -> io::Result<u32> { Ok(1) }
    async fn second() -> io::Result<u32> { Ok(2) }
}

const LIMIT: u32 = 2;

load! { from_const(n: &'static str) -> io::Result<usize>, "macro", LIMIT, "10ms", { Ok(n.len()) } }

macro_rules! reexported {
    ($runtime:path) => {
        #[retry_with_breaker(op = "macro", crate = $runtime)]
        async fn third() -> io::Result<u32> {
            Ok(3)
        }
    };
}

mod reexport {
    pub use bindu_cb as runtime;
}

reexported!(reexport::runtime);

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    assert_eq!(double(2).await?, 4);
    assert_eq!(hygiene(1, String::new()).await?, "body");
    assert_eq!(first().await? + second().await? + third().await?, 6);
    assert_eq!(from_const("abc").await?, 3);
    Ok(())
}
