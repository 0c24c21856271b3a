//! Takes literals, gives a table of four-byte windows by which a message shows which of them it may hold, and checks.
//!
//! A window is made lower case and multiplied into a hash, which names one bit of the table: five windows from each
//! eight bytes read, none of which waits for another. Must not know what a literal speaks for.

use super::super::literal::MAX_LITERAL;

/// Words of the table of a set of ordinary size: 32 KiB, which a processor's first cache holds.
pub(super) const FEW: usize = 1 << 13;
/// Words of the table of a very large set.
pub(super) const MANY: usize = 1 << 16;
/// Literals for which a table of so many words is large enough: fewer than one bit in fifty is set.
pub(super) const fn room(words: usize) -> usize {
    words / 2
}
/// Literals that may share a word of the table: bounds what one position of a message can cost.
const MAX_SHARED: usize = 16;
/// The bit that makes an ASCII letter lower case, in each byte.
const LOWER: u64 = u64::from_ne_bytes([0x20; 8]);
/// The bytes that a literal of three bytes has of a window.
const SHORT: u32 = u32::from_le_bytes([0xff, 0xff, 0xff, 0]);

/// Words that ordinary log lines are made of. A literal is better known by a window that does not occur here.
pub(super) const ORDINARY: &str = "the request from user for session connection to server and client with port status response \
    time started starting finished completed success successfully received sending sent message info debug notice \
    warning error failed failure exception at in on of by is was not has been process processing service container \
    application system kernel network address host name file path data cache memory disk thread worker pool queue task \
    job event handler manager controller module version update updated create created delete deleted remove removed \
    open opened close closed read write reading writing load loaded loading connect connected disconnect accepted \
    password authentication login logout access token http https get post put head api json html index code codec size \
    bytes count total number value values type state change changed node cluster instance block blocks packet lost \
    interface device driver daemon root admin default config configuration setting settings initialize initialized \
    register registered check checking running run stop stopped stopping timeout retry again after before during \
    between already exists found unable cannot could would should no such or as an this that returned result results \
    information operation command execution executing scheduled schedule log logging logger level trace thread main \
    java lang org apache com google android python module init reset unload true false null none ok done end begin \
    jan feb mar apr may jun jul aug sep oct nov dec mon tue wed thu fri sat sun warn fatal critical invalid attack \
    last first next previous current old more less than other each every some which when where what only also now then \
    here there both but if else all any one two new same different available active enabled disabled required expected \
    allowed denied permission permitted rejected refused reset locked lock blocked alive dead down up online offline \
    resource resources runtime store stored storage volume mount mounted unmounted partition device devices drive link \
    group groups role rule rules policy policies key keys certificate signed secure security session sessions uid gid \
    pid ppid node nodes core cores slot slots stack buffer buffers table tables row rows column query queries schema \
    database replica primary secondary master slave leader follower election broker topic partition consumer producer \
    terminate terminated terminating kill killed crash crashed reboot rebooted boot booted shutdown interrupted restart \
    restarted recovered recovery backup restore snapshot image images pull pulled push pushed build built deploy test \
    tests passed skipped page pages fault segment address register interrupt signal channel stream streams frame frames";

/// How common each letter is, by its low five bits, in steps of about a factor of two.
const COMMON: [u8; 32] =
    [0, 7, 4, 6, 5, 8, 4, 4, 5, 7, 1, 3, 5, 5, 7, 7, 5, 1, 7, 7, 7, 5, 4, 4, 2, 4, 1, 0, 0, 0, 0, 0];

/// The same for any byte, as log lines have it.
fn common(byte: u8) -> u32 {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' => COMMON.get(usize::from(byte & 0x1f)).copied().unwrap_or_default().into(),
        b' ' | b':' => 8,
        b'0'..=b'9' | b'.' | b',' | b'/' | b'-' | b'=' | b'_' | b'(' | b')' | b'[' | b']' => 7,
        _ => 4,
    }
}

/// Literals by their windows, with a table of `WORDS` words of 32 bits, a power of two.
#[derive(Debug)]
pub(super) struct Windows<const WORDS: usize> {
    table: Box<[u32; WORDS]>,
    /// Where the items of each word's windows begin; the last entry is where they end.
    starts: Vec<u32>,
    items: Vec<Item>,
}

/// A literal, as its window leads to it.
#[derive(Clone, Copy, Debug)]
struct Item {
    window: u32,
    /// The bytes of the window that count.
    mask: u32,
    literal: u32,
    /// Bytes of the literal before the window.
    before: u8,
    length: u8,
    text: [u8; MAX_LITERAL],
}

