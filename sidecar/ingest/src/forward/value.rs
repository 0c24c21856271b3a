//! msgpack values at the edge of the wire: takes bytes that may stop anywhere, gives where a value ends and what it is.
//!
//! The codec's own skipping works on records that are there; a stream needs to know "not yet", and must not begin anew
//! with every packet. Nothing here recurses or allocates: nesting and claimed lengths cost nothing.

/// Why bytes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// 0xc1 or a type that does not belong here.
    #[error("byte {offset} is not the msgpack value that belongs there")]
    Unexpected {
        /// Where.
        offset: usize,
    },
    /// The value is, or claims to be, longer than allowed.
    #[error("a value of more than {limit} bytes (frame_bytes)")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The bytes stop within a value that had to be whole.
    #[error("cut short after {length} bytes")]
    CutShort {
        /// How many there were.
        length: usize,
    },
}

/// What a value's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nil,
    Bool(bool),
    Int(i64),
    Float,
    /// String or binary.
    Text,
    Array(u32),
    Map(u32),
    Ext,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    kind: Kind,
    /// Bytes of the head itself.
    bytes: usize,
    /// Bytes that belong to the value after its head.
    payload: usize,
    /// Values that belong to it after that.
    children: u64,
}

/// Reads a head; `Ok(None)` if bytes are missing, `Err(())` for the one byte that msgpack never uses.
fn head(bytes: &[u8]) -> Result<Option<Head>, ()> {
    let Some((&marker, rest)) = bytes.split_first() else { return Ok(None) };
    let number =
        |size: usize| rest.get(..size).map(|b| b.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)));
    let plain = |kind, payload| Some(Head { kind, bytes: 1, payload, children: 0 });
    let sized = |kind, size: usize, extra: usize| {
        number(size).map(|n| Head { kind, bytes: 1 + size, payload: n as usize + extra, children: 0 })
    };
    let array =
        |n: u64, size: usize| Head { kind: Kind::Array(n as u32), bytes: 1 + size, payload: 0, children: n };
    let map = |n: u64, size: usize| Head {
        kind: Kind::Map(n as u32),
        bytes: 1 + size,
        payload: 0,
        children: 2 * n,
    };
    let int = |size: usize, signed: bool| {
        number(size).map(|n| {
            let unused = 64 - 8 * size as u32;
            let value =
                if signed { (n << unused) as i64 >> unused } else { i64::try_from(n).unwrap_or(i64::MAX) };
            Head { kind: Kind::Int(value), bytes: 1 + size, payload: 0, children: 0 }
        })
    };
    Ok(match marker {
        0x00..=0x7f => plain(Kind::Int(i64::from(marker)), 0),
        0x80..=0x8f => Some(map(u64::from(marker & 15), 0)),
        0x90..=0x9f => Some(array(u64::from(marker & 15), 0)),
        0xa0..=0xbf => plain(Kind::Text, usize::from(marker & 31)),
        0xc0 => plain(Kind::Nil, 0),
        0xc1 => return Err(()),
        0xc2 | 0xc3 => plain(Kind::Bool(marker == 0xc3), 0),
        0xc4 | 0xd9 => sized(Kind::Text, 1, 0),
        0xc5 | 0xda => sized(Kind::Text, 2, 0),
        0xc6 | 0xdb => sized(Kind::Text, 4, 0),
        0xc7 => sized(Kind::Ext, 1, 1),
        0xc8 => sized(Kind::Ext, 2, 1),
        0xc9 => sized(Kind::Ext, 4, 1),
        0xca => plain(Kind::Float, 4),
        0xcb => plain(Kind::Float, 8),
        0xcc..=0xcf => int(1 << (marker - 0xcc), false),
        0xd0..=0xd3 => int(1 << (marker - 0xd0), true),
        0xd4..=0xd8 => plain(Kind::Ext, 1 + (1 << (marker - 0xd4))),
        0xdc => number(2).map(|n| array(n, 2)),
        0xdd => number(4).map(|n| array(n, 4)),
        0xde => number(2).map(|n| map(n, 2)),
        0xdf => number(4).map(|n| map(n, 4)),
        0xe0..=0xff => plain(Kind::Int(i64::from(marker as i8)), 0),
    })
}

/// Finds the end of one value in a growing buffer, never reading a byte twice.
#[derive(Debug)]
pub struct Scanner {
    position: usize,
    open: u64,
    limit: usize,
}

impl Scanner {
    /// A scanner for a value of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Scanner { position: 0, open: 1, limit }
    }

    /// Goes on with the buffer, which begins where it began last time. The value's length once it is there; `None`:
    /// incomplete.
    ///
    /// # Errors
    /// If the value is not msgpack, or is or claims to be longer than the limit.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, ValueError> {
        let too_large = ValueError::TooLarge { limit: self.limit };
        while self.open > 0 {
            let Some(rest) = bytes.get(self.position..) else { return Ok(None) };
            let head = head(rest).map_err(|()| ValueError::Unexpected { offset: self.position })?;
            let Some(head) = head else { return Ok(None) };
            let end = self.position.saturating_add(head.bytes).saturating_add(head.payload);
            self.open = self.open - 1 + head.children;
            // Every value that is still to come takes at least one byte.
            if (end as u64).saturating_add(self.open) > self.limit as u64 {
                return Err(too_large);
            }
            self.position = end;
        }
        Ok((self.position <= bytes.len()).then_some(self.position))
    }
}

