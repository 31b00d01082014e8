//! A worker that runs many async tasks at once.
//!
//! Each task is a batch by itself, claimed when there is room for it. Its result goes over the socket, with the end of the batch right
//! behind it. A task that is to stop is dropped at its next `.await`.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use serde::Serialize;
use tokio::io::Interest;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::{ODD, Order, tag, wrong};
use crate::actor::batch::{Arguments, Begin, Mishap};
use crate::actor::current::current;
use crate::actor::definition::{self, Entry, block_on_one_thread};
use crate::actor::family::family;
use crate::link::assemble::{Assembler, Body, Frame};
use crate::link::frame::{FRAME_CAP, Flags, Header, Kind};
use crate::link::socket::{self, Received, Wait};
use crate::link::value::{self, Encoding, Names};
use crate::pool::driver::now;
use crate::pool::page::Page;
use crate::process::boot;

/// A task that has not begun.
struct Waiting {
    number: u64,
    begin: Begin,
    flags: Flags,
    body: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    alone: bool,
    /// The names of the structs in it.
    names: Rc<Names>,
}

type Ended = (u64, u64, Result<(Encoding, Vec<u8>), Mishap>);

struct Desk {
    page: Page,
    concurrency: usize,
    weighed: bool,
    names: Rc<Names>,
    /// The table that they are from.
    table: Vec<u8>,
    /// An order whose argument follows.
    ordered: Option<(u64, Order)>,
    waiting: VecDeque<Waiting>,
    running: JoinSet<Ended>,
    handles: HashMap<u64, AbortHandle>,
}

