//! The family as a child sees it: its control link, and what comes over it.
//!
//! Requests go out with a call id; answers and news come in. They are taken in by whoever finds them: the library thread once
//! the child uses handles, hosts services or runs async code ([`Family::serve`]), or the thread that waits in a sync mailbox.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::sync::oneshot;

use super::control::{Connect, Ended, Introduction, Refused, SignalRequest, Socket, SpawnRequest, Spawned, say};
use super::handle;
use crate::actor::address::Address;
use crate::actor::family::{Connected, Family, Refusal};
use crate::actor::mailbox::Door;
use crate::actor::{current, inbound, peer};
use crate::exit::{ActorId, ExitReport};
use crate::link::assemble::{Assembler, Body, Frame};
use crate::link::attach::Attached;
use crate::link::frame::Kind;
use crate::link::library::{self, lock};
use crate::link::socket::{self, Received, Wait};
use crate::link::value::{self, DecodeError, EncodeError};
use crate::link::wire::{Source, Wire};

/// How a spawn came out.
pub(crate) type Settled = Result<handle::Newborn, Arc<ExitReport>>;

enum Pending {
    Connect(oneshot::Sender<Connected>),
    Watch(oneshot::Sender<Arc<ExitReport>>),
    Spawn(oneshot::Sender<Settled>),
}

/// This process, as a member of its family.
pub(crate) struct Member {
    id: ActorId,
    wire: Arc<Wire>,
    assembler: Mutex<Assembler>,
    pending: Mutex<HashMap<u64, Pending>>,
    next: AtomicU64,
    serving: AtomicBool,
    door: Arc<Door>,
}

static MEMBER: std::sync::OnceLock<Member> = std::sync::OnceLock::new();

/// This process's membership, where it is a child.
pub(crate) fn member() -> Option<&'static Member> {
    MEMBER.get()
}

impl Member {
    pub(crate) fn join(id: ActorId, wire: Arc<Wire>, assembler: Assembler, door: Arc<Door>) -> &'static Member {
        MEMBER.get_or_init(|| Member {
            id,
            wire,
            assembler: Mutex::new(assembler),
            pending: Mutex::default(),
            next: AtomicU64::new(1),
            serving: AtomicBool::new(false),
            door,
        })
    }

    /// Asks for a child.
    pub(crate) fn spawn(&self, request: &SpawnRequest) -> Result<oneshot::Receiver<Settled>, EncodeError> {
        let (sender, receiver) = oneshot::channel();
        self.request(Kind::Spawn, request, Pending::Spawn(sender))?;
        Ok(receiver)
    }

    /// Asks that something be done to a descendant.
    pub(crate) fn signal(&self, request: &SignalRequest) {
        let _ = say(&self.wire, Kind::Signal, 0, request);
    }

    fn request<T: serde::Serialize + 'static>(&self, kind: Kind, body: &T, pending: Pending) -> Result<(), EncodeError> {
        self.serve();
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.pending).insert(call, pending);
        let said = say(&self.wire, kind, call, body);
        if !matches!(said, Ok(Ok(()))) {
            lock(&self.pending).remove(&call);
        }
        said.map(|_| ())
    }

    fn take(&self, frame: Frame<'_>) -> Result<(), DecodeError> {
        let call = frame.header.call;
        match frame.header.kind {
            Kind::Stop => {
                current::stop();
                self.door.stop();
            }
            Kind::Link if call == 0 => {
                let Introduction { port, key, from, socket } = decode(frame)?;
                inbound::introduce(port, key, from, socket.0);
            }
            Kind::Link => {
                let Socket(Attached(fd)) = decode(frame)?;
                if let Some(Pending::Connect(sender)) = lock(&self.pending).remove(&call) {
                    let _ = sender.send(Ok(fd));
                }
            }
            Kind::Refused => {
                let refused = decode(frame)?;
                match (lock(&self.pending).remove(&call), refused) {
                    (Some(Pending::Connect(sender)), refused) => {
                        let _ = sender.send(Err(refusal(refused)));
                    }
                    (Some(Pending::Watch(sender)), Refused::Ended(report)) => {
                        let _ = sender.send(Arc::new(report));
                    }
                    _ => {}
                }
            }
            Kind::Spawned => {
                let spawned: Spawned = decode(frame)?;
                let pending = lock(&self.pending).remove(&call);
                if let Some(Pending::Spawn(sender)) = pending {
                    // Registered before the spawner wakes: news of the child's end may be right behind.
                    let _ = sender.send(spawned.map(handle::Newborn::new).map_err(Arc::new));
                }
            }
            Kind::Ended => {
                let Ended { report, value } = decode(frame)?;
                ended(Arc::new(report), value);
            }
            _ => {}
        }
        Ok(())
    }
}

