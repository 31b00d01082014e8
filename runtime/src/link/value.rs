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
//! arrive as `None`), more than 128 levels (see `strict`). What arrives is not trusted: any bytes are a value or a
//! [`DecodeError`]; bytes after the value are an error; no memory is reserved for a length that is only claimed.
//!
//! Type identity, not a trait, tells a block from MessagePack: the trait would have to be implemented for every type
//! that a user sends. The comparison is of constants and is gone after compilation.

use crate::link::attach;
use crate::link::frame::{FRAME_CAP, Flags};
use crate::link::strict::{read::Guard, write::Strict};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::any::{Any, type_name};
use std::os::fd::OwnedFd;

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
pub(crate) fn encode<T: Serialize + 'static>(value: &T, out: &mut Vec<u8>) -> Result<Encoding, EncodeError> {
    if let Some(length) = block_length(value) {
        if length as u64 > FRAME_CAP {
            return Err(too_long::<T>(length));
        }
        write_block(value, out);
        return Ok(Encoding { flags: Flags::BLOCK, descriptors: Vec::new() });
    }
    let before = out.len();
    let (refused, descriptors) = attach::collect(|| {
        let mut serializer = rmp_serde::Serializer::new(&mut *out).with_struct_map().with_human_readable();
        // Boxed here, so that nothing large is moved about where all is well.
        value.serialize(Strict::new(&mut serializer)).err().map(refuse::<T>)
    });
    match refused {
        None if (out.len() - before) as u64 > FRAME_CAP => {
            let length = out.len() - before;
            out.truncate(before);
            Err(too_long::<T>(length))
        }
        None => Ok(Encoding { flags: Flags::NONE, descriptors }),
        Some(error) => {
            out.truncate(before);
            Err(*error)
        }
    }
}

#[cold]
fn refuse<T>(error: rmp_serde::encode::Error) -> Box<EncodeError> {
    Box::new(EncodeError::new::<T>(error))
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
pub(crate) fn decode<T: DeserializeOwned + 'static>(flags: Flags, body: &[u8], descriptors: Vec<OwnedFd>) -> Result<T, DecodeError> {
    if flags.contains(Flags::BLOCK) {
        return read_block(body);
    }
    let result = attach::offer(descriptors, || {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(body).with_human_readable();
        let value = T::deserialize(Guard::new(&mut deserializer, body.len())).map_err(explain)?;
        // The reader does not tell where it is; it does when it is asked for one more value.
        match <()>::deserialize(&mut deserializer) {
            Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
            _ => Err("there are more bytes after the value".to_owned()),
        }
    });
    result.map_err(DecodeError::new::<T>)
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

/// What was wrong, in words that need no knowledge of MessagePack where that is possible.
#[cold]
fn explain(error: rmp_serde::decode::Error) -> String {
    use rmp_serde::decode::Error;
    match error {
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => "the bytes end in the middle of it".to_owned(),
        Error::TypeMismatch(marker) => {
            format!("something else begins there (MessagePack {marker:?})")
        }
        Error::LengthMismatch(length) => {
            format!("a list or map in it has the wrong length, {length}")
        }
        error => error.to_string(),
    }
}

#[cold]
fn no_block<T>() -> DecodeError {
    DecodeError::new::<T>("it came as a block, and this type is none; both ends must be of one build")
}

/// Whether two types are one. A constant after compilation.
fn is<A: 'static, B: 'static>() -> bool {
    std::any::TypeId::of::<A>() == std::any::TypeId::of::<B>()
}

/// The value as the `B` that it is, or back.
fn known<A: 'static, B: Default + 'static>(mut value: A) -> Result<B, A> {
    match (&mut value as &mut dyn Any).downcast_mut::<B>() {
        Some(known) => Ok(std::mem::take(known)),
        None => Err(value),
    }
}

/// The same the other way around: the known value as a `T`, if that is the same type, or back.
fn unknown<A: Default + 'static, T: 'static>(value: A) -> Result<T, A> {
    let mut slot = Some(value);
    let unknown = (&mut slot as &mut dyn Any).downcast_mut::<Option<T>>().and_then(Option::take);
    unknown.ok_or_else(|| slot.unwrap_or_default())
}

/// The types whose lists are blocks, besides bytes.
macro_rules! numbers {
    ($($number:ty)*) => {
        /// The length of the value as a block, if its type is one.
        #[inline]
        fn block_length<T: 'static>(value: &T) -> Option<usize> {
            let value: &dyn Any = value;
            if let Some(bytes) = value.downcast_ref::<Vec<u8>>() {
                return Some(bytes.len());
            }
            if let Some(text) = value.downcast_ref::<String>() {
                return Some(text.len());
            }
            $(
                if let Some(numbers) = value.downcast_ref::<Vec<$number>>() {
                    return Some(size_of_val(numbers.as_slice()));
                }
            )*
            None
        }

        /// Appends the value as a block, if its type is one.
        #[inline]
        fn write_block<T: 'static>(value: &T, out: &mut Vec<u8>) {
            let value: &dyn Any = value;
            if let Some(bytes) = value.downcast_ref::<Vec<u8>>() {
                out.extend_from_slice(bytes);
            }
            if let Some(text) = value.downcast_ref::<String>() {
                out.extend_from_slice(text.as_bytes());
            }
            $(
                if let Some(numbers) = value.downcast_ref::<Vec<$number>>() {
                    out.reserve(size_of_val(numbers.as_slice()));
                    // By way of a small buffer: whole parts are appended, and nothing is written twice to `out`.
                    let mut buffer = [[0; size_of::<$number>()]; 512];
                    for part in numbers.chunks(buffer.len()) {
                        for (bytes, number) in buffer.iter_mut().zip(part) {
                            *bytes = number.to_le_bytes();
                        }
                        out.extend_from_slice(buffer[..part.len()].as_flattened());
                    }
                }
            )*
        }

        /// Reads a block as a `T`.
        fn read_block<T: 'static>(body: &[u8]) -> Result<T, DecodeError> {
            if is::<T, Vec<u8>>() {
                return unknown(body.to_vec()).map_err(|_| no_block::<T>());
            }
            if is::<T, String>() {
                let text = std::str::from_utf8(body).map_err(DecodeError::new::<T>)?;
                return unknown(text.to_owned()).map_err(|_| no_block::<T>());
            }
            $(
                if is::<T, Vec<$number>>() {
                    let (numbers, rest) = body.as_chunks::<{ size_of::<$number>() }>();
                    if !rest.is_empty() {
                        return Err(DecodeError::new::<T>(format_args!(
                            "{} bytes are no whole number of {}", body.len(), stringify!($number)
                        )));
                    }
                    let numbers: Vec<$number> = numbers.iter().map(|bytes| <$number>::from_le_bytes(*bytes)).collect();
                    return unknown(numbers).map_err(|_| no_block::<T>());
                }
            )*
            Err(no_block::<T>())
        }
    };
}

