//! A record without one key of its top level: takes any body, shows the rest of it. For tags of ours, which no rule may see.

use oddline_engine::{Body, Scalar, Visitor};

/// A body, and the key of its top level that is not shown.
pub(crate) struct Without<'b> {
    pub(crate) body: &'b dyn Body,
    pub(crate) key: &'b [u8],
}

impl Body for Without<'_> {
    fn walk<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
        self.body.walk(&mut Skipping { visitor, key: self.key, depth: 0 });
    }
}

struct Skipping<'v, 'a> {
    visitor: &'v mut dyn Visitor<'a>,
    key: &'v [u8],
    depth: usize,
}

impl Skipping<'_, '_> {
    fn is_skipped(&self, key: &[u8]) -> bool {
        self.depth == 0 && !key.is_empty() && key == self.key
    }
}

impl<'a> Visitor<'a> for Skipping<'_, 'a> {
    fn enter(&mut self, key: &[u8]) -> bool {
        let enters = !self.is_skipped(key) && self.visitor.enter(key);
        self.depth += usize::from(enters);
        enters
    }

    fn enter_list(&mut self, key: &[u8]) -> bool {
        let enters = !self.is_skipped(key) && self.visitor.enter_list(key);
        self.depth += usize::from(enters);
        enters
    }

    fn item(&mut self, value: Scalar<'a>) {
        self.visitor.item(value);
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.visitor.leave();
    }

    fn scalar(&mut self, key: &[u8], value: Scalar<'a>) {
        if !self.is_skipped(key) {
            self.visitor.scalar(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{anomaly: {a: true}, b: {anomaly: true}, anomaly: true}`
    struct Record;

    impl Body for Record {
        fn walk<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
            for (outer, inner) in [("anomaly", "a"), ("b", "anomaly")] {
                if visitor.enter(outer.as_bytes()) {
                    visitor.scalar(inner.as_bytes(), Scalar::Bool(true));
                    visitor.leave();
                }
            }
            visitor.scalar(b"anomaly", Scalar::Bool(true));
        }
    }

    #[derive(Default)]
    struct Keys(Vec<String>);

    impl<'a> Visitor<'a> for Keys {
        fn enter(&mut self, key: &[u8]) -> bool {
            self.0.push(String::from_utf8_lossy(key).into());
            true
        }
        fn leave(&mut self) {
            self.0.push("<".to_owned());
        }
        fn scalar(&mut self, key: &[u8], _: Scalar<'a>) {
            self.0.push(String::from_utf8_lossy(key).into());
        }
    }

    #[test]
    fn the_key_is_left_out_of_the_top_level_only() {
        let shown = |key: &str| {
            let mut keys = Keys::default();
            Without { body: &Record, key: key.as_bytes() }.walk(&mut keys);
            keys.0.join(" ")
        };
        assert_eq!(shown("anomaly"), "b anomaly <");
        assert_eq!(shown(""), "anomaly a < b anomaly < anomaly");
    }
}
