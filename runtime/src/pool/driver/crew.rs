//! A worker from the pool's side: its socket, its page, what is on its way to it, and what it says.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::exit::Panic;
use crate::link::assemble::{Assembler, Body as Bytes, Frame};
use crate::link::frame::{FRAME_CAP, Flags, HEADER, Header, Kind};
use crate::link::socket::{self, Wait};
use crate::link::value;
use crate::link::value::Names;
use crate::pool::bundle::Encoded;
use crate::pool::error::Failure;
use crate::pool::page::Page;
use crate::pool::part::Odd;
use crate::pool::scheduler::{Batch, Bundle, Progress};
use crate::pool::worker::{ODD, Order, PREFIX, tag};
use crate::process::handle::Process;

pub(super) type WorkerProcess = Process<Result<(), String>>;

/// What a worker says.
pub(super) enum Said {
    /// It is ready; what its initializer returned, if it has one.
    Ready(Flags, Vec<u8>),
    /// It cannot work, and ends.
    Unfit(String),
    /// A batch is done: how long it took, and how many bytes the worker has.
    Done { number: u64, nanos: u64, resident: u64 },
}

/// What is known of a batch that was sent.
#[derive(Default)]
pub(super) struct Sent {
    /// Results that came by themselves.
    pub(super) odd: BTreeMap<usize, Odd>,
    /// How many results were collected before its end, and their bytes in the page.
    pub(super) collected: usize,
    pub(super) bytes: usize,
}

/// A batch on its way to a worker: how much of it is written.
struct Outbound {
    head: Vec<u8>,
    bundle: Option<Encoded>,
    written: usize,
}

pub(super) struct Worker {
    pub(super) socket: OwnedFd,
    pub(super) page: Page,
    /// It runs many tasks at once.
    many: bool,
    pub(super) assembler: Assembler,
    pub(super) batches: HashMap<u64, Sent>,
    outbound: VecDeque<Outbound>,
    /// A result that follows by itself: its batch, and its place there.
    following: Option<(u64, usize)>,
    /// The doorbell rings when the socket has room, too.
    pub(super) full: bool,
    /// Its socket ended or carried nonsense; its death is to follow.
    pub(super) silent: bool,
    /// It is to be killed as soon as its process is known.
    pub(super) doomed: Option<fn(&WorkerProcess)>,
    /// Why it cannot work.
    pub(super) unfit: Option<String>,
    pub(super) process: Option<WorkerProcess>,
    /// Tasks that it has done.
    pub(super) done: u64,
    /// The names of the structs in its results.
    names: Arc<Names>,
}

impl Worker {
    pub(super) fn new(socket: OwnedFd, page: Page, many: bool) -> Worker {
        Worker {
            socket,
            page,
            many,
            assembler: Assembler::new(FRAME_CAP),
            batches: HashMap::new(),
            outbound: VecDeque::new(),
            following: None,
            full: false,
            silent: false,
            doomed: None,
            unfit: None,
            process: None,
            done: 0,
            names: Arc::default(),
        }
    }

    /// The names of the structs in a batch's results.
    pub(super) fn names(&mut self, number: u64) -> Arc<Names> {
        // A table that is none leaves results that cannot be read.
        let _ = Arc::make_mut(&mut self.names).learn(&self.page.slot(number).names());
        self.names.clone()
    }

    /// Puts a batch on its way.
    pub(super) fn send(&mut self, batch: &Batch<Encoded>, entry: u32, plain: bool) {
        self.page.slot(batch.number).offer(batch.count);
        self.batches.insert(batch.number, Sent::default());
        let bundle = batch.bundle.clone();
        let alone = bundle.alone();
        let order = Order {
            entry,
            count: bundle.count() as u32,
            stride: batch.stride as u32,
            table: bundle.table().len() as u32,
            alone: alone.is_some(),
            timed: batch.timeout.is_some(),
            plain,
        };
        let mut header = Header::new(Kind::Ask, batch.number);
        header.length = (PREFIX + bundle.table().len()) as u64 + if alone.is_some() { 0 } else { bundle.body().len() as u64 };
        let mut head = Vec::with_capacity(2 * HEADER + PREFIX + bundle.table().len());
        head.extend_from_slice(&header.encode());
        head.extend_from_slice(&order.encode());
        head.extend_from_slice(bundle.table());
        if let Some((flags, descriptors)) = alone {
            let mut header = Header::new(Kind::Value, batch.number);
            header.flags = flags;
            header.length = bundle.body().len() as u64;
            header.descriptors = descriptors.len() as u16;
            head.extend_from_slice(&header.encode());
        }
        self.outbound.push_back(Outbound { head, bundle: Some(bundle), written: 0 });
    }

