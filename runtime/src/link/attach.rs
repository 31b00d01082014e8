//! File descriptors that ride along with a message.
//!
//! A descriptor is a number that means something in one process only, so it cannot travel as bytes. While a message
//! is serialised, each descriptor in it goes on a thread-local *attachment list* and the body carries its index. The
//! list travels beside the body (`SCM_RIGHTS`), and while the message is deserialised on the other side the indices
//! are exchanged for the descriptors that arrived.
//!
//! The list is thread-local because serde hands a `Serialize` no context of ours, and a value is serialised on one
//! thread from start to end. A [`Collection`] and an [`Offer`] are a fresh list, which ends when they are dropped, also by a
//! panic; so a message that is encoded while another one is (a guard that commits its value, say) keeps its
//! descriptors to itself. The lists lie on one stack: the inner message's are above the outer's and are gone before
//! the outer one goes on.
//!
//! It fails loudly: serialising a descriptor outside a message, an index that the peer made up, and one that is used
//! twice are errors of serde's, never a panic and never another's descriptor. Descriptors that nobody took are closed.
//!
//! Most messages have no descriptor. Theirs is the cost of two small thread-local numbers; the stack, which needs a
//! destructor and memory, is touched only when there is something to put on it.

use crate::link::frame::MAX_DESCRIPTORS;
use rustix::io::fcntl_dupfd_cloexec;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::LocalKey;

/// The topmost list of a stack.
#[derive(Clone, Copy)]
struct List {
    /// Whether there is one: whether this thread is inside a message.
    active: bool,
    /// How many descriptors it has.
    count: u16,
}

impl List {
    const NONE: List = List { active: false, count: 0 };
}

/// One direction: where its lists are.
trait Side {
    /// What lies on its stack.
    type Item: 'static;
    /// Its topmost list.
    const LIST: &'static LocalKey<Cell<List>>;
    /// The descriptors of all its lists, one list above the other.
    const STACK: &'static LocalKey<RefCell<Vec<Self::Item>>>;

    /// Works on the stack. `None` if that is impossible: on a thread that is shutting down and has lost it.
    fn on_stack<R>(work: impl FnOnce(&mut Vec<Self::Item>) -> R) -> Option<R> {
        let worked = Self::STACK.try_with(|stack| stack.try_borrow_mut().ok().map(|mut stack| work(&mut stack)));
        worked.ok().flatten()
    }
}

/// The message that this thread is serialising.
struct Outgoing;

/// The message that this thread is deserialising. Each of its descriptors may be taken once.
struct Incoming;

thread_local! {
    static OUTGOING: Cell<List> = const { Cell::new(List::NONE) };
    static OUTGOING_STACK: RefCell<Vec<OwnedFd>> = const { RefCell::new(Vec::new()) };
    static INCOMING: Cell<List> = const { Cell::new(List::NONE) };
    static INCOMING_STACK: RefCell<Vec<Option<OwnedFd>>> = const { RefCell::new(Vec::new()) };
}

impl Side for Outgoing {
    type Item = OwnedFd;
    const LIST: &'static LocalKey<Cell<List>> = &OUTGOING;
    const STACK: &'static LocalKey<RefCell<Vec<OwnedFd>>> = &OUTGOING_STACK;
}

impl Side for Incoming {
    type Item = Option<OwnedFd>;
    const LIST: &'static LocalKey<Cell<List>> = &INCOMING;
    const STACK: &'static LocalKey<RefCell<Vec<Option<OwnedFd>>>> = &INCOMING_STACK;
}

/// The lowest number that a copy of a descriptor gets: one that is taken for a standard stream would be inherited.
const LOWEST: i32 = 3;

/// Ends the topmost list when it is dropped, also in a panic, and goes back to the one below.
struct Top<S: Side> {
    below: List,
    side: PhantomData<S>,
}

impl<S: Side> Top<S> {
    /// Begins a list of so many, which are on the stack already.
    #[inline]
    fn new(count: u16) -> Top<S> {
        Top { below: S::LIST.replace(List { active: true, count }), side: PhantomData }
    }

    /// What is on the list now.
    #[inline]
    fn take(&self) -> Vec<S::Item> {
        match S::LIST.get().count {
            0 => Vec::new(),
            count => Top::<S>::split(count),
        }
    }

