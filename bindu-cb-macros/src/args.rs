//! The attribute's tokens -> options, each with its tokens. After an error, parsing goes on at the
//! next key.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::{
    Error, Expr, ExprPath, Ident, LitStr, Path, Token,
    ext::IdentExt as _,
    parenthesized,
    parse::{ParseStream, Parser as _},
    token,
};

use crate::{
    attribute::Attribute,
    errors::Errors,
    key::{self, Form, KEYS, Key, Scope},
    typed::Typed,
    value::{Value, bare},
};

/// What the attribute gives.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) op: Option<Op>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) hooks: Hooks,
    /// What each call's circuit is chosen by.
    pub(crate) key: Option<Expr>,
    pub(crate) clone: Vec<Ident>,
    pub(crate) runtime: Option<Path>,
    /// The keys, also of values that were wrong.
    pub(crate) given: Vec<&'static str>,
    /// What an editor may complete, in the order in which it was typed.
    pub(crate) typed: Vec<Typed>,
}

/// The name of the operation.
pub(crate) enum Op {
    Literal(LitStr),
    Constant(ExprPath),
}

/// A value for the setter of the key's name.
pub(crate) struct Setting {
    pub(crate) key: &'static Key,
    pub(crate) span: Span,
    pub(crate) value: Value,
    /// The value as it was written, for errors.
    pub(crate) expr: Expr,
}

/// Closures and paths of functions.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) retry_if: Option<Expr>,
    pub(crate) record_if: Option<Expr>,
    pub(crate) fail_if: Option<Expr>,
    pub(crate) retry_after: Option<Expr>,
    pub(crate) class: Option<Expr>,
    pub(crate) on_open: Option<Expr>,
    pub(crate) on_timeout: Option<Expr>,
}

impl Options {
    pub(crate) fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key.name == name)
    }
}

pub(crate) fn parse(which: Attribute, tokens: TokenStream, errors: &mut Errors) -> Options {
    let mut parser = Parser { which, options: Options::default(), errors };
    let parsed = (|input: ParseStream<'_>| parser.parse(input)).parse2(tokens);
    let options = parser.options;
    errors.check(parsed);
    options
}

struct Parser<'a> {
    which: Attribute,
    options: Options,
    errors: &'a mut Errors,
}

impl Parser<'_> {
    fn parse(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        while !input.is_empty() {
            if let Err(error) = self.argument(input) {
                self.errors.push(error);
                skip(input)?;
            }
            if input.parse::<Option<Token![,]>>()?.is_none() && !input.is_empty() {
                self.errors.push(input.error("expected `,`"));
                if !at_key(input) {
                    skip(input)?;
                    input.parse::<Option<Token![,]>>()?;
                }
            }
        }
        Ok(())
    }

    /// `key = value` or `clone(a, b)`.
    fn argument(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let Ok(name) = input.call(Ident::parse_any) else {
            return Err(no_key(input));
        };
        let text = name.unraw().to_string();
        let Some(key) = key::find(&text) else {
            self.errors.push(Error::new(name.span(), self.unknown(&text)));
            self.options.typed.push(Typed { name, value: None });
            return skip(input);
        };
        if key.scope == Scope::Retry && !self.which.retries() {
            let message = format!(
                "`{text}` belongs to a retry loop, and `{}` has none: \
                 use `retry_with_breaker`, or leave the key out",
                self.which.name(),
            );
            self.errors.push(Error::new(name.span(), message));
            return skip(input);
        }
        if self.options.given.contains(&key.name) {
            self.errors.push(Error::new(name.span(), format!("`{text}` is given twice")));
            return skip(input);
        }
        self.options.given.push(key.name);
        if let Form::Names = key.form {
            self.names(&name, input)
        } else {
            self.value(key, &name, input)
        }
    }

    fn unknown(&self, name: &str) -> String {
        let fits = |key: &&Key| key.scope == Scope::All || self.which.retries();
        let keys: Vec<_> = KEYS.iter().filter(fits).map(|key| key.name).collect();
        let hint = match key::nearest(name, &keys) {
            Some(key) => format!("; did you mean `{key}`?"),
            None => String::new(),
        };
        format!("unknown key `{name}`{hint}\nthe keys are `{}`", keys.join("`, `"))
    }

    /// The names in `clone(a, b)`. `self` is let through: the model has an error of its own for it.
    fn names(&mut self, name: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
        if !input.peek(token::Paren) {
            return Err(Error::new(
                name.span(),
                "write the names of arguments in parentheses: `clone(a, b)`",
            ));
        }
        let content;
        parenthesized!(content in input);
        while !content.is_empty() {
            let Ok(name) = content.call(Ident::parse_any) else {
                self.errors.push(content.error("expected the name of an argument"));
                break;
            };
            if self.options.clone.contains(&name) {
                self.errors.push(Error::new(name.span(), format!("`{name}` is named twice")));
            } else {
                self.options.clone.push(name);
            }
            if content.parse::<Option<Token![,]>>()?.is_none() && !content.is_empty() {
                self.errors.push(content.error("expected `,`: `clone` takes names of arguments"));
                break;
            }
        }
        // What is left belongs to the error, and has none of its own.
        content.parse::<TokenStream>()?;
        Ok(())
    }

    fn value(
        &mut self,
        key: &'static Key,
        name: &Ident,
        input: ParseStream<'_>,
    ) -> syn::Result<()> {
        self.typed(key, name, input)?;
        if !input.peek(Token![=]) || input.peek(Token![==]) || no_value(input) {
            return Err(Error::new(
                name.span(),
                format!("`{}` needs a value: `{} = …`", key.name, key.name),
            ));
        }
        input.parse::<Token![=]>()?;
        let expr: Expr = input.parse()?;
        match &key.form {
            Form::Op => self.options.op = self.errors.check(op(&expr)),
            Form::Crate => self.options.runtime = self.errors.check(runtime(&expr)),
            Form::Hook(select) => {
                let hook = self.errors.check(hook(key.name, &expr));
                *select(&mut self.options.hooks) = hook;
            }
            Form::Setting(kind) => {
                if let Some(value) = self.errors.check(kind.parse(key.name, &expr)) {
                    self.options.settings.push(Setting { key, span: name.span(), value, expr });
                }
            }
            Form::Key => self.options.key = self.errors.check(circuit_key(expr)),
            Form::Names => {}
        }
        Ok(())
    }
}

