//! Frames out of a stream of bytes and descriptors.
//!
//! An [`Assembler`] does no I/O. Its reader asks for [`space`](Assembler::space), appends what arrived to it, hands
//! over the descriptors that arrived with [`attach`](Assembler::attach), and takes frames with
//! [`next`](Assembler::next) until there is none. Where the stream was cut into reads makes no difference.
//!
//! There are two places for bytes. The *window* takes headers and small frames; a small frame is lent from it, so it
//! costs no allocation. It starts at 4 KiB and doubles up to 64 KiB while reads fill it, so a link that is idle or
//! slow costs little. A frame that does not fit the window gets a body of its own, which is read straight into and
//! then handed over without a copy.
//!
//! A length is a claim. A body starts at no more than 1 MiB and doubles only when that has filled with bytes that
//! really arrived, so a peer that claims 256 MiB and sends nothing has cost 1 MiB of address space. Descriptors are
//! bounded likewise.
//!
//! On a stream, descriptors form a queue from which each header's count takes. A frame with descriptors begins its
//! own `sendmsg`, and the kernel delivers descriptors with the first byte of theirs; so they are here when their
//! header is. Two things can differ, and both are errors: fewer arrived than a header claims, or more arrived than
//! all frames claim. If this process ran out of descriptors, the kernel drops some and says so; the reader passes
//! that on with [`truncated`](Assembler::truncated). It is the error of that one frame (see [`Frame::intact`]).
//!
//! A trace context is skipped: nobody here reads one yet, and a peer that sends one is understood all the same.
//!
//! Every other error is final: a stream that broke has no known next frame, and the assembler repeats the error.

use crate::link::frame::{Flags, FrameError, HEADER, Header, MAX_DESCRIPTORS, TRACE_CONTEXT};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// What the window starts with.
const FIRST_WINDOW: usize = 4 * 1024;
/// What the window grows to. A frame that does not fit it has a body of its own.
const WINDOW: usize = 64 * 1024;
/// Most memory that a body of its own is given before any of it has arrived.
const FIRST_BODY: usize = 1024 * 1024;
/// Most descriptors that wait for a header: those of two whole messages. A peer that keeps to the protocol has those
/// of one message waiting, because a message's frame is in the same read.
const MAX_WAITING: usize = 2 * MAX_DESCRIPTORS;

/// A whole frame.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    /// What the header says.
    pub(crate) header: Header,
    /// The body, of the length that the header claims.
    pub(crate) body: Body<'a>,
    /// The descriptors that ride along: as many as the header claims, or fewer if this process ran out of them.
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Frame<'_> {
    /// Whether all descriptors of the frame are here.
    ///
    /// # Errors
    ///
    /// `TruncatedDescriptors` if this process had no room for them. Only this frame is lost.
    pub(crate) fn intact(&self) -> Result<(), FrameError> {
        if self.descriptors.len() == usize::from(self.header.descriptors) { Ok(()) } else { Err(FrameError::TruncatedDescriptors) }
    }
}

/// The body of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// Lent from the window.
    Borrowed(&'a [u8]),
    /// A large body, handed over.
    Owned(Vec<u8>),
}

impl Body<'_> {
    /// The bytes.
    #[must_use]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Body::Borrowed(bytes) => bytes,
            Body::Owned(bytes) => bytes,
        }
    }
}

/// A frame whose body is being read into a place of its own.
#[derive(Debug)]
struct Large {
    header: Header,
    /// `header.length` as an index; it fits, because it was checked when this was made.
    length: usize,
    body: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// A descriptor in the queue, or the place where the kernel dropped some.
#[derive(Debug)]
enum Arrived {
    Descriptor(OwnedFd),
    Gap,
}

/// Takes bytes and descriptors in, gives frames out.
#[derive(Debug)]
pub(crate) struct Assembler {
    cap: u64,
    /// Bytes that arrived, of which those before `taken` are used up.
    window: Vec<u8>,
    taken: usize,
    /// A read filled the window to the brim, so the next one may have more.
    filled: bool,
    large: Option<Large>,
    /// What the next large body is read into.
    spare: Vec<u8>,
    waiting: VecDeque<Arrived>,
    failed: Option<FrameError>,
}

/// The front of the window: a header, and where its frame's parts are relative to `taken`.
struct Front {
    header: Header,
    /// Where the body begins.
    body: usize,
    /// Where the frame ends, or `None` if it does not fit the window.
    end: Option<usize>,
}

impl Assembler {
    /// An assembler for a link whose bodies have at most `cap` bytes.
    #[must_use]
    pub(crate) fn new(cap: u64) -> Assembler {
        Assembler {
            cap,
            window: Vec::new(),
            taken: 0,
            filled: false,
            large: None,
            spare: Vec::new(),
            waiting: VecDeque::new(),
            failed: None,
        }
    }