    /// What is on the list, if that is anything.
    #[cold]
    fn split(count: u16) -> Vec<S::Item> {
        S::LIST.set(List { active: true, count: 0 });
        S::on_stack(|stack| stack.split_off(stack.len().saturating_sub(count.into()))).unwrap_or_default()
    }
}

impl<S: Side> Drop for Top<S> {
    #[inline]
    fn drop(&mut self) {
        // Closed here, when the stack is not borrowed any more.
        drop(self.take());
        S::LIST.set(self.below);
    }
}

/// While there is one, a message is being serialised.
pub(crate) struct Collection {
    top: Top<Outgoing>,
}

impl Collection {
    /// Begins one, without descriptors.
    #[inline]
    pub(crate) fn new() -> Collection {
        Collection { top: Top::new(0) }
    }

    /// Whether nothing was attached.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        OUTGOING.get().count == 0
    }

    /// The descriptors so far. Those that nobody takes are closed.
    #[inline]
    pub(crate) fn take(&self) -> Vec<OwnedFd> {
        self.top.take()
    }
}

/// While there is one, a message is being deserialised. Descriptors that are left then are closed.
pub(crate) struct Offer {
    _top: Top<Incoming>,
}

impl Offer {
    /// Begins one, with the descriptors that came with the message.
    #[inline]
    pub(crate) fn new(descriptors: Vec<OwnedFd>) -> Offer {
        let count = if descriptors.is_empty() { 0 } else { push(descriptors) };
        Offer { _top: Top::new(count) }
    }
}

/// Puts what came with a message on the stack and returns how many that is.
#[cold]
fn push(descriptors: Vec<OwnedFd>) -> u16 {
    // More than an index can name cannot come from a frame; they are closed.
    let Ok(count) = u16::try_from(descriptors.len()) else {
        return 0;
    };
    Incoming::on_stack(|stack| stack.extend(descriptors.into_iter().map(Some))).map_or(0, |()| count)
}

/// Whether this thread has a [`Collection`], so that a descriptor can be attached. Types that have another way to
/// travel outside messages ask this first.
#[must_use]
pub(crate) fn is_collecting() -> bool {
    OUTGOING.get().active
}

/// A file descriptor that can be part of a message.
///
/// Serialising it leaves it where it is: a copy travels (`F_DUPFD_CLOEXEC`), and both sides then have the same open
/// file. It is closed like any [`OwnedFd`], when it is dropped.
///
/// # Errors
///
/// Serialising fails outside a message, when the process has no room for another descriptor, and at the 254th
/// descriptor of one message. Deserialising fails outside a message and when the index names no descriptor, or one
/// that was taken already.
#[derive(Debug)]
pub(crate) struct Attached(
    /// The descriptor.
    pub(crate) OwnedFd,
);

impl AsFd for Attached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Attached {
    fn from(descriptor: OwnedFd) -> Attached {
        Attached(descriptor)
    }
}

impl From<Attached> for OwnedFd {
    fn from(attached: Attached) -> OwnedFd {
        attached.0
    }
}

impl Serialize for Attached {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = attach(self.as_fd()).map_err(S::Error::custom)?;
        serializer.serialize_u16(index)
    }
}

/// Puts a copy of the descriptor on the list and returns its index, or says why that cannot be.
fn attach(descriptor: BorrowedFd<'_>) -> Result<u16, String> {
    let list = OUTGOING.get();
    if !list.active {
        return Err("file descriptors travel only inside messages: send it in one, as an argument or a result".into());
    }
    if usize::from(list.count) >= MAX_DESCRIPTORS {
        return Err(format!("a message carries at most {MAX_DESCRIPTORS} file descriptors: send them in several"));
    }
    let copy = fcntl_dupfd_cloexec(descriptor, LOWEST).map_err(|error| format!("the file descriptor cannot be copied: {error}"))?;
    Outgoing::on_stack(|stack| stack.push(copy)).ok_or("file descriptors cannot be sent while the thread ends")?;
    OUTGOING.set(List { count: list.count + 1, ..list });
    Ok(list.count)
}

