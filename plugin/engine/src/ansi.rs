//! Terminal colours in log text (`ESC [ 1;31 m`) are taken out before anything is analysed: they would stand between a
//! rule and the word it looks for. The record itself keeps them.

use std::borrow::Cow;

const ESCAPE: u8 = 0x1b;

/// Whether a message has an escape character. All of it is read, because hardly a message has one, and so a compiler can read as much
/// at once as the machine can: in WebAssembly without vectors, where memchr reads four bytes, that is eight.
fn has_escape(message: &[u8]) -> bool {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, tail) = message.as_chunks::<8>();
    // A byte that is zero has its high bit set by this, and if none is zero no bit is.
    let found = words.iter().fold(0, |found, word| {
        let others = u64::from_ne_bytes(*word) ^ u64::from_ne_bytes([ESCAPE; 8]);
        found | others.wrapping_sub(LOW) & !others & HIGH
    });
    found != 0 || tail.contains(&ESCAPE)
}

/// The message without CSI sequences (ECMA-48, 5.4). Borrowed if there is none; `buffer` is reused from record to record.
pub(crate) fn strip<'a>(message: &'a [u8], buffer: &'a mut Vec<u8>) -> Cow<'a, [u8]> {
    if !has_escape(message) {
        return Cow::Borrowed(message);
    }
    buffer.clear();
    let mut rest = message;
    while let Some(at) = memchr::memchr(ESCAPE, rest) {
        let (before, from) = rest.split_at(at);
        buffer.extend_from_slice(before);
        let Some(parameters) = from.get(2..).filter(|_| from.get(1) == Some(&b'[')) else {
            // Another control sequence, or a lone escape: one blank, so that words stay apart.
            buffer.push(b' ');
            rest = from.get(1..).unwrap_or_default();
            continue;
        };
        let end =
            parameters.iter().position(|byte| !(0x20..=0x3f).contains(byte)).unwrap_or(parameters.len());
        rest = parameters.get(end.saturating_add(1)..).unwrap_or_default();
    }
    buffer.extend_from_slice(rest);
    Cow::Borrowed(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &[u8], plain: &[u8]) {
        assert_eq!(strip(message, &mut vec![9; 3]), plain);
    }

    #[test]
    fn colours_go_and_text_stays() {
        check(b"plain", b"plain");
        check(b"[\x1b[1;31mERROR\x1b[m] x", b"[ERROR] x");
        check(b"\x1b[2J\x1b[Hcleared", b"cleared");
        check(b"a\x1bb", b"a b");
    }

    #[test]
    fn an_escape_is_found_wherever_it_is() {
        for length in 0..40 {
            let message: Vec<u8> = (0..length).map(|at| [0x1a, 0x1c, 0x9b, 0xff, 0][at % 5]).collect();
            assert!(!has_escape(&message), "{message:?}");
            for at in 0..message.len() {
                let mut message = message.clone();
                message[at] = ESCAPE;
                assert!(has_escape(&message), "{message:?}");
            }
        }
    }

    #[test]
    fn cut_sequences_do_no_harm() {
        for broken in [&b"\x1b"[..], b"\x1b[", b"\x1b[1;", b"\x1b[\x1b[m", b"x\x1b[\xff"] {
            strip(broken, &mut Vec::new());
        }
        check(b"x\x1b[1;3", b"x");
    }
}
