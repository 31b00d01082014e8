//! What every service's handle is made of: where the service is, and in the process that made it, what keeps it running.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::host::{Machine, Owner};
use crate::actor::address::Address;
use crate::actor::peer::Peer;

/// The way to a service. Its clones in the process that hosts the service keep that running; one that was sent elsewhere does not.
pub(crate) struct Handle<M: Machine> {
    peer: Arc<Peer>,
    owner: Option<Arc<Owner<M>>>,
}

impl<M: Machine> Handle<M> {
    /// Starts a service in this process.
    pub(crate) fn host(machine: M) -> Handle<M> {
        let owner = Owner::new(machine);
        Handle { peer: Peer::of(owner.address()), owner: Some(Arc::new(owner)) }
    }

    /// The connection's end that requests are sent through.
    pub(crate) fn peer(&self) -> Arc<Peer> {
        self.peer.clone()
    }
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Handle { peer: self.peer.clone(), owner: self.owner.clone() }
    }
}

impl<M: Machine> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer.address().fmt(f)
    }
}

impl<M: Machine> Serialize for Handle<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.peer.address().serialize(serializer)
    }
}

impl<'de, M: Machine> Deserialize<'de> for Handle<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Handle { peer: Peer::of(Address::deserialize(deserializer)?), owner: None })
    }
}