    /// Where the next bytes go: append at most so many to this vector, whose spare capacity is at least that. It is
    /// at least one. Take all frames with [`next`](Assembler::next) first, until there is none: they must leave to make room,
    /// and a large one is given its place there.
    pub(crate) fn space(&mut self) -> (&mut Vec<u8>, usize) {
        if let Some(large) = &mut self.large {
            let missing = large.length - large.body.len().min(large.length);
            if large.body.len() == large.body.capacity() {
                large.body.reserve_exact(large.body.capacity().max(FIRST_WINDOW).min(missing.max(1)));
            }
            let spare = large.body.capacity() - large.body.len();
            return (&mut large.body, spare.min(missing.max(1)));
        }
        if self.failed.is_some() {
            // Whatever still arrives is of no use; do not collect it.
            self.window.clear();
        }
        if self.taken > 0 {
            let rest = self.window.len() - self.taken;
            self.window.copy_within(self.taken.., 0);
            self.window.truncate(rest);
            self.taken = 0;
        }
        let capacity = self.window.capacity();
        if self.filled || self.window.len() == capacity {
            self.filled = false;
            // Past WINDOW only if the reader did not take its frames; it still gets some room.
            let wanted = if capacity < WINDOW { (2 * capacity).clamp(FIRST_WINDOW, WINDOW) } else { capacity };
            let wanted = wanted.max(self.window.len() + 1);
            self.window.reserve_exact(wanted - self.window.len());
        }
        let spare = self.window.capacity() - self.window.len();
        (&mut self.window, spare)
    }

    /// Queues a descriptor that arrived. Call it, for each in the order of the message, before
    /// [`next`](Assembler::next) sees the bytes that came with it.
    pub(crate) fn attach(&mut self, descriptor: OwnedFd) {
        self.wait(Arrived::Descriptor(descriptor));
    }

    /// Notes that the kernel dropped descriptors of the message whose others were attached last (`MSG_CTRUNC`).
    pub(crate) fn truncated(&mut self) {
        self.wait(Arrived::Gap);
    }

    fn wait(&mut self, arrived: Arrived) {
        if self.failed.is_some() {
            return;
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(arrived);
        } else {
            self.fail(FrameError::SpareDescriptors);
        }
    }

