//! `#[procession::main]` and `#[procession::test]`: the runtime around a function.
//!
//! The function becomes an inner one, called on a runtime where it is `async`. An inner function, and not a block, so
//! that `?`, `return` and the inference of types are those of the function that the user wrote, and so are the
//! compiler's complaints. Attributes stay on the outer one.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprPath, Lit, Result, ReturnType, Safety, Type};

use crate::arguments::{self, Argument, Once};
use crate::item::Function;
use crate::refusal::Refusals;

/// Which of the two attributes it is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Main,
    Test,
}

impl Kind {
    fn attribute(self) -> &'static str {
        match self {
            Self::Main => "#[procession::main]",
            Self::Test => "#[procession::test]",
        }
    }

    fn keys(self) -> &'static str {
        match self {
            Self::Main => "`flavor`, `worker_threads`, `preload` and `signals`",
            Self::Test => "`flavor` and `worker_threads`",
        }
    }
}

/// What the attribute's arguments say.
#[derive(Default)]
struct Options {
    multi_thread: Option<bool>,
    worker_threads: Option<usize>,
    preload: Option<ExprPath>,
    no_signals: bool,
}

/// Expands `#[procession::main]`.
pub(crate) fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(Kind::Main, arguments, item)
}

/// Expands `#[procession::test]`.
pub(crate) fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(Kind::Test, arguments, item)
}

fn expand(kind: Kind, arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = match Function::read(kind.attribute(), item.clone()) {
        Ok(function) => function,
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#item #error);
        }
    };
    match read(kind, arguments, &function) {
        Ok(options) => wrap(kind, &options, &function),
        Err(error) => {
            // A function of the right name and form, so that nothing else is wrong: the one that was refused lies in it,
            // and the compiler still reads it.
            let name = &function.signature.ident;
            let error = error.into_compile_error();
            quote! {
                #[allow(dead_code)]
                fn #name() {
                    #item
                }
                #error
            }
        }
    }
}

fn read(kind: Kind, arguments: TokenStream, function: &Function) -> Result<Options> {
    let mut refusals = Refusals::default();
    refuse_signature(kind, function, &mut refusals);
    let options = read_options(kind, arguments, function, &mut refusals);
    refusals.check().map(|()| options)
}

fn refuse_signature(kind: Kind, function: &Function, refusals: &mut Refusals) {
    let signature = &function.signature;
    let caller = match kind {
        Kind::Main => "the system",
        Kind::Test => "the test harness",
    };
    if !signature.inputs.is_empty() {
        refusals.at(&signature.inputs, format!("{caller} calls this function with nothing: remove its parameters"));
    }
    if let Some(variadic) = &signature.variadic {
        refusals.at(variadic.dots, format!("{caller} calls this function with nothing: remove its parameters"));
    }
    if !signature.generics.params.is_empty() {
        refusals.at(&signature.generics, format!("{caller} cannot choose types for this function: remove its generics"));
    }
    if let Some(clause) = &signature.generics.where_clause {
        refusals.at(clause, "there is nothing for `where` to speak of: remove the clause");
    }
    if let Some(token) = &signature.constness {
        refusals.at(token, "this function starts processes, never at compile time: remove `const`");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        refusals.at(token, format!("{caller} cannot keep an unsafe function's contract: remove `unsafe`"));
    }
    if let Some(abi) = &signature.abi {
        refusals.at(abi, "this function is called from Rust: remove `extern`");
    }
    if kind == Kind::Test
        && let Some(attribute) = function.attributes.iter().find(|attribute| attribute.path().is_ident("test"))
    {
        refusals.at(attribute, "`#[procession::test]` makes the test: remove `#[test]`");
    }
}

fn read_options(kind: Kind, arguments: TokenStream, function: &Function, refusals: &mut Refusals) -> Options {
    let mut options = Options::default();
    let mut once = Once::default();
    let mut of_runtime = Vec::new();
    for argument in refusals.take(arguments::split(arguments)).unwrap_or_default() {
        let (key, value) = match argument {
            Argument::Pair(key, value) => (key, value),
            Argument::Word(path) => {
                refusals.at(path, misunderstood(kind));
                continue;
            }
            Argument::Other(other) => {
                refusals.at(other, misunderstood(kind));
                continue;
            }
        };
        if !once.first(&format!("`{key}`"), key.span(), refusals) {
            continue;
        }
        match (key.to_string().as_str(), kind) {
            ("flavor", _) => {
                options.multi_thread = refusals.take(flavor(&key, &value));
                of_runtime.push(key);
            }
            ("worker_threads", _) => {
                options.worker_threads = refusals.take(worker_threads(&value));
                of_runtime.push(key);
            }
            ("preload", Kind::Main) => options.preload = refusals.take(preload(value)),
            ("signals", Kind::Main) => options.no_signals = !refusals.take(signals(&value)).unwrap_or(true),
            _ => refusals.at(&key, format!("`{key}` is no argument of `{}`: it takes {}", kind.attribute(), kind.keys())),
        }
    }
    refuse_runtime(&of_runtime, kind, &options, function, refusals);
    options
}

