//! A function applied to many encoded arguments, one after the other.
//!
//! The function's types are known here and nowhere else on the way of its tasks: whoever runs a batch has bytes, and gives and
//! takes bytes. Arguments of a plain number type are one block, any others are *records*, each with its length before it; so are
//! results. A panic, an argument that cannot be read and a result that cannot be sent end one task, not the batch.

use std::any::{Any, TypeId};
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use super::definition::{FunctionActor, Running};
use super::family::family;
use crate::link::frame::Flags;
use crate::link::value::Names;
use crate::link::value::Shapes;
use crate::link::value::{self, DecodeError, EncodeError, Encoding};

use std::os::fd::OwnedFd;

/// The length that stands for a task without a result here.
pub(crate) const ABSENT: u32 = u32::MAX;
/// Set in a record's length where its value is a block.
const BLOCK: u32 = 1 << 31;
/// A value of more bytes than this travels by itself, so that it is not copied once more.
pub(crate) const LARGE: usize = 64 * 1024;
/// Bytes of a record before its value.
pub(crate) const RECORD: usize = 4;

/// The encoded arguments of consecutive tasks.
pub(crate) enum Arguments<'a> {
    /// Plain numbers as one block, or records.
    Many(&'a [u8]),
    /// Those of one task, by themselves.
    One(Flags, Vec<u8>, Vec<OwnedFd>),
}

/// Why a task has no result.
pub(crate) enum Mishap {
    Panicked(Box<dyn Any + Send>),
    Unreadable(DecodeError),
    Unsendable(EncodeError),
}

/// Where results that are plain numbers of eight bytes are put.
pub(crate) struct Window<'p> {
    /// A word for each task of the batch, little endian.
    pub(crate) words: &'p [AtomicU64],
    /// How many of them are there.
    pub(crate) done: &'p AtomicU64,
}

/// Who hands tasks out and takes their results, in order.
pub(crate) trait Ledger<'p> {
    /// The next tasks to run; the ranges of one batch follow on each other.
    fn claim(&mut self) -> Option<Range<usize>>;
    /// Where numbers of eight bytes may be put without a call for each.
    fn window(&self) -> Option<Window<'p>>;
    /// So many results are in the window.
    fn advance(&mut self, done: usize);
    /// The next result, of a plain number type.
    fn number(&mut self, bytes: &[u8]);
    /// The next result, of any other type, with the names of the structs in this batch's results so far.
    fn record(&mut self, flags: Flags, bytes: &[u8], names: &[u8]) -> io::Result<()>;
    /// The same of one that is large, or has descriptors.
    fn apart(&mut self, encoding: Encoding, bytes: Vec<u8>, names: &[u8]) -> io::Result<()>;
    /// Whether results are read by somebody who knows no names.
    fn plain(&self) -> bool;
    /// There is no next result; `width` is that of the numbers expected.
    fn mishap(&mut self, mishap: Mishap, width: Option<usize>) -> io::Result<()>;
}

/// Runs the tasks of one batch.
pub(crate) type Run = for<'p> fn(Arguments<'_>, &mut Bench, &mut dyn Ledger<'p>) -> io::Result<()>;

/// Begins one task that may be one of many at once.
pub(crate) type Begin = fn(Arguments<'_>, &Names) -> Begun;

/// A task that was begun: its encoded result.
pub(crate) type Begun = Pin<Box<dyn Future<Output = Result<(Encoding, Vec<u8>), Mishap>>>>;

/// What a process keeps from task to task: the runtime of async functions, a buffer, and the names of structs.
#[derive(Default)]
pub(crate) struct Bench {
    runtime: Option<tokio::runtime::Runtime>,
    buffer: Vec<u8>,
    /// Those in the arguments.
    pub(crate) names: Names,
    /// Those in the results.
    shapes: Shapes,
}

impl Bench {
    #[inline]
    fn finish<T>(&mut self, running: Running<T>) -> io::Result<T> {
        let future = match running {
            Running::Done(output) => return Ok(output),
            Running::Future(future) => future,
        };
        let runtime = match &mut self.runtime {
            Some(runtime) => runtime,
            none => {
                if let Some(family) = family() {
                    family.serve();
                }
                none.insert(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
            }
        };
        Ok(runtime.block_on(future))
    }
}

/// Bytes of a value of this type where it is a plain number, whose lists are blocks.
pub(crate) fn width<T: 'static>() -> Option<usize> {
    macro_rules! any_of {
        ($($number:ty)*) => {
            [$(TypeId::of::<$number>()),*].contains(&TypeId::of::<T>())
        };
    }
    any_of!(i8 i16 i32 i64 u8 u16 u32 u64 f32 f64).then_some(size_of::<T>())
}

/// Hands a number's bytes to `take`; false where the value is none.
#[inline]
fn with_number<T: 'static>(value: &T, take: impl FnOnce(&[u8])) -> bool {
    macro_rules! one_of {
        ($($number:ty)*) => {
            $(if let Some(number) = (value as &dyn Any).downcast_ref::<$number>() {
                take(&number.to_le_bytes());
                return true;
            })*
        };
    }
    one_of!(i8 i16 i32 i64 u8 u16 u32 u64 f32 f64);
    false
}

