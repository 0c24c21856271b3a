//! Decompression that cannot be made to explode: takes compressed bytes and two limits, gives bytes or a refusal.

use std::io::{self, BufReader, Read};

use super::frame::Compression;
use crate::Limits;

/// zstd window of at most 8 MiB (2^23), which is what its highest ordinary level uses.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Why compressed data is refused.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// It becomes more than allowed.
    #[error("compressed data of {from} bytes becomes more than {limit} bytes ({name})")]
    TooLarge {
        /// Compressed.
        from: usize,
        /// Most it may become.
        limit: usize,
        /// Which limit that is.
        name: &'static str,
    },
    /// It is not valid, or cut short.
    #[error("compressed data is not valid: {0}")]
    Invalid(#[from] io::Error),
}

/// Most that so many compressed bytes may become, and the name of the limit.
pub fn bound(from: usize, limits: &Limits) -> (usize, &'static str) {
    let by_ratio = from.saturating_mul(limits.expansion_ratio);
    if by_ratio < limits.expanded_bytes {
        (by_ratio, "expansion_ratio")
    } else {
        (limits.expanded_bytes, "expanded_bytes")
    }
}

/// Expands, growing with what really comes out.
///
/// # Errors
/// If the data is not valid or becomes more than the limits allow.
pub fn expand(compression: Compression, data: &[u8], limits: &Limits) -> Result<Vec<u8>, ExpandError> {
    let (limit, name) = bound(data.len(), limits);
    let mut out = Vec::new();
    let room = limit as u64 + 1;
    match compression {
        Compression::Gzip => flate2::read::MultiGzDecoder::new(data).take(room).read_to_end(&mut out)?,
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(BufReader::new(data))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            decoder.take(room).read_to_end(&mut out)?
        }
    };
    if out.len() > limit {
        return Err(ExpandError::TooLarge { from: data.len(), limit, name });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn pack(compression: Compression, data: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Gzip => gzip(data),
            Compression::Zstd => zstd::encode_all(data, 19).unwrap(),
        }
    }

    #[test]
    fn both_kinds_at_the_limit_one_over_and_ten_times() {
        let limits = Limits { expanded_bytes: 10_000, expansion_ratio: 1_000_000, ..Limits::default() };
        for kind in [Compression::Gzip, Compression::Zstd] {
            let expanded =
                |length: usize| expand(kind, &pack(kind, &vec![7; length]), &limits).map(|out| out.len());
            assert_eq!(expanded(10_000).unwrap(), 10_000);
            assert!(
                expanded(10_001).unwrap_err().to_string().ends_with("more than 10000 bytes (expanded_bytes)")
            );
            assert!(expanded(100_000).is_err());
        }
    }

    #[test]
    fn a_bomb_is_stopped_by_the_ratio() {
        let limits = Limits { expansion_ratio: 100, ..Limits::default() };
        for kind in [Compression::Gzip, Compression::Zstd] {
            let bomb = pack(kind, &vec![0; 30 << 20]);
            assert!(expand(kind, &bomb, &limits).unwrap_err().to_string().ends_with("(expansion_ratio)"));
        }
    }

    #[test]
    fn several_members_are_one_stream_and_a_cut_one_is_refused() {
        for kind in [Compression::Gzip, Compression::Zstd] {
            let two = [pack(kind, b"one,"), pack(kind, b"two")].concat();
            assert_eq!(expand(kind, &two, &Limits::default()).unwrap(), b"one,two");
            assert!(expand(kind, &two[..two.len() - 3], &Limits::default()).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = expand(Compression::Gzip, &[b"\x1f\x8b\x08", bytes.as_slice()].concat(), &Limits::default());
            let _ = expand(Compression::Zstd, &[b"\x28\xb5\x2f\xfd", bytes.as_slice()].concat(), &Limits::default());
        }
    }
}
