//! A worker: an actor of this library's own that runs batches until its pool is gone.
//!
//! A batch is an `Ask` frame on the task socket (which function, how many tasks, how many of them to claim at once, then their
//! arguments). Results go to the shared [`Page`] as each task ends; what has no place there (panics, results that do not fit or
//! carry descriptors) goes over the socket in a `Tell` *before* it is counted as done. A `Reply` with the time that it took
//! ends the batch. All of it is done by one thread, the process's first.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use linkme::distributed_slice;
use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;

use super::page::{Page, ROOM};
use crate::actor::batch::{ABSENT, Arguments, Bench, Ledger, Mishap, RECORD, record_word};
use crate::actor::current::current;
use crate::actor::definition::{self, ENTRIES, Entry, FunctionActor, Place, ProcessActor, Running};
use crate::actor::family::family;
use crate::link::assemble::{Assembler, Body};
use crate::link::attach::Attached;
use crate::link::frame::{FRAME_CAP, Flags, Header, Kind};
use crate::link::socket::{self, Received, Wait};
use crate::link::value::{self, EncodeError, Encoding};
use crate::process::boot;
use crate::process::handle::Process;

/// Bytes of a batch's body before its arguments.
pub(crate) const PREFIX: usize = 16;
/// Bytes of a `Tell` before its payload: the task's place in the batch, and what it is.
pub(crate) const ODD: usize = 5;

/// What a `Tell` carries.
pub(crate) mod tag {
    /// A value, in MessagePack.
    pub(crate) const VALUE: u8 = 0;
    /// A value that is a block.
    pub(crate) const BLOCK: u8 = 1;
    /// A panic.
    pub(crate) const PANICKED: u8 = 2;
    /// Why the result cannot be sent.
    pub(crate) const UNSENDABLE: u8 = 3;
    /// Why the argument could not be read.
    pub(crate) const UNREADABLE: u8 = 4;
}

/// The actor of a worker.
#[derive(Clone, Copy)]
pub(crate) struct PoolWorker;

#[distributed_slice(ENTRIES)]
static WORKER: Entry =
    Entry::function::<PoolWorker>(Place { type_name: "pool_worker", name: None, module: module_path!(), file: file!(), line: line!() });

impl ProcessActor for PoolWorker {
    /// The task socket and the shared memory.
    type Arguments = (Attached, Attached);
    type Output = Result<(), String>;
    type Handle = Process<Self::Output>;

    fn entry() -> &'static Entry {
        &WORKER
    }
}

impl FunctionActor for PoolWorker {
    fn call((socket, memory): Self::Arguments) -> Running<Self::Output> {
        Running::Done(work(&socket.into(), &memory.into()).map_err(|error| error.to_string()))
    }
}

/// Runs batches until the pool is gone or the process is asked to stop.
fn work(socket: &OwnedFd, memory: &OwnedFd) -> io::Result<()> {
    let page = Page::map(memory.as_fd())?;
    let mut bench = Bench::default();
    let mut assembler = Assembler::new(FRAME_CAP);
    send(socket, Header::new(Kind::Hello, 0), &[], &[])?;
    loop {
        while let Some(frame) = assembler.next().map_err(io::Error::other)? {
            if frame.header.kind != Kind::Ask {
                continue;
            }
            let owned;
            let body = match frame.body {
                Body::Borrowed(bytes) => bytes,
                Body::Owned(bytes) => {
                    owned = bytes;
                    &owned
                }
            };
            match batch(socket, &page, &mut bench, frame.header.call, body, frame.descriptors) {
                // The pool is gone.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                other => other?,
            }
        }
        if !await_news(socket.as_fd())? {
            return Ok(());
        }
        if socket::receive(socket.as_fd(), &mut assembler, Wait::No)? == Received::End {
            return Ok(());
        }
    }
}

/// Waits until something arrives on the task socket; false where the process was asked to stop.
fn await_news(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let Some(news) = family().and_then(|family| family.news()) else {
        return socket::wait_for(socket, PollFlags::IN, None);
    };
    loop {
        let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::IN), PollFd::from_borrowed_fd(news, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [task, control] = fds.map(|fd| !fd.revents().is_empty());
        if control && current().stop_requested() {
            return Ok(false);
        }
        if task {
            return Ok(true);
        }
    }
}

fn batch(socket: &OwnedFd, page: &Page, bench: &mut Bench, number: u64, body: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let wrong = || io::Error::other("the pool sent a batch that is none");
    let (prefix, body) = body.split_first_chunk::<PREFIX>().ok_or_else(wrong)?;
    let (words, _) = prefix.as_chunks::<4>();
    let [entry, count, stride, _] = [0, 1, 2, 3].map(|word| u32::from_le_bytes(words[word]));
    let run = definition::entry(entry).and_then(Entry::run).ok_or_else(wrong)?;
    let mut tally = Tally { socket, page, number, count: count as usize, stride, done: 0, bytes: 0, full: false };
    let start = Instant::now();
    run(Arguments { body, descriptors }, bench, &mut tally)?;
    let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    send(socket, Header::new(Kind::Reply, number), &[&nanos.to_le_bytes()], &[])
}

