//! A worker: an actor of this library's own that runs batches until its pool is gone.
//!
//! A batch is an `Ask` frame on the task socket: an [`Order`], then the arguments. An argument that is large or has descriptors is a
//! batch by itself, and follows in a `Value` frame that is nothing else. Results go to the shared [`Page`] as each task ends; what
//! has no place there (panics, results that are large or have descriptors) goes over the socket in a `Tell` *before* it is counted as
//! done, a value in a `Value` frame behind it. A `Reply` with the time that it took ends the batch. All of it is done by one thread,
//! the process's first.

mod many;
mod tally;

use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use linkme::distributed_slice;
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};

use super::counter::Badge;
use super::driver::now;
use super::page::{Form, Page};
use super::remote;
use crate::actor::batch::{Arguments, Bench, Ledger, Mishap, Window};
use crate::actor::current::{self, current};
use crate::actor::definition::{self, ENTRIES, Entry, FunctionActor, Place, ProcessActor, Running};
use crate::actor::family::family;
use crate::link::assemble::{Assembler, Body};
use crate::link::attach::Attached;
use crate::link::frame::{FRAME_CAP, Flags, Header, Kind};
use crate::link::parcel::Parcel;
use crate::link::socket::{self, Received, Wait};
use crate::link::value::Encoding;
use crate::process::boot;
use crate::process::handle::Process;
use crate::process::resident::resident;
use tally::Tally;

/// Bytes of a batch's body before its arguments.
pub(crate) const PREFIX: usize = 16;
/// Bytes of a `Tell` before its payload: the task's place in the batch, and what it is.
pub(crate) const ODD: usize = 5;

/// What a `Tell` carries.
pub(crate) mod tag {
    /// The value is in the next frame.
    pub(crate) const FOLLOWS: u8 = 0;
    /// A panic.
    pub(crate) const PANICKED: u8 = 2;
    /// Why the result cannot be sent.
    pub(crate) const UNSENDABLE: u8 = 3;
    /// Why the argument could not be read.
    pub(crate) const UNREADABLE: u8 = 4;
    /// The task was asked to stop, and did.
    pub(crate) const STOPPED: u8 = 5;
}

/// What a worker is given at its birth.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// A function to run before the first task, and its arguments.
    pub(crate) initializer: Option<(u32, Parcel)>,
    /// Which pool's worker it is.
    pub(crate) badge: Badge,
    /// Tasks that it runs at once.
    pub(crate) concurrency: usize,
    /// The pool wants to know how much memory it has.
    pub(crate) weighed: bool,
}

impl Setup {
    /// The same for one worker.
    pub(crate) fn of(&self, badge: Badge) -> io::Result<Setup> {
        let initializer = match &self.initializer {
            Some((entry, parcel)) => Some((*entry, parcel.try_clone()?)),
            None => None,
        };
        Ok(Setup { initializer, badge, concurrency: self.concurrency, weighed: self.weighed })
    }
}

/// Reads what an initializer returned: nothing, or why the worker cannot work.
pub(crate) type Verdict = fn(Flags, &[u8]) -> Result<(), String>;

/// What a batch's frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The function's place in the program's table.
    pub(crate) entry: u32,
    /// How many tasks.
    pub(crate) count: u32,
    /// How many of them to claim at once.
    pub(crate) stride: u32,
    /// Bytes of the table of names that follows.
    pub(crate) table: u32,
    /// The only argument is in the next frame.
    pub(crate) alone: bool,
    /// The pool wants to know when each task is begun.
    pub(crate) timed: bool,
    /// Results are read by somebody who knows no names.
    pub(crate) plain: bool,
}

