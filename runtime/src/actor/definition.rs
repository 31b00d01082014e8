//! What `#[process_actor]` makes of a function, and the table of all of them.
//!
//! Every marked function of the program, whatever crate it is in, is an [`Entry`] of a link-time table. All processes of a family
//! run the same image, so an entry's place in that table names the function on the wire; its names are for people.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use linkme::distributed_slice;
use tokio::runtime::LocalOptions;

use super::address::{Key, MAIN_PORT};
use super::batch::{self, Begin, Run};
use super::family::family;
use super::inbound;
use super::mailbox::{Capacity, Door, Mailbox};
use crate::exit::ErrorChain;
use crate::link::parcel::Parcel;
use crate::link::value::{DecodeError, EncodeError, Message};

/// A function marked with [`#[process_actor]`](macro@crate::process_actor), as the type that the attribute makes of it.
///
/// Implemented by the attribute only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a process actor",
    label = "not a process actor",
    note = "mark the function with `#[process_actor]` and pass the type it makes: for `fn square` write `Square`"
)]
pub trait ProcessActor: Copy + Send + Sync + 'static {
    /// What a call takes: `()` for no parameter, the type itself for one, a tuple for several.
    type Arguments: Message;
    /// What the function returns.
    type Output: Message;
    /// The spawner's handle: [`Process`](crate::Process) or [`Actor`](crate::Actor).
    type Handle;

    #[doc(hidden)]
    fn entry() -> &'static Entry;

    #[doc(hidden)]
    fn failure(_output: &Self::Output) -> Option<ErrorChain> {
        None
    }
}

/// A process actor that takes only arguments: it runs once, or as a pool's task.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function actor",
    label = "not a function actor",
    note = "mark the function with `#[process_actor]` and pass the type it makes: for `fn square` write `Square`",
    note = "an actor with a `Mailbox` is spawned by itself and cannot be a pool's task"
)]
pub trait FunctionActor: ProcessActor {
    #[doc(hidden)]
    fn call(arguments: Self::Arguments) -> Running<Self::Output>;
}

/// A process actor that takes a [`Mailbox`](crate::Mailbox) first.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a mailbox actor",
    note = "a mailbox actor is a function marked with `#[process_actor]` whose first parameter is a `Mailbox<M>`"
)]
pub trait MailboxActor: ProcessActor {
    /// What its mailbox takes.
    type Message: Message;

    #[doc(hidden)]
    fn run(mailbox: Mailbox<Self::Message>, arguments: Self::Arguments) -> Running<Self::Output>;
}

/// A function that was called: over already, or to be awaited.
pub enum Running<T> {
    /// A sync function's result.
    Done(T),
    /// An async function.
    Future(Pin<Box<dyn Future<Output = T>>>),
}

impl<T> std::fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Running::Done(_) => "Done",
            Running::Future(_) => "Future",
        })
    }
}

/// Runs a future on a runtime of this thread's own, as a task: waking a task is a push to a queue, waking the future that a runtime
/// blocks on is a system call and a round of its event loop.
pub(crate) fn block_on_one_thread<F: Future + 'static>(future: F) -> io::Result<F::Output>
where
    F::Output: 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let ended = runtime.block_on(async { tokio::task::spawn_local(future).await });
    runtime.shutdown_background();
    match ended {
        Ok(output) => Ok(output),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(io::Error::other(error)),
        },
    }
}

impl<T: 'static> Running<T> {
    /// The result; an async function runs on a runtime of its own with so many threads.
    pub(crate) fn finish(self, threads: usize) -> io::Result<T> {
        match self {
            Running::Done(output) => Ok(output),
            Running::Future(future) => {
                if let Some(family) = family() {
                    family.serve();
                }
                if threads > 1 {
                    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
                    let output = runtime.block_on(future);
                    runtime.shutdown_background();
                    return Ok(output);
                }
                block_on_one_thread(future)
            }
        }
    }
}

/// Where an actor is defined, and what it is called.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The function's name.
    pub type_name: &'static str,
    /// The name given in the attribute.
    pub name: Option<&'static str>,
    /// The module of the function.
    pub module: &'static str,
    /// The source file.
    pub file: &'static str,
    /// The line of the function.
    pub line: u32,
}

