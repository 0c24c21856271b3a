//! Which known message shape a masked message has: bounded online template mining.
//!
//! In the family of Drain (He et al., ICWS 2017): messages of the same number of words and the same first word are
//! compared word by word. Unlike Drain, a word becomes a wildcard only when at least [`MIN_DISTINCT`] different words
//! were seen in its place: `session opened` and `session closed` stay two templates, user names become one. Two are
//! enough where the text itself says that a name or a value stands there: `rhost=db` and `rhost=web`, `for user ann` and
//! `for user bob`.

mod empty;
mod words;

use std::sync::Arc;

use empty::Places;
use words::{
    WILDCARD, accepts, covers, general_text, group, hash_key, hash_word, level_word, names_something, words,
};

use crate::{
    detect::{rate::Rate, told::Told, value::Values},
    mask::PLACEHOLDER,
    memory::{Clock, IdMap},
    record::Severity,
    verdict::TemplateId,
};

/// Different words that must have been seen in a place before it becomes a wildcard.
const MIN_DISTINCT: usize = 4;
/// The same, where a key or the words before say that a value stands there.
const MIN_VALUES: usize = 2;
/// Templates of a group that one new message is compared with, the most recent first.
const MAX_CANDIDATES: usize = 256;
/// Messages with a value in a place after which one without is odd: fewer prove no habit.
const ALWAYS_FILLED: u64 = 8;
/// Masked texts remembered per template slot, for the fast path. Past it the memory of variants is emptied and fills anew.
const VARIANTS_PER_TEMPLATE: usize = 8;

/// One message shape and what is remembered about it.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) id: TemplateId,
    pub(crate) text: Arc<str>,
    words: Box<[u64]>,
    /// For each word of the form `key=value`, the hash of `key=<*>`; else 0.
    keys: Box<[u64]>,
    /// A level word within the text (`ERROR`, `[warn]`), for records without a level field.
    pub(crate) severity: Option<Severity>,
    pub(crate) count: u64,
    pub(crate) first_seen: i64,
    pub(crate) last_seen: i64,
    pub(crate) rate: Rate,
    pub(crate) values: Option<Box<Values>>,
    /// What was told of it.
    pub(crate) told: Option<Box<Told>>,
    /// Longest run of consecutive records that was seen without being odd.
    pub(crate) usual_run: u32,
    pub(crate) since_summary: u32,
    pub(crate) rule_hits: u32,
    /// Whether it came too seldom in the last window, which was told then.
    pub(crate) is_missing: bool,
    /// Where it was empty at some time.
    empties: Places,
}

impl Template {
    fn new(text: Arc<str>, now: i64) -> Template {
        Template {
            id: TemplateId::of(&text),
            words: words(text.as_bytes()).map(hash_word).collect(),
            keys: words(text.as_bytes()).map(hash_key).collect(),
            severity: level_word(&text),
            empties: empty::empty_in(&text),
            text,
            count: 0,
            first_seen: now,
            last_seen: now,
            rate: Rate::default(),
            values: None,
            told: None,
            usual_run: 0,
            since_summary: 0,
            rule_hits: 0,
            is_missing: false,
        }
    }

    fn wildcards(&self) -> usize {
        self.words.iter().filter(|word| **word == WILDCARD).count()
    }

    /// Words that the message has too, and words that differ in the value of one key only.
    fn compare(&self, words: &[u64], keys: &[u64]) -> (usize, usize) {
        let mut counts = (0usize, 0usize);
        for (((own, own_key), word), key) in self.words.iter().zip(&self.keys).zip(words).zip(keys) {
            if own == word || accepts(*own, *key) {
                counts.0 = counts.0.saturating_add(1);
            } else if *key != 0 && own_key == key {
                counts.1 = counts.1.saturating_add(1);
            }
        }
        counts
    }

    fn group(&self) -> u64 {
        group(&self.words)
    }
}

/// Where a message was placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    pub(crate) slot: u32,
    /// No template accepted it: this is the first message of its shape.
    pub(crate) is_new: bool,
    /// It was new, but this share of its words is that of a known template.
    pub(crate) nearest: f32,
    /// A template was generalised to take it in: [`Miner::renamed`] has the old ids.
    pub(crate) renamed: bool,
    /// It has nothing in a place where so many messages all had something: [`Miner::emptied`] has the place in words.
    pub(crate) filled_before: Option<u64>,
}

impl Placement {
    pub(crate) fn known(slot: u32) -> Placement {
        Placement { slot, is_new: false, nearest: 1.0, renamed: false, filled_before: None }
    }
}

/// Templates that other nodes or the state file know, used to give a shape the text (and so the id) it has elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Seeds {
    groups: IdMap<Vec<Seed>>,
}

