//! The function's signature: what kind of actor it makes, or everything in it that cannot be one.

use syn::spanned::Spanned;
use syn::{Error, FnArg, GenericParam, PatType, Result, Safety, Type};

use super::output::Output;
use super::parameter::{Parameter, travels};
use super::written;
use crate::refusal::Refusals;

/// The largest tuple that `serde` takes.
const MOST_PARAMETERS: usize = 16;

/// A signature that makes an actor.
pub(crate) struct Signature {
    /// The messages of a mailbox actor.
    pub(crate) message: Option<Type>,
    /// What `spawn` takes.
    pub(crate) parameters: Vec<Parameter>,
    /// What the function returns.
    pub(crate) output: Output,
}

impl Signature {
    /// Reads a signature, and refuses each part of it that cannot be.
    pub(crate) fn read(signature: &syn::Signature, refusals: &mut Refusals) -> Option<Self> {
        refuse_qualifiers(signature, refusals);
        refuse_generics(signature, refusals);
        let (message, parameters) = read_inputs(signature, refusals);
        let output = refusals.take(Output::read(&signature.output))?;
        Some(Self { message, parameters, output })
    }
}

fn refuse_qualifiers(signature: &syn::Signature, refusals: &mut Refusals) {
    if let Some(token) = &signature.constness {
        refusals.at(token, "a process actor runs in another process, never at compile time: remove `const`");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        refusals.at(
            token,
            "nobody can keep an unsafe function's contract from another process: \
             write a safe function that calls this one, and mark that",
        );
    }
    if let Some(abi) = &signature.abi {
        refusals.at(abi, "a process actor is called from Rust: remove `extern`, or mark a Rust function that calls this one");
    }
    if let Some(variadic) = &signature.variadic {
        refusals.at(variadic.dots, "a process actor has a fixed number of parameters: take a `Vec` in place of `...`");
    }
}

fn refuse_generics(signature: &syn::Signature, refusals: &mut Refusals) {
    for parameter in &signature.generics.params {
        match parameter {
            GenericParam::Type(parameter) => refusals.at(
                parameter,
                format!(
                    "another process cannot be told what `{0}` is: write the type in place of `{0}`, or a function for each type",
                    parameter.ident
                ),
            ),
            GenericParam::Const(parameter) => {
                refusals.at(parameter, format!("another process cannot be told what `{0}` is: take `{0}` as a parameter", parameter.ident))
            }
            GenericParam::Lifetime(parameter) => refusals.at(
                parameter,
                format!(
                    "nothing is borrowed from another process: remove `{}`, and take `&str`, `&[T]` or owned types",
                    parameter.lifetime
                ),
            ),
        }
    }
    if let Some(clause) = &signature.generics.where_clause
        && signature.generics.params.is_empty()
    {
        refusals.at(clause, "a process actor has nothing for `where` to speak of: remove the clause");
    }
}

/// The messages of the mailbox, if there is one, and the other parameters.
fn read_inputs(signature: &syn::Signature, refusals: &mut Refusals) -> (Option<Type>, Vec<Parameter>) {
    let mut message = None;
    let mut parameters = Vec::new();
    for (position, input) in signature.inputs.iter().enumerate() {
        let input = match input {
            FnArg::Typed(input) => input,
            FnArg::Receiver(receiver) => {
                let sentence = "a process actor is a free function: move it out of the `impl` block, \
                                and take what it needs of `self` as parameters";
                refusals.at(receiver, sentence);
                continue;
            }
        };
        if let Some(mailbox) = mailbox(input) {
            if position == 0 {
                message = refusals.take(mailbox);
            } else {
                refusals.at(&input.ty, misplaced(signature));
            }
            continue;
        }
        if parameters.len() == MOST_PARAMETERS {
            refusals.at_span(
                input.span(),
                format!("a process actor takes at most {MOST_PARAMETERS} parameters: gather some of them in a struct"),
            );
            break;
        }
        // The index is that in the arguments: the mailbox does not count.
        let index = parameters.len();
        parameters.extend(refusals.take(Parameter::read(index, input)));
    }
    (message, parameters)
}

/// The messages of a parameter that is a mailbox.
fn mailbox(input: &PatType) -> Option<Result<Type>> {
    let (written, reference) = match written::bare(&input.ty) {
        Type::Reference(reference) => (&*reference.elem, Some(reference)),
        other => (other, None),
    };
    let segment = written::last_segment(written).filter(|segment| segment.ident == "Mailbox")?;
    if let Some(reference) = reference {
        let sentence = format!("a mailbox belongs to its actor: write `{}`", written::text(written));
        return Some(Err(Error::new_spanned(reference, sentence)));
    }
    Some(match written::type_arguments(segment).as_deref() {
        Some([message]) => travels(message).map(|()| (*message).clone()),
        _ => Err(Error::new_spanned(written, "a mailbox has one type of messages: write `Mailbox<Message>`")),
    })
}

fn misplaced(signature: &syn::Signature) -> &'static str {
    match signature.inputs.first() {
        Some(FnArg::Typed(first)) if mailbox(first).is_some() => {
            "an actor has one mailbox: make its messages an enum with what this one was for"
        }
        _ => "the mailbox comes first: move this parameter to the front",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Signature> {
        let mut refusals = Refusals::default();
        let signature = Signature::read(&syn::parse_str(text).unwrap(), &mut refusals);
        refusals.check().map(|()| signature.unwrap())
    }

    #[test]
    fn a_first_parameter_of_type_mailbox_makes_a_mailbox_actor() {
        let signature = read("fn f(mut mailbox: procession::Mailbox<Count>, start: i64) -> i64").unwrap();
        assert_eq!(written::text(&signature.message.unwrap()), "Count");
        assert_eq!(signature.parameters.len(), 1);
        assert!(read("fn f(start: i64)").unwrap().message.is_none());
    }

    #[test]
    fn all_faults_are_found_at_once() {
        let error = read("const unsafe extern \"C\" fn f<'a, T, const N: usize>(self, x: &T, m: Mailbox<u8>) -> impl Copy");
        assert_eq!(error.map(|_| ()).unwrap_err().into_iter().count(), 10);
    }

    #[test]
    fn sixteen_parameters_are_enough() {
        let signature = |count| format!("fn f(mailbox: Mailbox<u8>, {})", vec!["_: u8"; count].join(", "));
        assert_eq!(read(&signature(16)).unwrap().parameters.len(), 16);
        assert_eq!(read(&signature(20)).map(|_| ()).unwrap_err().into_iter().count(), 1);
    }
}
