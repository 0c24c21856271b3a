//! A compiled set of rules: takes a message, gives the highest-scoring rule that matches it.
//!
//! One automaton looks for the literals that the rules require, in a single pass over the message whatever the number
//! of rules; only a rule whose literal occurs has its own pattern run. Rules that require no literal are run together,
//! as one automaton. All matchers are finite automata, so no pattern and no message can make one backtrack.

use std::{collections::BTreeMap, sync::Arc};

use regex_automata::{Input, PatternSet, meta::Regex};
use regex_syntax::hir::Hir;
use twox_hash::XxHash3_64;

use super::{
    Categories, MAX_COMPILED_BYTES, MAX_RULES, MAX_SET_BYTES, Rule, RuleProblem, builtin_rules,
    finder::{Finder, Literals},
    literal, pattern,
};
use crate::{record::Severity, verdict::RuleHit};

/// Bytes that the patterns of one call may read in all: 32 patterns on the longest message. Reached only by a long
/// message stuffed with many rules' words; the highest-scoring rules are tried first.
const MAX_WORK_BYTES: usize = 2 << 20;
/// Most memory of the rules that require no literal, as one automaton.
const MAX_OPEN_BYTES: usize = 8 << 20;
/// What a byte of literal may cost in the compact automaton.
const LITERAL_BYTE_COST: usize = 64;

/// A set of rules and what had to be left out of it.
#[derive(Debug)]
pub struct Compiled {
    /// The rules that are good.
    pub set: RuleSet,
    /// The others, and why.
    pub problems: Vec<RuleProblem>,
}

/// Rules, compiled. Cheap to share, immutable; what a search needs besides is in [`Scratch`].
#[derive(Debug, Default)]
pub struct RuleSet {
    /// Highest score first, then by name: the first that matches is the best.
    entries: Vec<Entry>,
    finder: Finder,
    /// The entries without a required literal, as one matcher, and their numbers.
    open: Option<Regex>,
    open_entries: Vec<u32>,
    /// Entries that also hit by a record's own level.
    levels: Vec<(Severity, u32)>,
    hash: u64,
}

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    category: Arc<str>,
    description: Arc<str>,
    selector: Categories,
    score: f32,
    /// `None`: part of the open matcher.
    regex: Option<Regex>,
}

/// Reusable memory of a search, so that none allocates.
#[derive(Debug, Default)]
pub struct Scratch {
    candidates: Vec<u32>,
    /// One bit an entry: whether it is among the candidates.
    listed: Vec<u64>,
    open: Option<PatternSet>,
}