numbers! { i8 i16 i32 i64 u16 u32 u64 f32 f64 }

/// Reads bytes as a few types, and what was read back again. For the fuzzer: nothing may panic, memory stays bounded, and
/// what arrives can be sent on.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    use std::collections::{BTreeMap, HashMap};

    #[derive(Serialize, Deserialize)]
    enum Tree {
        Leaf,
        Nested(Box<Tree>),
        Pair(Box<Tree>, Option<Box<Tree>>),
        Fields { ip: std::net::IpAddr, list: Vec<Tree>, wide: (i128, u128) },
    }

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Any {
        Bool(bool),
        Number(i64),
        Float(f64),
        Text(String),
        List(Vec<Any>),
        Map(HashMap<String, Any>),
    }

    #[derive(Serialize, Deserialize)]
    struct Flat {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<char>,
        #[serde(flatten)]
        tagged: Tagged,
        #[serde(flatten)]
        rest: BTreeMap<String, Any>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Tagged {
        Unit,
        Tree { tree: Option<Tree> },
    }

    fn check<T: Serialize + DeserializeOwned + 'static>(flags: Flags, body: &[u8]) {
        let owned = decode_owned::<T>(flags, body.to_vec(), Vec::new());
        let Ok(value) = decode::<T>(flags, body, Vec::new()) else {
            assert!(owned.is_err());
            return;
        };
        let mut again = Vec::new();
        if let Ok(encoding) = encode(&value, &mut again) {
            assert!(decode::<T>(encoding.flags, &again, encoding.descriptors).is_ok());
        }
    }

    let Some((choice, body)) = data.split_first() else {
        return;
    };
    let flags = if choice & 0x80 == 0 { Flags::NONE } else { Flags::BLOCK };
    match choice & 0x7f {
        0 => check::<Tree>(flags, body),
        1 => check::<Any>(flags, body),
        2 => check::<Flat>(flags, body),
        3 => check::<Vec<Option<(u8, String)>>>(flags, body),
        4 => check::<String>(flags, body),
        5 => check::<Vec<u32>>(flags, body),
        6 => check::<Vec<u8>>(flags, body),
        7 => check::<Result<HashMap<i32, f32>, Vec<()>>>(flags, body),
        8 => check::<EncodeError>(flags, body),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
