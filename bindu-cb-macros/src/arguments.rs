//! What becomes of the function's arguments: which of them start afresh at each attempt, and which
//! the attempt must hold by `&mut`, so that the future is `Send` wherever the original was.

use std::mem;

use proc_macro2::{Ident, Span, TokenTree};
use quote::ToTokens;
use syn::{
    Attribute, Expr, FnArg, Local, Pat, PatIdent, Receiver, ReceiverKind, Signature, Stmt, Token,
    Type,
    visit_mut::{self, VisitMut},
};

use crate::{
    body::{Frame, Names, Shape},
    ret::Lifetimes,
};

/// What an attempt begins with, before the user's statements.
#[derive(Default)]
pub(crate) struct Arguments {
    /// The names that can be given to `clone(…)`.
    pub(crate) names: Vec<Ident>,
    pub(crate) touches: Vec<Touch>,
    pub(crate) locals: Vec<Fresh>,
    /// The `mut` of each `mut self` by value.
    pub(crate) mut_self: Option<Token![mut]>,
}

/// A binding that the attempt captures by `&mut`. Captured by `&`, an argument that is `Send` but
/// not `Sync` would make the future not `Send`.
pub(crate) struct Touch {
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The binding itself, which is made `mut` where it stands.
    Binding,
    /// What the binding, a `&mut`, points to.
    Pointee,
    /// A binding of the same name in front of the loop: a pattern may bind by reference, where
    /// `mut` would mean something else.
    Rebound,
}

/// A binding that an attempt makes for itself.
pub(crate) struct Fresh {
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) mutability: Option<Token![mut]>,
    pub(crate) name: Ident,
    pub(crate) from: Source,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Copy,
    Clone,
    Reborrow,
}

/// How a type looks; what an alias hides is not known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Looks {
    Owned,
    Shared,
    Mutable,
    /// Part of a pattern whose type is not written out.
    Unknown,
}

/// What the arguments are judged by.
pub(crate) struct Use<'a> {
    pub(crate) mentioned: Names,
    pub(crate) clone: &'a [Ident],
    /// Whether the body may run more than once.
    pub(crate) retries: bool,
    pub(crate) returned: &'a Lifetimes,
}

impl Arguments {
    /// Moves each `mut` of the signature (or of `async_trait`'s copies of it) to where it belongs.
    pub(crate) fn prepare(sig: &mut Signature, frame: Option<&mut Frame>, usage: &Use<'_>) -> Self {
        let mut pass = Pass {
            usage,
            cfgs: Vec::new(),
            looks: Looks::Unknown,
            may_be_returned: false,
            found: Self::default(),
        };
        let borrowed_self = sig
            .receiver()
            .is_some_and(|receiver| !matches!(receiver_looks(receiver), Looks::Owned));
        let sources: Vec<_> = sig
            .inputs
            .iter()
            .map(|input| usage.returned.may_come_from(input, borrowed_self))
            .collect();
        let moved_in = frame.filter(|frame| frame.shape == Shape::AsyncTrait);
        let copied = moved_in.is_some();
        if let Some(frame) = moved_in {
            frame.at(|stmts, index| {
                for stmt in &mut stmts[..index] {
                    if let Stmt::Local(local) = stmt {
                        // There every lifetime has a name of its own, and none is left to see here.
                        pass.may_be_returned = usage.returned.any();
                        pass.copy(local, sig);
                    }
                }
            });
        }
        for (input, may_be_returned) in sig.inputs.iter_mut().zip(sources) {
            pass.may_be_returned = may_be_returned;
            match input {
                FnArg::Receiver(receiver) if !copied => pass.receiver(receiver),
                FnArg::Typed(arg) if !copied || looks(&arg.ty) != Looks::Owned => {
                    pass.cfgs = cfgs(&arg.attrs);
                    pass.pattern(&mut arg.pat, Some(&arg.ty));
                }
                _ => {}
            }
        }
        pass.found
    }
}

struct Pass<'a> {
    usage: &'a Use<'a>,
    cfgs: Vec<Attribute>,
    looks: Looks,
    /// Whether what the function returns may borrow from the argument at hand.
    may_be_returned: bool,
    found: Arguments,
}

