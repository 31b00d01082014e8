//! The receiving end of connections: who takes them in, by port.
//!
//! An introduction names a port and a key. Port 0 is the mailbox of the actor's own function; services of this process have
//! the others. An introduction with another key, or to a port that is closed, is answered `Closed` and dropped.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::address::{Address, Key};
use super::family::family;
use crate::exit::{ActorId, ExitReport};
use crate::link::frame::{Header, Kind};
use crate::link::library::lock;
use crate::link::wire::Wire;

/// Somebody who takes in connections.
pub(crate) trait Endpoint: Send + Sync {
    /// A new connection from a process of the family.
    fn accept(&self, from: ActorId, fd: OwnedFd);

    /// A process that may have connections here has ended.
    fn gone(&self, who: ActorId, report: &Arc<ExitReport>);
}

struct Port {
    key: Key,
    endpoint: Arc<dyn Endpoint>,
}

static PORTS: Mutex<Option<HashMap<u32, Port>>> = Mutex::new(None);
static NEXT: AtomicU32 = AtomicU32::new(1);

/// Opens a port of this process under a key that was agreed on elsewhere.
pub(crate) fn open(port: u32, key: Key, endpoint: Arc<dyn Endpoint>) {
    lock(&PORTS).get_or_insert_default().insert(port, Port { key, endpoint });
}

/// Opens a new port and gives its address; the library thread takes in its connections.
pub(crate) fn open_service(endpoint: Arc<dyn Endpoint>) -> Address {
    let (port, key) = (NEXT.fetch_add(1, Ordering::Relaxed), Key::random());
    open(port, key, endpoint);
    let actor = family().map_or(ActorId::ROOT, |family| {
        family.serve();
        family.me()
    });
    Address { actor, port, key }
}

pub(crate) fn close(port: u32) {
    let closed = lock(&PORTS).as_mut().and_then(|ports| ports.remove(&port));
    drop(closed);
}

/// An introduction arrived.
pub(crate) fn introduce(port: u32, key: Key, from: ActorId, fd: OwnedFd) {
    let endpoint =
        lock(&PORTS).as_ref().and_then(|ports| ports.get(&port)).filter(|port| port.key == key).map(|port| port.endpoint.clone());
    match endpoint {
        Some(endpoint) => endpoint.accept(from, fd),
        None => refuse(fd),
    }
}

/// Tells whoever is at the far end that there is no mailbox here.
pub(crate) fn refuse(fd: OwnedFd) {
    let _ = Wire::new(fd).send(false, |queue| queue.push_bare(Header::new(Kind::Closed, 0)));
}

/// A process of the family has ended.
pub(crate) fn gone(who: ActorId, report: &Arc<ExitReport>) {
    let endpoints: Vec<_> = match lock(&PORTS).as_ref() {
        Some(ports) => ports.values().map(|port| port.endpoint.clone()).collect(),
        None => return,
    };
    for endpoint in endpoints {
        endpoint.gone(who, report);
    }
}
