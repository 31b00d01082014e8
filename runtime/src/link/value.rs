//! Message bodies: values as bytes, and back.
//!
//! A value that is exactly bytes, a text or a list of plain numbers travels as one *block*: its bytes, numbers little
//! endian, with the BLOCK flag in the header. Everything else is MessagePack with names: structs are maps from field
//! names, variants go by name, and `serde`'s human-readable forms are used (an address is a text). That is what
//! `serde_json` does too, and it is why every type that survives `serde_json` survives a message: skipped fields,
//! flattened, untagged and internally tagged types find what they look for. `serde` itself buffers some of those and
//! claims to be human readable while it does, so a compact form would be written one way and read another.
//!
//! What would change on the way is refused when it is sent, with the reason: a `Some` that holds nothing (it would
//! arrive as `None`), more than 128 levels. What arrives is not trusted: any bytes are a value or a [`DecodeError`];
//! bytes after the value are an error; no memory is reserved for a length that is only claimed.
//!
//! Many values together need each struct's names only once: they are then records ([`Shapes`], [`Names`]).
//!
//! The writer ([`serializer`]) and the reader ([`deserializer`]) are our own, as all of that is decided at every value
//! that they meet, and as a pool of small tasks spends most of its time in them.

mod block;
mod deserializer;
#[cfg(feature = "fuzzing")]
mod fuzz;
mod level;
mod marker;
mod names;
mod parts;
mod read;
mod serializer;
mod shapes;
mod write;

use self::block::{block_length, is, known, no_block, read_block, unknown, write_block};
use self::deserializer::Get;
use self::level::{Fault, Level};
use self::read::Reader;
use self::serializer::Put;
use self::write::Writer;
use crate::link::attach::{Collection, Offer};
use crate::link::frame::{FRAME_CAP, Flags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::any::type_name;
use std::os::fd::OwnedFd;

#[cfg(feature = "fuzzing")]
pub use self::fuzz::fuzz;
pub(crate) use self::names::Names;
pub(crate) use self::shapes::Shapes;

/// A type whose values can travel between processes: as a message, an argument, a result.
///
/// It is implemented for every type that can be serialised, owns what it holds, and can move between threads. Derive
/// `serde::Serialize` and `serde::Deserialize` and it is there. Whatever survives `serde_json` survives a message.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` cannot travel between processes",
    label = "not a message",
    note = "derive `serde::Serialize` and `serde::Deserialize`; a message owns what it holds (`String`, not `&str`) and is `Send`"
)]
pub trait Message: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Message for T {}

/// What goes beside an encoded body.
#[derive(Debug, Default)]
pub(crate) struct Encoding {
    /// BLOCK, or nothing.
    pub(crate) flags: Flags,
    /// The descriptors in the value, in the order of their indices.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// A value cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("a value of type `{type_name}` cannot be sent: {reason}")]
pub struct EncodeError {
    /// The Rust type.
    pub type_name: Box<str>,
    /// Why not, and what to do about it.
    pub reason: Box<str>,
}

/// Bytes that arrived are not the value that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("what arrived is no `{type_name}`: {reason}")]
pub struct DecodeError {
    /// The Rust type that was expected.
    pub type_name: Box<str>,
    /// What is wrong with the bytes.
    pub reason: Box<str>,
}

impl EncodeError {
    #[cold]
    fn new<T>(reason: impl ToString) -> EncodeError {
        EncodeError { type_name: type_name::<T>().into(), reason: reason.to_string().into() }
    }
}

impl DecodeError {
    #[cold]
    fn new<T>(reason: impl ToString) -> DecodeError {
        DecodeError { type_name: type_name::<T>().into(), reason: reason.to_string().into() }
    }
}

/// Appends the body for `value` to `out`.
///
/// # Errors
///
/// If the value cannot be sent, which includes that its body is longer than a frame may be: the receiver would end the link over it.
/// `out` is then as it was, and no descriptor is left over.
#[inline]
pub(crate) fn encode<T: Serialize + 'static>(value: &T, out: &mut Vec<u8>) -> Result<Encoding, EncodeError> {
    encode_with(value, out, None).into_result()
}

/// The same, for many small values.
#[inline]
pub(crate) fn put<T: Serialize + 'static>(value: &T, out: &mut Vec<u8>) -> Encoded {
    encode_with(value, out, None)
}

/// What became of a value that was to be encoded. It is two words wide, unlike the result that it stands for; where many
/// small values are encoded, to move that about takes a fifth of the time.
#[derive(Debug)]
pub(crate) enum Encoded {
    /// Its body is there: MessagePack or a record, without descriptors.
    Plain,
    /// Its body is there: a block.
    Block,
    /// Its body is there with descriptors, or it cannot be sent.
    Other(Box<Result<Encoding, EncodeError>>),
}

impl Encoded {
    /// The flags of a body that is there and needs nothing beside it.
    #[inline]
    pub(crate) fn flags(&self) -> Option<Flags> {
        match self {
            Encoded::Plain => Some(Flags::NONE),
            Encoded::Block => Some(Flags::BLOCK),
            Encoded::Other(_) => None,
        }
    }

