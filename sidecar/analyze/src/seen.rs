//! A host's record becomes a [`Seen`]: plain, owned, and no larger than it may be. What does not fit is left out.

use oddline_engine::{Body, Picker, Scalar, Visitor};

use crate::{
    head,
    ports::{Leaf, Seen},
};

/// Most bytes of keys and text that a detector is shown of a record, its message in front. Every leaf has all keys that
/// lead to it, and each of them counts with what it takes in memory: with many leaves far down they are the most of it.
pub const MAX_BYTES: usize = 64 << 10;
/// Most leaves of a record.
pub const MAX_FIELDS: usize = 1_024;
/// Most keys that lead to a leaf.
pub const MAX_DEPTH: usize = 32;

impl Seen {
    /// The record of a tag; message and level as `picker` finds them. The key `without` of its top level is left out: it
    /// is where tags of ours stand.
    pub fn of(tag: &[u8], picker: &Picker, body: &dyn Body, without: &str) -> Seen {
        let mut picking = picker.start(tag);
        body.walk(&mut picking);
        let picked = picking.finish();
        let message = String::from_utf8_lossy(&picked.message);
        let message = head(&message, MAX_BYTES).to_owned();
        let mut leaves = Leaves {
            without: without.as_bytes(),
            fields: Vec::new(),
            path: Vec::new(),
            is_empty: false,
            left: MAX_BYTES - message.len(),
        };
        body.walk(&mut leaves);
        let tag = String::from_utf8_lossy(tag).into_owned();
        Seen { tag, message, severity: picked.severity, fields: leaves.fields }
    }
}

/// Gathers leaves as a codec walks the record.
struct Leaves<'k> {
    without: &'k [u8],
    fields: Vec<(Vec<String>, Leaf)>,
    path: Vec<String>,
    /// Whether nothing has come since the last map was entered.
    is_empty: bool,
    /// Bytes that still fit.
    left: usize,
}

impl Leaves<'_> {
    fn is_left_out(&self, key: &[u8]) -> bool {
        self.path.is_empty() && !key.is_empty() && key == self.without
    }

    fn push(&mut self, key: Option<&[u8]>, leaf: Leaf) {
        let key = key.map(String::from_utf8_lossy);
        let keys = self.path.iter().map(String::as_str).chain(key.as_deref());
        let text = if let Leaf::Text(text) = &leaf { text.len() } else { 0 };
        let bytes = keys.clone().map(|key| size_of::<String>() + key.len()).sum::<usize>() + text;
        if bytes <= self.left && self.fields.len() < MAX_FIELDS {
            self.left -= bytes;
            self.fields.push((keys.map(str::to_owned).collect(), leaf));
        }
    }
}

impl<'a> Visitor<'a> for Leaves<'_> {
    fn enter(&mut self, key: &[u8]) -> bool {
        if self.is_left_out(key) {
            return false;
        }
        if self.path.len() + 1 >= MAX_DEPTH {
            self.push(Some(key), Leaf::Other);
            return false;
        }
        self.path.push(String::from_utf8_lossy(key).into_owned());
        self.is_empty = true;
        true
    }

    fn enter_list(&mut self, key: &[u8]) -> bool {
        if self.is_left_out(key) || self.path.len() + 1 >= MAX_DEPTH {
            return false;
        }
        // The list itself, then its elements under the same path.
        self.push(Some(key), Leaf::Other);
        self.path.push(String::from_utf8_lossy(key).into_owned());
        self.is_empty = false;
        true
    }

    fn item(&mut self, value: Scalar<'a>) {
        self.push(None, leaf(value));
    }

    fn leave(&mut self) {
        if self.is_empty {
            self.push(None, Leaf::Other);
        }
        self.is_empty = false;
        self.path.pop();
    }

    fn scalar(&mut self, key: &[u8], value: Scalar<'a>) {
        self.is_empty = false;
        if self.is_left_out(key) {
            return;
        }
        self.push(Some(key), leaf(value));
    }
}