/// One batch's results on their way.
struct Tally<'a> {
    socket: &'a OwnedFd,
    page: &'a Page,
    number: u64,
    count: usize,
    stride: u32,
    done: usize,
    bytes: usize,
    /// A result found no place, and neither does any that follows: they go over the socket.
    full: bool,
}

impl Tally<'_> {
    /// Puts bytes in the next task's place, if there is one.
    fn place(&mut self, bytes: &[u8]) -> bool {
        if self.full || self.bytes + bytes.len() > ROOM {
            self.full = true;
            return false;
        }
        self.page.write(self.number, self.bytes, bytes);
        self.bytes += bytes.len();
        true
    }

    fn publish(&mut self) {
        self.done += 1;
        self.page.publish(self.number, self.done, self.bytes);
    }

    /// Sends the next result over the socket, and fills its place.
    fn odd(&mut self, tag: u8, payload: &[u8], descriptors: &[OwnedFd], filler: &[u8]) -> io::Result<()> {
        let mut prefix = [0; ODD];
        prefix[..4].copy_from_slice(&u32::try_from(self.done).unwrap_or(u32::MAX).to_le_bytes());
        prefix[4] = tag;
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        send(self.socket, Header::new(Kind::Tell, self.number), &[&prefix, payload], &descriptors)?;
        self.place(filler);
        self.publish();
        Ok(())
    }

    fn report<T: Serialize + 'static>(&mut self, tag: u8, what: &T, filler: &[u8]) -> io::Result<()> {
        let mut payload = Vec::new();
        value::encode(what, &mut payload).map_err(io::Error::other)?;
        self.odd(tag, &payload, &[], filler)
    }
}

impl Ledger for Tally<'_> {
    #[inline]
    fn claim(&mut self) -> Option<Range<usize>> {
        self.page.claim(self.number, self.stride).map(|(start, end)| start as usize..end as usize)
    }

    #[inline]
    fn number(&mut self, bytes: &[u8]) {
        if self.place(bytes) {
            self.publish();
        } else if self.odd(tag::BLOCK, bytes, &[], &[]).is_err() {
            // The pool is gone; the end of the batch says so too.
            self.publish();
        }
    }

    fn record(&mut self, encoding: Encoding, bytes: &[u8]) -> io::Result<()> {
        let left = self.count.saturating_sub(self.done + 1);
        let fits = RECORD + bytes.len() + RECORD * left <= ROOM.saturating_sub(self.bytes);
        if let (true, false, Some(word)) = (fits && encoding.descriptors.is_empty(), self.full, record_word(encoding.flags, bytes.len())) {
            self.place(&word.to_le_bytes());
            self.place(bytes);
            self.publish();
            return Ok(());
        }
        if (bytes.len() + ODD) as u64 > FRAME_CAP {
            let reason = format!("it has {} bytes, and a message has at most {FRAME_CAP}", bytes.len());
            let error = EncodeError { type_name: "result".into(), reason: reason.into() };
            return self.report(tag::UNSENDABLE, &error, &ABSENT.to_le_bytes());
        }
        let tag = if encoding.flags.contains(Flags::BLOCK) { tag::BLOCK } else { tag::VALUE };
        self.odd(tag, bytes, &encoding.descriptors, &ABSENT.to_le_bytes())
    }

    fn mishap(&mut self, mishap: Mishap, width: Option<usize>) -> io::Result<()> {
        let zeros = [0; 8];
        let absent = ABSENT.to_le_bytes();
        let filler = width.map_or(&absent[..], |width| &zeros[..width.min(8)]);
        match mishap {
            Mishap::Absent => {
                self.place(filler);
                self.publish();
                Ok(())
            }
            Mishap::Panicked(payload) => self.report(tag::PANICKED, &boot::caught(&*payload), filler),
            Mishap::Unsendable(error) => self.report(tag::UNSENDABLE, &error, filler),
            Mishap::Unreadable(error) => self.report(tag::UNREADABLE, &error, filler),
        }
    }
}

/// Writes one frame, waiting as long as it takes.
fn send(socket: &OwnedFd, mut header: Header, parts: &[&[u8]], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    header.length = parts.iter().map(|part| part.len() as u64).sum();
    header.descriptors = descriptors.len() as u16;
    let encoded = header.encode();
    let mut slices = vec![IoSlice::new(&encoded)];
    slices.extend(parts.iter().map(|part| IoSlice::new(part)));
    let (mut slices, mut riding) = (&mut slices[..], descriptors);
    while slices.iter().any(|slice| !slice.is_empty()) {
        let written = socket::send(socket.as_fd(), slices, riding, Wait::Yes)?;
        riding = &[];
        IoSlice::advance_slices(&mut slices, written);
    }
    Ok(())
}
