//! The requests under way on one link: what each waits for, and what a frame that arrives means to it.
//!
//! A plain state without any I/O; [`call`](super::call) reads and waits.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Waker;

use super::assemble::{Body, Frame};
use super::call::Link;
use super::frame::{FrameError, Kind};
use super::parcel::Parcel;
use crate::exit::ExitReport;

/// Why a request has no response.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    /// The far end dropped the reply unsent.
    NoReply,
    /// The far end could not read the request.
    Rejected(String),
    /// The far end lives, its mailbox is closed.
    Closed,
    /// The far end died.
    Died(Arc<ExitReport>),
    /// The link carried something that is not the protocol, or failed.
    Broken(LinkError),
}

/// Why a link ended although both its processes live.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A system call failed.
    #[error("the socket failed: {0}")]
    Io(String),
    /// The far end is gone and no report of it came.
    #[error("the far end is gone and how it ended was not reported")]
    Lost,
}

/// Spreads call ids, which nobody else chooses.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 << 8) | u64::from(byte);
        }
    }
    fn write_u64(&mut self, id: u64) {
        // Ids count up; a multiplication spreads them over the table's high bits.
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

pub(super) type Calls = HashMap<u64, Slot, BuildHasherDefault<IdHasher>>;

/// What is known of one request.
pub(super) enum Slot {
    Waiting {
        waker: Option<Waker>,
        moved: bool,
    },
    Done(Result<Parcel, Ending>),
    /// The caller has gone; a response still has to be undone.
    Orphan(Undo),
}

/// Who reads the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Nobody,
    Task,
    Leader,
}

/// Everything that a link's readers and callers share.
pub(super) struct State {
    pub(super) calls: Calls,
    pub(super) reader: Reader,
    pub(super) ended: Option<Ending>,
    /// The end of file was seen; the verdict has not come yet.
    pub(super) silent: bool,
}

/// Told of a response that came after its caller had gone.
pub(crate) type Undo = Box<dyn FnOnce(&Arc<Link>, Parcel) + Send>;

impl State {
    /// Takes one frame; true for the far end's `Closed`.
    pub(super) fn take(
        &mut self,
        frame: Frame<'_>,
        wakers: &mut Vec<Waker>,
        moved: &mut Vec<(u64, OwnedFd)>,
        undone: &mut Vec<(Undo, Parcel)>,
    ) -> bool {
        let intact = frame.intact();
        let Frame { header, body, mut descriptors } = frame;
        let result = match header.kind {
            // A reply that was handed on is no longer this link's to give.
            Kind::Reply | Kind::NoReply | Kind::Rejected
                if matches!(self.calls.get(&header.call), Some(Slot::Waiting { moved: true, .. })) =>
            {
                return false;
            }
            Kind::Reply => match (intact, body) {
                // Only this reply is lost; the link goes on.
                (Err(error), _) => Err(Ending::Broken(LinkError::Frame(error))),
                (Ok(()), Body::Borrowed(bytes)) => Ok(Parcel { flags: header.flags, body: bytes.to_vec(), descriptors }),
                (Ok(()), Body::Owned(body)) => Ok(Parcel { flags: header.flags, body, descriptors }),
            },
            Kind::NoReply => Err(Ending::NoReply),
            Kind::Rejected => Err(Ending::Rejected(String::from_utf8_lossy(body.as_slice()).into_owned())),
            Kind::Moved => match (self.calls.get_mut(&header.call), descriptors.pop()) {
                (Some(Slot::Waiting { moved: away, .. }), Some(fd)) => {
                    *away = true;
                    moved.push((header.call, fd));
                    return false;
                }
                (Some(_), None) => Err(Ending::Broken(LinkError::Io("this process has no more descriptors".to_owned()))),
                _ => return false,
            },
            Kind::Closed => return true,
            // Kinds of a later version or another room: not this link's business.
            _ => return false,
        };
        match self.calls.get_mut(&header.call) {
            Some(slot @ Slot::Waiting { .. }) => {
                if let Slot::Waiting { waker, .. } = std::mem::replace(slot, Slot::Done(result)) {
                    wakers.extend(waker);
                }
            }
            Some(Slot::Orphan(_)) => {
                if let (Some(Slot::Orphan(undo)), Ok(parcel)) = (self.calls.remove(&header.call), result) {
                    undone.push((undo, parcel));
                }
            }
            _ => {}
        }
        false
    }

    /// Somebody who can take over reading.
    pub(super) fn next_waiter(&mut self) -> Option<Waker> {
        self.calls.values_mut().find_map(|slot| match slot {
            // One whose reply comes another way would not read here.
            Slot::Waiting { waker, moved: false } => waker.take(),
            _ => None,
        })
    }
}
