//! One parameter: what it is called in `spawn`, how it travels, and how the function gets it.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Attribute, Error, Pat, PatType, Result, Type, TypeReference};

use super::written::{self, Fault, bare};
use crate::span::{ends, wrapped};

/// A parameter of the function.
pub(crate) struct Parameter {
    /// Its name in `spawn`.
    pub(crate) name: Ident,
    /// Its type as the function has it.
    pub(crate) written: Type,
    /// How it travels.
    pub(crate) passing: Passing,
    /// Its documentation.
    pub(crate) documentation: Vec<Attribute>,
}

/// How a parameter travels.
pub(crate) enum Passing {
    /// As it is.
    Value,
    /// `&str`, as a `String`.
    Text,
    /// `&[T]`, as a `Vec<T>`.
    Slice(Box<Type>),
}

impl Parameter {
    /// Reads the parameter at `index`.
    pub(crate) fn read(index: usize, parameter: &PatType) -> Result<Self> {
        if let Some(attribute) = parameter.attrs.iter().find(|attribute| attribute.path().is_ident("cfg")) {
            let sentence = "every build of a process actor takes the same parameters: \
                            write two functions, with `#[cfg]` on each";
            return Err(Error::new_spanned(attribute, sentence));
        }
        Ok(Self {
            name: name(index, &parameter.pat),
            written: (*parameter.ty).clone(),
            passing: passing(&parameter.ty)?,
            documentation: parameter.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).cloned().collect(),
        })
    }

    /// Its type while it travels, shown at the written one.
    pub(crate) fn travelling(&self) -> TokenStream {
        let written = &self.written;
        match &self.passing {
            Passing::Value => written.to_token_stream(),
            Passing::Text => {
                let (start, _) = ends(written);
                quote_spanned!(start=> ::std::string::String)
            }
            Passing::Slice(elem) => wrapped(written, &quote!(::std::vec::Vec), elem),
        }
    }

    /// From what `spawn` takes to what travels.
    pub(crate) fn packed(&self) -> TokenStream {
        let name = &self.name;
        let (start, _) = ends(&self.written);
        match &self.passing {
            Passing::Value => name.to_token_stream(),
            Passing::Text => quote!(::std::borrow::ToOwned::to_owned(#name)),
            Passing::Slice(_) => quote_spanned!(start=> <[_]>::to_vec(#name)),
        }
    }

    /// From what travelled, in the variable `local`, to what the function takes.
    pub(crate) fn unpacked(&self, local: &Ident) -> TokenStream {
        match &self.passing {
            Passing::Value => local.to_token_stream(),
            Passing::Text | Passing::Slice(_) => quote!(&#local),
        }
    }
}

/// A name of the user's own where there is one, without `mut` and `ref`.
fn name(index: usize, pattern: &Pat) -> Ident {
    match pattern {
        Pat::Ident(pattern) => pattern.ident.clone(),
        Pat::Paren(pattern) => name(index, &pattern.pat),
        _ => format_ident!("argument_{index}"),
    }
}

fn passing(written: &Type) -> Result<Passing> {
    match bare(written) {
        Type::Reference(reference) => borrowed(reference),
        other => travels(other).map(|()| Passing::Value),
    }
}

fn borrowed(reference: &TypeReference) -> Result<Passing> {
    let refuse = |sentence: String| Err(Error::new_spanned(reference, sentence));
    let owned = written::owned(reference);
    let elem = bare(&reference.elem);
    if reference.mutability.is_some() {
        return refuse(format!("what a process changes stays in that process: take `{owned}`, and return what became of it"));
    }
    let text = written::ends_with(elem, &["str"]);
    if reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static") {
        let shorter = match elem {
            Type::Slice(slice) => format!("`&[{}]` or ", written::text(&slice.elem)),
            _ if text => "`&str` or ".to_owned(),
            _ => String::new(),
        };
        return refuse(format!("an argument that was sent lives no longer than the call: write {shorter}`{owned}`"));
    }
    match elem {
        _ if text => Ok(Passing::Text),
        Type::Slice(slice) => travels(&slice.elem).map(|()| Passing::Slice(slice.elem.clone())),
        Type::TraitObject(_) => refuse("a trait object cannot travel to another process: take a type of its own".into()),
        _ => refuse(format!("only `&str` and `&[T]` are borrowed from a message: take `{owned}` by value")),
    }
}

/// Refuses what no message can hold, as far as its text shows.
pub(crate) fn travels(written: &Type) -> Result<()> {
    match written::fault(written) {
        None => Ok(()),
        Some(Fault::Reference(reference)) => Err(Error::new_spanned(
            reference,
            format!("what travels to another process owns what it holds: write `{}`", written::owned(reference)),
        )),
        Some(Fault::Lifetime(lifetime)) => Err(Error::new_spanned(
            lifetime,
            "what travels to another process borrows nothing: write an owned type, or `'static` in place of `'_`",
        )),
        Some(Fault::ImplTrait(opaque)) => Err(Error::new_spanned(
            opaque,
            format!("another process has to know the type: write it in place of `{}`", written::text(opaque)),
        )),
        Some(Fault::SelfType(path)) => {
            Err(Error::new_spanned(path, "a process actor is a free function: move it out of the `impl` block, and write the type's name"))
        }
    }
}

#[cfg(test)]
mod tests {
    use syn::FnArg;

    use super::*;

    fn read(text: &str) -> Result<Parameter> {
        let FnArg::Typed(parameter) = syn::parse_str(text).unwrap() else { panic!("{text}") };
        Parameter::read(3, &parameter)
    }

    #[test]
    fn a_parameter_travels_as_it_is_or_as_what_owns_it() {
        for (text, expected) in [
            ("x: i64", "value"),
            ("x: Cow<'static, str>", "value"),
            ("x: &str", "text"),
            ("x: &'a str", "text"),
            ("x: &[u8]", "u8"),
            ("x: (&[(u8, String)])", "(u8, String)"),
        ] {
            let passing = match read(text).unwrap().passing {
                Passing::Value => "value".to_owned(),
                Passing::Text => "text".to_owned(),
                Passing::Slice(elem) => written::text(&elem),
            };
            assert_eq!(passing, expected, "{text}");
        }
    }

    #[test]
    fn other_borrowed_parameters_are_refused() {
        for (text, end) in [
            ("x: &i64", "take `i64` by value"),
            ("x: &mut Vec<u8>", "take `Vec<u8>`, and return what became of it"),
            ("x: &'static str", "write `&str` or `String`"),
            ("x: &'static [u8]", "write `&[u8]` or `Vec<u8>`"),
            ("x: &'static T", "write `T`"),
            ("x: &[&str]", "write `String`"),
            ("x: Option<&Path>", "write `PathBuf`"),
            ("x: &dyn Copy", "take a type of its own"),
        ] {
            let sentence = read(text).map(|_| ()).unwrap_err().to_string();
            assert!(sentence.ends_with(end), "{text}: {sentence}");
        }
    }

    #[test]
    fn patterns_get_names() {
        for (text, expected) in [
            ("x: i64", "x"),
            ("mut x: i64", "x"),
            ("ref x: i64", "x"),
            ("x @ (_, _): (i64, i64)", "x"),
            ("_: i64", "argument_3"),
            ("(a, b): (i64, i64)", "argument_3"),
            ("[a, b]: [i64; 2]", "argument_3"),
        ] {
            assert_eq!(read(text).unwrap().name, expected, "{text}");
        }
    }

    #[test]
    fn documentation_is_kept() {
        let parameter = read("/// How far.\n #[allow(unused)] x: i64").unwrap();
        assert_eq!(parameter.documentation.len(), 1);
    }
}
