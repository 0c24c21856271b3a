//! The host's name, where it can be read without asking anybody: on Linux, and not within a sandbox that does not show it.

use std::io::Read;

use oddline_engine::MAX_NODE_BYTES;

/// Where the kernel says it.
const FILE: &str = "/proc/sys/kernel/hostname";

/// The name; empty if it cannot be read.
pub(crate) fn name() -> String {
    let mut text = Vec::new();
    let most = MAX_NODE_BYTES as u64;
    // Without a name counts are still counts.
    let read = std::fs::File::open(FILE).and_then(|file| file.take(most).read_to_end(&mut text));
    read.map(|_| plain(&text)).unwrap_or_default()
}

/// The part that the option `node` would take.
fn plain(text: &[u8]) -> String {
    let is_plain = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_.-".contains(*byte);
    text.trim_ascii().iter().take_while(is_plain).map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain_and_bounded() {
        assert_eq!(plain(b"edge-7.example\n"), "edge-7.example");
        assert_eq!(plain(b"edge\x1b[2J"), "edge");
        assert_eq!(plain(b"\xff"), "");
        assert!(name().len() <= MAX_NODE_BYTES);
    }
}
