//! Whatever tokens come in, there is no panic, and the function comes out.

use proc_macro2::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};
use proptest::prelude::*;
use quote::quote;

use super::{errors, load, samples, without_errors};
use crate::{attribute::Attribute, expand, function::Function, key::KEYS};

fn tokens(depth: u32) -> BoxedStrategy<TokenStream> {
    let words =
        "[a-z]{1,3}|op|attempts|timeout|clone|crate|self|mut|async|fn|move|async_trait|Self";
    let leaf = prop_oneof![
        4 => words.prop_map(|word: String| TokenTree::from(Ident::new(&word, Span::call_site()))),
        3 => prop::sample::select(b"=,|:<>&'-#!;.".to_vec()).prop_map(|c| {
            // A lone quote is no token, but the start of a lifetime.
            let c = if c == b'\'' { '@' } else { char::from(c) };
            Punct::new(c, Spacing::Alone).into()
        }),
        1 => any::<u32>().prop_map(|n| Literal::u32_unsuffixed(n).into()),
        1 => (-1e9..1e9_f64).prop_map(|x| Literal::f64_suffixed(x.abs()).into()),
        1 => "[ -~]{0,8}".prop_map(|text: String| Literal::string(&text).into()),
    ];
    let tree = leaf.prop_recursive(depth, 64, 8, |inner| {
        let delimiter = prop::sample::select(vec![
            Delimiter::Parenthesis,
            Delimiter::Brace,
            Delimiter::Bracket,
            Delimiter::None,
        ]);
        (delimiter, prop::collection::vec(inner, 0..8)).prop_map(|(delimiter, trees)| {
            TokenTree::Group(Group::new(delimiter, trees.into_iter().collect()))
        })
    });
    prop::collection::vec(tree, 0..16).prop_map(|trees| trees.into_iter().collect()).boxed()
}

fn attribute() -> impl Strategy<Value = Attribute> {
    prop::sample::select(Attribute::ALL.to_vec())
}

/// The item comes out as it was given, with errors, or as a function of the same name.
fn check(which: Attribute, args: TokenStream, item: &TokenStream) {
    let expansion = expand(which, args, item.clone());
    let text = expansion.to_string();
    if text.starts_with(&item.to_string()) {
        assert!(!errors(&expansion).is_empty(), "{text}");
    } else {
        let given = Function::parse(which, item.clone()).unwrap();
        let found = Function::parse(which, without_errors(&expansion)).unwrap();
        assert_eq!(given.sig.ident, found.sig.ident, "{text}");
    }
}

proptest! {
    #[test]
    fn no_arguments_make_it_panic(which in attribute(), args in tokens(3)) {
        let text = expand(which, args.clone(), load()).to_string();
        prop_assert!(text.contains("fn load"));
        prop_assert!(text.contains("get (& key) . await"));
        check(which, args, &load());
    }

    #[test]
    fn no_values_make_it_panic(
        which in attribute(),
        key in prop::sample::select(KEYS.iter().map(|key| key.name).collect::<Vec<_>>()),
        value in tokens(2),
    ) {
        let key = Ident::new(key, Span::call_site());
        check(which, quote!(#key = #value, op = "x"), &load());
        check(which, quote!(op = "x", #key(#value)), &load());
    }

    #[test]
    fn no_item_makes_it_panic(which in attribute(), item in tokens(3)) {
        check(which, quote!(op = "x"), &item);
    }

    #[test]
    fn no_body_makes_it_panic(which in attribute(), body in tokens(3), args in tokens(2)) {
        check(which, quote!(op = "x"), &quote!(async fn f(a: u32, mut b: T) -> R<(), E> { #body }));
        check(which, quote!(op = "x"), &quote!(async fn f(#args) -> R<(), E> { #body }));
    }
}

#[test]
fn no_prefix_makes_it_panic() {
    for item in samples() {
        let trees: Vec<_> = item.into_iter().collect();
        for end in 0..=trees.len() {
            let prefix: TokenStream = trees[..end].iter().cloned().collect();
            for which in Attribute::ALL {
                check(which, quote!(op = "x"), &prefix);
            }
        }
    }
    let args: Vec<_> = quote!(op = "x", attempts = 3, retry_if = |e: &E<A, B>| f(e), clone(key))
        .into_iter()
        .collect();
    for end in 0..=args.len() {
        check(Attribute::RetryWithBreaker, args[..end].iter().cloned().collect(), &load());
    }
}
