//! A mailbox read by the thread that receives from it: one `epoll` over the connections, the control link and the door.
//!
//! A message costs its read and, when nothing else had arrived, one wait. Connections that have more to give take turns.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::{Door, open, say_closed};
use crate::actor::error::RecvTimeout;
use crate::actor::family::family;
use crate::actor::reply::Origin;
use crate::link::assemble::Assembler;
use crate::link::frame::{FRAME_CAP, Flags, Header, Kind};
use crate::link::parcel::Parcel;
use crate::link::socket::{self, Received, Wait, timespec};
use crate::link::value::Message;
use crate::link::wire::Wire;

const NEWS: u64 = 0;
const DOOR: u64 = 1;
const FIRST: u64 = 2;

/// One connection being read.
pub(super) struct Connection {
    pub(super) origin: Arc<Origin>,
    pub(super) assembler: Assembler,
}

impl Connection {
    pub(super) fn new(fd: OwnedFd) -> Connection {
        let origin = Arc::new(Origin { wire: Wire::new(fd), busy: AtomicBool::new(false) });
        Connection { origin, assembler: Assembler::new(FRAME_CAP) }
    }

    /// Reads once. A connection that failed has ended, after the far end was told of it if that is possible.
    pub(super) fn read(&mut self) -> Received {
        socket::receive(self.origin.wire.fd(), &mut self.assembler, Wait::No).unwrap_or_else(|error| {
            self.fault(&error);
            Received::End
        })
    }

    /// Ends a connection that carried something other than the protocol; the far end gets the reason.
    pub(super) fn fault(&self, error: &dyn std::error::Error) {
        tracing::warn!(%error, "a connection is ended");
        let text = Parcel { flags: Flags::default(), body: error.to_string().into_bytes(), descriptors: Vec::new() };
        let _ = self.origin.wire.send(false, |queue| {
            queue.push_parcel(Header::new(Kind::Rejected, 0), text);
            queue.push_bare(Header::new(Kind::Closed, 0));
        });
    }
}

/// The connections of a mailbox, read by whoever calls [`recv`](Reader::recv).
pub(super) struct Reader {
    epoll: OwnedFd,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    /// Slots whose connections have brought something that was not looked at yet, in turn.
    ready: VecDeque<usize>,
    drained: bool,
}

struct Slot {
    connection: Connection,
    /// It is among the ready ones.
    listed: bool,
    /// Nothing more comes; it goes when what has come is given out.
    ended: bool,
}