impl RuleSet {
    /// Compiles rules. A later rule replaces a built-in one of the same name; any other repeated name is a problem.
    pub fn compile(rules: Vec<Rule>) -> Compiled {
        let mut problems = Vec::new();
        let mut chosen = choose(rules, &mut problems);
        chosen.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.name.cmp(&b.name)));

        let (mut set, mut literals, mut open) = (RuleSet::default(), Literals::default(), Vec::new());
        let (mut bytes, mut open_bytes, mut digest) = (0usize, 0usize, String::new());
        for rule in chosen {
            let number = u32::try_from(set.entries.len()).unwrap_or(u32::MAX);
            let built = build(&rule, &mut bytes, &mut open_bytes);
            let (hir, texts, regex) = match built {
                Ok(parts) => parts,
                Err(reason) => {
                    problems.push(RuleProblem::of(&rule, "pattern", reason));
                    continue;
                }
            };
            let regex = match texts {
                Some(texts) => {
                    literals.add(texts, number);
                    Some(regex)
                }
                None => {
                    open.push(hir);
                    set.open_entries.push(number);
                    None
                }
            };
            digest.push_str(&format!(
                "{}\0{}\0{}\0{}\0{:?}\n",
                rule.name, rule.pattern, rule.score, rule.category, rule.level
            ));
            let selector = Categories::of(&rule.category);
            set.levels.extend(rule.level.map(|level| (level, number)));
            set.entries.push(Entry {
                name: rule.name,
                category: rule.category,
                description: rule.description,
                selector,
                score: rule.score,
                regex,
            });
        }
        set.hash = XxHash3_64::oneshot(digest.as_bytes());
        if !open.is_empty() {
            // Twice the sum of its parts is enough; were it not, the problem would say so.
            match pattern::compile(&open, MAX_OPEN_BYTES.saturating_mul(2)) {
                Ok(regex) => set.open = Some(regex),
                Err(reason) => problems.push(whole(&reason)),
            }
        }
        match literals.build() {
            Ok(finder) => set.finder = finder,
            Err(reason) => problems.push(whole(&reason)),
        }
        Compiled { set, problems }
    }

    /// The rules that ship with Oddline.
    pub fn builtin() -> RuleSet {
        RuleSet::compile(builtin_rules()).set
    }

    /// What a rule of this name is about, in the words of its file.
    pub fn description(&self, name: &str) -> Option<&str> {
        self.entries.iter().find(|entry| *entry.name == *name).map(|entry| &*entry.description)
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Hash of names, patterns, scores, categories and levels: the same for the same rules in any order.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The highest-scoring rule (of equals, the first by name) among the categories that matches the message, or
    /// whose level is the record's own. `silenced` says which names do not count.
    pub fn best(
        &self,
        message: &[u8],
        severity: Option<Severity>,
        categories: Categories,
        silenced: impl Fn(&str) -> bool,
        scratch: &mut Scratch,
    ) -> Option<RuleHit> {
        let counts = |number: &u32| self.entry(*number).is_some_and(|entry| !silenced(&entry.name));
        let mut best = self.of_level(severity, categories).find(counts);
        self.search(message, categories, scratch);
        if let Some(found) = self.open_matches(categories, scratch).find(counts) {
            best = Some(best.map_or(found, |best| best.min(found)));
        }
        let mut work = 0usize;
        for number in &scratch.candidates {
            work = work.saturating_add(message.len());
            if best.is_some_and(|best| best <= *number) || work > MAX_WORK_BYTES.max(message.len()) {
                break;
            }
            if self.matches_one(*number, message) && counts(number) {
                best = Some(*number);
                break;
            }
        }
        self.entry(best?).map(Entry::hit)
    }

    /// Every rule that matches, best first: for people who ask why, not for the hot path.
    pub fn matches(&self, message: &[u8], severity: Option<Severity>, scratch: &mut Scratch) -> Vec<RuleHit> {
        self.search(message, Categories::ALL, scratch);
        let mut found: Vec<u32> = self.open_matches(Categories::ALL, scratch).collect();
        found.extend(scratch.candidates.iter().filter(|number| self.matches_one(**number, message)));
        found.extend(self.of_level(severity, Categories::ALL));
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|number| self.entry(number)).map(Entry::hit).collect()
    }

    fn entry(&self, number: u32) -> Option<&Entry> {
        self.entries.get(number as usize)
    }

    fn selected(&self, number: u32, categories: Categories) -> bool {
        self.entry(number).is_some_and(|entry| entry.selector.intersects(categories))
    }

    fn matches_one(&self, number: u32, message: &[u8]) -> bool {
        let regex = self.entry(number).and_then(|entry| entry.regex.as_ref());
        regex.is_some_and(|regex| regex.is_match(message))
    }

    /// Lists the entries whose literal occurs, best first, and leaves the open matcher's answer in the scratch.
    fn search(&self, message: &[u8], categories: Categories, scratch: &mut Scratch) {
        let Scratch { candidates, listed, open } = scratch;
        candidates.clear();
        self.finder.each(message, |number| {
            if set_bit(listed, number) && self.selected(number, categories) {
                candidates.push(number);
            }
        });
        listed.fill(0);
        candidates.sort_unstable();
        if let Some(regex) = &self.open {
            let set = match open {
                Some(set) if set.capacity() == regex.pattern_len() => set,
                other => other.insert(PatternSet::new(regex.pattern_len())),
            };
            set.clear();
            regex.which_overlapping_matches(&Input::new(message), set);
        }
    }

    /// What [`RuleSet::search`] found among the rules without a literal.
    fn open_matches(&self, categories: Categories, scratch: &Scratch) -> impl Iterator<Item = u32> {
        let found = self.open.as_ref().and(scratch.open.as_ref()).into_iter().flat_map(PatternSet::iter);
        let numbers = found.filter_map(|pattern| self.open_entries.get(pattern.as_usize()).copied());
        numbers.filter(move |number| self.selected(*number, categories))
    }

    fn of_level(&self, severity: Option<Severity>, categories: Categories) -> impl Iterator<Item = u32> {
        let numbers =
            self.levels.iter().filter(move |(level, _)| Some(*level) == severity).map(|(_, number)| *number);
        numbers.filter(move |number| self.selected(*number, categories))
    }
}