/// What an actor's process is given to run its function with.
pub(crate) struct Life {
    pub(crate) arguments: Parcel,
    pub(crate) key: Key,
    pub(crate) door: Arc<Door>,
    pub(crate) capacity: Capacity,
    pub(crate) threads: usize,
}

/// What the function left.
pub(crate) struct Finished {
    pub(crate) value: Parcel,
    pub(crate) failure: Option<ErrorChain>,
}

/// Why an actor's function did not run, or what it returned cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LifeError {
    #[error("its arguments could not be read: {0}")]
    Arguments(#[from] DecodeError),
    #[error("what it returned could not be sent: {0}")]
    Value(#[from] EncodeError),
    #[error("its runtime could not be started: {0}")]
    Runtime(#[from] io::Error),
}

type Live = fn(Life) -> Result<Finished, LifeError>;

/// One actor of the program.
#[derive(Debug)]
pub struct Entry {
    place: Place,
    live: Live,
    run: Option<(Run, Begin)>,
}

impl Entry {
    /// The entry of a function actor.
    pub const fn function<A: FunctionActor>(place: Place) -> Entry {
        Entry { place, live: live_function::<A>, run: Some((batch::run::<A>, batch::begin::<A>)) }
    }

    /// The entry of a mailbox actor.
    pub const fn mailbox<A: MailboxActor>(place: Place) -> Entry {
        Entry { place, live: live_mailbox::<A>, run: None }
    }

    pub(crate) fn live(&self, life: Life) -> Result<Finished, LifeError> {
        (self.live)(life)
    }

    /// What applies a function actor to many arguments.
    pub(crate) fn run(&self) -> Option<Run> {
        self.run.map(|(run, _)| run)
    }

    /// What begins one task of a function actor, beside others.
    pub(crate) fn begin(&self) -> Option<Begin> {
        self.run.map(|(_, begin)| begin)
    }

    /// What the actor is called where nobody named it.
    pub(crate) fn type_name(&self) -> &'static str {
        self.place.name.unwrap_or(self.place.type_name)
    }

    /// The name given in the attribute.
    pub(crate) fn name(&self) -> Option<&'static str> {
        self.place.name
    }
}

fn live_function<A: FunctionActor>(life: Life) -> Result<Finished, LifeError> {
    let output = A::call(life.arguments.open()?).finish(life.threads)?;
    finished::<A>(output)
}

fn live_mailbox<A: MailboxActor>(life: Life) -> Result<Finished, LifeError> {
    let arguments = life.arguments.open()?;
    inbound::open(MAIN_PORT, life.key, life.door.clone());
    let mailbox = Mailbox::new(life.door, life.capacity);
    let output = A::run(mailbox, arguments).finish(life.threads)?;
    finished::<A>(output)
}

fn finished<A: ProcessActor>(output: A::Output) -> Result<Finished, LifeError> {
    let failure = A::failure(&output);
    Ok(Finished { value: Parcel::of(output)?, failure })
}

/// All actors of the program.
#[distributed_slice]
pub static ENTRIES: [Entry];

/// An entry's place in the table.
pub(crate) fn index_of(entry: &'static Entry) -> Option<u32> {
    ENTRIES.iter().position(|candidate| std::ptr::eq(candidate, entry)).and_then(|index| u32::try_from(index).ok())
}

pub(crate) fn entry(index: u32) -> Option<&'static Entry> {
    ENTRIES.get(usize::try_from(index).ok()?)
}

/// A name that two actors of the program claim.
pub(crate) fn duplicate_name() -> Option<&'static str> {
    let mut names: Vec<_> = ENTRIES.iter().filter_map(Entry::name).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// A fingerprint of this build: what its actors are and where they stand in the source.
pub(crate) fn build_identity() -> u64 {
    let mut hasher = DefaultHasher::new();
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    for entry in ENTRIES {
        let place = &entry.place;
        (place.type_name, place.name, place.module, place.file, place.line).hash(&mut hasher);
    }
    hasher.finish()
}