impl<const WORDS: usize> Windows<WORDS> {
    /// `None` if the literals are so much alike that no choice of windows keeps them apart.
    pub(super) fn new(texts: &[Vec<u8>]) -> Option<Self> {
        let mut table = Box::<[u32; WORDS]>::try_from(vec![0; WORDS].into_boxed_slice()).ok()?;
        let mut shared: Vec<Vec<Item>> = vec![Vec::new(); WORDS];
        let mut usual: Vec<u32> = ORDINARY.as_bytes().windows(4).filter_map(window).collect();
        usual.sort_unstable();
        for (literal, text) in (0u32..).zip(texts) {
            let (before, window, mask) = choose::<WORDS>(text, &usual, &shared);
            let length = u8::try_from(text.len()).ok()?;
            let mut item = Item { window, mask, literal, before, length, text: [0; MAX_LITERAL] };
            item.text.get_mut(..text.len())?.copy_from_slice(text);
            // What follows three bytes is not known: they are put under all that may follow.
            let fourths = if mask == SHORT { 0..=u8::MAX } else { 0..=0 };
            for fourth in fourths {
                let (word, bit) = place::<WORDS>(window | u32::from(fourth) << 24 | LOWER as u32);
                let items = shared.get_mut(word)?;
                if items.last().is_none_or(|last| last.literal != literal) {
                    items.push(item);
                }
                if items.len() > MAX_SHARED {
                    return None;
                }
                *table.get_mut(word)? |= 1 << bit;
            }
        }
        let mut windows = Windows { table, starts: vec![0], items: Vec::new() };
        for items in shared {
            windows.items.extend(items);
            windows.starts.push(u32::try_from(windows.items.len()).ok()?);
        }
        Some(windows)
    }

    /// Calls `found` with the number of every literal that occurs, each time it does.
    pub(super) fn each(&self, message: &[u8], mut found: impl FnMut(usize)) {
        let mut at = 0;
        while let Some(word) = message.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_le_bytes(*word) | LOWER;
            // One branch for five windows: most are nobody's.
            let marks = [0, 8, 16, 24, 32].map(|place| self.mark((word >> place) as u32));
            if marks.iter().fold(0, |all, mark| all | mark) & 1 != 0 {
                self.check(word, at, message, &mut found);
            }
            at += 5;
        }
        // At most seven bytes are left, which are five windows that have three bytes at least.
        let rest = message.get(at..).unwrap_or_default();
        let word = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        self.check(word | LOWER, at, message, &mut found);
    }

    /// The lowest bit says whether the window may be somebody's.
    #[inline(always)]
    fn mark(&self, window: u32) -> u32 {
        let (word, bit) = place::<WORDS>(window);
        self.table.get(word).map_or(0, |word| word.wrapping_shr(bit))
    }

    /// Compares the literals of each window that begins in the word's first five bytes with the message around it.
    #[inline(never)]
    fn check(&self, word: u64, at: usize, message: &[u8], found: &mut impl FnMut(usize)) {
        for ahead in 0..5 {
            let window = (word >> (8 * ahead)) as u32;
            if self.mark(window) & 1 == 0 {
                continue;
            }
            let (slot, _) = place::<WORDS>(window);
            let bound = |slot: usize| self.starts.get(slot).map_or(0, |start| *start as usize);
            let items = self.items.get(bound(slot)..bound(slot + 1)).unwrap_or_default();
            for item in items.iter().filter(|item| window & item.mask == item.window) {
                let text = item.text.get(..usize::from(item.length)).unwrap_or_default();
                let from = (at + ahead).checked_sub(usize::from(item.before));
                let there = from.and_then(|from| message.get(from..)).and_then(|rest| rest.get(..text.len()));
                if there.is_some_and(|there| there.eq_ignore_ascii_case(text)) {
                    found(item.literal as usize);
                }
            }
        }
    }
}

/// The rarest window of a text, after how many bytes it begins, and which of its bytes count: of those that ordinary
/// text has least the one that is least shared, then that of the least common letters.
fn choose<const WORDS: usize>(text: &[u8], usual: &[u32], shared: &[Vec<Item>]) -> (u8, u32, u32) {
    let times = |window| usual.partition_point(|it| *it <= window) - usual.partition_point(|it| *it < window);
    let choices =
        (0u8..).zip(text.windows(4)).filter_map(|(before, bytes)| Some((before, bytes, window(bytes)?)));
    let best = choices.min_by_key(|(_, bytes, window)| {
        let letters: u32 = bytes.iter().map(|byte| common(*byte)).sum();
        (times(*window), shared.get(place::<WORDS>(*window).0).map_or(0, Vec::len), letters)
    });
    let short =
        || text.iter().rev().fold(0, |window, byte| window << 8 | u32::from(*byte)) | LOWER as u32 & SHORT;
    best.map_or_else(|| (0, short(), SHORT), |(before, _, window)| (before, window, u32::MAX))
}

/// Word and bit of a window, by Knuth's multiplicative hash: its high bits depend on all bits of the window.
#[inline(always)]
fn place<const WORDS: usize>(window: u32) -> (usize, u32) {
    let hash = window.wrapping_mul(0x9e37_79b1);
    let rest = u32::BITS - WORDS.trailing_zeros();
    ((hash >> rest) as usize, hash >> (rest - 5) & 31)
}

/// The first four bytes as a window; `None` if there are fewer.
fn window(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) | LOWER as u32)
}
