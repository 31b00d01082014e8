//! Connections to other actors: one for each address a process uses, made on first use, shared by all its handles.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use tokio::io::Interest;

use super::address::Address;
use super::family::{Refusal, family};
use super::inbound;
use crate::exit::{ActorId, ExitReport};
use crate::link::assemble::{Assembler, Body};
use crate::link::call::{Ending, Link, LinkError};
use crate::link::frame::{FRAME_CAP, Kind};
use crate::link::library::{self, lock};
use crate::link::parcel::Parcel;
use crate::link::socket::{self, Received, Wait};
use crate::link::value;
use crate::link::wire::{Source, Wire};

/// How long a stop waits at most for what was told before it.
const PATIENCE: Duration = Duration::from_secs(1);

/// One address as this process knows it.
pub(crate) struct Peer {
    address: Address,
    link: OnceLock<Arc<Link>>,
    connecting: tokio::sync::Mutex<()>,
}

/// Why there is no link to a peer.
#[derive(Clone, Debug)]
pub(crate) enum Unreachable {
    /// It has ended, or its mailbox has.
    Ending(Ending),
    /// There is no such actor for us.
    Unknown,
    /// This process lacks what a connection takes.
    Failed(String),
}

static PEERS: Mutex<Option<HashMap<Address, Weak<Peer>>>> = Mutex::new(None);

impl Peer {
    /// The peer of an address.
    pub(crate) fn of(address: Address) -> Arc<Peer> {
        let mut peers = lock(&PEERS);
        let peers = peers.get_or_insert_default();
        if let Some(peer) = peers.get(&address).and_then(Weak::upgrade) {
            return peer;
        }
        if peers.len() == peers.capacity() {
            peers.retain(|_, peer| peer.strong_count() > 0);
        }
        let peer = Arc::new(Peer { address, link: OnceLock::new(), connecting: tokio::sync::Mutex::new(()) });
        peers.insert(address, Arc::downgrade(&peer));
        peer
    }

    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// The link, where there is one already.
    pub(crate) fn connected(&self) -> Option<&Arc<Link>> {
        self.link.get()
    }

