//! A compiled set of rules: takes a message and a record's fields, gives the highest-scoring rule that hits.
//!
//! One pass over the message looks for the literals that the rules require, whatever the number of rules, and one over each
//! field that rules ask for; only a rule whose literal occurs is tried itself. Patterns that require no literal are run
//! together, as one automaton. All matchers are finite automata, so no pattern and no message can make one backtrack.

use std::{collections::BTreeSet, sync::Arc};

use regex_automata::PatternSet;

use super::{
    Categories, Compiled, Rule, builtin_rules, compile,
    field::{
        Expr, FieldPath,
        test::{Check, Paths, Slot, View},
    },
    finder::Finder,
    numerals::Numerals,
    outline::{Grams, Outline, Reach},
    pattern::{Caches, Matcher},
    recall::Known,
};
use crate::{
    mask::Skeleton,
    record::{Fields, Severity},
    verdict::RuleHit,
};

/// Bytes that the rules of one call may read in all: 32 patterns on the longest message. Reached only by a long
/// message stuffed with many rules' words; the highest-scoring rules are tried first.
const MAX_WORK_BYTES: usize = 2 << 20;

/// What a search that is to find every rule may read: as good as no limit.
const ALL_BYTES: usize = usize::MAX;

/// What rules are matched against.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'r> {
    /// The message.
    pub message: &'r [u8],
    /// The record's own level.
    pub severity: Option<Severity>,
    /// The values of its fields, picked for this set.
    pub fields: &'r Fields<'r>,
}

/// A message, and nothing else.
impl<'r> From<&'r [u8]> for Subject<'r> {
    fn from(message: &'r [u8]) -> Subject<'r> {
        const NONE: &Fields<'_> = &Fields { stamp: 0, values: Vec::new(), items: Vec::new() };
        Subject { message, severity: None, fields: NONE }
    }
}

/// Rules, compiled. Cheap to share, immutable; what a search needs besides is in [`Scratch`].
#[derive(Debug, Default)]
pub struct RuleSet {
    /// Highest score first, then by name: the first that hits is the best.
    pub(super) entries: Vec<Entry>,
    /// The ways by which the entries' patterns are found, in the entries' order.
    pub(super) ways: Vec<Outline>,
    /// The categories of each, apart because they are asked of every candidate.
    pub(super) selectors: Vec<Categories>,
    /// The entry of each.
    pub(super) owners: Vec<u32>,
    /// All patterns that are matched one by one; rules refer to them by number.
    pub(super) matchers: Vec<Matcher>,
    pub(super) finder: Finder,
    pub(super) numerals: Numerals,
    /// First those that a record without fields can have something for.
    pub(super) hooks: Vec<Hook>,
    /// How many those are.
    pub(super) hooks_with_stand_in: usize,
    /// The ways of entries that have to be tried on every record.
    pub(super) always: Vec<u32>,
    /// The matcher of the patterns without a required literal, and their ways.
    pub(super) open: Option<usize>,
    pub(super) open_ways: Vec<u32>,
    /// The ways of entries for which a record's own level is as good as a match.
    pub(super) levels: Vec<(Severity, u32)>,
    /// The names of rules that read nothing but a record's level.
    pub(super) level_only: BTreeSet<Arc<str>>,
    pub(super) paths: Paths,
    pub(super) hash: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Arc<str>,
    pub(super) category: Arc<str>,
    pub(super) description: Arc<str>,
    pub(super) score: f32,
    pub(super) pattern: Pattern,
    pub(super) fields: Option<Box<Expr<Check>>>,
    /// Matchers of which none may match.
    pub(super) unless: Box<[u32]>,
}

/// Where a rule's pattern is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// It has none.
    None,
    /// A matcher of its own.
    Own(u32),
    /// Part of the open matcher.
    Open,
}

/// The rules that depend on one field: on its being there, or on a literal in it.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) slot: Slot,
    pub(super) there: Vec<u32>,
    pub(super) finder: Finder,
}

/// Reusable memory of a search, so that none allocates. Any set may use any scratch; it is quickest to stay with one.
#[derive(Debug, Default)]
pub struct Scratch {
    candidates: Vec<Candidate>,
    /// One bit a way: whether it is among the candidates.
    pub(super) listed: Vec<u64>,
    /// One bit a way: whether the pattern need not be matched any more.
    settled: Vec<u64>,
    open: Option<PatternSet>,
    pub(super) grams: Grams,
    pub(super) tries: Tries,
}

