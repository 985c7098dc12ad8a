//! What has been typed into the attribute, for editors: they complete by what an expansion contains,
//! at the place where the same code is when it has been typed further. So this comes first in the
//! function, and is there whether the attribute is right or half typed; to the compiler it is nothing.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote;

use crate::expand::{Expansion, ours};

/// A key, and what follows its `=`.
pub(crate) struct Typed {
    pub(crate) name: Ident,
    pub(crate) value: Option<TokenStream>,
}

impl Typed {
    /// In a literal there is nothing to complete.
    pub(crate) fn is_literal(&self) -> bool {
        self.value.clone().is_some_and(|value| {
            !value.is_empty()
                && value.into_iter().all(|token| match token {
                    TokenTree::Literal(_) => true,
                    TokenTree::Ident(word) => word == "true" || word == "false",
                    TokenTree::Punct(punct) => punct.as_char() == '-',
                    TokenTree::Group(_) => false,
                })
        })
    }
}

impl Expansion<'_> {
    /// `p::typed! { if false { let _ = p::attribute::<R, _, _>().retry_if(|e| e.); loop {} } }`
    pub(crate) fn typed(&self) -> Option<TokenStream> {
        let (p, ty) = (&self.p, &self.model.ret.ty);
        let typed = &self.model.typed;
        if typed.is_empty() {
            return None;
        }
        let calls = typed.iter().map(|Typed { name, value }| match value {
            None => quote!(.#name),
            Some(value) => {
                let value = self.renamed(value);
                // Of an argument, a key takes no more than it needs.
                if name == "key" { quote!(.#name(&(#value))) } else { quote!(.#name(#value)) }
            }
        });
        Some(
            ours!(#p::typed! { if false { let _ = #p::attribute::<#ty, _, _>()#(#calls)*; loop {} } }),
        )
    }
}
