//! From values to MessagePack.
//!
//! Nothing changes silently on the way. `Some(x)` is written as `x` and `None` as nil, so a `Some` whose content is
//! itself nil (`Some(None)`, `Some(())`) would come out as `None` on the other side; it is refused. The lengths that a
//! `Serialize` claims are compared with what it gave. Every level counts, so nothing recurses without end.
//!
//! Each value is serialised once only; that matters to those that attach a descriptor on the way. Structs are maps from
//! names, or with [`Shapes`](super::shapes::Shapes) records.

use super::level::{Fault, Level};
use super::marker::*;
use super::shapes::Shape;
use super::write::{Kind, LIST, MAP, Writer};
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant, Serializer,
};

#[cold]
fn miscounted(claimed: usize, given: usize) -> Fault {
    Fault::new(format_args!("a `Serialize` in it claims {claimed} parts and gives {given}; its implementation must be corrected"))
}

#[cold]
fn holds_nothing() -> Fault {
    Fault::new(
        "it has a `Some` that holds nothing (`Some(None)`, `Some(())`), which would arrive as `None`; use an \
         enum of your own, or `serialize_with` that calls `serialize_none` where the reader knows the difference",
    )
}

/// The place for one value.
pub(super) struct Put<'w, 'a> {
    pub(super) writer: &'w mut Writer<'a>,
    pub(super) level: Level,
}

impl<'w, 'a> Put<'w, 'a> {
    /// Begins a list or map.
    #[inline]
    fn parts(self, claimed: Option<usize>, kind: Kind) -> Result<Parts<'w, 'a>, Fault> {
        let level = self.level.deeper()?;
        let place = self.writer.out.len();
        self.writer.head(claimed.unwrap_or(0), kind)?;
        Ok(Parts { writer: self.writer, level, kind, claimed, place, given: 0, keys: 0 })
    }

    /// Begins a struct.
    #[inline]
    fn fields(self, claimed: usize) -> Result<Fields<'w, 'a>, Fault> {
        let level = self.level.deeper()?;
        let mut place = 0;
        if self.writer.shapes.is_some() && claimed > 0 {
            self.writer.head(claimed.saturating_add(1), LIST)?;
            self.writer.out.extend_from_slice(&[EXTENSION_2, RECORD, 0, 0]);
            place = self.writer.out.len();
        } else {
            self.writer.head(claimed, MAP)?;
        }
        Ok(Fields { writer: self.writer, level, claimed, given: 0, place, shape: Shape::EMPTY })
    }

    /// Begins a variant that has content.
    #[inline]
    fn variant(self, name: &str) -> Result<Put<'w, 'a>, Fault> {
        let level = self.level.deeper()?;
        self.writer.out.push(SHORT_MAP | 1);
        self.writer.text(name)?;
        Ok(Put { writer: self.writer, level })
    }
}

/// The methods for plain values, none of which is nil.
macro_rules! plain {
    ($($method:ident($type:ty): |$writer:ident, $value:ident| $write:expr;)*) => {
        $(
            #[inline]
            fn $method(self, $value: $type) -> Result<(), Fault> {
                let $writer = self.writer;
                $write;
                Ok(())
            }
        )*
    };
}

