//! [`Reply`]: the right, and the duty, to answer one request.
//!
//! A reply is in one of three places. It is *fresh* in the process that asks, until its request is encoded. In the process
//! that received the request it answers over the connection that the request came by. Sent on to a third process it becomes a
//! *carried* reply: one end of a socket pair whose other end goes to the asker. The kernel then keeps the account of the debt: whoever
//! holds that end answers over it, and when it is gone (dropped, lost on the way, its holder dead) the asker sees the end of file.
//! Each holder says who it is when it receives the reply, so that the asker can tell its death, even where a stray
//! process keeps a copy of the socket.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::family::family;
use crate::link::attach::{self, Attached};
use crate::link::frame::{Flags, Header, Kind};
use crate::link::parcel::Parcel;
use crate::link::socket;
use crate::link::value::{self, EncodeError, Message};
use crate::link::wire::Wire;

/// The connection that a message came by, as its replies need it.
pub(crate) struct Origin {
    pub(crate) wire: Arc<Wire>,
    /// Further messages wait behind this one, so a reply to it has company.
    pub(crate) busy: AtomicBool,
}

thread_local! {
    static ORIGIN: RefCell<Option<Arc<Origin>>> = const { RefCell::new(None) };
    static CARRIED: Cell<bool> = const { Cell::new(false) };
}

/// Decodes a message that came by `origin`: replies inside it will answer there.
pub(crate) fn from_origin<R>(origin: &Arc<Origin>, decode: impl FnOnce() -> R) -> R {
    struct Restore(Option<Arc<Origin>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = ORIGIN.try_with(|current| current.replace(self.0.take()));
        }
    }
    let _restore = Restore(ORIGIN.replace(Some(origin.clone())));
    decode()
}

/// Encodes a request, and tells whether its fresh reply was in it.
pub(crate) fn watch_origin<R>(encode: impl FnOnce() -> R) -> (R, bool) {
    CARRIED.set(false);
    let result = encode();
    (result, CARRIED.get())
}

/// The right, and the duty, to answer one request.
///
/// It is serialisable: sent on to a third process, that one may answer. Dropped without [`send`](Reply::send), the asker is told
/// ([`AskError::NoReply`](crate::AskError::NoReply)); if its holder dies, the asker gets that process's exit report.
#[must_use = "dropping a reply tells the asker that there is none"]
pub struct Reply<T> {
    place: Place,
    /// Encoded into a message to somebody else: the debt is theirs now. (Encoding only borrows, so this is a flag.)
    handed_on: AtomicBool,
    value: PhantomData<fn(T)>,
}

enum Place {
    Fresh(u64),
    Here {
        origin: Arc<Origin>,
        call: u64,
    },
    Carried(Arc<Wire>),
    /// Sent, or sent on.
    Gone,
}

impl<T> Reply<T> {
    fn at(place: Place) -> Reply<T> {
        Reply { place, handed_on: AtomicBool::new(false), value: PhantomData }
    }
}

impl<T: Message> Reply<T> {
    pub(crate) fn origin(call: u64) -> Reply<T> {
        Reply::at(Place::Fresh(call))
    }

    /// Sends the answer. Never waits; if the asker is gone, so is its interest.
    ///
    /// A value that cannot be encoded is not sent silently wrong: the asker gets an error that says so. Use
    /// [`try_send`](Reply::try_send) to learn of it here.
    pub fn send(self, value: T) {
        let _ = self.try_send(value);
    }

    /// Sends the answer.
    ///
    /// # Errors
    ///
    /// Where the value cannot be encoded; the asker is told too.
    pub fn try_send(mut self, value: T) -> Result<(), EncodeError> {
        let (wire, call, more) = match std::mem::replace(&mut self.place, Place::Gone) {
            Place::Here { origin, call } => {
                let more = origin.busy.load(Ordering::Relaxed);
                (origin.wire.clone(), call, more)
            }
            Place::Carried(wire) => (wire, 1, false),
            Place::Fresh(_) | Place::Gone => return Ok(()),
        };
        let header = Header::new(Kind::Reply, call);
        let posted = wire.post(more, |queue| match value::take_block(value) {
            Ok(body) => {
                queue.push_parcel(header, Parcel { flags: Flags::BLOCK, body, descriptors: Vec::new() });
                Ok(())
            }
            Err(value) => queue.push(header, |bytes| value::encode(&value, bytes)),
        });
        match posted {
            Ok(_sent_or_asker_gone) => Ok(()),
            Err(error) => {
                let text = Parcel { flags: Flags::default(), body: error.to_string().into_bytes(), descriptors: Vec::new() };
                let _ = wire.send(false, |queue| queue.push_parcel(Header::new(Kind::Rejected, call), text));
                Err(error)
            }
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if std::thread::panicking() || *self.handed_on.get_mut() {
            // The asker learns of the panic itself, or has been told whom to wait for now.
            return;
        }
        let (wire, call, more) = match &self.place {
            Place::Here { origin, call } => (&origin.wire, *call, origin.busy.load(Ordering::Relaxed)),
            Place::Carried(wire) => (wire, 1, false),
            Place::Fresh(_) | Place::Gone => return,
        };
        let _ = wire.send(more, |queue| queue.push_bare(Header::new(Kind::NoReply, call)));
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// How a reply looks inside a message.
#[derive(Serialize, Deserialize)]
enum Wired {
    Call(u64),
    Carried(Attached),
}

impl<T> Serialize for Reply<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !attach::is_collecting() {
            return Err(ser::Error::custom("a `Reply` travels only inside messages"));
        }
        let wired = match &self.place {
            Place::Fresh(call) => {
                CARRIED.set(true);
                Wired::Call(*call)
            }
            Place::Here { origin, call } => {
                let (asker, holder) = socket::pair().map_err(ser::Error::custom)?;
                let moved = Parcel { flags: Flags::default(), body: Vec::new(), descriptors: vec![asker] };
                let _ = origin.wire.send(false, |queue| queue.push_parcel(Header::new(Kind::Moved, *call), moved));
                self.handed_on.store(true, Ordering::Relaxed);
                Wired::Carried(Attached(holder))
            }
            Place::Carried(wire) => {
                let fd = wire.fd().try_clone_to_owned().map_err(ser::Error::custom)?;
                self.handed_on.store(true, Ordering::Relaxed);
                Wired::Carried(Attached(fd))
            }
            Place::Gone => return Err(ser::Error::custom("this `Reply` was sent on already")),
        };
        wired.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Reply<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = match Wired::deserialize(deserializer)? {
            Wired::Call(call) => {
                let origin = ORIGIN.with_borrow(|origin| origin.clone());
                let origin = origin.ok_or_else(|| de::Error::custom("a `Reply` arrives only inside a request"))?;
                Place::Here { origin, call }
            }
            Wired::Carried(Attached(fd)) => Place::Carried(hold(fd)),
        };
        Ok(Reply::at(place))
    }
}

/// Takes over a carried reply: tells the asker who has it now.
fn hold(fd: OwnedFd) -> Arc<Wire> {
    let wire = Wire::new(fd);
    if let Some(family) = family()
        && let Ok(held) = Parcel::of(family.me())
    {
        let _ = wire.send(false, |queue| queue.push_parcel(Header::new(Kind::Held, 0), held));
    }
    wire
}