impl Entry {
    fn hit(&self) -> RuleHit {
        RuleHit { name: Arc::clone(&self.name), category: Arc::clone(&self.category), score: self.score }
    }
}

/// Settles repeated names and the limit on rules, and drops what is turned off.
fn choose(rules: Vec<Rule>, problems: &mut Vec<RuleProblem>) -> Vec<Rule> {
    let mut chosen: Vec<Rule> = Vec::new();
    let mut places: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for rule in rules {
        let place = places.get(&rule.name).copied();
        match place.and_then(|place| chosen.get_mut(place)) {
            Some(earlier) if earlier.is_builtin() && !rule.is_builtin() => *earlier = rule,
            Some(earlier) => {
                let reason =
                    format!("is already used by the rule at {}:{}; rename one", earlier.file, earlier.line);
                problems.push(RuleProblem::of(&rule, "name", reason));
            }
            None => {
                places.insert(Arc::clone(&rule.name), chosen.len());
                chosen.push(rule);
            }
        }
    }
    chosen.retain(|rule| rule.enabled);
    if let Some(first) = chosen.get(MAX_RULES) {
        let reason = format!(
            "there are {} rules, more than the limit of {MAX_RULES}; this one and what follows is left out",
            chosen.len()
        );
        problems.push(RuleProblem::of(first, "rules", reason));
        chosen.truncate(MAX_RULES);
    }
    chosen
}

type Built = (Hir, Option<Vec<Vec<u8>>>, Regex);

/// Syntax tree, literals and matcher of a rule, if they fit into what the set may still take.
fn build(rule: &Rule, bytes: &mut usize, open_bytes: &mut usize) -> Result<Built, String> {
    let hir = pattern::parse(&rule.pattern)?;
    let regex = pattern::compile(std::slice::from_ref(&hir), MAX_COMPILED_BYTES)?;
    let texts = literal::required(&hir);
    let (used, limit) = if texts.is_some() { (bytes, MAX_SET_BYTES) } else { (open_bytes, MAX_OPEN_BYTES) };
    let literal_bytes = texts.iter().flatten().map(Vec::len).sum::<usize>();
    let sum = used
        .saturating_add(regex.memory_usage())
        .saturating_add(literal_bytes.saturating_mul(LITERAL_BYTE_COST));
    if sum > limit {
        let kind = if texts.is_some() { "" } else { " that contain no text of three letters" };
        return Err(format!(
            "with this one, the rules{kind} need more than {limit} bytes; remove or shorten some"
        ));
    }
    *used = sum;
    Ok((hir, texts, regex))
}

fn whole(reason: &str) -> RuleProblem {
    RuleProblem {
        file: Arc::from("rules"),
        line: 0,
        rule: None,
        key: "pattern".to_owned(),
        reason: format!("all rules together: {reason}"),
    }
}

/// Sets a bit; whether it was clear before.
fn set_bit(bits: &mut Vec<u64>, number: u32) -> bool {
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
