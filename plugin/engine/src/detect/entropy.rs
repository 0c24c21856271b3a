//! Entropy: text far more random than the source's own (encoded payloads, keys, binary junk).
//!
//! Shannon entropy of the bytes, in bits per byte, against an exponentially weighted mean and variance per source.

use super::{Signals, plain};
use crate::verdict::Flag;

/// Bytes looked at; entropy of more says nothing new.
const PREFIX: usize = 256;
/// Shorter text has no meaningful entropy.
const SHORTEST: usize = 48;
/// Entropy below which nothing is odd: dense but ordinary text reaches it.
const FLOOR: f64 = 5.2;
const ALPHA: f64 = 1.0 / 500.0;
/// Looks before the source's own distribution counts.
const MIN_RECORDS: u64 = 50;
/// A run without a blank from which a new message is always looked at: that is where encoded text stands. Of others, each
/// eighth is: enough to know what is usual, and an eighth of the price.
const LONG_RUN: usize = 24;
const SAMPLE: u64 = 8;

/// A source's distribution of entropies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Entropy {
    pub(crate) mean: f64,
    pub(crate) variance: f64,
    pub(crate) count: u64,
}

/// What a prefix's bytes add to the sum of `n log2 n` over how often each byte occurs.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// What one more of equal bytes adds after so many, in [`UNIT`]s: whole numbers, because a sum of fractions waits for each.
    steps: [u32; PREFIX],
    /// `log2 n`.
    logs: [f32; PREFIX + 1],
}

/// Parts of a bit that are counted; all of a prefix fit into 32 bits.
const UNIT: f64 = 65_536.0;

impl Table {
    pub(crate) fn new() -> Table {
        let whole = |count: f64| if count > 0.0 { count * count.log2() * UNIT } else { 0.0 };
        let step = |count: f64| (whole(count + 1.0).round() - whole(count).round()) as u32;
        Table {
            steps: std::array::from_fn(|count| step(count as f64)),
            logs: std::array::from_fn(|count| (count as f64).log2() as f32),
        }
    }

    /// Bits per byte of the first bytes of a message; `None` if it is too short to tell.
    fn bits(&self, message: &[u8]) -> Option<f64> {
        let prefix = message.get(..message.len().min(PREFIX))?;
        if prefix.len() < SHORTEST {
            return None;
        }
        // A count of a byte never is more than 255 before the last of the prefix.
        let (mut counts, mut sum) = ([0u8; 256], 0u32);
        for &byte in prefix {
            if let Some(count) = counts.get_mut(usize::from(byte)) {
                sum = sum.wrapping_add(self.steps.get(usize::from(*count)).map_or(0, |step| *step));
                *count = count.wrapping_add(1);
            }
        }
        let log = f64::from(*self.logs.get(prefix.len())?);
        Some(log - f64::from(sum) / UNIT / prefix.len() as f64)
    }
}

impl Entropy {
    /// Takes one message, the `record`-th of its source. One that is known but for its numbers and ids has no encoded text that was not
    /// looked at before.
    pub(crate) fn observe(
        &mut self,
        table: &Table,
        message: &[u8],
        (record, is_known): (u64, bool),
        sigma: f64,
        signals: &mut Signals,
    ) {
        if record.checked_rem(SAMPLE) == Some(0) || (!is_known && has_long_run(message)) {
            self.learn(table, message, sigma, signals);
        }
    }

    // Apart, because most messages are not looked at.
    #[inline(never)]
    fn learn(&mut self, table: &Table, message: &[u8], sigma: f64, signals: &mut Signals) {
        let Some(bits) = table.bits(message) else { return };
        let spread = self.variance.sqrt().max(0.15);
        let far = (bits - self.mean) / spread;
        if self.count >= MIN_RECORDS && bits >= FLOOR && far >= sigma {
            let strength = (0.45 + 0.02 * (far - sigma)).min(0.6) as f32;
            let words =
                format!("unusually random text ({} bits per byte, usual {})", plain(bits), plain(self.mean));
            signals.add_measured(Flag::Entropy, strength, self.mean, bits, words);
        }
        self.count = self.count.saturating_add(1);
        let alpha = ALPHA.max(1.0 / self.count as f64);
        let off = bits - self.mean;
        self.mean += alpha * off;
        self.variance = (1.0 - alpha) * (self.variance + alpha * off * off);
    }
}

/// Whether [`LONG_RUN`] bytes stand together without white space. The last blank of so many bytes says where the next ones
/// are looked at, so that most bytes never are.
fn has_long_run(message: &[u8]) -> bool {
    let mut start = 0;
    while let Some(run) = message.get(start..).and_then(<[u8]>::first_chunk::<LONG_RUN>) {
        match run.iter().rposition(u8::is_ascii_whitespace) {
            Some(blank) => start += blank + 1,
            None => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: &[u8] =
        b"connection from host accepted, user session established for service account, latency normal";
    const RANDOM: &[u8] =
        b"q8Zx/7Kp+3vNf0aYd9LmR2tJw5HsQe1BgUoC6iXkTzVnPyMbWhEjDrGlSuAcFOI4=:?!%&$#@~^*()[]{}<>|";

    #[test]
    fn random_text_among_usual_text() {
        let (table, mut entropy, mut signals) = (Table::new(), Entropy::default(), Signals::default());
        for _ in 0..MIN_RECORDS {
            entropy.observe(&table, USUAL, (0, false), 4.0, &mut signals);
        }
        assert!(signals.flags.is_empty());
        entropy.observe(&table, RANDOM, (1, false), 4.0, &mut signals);
        assert!(signals.flags.contains(Flag::Entropy));
    }

    #[test]
    fn a_source_that_is_always_random_is_not_odd() {
        let (table, mut entropy, mut signals) = (Table::new(), Entropy::default(), Signals::default());
        for _ in 0..2 * MIN_RECORDS {
            entropy.observe(&table, RANDOM, (1, false), 4.0, &mut signals);
        }
        assert!(signals.flags.is_empty());
    }

    #[test]
    fn bits_are_shannons() {
        let table = Table::new();
        assert_eq!(table.bits(&[b'a'; SHORTEST - 1]), None);
        assert!(table.bits(&[b'a'; SHORTEST]).unwrap().abs() < 1e-5);
        let all: Vec<u8> = (0..=255).collect();
        assert!((table.bits(&all).unwrap() - 8.0).abs() < 1e-3);
        assert!((table.bits(&all.repeat(10)).unwrap() - 8.0).abs() < 1e-3, "only the prefix counts");
    }

    #[test]
    fn a_long_run_is_one_of_so_many_bytes() {
        let run = |length: usize| [b"at ", "x".repeat(length).as_bytes(), b"\tend"].concat();
        assert_eq!([23, 24, 25, 240].map(|length| has_long_run(&run(length))), [false, true, true, true]);
        assert!(!has_long_run(b"") && has_long_run(&[0xff; LONG_RUN]));
    }

    proptest! {
        #[test]
        fn a_long_run_is_found_wherever_it_is(message in "[a-z ]{0,40}[a-z]{18,26}[a-z ]{0,40}") {
            let longest = message.split(' ').map(str::len).max();
            prop_assert_eq!(has_long_run(message.as_bytes()), longest >= Some(LONG_RUN));
        }
    }
}
