//! What the generated items say about themselves.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::{Attribute, Expr, Lit, Meta};

use super::options::Options;
use super::parameter::{Parameter, Passing};
use super::signature::Signature;
use crate::item::Function;

/// The struct: the function's own documentation, and what the struct is.
pub(crate) fn of_structure(function: &Function, options: &Options, signature: &Signature) -> TokenStream {
    let own = function.attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).collect::<Vec<_>>();
    let kind = if signature.message.is_some() { "mailbox actor" } else { "function actor" };
    let structure = &options.structure;
    let name = linked(&function.signature.ident);
    let what = format!(
        "The {kind} of {name}: [`{structure}::spawn`](Self::spawn) runs it in a process of its own, and \
         [`{structure}::builder`](Self::builder) sets what that process has."
    );
    let gap = (!own.is_empty()).then(|| quote!(#[doc = ""]));
    quote!(#(#own)* #gap #[doc = #what])
}

/// Its builder.
pub(crate) fn of_builder(options: &Options) -> TokenStream {
    let structure = &options.structure;
    let text = format!("Sets what a process of [`{structure}`] has, and starts it with [`spawn`](Self::spawn).");
    quote!(#[doc = #text])
}

/// `spawn`, of the struct and of the builder: the first paragraph of the function's documentation, what is returned, and
/// the parameters. The rest of the documentation is the struct's; its examples would be tested twice.
pub(crate) fn of_spawn(function: &Function, signature: &Signature) -> TokenStream {
    let mut lines = summary(&function.attributes);
    if !lines.is_empty() {
        lines.push(String::new());
    }
    let name = function.signature.ident.unraw();
    lines.push(format!("Starts `{name}` in a process of its own. Nothing happens until the returned value is awaited, or"));
    lines.push("waited for with `.blocking()`. That gives".into());
    if signature.message.is_some() {
        lines.push("an [`Actor`](::procession::Actor), which takes messages, and whose `join` gives what the function".into());
    } else {
        lines.push("a [`Process`](::procession::Process), whose `join` gives what the function".into());
    }
    lines.push("returns.".into());
    if signature.parameters.iter().any(|parameter| !matches!(parameter.passing, Passing::Value)) {
        lines.push("What is borrowed here is copied.".into());
    }
    lines.extend(of_parameters(&signature.parameters));
    quote!(#(#[doc = #lines])*)
}

fn of_parameters(parameters: &[Parameter]) -> Vec<String> {
    let mut lines = Vec::new();
    for parameter in parameters.iter().filter(|parameter| !parameter.documentation.is_empty()) {
        if lines.is_empty() {
            lines.extend(["".into(), "# Parameters".into(), "".into()]);
        }
        let text = parameter.documentation.iter().flat_map(lines_of);
        // Two spaces keep further lines inside the list's item.
        for (index, line) in text.enumerate() {
            lines.push(if index == 0 { format!("- `{}`: {line}", parameter.name.unraw()) } else { format!("  {line}") });
        }
    }
    lines
}

/// A link to the function. Its parentheses say that the function is meant, not a module of that name.
fn linked(function: &Ident) -> String {
    if *function == function.unraw() { format!("[`{function}()`]") } else { format!("`{}`", function.unraw()) }
}

/// The lines of the first paragraph.
fn summary(attributes: &[Attribute]) -> Vec<String> {
    attributes
        .iter()
        .flat_map(lines_of)
        .skip_while(String::is_empty)
        .take_while(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("```"))
        .collect()
}

/// The lines of a documentation attribute that is plain text.
fn lines_of(attribute: &Attribute) -> Vec<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) if text.value().is_empty() => vec![String::new()],
                Lit::Str(text) => text.value().lines().map(|line| line.trim().to_owned()).collect(),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn a_summary_is_the_first_paragraph() {
        let function: syn::ItemFn = parse_quote! {
            /// Counts what it is sent,
            /// from a start.
            ///
            /// # Examples
            #[inline]
            fn f() {}
        };
        assert_eq!(summary(&function.attrs), ["Counts what it is sent,", "from a start."]);
        let function: syn::ItemFn = parse_quote!(
            #[doc = include_str!("x.md")]
            fn f() {}
        );
        assert!(summary(&function.attrs).is_empty());
    }
}
