//! What a function returns, and what its spawner gets.
//!
//! Errors such as `anyhow::Error` cannot be serialised, and are what people return. They travel as an `ErrorChain`: the
//! texts of the error and its sources. Which errors are so is decided from the text of the return type alone. An alias
//! with one argument (`io::Result<T>`) hides its error, and such aliases exist for errors of this sort.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{Error, Result, ReturnType, Type, TypeParamBound};

use super::parameter::travels;
use super::written::{self, bare};
use crate::span::ends;

/// What a function returns.
pub(crate) enum Output {
    /// Nothing.
    Unit,
    /// A value.
    Value(Box<Type>),
    /// A `Result` whose error becomes an `ErrorChain`.
    Chained {
        /// The return type.
        written: Box<Type>,
        /// The type of its `Ok`.
        value: Box<Type>,
        /// The sort of its error.
        raised: Raised,
    },
}

/// An error that is no message, by what turns it into a `Box<dyn Error>`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Raised {
    /// `Into`.
    Convertible,
    /// A coercion: it is a box already, of an error with more bounds or of a trait under `Error`.
    Boxed,
    /// One or the other: the alias does not show it.
    Hidden,
}

impl Output {
    /// Reads a return type.
    pub(crate) fn read(output: &ReturnType) -> Result<Self> {
        let ReturnType::Type(_, written) = output else {
            return Ok(Self::Unit);
        };
        match bare(written) {
            Type::Never(never) => {
                let sentence = "a process actor returns, if only because it was asked to stop: remove `-> !`";
                return Err(Error::new_spanned(never, sentence));
            }
            Type::Tuple(tuple) if tuple.elems.is_empty() => return Ok(Self::Unit),
            _ => travels(written)?,
        }
        Ok(match chained(written) {
            Some((value, raised)) => Self::Chained { written: written.clone(), value, raised },
            None => Self::Value(written.clone()),
        })
    }

    /// How the runtime learns of a returned error that became an `ErrorChain`, for the exit report.
    pub(crate) fn failure(&self) -> TokenStream {
        match self {
            Self::Chained { .. } => quote! {
                fn failure(output: &Self::Output) -> ::core::option::Option<::procession::ErrorChain> {
                    output.as_ref().err().cloned()
                }
            },
            Self::Unit | Self::Value(_) => TokenStream::new(),
        }
    }

    /// The type that the spawner gets, shown at the written one.
    pub(crate) fn travelling(&self) -> TokenStream {
        match self {
            Self::Unit => quote!(()),
            Self::Value(written) => written.to_token_stream(),
            Self::Chained { written, value, .. } => {
                let (start, end) = ends(written);
                let open = quote_spanned!(start=> ::core::result::Result<);
                let close = quote_spanned!(end=> , ::procession::ErrorChain>);
                quote!(#open #value #close)
            }
        }
    }

    /// From what the call gives to what the spawner gets.
    pub(crate) fn packed(&self, call: TokenStream) -> TokenStream {
        let Self::Chained { written, raised, .. } = self else {
            return call;
        };
        let (start, _) = ends(written);
        let chain = match raised {
            Raised::Convertible => quote_spanned!(start=> ::procession::ErrorChain::new),
            Raised::Boxed => quote_spanned! {start=> |error| {
                let error: ::std::boxed::Box<dyn ::core::error::Error> = error;
                ::procession::ErrorChain::new(error)
            }},
            Raised::Hidden => {
                quote_spanned!(start=> |error| ::procession::ErrorChain::new(__Raised(error).plain()))
            }
        };
        let map_err = quote_spanned!(start=> ::core::result::Result::map_err);
        quote!(#map_err(#call, #chain))
    }

    /// Items that the expression of [`packed`](Self::packed) needs in scope.
    ///
    /// A box of `dyn Error + Send + Sync` is not `Into` one of `dyn Error`: it coerces. Whether a hidden error has to is
    /// left to the compiler, which prefers the methods of a type to those of a trait.
    pub(crate) fn scope(&self) -> TokenStream {
        let Self::Chained { written, raised: Raised::Hidden, .. } = self else {
            return TokenStream::new();
        };
        let (start, _) = ends(written);
        let bounds = [quote!(::core::marker::Send), quote!(::core::marker::Send + ::core::marker::Sync)];
        quote_spanned! {start=>
            struct __Raised<E>(E);

            trait __Plain {
                type Error;
                fn plain(self) -> Self::Error;
            }

            impl<E> __Plain for __Raised<E> {
                type Error = E;
                fn plain(self) -> E {
                    self.0
                }
            }

            #(
                #[allow(dead_code)]
                impl __Raised<::std::boxed::Box<dyn ::core::error::Error + #bounds>> {
                    fn plain(self) -> ::std::boxed::Box<dyn ::core::error::Error> {
                        self.0
                    }
                }
            )*
        }
    }
}

