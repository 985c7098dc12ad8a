//! Without a prelude, and with everything named that the expansion might mean.

#![no_implicit_prelude]

type Answer<T> = ::std::result::Result<T, ::std::io::Error>;

#[::bindu_cb::retry_with_breaker(op = "bare", timeout = 1, attempts = 2, clone(text))]
async fn bare(text: ::std::string::String, mut n: u32) -> Answer<u32> {
    n += 1;
    ::std::mem::drop(text);
    ::std::result::Result::Ok(n)
}

#[::bindu_cb::with_circuit_breaker(timeout = 1, class = |_| "any")]
async fn once(n: u32) -> Answer<u32> {
    ::std::result::Result::Ok(n)
}

#[allow(dead_code, unused_macros)]
mod shadowed {
    mod core {}
    mod std {}
    mod bindu_cb {}
    struct Result;
    struct Option;
    struct Ok;
    struct Err;
    struct Some;
    struct None;
    trait Clone {}
    fn drop() {}

    #[::bindu_cb::retry_storage_operation(timeout = "1s", retry_if = transient, class = class)]
    pub(crate) async fn load(n: u32) -> super::Answer<u32> {
        ::std::result::Result::Ok(n)
    }

    fn transient(_: &::std::io::Error) -> bool {
        true
    }

    fn class(_: &::std::io::Error) -> &'static str {
        "any"
    }
}

fn main() {
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ::std::result::Result::Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let text = ::std::string::String::new();
        ::std::assert!(::std::matches!(bare(text, 1).await, ::std::result::Result::Ok(2)));
        ::std::assert!(::std::matches!(once(1).await, ::std::result::Result::Ok(1)));
        ::std::assert!(::std::matches!(shadowed::load(1).await, ::std::result::Result::Ok(1)));
    });
}
