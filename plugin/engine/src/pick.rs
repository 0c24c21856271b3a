//! Which fields of a record matter: message, severity and labels, found in one walk over the host's bytes.

use std::borrow::Cow;

use crate::{
    record::{Fields, Record, Scalar, Severity, Visitor},
    rules::RuleSet,
    settings::Settings,
};

/// Compiled paths. Shared by all records; [`Picker::start`] begins one.
#[derive(Clone, Debug)]
pub struct Picker {
    nodes: Vec<Node>,
    labels: usize,
    slots: usize,
    stamp: u64,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Children by length of the key (capped), so that most keys cost one comparison or none.
    children: Vec<Vec<(Box<[u8]>, usize)>>,
    role: Option<Role>,
    /// Where rules look for its value.
    slot: Option<usize>,
    /// Whether rules look for its value, or for one below it: then lists are looked into.
    asked: bool,
}

#[derive(Clone, Copy, Debug)]
enum Role {
    Message(usize),
    Severity(usize),
    Label(usize),
}

const LENGTHS: usize = 32;

impl Node {
    fn child(&self, key: &[u8]) -> Option<usize> {
        let bucket = self.children.get(key.len().min(LENGTHS))?;
        bucket.iter().find(|(name, _)| **name == *key).map(|(_, node)| *node)
    }
}

impl Picker {
    /// The picker for these settings' paths, and for the fields that these rules ask for.
    pub fn new(settings: &Settings, rules: &RuleSet) -> Picker {
        let mut picker = Picker {
            nodes: vec![Node::default()],
            labels: settings.label_paths().len(),
            slots: rules.paths().len(),
            stamp: rules.paths_stamp(),
        };
        for (rank, path) in settings.message_paths().iter().enumerate() {
            picker.insert(path, Role::Message(rank));
        }
        for (rank, path) in settings.severity_paths().iter().enumerate() {
            picker.insert(path, Role::Severity(rank));
        }
        for (rank, path) in settings.label_paths().iter().enumerate() {
            picker.insert(path, Role::Label(rank));
        }
        for (slot, path) in rules.paths().iter().enumerate() {
            // Nested, and as one literal key, because shippers write both.
            let joined = path.keys().join(".");
            for node in
                [picker.node_of(path.keys().iter().map(String::as_str)), picker.node_of([joined.as_str()])]
            {
                if let Some(node) = picker.nodes.get_mut(node) {
                    node.slot = Some(slot);
                }
            }
        }
        picker.mark_asked(0);
        picker
    }

    /// Marks the nodes that have a slot at or below them. Paths are short, so this recurses no deeper than they.
    fn mark_asked(&mut self, at: usize) -> bool {
        let below: Vec<usize> = self
            .nodes
            .get(at)
            .map_or_else(Vec::new, |node| node.children.iter().flatten().map(|(_, child)| *child).collect());
        let mut asked = self.nodes.get(at).is_some_and(|node| node.slot.is_some());
        for child in below {
            asked |= self.mark_asked(child);
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.asked = asked;
        }
        asked
    }

    /// A dotted path is found nested and as one literal key, because shippers write both.
    fn insert(&mut self, path: &str, role: Role) {
        self.insert_keys(std::iter::once(path), role);
        if path.contains('.') {
            self.insert_keys(path.split('.'), role);
        }
    }

    fn insert_keys<'k>(&mut self, keys: impl Iterator<Item = &'k str>, role: Role) {
        let node = self.node_of(keys);
        if let Some(node) = self.nodes.get_mut(node) {
            node.role.get_or_insert(role);
        }
    }

    /// The node under these keys, which exists afterwards.
    fn node_of<'k>(&mut self, keys: impl IntoIterator<Item = &'k str>) -> usize {
        let mut at = 0;
        for key in keys {
            let key = key.as_bytes();
            let next = self.nodes.get(at).and_then(|node| node.child(key));
            at = next.unwrap_or_else(|| {
                let new = self.nodes.len();
                self.nodes.push(Node::default());
                if let Some(node) = self.nodes.get_mut(at) {
                    node.children.resize_with(LENGTHS + 1, Vec::new);
                    if let Some(bucket) = node.children.get_mut(key.len().min(LENGTHS)) {
                        bucket.push((key.into(), new));
                    }
                }
                new
            });
        }
        at
    }

    /// Begins one record.
    pub fn start<'p, 'a>(&'p self, tag: &'a [u8]) -> Picking<'p, 'a> {
        Picking {
            picker: self,
            tag,
            at: [0; DEPTH],
            depth: 0,
            message: None,
            longest: Cow::Borrowed(b""),
            severity: None,
            labels: Vec::new(),
            values: Vec::new(),
            lists: 0,
            items: Vec::new(),
        }
    }
}

/// Most elements that are kept of all lists of a record.
const MAX_KEPT_ITEMS: usize = 256;

/// Paths have at most eight steps (checked in [`Settings`]).
const DEPTH: usize = 9;

/// One record being read; a codec drives it as a [`Visitor`].
#[derive(Debug)]
pub struct Picking<'p, 'a> {
    picker: &'p Picker,
    tag: &'a [u8],
    at: [usize; DEPTH],
    depth: usize,
    message: Option<(usize, Cow<'a, [u8]>)>,
    longest: Cow<'a, [u8]>,
    severity: Option<(usize, Severity)>,
    labels: Vec<Cow<'a, [u8]>>,
    values: Vec<Scalar<'a>>,
    /// One bit for each level of `at`: whether it is a list.
    lists: u16,
    items: Vec<(usize, Scalar<'a>)>,
}

impl<'a> Picking<'_, 'a> {
    fn node(&self) -> Option<&Node> {
        self.picker.nodes.get(*self.at.get(self.depth)?)
    }

    /// The record. Without a message path that holds text, the longest text of the top level is the message.
    pub fn finish(self) -> Record<'a> {
        let message = self.message.map_or(self.longest, |(_, message)| message);
        Record {
            message,
            severity: self.severity.map(|(_, severity)| severity),
            tag: self.tag,
            labels: self.labels,
            fields: Fields { stamp: self.picker.stamp, values: self.values, items: self.items },
        }
    }

