//! What stands in an attribute's parentheses: names, and `key = value` pairs.
//!
//! Both attributes read their arguments as expressions and sort them here, so that a wrong one gets a sentence about
//! what would be right in place of a parser's complaint about a token.

use proc_macro2::{Ident, Span, TokenStream};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, Lit, LitStr, Path, Result, Token};

use crate::refusal::Refusals;

/// One argument of an attribute.
pub(crate) enum Argument {
    /// `Tally`
    Word(Path),
    /// `name = "tally"`
    Pair(Ident, Expr),
    /// Anything else.
    Other(Expr),
}

/// Splits the arguments of an attribute.
pub(crate) fn split(arguments: TokenStream) -> Result<Vec<Argument>> {
    let expressions = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(arguments)?;
    Ok(expressions.into_iter().map(sort).collect())
}

fn sort(expression: Expr) -> Argument {
    match expression {
        Expr::Path(path) if path.qself.is_none() && path.attrs.is_empty() => Argument::Word(path.path),
        Expr::Assign(pair) => match key(&pair.left) {
            Some(key) => Argument::Pair(key, *pair.right),
            None => Argument::Other(Expr::Assign(pair)),
        },
        other => Argument::Other(other),
    }
}

fn key(left: &Expr) -> Option<Ident> {
    match left {
        Expr::Path(path) => path.path.get_ident().cloned(),
        _ => None,
    }
}

/// The text of a string literal.
pub(crate) fn text(key: &Ident, value: &Expr) -> Result<LitStr> {
    match literal(value) {
        Some(Lit::Str(text)) => Ok(text.clone()),
        _ => Err(Error::new(value.span(), format!("`{key}` takes a string literal: write `{key} = \"...\"`"))),
    }
}

/// The literal that an expression is, through the invisible groups that `macro_rules!` makes.
pub(crate) fn literal(value: &Expr) -> Option<&Lit> {
    match value {
        Expr::Lit(literal) => Some(&literal.lit),
        Expr::Group(group) => literal(&group.expr),
        _ => None,
    }
}

/// Where each argument was given first. A second time is refused.
#[derive(Default)]
pub(crate) struct Once(Vec<String>);

impl Once {
    /// Notes that `what` is given at `span`; false, with a refusal, if it already was.
    pub(crate) fn first(&mut self, what: &str, span: Span, refusals: &mut Refusals) -> bool {
        let first = !self.given(what);
        if first {
            self.0.push(what.to_owned());
        } else {
            refusals.at_span(span, format!("{what} is given twice: remove one"));
        }
        first
    }

    /// Whether `what` is given.
    pub(crate) fn given(&self, what: &str) -> bool {
        self.0.iter().any(|given| given == what)
    }
}
