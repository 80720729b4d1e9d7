//! A hash of whatever serde can take apart, under other names for the same things.
//!
//! What serde calls a sequence or a map counts as a set: the order in it means nothing here.

use std::array::from_fn;
use std::fmt;

use serde::Serialize;
use serde::ser::{self, Serializer};
use uuid::Uuid;

/// So many ways there are to name all things, at most.
const WAYS: usize = 4;

/// One under each way of naming; all are found in one pass.
type Sums = [u64; WAYS];

/// What some names are in each way of naming, wherever they stand; a text by how it begins. The rest has one name.
#[derive(Default)]
pub(super) struct Names {
    pub(super) texts: Vec<(String, [String; WAYS])>,
    pub(super) ids: Vec<(Uuid, [Uuid; WAYS])>,
}

/// The same for values that differ in their names only.
pub(super) fn sum(names: &Names, value: &impl Serialize) -> u64 {
    let sums = value.serialize(Sum(names)).expect("states can be summed");
    sums.into_iter().min().expect("ways to name")
}

fn mix(a: u64, b: u64) -> u64 {
    let x = (a ^ b.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b;
    let x = (x ^ (x >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let x = (x ^ (x >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    x ^ (x >> 32)
}

fn mix_all(a: Sums, b: Sums) -> Sums {
    from_fn(|way| mix(a[way], b[way]))
}

fn bytes(start: u64, bytes: &[u8]) -> u64 {
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    let all = bytes.chunks(8).map(word);
    mix(all.fold(start, mix), bytes.len() as u64)
}

impl Names {
    fn text(&self, text: &str) -> Sums {
        for (from, to) in &self.texts {
            if let Some(rest) = text.strip_prefix(from.as_str()) {
                let rest = bytes(2, rest.as_bytes());
                return from_fn(|way| mix(bytes(1, to[way].as_bytes()), rest));
            }
        }
        [bytes(3, text.as_bytes()); WAYS]
    }

    fn id(&self, id: &[u8]) -> Sums {
        let mut ids = self.ids.iter();
        match ids.find(|(from, _)| id == from.as_bytes()) {
            Some((_, to)) => from_fn(|way| bytes(4, to[way].as_bytes())),
            None => [bytes(4, id); WAYS],
        }
    }
}

#[derive(Clone, Copy)]
struct Sum<'a>(&'a Names);

/// Parts of a whole: in their order, or as a set.
struct Parts<'a> {
    names: &'a Names,
    ordered: bool,
    sum: Sums,
    key: Sums,
}

impl<'a> Sum<'a> {
    fn parts(self, ordered: bool, start: u32) -> Parts<'a> {
        Parts {
            names: self.0,
            ordered,
            sum: [mix(5, start.into()); WAYS],
            key: [0; WAYS],
        }
    }
}

impl Parts<'_> {
    fn add(&mut self, part: Sums) {
        self.sum = if self.ordered {
            mix_all(self.sum, part)
        } else {
            let part = mix_all([6; WAYS], part);
            from_fn(|way| self.sum[way].wrapping_add(part[way]))
        };
    }

    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        let part = value.serialize(Sum(self.names))?;
        self.add(part);
        Ok(())
    }
}

#[derive(Debug)]
struct Never(String);

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Never {}

impl ser::Error for Never {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self(what.to_string())
    }
}

macro_rules! numbers {
    ($($name:ident: $of:ty,)*) => {
        $(fn $name(self, n: $of) -> Result<Sums, Never> {
            Ok([bytes(7, &n.to_le_bytes()); WAYS])
        })*
    };
}

impl<'a> Serializer for Sum<'a> {
    type Ok = Sums;
    type Error = Never;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Parts<'a>;

    numbers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_f32: f32, serialize_f64: f64,
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<Sums, Never> {
        Ok([mix(8, value.into()); WAYS])
    }

    fn serialize_char(self, value: char) -> Result<Sums, Never> {
        Ok([mix(9, u32::from(value).into()); WAYS])
    }

    fn serialize_str(self, value: &str) -> Result<Sums, Never> {
        Ok(self.0.text(value))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Sums, Never> {
        Ok(self.0.id(value))
    }

    fn serialize_none(self) -> Result<Sums, Never> {
        Ok([10; WAYS])
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Sums, Never> {
        Ok(mix_all([11; WAYS], value.serialize(self)?))
    }

    fn serialize_unit(self) -> Result<Sums, Never> {
        Ok([12; WAYS])
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Sums, Never> {
        Ok([13; WAYS])
    }

    fn serialize_unit_variant(self, _: &'static str, n: u32, _: &str) -> Result<Sums, Never> {
        Ok([mix(14, n.into()); WAYS])
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Sums, Never> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        n: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Sums, Never> {
        Ok(mix_all([mix(15, n.into()); WAYS], value.serialize(self)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'a>, Never> {
        Ok(self.parts(false, 0))
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>, Never> {
        Ok(self.parts(true, 0))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, Never> {
        Ok(self.parts(true, 0))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        n: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Never> {
        Ok(self.parts(true, n + 1))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'a>, Never> {
        Ok(self.parts(false, 1))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, Never> {
        Ok(self.parts(true, 0))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        n: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Never> {
        Ok(self.parts(true, n + 1))
    }
}

macro_rules! parts {
    ($($name:ident::$part:ident,)*) => {
        $(impl ser::$name for Parts<'_> {
            type Ok = Sums;
            type Error = Never;

            fn $part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
                self.part(value)
            }

            fn end(self) -> Result<Sums, Never> {
                Ok(self.sum)
            }
        })*
    };
}

macro_rules! fields {
    ($($name:ident,)*) => {
        $(impl ser::$name for Parts<'_> {
            type Ok = Sums;
            type Error = Never;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _: &'static str,
                value: &T,
            ) -> Result<(), Never> {
                self.part(value)
            }

            fn end(self) -> Result<Sums, Never> {
                Ok(self.sum)
            }
        })*
    };
}

parts! {
    SerializeSeq::serialize_element, SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field, SerializeTupleVariant::serialize_field,
}

fields! { SerializeStruct, SerializeStructVariant, }

impl ser::SerializeMap for Parts<'_> {
    type Ok = Sums;
    type Error = Never;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Never> {
        self.key = key.serialize(Sum(self.names))?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        let value = value.serialize(Sum(self.names))?;
        self.add(mix_all(self.key, value));
        Ok(())
    }

    fn end(self) -> Result<Sums, Never> {
        Ok(self.sum)
    }
}
