//! The function that the attribute is on. The body stays a heap of tokens: parsing it would cost
//! time, and a half-typed one could not be expanded.

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::{
    Error, Ident, ReturnType, Signature, Token, Visibility, braced,
    ext::IdentExt as _,
    parse::{ParseStream, Parser as _},
    token::Brace,
};

use crate::attribute::Attribute;

pub(crate) struct Function {
    pub(crate) attrs: Vec<syn::Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) inner_attrs: Vec<syn::Attribute>,
    pub(crate) brace: Brace,
    pub(crate) body: TokenStream,
}

impl Function {
    pub(crate) fn parse(which: Attribute, item: TokenStream) -> syn::Result<Self> {
        (|input: ParseStream<'_>| {
            let attrs = input.call(syn::Attribute::parse_outer)?;
            let vis = input.parse()?;
            if let Some(error) = other_item(which, input) {
                return Err(error);
            }
            let sig: Signature = input.parse()?;
            if input.peek(Token![;]) || input.is_empty() {
                return Err(no_body(which, &sig));
            }
            let content;
            let brace = braced!(content in input);
            // One that is half typed is part of the body, for the compiler to complain about.
            let inner_attrs = match content.fork().call(syn::Attribute::parse_inner) {
                Ok(_) => content.call(syn::Attribute::parse_inner)?,
                Err(_) => Vec::new(),
            };
            let body = content.parse()?;
            Ok(Self { attrs, vis, sig, inner_attrs, brace, body })
        })
        .parse2(item)
    }

    /// The error for a function that is not async, and has not been made from one by `async_trait`.
    pub(crate) fn not_async(&self, which: Attribute) -> Error {
        let Signature { ident, fn_token, output, .. } = &self.sig;
        if let ReturnType::Type(_, ty) = output
            && mentions_future(ty.to_token_stream())
        {
            let message = format!(
                "`{}` needs an `async fn`, and this function returns a future: \
                 write `async fn {ident}`, and what the future yields as the return type",
                which.name(),
            );
            return Error::new_spanned(ty, message);
        }
        Error::new(
            fn_token.span,
            format!("`{}` needs an `async fn`: write `async fn {ident}`", which.name()),
        )
    }
}

fn mentions_future(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        proc_macro2::TokenTree::Ident(ident) => {
            ["Future", "IntoFuture", "BoxFuture", "LocalBoxFuture"].iter().any(|name| ident == name)
        }
        proc_macro2::TokenTree::Group(group) => mentions_future(group.stream()),
        _ => false,
    })
}

fn no_body(which: Attribute, sig: &Signature) -> Error {
    let message = format!(
        "`{}` needs a body: put it on the method in each `impl`, or give this one a default body",
        which.name(),
    );
    Error::new(sig.ident.span(), message)
}

/// The error for an item that is no function.
fn other_item(which: Attribute, input: ParseStream<'_>) -> Option<Error> {
    let ahead = input.fork();
    let keyword = loop {
        let word = ahead.call(Ident::parse_any).ok()?;
        let is_qualifier =
            ["async", "auto", "const", "default", "unsafe"].iter().any(|name| word == name);
        if !is_qualifier || ahead.peek(Ident) && word == "const" {
            break word;
        }
    };
    let (what, instead) = match keyword.to_string().as_str() {
        "struct" => ("a struct", "the function that makes the call"),
        "enum" => ("an enum", "the function that makes the call"),
        "union" => ("a union", "the function that makes the call"),
        "impl" => ("an impl block", "each method that makes a call"),
        "trait" => ("a trait", "the methods that have a body"),
        "mod" => ("a module", "each function that makes a call"),
        "const" | "static" => ("a constant", "the function that makes the call"),
        "type" => ("a type", "the function that makes the call"),
        _ => return None,
    };
    let message = format!(
        "`{}` protects an async function, and this is {what}: put it on {instead}",
        which.name()
    );
    Some(Error::new(keyword.span(), message))
}
