//! Takes literals, gives a table of four-byte windows by which a message shows which of them it may hold.
//!
//! A window is made lower case and multiplied into a hash, which names one bit of the table: five windows from each
//! eight bytes read, none of which waits for another. Where a bit is set, up to eight bytes around the window are
//! compared. Literals with the same eight bytes are one key, so that the branches of a pattern (`failed`, `failure`)
//! cost one comparison. Must not know what a literal speaks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use hashbrown::HashMap;

/// Words of the tables: 1 KiB for a field's few values, 64 KiB for a set of ordinary size (a smaller one costs more in
/// what it marks wrongly than it saves in cache), and what four and sixteen times as many rules need.
pub(super) const FEW: usize = 1 << 8;
pub(super) const SOME: usize = 1 << 14;
pub(super) const MANY: usize = 1 << 16;
pub(super) const MOST: usize = 1 << 18;
/// Of so many bits of a table one may be set, else too many windows of a message look like somebody's.
const SPARSE: usize = 32;
/// Keys that may share a word of the table: bounds what one position of a message can cost.
const MAX_SHARED: usize = 32;
/// Keys that may share a window before another one, less rare, is better.
const SHARED: u32 = 8;
/// The bit that makes an ASCII letter lower case, in each byte.
const LOWER: u64 = u64::from_ne_bytes([0x20; 8]);
/// Windows that are looked up before the first is followed.
const PART: usize = 60;
/// Bytes of a message that are compared before a window, at most.
const BEFORE: usize = 4;
const BEFORE_BITS: u32 = u8::BITS * BEFORE as u32;
/// Bytes of a key; a literal of fewer has all of its own.
pub(in crate::rules) const KEY: usize = 8;
/// What may follow a literal of three bytes, once it is made lower case.
const FOURTHS: usize = 128;

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

/// What ordinary log lines are full of besides: names of programs, by which a rule may well be found, phrases, and keys.
const USUAL: &str = "sshd ssh2 pam unix cron sudo systemd kube nginx mysql postgres docker containerd rhost ruser tty euid \
    logname localhost host hostname child children parent fork power battery call called caller calling callback property properties prop \
    action actions active activity activate auth authenticate authenticated filesystem directory sender receiver receive \
    receives respond responding response serve served executor execute executes script score board operation operations \
    etc var usr lib bin log tmp proc sys conf cfg ini exe dll smtp imap ftp dns dhcp ntp ldap replication shard lease quorum \
    attempt attempts failed for failed to failed with failed in connection from connection to connected to login from \
    logged in accepted for denied for not found not available not responding in error on failure no such name= user= id= \
    state= status= type= code= time= size= addr= port= path= file= msg= level= src= dst= host= pid= uid= action= method= uri=";

/// How likely text has one byte after another, as a power of two; one entry a pair, because all windows of all literals are
/// weighed by it when a set is compiled.
struct Pairs(Vec<u8>);

impl Pairs {
    /// Letters as often as [`ORDINARY`] words have them. Numbers and the signs around them, of which there is no list, are
    /// taken to be everywhere beside each other, and now and then beside others.
    fn of_ordinary_words() -> Pairs {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte == b' ';
        let is_number = |byte: u8| byte.is_ascii_digit() || b" .:,/-=_()[]".contains(&byte);
        let of_pair = |(first, second): (u8, u8)| match (is_word(first), is_word(second)) {
            (true, true) => 0,
            _ if is_number(first) && is_number(second) => 6,
            _ => 4,
        };
        let all = (0..=u8::MAX).flat_map(|first| (0..=u8::MAX).map(move |second| (first, second)));
        let mut likely: Vec<u8> = all.map(of_pair).collect();
        let mut times: BTreeMap<usize, u32> = BTreeMap::new();
        for pair in ORDINARY.as_bytes().windows(2).filter_map(<[u8]>::first_chunk) {
            *times.entry(Pairs::place(*pair)).or_insert(0) += 1;
        }
        for (place, times) in times {
            if let Some(likely) = likely.get_mut(place) {
                *likely = times.ilog2() as u8 + 1;
            }
        }
        Pairs(likely)
    }

