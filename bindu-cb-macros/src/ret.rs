//! The return type, as far as the expansion needs it.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{
    FnArg, GenericArgument, Ident, PathArguments, ReturnType, Signature, Token, Type, TypeInfer,
    TypeTuple,
    punctuated::Punctuated,
    spanned::Spanned,
    token,
    visit_mut::{self, VisitMut},
};

pub(crate) struct Return {
    /// The type, with `_` for each `impl Trait`.
    pub(crate) ty: Type,
    /// Where the type is written; the function's name if it is not.
    pub(crate) span: Span,
    /// Where the error type is written, as far as one can see.
    pub(crate) error_span: Span,
}

impl Return {
    pub(crate) fn of(sig: &Signature) -> Self {
        match &sig.output {
            ReturnType::Type(_, ty) => Self::of_type(ty),
            ReturnType::Default => Self::unit(&sig.ident),
        }
    }

    /// Of a function that has no return type.
    pub(crate) fn unit(function: &Ident) -> Self {
        let span = function.span();
        let paren_token = token::Paren(span);
        let unit = TypeTuple { attrs: Vec::new(), paren_token, elems: Punctuated::new() };
        Self { ty: Type::Tuple(unit), span, error_span: span }
    }

    pub(crate) fn of_type(ty: &Type) -> Self {
        let mut erased = ty.clone();
        EraseImplTrait.visit_type_mut(&mut erased);
        Self {
            ty: erased,
            span: ty.span(),
            error_span: error_type(ty).map_or_else(|| ty.span(), Spanned::span),
        }
    }

    /// The lifetimes that the value shows.
    pub(crate) fn lifetimes(&self, sig: &Signature) -> Lifetimes {
        let bounded = sig.generics.where_clause.is_some()
            || sig.generics.lifetimes().any(|lifetime| !lifetime.bounds.is_empty());
        Lifetimes { names: lifetimes(self.ty.to_token_stream()), bounded }
    }
}

/// The lifetimes in a return type, `_` for each that is left out.
pub(crate) struct Lifetimes {
    names: Vec<String>,
    /// Whether one lifetime may stand for another.
    bounded: bool,
}

impl Lifetimes {
    pub(crate) fn any(&self) -> bool {
        !self.names.is_empty()
    }

    /// Whether what is returned may borrow from an argument.
    pub(crate) fn may_come_from(&self, input: &FnArg, borrowed_self: bool) -> bool {
        let is_self = matches!(input, FnArg::Receiver(_));
        let own = lifetimes(input.to_token_stream());
        self.names.iter().any(|name| match name.as_str() {
            "static" => false,
            // Left out, it is the receiver's if that is a reference.
            "_" => is_self || !borrowed_self,
            name => self.bounded || own.iter().any(|own| own == name),
        })
    }
}

struct EraseImplTrait;

impl VisitMut for EraseImplTrait {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::ImplTrait(impl_trait) = ty {
            let underscore_token = Token![_](impl_trait.impl_token.span);
            *ty = Type::Infer(TypeInfer { attrs: Vec::new(), underscore_token });
        } else {
            visit_mut::visit_type_mut(self, ty);
        }
    }
}

/// `E` of `Result<T, E>`. Of `io::Result<T>` it is not written.
fn error_type(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Group(group) => error_type(&group.elem),
        Type::Paren(paren) => error_type(&paren.elem),
        Type::Path(path) => match &path.path.segments.last()?.arguments {
            PathArguments::AngleBracketed(arguments) => match arguments.args.iter().nth(1)? {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// The names of the lifetimes in a type, `_` for each reference without one.
fn lifetimes(tokens: TokenStream) -> Vec<String> {
    let mut names = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                names.extend(tokens.next().map(|name| name.to_string()));
            }
            TokenTree::Punct(punct) if punct.as_char() == '&' => {
                let is_named = |next: &TokenTree| matches!(next, TokenTree::Punct(punct) if punct.as_char() == '\'');
                if !tokens.peek().is_some_and(is_named) {
                    names.push("_".to_owned());
                }
            }
            TokenTree::Group(group) => names.extend(lifetimes(group.stream())),
            _ => {}
        }
    }
    names
}