/// Words and text of one of them.
type Seed = (Box<[u64]>, Arc<str>);

impl Seeds {
    pub(crate) fn new<'t>(texts: impl Iterator<Item = &'t str>) -> Seeds {
        let mut seeds = Seeds::default();
        for text in texts {
            let words: Box<[u64]> = words(text.as_bytes()).map(hash_word).collect();
            if text.contains(PLACEHOLDER) {
                seeds.groups.entry(group(&words)).or_default().push((words, text.into()));
            }
        }
        seeds
    }

    fn find(&self, words: &[u64], keys: &[u64]) -> Option<&Arc<str>> {
        let fits = |seed: &[u64]| seed.len() == words.len() && covers(seed, words, keys);
        self.groups.get(&group(words))?.iter().find(|(seed, _)| fits(seed)).map(|(_, text)| text)
    }
}

/// The templates of one source.
#[derive(Debug, Default)]
pub(crate) struct Miner {
    templates: Clock<Template>,
    /// Hash of a masked text -> where it was placed last, and the id it had there (another id: look again).
    variants: IdMap<(u32, TemplateId)>,
    groups: IdMap<Vec<u32>>,
    /// Scratch: the words of the message at hand.
    words: Vec<u64>,
    /// Scratch: their keys, as in [`Template`].
    keys: Vec<u64>,
    /// Old ids of the template that the last placement generalised, and of those it took in.
    renamed: Vec<TemplateId>,
    /// Slots of those it took in.
    taken_in: Vec<u32>,
    /// What the last message that had nothing in a place had there, in words.
    emptied: String,
}

