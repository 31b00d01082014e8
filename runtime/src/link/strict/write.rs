//! The serializer's side: [`Strict`] wraps a serializer whose options and newtypes leave no trace of their own.
//!
//! It learns whether a value was written as nil from what serialising it returns, [`Written`], so a value is
//! serialised once only; that matters to those that attach a descriptor on the way.

use super::{Level, NEGATIVE, POSITIVE};
use rmp_serde::MSGPACK_EXT_STRUCT_NAME;
use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant, Serializer,
};

/// A serializer around `rmp-serde`'s.
pub(crate) struct Strict<S> {
    inner: S,
    level: Level,
}

impl<S> Strict<S> {
    /// Wraps a serializer at the outermost level.
    pub(crate) fn new(inner: S) -> Strict<S> {
        Strict { inner, level: Level::TOP }
    }
}

/// What was written.
pub(crate) struct Written<O> {
    ok: O,
    /// Whether it was nil, and only nil.
    nil: bool,
}

/// Something that is not nil.
fn solid<O>(ok: O) -> Written<O> {
    Written { ok, nil: false }
}

/// A value inside another: serialised strictly, by whatever serializer the inner one uses for it.
struct Inside<'a, T: ?Sized> {
    value: &'a T,
    level: Level,
}

impl<T: ?Sized + Serialize> Serialize for Inside<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Ok(self.value.serialize(Strict { inner: serializer, level: self.level })?.ok)
    }
}

/// The bytes of an extension type.
struct Bytes([u8; 16]);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<S: Serializer> Strict<S> {
    /// Begins a list, map or the like of so many parts; `begin` is given the inner serializer.
    #[inline]
    fn parts<C>(self, claimed: Option<usize>, begin: impl FnOnce(S) -> Result<C, S::Error>) -> Result<Parts<C>, S::Error> {
        let level = self.level.deeper(S::Error::custom)?;
        if claimed.is_some_and(too_long) {
            return Err(overlong());
        }
        Ok(Parts { inner: begin(self.inner)?, claimed, given: 0, level })
    }
}

/// Whether MessagePack has no length for it.
#[inline]
fn too_long(length: usize) -> bool {
    u32::try_from(length).is_err()
}

#[cold]
fn overlong<E: Error>() -> E {
    E::custom("a list, map, text or byte string in it is longer than 4 GiB; send it in parts")
}

/// Delegates the methods for plain values, none of which is nil.
macro_rules! plain {
    ($($method:ident($type:ty))*) => {
        $(
            #[inline]
            fn $method(self, value: $type) -> Result<Self::Ok, S::Error> {
                self.inner.$method(value).map(solid)
            }
        )*
    };
}

impl<S: Serializer> Serializer for Strict<S> {
    type Ok = Written<S::Ok>;
    type Error = S::Error;
    type SerializeSeq = Parts<S::SerializeSeq>;
    type SerializeTuple = Parts<S::SerializeTuple>;
    type SerializeTupleStruct = Parts<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<S::SerializeTupleVariant>;
    type SerializeMap = Parts<S::SerializeMap>;
    type SerializeStruct = Parts<S::SerializeStruct>;
    type SerializeStructVariant = Parts<S::SerializeStructVariant>;

    plain! {
        serialize_bool(bool)
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
        serialize_f32(f32) serialize_f64(f64) serialize_char(char)
        serialize_unit_struct(&'static str)
    }

    fn serialize_i128(self, value: i128) -> Result<Self::Ok, S::Error> {
        if let Ok(value) = i64::try_from(value) {
            self.serialize_i64(value)
        } else if let Ok(value) = u128::try_from(value) {
            self.serialize_u128(value)
        } else {
            let extension = (NEGATIVE, Bytes(value.to_be_bytes()));
            self.inner.serialize_newtype_struct(MSGPACK_EXT_STRUCT_NAME, &extension).map(solid)
        }
    }

    fn serialize_u128(self, value: u128) -> Result<Self::Ok, S::Error> {
        if let Ok(value) = u64::try_from(value) {
            self.serialize_u64(value)
        } else {
            let extension = (POSITIVE, Bytes(value.to_be_bytes()));
            self.inner.serialize_newtype_struct(MSGPACK_EXT_STRUCT_NAME, &extension).map(solid)
        }
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<Self::Ok, S::Error> {
        if too_long(value.len()) {
            return Err(overlong());
        }
        self.inner.serialize_str(value).map(solid)
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<Self::Ok, S::Error> {
        if too_long(value.len()) {
            return Err(overlong());
        }
        self.inner.serialize_bytes(value).map(solid)
    }

    #[inline]
    fn serialize_none(self) -> Result<Self::Ok, S::Error> {
        Ok(Written { ok: self.inner.serialize_none()?, nil: true })
    }

    #[inline]
    fn serialize_unit(self) -> Result<Self::Ok, S::Error> {
        Ok(Written { ok: self.inner.serialize_unit()?, nil: true })
    }

    /// Writes the content, as the inner serializer would, and looks whether that was nil.
    #[inline]
    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Self::Ok, S::Error> {
        let level = self.level.thinner(S::Error::custom)?;
        let written = value.serialize(Strict { inner: self.inner, level })?;
        if written.nil {
            return Err(S::Error::custom(
                "it has a `Some` that holds nothing (`Some(None)`, `Some(())`), which would arrive as `None`; use an \
                 enum of your own, or `serialize_with` that calls `serialize_none` where the reader knows the difference",
            ));
        }
        Ok(written)
    }

    #[inline]
    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<Self::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant).map(solid)
    }

    /// Writes the content, as the inner serializer would: a newtype around nil is nil.
    #[inline]
    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, name: &'static str, value: &T) -> Result<Self::Ok, S::Error> {
        let level = self.level.thinner(S::Error::custom)?;
        if name == MSGPACK_EXT_STRUCT_NAME {
            return self.inner.serialize_newtype_struct(name, &Inside { value, level }).map(solid);
        }
        value.serialize(Strict { inner: self.inner, level })
    }