/// An actor that this process knows of has ended.
pub(crate) fn ended(report: Arc<ExitReport>, value: Option<crate::link::parcel::Parcel>) {
    peer::ended(report.id, &report);
    inbound::gone(report.id, &report);
    handle::ended(&report, value);
}

fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::Unknown => Refusal::Unknown,
        Refused::Ended(report) => Refusal::Ended(Arc::new(report)),
        Refused::Failed(why) => Refusal::Failed(why),
    }
}

/// Decodes the body of a control frame.
pub(crate) fn decode<T: DeserializeOwned + 'static>(frame: Frame<'_>) -> Result<T, DecodeError> {
    match frame.body {
        Body::Borrowed(bytes) => value::decode(frame.header.flags, bytes, frame.descriptors),
        Body::Owned(bytes) => value::decode_owned(frame.header.flags, bytes, frame.descriptors),
    }
}

impl Family for Member {
    fn me(&self) -> ActorId {
        self.id
    }

    fn connect(&self, address: Address) -> oneshot::Receiver<Connected> {
        let (sender, receiver) = oneshot::channel();
        if address.actor == self.id {
            let pair = socket::pair().map(|(mine, theirs)| {
                inbound::introduce(address.port, address.key, self.id, theirs);
                mine
            });
            let _ = sender.send(pair.map_err(|error| Refusal::Failed(error.to_string())));
        } else {
            let _ = self.request(Kind::Connect, &Connect::To(address), Pending::Connect(sender));
        }
        receiver
    }

    fn watch(&self, actor: ActorId) -> oneshot::Receiver<Arc<ExitReport>> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.request(Kind::Connect, &Connect::Watch(actor), Pending::Watch(sender));
        receiver
    }

    fn serve(&self) {
        if self.serving.swap(true, Ordering::AcqRel) {
            return;
        }
        match (library::handle(), member()) {
            (Ok(library), Some(member)) => {
                library.spawn(async move {
                    let Ok(source) = socket::watch(Source(member.wire.clone()), Interest::READABLE) else { return };
                    while let Ok(mut ready) = source.readable().await {
                        ready.clear_ready();
                        if !member.drain() {
                            return;
                        }
                    }
                });
            }
            _ => self.serving.store(false, Ordering::Release),
        }
    }

    fn news(&self) -> Option<BorrowedFd<'_>> {
        Some(self.wire.fd())
    }

    fn take_news(&self) {
        self.drain();
    }
}

impl Member {
    /// Takes in what has arrived; false where the root is gone.
    fn drain(&self) -> bool {
        let mut assembler = lock(&self.assembler);
        loop {
            let received = socket::receive(self.wire.fd(), &mut assembler, Wait::No);
            loop {
                match assembler.next() {
                    Ok(Some(frame)) => {
                        if let Err(error) = self.take(frame) {
                            tracing::error!(%error, "a control frame could not be read");
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(%error, "the control link failed");
                        return false;
                    }
                }
            }
            match received {
                Ok(Received::Bytes(_, false)) => {}
                Ok(Received::Bytes(_, true) | Received::Nothing) => return true,
                // The lifeline is about to end this process too.
                Ok(Received::End) | Err(_) => return false,
            }
        }
    }
}
