//! The attributes of [Procession](https://docs.rs/procession): [`macro@process_actor`], [`macro@main`] and
//! [`macro@test`].
//!
//! A program never depends on this crate itself: `procession` re-exports the three, and what they write names its items
//! by absolute path (`::procession::...`), most of them in `procession::__private`. The two crates are one thing in two
//! packages, so each version of `procession` asks for exactly one version of this one.
//!
//! An attribute that cannot do what was asked writes the item back together with one sentence for each fault, at the
//! place of the fault, that says what to write instead. Faults are collected, so that one build shows them all.

mod actor;
mod arguments;
mod entry;
mod item;
mod name;
mod refusal;
mod span;

use proc_macro::TokenStream;

/// Makes a process actor of a function.
///
/// The function stays exactly as it is. Beside it comes a unit struct of the function's visibility and documentation,
/// named like the function in upper camel case, which starts the function in processes of its own:
///
/// ```text
/// use procession::prelude::*;
///
/// /// Multiplies a number by itself.
/// #[process_actor]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
///
/// #[procession::main]
/// async fn main() -> procession::Result<()> {
///     let process = Square::spawn(5).await?;                       // a child process
///     assert_eq!(process.join().await?, 25);
///
///     let process = Square::builder().name("six").spawn(6).await?; // one with a name
///     assert_eq!(process.join().await?, 36);
///
///     assert_eq!(Pool::new(2)?.map(Square, [1, 2, 3]).await?, [1, 4, 9]);
///     assert_eq!(square(7), 49);                                   // the function is untouched
///     Ok(())
/// }
/// ```
///
/// # What is added
///
/// For `fn square(x: i64) -> i64`:
///
/// | item | what it is |
/// | --- | --- |
/// | `struct Square` | the process actor: it implements `procession::ProcessActor`, and `FunctionActor` or `MailboxActor` |
/// | `Square::spawn(x)` | starts `square(x)` in a process; the parameters are the function's own |
/// | `Square::builder()` | a `SquareBuilder`: sets what a process can have (name, environment, limits), then `.spawn(x)` |
///
/// # Arguments of the attribute
///
/// - `#[process_actor(Tally)]` names the struct, where upper camel case of the function's name will not do.
/// - `#[process_actor(name = "tally")]` registers an explicit name for look-up, in place of none. Two actors of a
///   program that register the same name are an error at its start.
///
/// # Parameters
///
/// Each is a type that `serde` can serialise and deserialise, up to 16 of them. They travel as `()` where there is none,
/// as themselves where there is one, and as a tuple where there are several; the items of a pool's `map` have that same
/// form. `&str` and `&[T]` are taken too: `spawn` copies them into a `String` or a `Vec<T>`, and the function borrows
/// from that one in its own process. Documentation comments on parameters are accepted and moved to that of `spawn`.
///
/// A first parameter of type `Mailbox<M>` makes a *mailbox actor*: the runtime supplies the mailbox, `spawn` takes the
/// other parameters, and its handle takes messages of type `M`.
///
/// ```text
/// #[process_actor]
/// async fn counter(mut mailbox: Mailbox<Count>, start: i64) -> i64 {
///     let mut n = start;
///     while let Some(message) = mailbox.recv().await {
///         match message {
///             Count::Add(k) => n += k,
///             Count::Get(reply) => reply.send(n),
///         }
///     }
///     n
/// }
/// ```
///
/// # Return types
///
/// Anything that `serde` can serialise and deserialise. `Result<T, E>` with such an `E` is a value like another. Errors
/// that are known not to be serialisable become a `procession::ErrorChain`, the texts of the error and its sources:
///
/// | written | the spawner gets |
/// | --- | --- |
/// | `anyhow::Result<T>`, `io::Result<T>`, any `Result<T>` with one argument | `Result<T, ErrorChain>` |
/// | `Result<T, anyhow::Error>`, `Result<T, eyre::Report>`, `Result<T, io::Error>` | `Result<T, ErrorChain>` |
/// | `Result<T, Box<dyn Error>>`, with `Send` and `Sync` or without | `Result<T, ErrorChain>` |
///
/// # What is refused
///
/// Another process runs the function, from values that were sent to it. So there are no generic, `const`, `unsafe` or
/// `extern` process actors, no methods, nothing borrowed but `&str` and `&[T]`, and no `impl Trait`. Each is an error
/// that says what to write instead.
#[proc_macro_attribute]
pub fn process_actor(arguments: TokenStream, item: TokenStream) -> TokenStream {
    actor::expand(arguments.into(), item.into()).into()
}

/// Starts the runtime before `main`, and ends the family of processes after it.
///
/// In a helper process (the nursery, an actor) the function body is never reached. In the program itself the body runs
/// on a tokio runtime where it is `async`, and as it is where it is not. When it returns or panics, the family ends.
///
/// ```text
/// #[procession::main]
/// async fn main() -> procession::Result<()> {
///     let process = Square::spawn(5).await?;
///     assert_eq!(process.join().await?, 25);
///     Ok(())
/// }
/// ```
///
/// A program with no async of its own waits with `.blocking()`:
///
/// ```text
/// #[procession::main]
/// fn main() -> procession::Result<()> {
///     let squares = Pool::new(3)?.map(Square, [5, 10, 15]).blocking()?;
///     assert_eq!(squares, [25, 100, 225]);
///     Ok(())
/// }
/// ```
///
/// # Arguments of the attribute
///
/// | argument | what it sets | otherwise |
/// | --- | --- | --- |
/// | `flavor = "current_thread"` or `"multi_thread"` | the runtime of an `async fn` | `"multi_thread"` |
/// | `worker_threads = 4` | the threads of a multi-threaded runtime | one for each usable core |
/// | `preload = path::to::function` | a `fn()` that the nursery runs first, on a thread of its own that ends with it; every child shares the memory it leaves, but no thread-locals | none |
/// | `signals = false` | leaves Ctrl-C, SIGTERM and SIGHUP to the program | they stop the family in order |
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::main(arguments.into(), item.into()).into()
}

/// Makes a test of a function that starts processes.
///
/// It is `#[test]` with the runtime around it. The actors of a test are processes of the test's own binary, in which
/// this attribute starts the actor in place of the harness. The family ends with the test.
///
/// ```text
/// #[procession::test]
/// async fn squares() -> procession::Result<()> {
///     assert_eq!(Square::spawn(5).await?.join().await?, 25);
///     Ok(())
/// }
/// ```
///
/// An `async fn` runs on a runtime of the one thread that the harness gave the test, or on more with
/// `flavor = "multi_thread"` and `worker_threads = 4`. Other attributes (`#[should_panic]`, `#[ignore]`) mean what they
/// always mean.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::test(arguments.into(), item.into()).into()
}
