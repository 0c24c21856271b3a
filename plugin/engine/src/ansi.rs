//! Terminal colours in log text (`ESC [ 1;31 m`) are taken out before anything is analysed: they would stand between a
//! rule and the word it looks for. The record itself keeps them.

use std::borrow::Cow;

use crate::mask::has_byte;

/// The message without CSI sequences (ECMA-48, 5.4). Borrowed if there is none; `buffer` is reused from record to record.
pub(crate) fn strip<'a>(message: &'a [u8], buffer: &'a mut Vec<u8>) -> Cow<'a, [u8]> {
    const ESCAPE: u8 = 0x1b;
    if !has_byte(message, ESCAPE) {
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
    fn cut_sequences_do_no_harm() {
        for broken in [&b"\x1b"[..], b"\x1b[", b"\x1b[1;", b"\x1b[\x1b[m", b"x\x1b[\xff"] {
            strip(broken, &mut Vec::new());
        }
        check(b"x\x1b[1;3", b"x");
    }
}