/// The first plain number of `bytes`, which moves behind it.
#[inline]
fn take_number<T: 'static>(bytes: &mut &[u8]) -> Option<T> {
    macro_rules! one_of {
        ($($number:ty)*) => {
            $(if TypeId::of::<T>() == TypeId::of::<$number>() {
                let (first, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                let mut number = Some(<$number>::from_le_bytes(*first));
                return (&mut number as &mut dyn Any).downcast_mut::<Option<T>>()?.take();
            })*
        };
    }
    one_of!(i8 i16 i32 i64 u8 u16 u32 u64 f32 f64);
    None
}

/// Appends a plain number's bytes; nothing for a value that is none.
#[inline]
pub(crate) fn put_number<T: 'static>(value: &T, out: &mut Vec<u8>) {
    with_number(value, |bytes| out.extend_from_slice(bytes));
}

/// The word before a record's value; `None` where it is too long.
pub(crate) fn record_word(flags: Flags, length: usize) -> Option<u32> {
    let length = u32::try_from(length).ok().filter(|length| *length < BLOCK - 1)?;
    Some(if flags.contains(Flags::BLOCK) { length | BLOCK } else { length })
}

/// The next record of `bytes`, which moves behind it. `Some(None)` for an absent one; `None` where the bytes end or are none.
pub(crate) fn next_record<'a>(bytes: &mut &'a [u8]) -> Option<Option<(Flags, &'a [u8])>> {
    let (word, rest) = bytes.split_first_chunk::<RECORD>()?;
    let word = u32::from_le_bytes(*word);
    if word == ABSENT {
        *bytes = rest;
        return Some(None);
    }
    let flags = if word & BLOCK == 0 { Flags::NONE } else { Flags::BLOCK };
    let (value, rest) = rest.split_at_checked((word & !BLOCK) as usize)?;
    *bytes = rest;
    Some(Some((flags, value)))
}

/// The arguments of a batch, one by one.
enum Source<'a, T> {
    /// Plain numbers, little endian.
    Numbers(&'a [u8]),
    Records(&'a [u8]),
    One(Option<(Flags, Vec<u8>, Vec<OwnedFd>)>, PhantomData<T>),
}

impl<T: value::Message> Source<'_, T> {
    fn of(arguments: Arguments<'_>) -> Source<'_, T> {
        match arguments {
            Arguments::One(flags, body, descriptors) => Source::One(Some((flags, body, descriptors)), PhantomData),
            Arguments::Many(bytes) if width::<T>().is_none() => Source::Records(bytes),
            Arguments::Many(bytes) => Source::Numbers(bytes),
        }
    }

    #[inline]
    fn next(&mut self, names: &Names) -> Result<T, Mishap> {
        match self {
            Source::Numbers(bytes) => take_number(bytes).ok_or_else(missing::<T>),
            Source::Records(bytes) => match next_record(bytes) {
                None | Some(None) => Err(missing::<T>()),
                Some(Some((flags, body))) => names.decode(flags, body, Vec::new()).map_err(Mishap::Unreadable),
            },
            Source::One(one, _) => {
                let (flags, body, descriptors) = one.take().ok_or_else(missing::<T>)?;
                let decoded = match flags.contains(Flags::BLOCK) {
                    true => value::decode_owned(flags, body, descriptors),
                    false => names.decode(flags, &body, descriptors),
                };
                decoded.map_err(Mishap::Unreadable)
            }
        }
    }
}

#[cold]
fn missing<T>() -> Mishap {
    Mishap::Unreadable(DecodeError {
        type_name: std::any::type_name::<T>().into(),
        reason: "the batch has fewer arguments than tasks".into(),
    })
}

/// Runs tasks of `A` until there are no more to claim.
pub(crate) fn run<A: FunctionActor>(arguments: Arguments<'_>, bench: &mut Bench, ledger: &mut dyn Ledger<'_>) -> io::Result<()> {
    if word::<A::Output>().is_some()
        && let Some(window) = ledger.window()
    {
        return run_words::<A>(Source::of(arguments), bench, ledger, &window);
    }
    let plain = ledger.plain();
    let mut source = Source::<A::Arguments>::of(arguments);
    while let Some(tasks) = ledger.claim() {
        let mut left = tasks.len();
        while left > 0 {
            // What a panic leaves behind is the argument's and the function's own, and both are gone.
            let ran = catch_unwind(AssertUnwindSafe(|| {
                while left > 0 {
                    left -= 1;
                    one::<A>(&mut source, bench, ledger, plain)?;
                }
                io::Result::Ok(())
            }));
            match ran {
                Ok(ran) => ran?,
                Err(panic) => ledger.mishap(Mishap::Panicked(panic), width::<A::Output>())?,
            }
        }
    }
    Ok(())
}

/// The same where results are numbers of eight bytes: they go straight to their places.
fn run_words<A: FunctionActor>(
    mut source: Source<'_, A::Arguments>,
    bench: &mut Bench,
    ledger: &mut dyn Ledger<'_>,
    window: &Window<'_>,
) -> io::Result<()> {
    let Some(word) = word::<A::Output>() else { return Ok(()) };
    while let Some(tasks) = ledger.claim() {
        let (mut at, end) = (tasks.start, tasks.end.min(window.words.len()));
        while at < end {
            let ran = catch_unwind(AssertUnwindSafe(|| {
                for slot in &window.words[at..end] {
                    let argument = match source.next(&bench.names) {
                        Ok(argument) => argument,
                        Err(mishap) => return Ok(Err(mishap)),
                    };
                    let output = bench.finish(A::call(argument))?;
                    slot.store(word(&output), Ordering::Relaxed);
                    at += 1;
                    window.done.store(at as u64, Ordering::Release);
                }
                io::Result::Ok(Ok(()))
            }));
            ledger.advance(at);
            let mishap = match ran {
                Ok(ran) => match ran? {
                    Ok(()) => continue,
                    Err(mishap) => mishap,
                },
                Err(panic) => Mishap::Panicked(panic),
            };
            ledger.mishap(mishap, width::<A::Output>())?;
            at += 1;
        }
    }
    Ok(())
}

/// What makes a word of a number of eight bytes.
fn word<T: 'static>() -> Option<fn(&T) -> u64> {
    (width::<T>() == Some(8)).then_some(|value| {
        let mut word = [0; 8];
        with_number(value, |bytes| word.copy_from_slice(bytes));
        u64::from_ne_bytes(word)
    })
}

