//! The items beside the function.
//!
//! Everything is named by absolute path, and what a user need not see lies in an unnamed constant, so nothing here can
//! collide with what the user's module holds. Local variables have names that user code cannot see.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;

use super::documentation;
use super::options::Options;
use super::parameter::{Parameter, Passing};
use super::signature::Signature;
use crate::item::Function;
use crate::span::{ends, shown_at};

/// The struct, its builder, and what makes it an actor.
pub(crate) fn items(function: &Function, options: &Options, signature: &Signature) -> TokenStream {
    let structure = structure(function, options, signature);
    let methods = methods(function, options, signature);
    let assertions = assertions(&signature.parameters);
    let traits = traits(function, options, signature);
    let entry = entry(function, options, signature);
    quote! {
        #structure
        #methods
        // A function that is deprecated is still to be called.
        #[allow(deprecated)]
        const _: () = {
            #assertions
            #traits
            #entry
        };
    }
}

fn structure(function: &Function, options: &Options, signature: &Signature) -> TokenStream {
    let Options { structure, builder, .. } = options;
    let visibility = &function.visibility;
    let structure_documentation = documentation::of_structure(function, options, signature);
    let builder_documentation = documentation::of_builder(options);
    let deprecated = function.attributes.iter().filter(|attribute| attribute.path().is_ident("deprecated"));
    quote! {
        #structure_documentation
        #(#deprecated)*
        #[derive(
            ::core::clone::Clone,
            ::core::marker::Copy,
            ::core::fmt::Debug,
            ::core::default::Default,
            ::core::cmp::PartialEq,
            ::core::cmp::Eq,
            ::core::hash::Hash,
        )]
        #[allow(dead_code)]
        #visibility struct #structure;

        #builder_documentation
        #[must_use = "a builder starts nothing until its `spawn` is called"]
        #[allow(dead_code)]
        #visibility struct #builder {
            options: ::procession::__private::Options,
        }
    }
}

/// Not every actor is started in every way, hence `dead_code`.
fn methods(function: &Function, options: &Options, signature: &Signature) -> TokenStream {
    let Options { structure, builder, .. } = options;
    let visibility = &function.visibility;
    let spawn_documentation = documentation::of_spawn(function, signature);
    let builder_documentation = format!("Sets what a process of [`{structure}`] has, before it starts.");
    let names = signature.parameters.iter().map(|parameter| &parameter.name);
    let types = signature.parameters.iter().map(|parameter| &parameter.written);
    let parameters = quote!(#(#names: #types),*);
    let packed = tuple(signature.parameters.iter().map(Parameter::packed).collect());
    quote! {
        #[allow(dead_code, deprecated, unreachable_pub, clippy::too_many_arguments, clippy::used_underscore_binding)]
        impl #structure {
            #spawn_documentation
            #visibility fn spawn(#parameters) -> ::procession::Spawn<#structure> {
                ::procession::__private::spawn::<#structure>(::core::default::Default::default(), #packed)
            }

            #[doc = #builder_documentation]
            #visibility fn builder() -> #builder {
                #builder { options: ::core::default::Default::default() }
            }
        }

        #[allow(dead_code, deprecated, unreachable_pub, clippy::too_many_arguments, clippy::used_underscore_binding)]
        impl #builder {
            ::procession::__builder_methods!();

            #spawn_documentation
            #visibility fn spawn(self, #parameters) -> ::procession::Spawn<#structure> {
                ::procession::__private::spawn::<#structure>(self.options, #packed)
            }
        }
    }
}

