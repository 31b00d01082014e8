//! The parts of what is being read: of lists, maps, records and enums.

use super::deserializer::Get;
use super::level::{Fault, Level};
use super::marker::SHORT_LIST;
use super::names::Names;
use super::read::{Reader, no_marker, wrong_length};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor};
use std::slice::Iter;

/// How many parts there are, and how many of them are left.
pub(super) struct Extent {
    length: usize,
    left: usize,
}

impl Extent {
    #[inline]
    pub(super) fn new(length: usize) -> Extent {
        Extent { length, left: length }
    }

    /// Whether there is one more, which is then taken.
    #[inline]
    fn next(&mut self) -> bool {
        let more = self.left > 0;
        self.left -= usize::from(more);
        more
    }

    /// What there may be, as each part has a byte at least.
    #[inline]
    fn hint(&self, reader: &Reader<'_>) -> Option<usize> {
        Some(self.left.min(reader.rest.len()))
    }

    /// The value, if all parts were taken.
    #[inline]
    pub(super) fn end<T>(&self, value: T) -> Result<T, Fault> {
        if self.left == 0 { Ok(value) } else { Err(wrong_length(self.length)) }
    }
}

/// The parts of a list or a map.
pub(super) struct Items<'r, 'de> {
    pub(super) reader: &'r mut Reader<'de>,
    pub(super) level: Level,
    pub(super) extent: Extent,
}

impl<'de> Items<'_, 'de> {
    #[inline]
    fn get(&mut self) -> Get<'_, 'de> {
        Get { reader: self.reader, level: self.level }
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        if self.extent.next() { seed.deserialize(self.get()).map(Some) } else { Ok(None) }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.extent.hint(self.reader)
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        if self.extent.next() { seed.deserialize(self.get()).map(Some) } else { Ok(None) }
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.get())
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.extent.hint(self.reader)
    }
}

/// The fields of a record. Those that are not in its shape are lists of a name and a value.
pub(super) struct Fields<'r, 'de> {
    pub(super) reader: &'r mut Reader<'de>,
    pub(super) level: Level,
    pub(super) extent: Extent,
    pub(super) names: &'de Names,
    pub(super) shape: Iter<'de, u16>,
}

impl<'de> MapAccess<'de> for Fields<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        if !self.extent.next() {
            return Ok(None);
        }
        if let Some(name) = self.shape.next().and_then(|index| self.names.name(*index)) {
            return seed.deserialize(Name { name, level: self.level }).map(Some);
        }
        match self.reader.array()? {
            [marker] if marker == SHORT_LIST | 2 => seed.deserialize(Get { reader: self.reader, level: self.level }).map(Some),
            [marker] => Err(no_marker(marker)),
        }
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(Get { reader: self.reader, level: self.level })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.extent.hint(self.reader)
    }
}

/// A field's name from the table, shown as the text that it would be in a map.
struct Name<'de> {
    name: &'de str,
    level: Level,
}

impl<'de> Deserializer<'de> for Name<'de> {
    type Error = Fault;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.name)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let level = self.level.thinner()?;
        visitor.visit_some(Name { level, ..self })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        let level = self.level.thinner()?;
        visitor.visit_newtype_struct(Name { level, ..self })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(Word(self))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// A variant that is only its name.
pub(super) struct Word<D>(pub(super) D);

impl<'de, D: Deserializer<'de, Error = Fault>> EnumAccess<'de> for Word<D> {
    type Error = Fault;
    type Variant = NoContent;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, NoContent), Fault> {
        Ok((seed.deserialize(self.0)?, NoContent))
    }
}

/// What comes after the name of such a variant: nothing.
pub(super) struct NoContent;

impl<'de> VariantAccess<'de> for NoContent {
    type Error = Fault;

    #[inline]
    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, Fault> {
        Err(Fault::invalid_type(Unexpected::UnitVariant, &"newtype variant"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, _visitor: V) -> Result<V::Value, Fault> {
        Err(Fault::invalid_type(Unexpected::UnitVariant, &"tuple variant"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], _visitor: V) -> Result<V::Value, Fault> {
        Err(Fault::invalid_type(Unexpected::UnitVariant, &"struct variant"))
    }
}

/// A variant's name and its content.
pub(super) struct Variant<'r, 'de>(pub(super) Get<'r, 'de>);

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;
    type Variant = Self;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Fault> {
        let name = seed.deserialize(Get { reader: &mut *self.0.reader, level: self.0.level })?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn unit_variant(self) -> Result<(), Fault> {
        self.0.nil()
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.0)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.0.deserialize_tuple(length, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.0.deserialize_struct("", fields, visitor)
    }
}
