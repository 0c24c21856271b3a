//! How long flows wait for their next line, as a usual longest wait: the 99 % quantile, followed online in a few bytes.

/// Waits before the longest of them means something.
const ENOUGH: u8 = 32;
/// Share of waits that may be longer than the usual longest one.
const BEYOND: f32 = 0.01;
/// A wait is over when it is longer than the usual longest one by this many octaves: eight times as long.
const OCTAVES: f32 = 3.0;
/// No wait is over earlier, in nanoseconds: clocks and shippers stutter, and many times are whole seconds.
const SHORTEST: i64 = 2_000_000_000;

/// The usual longest wait, as the logarithm to base 2 of its nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wait {
    longest: f32,
    seen: u8,
}

impl Wait {
    /// Takes one wait.
    pub(super) fn learn(&mut self, nanos: i64) {
        let octaves = octaves(nanos);
        if self.seen < ENOUGH {
            self.seen = self.seen.saturating_add(1);
            self.longest = self.longest.max(octaves);
        } else if octaves > self.longest {
            // A quarter of an octave at most, so that one straggler does not move it far.
            self.longest += (octaves - self.longest).min(0.25) * (1.0 - BEYOND);
        } else {
            self.longest -= 0.25 * BEYOND;
        }
    }

    /// Takes what another has learned: the longer one counts.
    pub(super) fn absorb(&mut self, other: &Wait) {
        self.longest = self.longest.max(other.longest);
        self.seen = self.seen.saturating_add(other.seen);
    }

    /// What a restart keeps.
    pub(super) fn saved(&self) -> (f32, u8) {
        (self.longest, self.seen)
    }

    /// Takes what was kept.
    pub(super) fn restore(&mut self, (longest, seen): (f32, u8)) {
        *self = Wait { longest, seen };
    }

    /// Nanoseconds after which a wait is over; `None` if too few were seen.
    pub(super) fn over(&self) -> Option<i64> {
        (self.seen >= ENOUGH).then(|| nanos(self.longest + OCTAVES).max(SHORTEST))
    }
}

/// Logarithm to base 2, to an eighth.
fn octaves(nanos: i64) -> f32 {
    let nanos = nanos.max(1) as u64;
    let whole = nanos.ilog2();
    let eighths = if whole >= 3 { nanos >> (whole - 3) & 7 } else { 0 };
    whole as f32 + eighths as f32 / 8.0
}

/// The inverse of [`octaves`], to an eighth.
fn nanos(octaves: f32) -> i64 {
    // At most 62, so that nothing overflows; a shift, because powers differ between platforms.
    let eighths = (octaves.clamp(3.0, 62.0) * 8.0) as u32;
    (8 | i64::from(eighths & 7)) << (eighths >> 3).saturating_sub(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_and_back() {
        for time in [8, 1_000, 500_000_000, 86_400_000_000_000, i64::MAX / 4] {
            let back = nanos(octaves(time));
            assert!(back <= time && back as f64 > 0.87 * time as f64, "{time}: {back}");
        }
        assert_eq!([octaves(-1), octaves(0), octaves(1)], [0.0; 3], "clocks go backwards");
        assert_eq!([nanos(0.0), nanos(200.0)], [8, 1 << 62]);
    }

    #[test]
    fn a_wait_is_over_when_it_is_much_longer_than_nearly_all() {
        let mut wait = Wait::default();
        for _ in 0..31 {
            wait.learn(1_000_000_000);
        }
        assert_eq!(wait.over(), None, "too few");
        wait.learn(2_000_000_000);
        let over = wait.over().unwrap();
        assert!((13_000_000_000..=16_000_000_000).contains(&over), "{over}");
        // One straggler in a thousand changes little; when one in ten waits for an hour, that is usual.
        for number in 0..10_000 {
            wait.learn(if number % 1_000 == 7 { 3_600_000_000_000 } else { 1_000_000_000 });
        }
        assert!(wait.over().unwrap() < 16_000_000_000, "{wait:?}");
        for number in 0..10_000 {
            wait.learn(if number % 10 == 7 { 3_600_000_000_000 } else { 1_000_000_000 });
        }
        assert!(wait.over().unwrap() > 20_000_000_000_000, "{wait:?}");
        let mut quick = Wait::default();
        (0..100).for_each(|_| quick.learn(0));
        assert_eq!(quick.over(), Some(SHORTEST));
    }
}
