//! Frames that wait to be written, in order.
//!
//! Small frames share one buffer, so that one system call takes what has queued. A frame with descriptors starts a chunk
//! of its own, because descriptors ride on the first byte of a `sendmsg`. A large block is kept as the vector it came in and is
//! written from there. Frames are whole or absent: an encoding error leaves no trace.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::frame::{HEADER, Header};
use super::parcel::Parcel;
use super::socket::{self, Wait};
use super::value::Encoding;

/// Blocks from this size on are written from the vector they came in.
pub(crate) const LARGE: usize = 64 * 1024;
/// How many chunks one system call takes.
const GATHER: usize = 16;
/// A drained buffer larger than this is given back to the allocator.
const KEEP: usize = 256 * 1024;

#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    /// No further frame may join: what follows must not share its system call's first byte, or its vector is the user's.
    closed: bool,
}

/// The queue of one socket.
#[derive(Default)]
pub(crate) struct Outgoing {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written already.
    sent: usize,
    bytes: usize,
    spare: Vec<u8>,
}

impl Outgoing {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Queues a frame whose body `encode` appends; on its error nothing is queued.
    pub(crate) fn push<E>(&mut self, mut header: Header, encode: impl FnOnce(&mut Vec<u8>) -> Result<Encoding, E>) -> Result<(), E> {
        if self.chunks.back().is_none_or(|chunk| chunk.closed) {
            let bytes = std::mem::take(&mut self.spare);
            self.chunks.push_back(Chunk { bytes, ..Chunk::default() });
        }
        let Some(chunk) = self.chunks.back_mut() else { return Ok(()) };
        let start = chunk.bytes.len();
        chunk.bytes.extend_from_slice(&[0; HEADER]);
        let encoding = match encode(&mut chunk.bytes) {
            Ok(encoding) => encoding,
            Err(error) => {
                chunk.bytes.truncate(start);
                if start == 0 {
                    self.chunks.pop_back();
                }
                return Err(error);
            }
        };
        let length = chunk.bytes.len() - start - HEADER;
        header.length = length as u64;
        header.flags = encoding.flags;
        header.descriptors = encoding.descriptors.len() as u16;
        chunk.bytes[start..start + HEADER].copy_from_slice(&header.encode());
        self.bytes += HEADER + length;
        if !encoding.descriptors.is_empty() {
            if start == 0 {
                chunk.descriptors = encoding.descriptors;
            } else {
                let bytes = chunk.bytes.split_off(start);
                chunk.closed = true;
                self.chunks.push_back(Chunk { bytes, descriptors: encoding.descriptors, closed: false });
            }
        }
        Ok(())
    }

    /// Queues a frame with a body that is encoded already, without copying a large one.
    pub(crate) fn push_parcel(&mut self, mut header: Header, parcel: Parcel) {
        let Parcel { flags, body, descriptors } = parcel;
        if body.len() < LARGE {
            let pushed: Result<(), Infallible> = self.push(header, |bytes| {
                bytes.extend_from_slice(&body);
                Ok(Encoding { flags, descriptors })
            });
            let Ok(()) = pushed;
            return;
        }
        header.length = body.len() as u64;
        header.flags = flags;
        header.descriptors = descriptors.len() as u16;
        let encoded = header.encode();
        match self.chunks.back_mut() {
            Some(chunk) if !chunk.closed && descriptors.is_empty() => chunk.bytes.extend_from_slice(&encoded),
            _ => self.chunks.push_back(Chunk { bytes: encoded.to_vec(), descriptors, closed: false }),
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.closed = true;
        }
        self.bytes += HEADER + body.len();
        self.chunks.push_back(Chunk { bytes: body, descriptors: Vec::new(), closed: true });
    }

    /// Queues a frame without a body.
    pub(crate) fn push_bare(&mut self, header: Header) {
        let pushed: Result<(), Infallible> = self.push(header, |_| Ok(Encoding::default()));
        let Ok(()) = pushed;
    }