/// Reads values one after the other from bytes that are whole.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, position: 0 }
    }

    /// What the next value is, without taking it.
    pub(crate) fn peek(&self) -> Result<Kind, ValueError> {
        self.head().map(|head| head.kind)
    }

    /// The error that the next value does not belong here.
    pub(crate) fn unexpected(&self) -> ValueError {
        ValueError::Unexpected { offset: self.position }
    }

    /// Enters an array; how many values follow.
    pub(crate) fn array(&mut self) -> Result<u32, ValueError> {
        match self.head()? {
            Head { kind: Kind::Array(count), bytes, .. } => self.take(bytes).map(|_| count),
            _ => Err(self.unexpected()),
        }
    }

    /// Enters a map; how many pairs follow.
    pub(crate) fn map(&mut self) -> Result<u32, ValueError> {
        match self.head()? {
            Head { kind: Kind::Map(count), bytes, .. } => self.take(bytes).map(|_| count),
            _ => Err(self.unexpected()),
        }
    }

    /// Takes a string or binary.
    pub(crate) fn text(&mut self) -> Result<&'a [u8], ValueError> {
        match self.head()? {
            Head { kind: Kind::Text, bytes, payload, .. } => {
                self.take(bytes)?;
                self.take(payload)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Takes any value, as its bytes.
    pub(crate) fn any(&mut self) -> Result<&'a [u8], ValueError> {
        let rest = self.rest();
        let length = Scanner::new(rest.len()).advance(rest);
        match length {
            Ok(Some(length)) => self.take(length),
            Err(ValueError::Unexpected { offset }) => {
                Err(ValueError::Unexpected { offset: self.position + offset })
            }
            // Within whole bytes, too large can only mean that a length lies.
            _ => Err(self.cut_short()),
        }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    fn head(&self) -> Result<Head, ValueError> {
        head(self.rest()).map_err(|()| self.unexpected())?.ok_or(self.cut_short())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ValueError> {
        let taken = self.rest().get(..length).ok_or(self.cut_short())?;
        self.position += length;
        Ok(taken)
    }

    fn cut_short(&self) -> ValueError {
        ValueError::CutShort { length: self.bytes.len() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_end_byte_by_byte() {
        // [1, {"a": [ext, -3, 2.5]}, bin(3)]
        let value = b"\x93\x01\x81\xa1a\x93\xd7\x00\x01\x02\x03\x04\x05\x06\x07\x08\xfd\xcb\x40\x04\0\0\0\0\0\0\xc4\x03xyz";
        let mut scanner = Scanner::new(100);
        for end in 0..value.len() {
            assert_eq!(scanner.advance(&value[..end]), Ok(None), "{end}");
        }
        assert_eq!(scanner.advance(value), Ok(Some(value.len())));
        assert_eq!(scanner.advance(&[value.as_slice(), b"more"].concat()), Ok(Some(value.len())));
    }

    #[test]
    fn limits_at_one_over_and_ten_times() {
        let text =
            |length: usize| [&[0xda], &(length as u16).to_be_bytes()[..], &vec![b'x'; length]].concat();
        let scan = |length| Scanner::new(1_003).advance(&text(length));
        assert_eq!(scan(1_000), Ok(Some(1_003)));
        assert_eq!(scan(1_001), Err(ValueError::TooLarge { limit: 1_003 }));
        assert_eq!(scan(10_000), Err(ValueError::TooLarge { limit: 1_003 }));
    }

    #[test]
    fn lying_lengths_are_refused_from_the_head_alone() {
        for head in [
            &b"\xdb\xff\xff\xff\xff"[..],
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\xc9\xff\xff\xff\xff",
        ] {
            assert_eq!(
                Scanner::new(8 << 20).advance(head),
                Err(ValueError::TooLarge { limit: 8 << 20 }),
                "{head:?}"
            );
        }
    }

    #[test]
    fn nesting_costs_nothing() {
        let deep = [vec![0x91; 1_000_000], vec![0xc0]].concat();
        assert_eq!(Scanner::new(8 << 20).advance(&deep), Ok(Some(1_000_001)));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_never_panic_and_agree(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
            let mut pieces = Scanner::new(1_000);
            let first = pieces.advance(&bytes[..cut.min(bytes.len())]);
            let whole = Scanner::new(1_000).advance(&bytes);
            match first {
                Ok(None) => prop_assert_eq!(pieces.advance(&bytes), whole),
                decided => prop_assert_eq!(decided, whole),
            }
            let _ = Reader::new(&bytes).any();
        }

        #[test]
        fn integers_are_read_as_they_were_written(number: i64) {
            let mut bytes = Vec::new();
            rmp::encode::write_sint(&mut bytes, number).unwrap();
            prop_assert_eq!(Reader::new(&bytes).peek(), Ok(Kind::Int(number)));
        }
    }
}
