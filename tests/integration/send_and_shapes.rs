//! M1 to M3: every shape of function is retried, and a future that was `Send` stays `Send`.

use std::cell::Cell;
use std::fmt::Display;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bindu_cb::testing::isolate;
use bindu_cb::{
    CircuitBreakerOpenError, get_circuit_breaker, retry_with_breaker, with_circuit_breaker,
};
use tokio::time::Instant;
use tracing::instrument;

use crate::support::{Failure, Service, secs};

/// An error that must stay on its thread, and notes when it is dropped.
struct Local(Rc<Cell<Option<Instant>>>);

impl Drop for Local {
    fn drop(&mut self) {
        self.0.set(Some(Instant::now()));
    }
}

impl From<CircuitBreakerOpenError> for Local {
    fn from(_: CircuitBreakerOpenError) -> Self {
        Self(Rc::default())
    }
}

#[retry_with_breaker(op = "shapes", attempts = 2, min_wait = "1h", max_wait = "1h")]
async fn fails_locally(dropped: &Rc<Cell<Option<Instant>>>) -> Result<Option<Instant>, Local> {
    match dropped.get() {
        None => Err(Local(Rc::clone(dropped))),
        some => Ok(some),
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_of_an_attempt_is_dropped_before_the_wait() {
    let _cb = isolate();
    let began = Instant::now();
    let dropped = fails_locally(&Rc::default()).await.ok().flatten();
    assert_eq!(dropped, Some(began));
    assert_eq!(began.elapsed(), secs(3_600), "and the wait came after it");
}

#[retry_with_breaker(op = "shapes", attempts = 3)]
async fn local_error(service: Arc<Service>) -> Result<u32, Local> {
    tokio::task::yield_now().await;
    service.ask().map_err(|_| Local(Rc::default()))
}

#[retry_with_breaker(op = "shapes", attempts = 3, timeout = "1s", on_timeout = |_| Local(Rc::default()))]
async fn local_error_within_a_timeout(service: Arc<Service>) -> Result<u32, Local> {
    tokio::task::yield_now().await;
    service.ask().map_err(|_| Local(Rc::default()))
}

#[with_circuit_breaker(op = "shapes")]
async fn local_error_without_a_loop(service: Arc<Service>) -> Result<u32, Local> {
    tokio::task::yield_now().await;
    service.ask().map_err(|_| Local(Rc::default()))
}

#[tokio::test(start_paused = true)]
async fn a_future_is_send_though_its_error_is_not() {
    let cb = isolate();
    cb.enabled(true);
    let service = || Arc::new(Service::refusing(2));
    let answers = [
        tokio::spawn(async move { local_error(service()).await.ok() }).await,
        tokio::spawn(async move { local_error_within_a_timeout(service()).await.ok() }).await,
        tokio::spawn(async move { local_error_without_a_loop(service()).await.ok() }).await,
    ];
    assert_eq!(answers.map(Result::unwrap), [Some(3), Some(3), None]);
}

/// `Send`, and not `Sync`.
#[derive(Default)]
struct Attempts(Cell<u32>);

impl Attempts {
    fn next(&self) -> Result<u32, Failure> {
        self.0.set(self.0.get() + 1);
        if self.0.get() < 3 { Err(Failure::Refused(self.0.get())) } else { Ok(self.0.get()) }
    }

    #[retry_with_breaker(op = "shapes", attempts = 3)]
    async fn by_value(self) -> Result<u32, Failure> {
        tokio::task::yield_now().await;
        self.next()
    }

    #[retry_with_breaker(op = "shapes", attempts = 3)]
    async fn by_mut(&mut self) -> Result<u32, Failure> {
        tokio::task::yield_now().await;
        self.next()
    }
}

impl Display for Attempts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.get().fmt(f)
    }
}

#[retry_with_breaker(op = "shapes", attempts = 3)]
async fn cell(attempts: Attempts) -> Result<u32, Failure> {
    tokio::task::yield_now().await;
    attempts.next()
}

#[retry_with_breaker(op = "shapes", attempts = 3)]
async fn boxed_closure(next: Box<dyn Fn() -> Result<u32, Failure> + Send>) -> Result<u32, Failure> {
    tokio::task::yield_now().await;
    next()
}

#[retry_with_breaker(op = "shapes", attempts = 3)]
async fn generic<T: Send + Display>(
    (attempts, shown): (Attempts, T),
    service: &Service,
) -> Result<String, Failure> {
    tokio::task::yield_now().await;
    service.ask()?;
    Ok(format!("{shown} {}", attempts.0.get()))
}

