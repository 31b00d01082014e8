//! The attribute from end to end: read, check, and write the function back with what belongs beside it.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{FnArg, Result};

use super::generate;
use super::options::Options;
use super::signature::Signature;
use crate::item::Function;
use crate::refusal::Refusals;

/// The name of the attribute as a user writes it.
const ATTRIBUTE: &str = "#[process_actor]";

/// The function, and the items beside it or the sentences that say why there are none.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = match Function::read(ATTRIBUTE, item.clone()) {
        Ok(function) => function,
        Err(error) => return also(item, error.into_compile_error()),
    };
    let added = items(arguments, &function).unwrap_or_else(syn::Error::into_compile_error);
    also(as_written(function, item), added)
}

fn also(item: TokenStream, added: TokenStream) -> TokenStream {
    quote!(#item #added)
}

fn items(arguments: TokenStream, function: &Function) -> Result<TokenStream> {
    let mut refusals = Refusals::default();
    let options = Options::read(arguments, &function.signature.ident, &mut refusals);
    let signature = Signature::read(&function.signature, &mut refusals);
    refusals.check()?;
    Ok(match (options, signature) {
        (Some(options), Some(signature)) => generate::items(function, &options, &signature),
        _ => TokenStream::new(),
    })
}

/// The function's own tokens. Only documentation of parameters is taken off: it is an error anywhere else in Rust, and
/// `spawn` shows it.
fn as_written(mut function: Function, item: TokenStream) -> TokenStream {
    let mut documented = false;
    for parameter in &mut function.signature.inputs {
        let (FnArg::Typed(syn::PatType { attrs, .. }) | FnArg::Receiver(syn::Receiver { attrs, .. })) = parameter;
        let before = attrs.len();
        attrs.retain(|attribute| !attribute.path().is_ident("doc"));
        documented |= attrs.len() < before;
    }
    if documented { function.into_token_stream() } else { item }
}
