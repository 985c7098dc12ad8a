//! Whole expansions, without a compiler. That they compile is shown by the UI tests.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::ItemFn;

use crate::{attribute::Attribute, expand};

mod half_typed;
mod robustness;

/// The errors of an expansion: the texts in its `compile_error!`s.
fn errors(expansion: &TokenStream) -> Vec<String> {
    let tokens: Vec<_> = expansion.clone().into_iter().collect();
    let mut found = Vec::new();
    for pair in tokens.windows(3) {
        if let [TokenTree::Ident(name), TokenTree::Punct(_), TokenTree::Group(text)] = pair
            && name == "compile_error"
        {
            let text: syn::LitStr = syn::parse2(text.stream()).unwrap();
            found.push(text.value());
        }
    }
    found
}

/// An expansion without what is added to it for each error.
fn without_errors(expansion: &TokenStream) -> TokenStream {
    let trees: Vec<_> = expansion.clone().into_iter().collect();
    // `::core::compile_error! { … }`
    let each = 2 + 1 + 2 + 1 + 1 + 1;
    trees[..trees.len() - each * errors(expansion).len()].iter().cloned().collect()
}

/// Expands what must be right.
fn expanded(which: Attribute, args: TokenStream, item: TokenStream) -> ItemFn {
    let expansion = expand(which, args, item);
    assert_eq!(errors(&expansion), [""; 0], "{expansion}");
    syn::parse2(expansion).unwrap()
}

/// The errors of what must be wrong. The function must be there all the same.
fn refused(which: Attribute, args: TokenStream, item: &TokenStream) -> Vec<String> {
    let expansion = expand(which, args, item.clone());
    assert!(expansion.to_string().starts_with(&item.to_string()), "{expansion}");
    errors(&expansion)
}

fn load() -> TokenStream {
    quote!(
        async fn load(key: String) -> io::Result<u32> {
            get(&key).await
        }
    )
}

#[test]
fn the_expansion_of_a_plain_function() {
    let expansion = expand(
        Attribute::RetryWithBreaker,
        quote!(op = "storage", attempts = 5, min_wait = "250ms"),
        quote! {
            /// Saves.
            pub async fn save(&self, row: &Row) -> Result<(), StoreError> {
                self.put(row).await
            }
        },
    );
    let expected = quote! {
        /// Saves.
        pub async fn save(&self, row: &Row) -> Result<(), StoreError> {
            static __BINDU_CB_SITE: ::bindu_cb::__private::Site =
                ::bindu_cb::__private::Site::new("storage", ::bindu_cb::__private::Preset::OfKind)
                    .named(::core::concat!(::core::module_path!(), "::", "save"))
                    .attempts(5)
                    .min_wait(::core::time::Duration::new(0, 250000000));
            let __tag = ::bindu_cb::__private::tag::<Result<(), StoreError>, _, _>();
            let mut __call = ::bindu_cb::__private::Site::enter(&__BINDU_CB_SITE);
            let __open = loop {
                if let ::core::option::Option::Some(__open) =
                    ::bindu_cb::__private::Call::rejection(&__call)
                {
                    break __open;
                }
                let __delay = {
                    let __r: Result<(), StoreError> = ::bindu_cb::__private::Call::attempt(
                        &__call,
                        ::core::pin::pin!(async {
                            if false {
                                return ::bindu_cb::__private::never::<Result<(), StoreError>>();
                            }
                            { self.put(row).await }
                        })
                    )
                    .await;
                    let __retry = match __tag.split(&__r) {
                        ::core::result::Result::Ok(__v) => ::bindu_cb::__private::success(&mut __call),
                        ::core::result::Result::Err(__e) => ::bindu_cb::__private::Call::failed(
                            &mut __call,
                            ::bindu_cb::__private::probe(__e).__bindu_cb_judged().__bindu_cb_seen()
                        ),
                    };
                    match __retry {
                        ::core::option::Option::Some(__delay) => __delay,
                        ::core::option::Option::None => return __r,
                    }
                };
                ::bindu_cb::__private::Call::wait(&mut __call, __delay).await;
            };
            { use ::bindu_cb::__private::TagExt as _; __tag.__bindu_cb_open(__open) }
        }
    };
    // `> >` and `>>` are the same here.
    let text = |tokens: TokenStream| tokens.to_string().replace(' ', "");
    assert_eq!(text(expansion), text(expected));
}