impl<'w, 'a> Serializer for Put<'w, 'a> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Parts<'w, 'a>;
    type SerializeTuple = Parts<'w, 'a>;
    type SerializeTupleStruct = Parts<'w, 'a>;
    type SerializeTupleVariant = Parts<'w, 'a>;
    type SerializeMap = Parts<'w, 'a>;
    type SerializeStruct = Fields<'w, 'a>;
    type SerializeStructVariant = Fields<'w, 'a>;

    plain! {
        serialize_bool(bool): |writer, value| writer.out.push(if value { TRUE } else { FALSE });
        serialize_i8(i8): |writer, value| writer.signed(value.into());
        serialize_i16(i16): |writer, value| writer.signed(value.into());
        serialize_i32(i32): |writer, value| writer.signed(value.into());
        serialize_i64(i64): |writer, value| writer.signed(value);
        serialize_u8(u8): |writer, value| writer.unsigned(value.into());
        serialize_u16(u16): |writer, value| writer.unsigned(value.into());
        serialize_u32(u32): |writer, value| writer.unsigned(value.into());
        serialize_u64(u64): |writer, value| writer.unsigned(value);
        serialize_f32(f32): |writer, value| {
            let [a, b, c, d] = value.to_bits().to_be_bytes();
            writer.out.extend_from_slice(&[FLOAT_32, a, b, c, d]);
        };
        serialize_f64(f64): |writer, value| {
            let mut bytes = [FLOAT_64; 9];
            bytes[1..].copy_from_slice(&value.to_bits().to_be_bytes());
            writer.out.extend_from_slice(&bytes);
        };
        serialize_char(char): |writer, value| writer.text(value.encode_utf8(&mut [0; 4]))?;
        serialize_str(&str): |writer, value| writer.text(value)?;
        serialize_bytes(&[u8]): |writer, value| {
            writer.length(value.len(), BYTES_8)?;
            writer.out.extend_from_slice(value);
        };
        serialize_unit_struct(&'static str): |writer, _name| writer.out.push(SHORT_LIST);
    }

    fn serialize_i128(self, value: i128) -> Result<(), Fault> {
        if let Ok(value) = i64::try_from(value) {
            return self.serialize_i64(value);
        }
        match u128::try_from(value) {
            Ok(value) => self.serialize_u128(value),
            Err(_) => {
                self.writer.wide(NEGATIVE, value.to_be_bytes());
                Ok(())
            }
        }
    }

    fn serialize_u128(self, value: u128) -> Result<(), Fault> {
        match u64::try_from(value) {
            Ok(value) => self.writer.unsigned(value),
            Err(_) => self.writer.wide(POSITIVE, value.to_be_bytes()),
        }
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Fault> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Fault> {
        self.writer.out.push(NIL);
        Ok(())
    }

    #[inline]
    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Fault> {
        let level = self.level.thinner()?;
        let place = self.writer.out.len();
        value.serialize(Put { writer: &mut *self.writer, level })?;
        // The marker of nil is a value of its own; no other value has it first.
        if self.writer.out.get(place) == Some(&NIL) { Err(holds_nothing()) } else { Ok(()) }
    }

    #[inline]
    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<(), Fault> {
        self.serialize_str(variant)
    }

    /// Writes the content: a newtype around nil is nil.
    #[inline]
    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _name: &'static str, value: &T) -> Result<(), Fault> {
        let level = self.level.thinner()?;
        value.serialize(Put { writer: self.writer, level })
    }

    #[inline]
    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        value.serialize(self.variant(variant)?)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Parts<'w, 'a>, Fault> {
        self.parts(length, LIST)
    }

    #[inline]
    fn serialize_tuple(self, length: usize) -> Result<Parts<'w, 'a>, Fault> {
        self.parts(Some(length), LIST)
    }

    #[inline]
    fn serialize_tuple_struct(self, _name: &'static str, length: usize) -> Result<Parts<'w, 'a>, Fault> {
        self.parts(Some(length), LIST)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Parts<'w, 'a>, Fault> {
        self.variant(variant)?.parts(Some(length), LIST)
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Parts<'w, 'a>, Fault> {
        self.parts(length, MAP)
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, length: usize) -> Result<Fields<'w, 'a>, Fault> {
        self.fields(length)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Fields<'w, 'a>, Fault> {
        self.variant(variant)?.fields(length)
    }
}

/// A list or map that is being written.
pub(super) struct Parts<'w, 'a> {
    writer: &'w mut Writer<'a>,
    /// The level of its parts.
    level: Level,
    kind: Kind,
    /// How many parts it has, if that is known: that is written already.
    claimed: Option<usize>,
    /// Where it begins.
    place: usize,
    given: usize,
    keys: usize,
}

impl Parts<'_, '_> {
    /// Writes the next part.
    #[inline]
    fn part<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Fault> {
        self.given += 1;
        self.inside(value)
    }

    #[inline]
    fn inside<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Fault> {
        value.serialize(Put { writer: &mut *self.writer, level: self.level })
    }

    #[inline]
    fn finish(self) -> Result<(), Fault> {
        match self.claimed {
            Some(claimed) if claimed != self.given => Err(miscounted(claimed, self.given)),
            Some(_) => Ok(()),
            None => self.count(),
        }
    }

    /// Puts the length where it belongs, now that it is known.
    fn count(self) -> Result<(), Fault> {
        let mut head = Vec::new();
        Writer { out: &mut head, shapes: None }.head(self.given, self.kind)?;
        self.writer.out.splice(self.place..=self.place, head);
        Ok(())
    }
}

/// Implements the traits whose parts are plain values.
macro_rules! parts {
    ($($trait:ident::$method:ident)*) => {
        $(
            impl $trait for Parts<'_, '_> {
                type Ok = ();
                type Error = Fault;

                #[inline]
                fn $method<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Fault> {
                    self.part(value)
                }

                #[inline]
                fn end(self) -> Result<(), Fault> {
                    self.finish()
                }
            }
        )*
    };
}

parts! {
    SerializeSeq::serialize_element
    SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field
    SerializeTupleVariant::serialize_field
}

impl SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Fault> {
        self.keys += 1;
        self.inside(key)
    }

    #[inline]
    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Fault> {
        self.part(value)
    }

    #[inline]
    fn end(self) -> Result<(), Fault> {
        if self.keys != self.given {
            return Err(miscounted(self.keys, self.given));
        }
        self.finish()
    }
}

/// A struct that is being written.
pub(super) struct Fields<'w, 'a> {
    writer: &'w mut Writer<'a>,
    /// The level of its fields.
    level: Level,
    claimed: usize,
    given: usize,
    /// Where a record's number ends; 0 for a map.
    place: usize,
    /// What the table says of the fields so far.
    shape: Shape,
}

impl Fields<'_, '_> {
    #[inline(always)]
    fn field<T: ?Sized + Serialize>(&mut self, name: &'static str, value: &T) -> Result<(), Fault> {
        self.given += 1;
        match &mut self.writer.shapes {
            Some(shapes) if self.place > 0 => {
                self.shape = shapes.extend(self.shape, name);
                if self.shape.ended {
                    self.writer.out.push(SHORT_LIST | 2);
                    self.writer.text(name)?;
                }
            }
            _ => self.writer.text(name)?,
        }
        value.serialize(Put { writer: &mut *self.writer, level: self.level })
    }

    #[inline]
    fn finish(self) -> Result<(), Fault> {
        if self.claimed != self.given {
            return Err(miscounted(self.claimed, self.given));
        }
        if let Some(number) = self.writer.out.get_mut(..self.place).and_then(<[u8]>::last_chunk_mut) {
            *number = self.shape.number().to_be_bytes();
        }
        Ok(())
    }
}

/// Implements the traits whose parts have names.
macro_rules! fields {
    ($($trait:ident)*) => {
        $(
            impl $trait for Fields<'_, '_> {
                type Ok = ();
                type Error = Fault;

                #[inline(always)]
                fn serialize_field<T: ?Sized + Serialize>(&mut self, name: &'static str, value: &T) -> Result<(), Fault> {
                    self.field(name, value)
                }

                #[inline]
                fn end(self) -> Result<(), Fault> {
                    self.finish()
                }
            }
        )*
    };
}

fields! { SerializeStruct SerializeStructVariant }
