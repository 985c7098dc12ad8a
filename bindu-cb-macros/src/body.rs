//! Where the user's block is. `async_trait` and `tracing::instrument` expand first when they stand
//! above, and hand on a body with their own code around it: the loop goes inside of that.

use std::collections::HashSet;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Block, Error, Expr, ExprClosure, GenericParam, Item, Local, Pat, Stmt, Type,
    parse::Parser as _,
    visit_mut::{self, VisitMut},
};

use crate::{attribute::Attribute, function::Function, ret::Return};

pub(crate) struct Body {
    /// What the user wrote between the braces.
    pub(crate) statements: TokenStream,
    /// The braces.
    pub(crate) span: Span,
    pub(crate) frame: Option<Frame>,
}

/// Another macro's code around the user's block.
pub(crate) struct Frame {
    pub(crate) shape: Shape,
    block: Block,
}

/// The shapes that are known. They are other crates' private matters, which only tests hold still.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// ```text
    /// Box::pin(async move {
    ///     …; let __self = self; let x = x; let __ret: R = { /* here */ }; __ret
    /// })
    /// ```
    AsyncTrait,
    /// ```text
    /// let __tracing_instrument_future = async move {
    ///     if false { let __tracing_attr_fake_return: R = loop {}; return …; }
    ///     { /* here */ }
    /// };
    /// ```
    Instrument,
}

impl Body {
    /// Finds the user's block, and what it returns.
    pub(crate) fn find(
        which: Attribute,
        function: &Function,
        names: &Names,
    ) -> syn::Result<(Self, Return)> {
        let sig = &function.sig;
        let message = if sig.asyncness.is_none() {
            if !sig.generics.params.iter().any(is_async_trait) {
                return Err(function.not_async(which));
            }
            if let Some(found) = Frame::find(Shape::AsyncTrait, function)? {
                return Ok(found);
            }
            "cannot find the body of this method in what `async_trait` has made of it: \
             put the attribute on an inherent `async fn`, and call that here"
        } else if names.contains("__tracing_instrument_future") {
            if let Some(found) = Frame::find(Shape::Instrument, function)? {
                return Ok(found);
            }
            "cannot find the body of this function in what `instrument` has made of it: \
             put `instrument` below this attribute"
        } else {
            let body = Self {
                statements: function.body.clone(),
                span: function.brace.span.join(),
                frame: None,
            };
            return Ok((body, Return::of(sig)));
        };
        Err(Error::new(sig.ident.span(), message))
    }
}

fn is_async_trait(param: &GenericParam) -> bool {
    matches!(param, GenericParam::Lifetime(param) if param.lifetime.ident == "async_trait")
}

impl Frame {
    fn find(shape: Shape, function: &Function) -> syn::Result<Option<(Body, Return)>> {
        let stmts = Block::parse_within.parse2(function.body.clone())?;
        let mut frame = Self { shape, block: Block { brace_token: function.brace, stmts } };
        let found = frame.at(|stmts, index| {
            let (ty, block) = hole(shape, &mut stmts[index])?;
            let ret = match (shape, ty) {
                (_, Some(ty)) => Return::of_type(ty),
                (Shape::AsyncTrait, None) => Return::unit(&function.sig.ident),
                (Shape::Instrument, None) => Return::of(&function.sig),
            };
            let mut statements = TokenStream::new();
            block.stmts.iter().for_each(|stmt| stmt.to_tokens(&mut statements));
            Some((statements, block.brace_token.span.join(), ret))
        });
        Ok(found
            .flatten()
            .map(|(statements, span, ret)| (Body { statements, span, frame: Some(frame) }, ret)))
    }

    /// Runs `act` on the statements among which the user's block is, and its index.
    pub(crate) fn at<R>(&mut self, act: impl FnOnce(&mut [Stmt], usize) -> R) -> Option<R> {
        let mut search = Search { shape: self.shape, act: Some(act), result: None };
        search.visit_block_mut(&mut self.block);
        search.result
    }

    /// The whole body, with `tokens` in place of the user's statements.
    pub(crate) fn fill(&self, tokens: TokenStream) -> TokenStream {
        let mut filled = Self { shape: self.shape, block: self.block.clone() };
        filled.at(|stmts, index| {
            if let Some((_, block)) = hole(self.shape, &mut stmts[index]) {
                block.stmts = vec![Stmt::Expr(Expr::Verbatim(tokens), None)];
            }
        });
        let stmts = &filled.block.stmts;
        quote!(#(#stmts)*)
    }
}

struct Search<F, R> {
    shape: Shape,
    act: Option<F>,
    result: Option<R>,
}

impl<F: FnOnce(&mut [Stmt], usize) -> R, R> VisitMut for Search<F, R> {
    fn visit_block_mut(&mut self, block: &mut Block) {
        if let Some(index) = position(self.shape, &mut block.stmts)
            && let Some(act) = self.act.take()
        {
            self.result = Some(act(&mut block.stmts, index));
        } else if self.act.is_some() {
            visit_mut::visit_block_mut(self, block);
        }
    }

    fn visit_item_mut(&mut self, _: &mut Item) {}

    fn visit_expr_closure_mut(&mut self, _: &mut ExprClosure) {}
}

/// The index of the statement that holds the user's block, if it is among these.
fn position(shape: Shape, stmts: &mut [Stmt]) -> Option<usize> {
    if shape == Shape::Instrument {
        let Some(Stmt::Expr(Expr::If(first), _)) = stmts.first() else {
            return None;
        };
        if !Names::of(&first.then_branch).contains("__tracing_attr_fake_return") {
            return None;
        }
    }
    stmts.iter_mut().position(|stmt| hole(shape, stmt).is_some())
}

fn hole(shape: Shape, stmt: &mut Stmt) -> Option<(Option<&Type>, &mut Block)> {
    match (shape, stmt) {
        (Shape::AsyncTrait, Stmt::Local(Local { pat: Pat::Type(pat), init: Some(init), .. })) => {
            let ty = match &*pat.pat {
                Pat::Ident(name) if name.ident == "__ret" => Some(&*pat.ty),
                // Of a method that returns nothing.
                Pat::Wild(_) => None,
                _ => return None,
            };
            match &mut *init.expr {
                Expr::Block(expr) => Some((ty, &mut expr.block)),
                _ => None,
            }
        }
        (Shape::Instrument, Stmt::Expr(Expr::Block(expr), None)) => Some((None, &mut expr.block)),
        _ => None,
    }
}

/// The names that some code mentions, those in string literals included: format arguments may be
/// inline.
pub(crate) struct Names(HashSet<String>);

impl Names {
    pub(crate) fn of(code: &impl ToTokens) -> Self {
        let mut names = Self(HashSet::new());
        names.collect(code.to_token_stream());
        names
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    fn collect(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    self.0.insert(ident.to_string());
                }
                TokenTree::Group(group) => self.collect(group.stream()),
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    if text.contains('"') {
                        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
                        self.0.extend(words.filter(|word| !word.is_empty()).map(String::from));
                    }
                }
                TokenTree::Punct(_) => {}
            }
        }
    }
}
