//! The item below an attribute: a function whose body stays unread, or a sentence about what it is instead.
//!
//! The body is kept as the tokens it is. That is faster, survives syntax that `syn` does not know yet, and leaves every
//! fault in it to the compiler, which explains it better.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Item, Result, Signature, Token, Visibility};

/// A function with an unread body.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: Group,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature: Signature = input.parse()?;
        if input.peek(Token![;]) {
            return Err(input.error("a declaration has nothing to run: give the function a body"));
        }
        let body: Group = input.parse()?;
        if body.delimiter() != Delimiter::Brace {
            return Err(Error::new(body.span(), "expected the body of a function"));
        }
        Ok(Self { attributes, visibility, signature, body })
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        for attribute in &self.attributes {
            attribute.to_tokens(tokens);
        }
        self.visibility.to_tokens(tokens);
        self.signature.to_tokens(tokens);
        self.body.to_tokens(tokens);
    }
}

impl Function {
    /// Reads the function below `attribute` (its name as a user writes it, such as `#[process_actor]`).
    pub(crate) fn read(attribute: &str, item: TokenStream) -> Result<Self> {
        syn::parse2(item.clone()).map_err(|error| match other_than_function(item) {
            Some((span, kind)) => Error::new(span, format!("`{attribute}` goes on a function: write it above a `fn`, not above {kind}")),
            None => error,
        })
    }
}

/// Where the item says what it is, and what it is, if that is something other than a function.
fn other_than_function(item: TokenStream) -> Option<(Span, &'static str)> {
    Some(match syn::parse2::<Item>(item).ok()? {
        Item::Const(item) => (item.const_token.span(), "a constant"),
        Item::Enum(item) => (item.enum_token.span(), "an enum"),
        Item::ForeignMod(item) => (item.abi.extern_token.span(), "an `extern` block"),
        Item::Impl(item) => (item.impl_token.span(), "an `impl` block"),
        Item::Macro(item) => (item.mac.path.span(), "a macro"),
        Item::Mod(item) => (item.mod_token.span(), "a module"),
        Item::Static(item) => (item.static_token.span(), "a static"),
        Item::Struct(item) => (item.struct_token.span(), "a struct"),
        Item::Trait(item) => (item.trait_token.span(), "a trait"),
        Item::Type(item) => (item.type_token.span(), "a type alias"),
        Item::Union(item) => (item.union_token.span(), "a union"),
        Item::Use(item) => (item.use_token.span(), "a `use`"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn a_body_is_not_read() {
        let function = Function::read("#[it]", quote!(pub fn f(x: i32) -> i32 { some $ future @ syntax })).unwrap();
        assert_eq!(function.signature.ident, "f");
        assert_eq!(function.body.to_string(), "{ some $ future @ syntax }");
    }

    #[test]
    fn other_items_are_called_what_they_are() {
        let sentence = |item| Function::read("#[it]", item).map(|_| ()).unwrap_err().to_string();
        assert_eq!(
            sentence(quote!(
                struct S;
            )),
            "`#[it]` goes on a function: write it above a `fn`, not above a struct"
        );
        assert!(sentence(quote!(impl S {})).ends_with("not above an `impl` block"));
        assert!(
            sentence(quote!(
                fn f();
            ))
            .starts_with("a declaration has nothing to run")
        );
    }
}
