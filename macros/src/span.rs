//! Where generated tokens are shown to come from.
//!
//! Tokens with the place of something that the user wrote make the compiler show its complaint about them there. They
//! keep the context of the macro's call, so that they are looked up like any other generated token, and lints know that
//! nobody wrote them.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

/// Generated tokens with this span are shown at the place of `span`.
pub(crate) fn shown_at(span: Span) -> Span {
    Span::call_site().located_at(span)
}

/// The spans for the first and the last generated token of a type that stands for `written`.
///
/// Together they make the compiler underline all of it: a stable compiler cannot join spans for a macro.
pub(crate) fn ends(written: &impl ToTokens) -> (Span, Span) {
    let mut tokens = written.to_token_stream().into_iter();
    let first = tokens.next().map_or_else(Span::call_site, |token| token.span());
    let last = tokens.last().map_or(first, |token| token.span());
    (shown_at(first), shown_at(last))
}

/// `path<inner>`, shown at `written`. The tokens inside keep their own places.
pub(crate) fn wrapped(written: &impl ToTokens, path: &TokenStream, inner: &impl ToTokens) -> TokenStream {
    let (start, end) = ends(written);
    let path = path.clone().into_iter().map(|mut token| {
        token.set_span(start);
        token
    });
    let open = quote_spanned!(start=> #(#path)* <);
    let close = quote_spanned!(end=> >);
    quote!(#open #inner #close)
}
