//! One batch's results on their way to the pool: to the page as far as they have a place there, else over the socket.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use serde::Serialize;

use super::{ODD, Order, send, tag};
use crate::actor::batch::{ABSENT, Ledger, Mishap, RECORD, Window, record_word};
use crate::link::frame::{Flags, Header, Kind};
use crate::link::value::{self, Encoding};
use crate::pool::driver::now;
use crate::pool::page::{ROOM, Slot};
use crate::process::boot;

/// One batch's results on their way.
pub(super) struct Tally<'a> {
    socket: &'a OwnedFd,
    slot: Slot<'a>,
    number: u64,
    count: usize,
    stride: u32,
    timed: bool,
    plain: bool,
    /// Bytes of the table of names that the page has.
    named: usize,
    done: usize,
    bytes: usize,
    /// A result found no place, and neither does any that follows: they go over the socket.
    full: bool,
}

impl<'a> Tally<'a> {
    pub(super) fn new(socket: &'a OwnedFd, slot: Slot<'a>, number: u64, order: Order) -> Tally<'a> {
        let (count, Order { stride, timed, plain, .. }) = (order.count as usize, order);
        Tally { socket, slot, number, count, stride, timed, plain, named: 0, done: 0, bytes: 0, full: false }
    }

    /// Puts bytes in the next task's place, if there is one.
    fn place(&mut self, bytes: &[u8]) -> bool {
        if self.full || self.bytes + bytes.len() > ROOM {
            self.full = true;
            return false;
        }
        self.slot.write(self.bytes, bytes);
        self.bytes += bytes.len();
        true
    }

    /// Sees that the page has these names.
    #[inline]
    fn name(&mut self, names: &[u8]) {
        if names.len() > self.named {
            self.slot.name(names);
            self.named = names.len();
        }
    }

    #[inline]
    fn publish(&mut self) {
        self.done += 1;
        self.slot.publish(self.done, self.bytes);
    }

    /// Sends something about the next task over the socket, and fills its result's place.
    fn odd(&mut self, tag: u8, payload: &[u8], filler: &[u8]) -> io::Result<()> {
        send(self.socket, Header::new(Kind::Tell, self.number), &[&self.prefix(tag), payload], &[])?;
        self.place(filler);
        self.publish();
        Ok(())
    }

    fn prefix(&self, tag: u8) -> [u8; ODD] {
        let [a, b, c, d] = u32::try_from(self.done).unwrap_or(u32::MAX).to_le_bytes();
        [a, b, c, d, tag]
    }

    /// Sends the next result over the socket in a frame of its own, and fills its place.
    fn by_itself(&mut self, encoding: &Encoding, bytes: &[u8], filler: &[u8]) -> io::Result<()> {
        let mut value = Header::new(Kind::Value, self.number);
        value.flags = encoding.flags;
        let descriptors: Vec<_> = encoding.descriptors.iter().map(AsFd::as_fd).collect();
        send(self.socket, Header::new(Kind::Tell, self.number), &[&self.prefix(tag::FOLLOWS)], &[])?;
        send(self.socket, value, &[bytes], &descriptors)?;
        self.place(filler);
        self.publish();
        Ok(())
    }

    fn report<T: Serialize + 'static>(&mut self, tag: u8, what: &T, filler: &[u8]) -> io::Result<()> {
        let mut payload = Vec::new();
        value::encode(what, &mut payload).map_err(io::Error::other)?;
        self.odd(tag, &payload, filler)
    }
}

impl<'p> Ledger<'p> for Tally<'p> {
    fn window(&self) -> Option<Window<'p>> {
        self.slot.window()
    }

    fn advance(&mut self, done: usize) {
        (self.done, self.bytes) = (done, done * size_of::<u64>());
    }

    #[inline]
    fn claim(&mut self) -> Option<Range<usize>> {
        // The time first: with that of the task before, this one would look old.
        if self.timed {
            self.slot.begin(now());
        }
        self.slot.claim(self.stride).map(|(start, end)| start as usize..end as usize)
    }

    #[inline]
    fn number(&mut self, bytes: &[u8]) {
        if self.place(bytes) {
            self.publish();
        } else if self.by_itself(&Encoding { flags: Flags::BLOCK, descriptors: Vec::new() }, bytes, &[]).is_err() {
            // The pool is gone; the end of the batch says so too.
            self.publish();
        }
    }

    #[inline]
    fn record(&mut self, flags: Flags, bytes: &[u8], names: &[u8]) -> io::Result<()> {
        self.name(names);
        let left = self.count.saturating_sub(self.done + 1);
        let fits = RECORD + bytes.len() + RECORD * left <= ROOM.saturating_sub(self.bytes);
        if let (true, false, Some(word)) = (fits, self.full, record_word(flags, bytes.len())) {
            self.place(&word.to_le_bytes());
            self.place(bytes);
            self.publish();
            return Ok(());
        }
        self.by_itself(&Encoding { flags, descriptors: Vec::new() }, bytes, &ABSENT.to_le_bytes())
    }

    fn apart(&mut self, encoding: Encoding, bytes: Vec<u8>, names: &[u8]) -> io::Result<()> {
        self.name(names);
        self.by_itself(&encoding, &bytes, &ABSENT.to_le_bytes())
    }

    fn plain(&self) -> bool {
        self.plain
    }

    fn mishap(&mut self, mishap: Mishap, width: Option<usize>) -> io::Result<()> {
        let zeros = [0; 8];
        let absent = ABSENT.to_le_bytes();
        let filler = width.map_or(&absent[..], |width| &zeros[..width.min(8)]);
        match mishap {
            Mishap::Panicked(payload) => self.report(tag::PANICKED, &boot::caught(&*payload), filler),
            Mishap::Unsendable(error) => self.report(tag::UNSENDABLE, &error, filler),
            Mishap::Unreadable(error) => self.report(tag::UNREADABLE, &error, filler),
        }
    }
}