/// Runs one task.
#[inline]
fn one<A: FunctionActor>(
    source: &mut Source<'_, A::Arguments>,
    bench: &mut Bench,
    ledger: &mut dyn Ledger<'_>,
    plain: bool,
) -> io::Result<()> {
    let argument = match source.next(&bench.names) {
        Ok(argument) => argument,
        Err(mishap) => return ledger.mishap(mishap, width::<A::Output>()),
    };
    let output = bench.finish(A::call(argument))?;
    if with_number(&output, |bytes| ledger.number(bytes)) {
        return Ok(());
    }
    let output = match value::take_block(output) {
        Ok(block) if block.len() > LARGE => {
            return ledger.apart(Encoding { flags: Flags::BLOCK, descriptors: Vec::new() }, block, &[]);
        }
        Ok(block) => return ledger.record(Flags::BLOCK, &block, &[]),
        Err(output) => output,
    };
    let Bench { buffer, shapes, .. } = bench;
    buffer.clear();
    let encoded = if plain { value::put(&output, buffer) } else { shapes.put(&output, buffer) };
    let names = if plain { &[] } else { shapes.table() };
    match (encoded.flags(), buffer.len()) {
        (Some(flags), ..=LARGE) => ledger.record(flags, buffer, names),
        _ => match encoded.into_result() {
            Ok(encoding) => ledger.apart(encoding, std::mem::take(buffer), names),
            Err(error) => ledger.mishap(Mishap::Unsendable(error), width::<A::Output>()),
        },
    }
}

/// Begins one task of `A`. The result does without a table of names.
pub(crate) fn begin<A: FunctionActor>(arguments: Arguments<'_>, names: &Names) -> Begun {
    let argument = catch_unwind(AssertUnwindSafe(|| Source::<A::Arguments>::of(arguments).next(names)));
    Box::pin(async move {
        let argument = argument.unwrap_or_else(|panic| Err(Mishap::Panicked(panic)))?;
        let mut running = Box::pin(async move {
            let output = match A::call(argument) {
                Running::Done(output) => output,
                Running::Future(future) => future.await,
            };
            encode_one(output)
        });
        poll_fn(move |context| match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context))) {
            Ok(polled) => polled.map_err(Mishap::Unsendable),
            Err(panic) => Poll::Ready(Err(Mishap::Panicked(panic))),
        })
        .await
    })
}

/// One result: a number or what gives up its buffer as a block, anything else in MessagePack.
fn encode_one<T: value::Message>(output: T) -> Result<(Encoding, Vec<u8>), EncodeError> {
    let block = || Encoding { flags: Flags::BLOCK, descriptors: Vec::new() };
    let mut bytes = Vec::new();
    if with_number(&output, |number| bytes.extend_from_slice(number)) {
        return Ok((block(), bytes));
    }
    match value::take_block(output) {
        Ok(bytes) => Ok((block(), bytes)),
        Err(output) => Ok((value::encode(&output, &mut bytes)?, bytes)),
    }
}
