//! The host: runs a state machine behind a port of this process.
//!
//! Requests come as frames, one after another; each is decoded and given to the machine under one lock, and what the machine
//! answers is sent. Every process that uses the service is one client. A client is gone when its process has died (after
//! what it had sent was read), or when it closed its connection; then the machine is told, and nothing more is sent to it.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use tokio::io::Interest;

use crate::actor::address::Address;
use crate::actor::inbound::{self, Endpoint};
use crate::exit::{ActorId, ExitReport};
use crate::link::assemble::{Assembler, Body, Frame};
use crate::link::frame::{FRAME_CAP, Flags, Header, Kind};
use crate::link::library::{self, lock};
use crate::link::parcel::Parcel;
use crate::link::socket::{self, Received, Wait};
use crate::link::value::{self, Message};
use crate::link::wire::{Source, Wire};

/// One request of one connected client. Call ids are unique per client and never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Ticket {
    pub(crate) client: u64,
    pub(crate) call: u64,
}

/// What a machine answers: the ticket, and the response, or `None` for 'nothing, you cancelled it'.
pub(crate) type Answers<R> = Vec<(Ticket, Option<R>)>;

/// A service as a state machine: no I/O, no clock, nothing that waits.
pub(crate) trait Machine: Send + 'static {
    type Request: Message;
    type Response: Serialize + Send + 'static;

    fn handle(&mut self, ticket: Ticket, request: Self::Request, answers: &mut Answers<Self::Response>);

    /// The client no longer wants this request's response. The host answers `NoReply` behind whatever this answers.
    fn cancel(&mut self, ticket: Ticket, answers: &mut Answers<Self::Response>);

    fn gone(&mut self, client: u64, answers: &mut Answers<Self::Response>);

    fn close(&mut self, answers: &mut Answers<Self::Response>);
}

struct Client {
    from: ActorId,
    wire: Arc<Wire>,
    assembler: Arc<Mutex<Assembler>>,
}

struct Inner<M> {
    machine: M,
    clients: HashMap<u64, Client>,
    next: u64,
    closed: bool,
}

/// A running service.
pub(crate) struct Host<M> {
    inner: Mutex<Inner<M>>,
    itself: std::sync::Weak<Host<M>>,
}

/// The value that `new` returned, in the process that called it: the service ends with it.
pub(crate) struct Owner<M: Machine> {
    host: Arc<Host<M>>,
    address: Address,
}

impl<M: Machine> Owner<M> {
    /// Starts a service.
    pub(crate) fn new(machine: M) -> Owner<M> {
        let host = Arc::new_cyclic(|itself| Host {
            inner: Mutex::new(Inner { machine, clients: HashMap::new(), next: 1, closed: false }),
            itself: itself.clone(),
        });
        let address = inbound::open_service(host.clone());
        Owner { host, address }
    }

    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Sends an answer that the machine could not give at once.
    pub(crate) fn answer(&self, ticket: Ticket, response: M::Response) {
        lock(&self.host.inner).deliver(vec![(ticket, Some(response))]);
    }
}

impl<M: Machine> Drop for Owner<M> {
    fn drop(&mut self) {
        inbound::close(self.address.port);
        let mut inner = lock(&self.host.inner);
        inner.closed = true;
        let mut answers = Vec::new();
        inner.machine.close(&mut answers);
        inner.deliver(answers);
        for client in inner.clients.values() {
            let _ = client.wire.send(false, |queue| queue.push_bare(Header::new(Kind::Closed, 0)));
        }
    }
}

impl<M: Machine> Inner<M> {
    fn deliver(&mut self, answers: Answers<M::Response>) {
        for (ticket, response) in answers {
            let Some(client) = self.clients.get(&ticket.client) else { continue };
            let sent = match response {
                None => client.wire.send(false, |queue| queue.push_bare(Header::new(Kind::NoReply, ticket.call))),
                Some(response) => {
                    let header = Header::new(Kind::Reply, ticket.call);
                    match client.wire.post(false, |queue| queue.push(header, |bytes| value::encode(&response, bytes))) {
                        Ok(sent) => sent,
                        Err(error) => {
                            let text = Parcel { flags: Flags::default(), body: error.to_string().into_bytes(), descriptors: Vec::new() };
                            client.wire.send(false, |queue| queue.push_parcel(Header::new(Kind::Rejected, ticket.call), text))
                        }
                    }
                }
            };
            // A client whose connection broke is about to be gone; the machine is told then.
            let _ = sent;
        }
    }