/// Where there are several arguments, one that is no message would be reported as a tuple that is none. These point at
/// the one.
fn assertions(parameters: &[Parameter]) -> TokenStream {
    if parameters.len() < 2 {
        return TokenStream::new();
    }
    let each = parameters.iter().filter(|parameter| !matches!(parameter.passing, Passing::Text)).map(|parameter| {
        let travelling = parameter.travelling();
        let (start, end) = ends(&parameter.written);
        let open = quote_spanned!(start=> __travels::<);
        let close = quote_spanned!(end=> >());
        quote!(#open #travelling #close;)
    });
    quote! {
        const _: fn() = || {
            fn __travels<T: ::procession::Message>() {}
            #(#each)*
        };
    }
}

fn traits(function: &Function, options: &Options, signature: &Signature) -> TokenStream {
    let structure = &options.structure;
    let mut arguments = tuple(signature.parameters.iter().map(Parameter::travelling).collect());
    if signature.parameters.len() > 1 {
        arguments = shown_as_group(arguments, function.signature.paren_token.span.join());
    }
    let output = signature.output.travelling();
    let scope = signature.output.scope();
    let failure = signature.output.failure();
    let locals: Vec<Ident> =
        (0..signature.parameters.len()).map(|index| format_ident!("argument_{index}", span = Span::mixed_site())).collect();
    let pattern = if locals.is_empty() { quote!(_) } else { tuple(locals.iter().map(ToTokens::to_token_stream).collect()) };
    let mailbox = Ident::new("mailbox", Span::mixed_site());
    let running = running(function, signature, &mailbox, &locals);
    let (handle, call) = match &signature.message {
        None => (
            quote!(::procession::Process<Self::Output>),
            quote! {
                #[automatically_derived]
                impl ::procession::FunctionActor for #structure {
                    fn call(#pattern: Self::Arguments) -> ::procession::__private::Running<Self::Output> {
                        #scope
                        #running
                    }
                }
            },
        ),
        Some(message) => (
            quote!(::procession::Actor<Self::Output, #message>),
            quote! {
                #[automatically_derived]
                impl ::procession::MailboxActor for #structure {
                    type Message = #message;

                    fn run(
                        #mailbox: ::procession::Mailbox<Self::Message>,
                        #pattern: Self::Arguments,
                    ) -> ::procession::__private::Running<Self::Output> {
                        #scope
                        #running
                    }
                }
            },
        ),
    };
    quote! {
        #[automatically_derived]
        impl ::procession::ProcessActor for #structure {
            type Arguments = #arguments;
            type Output = #output;
            type Handle = #handle;

            fn entry() -> &'static ::procession::__private::Entry {
                &__ENTRY
            }

            #failure
        }

        #call
    }
}

/// The function's call, at once or as a future that owns the arguments.
fn running(function: &Function, signature: &Signature, mailbox: &Ident, locals: &[Ident]) -> TokenStream {
    let mut name = function.signature.ident.clone();
    name.set_span(shown_at(name.span()));
    let mailbox = signature.message.is_some().then_some(mailbox);
    let unpacked = signature.parameters.iter().zip(locals).map(|(parameter, local)| parameter.unpacked(local));
    let arguments = mailbox.map(ToTokens::to_token_stream).into_iter().chain(unpacked);
    let call = quote!(#name(#(#arguments),*));
    if function.signature.asyncness.is_some() {
        let value = signature.output.packed(quote!(#call.await));
        quote!(::procession::__private::Running::Future(::std::boxed::Box::pin(async move { #value })))
    } else {
        let value = signature.output.packed(call);
        quote!(::procession::__private::Running::Done(#value))
    }
}

/// The actor's place in the table that all processes of a family share.
fn entry(function: &Function, options: &Options, signature: &Signature) -> TokenStream {
    let structure = &options.structure;
    let constructor = if signature.message.is_some() { quote!(mailbox) } else { quote!(function) };
    let ident = &function.signature.ident;
    let type_name = ident.unraw().to_string();
    let name = match &options.name {
        Some(name) => quote!(::core::option::Option::Some(#name)),
        None => quote!(::core::option::Option::None),
    };
    // Expanded with the place of the function's name, not that of the attribute.
    let place = quote_spanned! {ident.span()=>
        file: ::core::file!(),
        line: ::core::line!(),
    };
    quote! {
        #[::procession::__private::linkme::distributed_slice(::procession::__private::ENTRIES)]
        #[linkme(crate = ::procession::__private::linkme)]
        static __ENTRY: ::procession::__private::Entry =
            ::procession::__private::Entry::#constructor::<#structure>(::procession::__private::Place {
                type_name: #type_name,
                name: #name,
                module: ::core::module_path!(),
                #place
            });
    }
}

/// `()` for none, the one by itself, and a tuple for several.
fn tuple(elements: Vec<TokenStream>) -> TokenStream {
    match &elements[..] {
        [one] => one.clone(),
        several => quote!((#(#several),*)),
    }
}

/// The same, with its outermost delimiters at `span`.
fn shown_as_group(tokens: TokenStream, span: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|token| match token {
            TokenTree::Group(group) => {
                let mut group = Group::new(group.delimiter(), group.stream());
                group.set_span(shown_at(span));
                group.into()
            }
            other => other,
        })
        .collect()
}
