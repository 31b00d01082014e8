//! Blocks: values that are bytes, a text or a list of plain numbers, and nothing else.
//!
//! Type identity, not a trait, tells them from the other types: a trait would have to be implemented for every type that a
//! user sends. The comparison is of constants and is gone after compilation.

use super::DecodeError;
use std::any::Any;

#[cold]
pub(super) fn no_block<T>() -> DecodeError {
    DecodeError::new::<T>("it came as a block, and this type is none; both ends must be of one build")
}

/// Whether two types are one. A constant after compilation.
pub(super) fn is<A: 'static, B: 'static>() -> bool {
    std::any::TypeId::of::<A>() == std::any::TypeId::of::<B>()
}

/// The value as the `B` that it is, or back.
pub(super) fn known<A: 'static, B: Default + 'static>(mut value: A) -> Result<B, A> {
    match (&mut value as &mut dyn Any).downcast_mut::<B>() {
        Some(known) => Ok(std::mem::take(known)),
        None => Err(value),
    }
}

/// The same the other way around: the known value as a `T`, if that is the same type, or back.
pub(super) fn unknown<A: Default + 'static, T: 'static>(value: A) -> Result<T, A> {
    let mut slot = Some(value);
    let unknown = (&mut slot as &mut dyn Any).downcast_mut::<Option<T>>().and_then(Option::take);
    unknown.ok_or_else(|| slot.unwrap_or_default())
}

/// The types whose lists are blocks, besides bytes.
macro_rules! numbers {
    ($($number:ty)*) => {
        /// The length of the value as a block, if its type is one.
        #[inline]
        pub(super) fn block_length<T: 'static>(value: &T) -> Option<usize> {
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
        pub(super) fn write_block<T: 'static>(value: &T, out: &mut Vec<u8>) {
            let value: &dyn Any = value;
            if let Some(bytes) = value.downcast_ref::<Vec<u8>>() {
                out.extend_from_slice(bytes);
            }
            if let Some(text) = value.downcast_ref::<String>() {
                out.extend_from_slice(text.as_bytes());
            }
            $(
                if let Some(numbers) = value.downcast_ref::<Vec<$number>>() {
                    if cfg!(target_endian = "little") {
                        // SAFETY: the numbers' memory, for as long as they are borrowed. Numbers have no padding, and
                        // every byte of theirs is one.
                        let bytes = unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers.as_slice())) };
                        out.extend_from_slice(bytes);
                    } else {
                        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
                    }
                }
            )*
        }

        /// Reads a block as a `T`.
        pub(super) fn read_block<T: 'static>(body: &[u8]) -> Result<T, DecodeError> {
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