    fn take(&mut self, client: u64, frame: Frame<'_>) {
        let ticket = Ticket { client, call: frame.header.call };
        let mut answers = Vec::new();
        match frame.header.kind {
            Kind::Ask | Kind::Tell => {
                let decoded = match frame.body {
                    Body::Borrowed(bytes) => value::decode(frame.header.flags, bytes, frame.descriptors),
                    Body::Owned(bytes) => value::decode_owned(frame.header.flags, bytes, frame.descriptors),
                };
                match decoded {
                    Ok(request) => self.machine.handle(ticket, request, &mut answers),
                    Err(error) => {
                        if let Some(client) = self.clients.get(&client) {
                            let text = Parcel { flags: Flags::default(), body: error.to_string().into_bytes(), descriptors: Vec::new() };
                            let _ = client.wire.send(false, |queue| queue.push_parcel(Header::new(Kind::Rejected, ticket.call), text));
                        }
                    }
                }
            }
            Kind::Cancel => {
                self.machine.cancel(ticket, &mut answers);
                answers.push((ticket, None));
            }
            _ => {}
        }
        self.deliver(answers);
    }
}

impl<M: Machine> Host<M> {
    /// Reads what a client has sent; false where it is gone.
    fn read(&self, client: u64, wire: &Wire, assembler: &Mutex<Assembler>) -> bool {
        let mut assembler = lock(assembler);
        loop {
            let received = socket::receive(wire.fd(), &mut assembler, Wait::No);
            let mut inner = lock(&self.inner);
            loop {
                match assembler.next() {
                    Ok(Some(frame)) => inner.take(client, frame),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, "a client of a service is cut off");
                        return false;
                    }
                }
            }
            match received {
                Ok(Received::Bytes(_, false)) => {}
                Ok(Received::Bytes(_, true) | Received::Nothing) => return true,
                Ok(Received::End) | Err(_) => return false,
            }
        }
    }

    fn leave(&self, client: u64) {
        let mut inner = lock(&self.inner);
        if inner.clients.remove(&client).is_some() {
            let mut answers = Vec::new();
            inner.machine.gone(client, &mut answers);
            inner.deliver(answers);
        }
    }
}

impl<M: Machine> Endpoint for Host<M> {
    fn accept(&self, from: ActorId, fd: OwnedFd) {
        let (wire, assembler) = (Wire::new(fd), Arc::new(Mutex::new(Assembler::new(FRAME_CAP))));
        let client = {
            let mut inner = lock(&self.inner);
            if inner.closed {
                let _ = wire.send(false, |queue| queue.push_bare(Header::new(Kind::Closed, 0)));
                return;
            }
            let client = inner.next;
            inner.next += 1;
            inner.clients.insert(client, Client { from, wire: wire.clone(), assembler: assembler.clone() });
            client
        };
        let (Ok(library), Some(host)) = (library::handle(), self.itself.upgrade()) else {
            self.leave(client);
            return;
        };
        library.spawn(async move {
            if let Ok(source) = socket::watch(Source(wire.clone()), Interest::READABLE) {
                while let Ok(mut ready) = source.readable().await {
                    ready.clear_ready();
                    if !host.read(client, &wire, &assembler) {
                        break;
                    }
                }
            }
            host.leave(client);
        });
    }

    fn gone(&self, who: ActorId, _report: &Arc<ExitReport>) {
        let theirs: Vec<_> = lock(&self.inner)
            .clients
            .iter()
            .filter(|(_, client)| client.from == who)
            .map(|(&id, client)| (id, client.wire.clone(), client.assembler.clone()))
            .collect();
        for (client, wire, assembler) in theirs {
            self.read(client, &wire, &assembler);
            self.leave(client);
            wire.shut();
        }
    }
}