#[retry_with_breaker(op = "shapes", attempts = 3)]
async fn only_in_a_format_string(attempts: Attempts, service: &Service) -> Result<String, Failure> {
    tokio::task::yield_now().await;
    service.ask()?;
    Ok(format!("{attempts}"))
}

#[tokio::test(start_paused = true)]
async fn a_future_is_send_though_its_arguments_are_not_sync() {
    let cb = isolate();
    cb.enabled(true);
    assert_eq!(tokio::spawn(cell(Attempts::default())).await.unwrap().unwrap(), 3);
    assert_eq!(tokio::spawn(Attempts::default().by_value()).await.unwrap().unwrap(), 3);
    let by_mut = async { Attempts::default().by_mut().await };
    assert_eq!(tokio::spawn(by_mut).await.unwrap().unwrap(), 3);
    let attempts = Attempts::default();
    let boxed = boxed_closure(Box::new(move || attempts.next()));
    assert_eq!(tokio::spawn(boxed).await.unwrap().unwrap(), 3);
    let shown = async {
        let service = Service::refusing(2);
        let first = generic((Attempts::default(), "n"), &service).await?;
        let service = Service::refusing(2);
        Ok::<_, Failure>(first + &only_in_a_format_string(Attempts::default(), &service).await?)
    };
    assert_eq!(tokio::spawn(shown).await.unwrap().unwrap(), "n 00");
}

#[retry_with_breaker(op = "shapes", attempts = 3)]
async fn longest<'a>(a: &'a str, b: &'a str, service: &Service) -> Result<&'a str, Failure> {
    service.ask()?;
    Ok(if a.len() > b.len() { a } else { b })
}

struct Rows<'a> {
    rows: Vec<&'a str>,
    service: &'a Service,
}

impl<'a> Rows<'a> {
    #[retry_with_breaker(op = "shapes", attempts = 3)]
    async fn first(&self) -> Result<&'a str, Failure> {
        self.service.ask()?;
        Ok(self.rows[0])
    }

    #[retry_with_breaker(op = "shapes", attempts = 3)]
    async fn push(&mut self, row: &'a str) -> Result<usize, Failure> {
        self.rows.push(row);
        self.service.ask()?;
        Ok(self.rows.len())
    }
}

#[tokio::test(start_paused = true)]
async fn borrows_need_not_be_static() {
    let cb = isolate();
    cb.enabled(true);
    let (text, service) = ("a bb".to_owned(), Service::refusing(2));
    let (a, b) = text.split_once(' ').unwrap();
    assert_eq!(longest(a, b, &service).await.unwrap(), "bb");

    let service = Service::refusing(2);
    let mut rows = Rows { rows: vec![a], service: &service };
    assert_eq!(rows.first().await.unwrap(), "a");
    assert_eq!(rows.push(b).await.unwrap(), 2);
    assert_eq!(service.asked(), 4);
}

trait Load: Sync {
    fn service(&self) -> &Service;

    fn load(&self) -> impl Future<Output = Result<u32, Failure>> + Send;

    #[retry_with_breaker(op = "shapes", attempts = 3)]
    async fn load_by_default(&self) -> Result<u32, Failure> {
        self.service().ask()
    }
}

impl Load for Service {
    fn service(&self) -> &Service {
        self
    }

    #[retry_with_breaker(op = "shapes", attempts = 3)]
    async fn load(&self) -> Result<u32, Failure> {
        tokio::task::yield_now().await;
        self.ask()
    }
}

async fn load_in_a_task<L: Load + Send + 'static>(load: L) -> Result<u32, Failure> {
    tokio::spawn(async move { load.load().await }).await.unwrap()
}

#[async_trait]
trait Store: Send + Sync {
    async fn save(&self, row: String) -> Result<String, Failure>;
    async fn count(&mut self, attempts: Attempts) -> Result<u32, Failure>;
    async fn shared(self: Arc<Self>) -> Result<u32, Failure>;
}

#[async_trait]
impl Store for Service {
    #[retry_with_breaker(op = "shapes", attempts = 3)]
    async fn save(&self, row: String) -> Result<String, Failure> {
        tokio::task::yield_now().await;
        self.ask()?;
        Ok(row.clone())
    }

    #[retry_with_breaker(op = "shapes", attempts = 3)]
    async fn count(&mut self, attempts: Attempts) -> Result<u32, Failure> {
        tokio::task::yield_now().await;
        attempts.next()
    }

    #[retry_with_breaker(op = "shapes", attempts = 3)]
    async fn shared(self: Arc<Self>) -> Result<u32, Failure> {
        tokio::task::yield_now().await;
        self.ask()
    }
}

