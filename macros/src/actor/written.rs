//! Types as they are written, before the compiler knows what they mean.
//!
//! A macro sees names only: `Text<'_>` borrows for sure, and what `Text` is nobody here can say. So these questions are
//! asked of the text alone, and what they miss is left to the trait bounds of the generated items.

use quote::ToTokens;
use syn::{GenericArgument, Lifetime, Path, PathArguments, PathSegment, Type, TypeImplTrait, TypeParamBound, TypeReference};

/// Something in a type that can be no part of what travels.
pub(crate) enum Fault<'a> {
    /// `&T` in another type.
    Reference(&'a TypeReference),
    /// `'_`
    Lifetime(&'a Lifetime),
    /// `impl Trait`
    ImplTrait(&'a TypeImplTrait),
    /// `Self`
    SelfType(&'a Path),
}

/// The first fault in a type. Function pointers are passed over: what they borrow is theirs.
pub(crate) fn fault(written: &Type) -> Option<Fault<'_>> {
    match written {
        Type::Array(array) => fault(&array.elem),
        Type::Group(group) => fault(&group.elem),
        Type::Paren(paren) => fault(&paren.elem),
        Type::Ptr(pointer) => fault(&pointer.elem),
        Type::Slice(slice) => fault(&slice.elem),
        Type::Tuple(tuple) => tuple.elems.iter().find_map(fault),
        Type::Reference(reference) => Some(Fault::Reference(reference)),
        Type::ImplTrait(opaque) => Some(Fault::ImplTrait(opaque)),
        Type::TraitObject(object) => object.bounds.iter().find_map(|bound| match bound {
            TypeParamBound::Trait(bound) => fault_in_path(&bound.path),
            TypeParamBound::Lifetime(lifetime) => fault_of_lifetime(lifetime),
            _ => None,
        }),
        Type::Path(path) => {
            let of_self = path.qself.as_ref().and_then(|qself| fault(&qself.ty));
            of_self.or_else(|| fault_in_path(&path.path))
        }
        _ => None,
    }
}

fn fault_in_path(path: &Path) -> Option<Fault<'_>> {
    if path.segments.first().is_some_and(|segment| segment.ident == "Self") {
        return Some(Fault::SelfType(path));
    }
    path.segments.iter().find_map(|segment| match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::Lifetime(lifetime) => fault_of_lifetime(lifetime),
            GenericArgument::Type(inner) => fault(inner),
            GenericArgument::AssocType(associated) => fault(&associated.ty),
            _ => None,
        }),
        _ => None,
    })
}

/// A lifetime with a name of its own is refused where it is declared.
fn fault_of_lifetime(lifetime: &Lifetime) -> Option<Fault<'_>> {
    (lifetime.ident == "_").then_some(Fault::Lifetime(lifetime))
}

/// The type without parentheses and the invisible groups that `macro_rules!` makes.
pub(crate) fn bare(written: &Type) -> &Type {
    match written {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        other => other,
    }
}

/// The last segment of a type that is a path.
pub(crate) fn last_segment(written: &Type) -> Option<&PathSegment> {
    match bare(written) {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        _ => None,
    }
}

/// The type arguments of a path's segment; nothing if it has others too.
pub(crate) fn type_arguments(segment: &PathSegment) -> Option<Vec<&Type>> {
    match &segment.arguments {
        PathArguments::None => Some(Vec::new()),
        PathArguments::AngleBracketed(arguments) => arguments
            .args
            .iter()
            .map(|argument| match argument {
                GenericArgument::Type(inner) => Some(inner),
                _ => None,
            })
            .collect(),
        PathArguments::Parenthesized(_) => None,
    }
}

/// Whether the path's last names are these: `["io", "Error"]` for `std::io::Error`.
pub(crate) fn ends_with(written: &Type, names: &[&str]) -> bool {
    let Type::Path(path) = bare(written) else {
        return false;
    };
    let segments = &path.path.segments;
    path.qself.is_none()
        && segments.len() >= names.len()
        && segments.iter().rev().zip(names.iter().rev()).all(|(segment, name)| segment.ident == name)
}

/// The owned type to write in place of a reference.
pub(crate) fn owned(reference: &TypeReference) -> String {
    let elem = bare(&reference.elem);
    if let Type::Slice(slice) = elem {
        return format!("Vec<{}>", text(&slice.elem));
    }
    let unsized_names = [("str", "String"), ("Path", "PathBuf"), ("OsStr", "OsString"), ("CStr", "CString")];
    match unsized_names.into_iter().find(|(name, _)| ends_with(elem, &[name])) {
        Some((_, owned)) => owned.to_owned(),
        None => text(elem),
    }
}

/// The type as a person writes it; tokens by themselves print with a space between any two.
pub(crate) fn text(written: &impl ToTokens) -> String {
    let mut text = written.to_token_stream().to_string();
    for (spaced, tight) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" <", "<"),
        (" >", ">"),
        (" ,", ","),
        (" ;", ";"),
        ("& ", "&"),
        ("( ", "("),
        (" )", ")"),
    ] {
        text = text.replace(spaced, tight);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Type {
        syn::parse_str(text).unwrap()
    }

    fn kind(text: &str) -> &'static str {
        match fault(&parse(text)) {
            Some(Fault::Reference(_)) => "reference",
            Some(Fault::Lifetime(_)) => "lifetime",
            Some(Fault::ImplTrait(_)) => "impl",
            Some(Fault::SelfType(_)) => "self",
            None => "none",
        }
    }

    #[test]
    fn faults_are_found_wherever_they_are() {
        for (expected, types) in [
            ("reference", &["&str", "Option<&str>", "(i32, [&u8; 2])", "Vec<(u8, &'static str)>"][..]),
            ("lifetime", &["Cow<'_, str>", "Box<dyn Error + '_>", "Vec<Option<Text<'_>>>"]),
            ("impl", &["impl Copy", "Option<impl Copy>"]),
            ("self", &["Self", "Vec<Self>", "Self::Item"]),
            ("none", &["i64", "Cow<'static, str>", "fn(&str) -> &str", "Vec<(u8, String)>", "<A as B>::C", "T<'a>"]),
        ] {
            for text in types {
                assert_eq!(kind(text), expected, "{text}");
            }
        }
    }

    #[test]
    fn references_have_owned_types() {
        for (written, expected) in [
            ("&str", "String"),
            ("&[(u8, Vec<i32>)]", "Vec<(u8, Vec<i32>)>"),
            ("&std::path::Path", "PathBuf"),
            ("&Vec<u8>", "Vec<u8>"),
            ("&a::B<C>", "a::B<C>"),
        ] {
            let Type::Reference(reference) = parse(written) else { panic!("{written}") };
            assert_eq!(owned(&reference), expected, "{written}");
        }
    }

    #[test]
    fn paths_are_known_by_their_end() {
        assert!(ends_with(&parse("std::io::Error"), &["io", "Error"]));
        assert!(ends_with(&parse("(io::Error)"), &["io", "Error"]));
        assert!(!ends_with(&parse("Error"), &["io", "Error"]));
        assert!(!ends_with(&parse("fmt::Error"), &["io", "Error"]));
    }
}