    /// The link, introduced now where there is none yet.
    pub(crate) async fn link(&self) -> Result<&Arc<Link>, Unreachable> {
        if let Some(link) = self.link.get() {
            return Ok(link);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(link) = self.link.get() {
            return Ok(link);
        }
        let Some(family) = family() else {
            // No family yet: this is the root-to-be, and all there is are its own services.
            let (mine, theirs) = socket::pair().map_err(|error| Unreachable::Failed(error.to_string()))?;
            inbound::introduce(self.address.port, self.address.key, ActorId::ROOT, theirs);
            return Ok(self.link.get_or_init(|| Link::new(mine, reply_handed_on)));
        };
        match family.connect(self.address).await {
            Ok(Ok(fd)) => Ok(self.link.get_or_init(|| Link::new(fd, reply_handed_on))),
            Ok(Err(Refusal::Ended(report))) => Err(Unreachable::Ending(Ending::Died(report))),
            Ok(Err(Refusal::Unknown)) => Err(Unreachable::Unknown),
            Ok(Err(Refusal::Failed(why))) => Err(Unreachable::Failed(why)),
            Err(_) => Err(Unreachable::Ending(Ending::Broken(LinkError::Lost))),
        }
    }
}

/// Word came that `actor` has ended: every link to it ends with the report, after what had arrived.
pub(crate) fn ended(actor: ActorId, report: &Arc<ExitReport>) {
    for link in links(actor) {
        link.condemn(Ending::Died(report.clone()));
    }
}

/// Sees that what this process has told `actor` is in its sockets, as far as they take it: one that does not read what it is told
/// delays its stop by at most a second.
pub(crate) async fn flush(actor: ActorId, grace: Duration) {
    let waiting: Vec<_> = links(actor).iter().map(|link| link.wire().clone()).filter(|wire| !wire.try_flush()).collect();
    if waiting.is_empty() {
        return;
    }
    let Ok(library) = library::handle() else { return };
    let flushed = library.spawn(async move {
        let all = async {
            for wire in waiting {
                wire.drained().await;
            }
        };
        let _ = tokio::time::timeout(grace.min(PATIENCE), all).await;
    });
    let _ = flushed.await;
}

/// The links of this process to an actor.
fn links(actor: ActorId) -> Vec<Arc<Link>> {
    match lock(&PEERS).as_ref() {
        Some(peers) => {
            let peers = peers.iter().filter(|(address, _)| address.actor == actor).filter_map(|(_, peer)| peer.upgrade());
            peers.filter_map(|peer| peer.link.get().cloned()).collect()
        }
        None => Vec::new(),
    }
}

/// A reply of ours was handed on by the actor we asked: it comes over `fd` now, from whoever holds it, and whoever that is has to
/// answer or die.
fn reply_handed_on(link: Arc<Link>, call: u64, fd: OwnedFd) {
    match library::handle() {
        Ok(handle) => {
            handle.spawn(async move {
                let result = await_holder(fd).await;
                link.finish(call, result);
            });
        }
        Err(error) => link.finish(call, Err(Ending::Broken(LinkError::Io(error.to_string())))),
    }
}

async fn await_holder(fd: OwnedFd) -> Result<Parcel, Ending> {
    let broken = |error: &dyn std::fmt::Display| Ending::Broken(LinkError::Io(error.to_string()));
    let wire = Wire::new(fd);
    let source = socket::watch(Source(wire.clone()), Interest::READABLE).map_err(|error| broken(&error))?;
    let mut assembler = Assembler::new(FRAME_CAP);
    let mut holder = Holder(None);
    loop {
        let received = tokio::select! {
            biased;
            ready = source.readable() => {
                let received = socket::receive(wire.fd(), &mut assembler, Wait::No).map_err(|error| broken(&error))?;
                if let (Ok(mut ready), Received::Nothing) = (ready, &received) {
                    ready.clear_ready();
                }
                received
            }
            report = holder.death() => {
                // What it had sent before it died still counts.
                match socket::receive(wire.fd(), &mut assembler, Wait::No) {
                    Ok(Received::Bytes(count, short)) => Received::Bytes(count, short),
                    _ => return Err(Ending::Died(report)),
                }
            }
        };
        while let Some(frame) = assembler.next().map_err(|error| Ending::Broken(LinkError::Frame(error)))? {
            let flags = frame.header.flags;
            let body = match frame.body {
                Body::Borrowed(bytes) => bytes.to_vec(),
                Body::Owned(bytes) => bytes,
            };
            match frame.header.kind {
                Kind::Reply => return Ok(Parcel { flags, body, descriptors: frame.descriptors }),
                Kind::NoReply => return Err(Ending::NoReply),
                Kind::Held => {
                    let actor = value::decode::<ActorId>(flags, &body, Vec::new()).map_err(|error| broken(&error))?;
                    holder = Holder(family().map(|family| family.watch(actor)));
                }
                _ => {}
            }
        }
        if received == Received::End {
            // Dropped unsent, or dying: the watch knows in a moment.
            return match tokio::time::timeout(Duration::from_millis(500), holder.death()).await {
                Ok(report) => Err(Ending::Died(report)),
                Err(_) => Err(Ending::NoReply),
            };
        }
    }
}

/// Who holds a reply of ours, as far as we were told.
struct Holder(Option<tokio::sync::oneshot::Receiver<Arc<ExitReport>>>);

impl Holder {
    async fn death(&mut self) -> Arc<ExitReport> {
        if let Some(watch) = &mut self.0
            && let Ok(report) = watch.await
        {
            return report;
        }
        self.0 = None;
        std::future::pending().await
    }
}
