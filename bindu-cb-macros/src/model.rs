//! Options and function -> a model that can be expanded, or every error there is.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Error, Expr, ExprPath, GenericParam, Path, Signature, ext::IdentExt as _, parse_quote};

use crate::{
    args::{self, Hooks, Op, Options, Setting},
    arguments::{Arguments, Use},
    attribute::Attribute,
    body::{Body, Names},
    errors::Errors,
    function::Function,
    ret::Return,
    typed::Typed,
    value::{Value, Window},
};

/// The static in each expansion. Items have no hygiene, hence the name.
pub(crate) const SITE: &str = "__BINDU_CB_SITE";

/// What is expanded. Everything in it is valid.
pub(crate) struct Model {
    pub(crate) which: Attribute,
    pub(crate) function: Function,
    pub(crate) body: Body,
    pub(crate) ret: Return,
    pub(crate) op: Name,
    pub(crate) settings: Vec<Setting>,
    pub(crate) hooks: Hooks,
    pub(crate) key: Option<Expr>,
    pub(crate) arguments: Arguments,
    pub(crate) runtime: Option<Path>,
    pub(crate) typed: Vec<Typed>,
}

/// The name of the operation.
pub(crate) enum Name {
    Given(Op),
    /// Made of the attribute's kind and the function's name.
    OfKind(String),
    /// The function's name, to follow its module's path.
    OfModule(String),
}

impl Model {
    /// With the errors of what cannot be read of the attribute: the model is as if that were not
    /// there.
    pub(crate) fn new(
        which: Attribute,
        args: TokenStream,
        item: TokenStream,
    ) -> syn::Result<(Self, Option<Error>)> {
        let mut unread = Errors::default();
        let mut options = args::parse(which, args, &mut unread);
        if which == Attribute::RetryWithBreaker && !options.given.contains(&"op") {
            let message = "`op` is missing: name the operation, as in `op = \"storage\"`";
            unread.push(Error::new(Span::call_site(), message));
        }
        stand_in(&mut options);
        match Self::of(which, options, item) {
            Ok(model) => Ok((model, unread.into_error())),
            Err(error) => unread.finish(Err(error)),
        }
    }

    fn of(which: Attribute, options: Options, item: TokenStream) -> syn::Result<Self> {
        let mut errors = Errors::default();
        check_settings(&options, &mut errors);
        let mut function = match Function::parse(which, item) {
            Ok(function) => function,
            Err(error) => return errors.finish(Err(error)),
        };
        let names = Names::of(&function.body);
        check_alone(which, &function, &names, &mut errors);
        check_constants(&options, &function.sig, &mut errors);
        let (mut body, ret) = match Body::find(which, &function, &names) {
            Ok(found) => found,
            Err(error) => return errors.finish(Err(error)),
        };
        let usage = Use {
            mentioned: if body.frame.is_some() { Names::of(&body.statements) } else { names },
            clone: &options.clone,
            retries: which.retries(),
            returned: &ret.lifetimes(&function.sig),
        };
        let arguments = Arguments::prepare(&mut function.sig, body.frame.as_mut(), &usage);
        check_arguments(which, &options, &arguments, &mut errors);
        check_key(&options, &mut errors);

        let op = name(which, options.op, &function.sig);
        let Options { settings, hooks, key, runtime, typed, .. } = options;
        errors.finish(Ok(Self {
            which,
            function,
            body,
            ret,
            op,
            settings,
            hooks,
            key,
            arguments,
            runtime,
            typed,
        }))
    }
}

/// Where a hook is given that cannot be read, its default would ask the error type for a `From`
/// that the user has no need of.
fn stand_in(Options { hooks, given, .. }: &mut Options) {
    for (key, hook) in [("on_open", &mut hooks.on_open), ("on_timeout", &mut hooks.on_timeout)] {
        if given.contains(&key) && hook.is_none() {
            *hook = Some(parse_quote!(|_| ::core::unreachable!()));
        }
    }
}

fn name(which: Attribute, given: Option<Op>, sig: &Signature) -> Name {
    let function = sig.ident.unraw();
    match (given, which.kind()) {
        (Some(op), _) => Name::Given(op),
        (None, Some(kind)) => Name::OfKind(format!("{}:{function}", kind.prefix)),
        (None, None) => Name::OfModule(function.to_string()),
    }
}

/// Settings that contradict each other.
fn check_settings(options: &Options, errors: &mut Errors) {
    if let (Some(min), Some(max)) = (options.setting("min_wait"), options.setting("max_wait"))
        && let (Value::Duration(shortest), Value::Duration(longest)) = (&min.value, &max.value)
        && shortest > longest
    {
        let message = format!("`min_wait` ({shortest:?}) is longer than `max_wait` ({longest:?})");
        errors.push(Error::new_spanned(&min.expr, message));
    }
    check_adaptive(options, errors);
    let Some(window) = options.setting("window") else {
        return;
    };
    if let Some(minimum) = options.setting("minimum_calls")
        && let (Value::Integer(least), Value::Window(Window::Calls(calls))) =
            (&minimum.value, &window.value)
        && least > calls
    {
        let message =
            format!("`minimum_calls` ({least}) is more than the window holds ({calls} calls)");
        errors.push(Error::new_spanned(&minimum.expr, message));
    }
    if let Some(threshold) = options.setting("failure_threshold") {
        let message = "`failure_threshold` counts failures in a row, and `window` is given in \
                       place of that: leave one of them out";
        errors.push(Error::new(threshold.span, message));
    }
}

