//! From MessagePack to values.
//!
//! The bytes are not trusted. Whatever they are, they are a value or a [`Fault`]: every level counts in both directions,
//! so a few kilobytes from a peer cannot overflow the stack, and what a list or map says of its own length is cut down to
//! the bytes that there are, so that nobody reserves memory for a claim.
//!
//! A record (see [`shapes`](super::shapes)) is shown as the map from names that it would be without its table, so every
//! type that reads one reads the other.

use super::level::{Fault, Level};
use super::marker::*;
use super::parts::{Extent, Fields, Items, Variant, Word};
use super::read::{Integer, Reader, Record, no_marker, wrong_length};
use serde::de::value::SeqDeserializer;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// The next value in them, at some level.
pub(super) struct Get<'r, 'de> {
    pub(super) reader: &'r mut Reader<'de>,
    pub(super) level: Level,
}

impl<'de> Get<'_, 'de> {
    /// Shows whatever is next. `bytes` says whether bytes are shown as such, or as the list that somebody asks for.
    fn any<V: Visitor<'de>>(self, visitor: V, bytes: bool) -> Result<V::Value, Fault> {
        if let Some(record) = self.reader.record()? {
            return self.fields(record, visitor);
        }
        let reader = &mut *self.reader;
        let marker = reader.byte()?;
        match marker {
            0..SHORT_MAP => visitor.visit_u64(marker.into()),
            SHORT_MAP..SHORT_LIST => self.entries(usize::from(marker & 0xf), visitor),
            SHORT_LIST..SHORT_TEXT => self.items(usize::from(marker & 0xf), visitor),
            SHORT_TEXT..NIL => visitor.visit_borrowed_str(reader.text((marker & 0x1f).into())?),
            NIL => visitor.visit_unit(),
            FALSE | TRUE => visitor.visit_bool(marker == TRUE),
            BYTES_8..=BYTES_32 => {
                let length = reader.length(marker - BYTES_8)?;
                let content = reader.bytes(length)?;
                if bytes { visitor.visit_borrowed_bytes(content) } else { visitor.visit_seq(SeqDeserializer::new(content.iter().copied())) }
            }
            FLOAT_32 => visitor.visit_f32(f32::from_bits(u32::from_be_bytes(reader.array()?))),
            FLOAT_64 => visitor.visit_f64(f64::from_bits(u64::from_be_bytes(reader.array()?))),
            UNSIGNED_8..=UNSIGNED_64 => visitor.visit_u64(reader.unsigned(marker)?),
            SIGNED_8..=SIGNED_64 => visitor.visit_i64(reader.signed(marker)?),
            EXTENSION_16 => match reader.byte()? {
                NEGATIVE => visitor.visit_i128(i128::from_be_bytes(reader.array()?)),
                POSITIVE => visitor.visit_u128(u128::from_be_bytes(reader.array()?)),
                _ => Err(no_marker(marker)),
            },
            TEXT_8..=TEXT_32 => {
                let length = reader.length(marker - TEXT_8)?;
                visitor.visit_borrowed_str(reader.text(length)?)
            }
            LIST_16..=LIST_32 => {
                let length = reader.length(1 + marker - LIST_16)?;
                self.items(length, visitor)
            }
            MAP_16..=MAP_32 => {
                let length = reader.length(1 + marker - MAP_16)?;
                self.entries(length, visitor)
            }
            0xe0.. => visitor.visit_i64((marker as i8).into()),
            _ => Err(no_marker(marker)),
        }
    }

    /// Shows a list.
    #[inline]
    fn items<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        let level = self.level.deeper()?;
        let mut items = Items { reader: self.reader, level, extent: Extent::new(length) };
        let value = visitor.visit_seq(&mut items)?;
        items.extent.end(value)
    }

    /// Shows a map.
    #[inline]
    fn entries<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        let level = self.level.deeper()?;
        let mut items = Items { reader: self.reader, level, extent: Extent::new(length) };
        let value = visitor.visit_map(&mut items)?;
        items.extent.end(value)
    }

    /// Shows a record.
    #[inline]
    fn fields<V: Visitor<'de>>(self, (length, names, shape): Record<'de>, visitor: V) -> Result<V::Value, Fault> {
        let level = self.level.deeper()?;
        let mut fields = Fields { reader: self.reader, level, extent: Extent::new(length), names, shape: shape.iter() };
        let value = visitor.visit_map(&mut fields)?;
        fields.extent.end(value)
    }

    fn whatever<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.any(visitor, true)
    }

    #[inline]
    fn unsigned<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.reader.next_if(|marker| matches!(marker, 0..SHORT_MAP | UNSIGNED_8..=UNSIGNED_64)) {
            Some(marker @ 0..SHORT_MAP) => visitor.visit_u64(marker.into()),
            Some(marker) => visitor.visit_u64(self.reader.unsigned(marker)?),
            None => self.whatever(visitor),
        }
    }

    #[inline]
    fn signed<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.reader.next_if(|marker| matches!(marker, SIGNED_8..=SIGNED_64 | 0xe0..)) {
            Some(marker @ 0xe0..) => visitor.visit_i64((marker as i8).into()),
            Some(marker) => visitor.visit_i64(self.reader.signed(marker)?),
            None => self.unsigned(visitor),
        }
    }

    #[inline]
    fn float_32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.reader.next_if(|marker| marker == FLOAT_32) {
            Some(_) => visitor.visit_f32(f32::from_bits(u32::from_be_bytes(self.reader.array()?))),
            None => self.whatever(visitor),
        }
    }

    #[inline]
    fn float_64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.reader.next_if(|marker| marker == FLOAT_64) {
            Some(_) => visitor.visit_f64(f64::from_bits(u64::from_be_bytes(self.reader.array()?))),
            None => self.whatever(visitor),
        }
    }

    #[inline]
    fn text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.reader.next_if(|marker| matches!(marker, SHORT_TEXT..NIL)) {
            Some(marker) => visitor.visit_borrowed_str(self.reader.text((marker & 0x1f).into())?),
            None => self.whatever(visitor),
        }
    }

    #[inline]
    fn list<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.reader.rest {
            // What begins with an extension of two bytes may be a record.
            [marker @ SHORT_LIST..SHORT_TEXT, rest @ ..] if rest.first() != Some(&EXTENSION_2) => {
                self.reader.rest = rest;
                self.items((marker & 0xf).into(), visitor)
            }
            _ => self.any(visitor, false),
        }
    }

    #[inline]
    fn map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Some(record) = self.reader.record()? {
            return self.fields(record, visitor);
        }
        match self.reader.next_if(|marker| matches!(marker, SHORT_MAP..SHORT_LIST)) {
            Some(marker) => self.entries((marker & 0xf).into(), visitor),
            None => self.any(visitor, false),
        }
    }

    /// One option or newtype further down.
    #[inline]
    fn thinner(self) -> Result<Self, Fault> {
        Ok(Get { level: self.level.thinner()?, ..self })
    }
}

