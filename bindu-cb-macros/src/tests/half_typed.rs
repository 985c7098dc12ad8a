//! What is half typed expands: an editor expands after every keystroke, and completes by what comes
//! out. So the function stays as it is known, and what has been typed comes out with its spans.

use std::collections::HashMap;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::quote;

use super::{errors, without_errors};
use crate::{attribute::Attribute, expand, function::Function};

/// An attribute's arguments and a function, as they are when they have been typed to the end.
struct Sample {
    which: Attribute,
    args: &'static str,
    item: &'static str,
}

const fn sample(which: Attribute, args: &'static str, item: &'static str) -> Sample {
    Sample { which, args, item }
}

const SAMPLES: [Sample; 20] = [
    sample(
        Attribute::RetryWithBreaker,
        r#"op = "storage", attempts = 5"#,
        "async fn load(key: String) -> io::Result<u32> { get(&key).await }",
    ),
    sample(
        Attribute::RetryWithBreaker,
        r#"op = names::STORAGE, min_wait = "250ms", max_wait = limits::LONGEST"#,
        "pub async fn save(&self, row: &Row) -> Result<(), StoreError> {
            let text = serde_json::to_string(row)?;
            self.put(&text).await
        }",
    ),
    sample(
        Attribute::RetryWithBreaker,
        r#"op = "x", retry_if = |e: &StoreError| e.is_transient(), clone(name, rows)"#,
        "pub(crate) async fn insert(&mut self, name: String, mut rows: Vec<Row>) -> Result<usize, StoreError> {
            rows.retain(|row| row.id > 0);
            self.client.insert(name, rows).await.map_err(StoreError::from)
        }",
    ),
    sample(
        Attribute::RetryWorkerOperation,
        "",
        "async fn run_task(self: Arc<Self>, task: Task) -> anyhow::Result<Report> {
            let Some(client) = self.clients.get(&task.client) else { bail!(\"no client\") };
            Ok(client.run(&task).await?)
        }",
    ),
    sample(
        Attribute::RetryStorageOperation,
        r#"timeout = "2s", retry_if = StoreError::is_transient, on_timeout = StoreError::from"#,
        "/// Loads a page.
        #[must_use]
        async fn page<'a, T: Decode<'a> + Send, const N: usize>(&'a self, at: [u64; N]) -> Result<Page<T>, StoreError>
        where
            T: 'a,
        {
            self.read::<T, N>(at).await
        }",
    ),
    sample(
        Attribute::RetrySchedulerOperation,
        r#"op = "scheduler:lease", deadline = 30, jitter = 0.25"#,
        "async unsafe fn renew(lease: *mut Lease) -> Result<Lease, SchedulerError> {
            unsafe { (*lease).renew().await }
        }",
    ),
    sample(
        Attribute::RetryApiCall,
        "fail_if = Response::is_server_error, retry_after = |e| e.retry_after()",
        "async fn fetch(&self, url: &str) -> Result<Response, ApiError> {
            match self.http.get(url).send().await {
                Ok(response) if response.status().is_success() => Ok(response),
                Ok(response) => Err(ApiError::Status(response.status())),
                Err(error) => Err(error.into()),
            }
        }",
    ),
    sample(
        Attribute::RetryApiCall,
        "on_open = async |open| { self.cached(id).await.ok_or(ApiError::Open(open)) }",
        "async fn user(&self, id: UserId) -> Result<User, ApiError> { self.get(id).await }",
    ),
    sample(
        Attribute::WithCircuitBreaker,
        r#"op = "payments", timeout = "3s""#,
        "async fn charge(&self, order: Order) -> Result<Receipt, PaymentError> {
            self.gateway.charge(order).await
        }",
    ),
    sample(
        Attribute::WithCircuitBreaker,
        "key = request.uri().host().unwrap_or_default(), max_keys = 64",
        "async fn forward(request: Request) -> Result<impl IntoResponse, Box<dyn Error + Send + Sync>> {
            proxy(request).await
        }",
    ),
    sample(
        Attribute::WithCircuitBreaker,
        r#"class = |e| if e.is_timeout() { "timeout" } else { "other" }, record_if = |e| !e.is_client()"#,
        "async fn query(pool: &Pool, (table, mut limit): (&str, u32)) -> sqlx::Result<Vec<Row>> {
            limit = limit.min(100);
            sqlx::query(&format!(\"select * from {table} limit {limit}\")).fetch_all(pool).await
        }",
    ),
    sample(
        Attribute::RetryWithBreaker,
        r#"op = "window", window = "100 calls", failure_rate = 50, minimum_calls = 10, slow_call = 1.5"#,
        "async fn windowed() -> Result<(), E> { let x = if a < b { a } else { b }; run(x).await }",
    ),
    sample(
        Attribute::RetryWithBreaker,
        r#"op = "loop", count = "attempt", on_cancel = "failure", enabled = true"#,
        "async fn drain<T>(mut queue: Receiver<T>, sink: &mut Vec<T>) -> Result<(), Closed> {
            'all: loop {
                while let Some(next) = queue.recv().await { sink.push(next); if sink.len() > 9 { break 'all Ok(()); } }
            }
        }",
    ),
    sample(
        Attribute::RetryWithBreaker,
        r#"op = "crate", crate = crate::reexports::bindu_cb"#,
        "pub(in crate::a) async fn patterns(Point { x, ref y, .. }: Point, [first, .., last]: [u8; 4], _: ()) -> R<u8, E> {
            Ok(first + last + x + *y)
        }",
    ),
    sample(
        Attribute::RetryWithBreaker,
        r#"op = "closures", retry_budget = 0.1, nested = "multiply""#,
        "async fn closures(names: &[String]) -> Result<Vec<usize>, E> {
            let sizes = names.iter().map(|name| async move { size(name).await }).collect::<Vec<_>>();
            join_all(sizes).await.into_iter().collect()
        }",
    ),
    sample(
        Attribute::RetryWithBreaker,
        r#"op = "macros""#,
        "async fn macros(key: &str) -> Result<(), E> {
            tracing::info!(key, \"begins\");
            tokio::select! { done = work(key) => done, _ = stop() => Err(E::Stopped) }
        }",
    ),
    sample(
        Attribute::RetryWithBreaker,
        r#"op = "items", retry_if = is_transient::<StoreError>"#,
        "async fn items() -> Result<(), E> {
            #![allow(unused)]
            use std::io;
            struct Local { a: u8 }
            fn helper(x: &Local) -> u8 { x.a }
            const LIMIT: u8 = 3;
            check(helper(&Local { a: LIMIT })).await
        }",
    ),
    sample(
        Attribute::RetryStorageOperation,
        "record_if = |e| matches!(e, E::Down | E::Slow { .. })",
        "async fn returned<F, R>(&self, f: F) -> Result<R, E> where F: Fn(&Self) -> R, for<'a> R: From<&'a str> {
            Ok(f(self))
        }",
    ),
    sample(
        Attribute::RetryStorageOperation,
        "retry_if = |e| e.retryable()",
        "fn traited<'life0, 'async_trait>(&'life0 self, key: String) -> Pin<Box<dyn Future<Output = io::Result<u32>> + Send + 'async_trait>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async move {
                let __self = self;
                let key = key;
                let __ret: io::Result<u32> = { __self.get(&key).await };
                #[allow(unreachable_code)]
                __ret
            })
        }",
    ),
    sample(
        Attribute::RetryStorageOperation,
        "min_wait = 0.1",
        "async fn traced(key: String) -> io::Result<u32> {
            let __tracing_attr_span = span!();
            let __tracing_instrument_future = async move {
                if false { let __tracing_attr_fake_return: io::Result<u32> = loop {}; return __tracing_attr_fake_return; }
                { get(&key).await }
            };
            __tracing_instrument_future.await
        }",
    ),
];