    fn place([first, second]: [u8; 2]) -> usize {
        usize::from(first) << 8 | usize::from(second)
    }

    /// A sum over the bytes' pairs.
    fn likely(&self, text: &[u8]) -> u32 {
        let pairs = text.windows(2).filter_map(<[u8]>::first_chunk);
        pairs.map(|pair| self.0.get(Pairs::place(*pair)).map_or(0, |likely| u32::from(*likely))).sum()
    }
}

/// What is compared around a window: up to eight bytes of a literal, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    value: u64,
    length: u8,
    /// Bytes before the window.
    before: u8,
}

impl Key {
    /// The window that the table has. That of three bytes lacks its fourth.
    fn window(self) -> u32 {
        (self.value >> (8 * u32::from(self.before))) as u32
    }

    /// The bytes that count.
    #[inline(always)]
    fn mask(self) -> u64 {
        u64::MAX.wrapping_shr(8 * (KEY as u32).wrapping_sub(self.length.into()))
    }

    fn is_short(self) -> bool {
        self.length < 4
    }

    /// Bits of the table that it sets.
    fn bits(self) -> usize {
        if self.is_short() { FOURTHS } else { 1 }
    }
}

/// For each key the numbers that it speaks for. Each text (of three bytes at least, in lower case) has a key around the
/// window that ordinary log lines have least and few other keys have; of equals one that already speaks for just the same
/// numbers, so that a message that has a key rarely lacks the text.
pub(super) fn keys(spoken_for: &BTreeMap<Vec<u8>, Vec<u32>>) -> BTreeMap<Key, Vec<u32>> {
    // Asked for every field that rules look into, too.
    static TIMES: LazyLock<HashMap<(usize, u32), u32>> = LazyLock::new(|| {
        let mut times = HashMap::new();
        let texts = [ORDINARY, USUAL].into_iter();
        let windows = texts.flat_map(|text| text.as_bytes().windows(4)).filter_map(window);
        windows.for_each(|window| *times.entry(place::<SOME>(hash(window))).or_insert(0) += 1);
        times
    });
    static PAIRS: LazyLock<Pairs> = LazyLock::new(Pairs::of_ordinary_words);
    let (usual, pairs) = (&*TIMES, &*PAIRS);
    // A window that has the place of an ordinary one is looked up in vain as often.
    let times = |window: u32| usual.get(&place::<SOME>(hash(window))).copied().unwrap_or(0);
    let (mut keys, mut shared) = (BTreeMap::<Key, Vec<u32>>::new(), BTreeMap::<u32, u32>::new());
    for (text, numbers) in spoken_for {
        let choices = (0..).zip(text.windows(4));
        let weighed = choices.map(|(at, bytes)| {
            let window = window(bytes).unwrap_or_default();
            let share = shared.get(&window).copied().unwrap_or(0);
            (at, (times(window), share / SHARED, pairs.likely(bytes)))
        });
        let is_new = |at: usize| keys.get(&key(text, at)) != Some(numbers);
        let best = weighed
            .min_by(|left, right| left.1.cmp(&right.1).then_with(|| is_new(left.0).cmp(&is_new(right.0))));
        let key = key(text, best.map_or(0, |(at, _)| at));
        let all = keys.entry(key).or_default();
        if all.is_empty() {
            *shared.entry(key.window()).or_default() += 1;
        }
        if all != numbers {
            all.extend(numbers);
            all.sort_unstable();
            all.dedup();
        }
    }
    keys
}

/// The text's key around the window that begins at a byte of it: with two bytes before the window and two behind it, where
/// the text has so many.
fn key(text: &[u8], at: usize) -> Key {
    let from = at.saturating_sub((KEY - 4) / 2).min(text.len().saturating_sub(KEY));
    let bytes = text.get(from..).unwrap_or_default();
    // No place in a key is beyond its eight bytes.
    let key = Key { value: 0, length: bytes.len().min(KEY) as u8, before: (at - from) as u8 };
    Key { value: (read(bytes) | LOWER) & key.mask(), ..key }
}