/// Takes a descriptor off the list, or says why that cannot be.
fn detach(index: u16) -> Result<OwnedFd, String> {
    let list = INCOMING.get();
    if !list.active {
        return Err("file descriptors travel only inside messages".into());
    }
    if index >= list.count {
        return Err(format!("file descriptor {index} did not arrive"));
    }
    let taken = Incoming::on_stack(|stack| {
        let start = stack.len().checked_sub(list.count.into())?;
        stack.get_mut(start + usize::from(index))?.take()
    });
    taken.flatten().ok_or_else(|| format!("file descriptor {index} is used twice"))
}

impl<'de> Deserialize<'de> for Attached {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Attached, D::Error> {
        detach(u16::deserialize(deserializer)?).map(Attached).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn collect<R>(f: impl FnOnce() -> R) -> (R, Vec<OwnedFd>) {
        let collection = Collection::new();
        let result = f();
        (result, collection.take())
    }

    fn offer<R>(descriptors: Vec<OwnedFd>, f: impl FnOnce() -> R) -> R {
        let _offer = Offer::new(descriptors);
        f()
    }

    fn null() -> Attached {
        Attached(File::open("/dev/null").unwrap().into())
    }

    fn pipe() -> (Attached, Attached) {
        let (reader, writer) = std::io::pipe().unwrap();
        (Attached(reader.into()), Attached(writer.into()))
    }

    #[test]
    fn descriptors_travel_by_index() {
        let (left, right) = (pipe(), null());
        let (text, list) = collect(|| serde_json::to_string(&(&left.0, &right, &left.1)).unwrap());
        assert_eq!((text.as_str(), list.len()), ("[0,1,2]", 3));
        let flags = rustix::io::fcntl_getfd(&list[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        drop(left);

        let (reader, _, writer): (Attached, Attached, Attached) = offer(list, || serde_json::from_str(&text).unwrap());
        rustix::io::write(&writer, b"x").unwrap();
        drop(writer);
        let mut read = String::new();
        File::from(reader.0).read_to_string(&mut read).unwrap();
        assert_eq!(read, "x");
    }

    #[test]
    fn outside_a_message_it_is_an_error() {
        assert!(!is_collecting());
        let error = serde_json::to_string(&null()).unwrap_err();
        assert!(error.to_string().contains("only inside messages"), "{error}");
        let error = serde_json::from_str::<Attached>("0").unwrap_err();
        assert!(error.to_string().contains("only inside messages"), "{error}");
    }

    #[test]
    fn made_up_and_reused_indices_are_errors() {
        for text in ["[0,0]", "[0,1]", "[0,65535]", "[0,-1]"] {
            let list = vec![null().0];
            assert!(offer(list, || serde_json::from_str::<(Attached, Attached)>(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn leftovers_are_closed() {
        let (reader, writer) = pipe();
        offer(vec![writer.0], || ());
        let mut read = Vec::new();
        File::from(reader.0).read_to_end(&mut read).unwrap();
    }

    #[test]
    fn at_most_253_in_a_message() {
        let null = null();
        let copies: Vec<&Attached> = std::iter::repeat_n(&null, MAX_DESCRIPTORS).collect();
        let (result, list) = collect(|| serde_json::to_string(&copies));
        assert!(result.is_ok());
        assert_eq!(list.len(), MAX_DESCRIPTORS);
        let (result, _) = collect(|| serde_json::to_string(&(&copies, &null)));
        assert!(result.unwrap_err().to_string().contains("at most 253"));
    }

    #[test]
    fn nesting_and_panics_restore_the_former_list() {
        let null = null();
        let (inner, outer) = collect(|| {
            serde_json::to_string(&null).unwrap();
            let (text, inner) = collect(|| serde_json::to_string(&null).unwrap());
            assert_eq!(text, "0");
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                collect(|| {
                    serde_json::to_string(&null).unwrap();
                    std::panic::resume_unwind(Box::new(()));
                })
            }));
            assert!(panicked.is_err() && is_collecting());
            assert_eq!(serde_json::to_string(&null).unwrap(), "1");
            inner
        });
        assert_eq!((inner.len(), outer.len(), is_collecting()), (1, 2, false));

        offer(outer, || {
            offer(Vec::new(), || assert!(serde_json::from_str::<Attached>("0").is_err()));
            let panicked = catch_unwind(|| offer(Vec::new(), || std::panic::resume_unwind(Box::new(()))));
            assert!(panicked.is_err());
            serde_json::from_str::<Attached>("1").unwrap();
        });
        assert!(serde_json::from_str::<Attached>("0").is_err());
    }
}