impl Sample {
    fn args(&self) -> TokenStream {
        self.args.parse().unwrap()
    }

    fn item(&self) -> TokenStream {
        self.item.parse().unwrap()
    }
}

/// The code as it is after each token has been typed: what follows is not there yet, and the groups
/// that are open have been closed, as an editor's parser does.
fn prefixes(code: &TokenStream) -> Vec<TokenStream> {
    cuts(code, false)
}

/// The code with each group of it, and the whole, cut short after each of its tokens: what is typed
/// in the middle of code that is there.
fn truncations(code: &TokenStream) -> Vec<TokenStream> {
    cuts(code, true)
}

fn cuts(code: &TokenStream, rest_stays: bool) -> Vec<TokenStream> {
    let trees: Vec<_> = code.clone().into_iter().collect();
    let mut found = Vec::new();
    for (i, tree) in trees.iter().enumerate() {
        let before = &trees[..i];
        found.push(before.iter().cloned().collect());
        if let TokenTree::Group(group) = tree {
            let after = if rest_stays { &trees[i + 1..] } else { &[] };
            for inner in cuts(&group.stream(), rest_stays) {
                let mut cut = Group::new(group.delimiter(), inner);
                cut.set_span(group.span());
                let cut = TokenTree::from(cut);
                found.push(before.iter().chain([&cut]).chain(after).cloned().collect());
            }
        }
    }
    found.push(code.clone());
    found
}

