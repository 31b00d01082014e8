//! The first bytes of MessagePack's values, by name.

/// Nil.
pub(super) const NIL: u8 = 0xc0;
/// The two truth values.
pub(super) const FALSE: u8 = 0xc2;
pub(super) const TRUE: u8 = 0xc3;
/// Bytes with a length of one, two, four bytes.
pub(super) const BYTES_8: u8 = 0xc4;
pub(super) const BYTES_32: u8 = 0xc6;
/// Floats.
pub(super) const FLOAT_32: u8 = 0xca;
pub(super) const FLOAT_64: u8 = 0xcb;
/// Integers without a sign, of one, two, four, eight bytes.
pub(super) const UNSIGNED_8: u8 = 0xcc;
pub(super) const UNSIGNED_64: u8 = 0xcf;
/// Integers with a sign, of one, two, four, eight bytes.
pub(super) const SIGNED_8: u8 = 0xd0;
pub(super) const SIGNED_64: u8 = 0xd3;
/// Extensions of two and sixteen bytes; their type comes next.
pub(super) const EXTENSION_2: u8 = 0xd5;
pub(super) const EXTENSION_16: u8 = 0xd8;
/// Text with a length of one, two, four bytes.
pub(super) const TEXT_8: u8 = 0xd9;
pub(super) const TEXT_32: u8 = 0xdb;
/// A list with a length of two, four bytes.
pub(super) const LIST_16: u8 = 0xdc;
pub(super) const LIST_32: u8 = 0xdd;
/// A map with a length of two, four bytes.
pub(super) const MAP_16: u8 = 0xde;
pub(super) const MAP_32: u8 = 0xdf;
/// Short ones have their length in the marker.
pub(super) const SHORT_MAP: u8 = 0x80;
pub(super) const SHORT_LIST: u8 = 0x90;
pub(super) const SHORT_TEXT: u8 = 0xa0;

/// Extension type of a negative integer that needs more than 64 bits: 16 bytes, big endian, two's complement.
pub(super) const NEGATIVE: u8 = 1;
/// Extension type of a positive integer that needs more than 64 bits: 16 bytes, big endian.
pub(super) const POSITIVE: u8 = 2;
/// Extension type of a shape's number, which begins a record: 2 bytes, big endian.
pub(super) const RECORD: u8 = 3;
