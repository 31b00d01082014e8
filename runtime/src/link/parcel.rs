//! One value, encoded: a body with its flags and descriptors, to be sent, kept or passed on without being looked into.

use std::os::fd::OwnedFd;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::attach::Attached;
use super::frame::Flags;
use super::value::{self, DecodeError, EncodeError};

/// An encoded value.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    pub(crate) flags: Flags,
    pub(crate) body: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Parcel {
    /// Encodes `value`; bytes and strings give up their buffer without a copy.
    pub(crate) fn of<T: Serialize + 'static>(value: T) -> Result<Parcel, EncodeError> {
        match value::take_block(value) {
            Ok(body) => Ok(Parcel { flags: Flags::BLOCK, body, descriptors: Vec::new() }),
            Err(value) => Parcel::encode(&value),
        }
    }

    /// Encodes `value`, which stays with the caller.
    pub(crate) fn encode<T: Serialize + 'static>(value: &T) -> Result<Parcel, EncodeError> {
        let mut body = Vec::new();
        let encoding = value::encode(value, &mut body)?;
        Ok(Parcel { flags: encoding.flags, body, descriptors: encoding.descriptors })
    }

    /// Decodes the value.
    pub(crate) fn open<T: DeserializeOwned + 'static>(self) -> Result<T, DecodeError> {
        value::decode_owned(self.flags, self.body, self.descriptors)
    }

    /// A copy with descriptors of its own; an error where the process has no more.
    pub(crate) fn try_clone(&self) -> std::io::Result<Parcel> {
        let descriptors = self.descriptors.iter().map(OwnedFd::try_clone).collect::<Result<_, _>>()?;
        Ok(Parcel { flags: self.flags, body: self.body.clone(), descriptors })
    }
}

/// A parcel inside a message: its bytes, and its descriptors among the message's.
impl Serialize for Parcel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Borrowed { flags: self.flags.bits(), body: &self.body, descriptors: &self.descriptors }.serialize(serializer)
    }
}

/// What is serialised as a [`Parcel`] is, and belongs to somebody else.
pub(crate) struct Borrowed<'a> {
    pub(crate) flags: u8,
    pub(crate) body: &'a [u8],
    pub(crate) descriptors: &'a [OwnedFd],
}

impl Serialize for Borrowed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let descriptors = self
            .descriptors
            .iter()
            .map(|fd| fd.try_clone().map(Attached))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| serde::ser::Error::custom(format!("a descriptor could not be copied: {error}")))?;
        (self.flags, Bytes(self.body), descriptors).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (bits, Buffer(body), attached) = <(u8, Buffer, Vec<Attached>)>::deserialize(deserializer)?;
        let flags = Flags::from_bits(bits).ok_or_else(|| serde::de::Error::custom("unknown flags in a parcel"))?;
        Ok(Parcel { flags, body, descriptors: attached.into_iter().map(|attached| attached.0).collect() })
    }
}

/// Bytes as one block inside a message.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct Buffer(Vec<u8>);

impl<'de> Deserialize<'de> for Buffer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Buffer;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Buffer, E> {
                Ok(Buffer(bytes.to_vec()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Buffer, E> {
                Ok(Buffer(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}