/// A way by which its entry may hit, and where in the message a match begins at the earliest (while candidates are
/// gathered: where one of the way's literals was first seen).
type Candidate = (u32, usize);

/// In the place of a match's beginning: the entry hits, there is nothing to look for.
const SURE: usize = usize::MAX;

/// The matchers' memory, and how much may still be read.
#[derive(Debug, Default)]
pub(super) struct Tries {
    pub(super) caches: Caches,
    left: usize,
}

impl Tries {
    /// Takes bytes off what may be read; `false` if that is used up.
    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        // Even an empty text costs something.
        self.left = self.left.saturating_sub(bytes.saturating_add(8));
        self.left > 0
    }

    pub(super) fn is_match(&mut self, matchers: &[Matcher], number: u32, text: &[u8]) -> bool {
        self.is_match_from(matchers, number, text, 0)
    }

    /// Whether a matcher matches in a text, none of whose matches begins before `from`.
    fn is_match_from(&mut self, matchers: &[Matcher], number: u32, text: &[u8], from: usize) -> bool {
        let number = number as usize;
        let Some(matcher) = matchers.get(number) else { return false };
        if self.left == 0 {
            return false;
        }
        let found = self.caches.is_match(number, matcher, text, from, self.left);
        let steps = self.caches.take_steps();
        self.spend(steps) && found
    }
}

#[cfg(test)]
impl Scratch {
    /// Bytes that the rules read, beyond the search for literals, in the last call of [`RuleSet::matches`].
    pub(super) fn bytes_read(&self) -> usize {
        ALL_BYTES - self.tries.left
    }
}

impl RuleSet {
    /// Compiles rules. A later rule replaces a built-in one of the same name; any other repeated name is a problem.
    pub fn compile(rules: Vec<Rule>) -> Compiled {
        compile::compile(rules)
    }

    /// The rules that ship with Oddline.
    pub fn builtin() -> RuleSet {
        RuleSet::compile(builtin_rules()).set
    }

    /// What the rule that hit is about, in the words of its file.
    pub fn description(&self, hit: &RuleHit) -> Option<&str> {
        let order = |entry: &Entry| hit.score.total_cmp(&entry.score).then_with(|| entry.name.cmp(&hit.name));
        let place = self.entries.binary_search_by(order).ok()?;
        self.entries.get(place).map(|entry| &*entry.description)
    }