/// Keys by their windows, with a table of `WORDS` words of 32 bits, a power of two.
#[derive(Debug)]
pub(super) struct Windows<const WORDS: usize> {
    table: Box<[u32; WORDS]>,
    /// Where the keys of each word's windows begin; the last entry is where they end.
    starts: Vec<u32>,
    keys: Vec<Known>,
}

/// A key as it is compared.
#[derive(Clone, Copy, Debug)]
struct Known {
    value: u64,
    mask: u64,
    number: u32,
    /// Bits between the first of the sixteen bytes around a window and the key's own first.
    shift: u32,
}

impl<const WORDS: usize> Windows<WORDS> {
    /// `None` if there are too many keys for the table, or too many that are alike.
    pub(super) fn new(all: &BTreeMap<Key, Vec<u32>>) -> Option<Self> {
        if all.keys().map(|key| key.bits()).sum::<usize>() > WORDS * 32 / SPARSE {
            return None;
        }
        let mut table = Box::<[u32; WORDS]>::try_from(vec![0; WORDS].into_boxed_slice()).ok()?;
        let mut shared: BTreeMap<usize, Vec<(Key, u32)>> = BTreeMap::new();
        for (key, number) in all.keys().zip(0u32..) {
            // What follows three bytes is not known: they are put under all that may follow.
            let fourths = if key.is_short() { 0..=u8::MAX } else { 0..=0 };
            for fourth in fourths {
                let (word, bit) = place::<WORDS>(hash(key.window() | u32::from(fourth) << 24 | LOWER as u32));
                let keys = shared.entry(word).or_default();
                if keys.last().is_none_or(|(_, last)| *last != number) {
                    keys.push((*key, number));
                }
                if keys.len() > MAX_SHARED {
                    return None;
                }
                *table.get_mut(word)? |= 1 << bit;
            }
        }
        let (mut starts, mut keys) = (Vec::with_capacity(WORDS + 1), Vec::new());
        for word in 0..WORDS {
            starts.push(u32::try_from(keys.len()).ok()?);
            keys.extend(shared.remove(&word).unwrap_or_default().into_iter().map(Known::from));
        }
        starts.push(u32::try_from(keys.len()).ok()?);
        Some(Windows { table, starts, keys })
    }

    /// The keys' bytes, and which of them count.
    pub(super) fn keys(&self) -> BTreeSet<(u64, u64)> {
        self.keys.iter().map(|key| (key.value, key.mask)).collect()
    }

    /// Calls `found` with the number of every key that occurs and the place of its window, in their order, and before that `seen` with the hash of
    /// every window of four bytes.
    pub(super) fn each(
        &self,
        message: &[u8],
        mut seen: impl FnMut(u32),
        mut found: impl FnMut(usize, usize),
    ) {
        let mut rest = message;
        let mut at = 0;
        let mut mark = |marks: u64, bytes: &[u8]| {
            let hash = hash(window(bytes).unwrap_or_default());
            seen(hash);
            let (word, bit) = place::<WORDS>(hash);
            let is_set = self.table.get(word).map_or(0, |word| word.wrapping_shr(bit) & 1);
            marks << 1 | u64::from(is_set)
        };
        // All windows of a part are looked up before the first is followed: a branch for each would be guessed wrong
        // every few bytes.
        while let Some(part) = rest.first_chunk::<{ PART + 3 }>() {
            let marks = part.windows(4).rev().fold(0, &mut mark);
            self.follow(marks, at, message, &mut found);
            at += PART;
            rest = rest.get(PART..).unwrap_or_default();
        }
        // Texts of three bytes have windows that end one byte behind the message.
        let (mut end, length) = ([0; PART + 4], rest.len());
        end.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
        let marks = end.windows(4).take(length.saturating_sub(2)).rev().fold(0, &mut mark);
        self.follow(marks, at, message, &mut found);
    }