fn check_key(options: &Options, errors: &mut Errors) {
    if let (Some(key), Some(_)) = (&options.key, &options.hooks.class) {
        let message = "`key` gives each call a circuit, and `class` each error: a function can have \
                       one of them; leave the other out";
        errors.push(Error::new_spanned(key, message));
    }
}

/// A threshold that is learnt needs a window and its own bounds.
fn check_adaptive(options: &Options, errors: &mut Errors) {
    if let (Some(min), Some(max)) =
        (options.setting("adaptive_min"), options.setting("adaptive_max"))
        && let (Value::Integer(least), Value::Integer(most)) = (&min.value, &max.value)
        && least > most
    {
        let message = format!("`adaptive_min` ({least}) is more than `adaptive_max` ({most})");
        errors.push(Error::new_spanned(&min.expr, message));
    }
    let Some(adaptive) = options.setting("adaptive") else {
        return;
    };
    if !matches!(adaptive.value, Value::Bool(true)) {
        return;
    }
    if !options.given.contains(&"window") {
        let message = "`adaptive` learns from a window, and none is given: add one, as in \
                       `window = \"30s\"`";
        errors.push(Error::new(adaptive.span, message));
    }
    if let Some(rate) = options.setting("failure_rate") {
        let message = "`failure_rate` is fixed, and `adaptive` is given in place of that: leave \
                       one of them out, and bound what is learnt by `adaptive_min` and \
                       `adaptive_max`";
        errors.push(Error::new(rate.span, message));
    }
}

/// One attribute of ours on a function is enough.
fn check_alone(which: Attribute, function: &Function, names: &Names, errors: &mut Errors) {
    let mut clash = |span, other: &str| {
        let message = format!(
            "`{other}` is the second attribute of bindu-cb on this function: keep one of them"
        );
        errors.push(Error::new(span, message));
    };
    for attr in &function.attrs {
        if let Some(last) = attr.path().segments.last()
            && let Some(other) = Attribute::ALL.iter().find(|other| last.ident == other.name())
        {
            clash(last.ident.span(), other.name());
        }
    }
    // Under another name the other one is not seen, and has expanded first.
    if names.contains(SITE) {
        clash(Span::call_site(), which.name());
    }
}

/// Constants are used in a static, where neither `Self` nor generics are known.
fn check_constants(options: &Options, sig: &Signature, errors: &mut Errors) {
    let op = match &options.op {
        Some(Op::Constant(path)) => Some(("op", path)),
        _ => None,
    };
    let settings = options.settings.iter().filter_map(|setting| match &setting.value {
        Value::Constant(path) => Some((setting.key.name, path)),
        _ => None,
    });
    for (key, path) in op.into_iter().chain(settings) {
        if names_generic(path, sig) {
            let message = format!(
                "`{key}` is fixed for every instance of the function, and can depend neither on \
                 `Self` nor on generics: use the literal, or a `const` outside of the `impl`"
            );
            errors.push(Error::new_spanned(path, message));
        }
    }
}

/// Whether a path goes through `Self` or a generic parameter of the function.
fn names_generic(path: &ExprPath, sig: &Signature) -> bool {
    let generics: Vec<_> = sig
        .generics
        .params
        .iter()
        .filter_map(|param| match param {
            GenericParam::Type(param) => Some(&param.ident),
            GenericParam::Const(param) => Some(&param.ident),
            GenericParam::Lifetime(_) => None,
        })
        .collect();
    let mut after_colon = false;
    path.to_token_stream().into_iter().any(|token| {
        // Behind `::` stands an item, whatever its name.
        let follows = std::mem::replace(
            &mut after_colon,
            matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':'),
        );
        match token {
            TokenTree::Ident(ident) => ident == "Self" || !follows && generics.contains(&&ident),
            _ => false,
        }
    })
}

fn check_arguments(
    which: Attribute,
    options: &Options,
    arguments: &Arguments,
    errors: &mut Errors,
) {
    for name in &options.clone {
        if name == "self" {
            let message =
                "`self` cannot be given to `clone`: write `let this = self.clone();` in the body";
            errors.push(Error::new(name.span(), message));
        } else if !arguments.names.contains(name) {
            let names: Vec<_> = arguments.names.iter().map(|name| format!("`{name}`")).collect();
            let known = if names.is_empty() {
                String::from("it has none")
            } else {
                format!("those are {}", names.join(", "))
            };
            let message = format!("`{name}` is no argument of this function; {known}");
            errors.push(Error::new(name.span(), message));
        }
    }
    if let Some(Op::Constant(ExprPath { qself: None, path, .. })) = &options.op
        && let Some(name) = path.get_ident()
        && arguments.names.contains(name)
    {
        let message = format!(
            "`{name}` is an argument, and `op` is a constant: \
             all calls of this function share one circuit"
        );
        errors.push(Error::new(name.span(), message));
    }
    if which.retries()
        && let Some(mutability) = arguments.mut_self
    {
        let message = "each attempt starts with the `self` of the call: take `self`, and write \
                       `let mut this = self;` in the body";
        errors.push(Error::new(mutability.span, message));
    }
}
