//! Reads msgpack tokens from borrowed bytes: every length is checked against what is there before it is believed.
//! Must not know: events, records, tags.

use rmp::Marker;

use crate::Unreadable;

/// One msgpack value's head; containers are followed by their items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    /// An integer beyond `i64`.
    Big(u64),
    Float(f64),
    /// A str or a bin.
    Text(&'a [u8]),
    Ext(i8, &'a [u8]),
    Array(u32),
    Map(u32),
}

/// A position in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(all: &'a [u8]) -> Self {
        Cursor { all, rest: all }
    }

    pub(crate) fn offset(&self) -> usize {
        self.all.len().saturating_sub(self.rest.len())
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes from an earlier [`Cursor::offset`] up to here.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.all.get(start..self.offset()).unwrap_or_default()
    }

    pub(crate) fn unreadable(&self, reason: &'static str) -> Unreadable {
        Unreadable { offset: self.offset(), reason }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(|| self.unreadable("cut short"))?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], Unreadable> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (bytes, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.unreadable("length beyond the end"))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn text(&mut self, length: impl Into<u32>) -> Result<Token<'a>, Unreadable> {
        self.take(length.into()).map(Token::Text)
    }

    fn ext(&mut self, length: impl Into<u32>) -> Result<Token<'a>, Unreadable> {
        let kind = i8::from_be_bytes(self.array()?);
        self.take(length.into()).map(|bytes| Token::Ext(kind, bytes))
    }

    /// The next token.
    #[inline]
    pub(crate) fn token(&mut self) -> Result<Token<'a>, Unreadable> {
        let [byte] = self.array()?;
        Ok(match Marker::from_u8(byte) {
            Marker::FixStr(length) => return self.text(length),
            Marker::FixPos(value) => Token::Int(value.into()),
            Marker::FixNeg(value) => Token::Int(value.into()),
            Marker::FixMap(length) => Token::Map(length.into()),
            Marker::FixArray(length) => Token::Array(length.into()),
            Marker::Null => Token::Nil,
            Marker::False => Token::Bool(false),
            Marker::True => Token::Bool(true),
            Marker::Str8 | Marker::Bin8 => {
                let length = u8::from_be_bytes(self.array()?);
                return self.text(length);
            }
            Marker::Str16 | Marker::Bin16 => {
                let length = u16::from_be_bytes(self.array()?);
                return self.text(length);
            }
            Marker::Str32 | Marker::Bin32 => {
                let length = u32::from_be_bytes(self.array()?);
                return self.text(length);
            }
            Marker::U8 => Token::Int(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Token::Int(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Token::Int(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => {
                let value = u64::from_be_bytes(self.array()?);
                i64::try_from(value).map_or(Token::Big(value), Token::Int)
            }
            Marker::I8 => Token::Int(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Token::Int(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Token::Int(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Token::Int(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Token::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.array()?)),
            Marker::Array16 => Token::Array(u16::from_be_bytes(self.array()?).into()),
            Marker::Array32 => Token::Array(u32::from_be_bytes(self.array()?)),
            Marker::Map16 => Token::Map(u16::from_be_bytes(self.array()?).into()),
            Marker::Map32 => Token::Map(u32::from_be_bytes(self.array()?)),
            Marker::FixExt1 => return self.ext(1u8),
            Marker::FixExt2 => return self.ext(2u8),
            Marker::FixExt4 => return self.ext(4u8),
            Marker::FixExt8 => return self.ext(8u8),
            Marker::FixExt16 => return self.ext(16u8),
            Marker::Ext8 => {
                let length = u8::from_be_bytes(self.array()?);
                return self.ext(length);
            }
            Marker::Ext16 => {
                let length = u16::from_be_bytes(self.array()?);
                return self.ext(length);
            }
            Marker::Ext32 => {
                let length = u32::from_be_bytes(self.array()?);
                return self.ext(length);
            }
            Marker::Reserved => return Err(self.unreadable("byte 0xc1 is no msgpack")),
        })
    }

    /// Steps over one whole value.
    #[inline]
    pub(crate) fn skip(&mut self) -> Result<(), Unreadable> {
        match self.token()? {
            Token::Array(length) => self.skip_items(u64::from(length)),
            Token::Map(length) => self.skip_items(u64::from(length).saturating_mul(2)),
            _ => Ok(()),
        }
    }

    /// Steps over what a container holds. A loop, so that nesting costs no stack; and since every item takes a byte at
    /// least, a container that claims more items than there are bytes is refused at once.
    pub(crate) fn skip_items(&mut self, mut pending: u64) -> Result<(), Unreadable> {
        while let Some(left) = pending.checked_sub(1) {
            pending = match self.token()? {
                Token::Array(length) => left.saturating_add(length.into()),
                Token::Map(length) => left.saturating_add(u64::from(length).saturating_mul(2)),
                _ => left,
            };
            if pending > self.rest.len() as u64 {
                return Err(self.unreadable("more items claimed than there are bytes"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_marker_is_read_whole_and_one_byte_less_is_refused() {
        let cases: &[(&[u8], Token<'_>)] = &[
            (b"\xc0", Token::Nil),
            (b"\xc3", Token::Bool(true)),
            (b"\x7f", Token::Int(127)),
            (b"\xe0", Token::Int(-32)),
            (b"\xcc\xff", Token::Int(255)),
            (b"\xcd\xff\xff", Token::Int(65_535)),
            (b"\xce\xff\xff\xff\xff", Token::Int(4_294_967_295)),
            (b"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", Token::Int(i64::MAX)),
            (b"\xcf\x80\0\0\0\0\0\0\0", Token::Big(1 << 63)),
            (b"\xd0\xff", Token::Int(-1)),
            (b"\xd1\xff\xfe", Token::Int(-2)),
            (b"\xd2\xff\xff\xff\xfd", Token::Int(-3)),
            (b"\xd3\x80\0\0\0\0\0\0\0", Token::Int(i64::MIN)),
            (b"\xca\x3f\xc0\0\0", Token::Float(1.5)),
            (b"\xcb\x3f\xf8\0\0\0\0\0\0", Token::Float(1.5)),
            (b"\xa2ab", Token::Text(b"ab")),
            (b"\xd9\x02ab", Token::Text(b"ab")),
            (b"\xda\0\x02ab", Token::Text(b"ab")),
            (b"\xdb\0\0\0\x02ab", Token::Text(b"ab")),
            (b"\xc4\x02ab", Token::Text(b"ab")),
            (b"\xc5\0\x02ab", Token::Text(b"ab")),
            (b"\xc6\0\0\0\x02ab", Token::Text(b"ab")),
            (b"\xd4\x05a", Token::Ext(5, b"a")),
            (b"\xd5\x05ab", Token::Ext(5, b"ab")),
            (b"\xd6\x05abcd", Token::Ext(5, b"abcd")),
            (b"\xd7\xffabcdefgh", Token::Ext(-1, b"abcdefgh")),
            (b"\xd8\x05abcdefghabcdefgh", Token::Ext(5, b"abcdefghabcdefgh")),
            (b"\xc7\x02\x05ab", Token::Ext(5, b"ab")),
            (b"\xc8\0\x02\x05ab", Token::Ext(5, b"ab")),
            (b"\xc9\0\0\0\x02\x05ab", Token::Ext(5, b"ab")),
            (b"\x93", Token::Array(3)),
            (b"\xdc\0\x03", Token::Array(3)),
            (b"\xdd\0\0\0\x03", Token::Array(3)),
            (b"\x83", Token::Map(3)),
            (b"\xde\0\x03", Token::Map(3)),
            (b"\xdf\0\0\0\x03", Token::Map(3)),
        ];
        for (bytes, token) in cases {
            let mut cursor = Cursor::new(bytes);
            assert_eq!(cursor.token(), Ok(*token), "{bytes:x?}");
            assert!(cursor.is_at_end(), "{bytes:x?}");
            assert!(Cursor::new(&bytes[..bytes.len() - 1]).token().is_err(), "{bytes:x?}");
        }
        assert!(Cursor::new(b"\xc1").token().is_err());
    }

    #[test]
    fn a_lying_length_is_refused_at_once() {
        for lie in [
            &b"\xdd\xff\xff\xff\xff"[..],
            b"\xdf\xff\xff\xff\xff\xc0",
            b"\xdb\xff\xff\xff\xffab",
            b"\x92\xc0",
        ] {
            assert!(Cursor::new(lie).skip().is_err(), "{lie:x?}");
        }
        // A tower of the largest containers neither overflows the count nor takes long.
        let tower = b"\xdf\xff\xff\xff\xff".repeat(200_000);
        assert!(Cursor::new(&tower).skip().is_err());
    }

    #[test]
    fn nesting_costs_no_stack() {
        let mut deep = vec![0x91; 1_000_000];
        deep.push(0xc0);
        let mut cursor = Cursor::new(&deep);
        assert_eq!(cursor.skip(), Ok(()));
        assert!(cursor.is_at_end());
    }
}