fn leaf(value: Scalar<'_>) -> Leaf {
    match value {
        Scalar::Null => Leaf::Null,
        Scalar::Opaque => Leaf::Other,
        Scalar::Bool(value) => Leaf::Bool(value),
        Scalar::Int(number) => Leaf::Int(number),
        Scalar::Float(number) => Leaf::Float(number),
        Scalar::Text(text) => Leaf::Text(String::from_utf8_lossy(&text).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use oddline_engine::{Settings, Severity, rules::RuleSet};

    use super::*;

    /// Shows what a function tells it to.
    struct Told<F>(F);

    impl<F: for<'v> Fn(&mut dyn Visitor<'v>)> Body for Told<F> {
        fn walk<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
            (self.0)(visitor);
        }
    }

    fn see(tell: impl for<'v> Fn(&mut dyn Visitor<'v>)) -> Seen {
        let picker = Picker::new(&Settings::default(), &RuleSet::default());
        Seen::of(b"app", &picker, &Told(tell), "anomaly")
    }

    #[test]
    fn all_leaves_are_seen_but_our_own() {
        let seen = see(|visitor| {
            visitor.scalar(b"log", Scalar::Text(b"took \xff ms"[..].into()));
            visitor.scalar(b"level", Scalar::Text(b"warn"[..].into()));
            if visitor.enter(b"anomaly") {
                visitor.scalar(b"score", Scalar::Float(0.9));
                visitor.leave();
            }
            if visitor.enter(b"http") {
                if visitor.enter(b"anomaly") {
                    visitor.leave();
                }
                visitor.scalar(b"ms", Scalar::Int(900));
                visitor.leave();
            }
            if visitor.enter_list(b"list") {
                visitor.item(Scalar::Int(1));
                visitor.scalar(b"n", Scalar::Bool(true));
                visitor.leave();
            }
            assert!(!visitor.enter_list(b"anomaly"));
        });
        assert_eq!((seen.tag.as_str(), seen.message.as_str()), ("app", "took \u{fffd} ms"));
        assert_eq!(seen.severity, Some(Severity::Warn));
        let fields: Vec<String> =
            seen.fields.iter().map(|(path, leaf)| format!("{}={leaf:?}", path.join("/"))).collect();
        let expected = [
            "log=Text(\"took \u{fffd} ms\")",
            "level=Text(\"warn\")",
            "http/anomaly=Other",
            "http/ms=Int(900)",
            "list=Other",
            "list=Int(1)",
            "list/n=Bool(true)",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn what_does_not_fit_is_left_out_at_the_limit_one_over_and_ten_times() {
        for (given, kept) in
            [(MAX_FIELDS, MAX_FIELDS), (MAX_FIELDS + 1, MAX_FIELDS), (10 * MAX_FIELDS, MAX_FIELDS)]
        {
            let seen = see(|visitor| (0..given).for_each(|_| visitor.scalar(b"n", Scalar::Int(1))));
            assert_eq!(seen.fields.len(), kept);
        }
        // Three keys, of six bytes in all.
        let keys = 3 * size_of::<String>() + 6;
        for (bytes, kept) in [(MAX_BYTES - keys, 2), (MAX_BYTES - keys + 1, 1), (10 * MAX_BYTES, 1)] {
            let long = "x".repeat(bytes);
            let seen = see(|visitor| {
                if visitor.enter(b"k") {
                    visitor.scalar(b"long", Scalar::Text(long.clone().into_bytes().into()));
                    visitor.leave();
                }
                visitor.scalar(b"n", Scalar::Int(1));
            });
            assert_eq!(seen.fields.len(), kept, "{bytes}");
        }
        let long = "x".repeat(10 * MAX_BYTES);
        let seen = see(|visitor| visitor.scalar(b"log", Scalar::Text(long.clone().into_bytes().into())));
        assert_eq!((seen.message.len(), seen.fields.len()), (MAX_BYTES, 0));
    }

    #[test]
    fn depth_is_bounded() {
        let seen = see(|visitor| {
            let entered = (0..10 * MAX_DEPTH).take_while(|_| visitor.enter(b"k")).count();
            visitor.scalar(b"leaf", Scalar::Null);
            (0..entered).for_each(|_| visitor.leave());
        });
        assert!(seen.fields.iter().all(|(path, _)| path.len() <= MAX_DEPTH));
        assert_eq!(seen.fields.len(), 2);
    }

    #[test]
    fn many_leaves_far_down_take_no_more_than_the_limit() {
        let seen = see(|visitor| {
            let entered = (1..MAX_DEPTH).take_while(|_| visitor.enter(b"")).count();
            (0..MAX_FIELDS).for_each(|_| visitor.scalar(b"n", Scalar::Int(1)));
            (0..entered).for_each(|_| visitor.leave());
        });
        let keys = seen.fields.iter().flat_map(|(path, _)| path);
        let bytes: usize = keys.map(|key| size_of::<String>() + key.len()).sum();
        assert!(!seen.fields.is_empty() && bytes <= MAX_BYTES, "{bytes}");
    }
}