impl Parser<'_> {
    /// Notes what follows a key, whether or not it will be understood.
    fn typed(&mut self, key: &Key, name: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
        let ahead = input.fork();
        let value = match ahead.parse::<Option<Token![=]>>()? {
            Some(_) => Some(skipped(&ahead)?),
            None => None,
        };
        let typed = Typed { name: name.clone(), value };
        if !matches!(key.form, Form::Crate) && !typed.is_literal() {
            self.options.typed.push(typed);
        }
        Ok(())
    }
}

fn no_key(input: ParseStream<'_>) -> Error {
    match input.fork().parse::<LitStr>() {
        Ok(lit) => Error::new(
            lit.span(),
            format!("expected `key = value`; the name is given as `op = {:?}`", lit.value()),
        ),
        Err(_) => input.error("expected `key = value`"),
    }
}

/// Whether nothing follows the `=`.
fn no_value(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    ahead.parse::<Token![=]>().is_ok() && (ahead.is_empty() || ahead.peek(Token![,]))
}

/// To the comma before the next key, or to the end. Other commas are part of what is being skipped,
/// such as a closure's.
fn skip(input: ParseStream<'_>) -> syn::Result<()> {
    skipped(input).map(drop)
}

fn skipped(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    let mut tokens = TokenStream::new();
    while !input.is_empty() {
        if input.peek(Token![,]) {
            let ahead = input.fork();
            ahead.parse::<Token![,]>()?;
            if ahead.is_empty() || at_key(&ahead) {
                break;
            }
        }
        tokens.extend([input.parse::<TokenTree>()?]);
    }
    Ok(tokens)
}

fn at_key(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    match ahead.call(Ident::parse_any) {
        Ok(name) if ahead.peek(Token![=]) => {
            !ahead.peek(Token![==]) && !ahead.peek(Token![=>]) || name == "crate"
        }
        Ok(name) => name == "clone" && ahead.peek(token::Paren),
        Err(_) => false,
    }
}

fn op(expr: &Expr) -> syn::Result<Op> {
    match bare(expr) {
        Expr::Lit(lit) if let syn::Lit::Str(lit) = &lit.lit => {
            if lit.value().trim().is_empty() {
                return Err(Error::new(
                    lit.span(),
                    "`op` is empty: give the operation a name, such as \"storage\"",
                ));
            }
            Ok(Op::Literal(lit.clone()))
        }
        Expr::Path(path) => Ok(Op::Constant(path.clone())),
        other => Err(Error::new_spanned(
            other,
            "`op` takes a string literal, or the path of a `&'static str` constant",
        )),
    }
}

fn runtime(expr: &Expr) -> syn::Result<Path> {
    match bare(expr) {
        Expr::Path(path) if path.qself.is_none() => Ok(path.path.clone()),
        // The form that serde and tokio take.
        Expr::Lit(lit) if let syn::Lit::Str(lit) = &lit.lit => lit.parse(),
        other => Err(Error::new_spanned(
            other,
            "`crate` takes a path, such as `crate::reexports::bindu_cb`",
        )),
    }
}

fn circuit_key(expr: Expr) -> syn::Result<Expr> {
    match bare(&expr) {
        Expr::Lit(_) => Err(Error::new_spanned(
            expr,
            "`key` is an expression over the arguments, such as `key = tenant`: \
             of a literal all calls have the same circuit",
        )),
        Expr::Closure(_) => Err(Error::new_spanned(
            expr,
            "`key` is an expression over the arguments, such as `key = request.host()`, \
             and no closure",
        )),
        _ => Ok(expr),
    }
}

fn hook(key: &str, expr: &Expr) -> syn::Result<Expr> {
    match bare(expr) {
        Expr::Closure(closure) => {
            if closure.inputs.len() != 1 {
                return Err(Error::new_spanned(
                    expr,
                    format!("`{key}` takes a closure of one argument"),
                ));
            }
            if key != "on_open"
                && let Some(asyncness) = &closure.asyncness
            {
                return Err(Error::new(asyncness.span, format!("`{key}` cannot be async")));
            }
        }
        Expr::Path(_) => {}
        other => {
            return Err(Error::new_spanned(
                other,
                format!("`{key}` takes a closure or the path of a function"),
            ));
        }
    }
    Ok(bare(expr).clone())
}
