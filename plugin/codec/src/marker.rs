//! Takes a record's tag, message and verdict, gives a marker that only a holder of the secret can make; and checks it.
//!
//! The marker says "this record has been on the detour with this outcome". It covers what survives a shipper's
//! re-encoding: route, message text, template, level and status, each with its length in front, so that no two records
//! share an input. Must not know: files, hosts, where the marker stands in a record.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use oddline_engine::{Level, Status, TemplateId};
use sha2::Sha256;

type Code = Hmac<Sha256>;

const DOMAIN: &[u8] = b"oddline marker 1";
const SECRET_BYTES: usize = 32;

/// The key that plugin and sidecar share through the advice directory.
#[derive(Clone)]
pub struct Secret(Code);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A secret file that holds no secret. Its content is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "secret has {bytes} bytes, not 64 hex digits and a newline; remove it and the sidecar makes a new one"
)]
pub struct SecretError {
    /// Its length.
    pub bytes: usize,
}

impl Secret {
    /// Reads a secret file: 64 hex digits, and a newline or not.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn parse(text: &[u8]) -> Result<Secret, SecretError> {
        let error = SecretError { bytes: text.len() };
        let key = unhex(text.strip_suffix(b"\n").unwrap_or(text)).ok_or(error)?;
        Code::new_from_slice(&key).map(Secret).map_err(|_| error)
    }

    /// The content of a secret file for 32 random bytes.
    pub fn file(random: &[u8; SECRET_BYTES]) -> String {
        hex(random) + "\n"
    }
}

/// The marker of a record: 64 hex digits.
pub fn sign(
    secret: &Secret,
    tag: &[u8],
    message: &[u8],
    template_id: TemplateId,
    level: Level,
    status: Status,
) -> String {
    hex(&code(secret, tag, message, template_id, level, status).finalize().into_bytes())
}

/// Whether a marker was made by a holder of the secret for this very record. Takes the same time whatever it differs in.
pub fn verify(
    secret: &Secret,
    tag: &[u8],
    message: &[u8],
    template_id: TemplateId,
    level: Level,
    status: Status,
    marker: &[u8],
) -> bool {
    unhex(marker).is_some_and(|marker| {
        code(secret, tag, message, template_id, level, status).verify_slice(&marker).is_ok()
    })
}

fn code(
    secret: &Secret,
    tag: &[u8],
    message: &[u8],
    template_id: TemplateId,
    level: Level,
    status: Status,
) -> Code {
    let mut code = secret.0.clone();
    let id = template_id.0.to_be_bytes();
    for part in [DOMAIN, tag, message, &id, level.as_str().as_bytes(), status.as_str().as_bytes()] {
        code.update(&(part.len() as u64).to_be_bytes());
        code.update(part);
    }
    code
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn unhex(text: &[u8]) -> Option<[u8; SECRET_BYTES]> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let mut bytes = [0; SECRET_BYTES];
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Secret {
        Secret::parse(Secret::file(&[byte; 32]).as_bytes()).unwrap()
    }

    #[test]
    fn a_marker_holds_for_its_record_only() {
        let key = secret(7);
        let (id, level, status) = (TemplateId(5), Level::High, Status::Confirmed);
        let marker = sign(&key, b"app.web", b"disk full", id, level, status);
        assert_eq!(marker.len(), 64);
        let check = |tag: &[u8], message: &[u8], id, level, status| {
            verify(&key, tag, message, id, level, status, marker.as_bytes())
        };
        assert!(check(b"app.web", b"disk full", id, level, status));
        assert!(!check(b"app.we", b"disk full", id, level, status));
        assert!(!check(b"app.webd", b"isk full", id, level, status), "lengths are part of it");
        assert!(!check(b"app.web", b"disk full ", id, level, status));
        assert!(!check(b"app.web", b"disk full", TemplateId(6), level, status));
        assert!(!check(b"app.web", b"disk full", id, Level::Low, status));
        assert!(!check(b"app.web", b"disk full", id, level, Status::Cleared));
        assert!(!verify(&secret(8), b"app.web", b"disk full", id, level, status, marker.as_bytes()));
    }

    #[test]
    fn odd_markers_do_not_verify() {
        let marker = sign(&secret(7), b"t", b"m", TemplateId(0), Level::None, Status::Cleared);
        let check = |marker: &str| {
            verify(&secret(7), b"t", b"m", TemplateId(0), Level::None, Status::Cleared, marker.as_bytes())
        };
        assert!(check(&marker));
        let mut flipped = marker.clone().into_bytes();
        flipped[0] ^= 1;
        for odd in [
            "",
            &marker[1..],
            &format!("{marker}0"),
            &format!("{marker}00"),
            &marker.repeat(10),
            &"é".repeat(32),
        ] {
            assert!(!check(odd), "{odd}");
        }
        assert!(!check(std::str::from_utf8(&flipped).unwrap()));
    }

    #[test]
    fn secrets_are_64_hex_digits() {
        assert!(Secret::parse("0f".repeat(32).as_bytes()).is_ok());
        assert!(Secret::parse("0F".repeat(32).as_bytes()).is_ok());
        for bad in [
            "",
            "\n",
            &"0f".repeat(31),
            &"0f".repeat(33),
            &"0g".repeat(32),
            &format!("{}\r\n", "0f".repeat(32)),
        ] {
            assert_eq!(Secret::parse(bad.as_bytes()).unwrap_err().bytes, bad.len());
        }
        assert_eq!(format!("{:?}", secret(1)), "Secret(..)");
    }
}
