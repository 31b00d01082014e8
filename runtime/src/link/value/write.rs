//! MessagePack's values as bytes, each as short as it can be.

use super::level::Fault;
use super::marker::*;
use super::shapes::Shapes;

/// Where values are written to.
pub(super) struct Writer<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// Makes structs records.
    pub(super) shapes: Option<&'a mut Shapes>,
}

impl Writer<'_> {
    #[inline]
    pub(super) fn unsigned(&mut self, value: u64) {
        if value < 0x80 {
            return self.out.push(value as u8);
        }
        let size = u8::from(value > 0xff) + u8::from(value > 0xffff) + u8::from(value > 0xffff_ffff);
        self.sized(UNSIGNED_8, size, value);
    }

    #[inline]
    pub(super) fn signed(&mut self, value: i64) {
        if value >= -0x20 {
            if value >= 0 {
                self.unsigned(value as u64)
            } else {
                self.out.push(value as u8)
            }
            return;
        }
        let size = u8::from(value < -0x80) + u8::from(value < -0x8000) + u8::from(value < -0x8000_0000);
        self.sized(SIGNED_8, size, value as u64);
    }

    /// Appends the marker and the low 1, 2, 4 or 8 bytes of the value, for sizes from 0 to 3. Always nine bytes are
    /// copied, as that is quicker than to choose how many.
    #[inline]
    fn sized(&mut self, smallest: u8, size: u8, value: u64) {
        let mut bytes = [smallest + size; 9];
        let width = 1 << size;
        bytes[1..].copy_from_slice(&(value << (64 - 8 * width)).to_be_bytes());
        let length = self.out.len();
        self.out.extend_from_slice(&bytes);
        self.out.truncate(length + 1 + width);
    }

    #[inline]
    pub(super) fn text(&mut self, text: &str) -> Result<(), Fault> {
        match text.len() {
            length @ 0..0x20 => self.out.push(SHORT_TEXT | length as u8),
            length => self.length(length, TEXT_8)?,
        }
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Appends the length of text or bytes.
    pub(super) fn length(&mut self, length: usize, smallest: u8) -> Result<(), Fault> {
        let length = u32::try_from(length).map_err(|_| overlong())?;
        let size = u8::from(length > 0xff) + u8::from(length > 0xffff);
        self.sized(smallest, size, length.into());
        Ok(())
    }

    /// Appends the length of a list or map.
    #[inline]
    pub(super) fn head(&mut self, length: usize, kind: Kind) -> Result<(), Fault> {
        if length < 0x10 {
            self.out.push(kind.short | length as u8);
            return Ok(());
        }
        let length = u32::try_from(length).map_err(|_| overlong())?;
        // As if the next smaller size were there: these two begin with lengths of two bytes.
        self.sized(kind.wide - 1, 1 + u8::from(length > 0xffff), length.into());
        Ok(())
    }

    pub(super) fn wide(&mut self, tag: u8, bytes: [u8; 16]) {
        self.out.extend_from_slice(&[EXTENSION_16, tag]);
        self.out.extend_from_slice(&bytes);
    }
}

#[cold]
fn overlong() -> Fault {
    Fault::new("a list, map, text or byte string in it is longer than 4 GiB; send it in parts")
}

/// How a list or map begins.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    short: u8,
    wide: u8,
}

pub(super) const LIST: Kind = Kind { short: SHORT_LIST, wide: LIST_16 };
pub(super) const MAP: Kind = Kind { short: SHORT_MAP, wide: MAP_16 };