#[test]
fn without_retries_there_is_no_loop() {
    let expansion = expand(Attribute::WithCircuitBreaker, quote!(timeout = 1), load());
    assert_eq!(errors(&expansion), [""; 0]);
    let text = expansion.to_string();
    assert!(!text.contains("loop"), "{text}");
    assert!(text.contains(r#"concat ! (:: core :: module_path ! () , "::" , "load")"#), "{text}");
}

#[test]
fn nothing_is_allowed() {
    for which in Attribute::ALL {
        let args = if which.retries() {
            quote!(op = OP, timeout = 1, retry_if = f, on_open = async |o| g(o), clone(key))
        } else {
            quote!(op = OP, timeout = 1, record_if = f, class = c, on_open = |o| g(o))
        };
        let text = expand(which, args, load()).to_string();
        assert!(!text.contains("allow") && !text.contains("compile_error"), "{text}");
    }
}

#[test]
fn every_kind_derives_its_name() {
    for (which, op) in [
        (Attribute::RetryWorkerOperation, r#"new ("worker:load" , "#),
        (Attribute::RetryStorageOperation, r#"new ("storage:load" , "#),
        (Attribute::RetrySchedulerOperation, r#"new ("scheduler:load" , "#),
        (Attribute::RetryApiCall, r#"new ("api:load" , "#),
    ] {
        let text = expand(which, TokenStream::new(), load()).to_string();
        assert!(text.contains(op) && text.contains(". derived"), "{text}");
        let text = expand(which, quote!(op = "mine"), load()).to_string();
        assert!(text.contains(r#"new ("mine" , "#) && !text.contains(". derived"), "{text}");
    }
}

fn samples() -> Vec<TokenStream> {
    vec![
        load(),
        quote!(
            pub(crate) async unsafe fn f<'a, T: Debug, const N: usize>(
                &'a mut self,
                (mut a, b): (u32, [T; N]),
                Point { x, mut y }: Point,
            ) -> Result<impl Iterator<Item = T> + 'a, Box<dyn Error + Send + Sync>>
            where
                T: Send,
            {
                #![allow(unused)]
                if a == 0 {
                    return Err("zero".into());
                }
                let v = b.iter().map(|t| t?).collect::<Vec<_>>();
                Ok(format!("{x} {y}"))
            }
        ),
        quote!(
            async fn by_value(self: Arc<Self>, mut text: String) -> anyhow::Result<()> {
                self.put(text)
            }
        ),
        quote!(
            #[doc = "x"]
            async fn nothing() {}
        ),
        quote! {
            #[allow(clippy::shadow_same)]
            fn get<'life0, 'async_trait>(&'life0 self, key: String, __arg2: (u32, u32)) -> Pin<Box<
                dyn Future<Output = io::Result<u32>> + Send + 'async_trait>>
            where 'life0: 'async_trait, Self: 'async_trait {
                Box::pin(async move {
                    if let Some(__ret) = None::<io::Result<u32>> { return __ret; }
                    let __self = self;
                    let key = key;
                    let (a, mut b) = { let __arg2 = __arg2; __arg2 };
                    let __ret: io::Result<u32> = { b += a; __self.get(key, b).await };
                    __ret
                })
            }
        },
        quote! {
            async fn traced(key: String) -> io::Result<u32> {
                let __tracing_attr_span = span!();
                let __tracing_instrument_future = async move {
                    match async move {
                        #[allow(unreachable_code)]
                        if false { let __tracing_attr_fake_return: io::Result<u32> = loop {}; return __tracing_attr_fake_return; }
                        { get(&key).await }
                    }.await { Ok(x) => Ok(x), Err(e) => { event!(e); Err(e) } }
                };
                __tracing_instrument_future.await
            }
        },
    ]
}

#[test]
fn every_shape_expands_to_a_function() {
    for item in samples() {
        let given: ItemFn = syn::parse2(item.clone()).unwrap();
        for which in Attribute::ALL {
            let function = expanded(which, quote!(op = "x", timeout = 1), item.clone());
            assert_eq!(function.sig.ident, given.sig.ident);
            assert_eq!(function.attrs.len(), given.attrs.len());
        }
    }
}

#[test]
fn the_loop_goes_inside_of_other_macros() {
    let async_trait = expand(Attribute::RetryStorageOperation, quote!(), samples().remove(4));
    let text = async_trait.to_string();
    assert!(text.contains("let __ret : io :: Result < u32 > = { static __BINDU_CB_SITE"), "{text}");
    assert!(
        text.contains("let mut key = key"),
        "a by-value argument is captured by `&mut`: {text}"
    );
    assert!(text.contains("let mut b = :: bindu_cb :: __private :: fresh (& b)"), "{text}");
    assert!(!text.contains("let mut __self"), "{text}");
    let instrumented = expand(Attribute::RetryStorageOperation, quote!(), samples().remove(5));
    let text = instrumented.to_string();
    assert!(
        text.contains("return __tracing_attr_fake_return ; } { static __BINDU_CB_SITE"),
        "{text}"
    );
}

#[test]
fn mutable_arguments_start_afresh() {
    let args = quote!(op = "x", clone(b));
    let item = quote! {
        async fn f(mut a: u32, b: String, mut c: &mut Vec<u32>, mut _d: u8) -> R<(), E> { g(a, b, c) }
    };
    let text = expand(Attribute::RetryWithBreaker, args, item).to_string();
    assert!(
        text.contains("(mut a : u32 , mut b : String , c : & mut Vec < u32 > , _d : u8)"),
        "{text}"
    );
    for statement in [
        "let mut a = :: bindu_cb :: __private :: fresh (& a) ;",
        "let b = :: core :: clone :: Clone :: clone (& b) ;",
        "let mut c = & mut * c ;",
        "let mut _d = :: bindu_cb :: __private :: fresh (& _d) ;",
        "touch (& mut a) ;",
        "touch (& mut b) ;",
        "touch (& mut * c) ;",
    ] {
        assert!(text.contains(statement), "{statement} in {text}");
    }
    assert!(!text.contains("touch (& mut _d)"), "{text}");
}

#[test]
fn every_error_at_once() {
    let found = refused(
        Attribute::RetryWithBreaker,
        quote!(op = "", atempts = 1, jitter = 2, jitter = 1, timeout = "x", clone(self, other)),
        &load(),
    );
    assert_eq!(found.len(), 7, "{found:#?}");
    assert!(found[1].contains("did you mean `attempts`?"));
}

#[test]
fn what_is_no_async_function() {
    for (item, says) in [
        (
            quote!(
                fn f() -> R<(), E> {}
            ),
            "write `async fn f`",
        ),
        (
            quote!(
                fn f() -> impl Future<Output = R<(), E>> {}
            ),
            "returns a future",
        ),
        (
            quote!(
                async fn f(&self) -> R<(), E>;
            ),
            "needs a body",
        ),
        (
            quote!(
                pub struct S;
            ),
            "a struct",
        ),
        (quote!(impl S {}), "an impl block"),
        (
            quote!(
                unsafe impl Send for S {}
            ),
            "an impl block",
        ),
        (
            quote!(
                #[x]
                pub trait T {}
            ),
            "a trait",
        ),
        (
            quote!(
                const X: u32 = 1;
            ),
            "a constant",
        ),
    ] {
        let found = refused(Attribute::RetryWithBreaker, quote!(op = "x"), &item);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(says), "{found:?}");
    }
}
