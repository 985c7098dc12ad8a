//! The static of a function: what the attribute gives, put together at compile time.

use std::time::Duration;

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{LitStr, ext::IdentExt as _, spanned::Spanned as _};

use crate::{
    args::{Op, Setting},
    expand::{Expansion, at},
    model::{Name, SITE},
    value::{Value, Window},
};

impl Expansion<'_> {
    /// `static __BINDU_CB_SITE: p::Site = p::Site::new(…).attempts(5);`
    pub(crate) fn site(&self) -> TokenStream {
        let model = self.model;
        let (p, site) = (&self.p, name());
        let (op, is_derived) = match &model.op {
            Name::Given(Op::Literal(lit)) => (lit.to_token_stream(), false),
            Name::Given(Op::Constant(path)) => (path.to_token_stream(), false),
            Name::OfKind(name) => (LitStr::new(name, Span::call_site()).to_token_stream(), true),
            Name::OfModule(function) => {
                (quote!(::core::concat!(::core::module_path!(), "::", #function)), true)
            }
        };
        let new = if model.which.retries() {
            let preset = model.which.kind().map_or("OfKind", |kind| kind.preset);
            let preset = Ident::new(preset, Span::call_site());
            quote!(#p::Site::new(#op, #p::Preset::#preset))
        } else {
            quote!(#p::Site::once(#op))
        };
        let derived = is_derived.then(|| quote!(.derived(::core::module_path!())));
        let classed = model.hooks.class.is_some().then(|| quote!(.classed()));
        let function = model.function.sig.ident.unraw().to_string();
        let named = quote!(.named(::core::concat!(::core::module_path!(), "::", #function)));
        let new = quote!(#new #named #derived #classed);
        let value = model.settings.iter().fold(new, |site, s| self.set(&site, s));
        quote!(static #site: #p::Site = #value;)
    }

    fn set(&self, site: &TokenStream, setting: &Setting) -> TokenStream {
        let (span, name) = (setting.expr.span(), Ident::new(setting.key.name, at(setting.span)));
        let p = self.private(span);
        let value = match &setting.value {
            Value::Bool(value) => value.to_token_stream(),
            Value::Integer(value) => Literal::u32_unsuffixed(*value).to_token_stream(),
            Value::Real(value) => Literal::f64_unsuffixed(*value).to_token_stream(),
            Value::Duration(value) => duration(*value, span),
            Value::Window(Window::Calls(calls)) => {
                let calls = Literal::u32_unsuffixed(*calls);
                quote_spanned!(at(span)=> #p::Window::Calls(#calls))
            }
            Value::Window(Window::Time(time)) => {
                let time = duration(*time, span);
                quote_spanned!(at(span)=> #p::Window::Time(#time))
            }
            Value::Choice { ty, variant } => {
                let (ty, variant) = (Ident::new(ty, at(span)), Ident::new(variant, at(span)));
                quote_spanned!(at(span)=> #p::#ty::#variant)
            }
            // A call by path has a span of its own: if the constant is out of range, rustc shows
            // the key, and not the whole attribute.
            Value::Constant(path) => {
                let p = self.private(setting.span);
                return quote_spanned!(at(setting.span)=> #p::Site::#name(#site, #path));
            }
        };
        quote_spanned!(at(setting.span)=> #site.#name(#value))
    }
}

pub(crate) fn name() -> Ident {
    Ident::new(SITE, Span::mixed_site())
}

fn duration(duration: Duration, span: Span) -> TokenStream {
    let secs = Literal::u64_unsuffixed(duration.as_secs());
    let nanos = Literal::u32_unsuffixed(duration.subsec_nanos());
    quote_spanned!(at(span)=> ::core::time::Duration::new(#secs, #nanos))
}
