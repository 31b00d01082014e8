//! `#[process_actor]`: from a function to a type that starts it in processes of its own.
//!
//! - `expand` is the attribute from end to end,
//! - `options` reads its arguments,
//! - `signature` checks the function and says what kind of actor it is; `parameter`, `output` and `written` are its parts,
//! - `generate` writes the items, `documentation` what they say about themselves.

mod documentation;
mod expand;
mod generate;
mod options;
mod output;
mod parameter;
mod signature;
mod written;

pub(crate) use expand::expand;