/// The `Ok` of a `Result` with an error that is no message, and the sort of that error.
fn chained(written: &Type) -> Option<(Box<Type>, Raised)> {
    let segment = written::last_segment(written).filter(|segment| segment.ident == "Result")?;
    match *written::type_arguments(segment)? {
        [value] => Some((Box::new(value.clone()), Raised::Hidden)),
        [value, error] => Some((Box::new(value.clone()), raised(error)?)),
        _ => None,
    }
}

/// The sort of an error that is known to be no message.
fn raised(error: &Type) -> Option<Raised> {
    let known: [&[&str]; 5] = [&["anyhow", "Error"], &["eyre", "Error"], &["eyre", "Report"], &["color_eyre", "Report"], &["io", "Error"]];
    if known.into_iter().any(|names| written::ends_with(error, names)) {
        return Some(Raised::Convertible);
    }
    let segment = written::last_segment(error)?;
    match *written::type_arguments(segment)? {
        [inner] => match bare(inner) {
            Type::TraitObject(_) if segment.ident == "Box" => Some(Raised::Boxed),
            Type::TraitObject(object) if object.bounds.iter().any(is_error) => Some(Raised::Convertible),
            _ => None,
        },
        _ => None,
    }
}

fn is_error(bound: &TypeParamBound) -> bool {
    match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|segment| segment.ident == "Error"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Output> {
        Output::read(&syn::parse_str(text).unwrap())
    }

    #[test]
    fn errors_that_are_no_messages_are_known_by_their_text() {
        for (text, expected) in [
            ("", None),
            ("-> ()", None),
            ("-> i64", None),
            ("-> Result<i64, String>", None),
            ("-> Result<i64, MyError>", None),
            ("-> fmt::Result", None),
            ("-> Option<Result<i64, io::Error>>", None),
            ("-> Result<i64>", Some(Raised::Hidden)),
            ("-> io::Result<i64>", Some(Raised::Hidden)),
            ("-> anyhow::Result<()>", Some(Raised::Hidden)),
            ("-> (anyhow::Result<()>)", Some(Raised::Hidden)),
            ("-> Result<i64, std::io::Error>", Some(Raised::Convertible)),
            ("-> Result<i64, anyhow::Error>", Some(Raised::Convertible)),
            ("-> anyhow::Result<i64, anyhow::Error>", Some(Raised::Convertible)),
            ("-> Result<i64, eyre::Report>", Some(Raised::Convertible)),
            ("-> Result<i64, Arc<dyn std::error::Error + Send + Sync>>", Some(Raised::Convertible)),
            ("-> Result<i64, Box<dyn Error>>", Some(Raised::Boxed)),
            ("-> Result<i64, Box<dyn std::error::Error + Send + Sync + 'static>>", Some(Raised::Boxed)),
            ("-> Result<i64, Box<dyn MyError>>", Some(Raised::Boxed)),
        ] {
            let raised = match read(text).unwrap() {
                Output::Chained { raised, .. } => Some(raised),
                _ => None,
            };
            assert_eq!(raised, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_travel_is_refused() {
        for text in ["-> !", "-> &str", "-> &'static str", "-> impl Copy", "-> Cow<'_, str>", "-> Result<&str, E>", "-> Self"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
