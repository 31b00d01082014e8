//! Shared memory inside a message: its descriptor, and how many of its bytes are meant.

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::attach::{self, Attached};
use crate::memory::blob::Blob;
use crate::memory::slice::{Plain, SharedSlice};

/// A blob on its way. An empty one has no memory.
#[derive(Serialize, Deserialize)]
struct Lent {
    memory: Option<Attached>,
    length: u64,
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The empty one too, which has no descriptor that would say so.
        if !attach::is_collecting() {
            return Err(S::Error::custom("a blob travels only inside messages, as shared memory; elsewhere, serialise its bytes"));
        }
        let memory = self.descriptor().map(|descriptor| descriptor.try_clone_to_owned().map(Attached)).transpose();
        let memory = memory.map_err(|error| S::Error::custom(format!("the blob's descriptor cannot be copied: {error}")))?;
        Lent { memory, length: self.len() as u64 }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        match Lent::deserialize(deserializer)? {
            Lent { memory: None, length: 0 } => Ok(Blob::default()),
            Lent { memory: Some(Attached(descriptor)), length } => Blob::received(descriptor, length).map_err(D::Error::custom),
            Lent { memory: None, .. } => Err(D::Error::custom("a blob came without its memory")),
        }
    }
}

impl<T> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_blob().serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedSlice<T>, D::Error> {
        SharedSlice::try_from(Blob::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