    /// Compares the keys of each marked window with the message around it; the lowest mark is that of the window `at`.
    fn follow(&self, mut marks: u64, at: usize, message: &[u8], found: &mut impl FnMut(usize, usize)) {
        while marks != 0 {
            let window = at + marks.trailing_zeros() as usize;
            let (low, high) = around(message, window);
            marks &= marks - 1;
            let (slot, _) = place::<WORDS>(hash((low >> BEFORE_BITS) as u32));
            let bound = |slot: usize| self.starts.get(slot).map_or(0, |start| *start as usize);
            for key in self.keys.get(bound(slot)..bound(slot + 1)).unwrap_or_default() {
                // In two steps, because a shift by all 64 bits is none.
                let there = low >> key.shift | high << 1 << (63 - key.shift);
                if there & key.mask == key.value {
                    found(key.number as usize, window);
                }
            }
        }
    }
}

impl From<(Key, u32)> for Known {
    fn from((key, number): (Key, u32)) -> Known {
        let shift = BEFORE_BITS - u32::from(key.before) * u8::BITS;
        Known { value: key.value, mask: key.mask(), number, shift }
    }
}

/// The eight bytes before the middle of the sixteen around a window, and those behind it, in lower case: the window is
/// the last four of the first. Zeros where the message has none.
#[inline(always)]
fn around(message: &[u8], window: usize) -> (u64, u64) {
    let halves = |bytes: u128| (bytes as u64 | LOWER, (bytes >> 64) as u64 | LOWER);
    let first = window.checked_sub(BEFORE);
    if let Some(bytes) = first.and_then(|first| message.get(first..)?.first_chunk()) {
        return halves(u128::from_le_bytes(*bytes));
    }
    // The message begins or ends among the sixteen.
    let (head, tail) = (message.first_chunk().copied(), message.last_chunk().copied());
    let bytes = match (head, tail, first) {
        (Some(head), _, None) => u128::from_le_bytes(head).wrapping_shl(bits(BEFORE.wrapping_sub(window))),
        (_, Some(tail), Some(first)) => {
            let missing = (first + 16).wrapping_sub(message.len());
            u128::from_le_bytes(tail).wrapping_shr(bits(missing))
        }
        _ => of_few(message, window),
    };
    halves(bytes)
}

/// Bits of fewer than sixteen bytes.
fn bits(bytes: usize) -> u32 {
    (bytes as u32).wrapping_mul(u8::BITS)
}

/// The sixteen around a window of a message that has not so many.
#[cold]
fn of_few(message: &[u8], window: usize) -> u128 {
    let from = window.saturating_sub(BEFORE);
    let mut bytes = [0; 16];
    let places = bytes.iter_mut().skip(BEFORE.saturating_sub(window));
    places.zip(message.get(from..).unwrap_or_default()).for_each(|(to, byte)| *to = *byte);
    u128::from_le_bytes(bytes)
}

/// The first eight bytes as a number, the first lowest; zeros where there are fewer.
#[inline(always)]
fn read(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word),
        None => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The hash of a window, by Knuth's multiplication: its high bits depend on all bits of the window.
#[inline(always)]
pub(in super::super) fn hash(window: u32) -> u32 {
    window.wrapping_mul(0x9e37_79b1)
}

/// Word and bit of a window's hash.
#[inline(always)]
fn place<const WORDS: usize>(hash: u32) -> (usize, u32) {
    let rest = u32::BITS - WORDS.trailing_zeros();
    ((hash >> rest) as usize, hash >> (rest - 5) & 31)
}

/// A byte as windows and keys have it: letters in lower case, and some others as what they would be as letters.
pub(in super::super) fn folded(byte: u8) -> u8 {
    byte | LOWER as u8
}

/// The first eight bytes of a text as a key has them.
#[inline(always)]
pub(in super::super) fn first_eight(text: &[u8]) -> u64 {
    read(text) | LOWER
}

/// The first four bytes as a window; `None` if there are fewer.
pub(in super::super) fn window(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) | LOWER as u32)
}