/// The methods that look for one thing first, which is quicker, and show whatever else there is.
macro_rules! expect {
    ($($method:ident($($argument:ty),*): $likely:ident;)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, $(_: $argument,)* visitor: V) -> Result<V::Value, Fault> {
                self.$likely(visitor)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Get<'_, 'de> {
    type Error = Fault;

    expect! {
        deserialize_any(): whatever;
        deserialize_ignored_any(): whatever;
        deserialize_unit(): whatever;
        deserialize_bool(): whatever;
        deserialize_bytes(): whatever;
        deserialize_byte_buf(): whatever;
        deserialize_u8(): unsigned;
        deserialize_u16(): unsigned;
        deserialize_u32(): unsigned;
        deserialize_u64(): unsigned;
        deserialize_i8(): signed;
        deserialize_i16(): signed;
        deserialize_i32(): signed;
        deserialize_i64(): signed;
        deserialize_f32(): float_32;
        deserialize_f64(): float_64;
        deserialize_char(): text;
        deserialize_str(): text;
        deserialize_string(): text;
        deserialize_identifier(): text;
        deserialize_seq(): list;
        deserialize_tuple(usize): list;
        deserialize_tuple_struct(&'static str, usize): list;
        deserialize_map(): map;
        deserialize_struct(&'static str, &'static [&'static str]): map;
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.reader.integer()? {
            Some(Integer::Negative(value)) => visitor.visit_i128(value),
            Some(Integer::Positive(value)) => match i128::try_from(value) {
                Ok(value) => visitor.visit_i128(value),
                Err(_) => Err(Fault::new(format_args!("{value} is too large for an i128"))),
            },
            None => self.any(visitor, true),
        }
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.reader.integer()? {
            Some(Integer::Positive(value)) => visitor.visit_u128(value),
            Some(Integer::Negative(value)) => Err(Fault::new(format_args!("{value} is negative, and a u128 is not"))),
            None => self.any(visitor, true),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.reader.peek()? != NIL {
            return visitor.visit_some(self.thinner()?);
        }
        self.reader.byte()?;
        visitor.visit_none()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match self.reader.peek()? {
            NIL | SHORT_LIST => {
                self.reader.byte()?;
                visitor.visit_unit()
            }
            _ => self.any(visitor, true),
        }
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self.thinner()?)
    }

    /// A variant without content is its name, one with content a map from its name to that.
    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let level = self.level.deeper()?;
        let marker = self.reader.peek()?;
        if !matches!(marker, SHORT_MAP..SHORT_LIST | MAP_16..=MAP_32) {
            return visitor.visit_enum(Word(Get { reader: self.reader, level }));
        }
        self.reader.byte()?;
        match self.reader.map(marker)? {
            Some(1) => visitor.visit_enum(Variant(Get { reader: self.reader, level })),
            length => Err(wrong_length(length.unwrap_or(0))),
        }
    }
}

impl Get<'_, '_> {
    /// Reads nil, the content of a variant that has none.
    pub(super) fn nil(self) -> Result<(), Fault> {
        match self.reader.byte()? {
            NIL => Ok(()),
            marker => Err(Fault::invalid_type(Unexpected::Other(&format!("MessagePack {marker:#04x}")), &"nil")),
        }
    }
}
