//! The closures and functions that the attribute names, each where the expansion asks it.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Block, Expr, ExprClosure, ReturnType, spanned::Spanned as _};

use crate::{
    body::Shape,
    expand::{Expansion, at, braced, ours},
};

impl Expansion<'_> {
    /// What may be known of the error behind `__e`.
    pub(crate) fn seen(&self) -> TokenStream {
        let (p, hooks) = (&self.p, &self.model.hooks);
        let ask = |hook: &Option<Expr>, setter: &str, ask: &str| {
            hook.as_ref().map(|hook| {
                let span = hook.span();
                let (p, hook) = (self.private(span), self.renamed(hook));
                let (setter, ask) = (Ident::new(setter, at(span)), Ident::new(ask, at(span)));
                quote_spanned!(at(span)=> .#setter(#p::#ask(__e, #hook)))
            })
        };
        let retry_if = ask(&hooks.retry_if, "retry_if", "ask");
        let record_if = ask(&hooks.record_if, "record_if", "ask");
        let retry_after = ask(&hooks.retry_after, "retry_after", "ask_after");
        let class = ask(&hooks.class, "class", "ask_class");
        ours! {
            #p::probe(__e).__bindu_cb_judged().__bindu_cb_seen()
            #retry_if #record_if #retry_after #class
        }
    }

    /// The type of the call's bookkeeping.
    pub(crate) fn call(&self) -> TokenStream {
        let p = &self.p;
        if self.model.hooks.class.is_some() { ours!(#p::ClassedCall) } else { ours!(#p::Call) }
    }

    /// The class of the error behind `__r`, if errors have classes: a further argument.
    pub(crate) fn class_of_result(&self) -> Option<TokenStream> {
        self.model.hooks.class.as_ref().map(|hook| {
            let span = hook.span();
            let (p, hook) = (self.private(span), self.renamed(hook));
            quote_spanned! {at(span)=>
                match __tag.split(&__r) {
                    ::core::result::Result::Ok(_) => "",
                    ::core::result::Result::Err(__e) => #p::ask_class(__e, #hook),
                }
            }
        })
    }

    /// Whether the value behind `__v` is a failure, if the attribute says so of any.
    pub(crate) fn is_failure(&self) -> Option<TokenStream> {
        self.model.hooks.fail_if.as_ref().map(|hook| {
            let span = hook.span();
            let (p, hook) = (self.private(span), self.renamed(hook));
            quote_spanned!(at(span)=> #p::ask(__v, #hook))
        })
    }

    /// The function's result when the circuit is open: `__open` -> the return type.
    pub(crate) fn on_open(&self) -> TokenStream {
        let ret = &self.model.ret;
        let Some(hook) = &self.model.hooks.on_open else {
            let p = self.private(ret.error_span);
            return quote_spanned! {at(ret.error_span)=>
                { use #p::TagExt as _; __tag.__bindu_cb_open(__open) }
            };
        };
        let (p, ty) = (self.private(hook.span()), &ret.ty);
        if let Expr::Closure(closure) = hook {
            if let Some(inline) = self.inline(closure) {
                return inline;
            }
            let closure = self.renamed(hook);
            return quote_spanned!(at(hook.span())=> #p::on_open::<#ty, _>(#closure, __open));
        }
        let path = self.renamed(hook);
        quote_spanned!(at(hook.span())=> #p::on_open_path::<#ty, _, _, _>(#path, __open).await)
    }

    /// An async closure's body, in place: passed on as an argument, its future would not be `Send`.
    fn inline(&self, closure: &ExprClosure) -> Option<TokenStream> {
        let (capture, body) = match (&*closure.body, &closure.asyncness) {
            (Expr::Block(body), Some(_)) if body.label.is_none() => {
                (closure.capture, self.statements(&body.block))
            }
            (body, Some(_)) => (closure.capture, self.renamed(body)),
            (Expr::Async(body), None) => (body.capture, self.statements(&body.block)),
            _ => return None,
        };
        let span = closure.body.span();
        let witness = match &closure.output {
            ReturnType::Type(_, ty) => self.witness(ty, ty.span()),
            ReturnType::Default => self.witness(&self.model.ret.ty, self.model.ret.span),
        };
        let pat = closure.inputs.first()?;
        Some(quote_spanned! {at(span)=>
            (async #capture {
                if false { #witness }
                let #pat = __open;
                #body
            }).await
        })
    }

    /// The function's result when the last attempt has timed out: `__t` -> the return type.
    pub(crate) fn on_timeout(&self) -> TokenStream {
        let ret = &self.model.ret;
        if let Some(hook) = &self.model.hooks.on_timeout {
            let (p, ty) = (self.private(hook.span()), &ret.ty);
            let function = self.renamed(hook);
            return quote_spanned!(at(hook.span())=> #p::on_timeout::<#ty, _, _, _>(#function, __t));
        }
        let p = self.private(ret.error_span);
        quote_spanned!(at(ret.error_span)=> { use #p::TagExt as _; __tag.__bindu_cb_timeout(__t) })
    }

    fn statements(&self, block: &Block) -> TokenStream {
        let stmts = &block.stmts;
        braced(self.renamed(&quote!(#(#stmts)*)), block.brace_token.span.join())
    }

    /// `async_trait` has renamed `self` in the body, but knows nothing of the attribute.
    pub(crate) fn renamed(&self, code: &impl ToTokens) -> TokenStream {
        let tokens = code.to_token_stream();
        match &self.model.body.frame {
            Some(frame) if frame.shape == Shape::AsyncTrait => rename_self(tokens),
            _ => tokens,
        }
    }
}

fn rename_self(tokens: TokenStream) -> TokenStream {
    tokens
        .into_iter()
        .map(|token| match token {
            TokenTree::Ident(ident) if ident == "self" => Ident::new("__self", ident.span()).into(),
            TokenTree::Group(group) => {
                let mut renamed = Group::new(group.delimiter(), rename_self(group.stream()));
                renamed.set_span(group.span());
                renamed.into()
            }
            other => other,
        })
        .collect()
}