    /// The same as a result.
    #[inline]
    pub(crate) fn into_result(self) -> Result<Encoding, EncodeError> {
        match self {
            Encoded::Plain => Ok(Encoding::default()),
            Encoded::Block => Ok(Encoding { flags: Flags::BLOCK, descriptors: Vec::new() }),
            Encoded::Other(result) => *result,
        }
    }
}

/// [`encode`], with or without a table of names.
#[inline(always)]
fn encode_with<T: Serialize + 'static>(value: &T, out: &mut Vec<u8>, shapes: Option<&mut Shapes>) -> Encoded {
    if let Some(length) = block_length(value) {
        if length as u64 > FRAME_CAP {
            return Encoded::Other(Box::new(Err(too_long::<T>(length))));
        }
        write_block(value, out);
        return Encoded::Block;
    }
    let before = out.len();
    let collection = Collection::new();
    let written = value.serialize(Put { writer: &mut Writer { out: &mut *out, shapes }, level: Level::TOP });
    let length = out.len() - before;
    if written.is_ok() && length as u64 <= FRAME_CAP && collection.is_empty() {
        return Encoded::Plain;
    }
    if written.is_err() || length as u64 > FRAME_CAP {
        out.truncate(before);
    }
    Encoded::Other(Box::new(conclude::<T>(written, length, &collection)))
}

/// What came of writing so many bytes.
#[cold]
fn conclude<T>(written: Result<(), Fault>, length: usize, collection: &Collection) -> Result<Encoding, EncodeError> {
    match written {
        Err(fault) => Err(EncodeError::new::<T>(fault)),
        Ok(()) if length as u64 > FRAME_CAP => Err(too_long::<T>(length)),
        Ok(()) => Ok(Encoding { flags: Flags::NONE, descriptors: collection.take() }),
    }
}

#[cold]
fn too_long<T>(length: usize) -> EncodeError {
    EncodeError::new::<T>(format_args!("it takes {length} bytes, and a message takes at most {FRAME_CAP}: send it in parts"))
}

/// The body of a value that owns it already: `Vec<u8>` and `String` give up their buffer without a copy. Any other
/// value comes back. The body is a block.
///
/// # Errors
///
/// The value, if it has no such buffer, or one that is too long to be sent; [`encode`] says so.
pub(crate) fn take_block<T: 'static>(value: T) -> Result<Vec<u8>, T> {
    if block_length(&value).is_none_or(|length| length as u64 > FRAME_CAP) {
        return Err(value);
    }
    let value = match known::<T, Vec<u8>>(value) {
        Ok(bytes) => return Ok(bytes),
        Err(value) => value,
    };
    known::<T, String>(value).map(String::into_bytes)
}

/// Reads the value in a body that came with these flags and descriptors.
///
/// # Errors
///
/// If the bytes are not a `T`, whole and nothing else.
#[inline]
pub(crate) fn decode<T: DeserializeOwned + 'static>(flags: Flags, body: &[u8], descriptors: Vec<OwnedFd>) -> Result<T, DecodeError> {
    decode_with(flags, body, descriptors, None)
}

/// [`decode`], with or without a table of names.
#[inline(always)]
fn decode_with<T: DeserializeOwned + 'static>(
    flags: Flags,
    body: &[u8],
    descriptors: Vec<OwnedFd>,
    names: Option<&Names>,
) -> Result<T, DecodeError> {
    if flags.contains(Flags::BLOCK) {
        return read_block(body);
    }
    let _offer = Offer::new(descriptors);
    let mut reader = Reader { rest: body, names };
    // A value is moved once on its way out; each time takes about as long as reading a field.
    match T::deserialize(Get { reader: &mut reader, level: Level::TOP }) {
        Ok(value) if reader.rest.is_empty() => Ok(value),
        Ok(_) => Err(DecodeError::new::<T>("there are more bytes after the value")),
        Err(fault) => Err(DecodeError::new::<T>(fault)),
    }
}

/// Like [`decode`], of a body that can be given away: `Vec<u8>` and `String` take it as their buffer.
///
/// # Errors
///
/// As [`decode`].
pub(crate) fn decode_owned<T: DeserializeOwned + 'static>(
    flags: Flags,
    body: Vec<u8>,
    descriptors: Vec<OwnedFd>,
) -> Result<T, DecodeError> {
    if !flags.contains(Flags::BLOCK) {
        return decode(flags, &body, descriptors);
    }
    let body = match unknown::<Vec<u8>, T>(body) {
        Ok(value) => return Ok(value),
        Err(body) => body,
    };
    if is::<T, String>() {
        let text = String::from_utf8(body).map_err(|error| DecodeError::new::<T>(error.utf8_error()))?;
        return unknown(text).map_err(|_| no_block::<T>());
    }
    read_block(&body)
}

#[cfg(test)]
mod tests;
