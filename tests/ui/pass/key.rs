//! What a key can be, and where.

#![deny(warnings, clippy::all, clippy::pedantic)]
#![forbid(unused_parens, unused_braces, unused_mut, unused_variables, unsafe_code)]

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;

use bindu_cb::{registry, retry_api_call, retry_with_breaker, with_circuit_breaker};

struct Tenant {
    name: String,
}

impl Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[with_circuit_breaker(op = "key", key = tenant)]
async fn borrowed(tenant: &str) -> io::Result<usize> {
    Ok(tenant.len())
}

// The body consumes it, and nothing of it is held meanwhile.
#[with_circuit_breaker(op = "key", key = tenant)]
async fn owned(tenant: String) -> io::Result<String> {
    Ok(tenant)
}

#[retry_with_breaker(op = "key", key = tenant, clone(tenant))]
async fn cloned(tenant: String) -> io::Result<String> {
    Ok(tenant)
}

#[retry_with_breaker(op = "key", key = n + 1)]
async fn number(mut n: u64) -> io::Result<u64> {
    n += 1;
    Ok(n)
}

#[retry_with_breaker(op = "key", key = (address))]
async fn displayed(address: IpAddr, tenant: &Tenant) -> io::Result<bool> {
    Ok(address.is_ipv4() && tenant.name.is_empty())
}

#[retry_with_breaker(op = "key", key = format_args!("{tenant}/{host}"))]
async fn several(tenant: Tenant, host: Cow<'_, str>) -> io::Result<usize> {
    Ok(tenant.name.len() + host.len())
}

#[retry_with_breaker(op = "key", key = tenant)]
async fn displayed_generic<T: Display + Sync>(tenant: &T) -> io::Result<String> {
    Ok(tenant.to_string())
}

#[retry_with_breaker(op = "key", key = tenant, timeout = "1s", deadline = "5s")]
async fn text_generic<T: AsRef<str> + Send>(tenant: T) -> io::Result<usize> {
    Ok(tenant.as_ref().len())
}

#[retry_api_call(key = tenant, on_open = |_| Ok(tenant.len()), max_keys = 10)]
async fn pattern(Tenant { name: tenant }: Tenant, (_, n): (u8, usize)) -> io::Result<usize> {
    Ok(tenant.len() + n)
}

struct Client {
    host: Mutex<String>,
}

impl Client {
    // A guard is gone before the first await: the future is `Send`.
    #[retry_with_breaker(op = "key", key = *self.host.lock().unwrap())]
    async fn locked(&self) -> io::Result<()> {
        tokio::task::yield_now().await;
        Ok(())
    }

    #[with_circuit_breaker(key = self.host.get_mut().unwrap())]
    async fn by_unique_reference(&mut self) -> io::Result<()> {
        self.host.get_mut().unwrap().push('!');
        Ok(())
    }
}

#[async_trait::async_trait]
trait Fetch {
    async fn fetch(&self, url: &str, n: u32) -> io::Result<u32>;
}

#[async_trait::async_trait]
impl Fetch for Client {
    #[retry_api_call(key = self.host.lock().unwrap().as_str())]
    async fn fetch(&self, url: &str, n: u32) -> io::Result<u32> {
        Ok(n + u32::from(url.is_empty()))
    }
}

// The names of the expansion are its own.
#[retry_with_breaker(op = "key", key = __keyed)]
async fn names(__keyed: &str, __call: u32, __open: u32) -> io::Result<u32> {
    Ok(__call + __open + u32::from(__keyed.is_empty()))
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let cb = bindu_cb::testing::isolate();
    cb.enabled(true);
    let tenant = || Tenant { name: "acme".to_owned() };
    assert_eq!(is_send(borrowed("borrowed")).await?, 8);
    assert_eq!(is_send(owned("owned".to_owned())).await?, "owned");
    assert_eq!(is_send(cloned("cloned".to_owned())).await?, "cloned");
    assert_eq!(is_send(number(1)).await?, 2);
    assert!(!is_send(displayed([127, 0, 0, 1].into(), &tenant())).await?);
    assert_eq!(is_send(several(tenant(), "host".into())).await?, 8);
    assert_eq!(is_send(displayed_generic(&7)).await?, "7");
    assert_eq!(is_send(text_generic("text")).await?, 4);
    assert_eq!(is_send(pattern(tenant(), (0, 1))).await?, 5);
    let mut client = Client { host: Mutex::new("locked".to_owned()) };
    is_send(client.locked()).await?;
    is_send(client.by_unique_reference()).await?;
    assert_eq!(client.fetch("/", 1).await?, 1);
    assert_eq!(is_send(names("names", 1, 2)).await?, 3);

    let keys: Vec<_> = registry()
        .iter()
        .filter(|circuit| circuit.name() == "key")
        .filter_map(|circuit| circuit.key().map(str::to_owned))
        .collect();
    let all =
        ["127.0.0.1", "2", "7", "acme/host", "borrowed", "cloned", "locked", "names", "owned", "text"];
    assert_eq!(keys, all);
    assert!(registry().get_keyed("api:pattern", "acme").is_some());
    assert!(registry().get_keyed("api:fetch", "locked!").is_some());
    Ok(())
}
