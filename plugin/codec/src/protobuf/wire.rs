//! Protobuf's wire format: a message's fields one by one as borrowed bytes, and fields appended to bytes. Every length is
//! checked against what is there before it is believed. Must not know: what a message means.

use crate::Unreadable;

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Wire<'a>,
    /// Where it begins in the message, its key included ...
    pub(crate) start: usize,
    /// ... and ends.
    pub(crate) end: usize,
}

/// A field's value, by wire type. Groups, which proto3 has not, are refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Field<'a> {
    /// Text, bytes or a message.
    pub(crate) fn bytes(&self) -> Option<&'a [u8]> {
        if let Wire::Bytes(bytes) = self.value { Some(bytes) } else { None }
    }

    /// The same under this number.
    pub(crate) fn bytes_of(&self, number: u32) -> Option<&'a [u8]> {
        self.bytes().filter(|_| self.number == number)
    }
}

/// The fields of a message in the order in which they are written. After an error it ends.
pub(crate) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { all: message, rest: message }
}

/// See [`fields`].
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let start = self.offset();
        Some(self.field(start).inspect_err(|_| self.rest = &[]))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self, start: usize) -> Result<Field<'a>, Unreadable> {
        let unreadable = |reason| Unreadable { offset: start, reason };
        let key = self.varint().ok_or(unreadable("cut short"))?;
        let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or(unreadable("field number out of range"))?;
        let value = match key & 7 {
            0 => self.varint().map(Wire::Varint),
            1 => self.array().map(u64::from_le_bytes).map(Wire::Fixed64),
            2 => self.delimited().map(Wire::Bytes),
            5 => self.array().map(u32::from_le_bytes).map(Wire::Fixed32),
            _ => return Err(unreadable("wire type that is not supported")),
        };
        let value = value.ok_or(unreadable("cut short"))?;
        Ok(Field { number, value, start, end: self.offset() })
    }

    fn offset(&self) -> usize {
        self.all.len().saturating_sub(self.rest.len())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for (index, (byte, shift)) in self.rest.iter().zip((0..64).step_by(7)).enumerate() {
            // The tenth byte has one bit left.
            if shift == 63 && *byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(index.saturating_add(1)..)?;
                return Some(value);
            }
        }
        None
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn delimited(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }
}

/// Appends a field that is text, bytes or a message.
pub(crate) fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_head(number, bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Appends what stands before so many bytes of a field.
pub(crate) fn put_head(number: u32, length: usize, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(length as u64, out);
}

/// Appends a 64-bit floating-point number.
pub(crate) fn put_double(number: u32, value: f64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 1, out);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_wire_type_is_read() {
        let message = b"\x08\x96\x01\x11\0\0\0\0\0\0\xf0\x3f\x1a\x02hi\x25\x07\0\0\0\xa2\x01\0";
        let read: Vec<_> = fields(message).map(Result::unwrap).collect();
        let values: Vec<_> = read.iter().map(|field| (field.number, field.value)).collect();
        assert_eq!(
            values,
            [
                (1, Wire::Varint(150)),
                (2, Wire::Fixed64(1f64.to_bits())),
                (3, Wire::Bytes(b"hi")),
                (4, Wire::Fixed32(7)),
                (20, Wire::Bytes(b""))
            ]
        );
        assert!(read.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!(read[4].end, message.len());
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for (message, reason) in [
            (&b"\x0a\x03ab"[..], "cut short"),
            (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "cut short"),
            (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "cut short"),
            (b"\x80", "cut short"),
            (b"\x11\0\0", "cut short"),
            (b"\x02\0", "field number out of range"),
            (b"\x0b\x0c", "wire type that is not supported"),
        ] {
            let read: Vec<_> = fields(message).collect();
            assert_eq!(read, [Err(Unreadable { offset: 0, reason })], "{message:x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_put_is_read(number in 1u32..1 << 29, bytes in proptest::collection::vec(any::<u8>(), 0..300), double: f64) {
            let mut message = Vec::new();
            put_bytes(number, &bytes, &mut message);
            put_double(number, double, &mut message);
            let read: Vec<_> = fields(&message).map(|field| field.unwrap().value).collect();
            prop_assert_eq!(read, [Wire::Bytes(&bytes), Wire::Fixed64(double.to_bits())]);
        }

        #[test]
        fn any_bytes_end(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(fields(&message).count() <= message.len());
        }
    }
}