    /// Steps down to a child.
    fn descend(&mut self, child: usize) -> bool {
        let deeper = self.depth.saturating_add(1);
        let Some(step) = self.at.get_mut(deeper) else { return false };
        *step = child;
        self.depth = deeper;
        if let Some(slot) = self.picker.nodes.get(child).and_then(|node| node.slot) {
            self.keep(slot, Scalar::Opaque);
        }
        true
    }

    /// Keeps a value that rules ask for; of several the first, so that notation does not matter. Values in lists are all
    /// kept, beside the list itself.
    fn keep(&mut self, slot: usize, value: Scalar<'a>) {
        if self.lists != 0 && value != Scalar::Opaque {
            self.keep(slot, Scalar::Opaque);
            if self.values.get(slot) == Some(&Scalar::Opaque) && self.items.len() < MAX_KEPT_ITEMS {
                self.items.push((slot, value));
            }
            return;
        }
        if self.values.is_empty() {
            self.values.resize(self.picker.slots, Scalar::Null);
        }
        if let Some(kept) = self.values.get_mut(slot)
            && *kept == Scalar::Null
        {
            *kept = value;
        }
    }
}

impl<'a> Visitor<'a> for Picking<'_, 'a> {
    fn enter(&mut self, key: &[u8]) -> bool {
        let Some(child) = self.node().and_then(|node| node.child(key)) else { return false };
        self.descend(child)
    }

    fn enter_list(&mut self, key: &[u8]) -> bool {
        let child = self.node().and_then(|node| node.child(key));
        let is_asked = |child: &usize| self.picker.nodes.get(*child).is_some_and(|node| node.asked);
        let Some(child) = child.filter(is_asked) else { return false };
        let entered = self.descend(child);
        if entered {
            self.lists |= 1u16.checked_shl(u32::try_from(self.depth).unwrap_or(u32::MAX)).unwrap_or(0);
        }
        entered
    }

    fn item(&mut self, value: Scalar<'a>) {
        if let Some(slot) = self.node().and_then(|node| node.slot)
            && value != Scalar::Null
        {
            self.keep(slot, value);
        }
    }

    fn leave(&mut self) {
        self.lists &= !1u16.checked_shl(u32::try_from(self.depth).unwrap_or(u32::MAX)).unwrap_or(0);
        self.depth = self.depth.saturating_sub(1);
    }

    fn scalar(&mut self, key: &[u8], value: Scalar<'a>) {
        let node =
            self.node().and_then(|node| node.child(key)).and_then(|child| self.picker.nodes.get(child));
        let (role, slot) = node.map_or((None, None), |node| (node.role, node.slot));
        if let Some(slot) = slot
            && value != Scalar::Null
        {
            self.keep(slot, value.clone());
        }
        // What is said of one element is not said of the record.
        let role = role.filter(|_| self.lists == 0);
        match (role, value) {
            (Some(Role::Message(rank)), Scalar::Text(text))
                if !text.is_empty() && self.message.as_ref().is_none_or(|(best, _)| rank < *best) =>
            {
                self.message = Some((rank, text));
            }
            (Some(Role::Severity(rank)), value) => {
                let severity = match &value {
                    Scalar::Text(text) => Severity::parse(text),
                    Scalar::Int(number) => Severity::of_number(*number),
                    _ => None,
                };
                if let Some(severity) = severity
                    && self.severity.is_none_or(|(best, _)| rank < best)
                {
                    self.severity = Some((rank, severity));
                }
            }
            (Some(Role::Label(rank)), Scalar::Text(text)) => {
                if self.labels.is_empty() {
                    self.labels.resize(self.picker.labels, Cow::Borrowed(b""));
                }
                if let Some(label) = self.labels.get_mut(rank)
                    && label.is_empty()
                {
                    *label = text;
                }
            }
            (None, Scalar::Text(text)) if self.depth == 0 && text.len() > self.longest.len() => {
                self.longest = text
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Scalar<'_> {
        Scalar::Text(Cow::Borrowed(text.as_bytes()))
    }

    #[test]
    fn finds_nested_and_literal_paths_and_prefers_the_first() {
        let picker = Picker::new(&Settings::default(), &RuleSet::default());
        let mut picking = picker.start(b"kube.x");
        picking.scalar(b"log", text("second"));
        picking.scalar(b"message", text("first"));
        picking.scalar(b"log.level", text("WARN"));
        assert!(!picking.enter(b"other"));
        assert!(picking.enter(b"kubernetes"));
        picking.scalar(b"container_name", text("api"));
        picking.scalar(b"message", text("not a message here"));
        picking.leave();
        let record = picking.finish();
        assert_eq!(record.message, Cow::Borrowed(b"first"));
        assert_eq!(record.severity, Some(Severity::Warn));
        assert_eq!(record.labels[1], Cow::Borrowed(b"api"));
    }

    #[test]
    fn falls_back_to_the_longest_text() {
        let picker = Picker::new(&Settings::default(), &RuleSet::default());
        let mut picking = picker.start(b"t");
        picking.scalar(b"a", text("short"));
        picking.scalar(b"b", text("the longest text"));
        picking.scalar(b"PRIORITY", Scalar::Int(3));
        let record = picking.finish();
        assert_eq!((&*record.message, record.severity), (&b"the longest text"[..], Some(Severity::Error)));
    }
}