    /// Asks the task at this place of a batch to stop.
    pub(super) fn stop(&mut self, number: u64, place: usize) {
        self.page.slot(number).stop(place);
        if self.many {
            let head = Header::new(Kind::Cancel, number).encode().to_vec();
            self.outbound.push_back(Outbound { head, bundle: None, written: 0 });
        }
    }

    /// How far it has come with a batch.
    pub(super) fn progress(&self, number: u64, count: usize) -> Progress {
        let progress = self.page.slot(number).progress(count);
        if !self.many {
            return progress;
        }
        // Each is a batch by itself, and done when its result is here.
        let done = self.batches.get(&number).map_or(0, |sent| sent.odd.len());
        Progress { done: done.min(progress.claimed), ..progress }
    }

    /// Writes what waits; whether that is all.
    pub(super) fn flush(&mut self) -> bool {
        while let Some(outbound) = self.outbound.front_mut() {
            let whole = outbound.bundle.as_ref().map(Encoded::body).unwrap_or_default();
            let total = outbound.head.len() + whole.len();
            let head = outbound.head.get(outbound.written..).unwrap_or_default();
            let body = whole.get(outbound.written.saturating_sub(outbound.head.len())..).unwrap_or_default();
            let riding: Vec<_> = match (outbound.written, outbound.bundle.as_ref().and_then(Encoded::alone)) {
                (0, Some((_, descriptors))) => descriptors.iter().map(AsFd::as_fd).collect(),
                _ => Vec::new(),
            };
            match socket::send(self.socket.as_fd(), &[IoSlice::new(head), IoSlice::new(body)], &riding, Wait::No) {
                Ok(written) => {
                    outbound.written += written;
                    if outbound.written >= total {
                        self.outbound.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // The far end is gone: its death is on the way.
                Err(_) => self.outbound.clear(),
            }
        }
        true
    }

    /// The next thing that it said; an error where that is not the protocol.
    pub(super) fn hear(&mut self) -> Result<Option<Said>, &'static str> {
        loop {
            let Some(frame) = self.assembler.next().map_err(|_| "no frame")? else { return Ok(None) };
            let number = frame.header.call;
            match frame.header.kind {
                Kind::Hello => return Ok(Some(Said::Ready(frame.header.flags, frame.body.as_slice().to_vec()))),
                Kind::Failed => {
                    return Ok(Some(Said::Unfit(String::from_utf8_lossy(frame.body.as_slice()).into_owned())));
                }
                Kind::Tell => {
                    let sent = self.batches.get_mut(&number).ok_or("a result of an unknown batch")?;
                    match odd(&frame)? {
                        (place, None) => self.following = Some((number, place)),
                        (place, Some(failure)) => {
                            sent.odd.entry(place).or_insert(Odd::Failed(failure));
                        }
                    }
                }
                Kind::Value => {
                    let (batch, place) = self.following.take().filter(|(batch, _)| *batch == number).ok_or("a result out of turn")?;
                    let flags = frame.header.flags;
                    let bytes = match frame.body {
                        Bytes::Borrowed(bytes) => bytes.to_vec(),
                        Bytes::Owned(bytes) => bytes,
                    };
                    let sent = self.batches.get_mut(&batch).ok_or("a result of an unknown batch")?;
                    sent.odd.entry(place).or_insert(Odd::Value(flags, bytes, frame.descriptors));
                }
                Kind::Reply => {
                    let words = frame.body.as_slice().as_chunks::<8>().0;
                    let &[nanos, resident] = words else { return Err("no account of a batch") };
                    return Ok(Some(Said::Done { number, nanos: u64::from_le_bytes(nanos), resident: u64::from_le_bytes(resident) }));
                }
                _ => {}
            }
        }
    }
}

/// A result that came by itself: its place in its batch, and its failure, or nothing where its value follows.
fn odd(frame: &Frame<'_>) -> Result<(usize, Option<Failure>), &'static str> {
    let body = frame.body.as_slice();
    let (prefix, payload) = body.split_first_chunk::<ODD>().ok_or("a result that is none")?;
    let [a, b, c, d, tag] = *prefix;
    let place = u32::from_le_bytes([a, b, c, d]) as usize;
    let unreadable = |error| Failure::Decode(Arc::new(error));
    let failure = match tag {
        tag::FOLLOWS => return Ok((place, None)),
        tag::PANICKED => value::decode::<Panic>(Flags::NONE, payload, Vec::new()).map(|panic| Failure::Panicked(Arc::new(panic))),
        tag::UNSENDABLE => value::decode(Flags::NONE, payload, Vec::new()).map(|error| Failure::Unsendable(Arc::new(error))),
        tag::STOPPED => Ok(Failure::Cancelled),
        tag::UNREADABLE => value::decode(Flags::NONE, payload, Vec::new()).map(|error| Failure::Rejected(Arc::new(error))),
        _ => return Err("a result of an unknown kind"),
    };
    Ok((place, Some(failure.unwrap_or_else(unreadable))))
}