impl Miner {
    pub(crate) fn len(&self) -> usize {
        self.templates.len()
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Template> {
        self.templates.get(slot)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Template> {
        self.templates.get_mut(slot)
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (u32, &Template)> {
        self.templates.iter()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Template> {
        self.templates.values_mut()
    }

    /// The ids that the template of the last placement, if it was renamed, and those it took in had before.
    pub(crate) fn renamed(&self) -> &[TemplateId] {
        &self.renamed
    }

    /// Slots of the templates that it took in, if it was renamed.
    pub(crate) fn taken_in(&self) -> &[u32] {
        &self.taken_in
    }

    /// The place of [`Placement::filled_before`] in words.
    pub(crate) fn emptied(&self) -> &str {
        &self.emptied
    }

    /// Makes room for one more; gives the slot of what was forgotten.
    pub(crate) fn evict(&mut self) -> Option<u32> {
        let (slot, template) = self.templates.evict()?;
        self.ungroup(slot, template.group());
        Some(slot)
    }

    /// Adds a template as it was saved.
    pub(crate) fn restore(&mut self, text: &str, now: i64) -> Option<(u32, &mut Template)> {
        // It is not saved where it was empty.
        let slot = self.add(Template { empties: Places::ALL, ..Template::new(text.into(), now) });
        Some((slot, self.templates.get_mut(slot)?))
    }

    /// Whether a slot still holds the template of this id, which then is in use.
    pub(crate) fn recognise(&mut self, slot: u32, id: TemplateId) -> bool {
        let is_there = self.templates.get(slot).is_some_and(|template| template.id == id);
        is_there && self.templates.touch(slot).is_some()
    }

    /// Finds the template of a masked message, or makes it one.
    #[inline(never)]
    pub(crate) fn place(&mut self, masked: &[u8], similarity: f64, seeds: &Seeds, now: i64) -> Placement {
        let variant = twox_hash::XxHash3_64::oneshot(masked);
        if let Some((slot, id)) = self.variants.get(&variant)
            && self.templates.get(*slot).is_some_and(|template| template.id == *id)
        {
            self.templates.touch(*slot);
            return Placement::known(*slot);
        }
        let placement = self.search(masked, similarity, seeds, now);
        if self.variants.len() >= self.templates.len().saturating_mul(VARIANTS_PER_TEMPLATE).max(1_024) {
            self.variants.clear();
        }
        if let Some(template) = self.templates.touch(placement.slot) {
            self.variants.insert(variant, (placement.slot, template.id));
        }
        placement
    }

    /// The slow path: a masked text that was not seen lately. What is not UTF-8 is looked for as a template's text has it,
    /// with replacement characters: after a restart there is nothing else to find it by.
    fn search(&mut self, masked: &[u8], similarity: f64, seeds: &Seeds, now: i64) -> Placement {
        let text = String::from_utf8_lossy(masked);
        let masked = text.as_bytes();
        self.words.clear();
        self.words.extend(words(masked).map(hash_word));
        self.keys.clear();
        self.keys.extend(words(masked).map(hash_key));
        let words = &self.words;
        let group = self.groups.get(&group(words)).map(Vec::as_slice).unwrap_or_default();
        let recent = group.get(group.len().saturating_sub(MAX_CANDIDATES)..).unwrap_or_default();

        let mut accepted: Option<(usize, u32)> = None;
        let mut near: Vec<(usize, u32)> = Vec::new();
        let least = (words.len() as f64 * similarity).ceil() as usize;
        for &slot in recent.iter().rev() {
            let Some(template) = self.templates.get(slot) else { continue };
            if template.words.len() != words.len() {
                continue;
            }
            let (equal, similar) = template.compare(words, &self.keys);
            if equal == words.len() {
                let wildcards = template.wildcards();
                if accepted.is_none_or(|(fewest, _)| wildcards < fewest) {
                    accepted = Some((wildcards, slot));
                }
            } else if equal.saturating_add(similar) >= least {
                near.push((equal, slot));
            }
        }
        if let Some((_, slot)) = accepted {
            return Placement { filled_before: self.empties(slot, masked), ..Placement::known(slot) };
        }
        near.sort_by_key(|&(equal, slot)| (std::cmp::Reverse(equal), slot));
        if let Some(&(_, best)) = near.first()
            && let Some(general) = self.generalised(best, masked, &near)
        {
            let text = general_text(masked, &general, &self.keys);
            self.merge(best, &near, general, text);
            return Placement { renamed: true, ..Placement::known(best) };
        }
        let nearest = near.first().map_or(0.0, |&(equal, _)| equal as f32 / words.len().max(1) as f32);
        let filled_before = near.first().and_then(|&(_, slot)| self.empties(slot, masked));
        let seeded = seeds.find(&self.words, &self.keys).cloned();
        let text = seeded.unwrap_or_else(|| text.as_ref().into());
        let slot = self.add(Template::new(text, now));
        Placement { slot, is_new: true, nearest, renamed: false, filled_before }
    }

    /// How many messages of a template had something wherever this one, which is like them, has nothing; `None` if there is
    /// no such place, or if they were too few to say that it is always filled.
    fn empties(&mut self, slot: u32, masked: &[u8]) -> Option<u64> {
        if !empty::may_be_empty(masked) {
            return None;
        }
        let template = self.templates.get_mut(slot)?;
        let place = template.empties.learn(empty::emptied(&template.text, masked)?)?;
        (template.count >= ALWAYS_FILLED).then(|| {
            self.emptied = empty::shown(masked, place);
            template.count
        })
    }

    /// The words of `best` with wildcards where it differs from the message at hand, if every such place has had enough
    /// different words among the near templates.
    fn generalised(&self, best: u32, masked: &[u8], near: &[(usize, u32)]) -> Option<Box<[u64]>> {
        let best = self.templates.get(best)?;
        let mut general = best.words.clone();
        for (place, own) in general.iter_mut().enumerate() {
            let (word, key) = (*self.words.get(place)?, *self.keys.get(place)?);
            if *own == word || accepts(*own, key) {
                continue;
            }
            let same_key = key != 0 && best.keys.get(place) == Some(&key);
            let enough = if same_key || names_something(masked, place) { MIN_VALUES } else { MIN_DISTINCT };
            if self.distinct(place, word, near, enough) < enough {
                return None;
            }
            *own = if same_key { key } else { WILDCARD };
        }
        Some(general)
    }

    /// How many different words, the message's own among them, the near templates have in this place; counted up to `enough`.
    fn distinct(&self, place: usize, word: u64, near: &[(usize, u32)], enough: usize) -> usize {
        let mut seen = vec![word];
        for (_, slot) in near {
            match self.templates.get(*slot).and_then(|template| template.words.get(place)) {
                // A wildcard in a neighbour says that many words were seen there.
                Some(&WILDCARD) => return enough,
                Some(other) if !seen.contains(other) => seen.push(*other),
                _ => {}
            }
            if seen.len() >= enough {
                break;
            }
        }
        seen.len()
    }

    /// Puts the general template in the place of `best` and of the near ones that it covers.
    fn merge(&mut self, best: u32, near: &[(usize, u32)], general: Box<[u64]>, text: Arc<str>) {
        self.renamed.clear();
        self.taken_in.clear();
        let mut taken = Vec::new();
        for &(_, slot) in near.iter().filter(|(_, slot)| *slot != best) {
            let covered = self
                .templates
                .get(slot)
                .is_some_and(|template| covers(&general, &template.words, &template.keys));
            if covered && let Some(template) = self.templates.remove(slot) {
                self.ungroup(slot, template.group());
                taken.push(template);
                self.taken_in.push(slot);
            }
        }
        let Some(template) = self.templates.touch(best) else { return };
        self.renamed.push(template.id);
        self.renamed.extend(taken.iter().map(|other| other.id));
        template.id = TemplateId::of(&text);
        template.keys = words(text.as_bytes()).map(hash_key).collect();
        template.text = text;
        template.words = general;
        for other in taken {
            template.empties.learn(other.empties);
            template.count = template.count.saturating_add(other.count);
            template.first_seen = template.first_seen.min(other.first_seen);
            template.last_seen = template.last_seen.max(other.last_seen);
            template.usual_run = template.usual_run.max(other.usual_run);
            template.is_missing &= other.is_missing;
            template.since_summary = template.since_summary.saturating_add(other.since_summary);
            template.rule_hits = template.rule_hits.saturating_add(other.rule_hits);
            template.rate.absorb(&other.rate);
            match (&mut template.told, other.told) {
                (Some(told), Some(other)) => told.absorb(*other),
                (told @ None, other) => *told = other,
                (Some(_), None) => {}
            }
        }
    }

    fn add(&mut self, template: Template) -> u32 {
        let group = template.group();
        let slot = self.templates.insert(template);
        self.groups.entry(group).or_default().push(slot);
        slot
    }

    fn ungroup(&mut self, slot: u32, group: u64) {
        if let Some(slots) = self.groups.get_mut(&group) {
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.groups.remove(&group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(miner: &mut Miner, text: &str) -> Placement {
        miner.place(text.as_bytes(), 0.5, &Seeds::default(), 0)
    }

    fn text(miner: &Miner, placement: Placement) -> String {
        miner.get(placement.slot).unwrap().text.to_string()
    }

    #[test]
    fn words_become_wildcards_only_after_enough_different_ones() {
        let mut miner = Miner::default();
        for (user, new) in [("ann", true), ("bob", true), ("cyd", true), ("dan", false), ("eve", false)] {
            let placement = place(&mut miner, &format!("session opened for our {user}"));
            assert_eq!(placement.is_new, new, "{user}");
        }
        let known = place(&mut miner, "session opened for our ann");
        assert_eq!((text(&miner, known).as_str(), miner.len()), ("session opened for our <*>", 1));
        let closed = place(&mut miner, "session closed for our ann");
        assert!(closed.is_new && (closed.nearest - 0.8).abs() < 1e-6);
    }

    #[test]
    fn two_values_are_enough_where_the_text_announces_one() {
        let mut miner = Miner::default();
        assert!(place(&mut miner, "session opened for user ann").is_new);
        let bob = place(&mut miner, "session opened for user bob");
        assert!(!bob.is_new && bob.renamed);
        assert_eq!(text(&miner, bob), "session opened for user <*>");
        assert_eq!(miner.renamed(), [TemplateId::of("session opened for user ann")]);
        assert!(place(&mut miner, "poll visible=false, delayed=false, state=up").is_new);
        let other = place(&mut miner, "poll visible=true, delayed=true, state=up");
        assert_eq!(text(&miner, other), "poll visible=<*>, delayed=<*>, state=up");
        assert!(
            place(&mut miner, "poll visible=true, delayed=true, state=down").is_new,
            "that tells how it went"
        );
        assert!(!place(&mut miner, "poll visible=null, delayed=none, state=up").is_new);
    }

    #[test]
    fn the_id_depends_on_the_text_only() {
        let (mut left, mut right) = (Miner::default(), Miner::default());
        let users = ["ann", "bob", "cyd", "dan", "eve"];
        for user in users {
            place(&mut left, &format!("session opened for user {user}"));
        }
        for user in users.iter().rev() {
            place(&mut right, &format!("session opened for user {user}"));
        }
        let id = |miner: &mut Miner| {
            let placement = place(miner, "session opened for user zoe");
            miner.get(placement.slot).unwrap().id
        };
        assert_eq!(id(&mut left), id(&mut right));
        assert_eq!(id(&mut left), TemplateId::of("session opened for user <*>"));
    }

    #[test]
    fn seeds_give_the_text_that_others_use() {
        let mut miner = Miner::default();
        let seeds = Seeds::new(["session opened for user <*>"].into_iter());
        let placement = miner.place(b"session opened for user ann", 0.5, &seeds, 0);
        assert_eq!(text(&miner, placement), "session opened for user <*>");
    }

    #[test]
    fn eviction_keeps_what_is_used() {
        let mut miner = Miner::default();
        for index in 0..3 {
            place(&mut miner, &"w ".repeat(index + 1));
        }
        miner.evict();
        place(&mut miner, "w w ");
        let gone = miner.evict().unwrap();
        assert!(
            miner.get(gone).is_none() && miner.slots().all(|(_, template)| template.text.as_ref() == "w w ")
        );
        assert!(!place(&mut miner, "w w ").is_new);
        assert!(place(&mut miner, "w w w ").is_new);
    }
}
