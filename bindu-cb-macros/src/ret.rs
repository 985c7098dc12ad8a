//! The return type, as far as the expansion needs it.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote_spanned};
use syn::{
    GenericArgument, Ident, PathArguments, ReturnType, Signature, Token, Type, TypeInfer,
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

    /// Makes the return type known to the async block that it opens, as a signature would: `?` and
    /// `Ok(Box::new(x))` need that.
    /// It is written so that no lint needs to be allowed.
    pub(crate) fn witness(&self) -> TokenStream {
        witness(&self.ty, self.span)
    }

    /// Whether the value may borrow from an argument.
    pub(crate) fn borrows(&self) -> bool {
        has_lifetime(self.ty.to_token_stream())
    }
}

pub(crate) fn witness(ty: &Type, span: Span) -> TokenStream {
    quote_spanned! {Span::mixed_site().located_at(span)=>
        if let ::core::option::Option::Some(__r) = ::core::option::Option::None::<#ty> {
            return __r;
        }
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

fn has_lifetime(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Punct(punct) => matches!(punct.as_char(), '&' | '\''),
        TokenTree::Group(group) => has_lifetime(group.stream()),
        _ => false,
    })
}