/// Runs tasks, so many at once, until the pool is gone or the process is asked to stop.
pub(super) fn work(socket: OwnedFd, page: Page, concurrency: usize, weighed: bool) -> io::Result<()> {
    if let Some(family) = family() {
        family.serve();
    }
    let desk = Desk {
        page,
        concurrency,
        weighed,
        names: Rc::default(),
        table: Vec::new(),
        ordered: None,
        waiting: VecDeque::new(),
        running: JoinSet::new(),
        handles: HashMap::new(),
    };
    match block_on_one_thread(serve(socket, desk))? {
        // The pool is gone.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

async fn serve(socket: OwnedFd, mut desk: Desk) -> io::Result<()> {
    let mut assembler = Assembler::new(FRAME_CAP);
    let source = socket::watch(socket, Interest::READABLE)?;
    let socket = source.get_ref().as_fd();
    let me = current();
    loop {
        while let Some(frame) = assembler.next().map_err(io::Error::other)? {
            desk.take(frame)?;
        }
        desk.begin(socket)?;
        tokio::select! {
            Some(ended) = desk.running.join_next() => desk.finish(socket, ended)?,
            ready = source.readable() => match socket::receive(socket, &mut assembler, Wait::No)? {
                Received::Bytes(_, false) => {}
                Received::Bytes(_, true) | Received::Nothing => ready?.clear_ready(),
                Received::End => return Ok(()),
            },
            () = me.stopped() => return Ok(()),
        }
    }
}

impl Desk {
    /// Takes in what the pool sent.
    fn take(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let number = frame.header.call;
        match (frame.header.kind, self.ordered.take()) {
            (Kind::Ask, None) => {
                let (order, rest) = Order::decode(frame.body.as_slice()).ok_or_else(wrong)?;
                let (table, arguments) = rest.split_at_checked(order.table as usize).ok_or_else(wrong)?;
                if self.table != table {
                    Rc::make_mut(&mut self.names).learn(table).map_err(io::Error::other)?;
                    self.table = table.to_vec();
                }
                if order.alone {
                    self.ordered = Some((number, order));
                } else {
                    self.wait(number, order, Flags::NONE, arguments.to_vec(), Vec::new())?;
                }
            }
            (Kind::Value, Some((batch, order))) if batch == number => {
                let body = match frame.body {
                    Body::Borrowed(bytes) => bytes.to_vec(),
                    Body::Owned(bytes) => bytes,
                };
                self.wait(number, order, frame.header.flags, body, frame.descriptors)?;
            }
            (Kind::Cancel, ordered) => {
                self.ordered = ordered;
                if let Some(handle) = self.handles.get(&number) {
                    handle.abort();
                }
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }

    fn wait(&mut self, number: u64, order: Order, flags: Flags, body: Vec<u8>, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let begin = definition::entry(order.entry).and_then(Entry::begin).ok_or_else(wrong)?;
        let names = self.names.clone();
        self.waiting.push_back(Waiting { number, begin, flags, body, descriptors, alone: order.alone, names });
        Ok(())
    }

    /// Begins what there is room for.
    fn begin(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        while self.running.len() < self.concurrency
            && let Some(waiting) = self.waiting.pop_front()
        {
            let Waiting { number, begin, flags, body, descriptors, alone, names } = waiting;
            let slot = self.page.slot(number);
            if slot.claim(1).is_none() {
                // The pool took it back.
                send(socket, number, None, 0, 0)?;
                continue;
            }
            let since = now();
            slot.begin(since);
            let begun = match alone {
                true => begin(Arguments::One(flags, body, descriptors), &names),
                false => begin(Arguments::Many(&body), &names),
            };
            self.handles.insert(number, self.running.spawn_local(async move { (number, since, begun.await) }));
        }
        Ok(())
    }

    /// A task has ended, or was dropped because it was to stop.
    fn finish(&mut self, socket: BorrowedFd<'_>, ended: Result<Ended, JoinError>) -> io::Result<()> {
        let (number, since, result) = match ended {
            Ok((number, since, result)) => (number, since, Some(result)),
            Err(error) => {
                let dropped = self.handles.iter().find(|(_, handle)| handle.id() == error.id()).map(|(&number, _)| number);
                let Some(number) = dropped else { return Ok(()) };
                (number, now(), None)
            }
        };
        self.handles.remove(&number);
        let said = match result {
            Some(Ok((encoding, bytes))) => Said::Value(encoding, bytes),
            Some(Err(Mishap::Panicked(payload))) => Said::about(tag::PANICKED, &boot::caught(&*payload))?,
            Some(Err(Mishap::Unsendable(error))) => Said::about(tag::UNSENDABLE, &error)?,
            Some(Err(Mishap::Unreadable(error))) => Said::about(tag::UNREADABLE, &error)?,
            None => Said::About(tag::STOPPED, Vec::new()),
        };
        send(socket, number, Some(said), now().saturating_sub(since), super::weigh(self.weighed))
    }
}

/// What there is to say of a task.
enum Said {
    Value(Encoding, Vec<u8>),
    About(u8, Vec<u8>),
}

impl Said {
    fn about<T: Serialize + 'static>(tag: u8, what: &T) -> io::Result<Said> {
        let mut payload = Vec::new();
        value::encode(what, &mut payload).map_err(io::Error::other)?;
        Ok(Said::About(tag, payload))
    }
}

/// Says what came of a task, and that its batch is done, in one write.
fn send(socket: BorrowedFd<'_>, number: u64, said: Option<Said>, nanos: u64, resident: u64) -> io::Result<()> {
    let mut head = Vec::new();
    let mut tell = |tag: u8, payload: &[u8]| {
        let mut header = Header::new(Kind::Tell, number);
        header.length = (ODD + payload.len()) as u64;
        head.extend_from_slice(&header.encode());
        head.extend_from_slice(&[0, 0, 0, 0, tag]);
        head.extend_from_slice(payload);
    };
    let (mut value, mut descriptors) = (Vec::new(), Vec::new());
    match said {
        None => {}
        Some(Said::About(tag, payload)) => tell(tag, &payload),
        Some(Said::Value(encoding, bytes)) => {
            tell(tag::FOLLOWS, &[]);
            let mut header = Header::new(Kind::Value, number);
            header.flags = encoding.flags;
            header.length = bytes.len() as u64;
            header.descriptors = encoding.descriptors.len() as u16;
            head.extend_from_slice(&header.encode());
            (value, descriptors) = (bytes, encoding.descriptors);
        }
    }
    let mut reply = Header::new(Kind::Reply, number);
    reply.length = 16;
    let mut tail = [0; 16];
    tail[..8].copy_from_slice(&nanos.to_le_bytes());
    tail[8..].copy_from_slice(&resident.to_le_bytes());
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    super::write(socket, &[&head, &value, &reply.encode(), &tail], &descriptors)
}