    /// Whether the rule of this name reads nothing but how grave the program calls its own record.
    pub fn is_level_only(&self, name: &str) -> bool {
        self.level_only.contains(name)
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Hash of all that decides what hits and how it is told: the same for the same rules in any order.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The fields that the rules ask for; a [`crate::Picker`] for this set finds them.
    pub fn paths(&self) -> &[FieldPath] {
        &self.paths.paths
    }

    /// What tells the values picked for these paths from others.
    pub(crate) fn paths_stamp(&self) -> u64 {
        self.paths.stamp
    }

    /// The highest-scoring rule (of equals, the first by name) among the categories that hits. `silenced` says which of
    /// those that would hit do not count.
    pub fn best(
        &self,
        subject: Subject<'_>,
        categories: Categories,
        silenced: impl Fn(&str) -> bool,
        scratch: &mut Scratch,
    ) -> Option<RuleHit> {
        self.best_of(subject, categories, None, silenced, scratch).map(|(_, hit)| hit)
    }

    /// What a hit of each rule says, in the order in which [`RuleSet::best_of`] counts them.
    pub(crate) fn hits(&self) -> impl Iterator<Item = RuleHit> {
        self.entries.iter().map(Entry::hit)
    }

    /// As [`RuleSet::best`], with the number of the rule, where the ways by which rules may hit a message of this skeleton may be known.
    pub(crate) fn best_of(
        &self,
        subject: Subject<'_>,
        categories: Categories,
        known: Option<(&Known, &Skeleton)>,
        silenced: impl Fn(&str) -> bool,
        scratch: &mut Scratch,
    ) -> Option<(u32, RuleHit)> {
        let most = MAX_WORK_BYTES.max(subject.message.len().saturating_mul(2));
        self.search(subject, categories, known, most, scratch);
        let Scratch { candidates, settled, tries, .. } = scratch;
        let view = self.view(subject);
        for own in candidates.chunk_by(|one, other| self.owner(*one) == self.owner(*other)) {
            let (number, entry) = self.entry(own)?;
            if self.is_hit(own, entry, view, settled, tries) && !silenced(&entry.name) {
                return Some((number, entry.hit()));
            }
            if tries.left == 0 {
                break;
            }
        }
        None
    }

    /// The best rule of a kind among those that score less than the one that [`RuleSet::best_of`] has just given for this
    /// subject with this scratch: what else is to be known of a record. Rules of other kinds are not tried.
    pub(crate) fn next_best(
        &self,
        subject: Subject<'_>,
        best: u32,
        is_kind: impl Fn(u32, &str) -> bool,
        scratch: &mut Scratch,
    ) -> Option<u32> {
        let Scratch { candidates, settled, tries, .. } = scratch;
        let view = self.view(subject);
        let entries = candidates.chunk_by(|one, other| self.owner(*one) == self.owner(*other));
        let mut below =
            entries.filter_map(|own| Some((own, self.entry(own)?))).filter(|(_, (number, _))| *number > best);
        below.find_map(|(own, (number, entry))| {
            let is_wanted = tries.left > 0 && is_kind(number, &entry.name);
            (is_wanted && self.is_hit(own, entry, view, settled, tries)).then_some(number)
        })
    }

    /// Every rule that hits, best first: for people who ask why, not for the hot path.
    pub fn matches(&self, subject: Subject<'_>, scratch: &mut Scratch) -> Vec<RuleHit> {
        self.search(subject, Categories::ALL, None, ALL_BYTES, scratch);
        let Scratch { candidates, settled, tries, .. } = scratch;
        let view = self.view(subject);
        let entries = candidates.chunk_by(|one, other| self.owner(*one) == self.owner(*other));
        entries
            .filter_map(|own| Some((own, self.entry(own)?)))
            .filter(|(own, (_, entry))| self.is_hit(own, entry, view, settled, tries))
            .map(|(_, (_, entry))| entry.hit())
            .collect()
    }

    fn owner(&self, (way, _): Candidate) -> Option<u32> {
        self.owners.get(way as usize).copied()
    }

    /// The entry to which the ways lead, with its number.
    fn entry(&self, ways: &[Candidate]) -> Option<(u32, &Entry)> {
        let number = self.owner(*ways.first()?)?;
        Some((number, self.entries.get(number as usize)?))
    }

    fn view<'r>(&self, subject: Subject<'r>) -> View<'r> {
        let fields = Some(subject.fields).filter(|fields| fields.stamp == self.paths.stamp);
        let (values, items) = fields.map_or((&[][..], &[][..]), |fields| (&fields.values, &fields.items));
        View { values, items, message: subject.message, severity: subject.severity }
    }

    fn is_hit(
        &self,
        ways: &[Candidate],
        entry: &Entry,
        view: View<'_>,
        settled: &[u64],
        tries: &mut Tries,
    ) -> bool {
        if ways.iter().any(|(_, first)| *first == SURE) {
            return true;
        }
        let is_settled = || ways.iter().any(|(way, _)| has_bit(settled, *way));
        let matches = match entry.pattern {
            Pattern::None => true,
            Pattern::Open => is_settled(),
            Pattern::Own(matcher) => {
                is_settled()
                    || ways.iter().map(|(_, first)| *first).min().is_some_and(|first| {
                        tries.is_match_from(&self.matchers, matcher, view.message, first)
                    })
            }
        };
        matches
            && entry.fields.as_ref().is_none_or(|fields| {
                fields.holds(&mut |check: &Check| check.holds(view, &self.matchers, tries))
            })
            && !entry.unless.iter().any(|matcher| tries.is_match(&self.matchers, *matcher, view.message))
            // A test that could not be made any more says nothing.
            && tries.left > 0
    }

    /// Lists the ways by which entries can hit, best first, and notes whose patterns are settled already. `most`: bytes that
    /// patterns may read.
    fn search(
        &self,
        subject: Subject<'_>,
        categories: Categories,
        known: Option<(&Known, &Skeleton)>,
        most: usize,
        scratch: &mut Scratch,
    ) {
        let Scratch { candidates, listed, settled, open, grams, tries } = scratch;
        grams.forget();
        tries.caches.belong_to(self.hash, self.matchers.len());
        tries.left = most;
        candidates.clear();
        // Not filled with zeros: most often it is empty, and to fill nothing took 100 ns on a processor with AVX-512.
        settled.clear();
        if let Some((known, _)) = known {
            known.ways.iter().for_each(|way| _ = set_bit(listed, way.number));
        }
        let mut list = |number: u32, place: usize| {
            if self.is_selected(number, categories) && set_bit(listed, number) {
                candidates.push((number, place));
            }
        };
        if known.is_none() {
            self.find(subject.message, grams, &mut list);
        }
        self.always.iter().for_each(|number| list(*number, 0));
        for (_, number) in self.levels.iter().filter(|(level, _)| Some(*level) == subject.severity) {
            set_bit(settled, *number);
            list(*number, 0);
        }
        let view = self.view(subject);
        let is_bare = view.values.is_empty();
        let bare = if is_bare { self.hooks_with_stand_in } else { self.hooks.len() };
        for hook in self.hooks.iter().take(bare) {
            self.find_in(hook, view, &mut list);
        }
        if let Some(number) = self.open {
            self.find_open(number, subject.message, open, tries, &mut |way| {
                set_bit(settled, way);
                list(way, 0);
            });
        }
        // Word by word: to fill them all takes longer than a search that finds next to nothing.
        let known_ways = known.iter().flat_map(|(known, _)| known.ways.iter().map(|way| way.number));
        for way in candidates.iter().map(|(way, _)| *way).chain(known_ways) {
            if let Some(word) = listed.get_mut(way as usize / 64) {
                *word = 0;
            }
        }
        // Most lack something else that their patterns ask for: they are not even sorted.
        candidates.retain_mut(|(way, place)| {
            if has_bit(settled, *way) {
                return true;
            }
            let reach = self.reach(*way, grams, subject.message);
            *place = reach.map_or(*place, |reach| reach.before(*place));
            reach.is_some()
        });
        if let Some((known, skeleton)) = known {
            candidates.extend(known.ways.iter().map(|way| {
                let place = if way.is_sure { SURE } else { way.reach.before(skeleton.at(way.place)) };
                (way.number, place)
            }));
        }
        candidates.sort_unstable();
    }
}

