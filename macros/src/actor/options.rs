//! The attribute's own arguments: `#[process_actor(Tally, name = "tally")]`.

use proc_macro2::{Ident, TokenStream};
use quote::format_ident;
use syn::spanned::Spanned;
use syn::{Error, LitStr, Path, Result};

use crate::arguments::{self, Argument, Once};
use crate::name;
use crate::refusal::Refusals;

/// What the items are called.
pub(crate) struct Options {
    /// The unit struct.
    pub(crate) structure: Ident,
    /// Its builder.
    pub(crate) builder: Ident,
    /// The explicit name, for look-up.
    pub(crate) name: Option<LitStr>,
}

impl Options {
    /// Reads the arguments of the attribute on `function`.
    pub(crate) fn read(arguments: TokenStream, function: &Ident, refusals: &mut Refusals) -> Option<Self> {
        let mut once = Once::default();
        let mut structure = None;
        let mut name = None;
        for argument in refusals.take(arguments::split(arguments))? {
            match argument {
                Argument::Word(path) => {
                    if once.first("the name of the struct", path.span(), refusals) {
                        structure = refusals.take(type_name(&path, function));
                    }
                }
                Argument::Pair(key, value) if key == "name" => {
                    if once.first("`name`", key.span(), refusals) {
                        name = refusals.take(arguments::text(&key, &value).and_then(not_empty));
                    }
                }
                Argument::Pair(key, _) => {
                    refusals.at(&key, format!("`{key}` is no argument of `#[process_actor]`: it takes `StructName` and `name = \"...\"`"))
                }
                Argument::Other(other) => {
                    refusals.at(other, "`#[process_actor]` takes `StructName` and `name = \"...\"`, and nothing else");
                }
            }
        }
        let structure = if once.given("the name of the struct") { structure } else { refusals.take(derived(function)) }?;
        let builder = format_ident!("{structure}Builder");
        Some(Self { structure, builder, name })
    }
}

/// The struct's name as the user gave it.
fn type_name(path: &Path, function: &Ident) -> Result<Ident> {
    let Some(structure) = path.get_ident() else {
        return Err(Error::new_spanned(path, "the struct goes beside the function: write one name, not a path"));
    };
    if structure == function {
        return Err(Error::new_spanned(path, same_name(function)));
    }
    Ok(structure.clone())
}

/// The struct's name as it follows from the function's.
fn derived(function: &Ident) -> Result<Ident> {
    match name::of_type(function) {
        Some(structure) if structure == *function => Err(Error::new_spanned(function, same_name(function))),
        Some(structure) => Ok(structure),
        None => Err(Error::new_spanned(
            function,
            format!("no name for a struct follows from `{function}`: write `#[process_actor(StructName)]`"),
        )),
    }
}

fn same_name(function: &Ident) -> String {
    format!("the function and its struct cannot both be `{function}`: write `#[process_actor(OtherName)]`")
}

fn not_empty(name: LitStr) -> Result<LitStr> {
    if name.value().trim().is_empty() {
        return Err(Error::new(name.span(), "nobody can look up an empty name: write one, or remove `name`"));
    }
    Ok(name)
}
