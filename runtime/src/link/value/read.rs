//! MessagePack's values from bytes that are not trusted.

use super::level::Fault;
use super::marker::*;
use super::names::Names;

/// Bytes that are being read.
pub(super) struct Reader<'de> {
    pub(super) rest: &'de [u8],
    /// What records refer to.
    pub(super) names: Option<&'de Names>,
}

/// A record's number of fields, and the indices of their names.
pub(super) type Record<'de> = (usize, &'de Names, &'de [u16]);

#[cold]
fn cut_off() -> Fault {
    Fault::new("the bytes end in the middle of it")
}

#[cold]
pub(super) fn wrong_length(length: usize) -> Fault {
    Fault::new(format_args!("a list or map in it has the wrong length, {length}"))
}

#[cold]
pub(super) fn no_marker(marker: u8) -> Fault {
    Fault::new(format_args!("something else begins there (MessagePack {marker:#04x})"))
}

impl<'de> Reader<'de> {
    /// The next byte, which stays.
    #[inline]
    pub(super) fn peek(&self) -> Result<u8, Fault> {
        self.rest.first().copied().ok_or_else(cut_off)
    }

    /// The next byte, if it is such a one.
    #[inline]
    pub(super) fn next_if(&mut self, wanted: impl FnOnce(u8) -> bool) -> Option<u8> {
        let (marker, rest) = self.rest.split_first()?;
        wanted(*marker).then(|| {
            self.rest = rest;
            *marker
        })
    }

    /// The next bytes, as many as the array has.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }

    /// A length of 1, 2 or 4 bytes, for sizes from 0 to 2.
    #[inline]
    pub(super) fn length(&mut self, size: u8) -> Result<usize, Fault> {
        Ok(match size {
            0 => self.byte()?.into(),
            1 => u16::from_be_bytes(self.array()?).into(),
            _ => u32::from_be_bytes(self.array()?) as usize,
        })
    }

    #[inline]
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'de [u8], Fault> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    pub(super) fn text(&mut self, length: usize) -> Result<&'de str, Fault> {
        let bytes = self.bytes(length)?;
        // Names mostly are, and that is quicker to see.
        if bytes.is_ascii() {
            // SAFETY: ASCII is UTF-8.
            return Ok(unsafe { std::str::from_utf8_unchecked(bytes) });
        }
        std::str::from_utf8(bytes).map_err(Fault::new)
    }

    /// The length of the map that begins with this marker, if one does.
    #[inline]
    pub(super) fn map(&mut self, marker: u8) -> Result<Option<usize>, Fault> {
        Ok(match marker {
            SHORT_MAP..SHORT_LIST => Some(usize::from(marker & 0xf)),
            MAP_16..=MAP_32 => Some(self.length(1 + marker - MAP_16)?),
            _ => None,
        })
    }

    /// The record that begins here, if one does.
    #[inline]
    pub(super) fn record(&mut self) -> Result<Option<Record<'de>>, Fault> {
        let Some(names) = self.names else { return Ok(None) };
        let (length, high, low, rest) = match self.rest {
            [marker @ SHORT_LIST..SHORT_TEXT, EXTENSION_2, RECORD, high, low, rest @ ..] => ((marker & 0xf).into(), high, low, rest),
            [LIST_16, a, b, EXTENSION_2, RECORD, high, low, rest @ ..] => (u32::from_be_bytes([0, 0, *a, *b]), high, low, rest),
            [LIST_32, a, b, c, d, EXTENSION_2, RECORD, high, low, rest @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]), high, low, rest),
            _ => return Ok(None),
        };
        let shape = names.shape(u16::from_be_bytes([*high, *low]));
        // The number itself is the first part.
        match (shape, (length as usize).checked_sub(1)) {
            (Some(shape), Some(length)) if shape.len() <= length => {
                self.rest = rest;
                Ok(Some((length, names, shape)))
            }
            _ => Err(Fault::new("it refers to names that did not come with it")),
        }
    }

    /// An integer of any width, if one is next.
    pub(super) fn integer(&mut self) -> Result<Option<Integer>, Fault> {
        let rest = self.rest;
        let marker = self.byte()?;
        let unsigned = |value: u64| Some(Integer::Positive(value.into()));
        let signed = |value: i64| Some(u128::try_from(value).map_or(Integer::Negative(value.into()), Integer::Positive));
        Ok(match marker {
            0..0x80 => unsigned(marker.into()),
            UNSIGNED_8..=UNSIGNED_64 => unsigned(self.unsigned(marker)?),
            SIGNED_8..=SIGNED_64 => signed(self.signed(marker)?),
            0xe0..=0xff => signed((marker as i8).into()),
            EXTENSION_16 => match self.byte()? {
                NEGATIVE => Some(Integer::Negative(i128::from_be_bytes(self.array()?))),
                POSITIVE => Some(Integer::Positive(u128::from_be_bytes(self.array()?))),
                _ => return Err(no_marker(marker)),
            },
            _ => {
                self.rest = rest;
                None
            }
        })
    }

    #[inline]
    pub(super) fn unsigned(&mut self, marker: u8) -> Result<u64, Fault> {
        Ok(match marker - UNSIGNED_8 {
            0 => self.byte()?.into(),
            1 => u16::from_be_bytes(self.array()?).into(),
            2 => u32::from_be_bytes(self.array()?).into(),
            _ => u64::from_be_bytes(self.array()?),
        })
    }

    #[inline]
    pub(super) fn signed(&mut self, marker: u8) -> Result<i64, Fault> {
        Ok(match marker - SIGNED_8 {
            0 => i8::from_be_bytes(self.array()?).into(),
            1 => i16::from_be_bytes(self.array()?).into(),
            2 => i32::from_be_bytes(self.array()?).into(),
            _ => i64::from_be_bytes(self.array()?),
        })
    }
}

/// An integer of up to 128 bits, and its sign.
pub(super) enum Integer {
    Negative(i128),
    Positive(u128),
}