/// What a message may hit by the literals in it alone.
impl RuleSet {
    /// Calls `list` with each way of which a literal occurs in a message, and where.
    pub(super) fn find(&self, message: &[u8], grams: &mut Grams, list: impl FnMut(u32, usize)) {
        if self.finder.sees_windows() {
            let noted = grams.begin();
            self.finder.each(message, |hash| noted.note(hash), list);
        } else {
            self.finder.each(message, |_| {}, list);
        }
    }

    /// Calls `list` with each way that the text a hook looks into opens. Apart, like the next, because most records have neither.
    #[inline(never)]
    fn find_in(&self, hook: &Hook, view: View<'_>, list: &mut dyn FnMut(u32, usize)) {
        hook.slot.with_text(view, |text| {
            hook.there.iter().for_each(|number| list(*number, 0));
            // A place in a field is none in the message.
            hook.finder.each(text, |_| {}, |number, _| list(number, 0));
        });
    }

    /// Calls `list` with each way whose pattern has no literal and matches.
    #[inline(never)]
    fn find_open(
        &self,
        number: usize,
        message: &[u8],
        set: &mut Option<PatternSet>,
        tries: &mut Tries,
        list: &mut dyn FnMut(u32),
    ) {
        let Some(matcher) = self.matchers.get(number) else { return };
        let set = match set {
            Some(set) if set.capacity() == matcher.pattern_len() => set,
            other => other.insert(PatternSet::new(matcher.pattern_len())),
        };
        set.clear();
        tries.caches.which_match(number, matcher, message, tries.left, set);
        set.iter()
            .filter_map(|pattern| self.open_ways.get(pattern.as_usize()))
            .for_each(|number| list(*number));
    }

    pub(super) fn is_selected(&self, way: u32, categories: Categories) -> bool {
        self.selectors.get(way as usize).is_some_and(|selector| selector.intersects(categories))
    }

    pub(super) fn reach(&self, way: u32, grams: &mut Grams, message: &[u8]) -> Option<Reach> {
        self.ways.get(way as usize)?.reach(grams, message)
    }
}

impl Entry {
    fn hit(&self) -> RuleHit {
        RuleHit { name: Arc::clone(&self.name), category: Arc::clone(&self.category), score: self.score }
    }
}

/// Sets a bit; whether it was clear before.
pub(super) fn set_bit(bits: &mut Vec<u64>, number: u32) -> bool {
    let (word, mask) = (number as usize / 64, 1u64 << (number % 64));
    if bits.len() <= word {
        bits.resize(word.saturating_add(1), 0);
    }
    bits.get_mut(word).is_some_and(|bits| {
        let clear = *bits & mask == 0;
        *bits |= mask;
        clear
    })
}

fn has_bit(bits: &[u64], number: u32) -> bool {
    bits.get(number as usize / 64).is_some_and(|bits| bits & (1u64 << (number % 64)) != 0)
}