    #[inline]
    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Self::Ok, S::Error> {
        let value = Inside { value, level: self.level.deeper(S::Error::custom)? };
        self.inner.serialize_newtype_variant(name, index, variant, &value).map(solid)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.parts(length, |inner| inner.serialize_seq(length))
    }

    #[inline]
    fn serialize_tuple(self, length: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.parts(Some(length), |inner| inner.serialize_tuple(length))
    }

    #[inline]
    fn serialize_tuple_struct(self, name: &'static str, length: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.parts(Some(length), |inner| inner.serialize_tuple_struct(name, length))
    }

    #[inline]
    fn serialize_tuple_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.level = self.level.deeper(S::Error::custom)?;
        self.parts(Some(length), |inner| inner.serialize_tuple_variant(name, index, variant, length))
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.parts(length, |inner| inner.serialize_map(length))
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, length: usize) -> Result<Self::SerializeStruct, S::Error> {
        self.parts(Some(length), |inner| inner.serialize_struct(name, length))
    }

    #[inline]
    fn serialize_struct_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.level = self.level.deeper(S::Error::custom)?;
        self.parts(Some(length), |inner| inner.serialize_struct_variant(name, index, variant, length))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// A list, map or the like whose parts are serialised strictly.
pub(crate) struct Parts<C> {
    inner: C,
    claimed: Option<usize>,
    given: usize,
    level: Level,
}

impl<C> Parts<C> {
    /// The next part.
    #[inline]
    fn part<'a, T: ?Sized>(&mut self, value: &'a T) -> Inside<'a, T> {
        self.given += 1;
        Inside { value, level: self.level }
    }

    /// Ends it, if as many parts were given as were claimed: the claim is written already.
    #[inline]
    fn finish<O, E: Error>(self, end: impl FnOnce(C) -> Result<O, E>) -> Result<Written<O>, E> {
        match self.claimed {
            Some(claimed) if claimed != self.given => Err(E::custom(format_args!(
                "a `Serialize` in it claims {claimed} parts and gives {}; its implementation must be corrected",
                self.given
            ))),
            _ => end(self.inner).map(solid),
        }
    }
}

/// Implements the traits whose parts are plain values.
macro_rules! parts {
    ($($trait:ident::$method:ident)*) => {
        $(
            impl<C: $trait> $trait for Parts<C> {
                type Ok = Written<C::Ok>;
                type Error = C::Error;

                #[inline]
                fn $method<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), C::Error> {
                    let part = self.part(value);
                    self.inner.$method(&part)
                }

                #[inline]
                fn end(self) -> Result<Self::Ok, C::Error> {
                    self.finish(C::end)
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

/// Implements the traits whose parts have names.
macro_rules! named_parts {
    ($($trait:ident)*) => {
        $(
            impl<C: $trait> $trait for Parts<C> {
                type Ok = Written<C::Ok>;
                type Error = C::Error;

                #[inline]
                fn serialize_field<T: ?Sized + Serialize>(&mut self, key: &'static str, value: &T) -> Result<(), C::Error> {
                    let part = self.part(value);
                    self.inner.serialize_field(key, &part)
                }

                #[inline]
                fn skip_field(&mut self, key: &'static str) -> Result<(), C::Error> {
                    self.inner.skip_field(key)
                }

                #[inline]
                fn end(self) -> Result<Self::Ok, C::Error> {
                    self.finish(C::end)
                }
            }
        )*
    };
}

named_parts! { SerializeStruct SerializeStructVariant }

impl<C: SerializeMap> SerializeMap for Parts<C> {
    type Ok = Written<C::Ok>;
    type Error = C::Error;

    #[inline]
    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), C::Error> {
        self.inner.serialize_key(&Inside { value: key, level: self.level })
    }

    #[inline]
    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), C::Error> {
        let part = self.part(value);
        self.inner.serialize_value(&part)
    }

    #[inline]
    fn end(self) -> Result<Self::Ok, C::Error> {
        self.finish(C::end)
    }
}