impl Reader {
    pub(super) fn new(door: &Arc<Door>) -> io::Result<Reader> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, door.event()?, EventData::new_u64(DOOR), EventFlags::IN)?;
        if let Some(news) = family().and_then(|family| family.news()) {
            epoll::add(&epoll, news, EventData::new_u64(NEWS), EventFlags::IN)?;
        }
        let mut reader = Reader { epoll, slots: Vec::new(), free: Vec::new(), ready: VecDeque::new(), drained: false };
        reader.take_arrivals(door);
        Ok(reader)
    }

    pub(super) fn recv<M: Message>(&mut self, door: &Arc<Door>, deadline: Option<Instant>) -> Result<Option<M>, RecvTimeout> {
        loop {
            if let Some(message) = self.next_message() {
                return Ok(Some(message));
            }
            if door.is_stopping() {
                if self.drained {
                    return Ok(None);
                }
                self.take_arrivals(door);
                self.drained = !self.read_all();
                if self.drained {
                    self.close();
                }
                continue;
            }
            if !self.wait(door, deadline) {
                return Err(RecvTimeout);
            }
        }
    }

    /// The next message of the connections that have one.
    fn next_message<M: Message>(&mut self) -> Option<M> {
        while let Some(index) = self.ready.pop_front() {
            let others = !self.ready.is_empty();
            let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { continue };
            let Slot { connection: Connection { origin, assembler }, .. } = slot;
            slot.listed = false;
            match assembler.next() {
                Ok(Some(frame)) => {
                    let message = open(origin, frame);
                    // Bytes that are left over may be a message, the beginning of a large one, or none at all: it is looked at in its turn.
                    slot.listed = slot.ended || !assembler.is_empty();
                    origin.busy.store(others || assembler.has_frame(), Ordering::Relaxed);
                    if slot.listed {
                        self.ready.push_back(index);
                    }
                    if message.is_some() {
                        return message;
                    }
                }
                Ok(None) if slot.ended => self.remove(index),
                Ok(None) => {}
                Err(error) => {
                    slot.connection.fault(&error);
                    self.remove(index);
                }
            }
        }
        None
    }

    /// Waits for something to happen and takes it in; false where the deadline passed.
    fn wait(&mut self, door: &Arc<Door>, deadline: Option<Instant>) -> bool {
        for Slot { connection, .. } in self.slots.iter().flatten() {
            if connection.origin.busy.swap(false, Ordering::Relaxed) && connection.origin.wire.is_pending() {
                let _ = connection.origin.wire.flush(Some(Instant::now()));
            }
        }
        let mut events = [MaybeUninit::uninit(); 32];
        let timeout = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        let ready: Vec<u64> = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((ready, _)) => ready.iter().map(|event: &Event| event.data.u64()).collect(),
            Err(_) => return true,
        };
        if ready.is_empty() {
            return deadline.is_none_or(|deadline| Instant::now() < deadline);
        }
        for token in ready {
            match token {
                NEWS => {
                    if let Some(family) = family() {
                        family.take_news();
                    }
                    self.take_arrivals(door);
                }
                DOOR => {
                    if let Ok(event) = door.event() {
                        let _ = rustix::io::read(event, &mut [0u8; 8]);
                    }
                    self.take_arrivals(door);
                }
                token => {
                    self.read((token - FIRST) as usize);
                }
            }
        }
        true
    }

    /// Reads one connection; true where bytes came.
    fn read(&mut self, index: usize) -> bool {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut).filter(|slot| !slot.ended) else { return false };
        let received = slot.connection.read();
        if received == Received::Nothing {
            return false;
        }
        if received == Received::End {
            // What has arrived whole is still given out.
            slot.ended = true;
            let _ = epoll::delete(&self.epoll, slot.connection.origin.wire.fd());
        }
        if !std::mem::replace(&mut slot.listed, true) {
            self.ready.push_back(index);
        }
        received != Received::End
    }

    fn read_all(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.slots.len() {
            any |= self.read(index);
        }
        any || !self.ready.is_empty()
    }

    fn take_arrivals(&mut self, door: &Arc<Door>) {
        for fd in door.arrivals() {
            let connection = Connection::new(fd);
            let index = self.free.pop().unwrap_or(self.slots.len());
            let data = EventData::new_u64(FIRST + index as u64);
            if let Err(error) = epoll::add(&self.epoll, connection.origin.wire.fd(), data, EventFlags::IN) {
                tracing::warn!(%error, "a connection could not be watched");
                say_closed(&connection.origin);
                continue;
            }
            let slot = Some(Slot { connection, listed: false, ended: false });
            match self.slots.get_mut(index) {
                Some(free) => *free = slot,
                None => self.slots.push(slot),
            }
        }
    }

    fn remove(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index).and_then(Option::take) {
            let _ = epoll::delete(&self.epoll, slot.connection.origin.wire.fd());
            self.free.push(index);
        }
    }

    /// Tells everyone connected that nobody receives here any more.
    pub(super) fn close(&mut self) {
        for slot in self.slots.drain(..).flatten() {
            say_closed(&slot.connection.origin);
        }
        self.free.clear();
        self.ready.clear();
    }

    /// The connections as they are, for another reader.
    pub(super) fn into_links(mut self) -> Vec<Connection> {
        self.slots.drain(..).flatten().map(|slot| slot.connection).collect()
    }
}