impl Order {
    pub(crate) fn encode(&self) -> [u8; PREFIX] {
        let flags = u32::from(self.alone) << 31 | u32::from(self.timed) << 30 | u32::from(self.plain) << 29;
        let mut bytes = [0; PREFIX];
        for (word, value) in bytes.chunks_exact_mut(4).zip([self.entry, self.count, self.stride, self.table | flags]) {
            word.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// The order, and what follows it.
    fn decode(body: &[u8]) -> Option<(Order, &[u8])> {
        let (prefix, rest) = body.split_first_chunk::<PREFIX>()?;
        let (words, _) = prefix.as_chunks::<4>();
        let [entry, count, stride, last] = [0, 1, 2, 3].map(|word| u32::from_le_bytes(words[word]));
        let [alone, timed, plain] = [31, 30, 29].map(|bit| last >> bit & 1 == 1);
        Some((Order { entry, count, stride, table: last & ((1 << 29) - 1), alone, timed, plain }, rest))
    }
}

/// The actor of a worker.
#[derive(Clone, Copy)]
pub(crate) struct PoolWorker;

#[distributed_slice(ENTRIES)]
static WORKER: Entry =
    Entry::function::<PoolWorker>(Place { type_name: "pool_worker", name: None, module: module_path!(), file: file!(), line: line!() });

impl ProcessActor for PoolWorker {
    /// The task socket, the shared memory, and what else there is to know.
    type Arguments = (Attached, Attached, Setup);
    type Output = Result<(), String>;
    type Handle = Process<Self::Output>;

    fn entry() -> &'static Entry {
        &WORKER
    }
}

impl FunctionActor for PoolWorker {
    fn call((socket, memory, setup): Self::Arguments) -> Running<Self::Output> {
        Running::Done(work(socket.into(), memory.into(), setup).map_err(|error| error.to_string()))
    }
}

/// Runs batches until the pool is gone or the process is asked to stop.
fn work(socket: OwnedFd, memory: OwnedFd, setup: Setup) -> io::Result<()> {
    let page = Page::map(memory.as_fd(), Form::of(setup.concurrency))?;
    drop(memory);
    remote::wear(setup.badge);
    let mut bench = Bench::default();
    let ready = match setup.initializer {
        Some((entry, arguments)) => initialise(entry, arguments, &mut bench)?,
        None => Ok(Parcel::default()),
    };
    match ready {
        Ok(value) => {
            let mut hello = Header::new(Kind::Hello, 0);
            hello.flags = value.flags;
            send(&socket, hello, &[&value.body], &[])?;
        }
        Err(why) => return send(&socket, Header::new(Kind::Failed, 0), &[why.as_bytes()], &[]),
    }
    if setup.concurrency > 1 {
        return many::work(socket, page, setup.concurrency, setup.weighed);
    }
    one_by_one(&socket, &Arc::new(page), bench, setup.weighed)
}

/// Runs one task after the other.
fn one_by_one(socket: &OwnedFd, page: &Arc<Page>, bench: Bench, weighed: bool) -> io::Result<()> {
    let mut assembler = Assembler::new(FRAME_CAP);
    let running = Arc::new(AtomicU64::new(u64::MAX));
    let (stopped, batch) = (page.clone(), running.clone());
    current::watch_task(Box::new(move || match batch.load(Ordering::Relaxed) {
        u64::MAX => false,
        batch => stopped.slot(batch).is_stopped(),
    }));
    let mut desk = Desk { socket, page, bench, running: &running, weighed };
    // An order whose argument follows.
    let mut ordered: Option<(u64, Order)> = None;
    loop {
        while let Some(frame) = assembler.next().map_err(io::Error::other)? {
            let number = frame.header.call;
            let mut spare = None;
            let ran = match (frame.header.kind, ordered.take()) {
                (Kind::Ask, None) => {
                    let (order, rest) = Order::decode(frame.body.as_slice()).ok_or_else(wrong)?;
                    let (table, arguments) = rest.split_at_checked(order.table as usize).ok_or_else(wrong)?;
                    desk.bench.names.learn(table).map_err(io::Error::other)?;
                    let ran = if order.alone {
                        ordered = Some((number, order));
                        Ok(())
                    } else {
                        desk.run(number, order, Arguments::Many(arguments))
                    };
                    if let Body::Owned(body) = frame.body {
                        spare = Some(body);
                    }
                    ran
                }
                (Kind::Value, Some((batch, order))) if batch == number => {
                    let body = match frame.body {
                        Body::Borrowed(bytes) => bytes.to_vec(),
                        Body::Owned(bytes) => bytes,
                    };
                    desk.run(number, order, Arguments::One(frame.header.flags, body, frame.descriptors))
                }
                (Kind::Ask | Kind::Value, _) => return Err(wrong()),
                _ => Ok(()),
            };
            match ran {
                // The pool is gone.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                other => other?,
            }
            if let Some(body) = spare {
                assembler.recycle(body);
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

fn wrong() -> io::Error {
    io::Error::other("the pool sent a batch that is none")
}

/// Runs the pool's initializer: what it returned, or why that is not known.
fn initialise(entry: u32, arguments: Parcel, bench: &mut Bench) -> io::Result<Result<Parcel, String>> {
    let run = definition::entry(entry).and_then(Entry::run).ok_or_else(wrong)?;
    let mut result = Single { begun: false, result: None };
    run(Arguments::One(arguments.flags, arguments.body, arguments.descriptors), bench, &mut result)?;
    Ok(result.result.unwrap_or_else(|| Err("it left nothing".to_owned())))
}

/// The ledger of one task, whose result stays here.
struct Single {
    begun: bool,
    result: Option<Result<Parcel, String>>,
}

impl<'p> Ledger<'p> for Single {
    fn window(&self) -> Option<Window<'p>> {
        None
    }

    fn advance(&mut self, _done: usize) {}

    fn claim(&mut self) -> Option<Range<usize>> {
        (!std::mem::replace(&mut self.begun, true)).then_some(0..1)
    }

    fn number(&mut self, bytes: &[u8]) {
        self.result = Some(Ok(Parcel { flags: Flags::BLOCK, body: bytes.to_vec(), descriptors: Vec::new() }));
    }

    fn record(&mut self, flags: Flags, bytes: &[u8], _names: &[u8]) -> io::Result<()> {
        self.result = Some(Ok(Parcel { flags, body: bytes.to_vec(), descriptors: Vec::new() }));
        Ok(())
    }

    fn apart(&mut self, encoding: Encoding, body: Vec<u8>, _names: &[u8]) -> io::Result<()> {
        self.result = Some(Ok(Parcel { flags: encoding.flags, body, descriptors: encoding.descriptors }));
        Ok(())
    }

    fn plain(&self) -> bool {
        true
    }

    fn mishap(&mut self, mishap: Mishap, _width: Option<usize>) -> io::Result<()> {
        self.result = Some(Err(match mishap {
            Mishap::Panicked(payload) => crate::exit::Outcome::Panicked(boot::caught(&*payload)).to_string(),
            Mishap::Unreadable(error) => error.to_string(),
            Mishap::Unsendable(error) => error.to_string(),
        }));
        Ok(())
    }
}

/// What a worker works with.
struct Desk<'a> {
    socket: &'a OwnedFd,
    page: &'a Page,
    bench: Bench,
    /// The number of the batch that is being run.
    running: &'a AtomicU64,
    weighed: bool,
}

impl Desk<'_> {
    fn run(&mut self, number: u64, order: Order, arguments: Arguments<'_>) -> io::Result<()> {
        let run = definition::entry(order.entry).and_then(Entry::run).ok_or_else(wrong)?;
        let (socket, slot) = (self.socket, self.page.slot(number));
        let mut tally = Tally::new(socket, slot, number, order);
        let start = now();
        self.running.store(number, Ordering::Relaxed);
        run(arguments, &mut self.bench, &mut tally)?;
        self.running.store(u64::MAX, Ordering::Relaxed);
        let nanos = now() - start;
        let resident = weigh(self.weighed);
        send(socket, Header::new(Kind::Reply, number), &[&nanos.to_le_bytes(), &resident.to_le_bytes()], &[])
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

/// The bytes that this process has, where the pool wants to know that.
fn weigh(weighed: bool) -> u64 {
    if weighed { resident().unwrap_or_default() } else { 0 }
}

/// Writes one frame, waiting as long as it takes.
fn send(socket: &OwnedFd, mut header: Header, parts: &[&[u8]], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    header.length = parts.iter().map(|part| part.len() as u64).sum();
    header.descriptors = descriptors.len() as u16;
    let encoded = header.encode();
    let mut all = vec![&encoded[..]];
    all.extend_from_slice(parts);
    write(socket.as_fd(), &all, descriptors)
}

/// Writes all of it, waiting as long as it takes; the descriptors ride on the first byte.
fn write(socket: BorrowedFd<'_>, parts: &[&[u8]], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let (mut slices, mut riding) = (&mut slices[..], descriptors);
    while slices.iter().any(|slice| !slice.is_empty()) {
        let written = socket::send(socket, slices, riding, Wait::Yes)?;
        riding = &[];
        IoSlice::advance_slices(&mut slices, written);
    }
    Ok(())
}