/// A token that was typed: its text, and where it stands.
type Typed = (String, std::ops::Range<usize>);

fn typed(code: &TokenStream) -> Vec<Typed> {
    let mut found = Vec::new();
    for tree in code.clone() {
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                found.push((open.into(), group.span_open().byte_range()));
                found.extend(typed(&group.stream()));
                found.push((close.into(), group.span_close().byte_range()));
            }
            leaf => found.push((leaf.to_string(), leaf.span().byte_range())),
        }
    }
    found
}

/// Every token of `code` must be in `expansion`, at the place where it was typed.
#[track_caller]
fn assert_kept(code: &TokenStream, expansion: &TokenStream) {
    let mut there = HashMap::<Typed, usize>::new();
    for token in typed(expansion) {
        *there.entry(token).or_default() += 1;
    }
    for token in typed(code) {
        assert!(there.contains_key(&token), "{token:?} of `{code}` is lost in `{expansion}`");
    }
}

/// What stands before the body, without the `mut`s, which may move into it.
fn signature(Function { attrs, vis, sig, .. }: &Function) -> String {
    without_mut(quote!(#(#attrs)* #vis #sig)).to_string()
}

fn without_mut(tokens: TokenStream) -> TokenStream {
    let is_mut = |tree: &TokenTree| matches!(tree, TokenTree::Ident(ident) if ident == "mut");
    tokens
        .into_iter()
        .filter(|tree| !is_mut(tree))
        .map(|tree| match tree {
            TokenTree::Group(group) => {
                Group::new(group.delimiter(), without_mut(group.stream())).into()
            }
            leaf => leaf,
        })
        .collect()
}

/// The item comes out as it was typed, with an error, or as a function of the same signature, with
/// the same attributes, that has every token of the body.
#[track_caller]
fn check(which: Attribute, args: &TokenStream, item: &TokenStream) -> TokenStream {
    let expansion = expand(which, args.clone(), item.clone());
    assert_kept(item, &expansion);
    let function = without_errors(&expansion);
    if function.to_string() == item.to_string() {
        assert!(!errors(&expansion).is_empty(), "{expansion}");
    } else {
        let given = Function::parse(which, item.clone()).unwrap();
        let found = Function::parse(which, function).unwrap();
        assert_eq!(signature(&given), signature(&found), "{expansion}");
    }
    expansion
}

#[test]
fn a_function_comes_out_after_every_token_that_is_typed() {
    for sample in &SAMPLES {
        let item = sample.item();
        for half in prefixes(&item).iter().chain(&truncations(&item)) {
            check(sample.which, &sample.args(), half);
        }
    }
}

#[test]
fn a_function_comes_out_after_every_token_of_its_attribute() {
    for sample in &SAMPLES {
        let args = sample.args();
        for half in prefixes(&args).iter().chain(&truncations(&args)) {
            check(sample.which, half, &sample.item());
        }
    }
}

#[test]
fn a_half_typed_body_is_expanded_and_not_refused() {
    for sample in &SAMPLES {
        let args = sample.args();
        let function = Function::parse(sample.which, sample.item()).unwrap();
        if function.sig.asyncness.is_none() || sample.item.contains("__tracing") {
            // Another macro's code around the body, which must be understood.
            continue;
        }
        let trees: Vec<_> = sample.item().into_iter().collect();
        let (body, head) = trees.split_last().unwrap();
        let TokenTree::Group(body) = body else { panic!("no body") };
        let body = body.stream();
        for half in prefixes(&body).iter().chain(&truncations(&body)) {
            let body = TokenTree::from(Group::new(Delimiter::Brace, half.clone()));
            let item = head.iter().chain([&body]).cloned().collect();
            let expansion = expand(sample.which, args.clone(), item);
            assert_eq!(errors(&expansion), [""; 0], "{half}");
            assert_kept(half, &expansion);
        }
    }
}

/// An editor expands the code as it is, and once more with a name where the cursor is. What it
/// completes is the name's place in the first expansion, so up to there both must be the same.
#[test]
fn a_half_typed_attribute_expands_as_it_will_when_it_goes_on() {
    for args in [
        r#"op = "x", retry_if = |e| e.‸"#,
        r#"op = "x", retry_if = |e: &StoreError| e.code.‸, attempts = 3"#,
        r#"op = "x", attempts = 3, retry_if = StoreError::‸"#,
        r#"op = "x", retry_if = ‸"#,
        r#"op = "x", retry_if = ‸, jitter = 0.5"#,
        r#"op = "x", retry_if = |e| e.is_fine(), record_if = |e| e.‸"#,
        r#"op = "x", fail_if = |page| { let n = page.‸ }"#,
        r#"op = "x", class = |e| match e { E::‸ }"#,
        r#"op = "x", retry_after = |e| e.‸"#,
        r#"op = "x", on_open = async |open| { open.‸ }"#,
        r#"op = "x", timeout = 3, on_timeout = StoreError::‸"#,
        r#"op = "x", key = key.‸"#,
        r#"op = "x", attempts = limits::‸"#,
        r#"op = "x", attempts = ‸"#,
        r#"op = "x", att‸"#,
        r#"op = "x", att‸, retry_if = |e| e.is_fine()"#,
        "op = names::‸",
        "retry_if = |e| e.‸",
    ] {
        for item in [&SAMPLES[0], &SAMPLES[2], &SAMPLES[18], &SAMPLES[19]].map(Sample::item) {
            let expansion = |args: &str| {
                expand(Attribute::RetryWithBreaker, args.parse().unwrap(), item.clone())
            };
            let now = expansion(&args.replace('‸', " "));
            assert_ne!(errors(&now), [""; 0], "{args} is half typed");
            let next = expansion(&args.replace('‸', "__typed_next ")).to_string();
            let at = next.find("__typed_next").unwrap_or_else(|| panic!("{args} is lost: {next}"));
            assert!(now.to_string().starts_with(next[..at].trim_end()), "{args}\n{now}\n{next}");
        }
    }
}

#[test]
fn what_editors_read_is_there_only_where_something_can_be_completed() {
    for (args, is_there) in [
        (r#"op = "x", attempts = 3, jitter = 0.5, enabled = true, min_wait = -0"#, false),
        (r#"op = "x", clone(key), crate = a::b"#, false),
        ("op = OP", true),
        (r#"op = "x", retry_if = f"#, true),
        (r#"op = "x", attempts = LIMIT"#, true),
    ] {
        let expansion =
            expand(Attribute::RetryWithBreaker, args.parse().unwrap(), SAMPLES[0].item());
        assert_eq!(errors(&expansion), [""; 0]);
        assert_eq!(expansion.to_string().contains(":: typed !"), is_there, "{args}: {expansion}");
    }
}

#[test]
fn a_key_is_borrowed_whole() {
    let args = r#"op = "x", key = n + 1"#.parse().unwrap();
    let item = "async fn load(n: u64) -> io::Result<u32> { get(n).await }".parse().unwrap();
    let expansion = expand(Attribute::RetryWithBreaker, args, item).to_string();
    assert!(expansion.contains(". key (& (n + 1))"), "an editor would see `(&n) + 1`: {expansion}");
}