    /// Writes what waits. `Ok(true)`: all of it; `Ok(false)`: the socket is full (never with [`Wait::Yes`]).
    pub(crate) fn write(&mut self, fd: BorrowedFd<'_>, wait: Wait) -> io::Result<bool> {
        while self.bytes > 0 {
            let mut slices = [IoSlice::new(&[]); GATHER];
            let mut used = 0;
            let mut descriptors: Vec<BorrowedFd<'_>> = Vec::new();
            for (index, chunk) in self.chunks.iter().take(GATHER).enumerate() {
                if index == 0 {
                    if self.sent == 0 {
                        descriptors.extend(chunk.descriptors.iter().map(AsFd::as_fd));
                    }
                    slices[used] = IoSlice::new(&chunk.bytes[self.sent..]);
                } else if chunk.descriptors.is_empty() {
                    slices[used] = IoSlice::new(&chunk.bytes);
                } else {
                    break;
                }
                used += 1;
            }
            match socket::send(fd, &slices[..used], &descriptors, wait) {
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(chunk) = self.chunks.front_mut() {
            if written > 0 || self.sent > 0 {
                // Their copies are with the receiver now; ours would keep its end of file from it.
                chunk.descriptors.clear();
            }
            let left = chunk.bytes.len() - self.sent;
            if written < left {
                self.sent += written;
                return;
            }
            written -= left;
            self.sent = 0;
            if let Some(mut done) = self.chunks.pop_front()
                && !done.closed
                && done.bytes.capacity() <= KEEP
                && done.bytes.capacity() > self.spare.capacity()
            {
                done.bytes.clear();
                self.spare = done.bytes;
            }
            if written == 0 {
                return;
            }
        }
    }

    /// Drops everything that waits.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.sent = 0;
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::assemble::Assembler;
    use crate::link::frame::{FRAME_CAP, Flags, Kind};
    use crate::link::socket::{Received, pair, receive};

    fn text(outgoing: &mut Outgoing, call: u64, body: &str, descriptors: Vec<OwnedFd>) {
        let pushed: Result<(), Infallible> = outgoing.push(Header::new(Kind::Tell, call), |bytes| {
            bytes.extend_from_slice(body.as_bytes());
            Ok(Encoding { flags: Flags::default(), descriptors })
        });
        assert!(pushed.is_ok());
    }

    #[test]
    fn frames_of_every_sort_keep_their_order() {
        let (a, b) = pair().unwrap();
        let (extra, _other) = pair().unwrap();
        let mut outgoing = Outgoing::default();
        text(&mut outgoing, 1, "one", vec![]);
        text(&mut outgoing, 2, "two", vec![extra]);
        outgoing.push_parcel(Header::new(Kind::Tell, 3), Parcel::of(vec![7u8; LARGE + 1]).unwrap());
        outgoing.push_parcel(Header::new(Kind::Tell, 4), Parcel::of(vec![8u8; 3]).unwrap());
        text(&mut outgoing, 5, "five", vec![]);
        let failed = outgoing.push(Header::new(Kind::Tell, 6), |bytes| {
            bytes.push(1);
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        let mut assembler = Assembler::new(FRAME_CAP);
        let mut seen = Vec::new();
        while seen.len() < 5 {
            outgoing.write(a.as_fd(), Wait::No).unwrap();
            assert!(!matches!(receive(b.as_fd(), &mut assembler, Wait::No).unwrap(), Received::End));
            while let Some(frame) = assembler.next().unwrap() {
                seen.push((frame.header.call, frame.header.length, frame.descriptors.len()));
            }
        }
        assert!(outgoing.is_empty());
        assert_eq!(seen, [(1, 3, 0), (2, 3, 1), (3, LARGE as u64 + 1, 0), (4, 3, 0), (5, 4, 0)]);
    }
}
