//! From a function's name to a type's: `square` to `Square`, `parse_html` to `ParseHtml`.
//!
//! Words end at underscores. The first letter of each goes to upper case and the others stay, so `read_URL` gives
//! `ReadURL`. Not every function's name makes a type's: `_1` would be `1`, and `self_` would be `Self`. Then there is
//! no name, and the user says one.

use proc_macro2::Ident;
use syn::ext::IdentExt;

/// The upper camel case of `text`, or nothing where that is not a name.
pub(crate) fn upper_camel(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    for word in text.split('_') {
        let mut letters = word.chars();
        name.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        name.push_str(letters.as_str());
    }
    syn::parse_str::<Ident>(&name).is_ok().then_some(name)
}

/// The type's name for a function's, with the function's span.
pub(crate) fn of_type(function: &Ident) -> Option<Ident> {
    let name = upper_camel(&function.unraw().to_string())?;
    Some(Ident::new(&name, function.span()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined_in_upper_camel_case() {
        for (function, expected) in [
            ("square", "Square"),
            ("parse_html", "ParseHtml"),
            ("read_URL", "ReadURL"),
            ("_private", "Private"),
            ("trailing_", "Trailing"),
            ("a__b", "AB"),
            ("step_2_of_3", "Step2Of3"),
            ("x", "X"),
            ("älter_werden", "ÄlterWerden"),
            ("Square", "Square"),
        ] {
            assert_eq!(upper_camel(function).as_deref(), Some(expected), "{function}");
        }
    }

    #[test]
    fn some_functions_name_no_type() {
        for function in ["_1", "_", "__", "self_", "_2_fast"] {
            assert_eq!(upper_camel(function), None, "{function}");
        }
    }

    #[test]
    fn a_raw_name_loses_its_mark() {
        let function: Ident = syn::parse_str("r#type").unwrap();
        assert_eq!(of_type(&function).unwrap(), "Type");
    }
}
