//! Model -> tokens. Nothing can fail here.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, TokenStreamExt as _, quote, quote_spanned};
use syn::{Type, spanned::Spanned as _};

use crate::{
    arguments::{Fresh, How, Source, Touch},
    model::Model,
    site,
};

/// Tokens of ours: their locals are not the user's, whatever they are called.
macro_rules! ours {
    ($($tokens:tt)*) => {
        ::quote::quote_spanned!(::proc_macro2::Span::mixed_site()=> $($tokens)*)
    };
}
pub(crate) use ours;

// p is `::bindu_cb::__private`. Methods that borrow are called by path: a user's blanket trait may
// have one of the same name.
//
// Input:
//     #[retry_with_breaker(op = "storage", attempts = 5)]
//     async fn save(&self, row: &Row) -> Result<(), StoreError> {
//         self.put(row).await
//     }
//
// Output:
//     async fn save(&self, row: &Row) -> Result<(), StoreError> {
//         static __BINDU_CB_SITE: p::Site = p::Site::new("storage", p::Preset::OfKind)
//             .named(concat!(module_path!(), "::", "save"))
//             .attempts(5);
//         let __tag = p::tag::<Result<(), StoreError>, _, _>();
//         let mut __call = p::Site::enter(&__BINDU_CB_SITE);
//         let __open = loop {
//             if let Some(__open) = p::Call::rejection(&__call) { break __open; }
//             let __delay = {
//                 let __r: Result<(), StoreError> = p::Call::attempt(&__call, pin!(async {
//                     if false { return p::never::<Result<(), StoreError>>(); }
//                     { self.put(row).await }
//                 }))
//                 .await;
//                 let __retry = match __tag.split(&__r) {
//                     Ok(__v) => p::success(&mut __call),
//                     Err(__e) => p::Call::failed(
//                         &mut __call,
//                         p::probe(__e).__bindu_cb_judged().__bindu_cb_seen(),
//                     ),
//                 };
//                 match __retry {
//                     Some(__delay) => __delay,
//                     None => return __r,
//                 }
//             };
//             p::Call::wait(&mut __call, __delay).await;
//         };
//         { use p::TagExt as _; __tag.__bindu_cb_open(__open) }
//     }
pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model { function, body, .. } = model;
    let guarded = Expansion::new(model).guarded();
    let stmts = match &body.frame {
        Some(frame) => frame.fill(guarded),
        None => guarded,
    };
    let inner_attrs = &function.inner_attrs;
    // The braces are the user's, so that lints about the function's body point there.
    let mut block = Group::new(Delimiter::Brace, quote!(#(#inner_attrs)* #stmts));
    block.set_span(function.brace.span.join());
    let (attrs, vis, sig) = (&function.attrs, &function.vis, &function.sig);
    quote!(#(#attrs)* #vis #sig #block)
}

pub(crate) struct Expansion<'a> {
    pub(crate) model: &'a Model,
    /// `__private`, for what the user is not to see at a place of his own.
    pub(crate) p: TokenStream,
}

/// What follows an attempt, by what it came to.
struct After {
    ok: TokenStream,
    err: TokenStream,
    timed_out: TokenStream,
    /// From what `ok` or `err` yields, and `__r`, to the value of the whole.
    then: fn(TokenStream) -> TokenStream,
}

/// The span of tokens of ours that the user is to see at `span`.
pub(crate) fn at(span: Span) -> Span {
    Span::mixed_site().located_at(span)
}

impl<'a> Expansion<'a> {
    fn new(model: &'a Model) -> Self {
        Self { model, p: private(model, Span::call_site()) }
    }

    /// What stands in place of the user's statements.
    fn guarded(&self) -> TokenStream {
        let (typed, static_site) = (self.typed(), self.site());
        let ret = &self.model.ret;
        let (p, ty) = (self.private(ret.span), &ret.ty);
        let tag = quote_spanned!(at(ret.span)=> #p::tag::<#ty, _, _>());
        let rebound = self.model.arguments.touches.iter().filter_map(rebind);
        let run = if self.model.which.retries() { self.retry() } else { self.once() };
        ours! {
            #typed
            #static_site
            let __tag = #tag;
            #(#rebound)*
            #run
        }
    }

    /// The call is a variable of its own, not part of a result that is matched on: a reference into
    /// that would be kept across every await, and the future would be larger and slower by it.
    fn retry(&self) -> TokenStream {
        let (call, enter, on_open) = (self.call(), self.enter(), self.on_open());
        let attempt = self.attempt(&self.or_return());
        ours! {
            #enter
            let __open = loop {
                if let ::core::option::Option::Some(__open) = #call::rejection(&__call) {
                    break __open;
                }
                let __delay = #attempt;
                #call::wait(&mut __call, __delay).await;
            };
            #on_open
        }
    }

    /// Begins the call: of a function with a `key` behind the circuit of that, which the call holds
    /// until it ends.
    fn enter(&self) -> TokenStream {
        let (p, call, site) = (&self.p, self.call(), site::name());
        if self.model.hooks.class.is_some() {
            return ours! {
                let mut __call = #call::new(#p::Site::enter(&#site));
                #call::begin(&mut __call);
            };
        }
        let Some(key) = &self.model.key else {
            return ours!(let mut __call = #p::Site::enter(&#site););
        };
        let span = key.span();
        let (shown, key) = (self.private(span), self.renamed(key));
        let keyed = quote_spanned!(at(span)=> #shown::key(&(#key)).__bindu_cb_keyed(&#site));
        ours! {
            let __keyed = {
                use #p::KeyExt as _;
                #keyed
            };
            let mut __call = #p::Keyed::enter(&__keyed);
        }
    }

    /// The delay before the next attempt, or the end.
    fn or_return(&self) -> After {
        let (p, call, seen) = (&self.p, self.call(), self.seen());
        let (on_timeout, class_of_result) = (self.on_timeout(), self.class_of_result());
        let success = if class_of_result.is_some() {
            ours!(#call::succeeded(&mut __call))
        } else {
            ours!(#p::success(&mut __call))
        };
        After {
            ok: match self.is_failure() {
                Some(is_failure) => {
                    ours!(if #is_failure { #call::failed_value(&mut __call) } else { #success })
                }
                None => success,
            },
            err: ours!(#call::failed(&mut __call, #seen)),
            timed_out: match class_of_result {
                None => ours! {
                    match #p::Call::timed_out(&mut __call, &__t) {
                        ::core::option::Option::Some(__delay) => __delay,
                        ::core::option::Option::None => return #on_timeout,
                    }
                },
                // It is the error that has a class: it is made before it is known to be the last.
                Some(class) => ours! {{
                    let __timeout = ::core::clone::Clone::clone(&__t);
                    let __r = #on_timeout;
                    let __retry = #call::timed_out(&mut __call, &__timeout, #class);
                    match __retry {
                        ::core::option::Option::Some(__delay) => __delay,
                        ::core::option::Option::None => return __r,
                    }
                }},
            },
            then: |retry| {
                ours! {
                    let __retry = #retry;
                    match __retry {
                        ::core::option::Option::Some(__delay) => __delay,
                        ::core::option::Option::None => return __r,
                    }
                }
            },
        }
    }

    fn once(&self) -> TokenStream {
        let (call, enter, on_open) = (self.call(), self.enter(), self.on_open());
        let (seen, on_timeout) = (self.seen(), self.on_timeout());
        let success = ours!(#call::success(&mut __call));
        let attempt = self.attempt(&After {
            ok: match self.is_failure() {
                Some(is_failure) => {
                    ours!(if #is_failure { #call::ended_value(&mut __call) } else { #success })
                }
                None => success,
            },
            err: ours!(#call::ended(&mut __call, #seen)),
            timed_out: match self.class_of_result() {
                None => ours!({ #call::ended_timed_out(&mut __call, &__t); #on_timeout }),
                Some(class) => ours! {{
                    let __timeout = ::core::clone::Clone::clone(&__t);
                    let __r = #on_timeout;
                    #call::ended_timed_out(&mut __call, &__timeout, #class);
                    __r
                }},
            },
            then: |told| ours!(#told __r),
        });
        ours! {
            #enter
            match #call::rejection(&__call) {
                ::core::option::Option::Some(__open) => { #on_open }
                ::core::option::Option::None => #attempt,
            }
        }
    }

    /// Runs the user's block and looks at what it came to. Nothing of the result outlives this
    /// expression: an error that is not `Send` would be held across the wait that follows.
    fn attempt(&self, After { ok, err, timed_out, then }: &After) -> TokenStream {
        let (call, block, ty) = (self.call(), self.block(), &self.model.ret.ty);
        let judged = then(ours! {
            match __tag.split(&__r) {
                ::core::result::Result::Ok(__v) => #ok,
                ::core::result::Result::Err(__e) => #err,
            }
        });
        if !self.gives("timeout") {
            let attempt = if self.model.which.retries() {
                ours!(#call::attempt(&__call, ::core::pin::pin!(#block)).await)
            } else {
                ours!(#block.await)
            };
            return ours!({ let __r: #ty = #attempt; #judged });
        }
        // The attempt is gone before the arms: they may use arguments that it has borrowed.
        ours! {
            match {
                let mut __attempt = ::core::pin::pin!(#block);
                let __attempt = ::core::pin::Pin::as_mut(&mut __attempt);
                let __ended = #call::within(&__call, __attempt).await;
                __ended
            } {
                ::core::result::Result::Ok(__r) => { #judged }
                ::core::result::Result::Err(__t) => #timed_out,
            }
        }
    }

    /// The user's statements, in an async block of their own: `return` and `?` end an attempt, not
    /// the function.
    fn block(&self) -> TokenStream {
        let model = self.model;
        let witness = self.witness(&model.ret.ty, model.ret.span);
        let arguments = &model.arguments;
        let touches = arguments.touches.iter().map(|touch| self.touch(touch));
        let locals = arguments.locals.iter().map(|local| self.local(local));
        let statements = braced(model.body.statements.clone(), model.body.span);
        // `async_trait` leaves the span of the `async` that it takes away on the `fn`.
        let sig = &model.function.sig;
        let span = sig.asyncness.map_or(sig.fn_token.span, |asyncness| asyncness.span);
        quote_spanned!(at(span)=> async {
            if false { #(#touches)* #witness }
            #(#locals)*
            #statements
        })
    }

    /// Where it never runs, makes the return type known to an async block, as a signature would:
    /// `?` and `Ok(Box::new(x))` need that.
    pub(crate) fn witness(&self, ty: &Type, span: Span) -> TokenStream {
        let p = self.private(span);
        quote_spanned!(at(span)=> return #p::never::<#ty>();)
    }

    fn touch(&self, touch: &Touch) -> TokenStream {
        let (name, cfgs) = (&touch.name, &touch.cfgs);
        let (span, p) = (at(name.span()), self.private(name.span()));
        let deref = (touch.how == How::Pointee).then(|| quote_spanned!(span=> *));
        quote_spanned!(span=> #(#cfgs)* #p::touch(&mut #deref #name);)
    }

    fn local(&self, local: &Fresh) -> TokenStream {
        let (name, mutability, cfgs) = (&local.name, &local.mutability, &local.cfgs);
        let (span, p) = (at(name.span()), self.private(name.span()));
        let value = match local.from {
            Source::Copy => quote_spanned!(span=> #p::fresh(&#name)),
            Source::Clone => quote_spanned!(span=> ::core::clone::Clone::clone(&#name)),
            Source::Reborrow => quote_spanned!(span=> &mut *#name),
        };
        quote_spanned!(span=> #(#cfgs)* let #mutability #name = #value;)
    }

    pub(crate) fn gives(&self, key: &str) -> bool {
        let settings = &self.model.settings;
        settings.iter().any(|setting| setting.key.name == key)
    }

    /// `__private`, shown at `span`.
    pub(crate) fn private(&self, span: Span) -> TokenStream {
        private(self.model, span)
    }
}

/// `::bindu_cb::__private`, or where the attribute says it is.
fn private(model: &Model, span: Span) -> TokenStream {
    let Some(path) = &model.runtime else {
        return quote_spanned!(at(span)=> ::bindu_cb::__private);
    };
    let mut tokens = TokenStream::new();
    for mut token in path.to_token_stream() {
        token.set_span(token.span().located_at(span));
        tokens.append(token);
    }
    quote_spanned!(at(span)=> #tokens::__private)
}

fn rebind(Touch { cfgs, name, how }: &Touch) -> Option<TokenStream> {
    let span = at(name.span());
    (*how == How::Rebound).then(|| quote_spanned!(span=> #(#cfgs)* let mut #name = #name;))
}

/// Statements of the user in braces of ours, which no lint about braces looks at.
pub(crate) fn braced(statements: TokenStream, span: Span) -> TokenStream {
    let mut group = Group::new(Delimiter::Brace, statements);
    group.set_span(at(span));
    TokenTree::Group(group).into()
}