impl Pass<'_> {
    /// A `let` with which `async_trait` moves an argument into its future.
    fn copy(&mut self, local: &mut Local, sig: &Signature) {
        let Some(source) = local.init.as_ref().and_then(|init| last_ident(&*init.expr)) else {
            return;
        };
        self.cfgs = cfgs(&local.attrs);
        if let Pat::Ident(pat) = &mut local.pat
            && pat.ident == "__self"
        {
            let looks = sig.receiver().map_or(Looks::Unknown, receiver_looks);
            let name = pat.ident.clone();
            self.self_value(&name, &mut pat.mutability, looks);
            return;
        }
        let ty = sig.inputs.iter().find_map(|input| match input {
            FnArg::Typed(arg) => match &*arg.pat {
                Pat::Ident(pat) if pat.ident == source => Some(&*arg.ty),
                _ => None,
            },
            FnArg::Receiver(_) => None,
        });
        // `let __arg1 = __arg1;` stands for `_`.
        if !matches!(&local.pat, Pat::Ident(pat) if pat.ident.to_string().starts_with("__arg")) {
            self.pattern(&mut local.pat, ty);
        }
    }

    fn receiver(&mut self, receiver: &mut Receiver) {
        self.cfgs = cfgs(&receiver.attrs);
        let looks = receiver_looks(receiver);
        let name = Ident::new("self", receiver.self_token.span);
        self.self_value(&name, &mut receiver.mutability, looks);
    }

    fn self_value(&mut self, name: &Ident, mutability: &mut Option<Token![mut]>, looks: Looks) {
        if looks == Looks::Owned && mutability.is_some() {
            self.found.mut_self = *mutability;
        }
        if self.touch(name, looks) && looks == Looks::Owned && mutability.is_none() {
            *mutability = Some(Token![mut](Span::mixed_site()));
        }
    }

    fn pattern(&mut self, pat: &mut Pat, ty: Option<&Type>) {
        self.looks = ty.map_or(Looks::Unknown, looks);
        match (pat, ty.map(bare)) {
            (Pat::Tuple(pat), Some(Type::Tuple(ty))) if pat.elems.len() == ty.elems.len() => {
                for (pat, ty) in pat.elems.iter_mut().zip(&ty.elems) {
                    // If `..` is among them it stands for exactly one, since they are as many.
                    self.pattern(pat, Some(ty));
                }
            }
            (Pat::Paren(paren), _) => self.pattern(&mut paren.pat, ty),
            (Pat::Ident(pat), _) => self.visit_pat_ident_mut(pat),
            (pat, _) => {
                self.looks = Looks::Unknown;
                visit_mut::visit_pat_mut(self, pat);
            }
        }
    }

    fn binding(&mut self, pat: &mut PatIdent) {
        self.found.names.push(pat.ident.clone());
        if pat.by_ref.is_some() {
            return;
        }
        let looks = if pat.subpat.is_some() { Looks::Unknown } else { self.looks };
        let made_fresh = pat.mutability.is_some() && self.usage.retries;
        let cloned = self.usage.retries && self.usage.clone.contains(&pat.ident);
        let given = pat.mutability;
        if self.usage.retries {
            let from = match looks {
                _ if cloned => Some(Source::Clone),
                _ if given.is_none() => None,
                Looks::Mutable => Some(Source::Reborrow),
                _ => Some(Source::Copy),
            };
            if let Some(from) = from {
                let name = pat.ident.clone();
                self.found.locals.push(Fresh {
                    cfgs: self.cfgs.clone(),
                    mutability: given,
                    name,
                    from,
                });
                pat.mutability = None;
            }
        }
        // A `mut` binding of a pattern is one by value.
        let looks = if made_fresh && looks == Looks::Unknown { Looks::Owned } else { looks };
        if self.touch(&pat.ident, looks) && looks == Looks::Owned && pat.mutability.is_none() {
            pat.mutability = Some(Token![mut](Span::mixed_site()));
        }
    }

    /// Notes that a binding is to be captured by `&mut`, if that is so.
    fn touch(&mut self, name: &Ident, looks: Looks) -> bool {
        let text = name.to_string();
        let how = match looks {
            Looks::Owned => How::Binding,
            Looks::Mutable => How::Pointee,
            Looks::Unknown => How::Rebound,
            Looks::Shared => return false,
        };
        // A borrow of what it points to, returned, would have to outlive the attempt.
        if how != How::Binding && self.may_be_returned {
            return false;
        }
        // An argument that the body does not use must still be reported as unused; and what looks
        // like a binding, but begins with a capital, may be a constant or a unit struct.
        let is_self = text == "self" || text == "__self";
        let used = self.usage.mentioned.contains(&text);
        let binding = is_self
            || text.starts_with(|c: char| c.is_lowercase() || c == '_')
            || text.starts_with("r#");
        if !(used && binding) {
            return false;
        }
        let cfgs = self.cfgs.clone();
        self.found.touches.push(Touch { cfgs, name: name.clone(), how });
        true
    }
}

impl VisitMut for Pass<'_> {
    fn visit_pat_ident_mut(&mut self, pat: &mut PatIdent) {
        self.binding(pat);
        let outer = mem::replace(&mut self.looks, Looks::Unknown);
        visit_mut::visit_pat_ident_mut(self, pat);
        self.looks = outer;
    }

    fn visit_expr_mut(&mut self, _: &mut Expr) {}
}

fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        _ => ty,
    }
}

fn looks(ty: &Type) -> Looks {
    match bare(ty) {
        Type::Reference(reference) if reference.mutability.is_some() => Looks::Mutable,
        Type::Reference(_) => Looks::Shared,
        _ => Looks::Owned,
    }
}

fn receiver_looks(receiver: &Receiver) -> Looks {
    match &receiver.kind {
        ReceiverKind::Value => Looks::Owned,
        ReceiverKind::Reference(_, _, None) => Looks::Shared,
        ReceiverKind::Reference(..) => Looks::Mutable,
        ReceiverKind::Typed(_, ty) => looks(ty),
        _ => Looks::Unknown,
    }
}

/// An argument that is compiled conditionally has its statements compiled likewise.
fn cfgs(attrs: &[Attribute]) -> Vec<Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect()
}

fn last_ident(code: &impl ToTokens) -> Option<Ident> {
    code.to_token_stream().into_iter().fold(None, |last, token| match token {
        TokenTree::Ident(ident) => Some(ident),
        TokenTree::Group(group) => last_ident(&group.stream()).or(last),
        _ => last,
    })
}