/// Refuses settings of a runtime that there is none of, or that has no threads to count.
fn refuse_runtime(keys: &[Ident], kind: Kind, options: &Options, function: &Function, refusals: &mut Refusals) {
    for key in keys {
        if function.signature.asyncness.is_none() {
            refusals.at(key, format!("a function that is not async has no runtime: write `async fn`, or remove `{key}`"));
        } else if key == "worker_threads" && !options.multi_thread.unwrap_or(kind == Kind::Main) {
            refusals.at(key, "a runtime of one thread has no workers: write `flavor = \"multi_thread\"`, or remove `worker_threads`");
        }
    }
}

fn misunderstood(kind: Kind) -> String {
    format!("`{}` takes `key = value`, with {}", kind.attribute(), kind.keys())
}

fn flavor(key: &Ident, value: &Expr) -> Result<bool> {
    let text = arguments::text(key, value)?;
    match text.value().as_str() {
        "multi_thread" => Ok(true),
        "current_thread" => Ok(false),
        other => Err(Error::new(text.span(), format!("there is no flavor `{other}`: write \"current_thread\" or \"multi_thread\""))),
    }
}

fn worker_threads(value: &Expr) -> Result<usize> {
    let refuse = || Error::new(value.span(), "`worker_threads` takes a number from 1 up: write `worker_threads = 4`");
    match arguments::literal(value) {
        Some(Lit::Int(number)) => number.base10_parse().ok().filter(|number| *number > 0).ok_or_else(refuse),
        _ => Err(refuse()),
    }
}

fn preload(value: Expr) -> Result<ExprPath> {
    match value {
        Expr::Path(path) => Ok(path),
        other => Err(Error::new_spanned(
            other,
            "`preload` takes the path of a function that takes nothing and returns nothing: write `preload = load`",
        )),
    }
}

fn signals(value: &Expr) -> Result<bool> {
    match arguments::literal(value) {
        Some(Lit::Bool(signals)) => Ok(signals.value),
        _ => Err(Error::new(value.span(), "`signals` takes `true` or `false`")),
    }
}

fn wrap(kind: Kind, options: &Options, function: &Function) -> TokenStream {
    let Function { attributes, visibility, signature, body } = function;
    let (name, output, asyncness) = (&signature.ident, &signature.output, &signature.asyncness);
    let test = (kind == Kind::Test).then(|| quote!(#[::core::prelude::v1::test]));
    let start = start(kind, options, name);
    let run = match asyncness {
        Some(_) => {
            let flavor = runtime(kind, options);
            quote!(::procession::__private::block_on(#flavor, #name()))
        }
        None => quote!(#name()),
    };
    let run = if matches!(output, ReturnType::Type(_, written) if matches!(**written, Type::Never(_))) {
        // What follows a call that does not return would be reported as unreachable.
        quote!(let _session = #start; #run)
    } else {
        quote! {
            let session = #start;
            let result = #run;
            session.end();
            result
        }
    };
    quote! {
        #test
        #(#attributes)*
        #visibility fn #name() #output {
            #asyncness fn #name() #output #body

            #run
        }
    }
}

fn start(kind: Kind, options: &Options, name: &Ident) -> TokenStream {
    if kind == Kind::Test {
        let name = name.to_string();
        return quote!(::procession::__private::start_test(::core::module_path!(), #name));
    }
    let preload = match &options.preload {
        Some(path) => quote!(::core::option::Option::Some(#path)),
        None => quote!(::core::option::Option::None),
    };
    let signals = !options.no_signals;
    quote! {
        ::procession::__private::start(::procession::__private::MainOptions {
            preload: #preload,
            signals: #signals,
        })
    }
}

fn runtime(kind: Kind, options: &Options) -> TokenStream {
    if !options.multi_thread.unwrap_or(kind == Kind::Main) {
        return quote!(::procession::__private::Flavor::CurrentThread);
    }
    let workers = match options.worker_threads {
        Some(workers) => quote!(::core::option::Option::Some(#workers)),
        None => quote!(::core::option::Option::None),
    };
    quote!(::procession::__private::Flavor::MultiThread { workers: #workers })
}