#[tokio::test(start_paused = true)]
async fn methods_of_traits_are_retried() {
    let cb = isolate();
    cb.enabled(true);
    assert_eq!(load_in_a_task(Service::refusing(2)).await.unwrap(), 3);
    assert_eq!(Service::refusing(2).load_by_default().await.unwrap(), 3);

    let mut store: Box<dyn Store> = Box::new(Service::refusing(2));
    let call = async move {
        let saved = store.save("row".to_owned()).await.unwrap();
        (saved, store.count(Attempts::default()).await.unwrap())
    };
    assert_eq!(tokio::spawn(call).await.unwrap(), ("row".to_owned(), 3));
    let shared: Arc<dyn Store> = Arc::new(Service::refusing(2));
    assert_eq!(tokio::spawn(shared.shared()).await.unwrap().unwrap(), 3);
    assert_eq!(get_circuit_breaker("shapes").snapshot().calls.success, 5);
}

#[instrument(skip_all, err)]
#[retry_with_breaker(op = "shapes", attempts = 3)]
async fn instrumented_above(service: Arc<Service>, row: String) -> Result<String, Failure> {
    tokio::task::yield_now().await;
    service.ask()?;
    Ok(row.clone())
}

#[retry_with_breaker(op = "shapes", attempts = 3, clone(service, row))]
#[instrument(skip_all, ret)]
async fn instrumented_below(service: Arc<Service>, row: String) -> Result<String, Failure> {
    tokio::task::yield_now().await;
    service.ask()?;
    Ok(row)
}

#[tokio::test(start_paused = true)]
async fn instrumented_functions_are_retried() {
    let cb = isolate();
    cb.enabled(true);
    let service = || Arc::new(Service::refusing(2));
    let above = tokio::spawn(instrumented_above(service(), "row".to_owned()));
    assert_eq!(above.await.unwrap().unwrap(), "row");
    let below = tokio::spawn(instrumented_below(service(), "row".to_owned()));
    assert_eq!(below.await.unwrap().unwrap(), "row");
}

#[retry_with_breaker(op = "shapes", attempts = 3)]
async fn array<T, const N: usize>(service: &Service) -> Result<[T; N], Failure>
where
    T: Copy + Default,
{
    service.ask()?;
    Ok([T::default(); N])
}

#[retry_with_breaker(op = "shapes", attempts = 3)]
async fn opaque(
    service: &Service,
    numbers: impl IntoIterator<Item = u32> + Clone,
) -> Result<impl Iterator<Item = u32>, Failure> {
    service.ask()?;
    Ok(numbers.clone().into_iter().map(|n| n * 2))
}

#[retry_with_breaker(op = "shapes", attempts = 3)]
async fn dynamic(service: &Service) -> Result<Box<dyn Display>, Failure> {
    service.ask()?;
    Ok(Box::new("coerced"))
}

#[retry_with_breaker(op = "shapes", attempts = 3)]
async fn question_mark_and_early_return(service: &Service, n: u32) -> anyhow::Result<String> {
    if n == 0 {
        return Ok("zero".to_owned());
    }
    let asked = service.ask()?;
    let parsed: u32 = "12".parse()?;
    for i in 0.. {
        if i == n {
            return Ok(format!("{}", asked + parsed));
        }
    }
    unreachable!("the loop only ends by returning")
}

#[retry_with_breaker(op = "shapes", attempts = 2)]
async fn countdown(calls: &AtomicU32, n: u32) -> Result<u32, Failure> {
    calls.fetch_add(1, Ordering::Relaxed);
    if n == 0 {
        return Ok(0);
    }
    Ok(Box::pin(countdown(calls, n - 1)).await? + 1)
}

#[tokio::test(start_paused = true)]
async fn generic_and_opaque_and_recursive_functions_are_retried() {
    let cb = isolate();
    cb.enabled(true);
    assert_eq!(array::<u8, 3>(&Service::refusing(2)).await.unwrap(), [0; 3]);
    let service = Service::refusing(2);
    assert_eq!(opaque(&service, [1, 2]).await.unwrap().collect::<Vec<_>>(), [2, 4]);
    assert_eq!(dynamic(&Service::refusing(2)).await.unwrap().to_string(), "coerced");
    let service = Service::refusing(2);
    assert_eq!(question_mark_and_early_return(&service, 0).await.unwrap(), "zero");
    assert_eq!(question_mark_and_early_return(&service, 5).await.unwrap(), "15");
    let calls = AtomicU32::new(0);
    assert_eq!(countdown(&calls, 4).await.unwrap(), 4);
    assert_eq!(calls.into_inner(), 5);
}