    /// The next whole frame, or `None` until more bytes arrive.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the stream, now and from then on. Frames before the error have been given out.
    #[allow(clippy::should_implement_trait)] // It lends, which `Iterator` cannot.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.large.is_some() {
            return Ok(self.finish_large());
        }
        self.filled |= self.window.len() == self.window.capacity();
        let front = match self.front() {
            Ok(Some(front)) => front,
            Ok(None) if self.taken == self.window.len() && !self.waiting.is_empty() => {
                return Err(self.fail(FrameError::SpareDescriptors));
            }
            Ok(None) => return Ok(None),
            Err(error) => return Err(self.fail(error)),
        };
        let arrived = self.window.len() - self.taken;
        if arrived < front.body || front.end.is_some_and(|end| arrived < end) {
            return Ok(None);
        }
        let descriptors = match self.claim(front.header.descriptors) {
            Ok(descriptors) => descriptors,
            Err(error) => return Err(self.fail(error)),
        };
        let body = self.taken + front.body;
        let Some(end) = front.end else {
            return self.begin_large(front.header, body, descriptors);
        };
        let end = self.taken + end;
        self.taken = end;
        let body = Body::Borrowed(&self.window[body..end]);
        Ok(Some(Frame { header: front.header, body, descriptors }))
    }

    /// Moves what has arrived of a large body to a place of its own.
    fn begin_large(&mut self, header: Header, start: usize, descriptors: Vec<OwnedFd>) -> Result<Option<Frame<'_>>, FrameError> {
        let Ok(length) = usize::try_from(header.length) else {
            // Only where addresses are shorter than lengths; no memory could hold it.
            return Err(self.fail(FrameError::TooLong { claimed: header.length, cap: usize::MAX as u64 }));
        };
        let end = self.window.len().min(start.saturating_add(length));
        let mut body = std::mem::take(&mut self.spare);
        body.clear();
        body.reserve_exact(length.min(FIRST_BODY).max(end - start));
        body.extend_from_slice(&self.window[start..end]);
        self.taken = end;
        self.large = Some(Large { header, length, body, descriptors });
        Ok(self.finish_large())
    }

    /// Gives back the body of a large frame: the next one is read into the same memory, which costs no page faults.
    pub(crate) fn recycle(&mut self, body: Vec<u8>) {
        if body.capacity() <= FIRST_BODY {
            self.spare = body;
        }
    }

    /// Hands the large frame over if its body is whole.
    fn finish_large(&mut self) -> Option<Frame<'_>> {
        let mut large = self.large.take_if(|large| large.body.len() >= large.length)?;
        // A reader that appended more than it was told to: the rest belongs to the next frames.
        self.window.extend_from_slice(&large.body[large.length..]);
        large.body.truncate(large.length);
        Some(Frame { header: large.header, body: Body::Owned(large.body), descriptors: large.descriptors })
    }

    /// The header at the front of the window, if it is here.
    fn front(&self) -> Result<Option<Front>, FrameError> {
        let Some(bytes) = self.window[self.taken..].first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let header = Header::decode(bytes, self.cap)?;
        let body = HEADER + if header.flags.contains(Flags::TRACE) { TRACE_CONTEXT } else { 0 };
        let end = usize::try_from(header.length).ok().and_then(|length| length.checked_add(body));
        Ok(Some(Front { header, body, end: end.filter(|end| *end <= WINDOW) }))
    }

    /// Takes a frame's descriptors from the queue.
    fn claim(&mut self, count: u16) -> Result<Vec<OwnedFd>, FrameError> {
        let mut descriptors = Vec::new();
        for arrived in 0..count {
            match self.waiting.pop_front() {
                Some(Arrived::Descriptor(descriptor)) => descriptors.push(descriptor),
                Some(Arrived::Gap) => break,
                None => {
                    return Err(FrameError::MissingDescriptors { claimed: count, arrived });
                }
            }
        }
        Ok(descriptors)
    }

    /// Keeps the error and lets go of everything else.
    fn fail(&mut self, error: FrameError) -> FrameError {
        *self = Assembler { failed: Some(error.clone()), ..Assembler::new(self.cap) };
        error
    }

    /// The end of the stream: whether it came between two frames. Links need not ask: how a process ended is told elsewhere. Take all frames first.
    ///
    /// # Errors
    ///
    /// `Truncated` inside a frame, `SpareDescriptors` if some are left, or the error that the stream had before.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn end(&self) -> Result<(), FrameError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if !self.is_empty() => Err(FrameError::Truncated),
            None if !self.waiting.is_empty() => Err(FrameError::SpareDescriptors),
            None => Ok(()),
        }
    }

    /// What has arrived and was not given out; `None` where that is more than plain bytes of the window.
    pub(crate) fn unread(&self) -> Option<&[u8]> {
        let plain = self.large.is_none() && self.waiting.is_empty() && self.failed.is_none();
        self.window.get(self.taken..).filter(|_| plain)
    }

    /// Whether no byte is here that has not been given out as part of a frame.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.large.is_none() && self.taken == self.window.len()
    }

    /// Whether a whole frame is here, so that [`next`](Assembler::next) gives it without more bytes (or finds that
    /// its descriptors are not as claimed). False says nothing of errors, nor of a large frame that has begun: only
    /// `next` deals with those.
    #[must_use]
    pub(crate) fn has_frame(&self) -> bool {
        match &self.large {
            _ if self.failed.is_some() => false,
            Some(large) => large.body.len() >= large.length,
            None => match self.front() {
                Ok(Some(Front { end: Some(end), .. })) => self.window.len() - self.taken >= end,
                _ => false,
            },
        }
    }
}

/// Feeds bytes in cuts that the bytes themselves decide. For the fuzzer: nothing may panic, and memory stays bounded.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Some((seed, mut data)) = data.split_first() else {
        return;
    };
    let mut assembler = Assembler::new(if seed & 1 == 0 { crate::link::frame::FRAME_CAP } else { u64::MAX });
    let mut cut = usize::from(*seed) + 1;
    let bound = 2 * (FIRST_BODY + data.len());
    while !data.is_empty() {
        let (space, room) = assembler.space();
        let (read, rest) = data.split_at(cut.min(room).min(data.len()));
        space.extend_from_slice(read);
        assert!(space.capacity() <= bound, "memory follows what arrives");
        data = rest;
        cut = cut.wrapping_mul(31).wrapping_add(7) % 5000 + 1;
        loop {
            let ready = assembler.has_frame();
            match assembler.next() {
                Ok(Some(frame)) => {
                    assert_eq!(frame.body.as_slice().len() as u64, frame.header.length)
                }
                Ok(None) => {
                    assert!(!ready);
                    break;
                }
                Err(error) => {
                    assert_eq!(assembler.end(), Err(error));
                    return;
                }
            }
        }
    }
    let _ = assembler.end();
}

#[cfg(test)]
mod tests;
