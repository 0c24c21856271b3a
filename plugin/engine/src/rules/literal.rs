//! Required literals: takes a pattern's syntax tree, gives lower-case texts of which every match contains at least one.
//!
//! The extraction walks the tree bottom up. Each node is described by the finite set of texts it can match, if that set
//! is small, and by the best set of texts of which one must occur inside any match. Both hold without regard to ASCII
//! case, so `[Ff]ailed` and `failed` are the same.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::finder::is_ordinary;

/// A literal shorter than this occurs too often to be worth looking for.
pub(super) const MIN_LITERAL: usize = 3;
/// Longer literals are cut: they find hardly less.
pub(super) const MAX_LITERAL: usize = 24;
/// Most texts of a pattern, as its branches add up.
const MAX_TEXTS: usize = 192;
/// Most texts that joining neighbours may multiply into.
const MAX_JOINED: usize = 32;
/// Most bytes of a class that are spelled out.
const MAX_CLASS: usize = 4;

/// Besides [`is_ordinary`] words, what is looked for only where a pattern offers nothing else.
const COMMON: [&[u8]; 3] = [b"http/", b"fail", b"connection to"];

/// The literal to look for where this text must occur; `None` if it is too short.
pub(super) fn of_text(text: &str) -> Option<Vec<u8>> {
    let mut literal = text.as_bytes().to_ascii_lowercase();
    literal.truncate(MAX_LITERAL);
    (literal.len() >= MIN_LITERAL).then_some(literal)
}

pub(super) type Texts = Vec<Vec<u8>>;

/// Texts of which each match contains at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Required {
    pub(super) texts: Texts,
    /// Most bytes from where a match begins to where its text ends; `None` if there is no limit.
    pub(super) reach: Option<usize>,
}

/// What is known about one node of the tree.
struct Facts {
    /// All texts it can match, if few.
    exact: Option<Texts>,
    required: Option<Required>,
}

/// Lower-case literals, one of which is in every match; `None` if the pattern promises nothing of [`MIN_LITERAL`] bytes.
pub(super) fn required(hir: &Hir) -> Option<Required> {
    let facts = walk(hir);
    let mut best = better(facts.exact.map(Required::whole), facts.required)?;
    for text in &mut best.texts {
        text.truncate(MAX_LITERAL);
    }
    best.texts.sort_unstable();
    best.texts.dedup();
    Some(best)
}

impl Required {
    /// All that a node can match.
    fn whole(texts: Texts) -> Required {
        Required { reach: Some(longest(&texts)), texts }
    }

    /// The same, behind what takes so many bytes at most.
    fn behind(self, before: Option<usize>) -> Required {
        Required { reach: plus(before, self.reach), ..self }
    }
}

fn longest(texts: &Texts) -> usize {
    texts.iter().map(Vec::len).max().unwrap_or(0)
}

/// The sum of two lengths that may have no limit.
fn plus(one: Option<usize>, other: Option<usize>) -> Option<usize> {
    one.zip(other).and_then(|(one, other)| one.checked_add(other))
}

/// Most sets of a branch besides its trigger, and most texts of a set, that are kept.
const MAX_SETS: usize = 3;
const MAX_SET: usize = 48;

/// A way through a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    /// Those of the pattern's [`required`] literals of which a match that goes this way contains one.
    pub(super) trigger: Texts,
    /// More sets of lower-case literals: such a match contains one literal of each.
    pub(super) sets: Vec<Texts>,
    /// Most bytes from where such a match begins to where the first of the trigger's literals ends; `None` if there is no
    /// limit.
    pub(super) reach: Option<usize>,
}

/// The branches of a pattern that requires these literals: every match goes through one of them.
pub(super) fn branches(hir: &Hir, required: &[Vec<u8>]) -> Vec<Branch> {
    ways(hir).into_iter().map(|sets| Branch::new(sets, required)).collect()
}

/// For each branch of the pattern all that is known to be required there.
fn ways(hir: &Hir) -> Vec<Vec<Required>> {
    match hir.kind() {
        HirKind::Capture(capture) => ways(&capture.sub),
        HirKind::Alternation(parts) => parts.iter().flat_map(ways).collect(),
        HirKind::Concat(parts) => {
            // What alternatives begin with in common stands before them.
            let (head, tail) = match parts.split_last() {
                Some((last, head)) if walk(last).exact.is_none() => (head, ways(last)),
                _ => (&**parts, vec![Vec::new()]),
            };
            let mut before = Vec::new();
            let whole = runs(head, |required| before.push(required));
            before.extend(whole.map(Required::whole));
            let most = head.iter().try_fold(0, |sum, part| plus(Some(sum), part.properties().maximum_len()));
            let behind = |sets: Vec<Required>| sets.into_iter().map(move |required| required.behind(most));
            tail.into_iter().map(|sets| before.iter().cloned().chain(behind(sets)).collect()).collect()
        }
        _ => {
            let facts = walk(hir);
            vec![facts.exact.map(Required::whole).into_iter().chain(facts.required).collect()]
        }
    }
}

impl Branch {
    /// Keeps the best of the sets.
    fn new(mut all: Vec<Required>, listed: &[Vec<u8>]) -> Branch {
        for Required { texts, .. } in &mut all {
            texts.iter_mut().for_each(|text| text.truncate(MAX_LITERAL));
            texts.sort_unstable();
            texts.dedup();
        }
        let is_listed = |set: &&Required| set.texts.iter().all(|text| listed.binary_search(text).is_ok());
        let trigger = all.iter().filter(is_listed).max_by_key(|set| (set.reach.is_some(), worth(&set.texts)));
        let (trigger, reach) =
            trigger.map_or_else(|| (listed.to_vec(), None), |set| (set.texts.clone(), set.reach));
        let mut sets: Vec<Texts> = all.into_iter().map(|set| set.texts).collect();
        sets.retain(|texts| texts.len() <= MAX_SET && worth(texts).is_some() && *texts != trigger);
        sets.sort_by_cached_key(|texts| (std::cmp::Reverse(worth(texts)), texts.clone()));
        sets.dedup();
        sets.truncate(MAX_SETS);
        Branch { trigger, sets, reach }
    }
}

fn walk(hir: &Hir) -> Facts {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => exactly(vec![Vec::new()]),
        HirKind::Literal(literal) => exactly(vec![literal.0.to_ascii_lowercase()]),
        HirKind::Class(class) => Facts { exact: spell_out(class), required: None },
        HirKind::Capture(capture) => walk(&capture.sub),
        HirKind::Repetition(repetition) => {
            let sub = walk(&repetition.sub);
            match (repetition.min, repetition.max) {
                (1, Some(1)) => sub,
                (0, Some(1)) => Facts {
                    exact: sub.exact.map(|mut texts| {
                        texts.push(Vec::new());
                        texts
                    }),
                    required: None,
                },
                (0, _) => Facts { exact: None, required: None },
                _ => Facts { exact: None, required: better(sub.exact.map(Required::whole), sub.required) },
            }
        }
        HirKind::Concat(parts) => concat(parts),
        HirKind::Alternation(branches) => alternation(branches),
    }
}

fn exactly(texts: Texts) -> Facts {
    Facts { exact: Some(texts), required: None }
}

/// The best run, or the best inner literal of another part, is required.
fn concat(parts: &[Hir]) -> Facts {
    let mut best = None;
    let exact = runs(parts, |required| best = better(best.take(), Some(required)));
    match exact {
        Some(_) => Facts { exact, required: best },
        None => Facts { exact: None, required: best },
    }
}

/// Neighbours with few texts are joined into runs. Calls `found` with every set of texts one of which is in each match,
/// but for all texts of the whole, which it gives if they are few.
fn runs(parts: &[Hir], mut found: impl FnMut(Required)) -> Option<Texts> {
    let (mut run, mut whole): (Texts, bool) = (vec![Vec::new()], true);
    // Most bytes before the run.
    let mut before = Some(0);
    for part in parts {
        // Most parts of most patterns: no need for lists of lists.
        if let Some(letter) = letter(part) {
            run.iter_mut().for_each(|text| text.push(letter));
            continue;
        }
        // `a+` ends one run and begins the next with its `a`.
        let again = repeated(part).and_then(|sub| walk(sub).exact);
        if let Some(once) = again {
            whole = false;
            let behind = plus(before, Some(longest(&run)));
            found(Required::whole(product(&run, &once).unwrap_or(run)).behind(before));
            let shortest = once.iter().map(Vec::len).min().unwrap_or(0);
            before = plus(behind, part.properties().maximum_len().map(|most| most - shortest.min(most)));
            run = once;
            continue;
        }
        let facts = walk(part);
        let behind = plus(before, Some(longest(&run)));
        facts.required.into_iter().for_each(|required| found(required.behind(behind)));
        let joined = facts.exact.as_deref().and_then(|texts| product(&run, texts));
        if let Some(joined) = joined {
            run = joined;
            continue;
        }
        // The run ends here, and the next one begins with this part if that can be spelled out.
        whole = false;
        found(Required::whole(run).behind(before));
        before = behind;
        run = facts.exact.unwrap_or_else(|| {
            before = plus(behind, part.properties().maximum_len());
            vec![Vec::new()]
        });
    }
    if whole {
        return Some(run);
    }
    found(Required::whole(run).behind(before));
    None
}

/// What a part repeats once at least and maybe more often.
fn repeated(part: &Hir) -> Option<&Hir> {
    match part.kind() {
        HirKind::Repetition(repetition) if repetition.min == 1 && repetition.max != Some(1) => {
            Some(&repetition.sub)
        }
        _ => None,
    }
}

/// The one lower-case byte that a part stands for, such as `a` for `[Aa]`.
fn letter(part: &Hir) -> Option<u8> {
    match part.kind() {
        HirKind::Literal(literal) => match *literal.0 {
            [byte] => Some(byte.to_ascii_lowercase()),
            _ => None,
        },
        HirKind::Class(Class::Bytes(class)) => match class.ranges() {
            [one] if one.start() == one.end() => Some(one.start().to_ascii_lowercase()),
            [upper, lower]
                if upper.start() == upper.end()
                    && lower.start() == lower.end()
                    && upper.start().to_ascii_lowercase() == lower.start() =>
            {
                Some(lower.start())
            }
            _ => None,
        },
        _ => None,
    }
}

/// Every branch must have its literal, else a match through the one without would be missed.
fn alternation(branches: &[Hir]) -> Facts {
    let (mut exact, mut required) = (Some(Texts::new()), Some(Required::whole(Texts::new())));
    for branch in branches {
        let facts = walk(branch);
        exact = exact.zip(facts.exact.clone()).and_then(|(all, more)| union(all, more));
        let literals = better(facts.exact.map(Required::whole), facts.required);
        required = required.zip(literals).and_then(|(all, more)| {
            let reach = all.reach.zip(more.reach).map(|(one, other)| one.max(other));
            Some(Required { texts: union(all.texts, more.texts)?, reach })
        });
    }
    Facts { exact, required }
}

fn union(mut all: Texts, more: Texts) -> Option<Texts> {
    all.extend(more);
    all.sort_unstable();
    all.dedup();
    (all.len() <= MAX_TEXTS).then_some(all)
}

fn product(left: &[Vec<u8>], right: &[Vec<u8>]) -> Option<Texts> {
    if left.len().saturating_mul(right.len()) > MAX_JOINED {
        return None;
    }
    Some(
        left.iter().flat_map(|head| right.iter().map(move |tail| [head.as_slice(), tail].concat())).collect(),
    )
}

/// A class's bytes in lower case; `None` if many, or if it holds more than ASCII.
fn spell_out(class: &Class) -> Option<Texts> {
    let mut bytes = Vec::new();
    let mut add = |first: u8, last: u8| {
        for byte in first..=last {
            let lower = byte.to_ascii_lowercase();
            if !bytes.contains(&lower) {
                bytes.push(lower);
            }
            if bytes.len() > MAX_CLASS {
                return None;
            }
        }
        Some(())
    };
    match class {
        Class::Bytes(class) => class.iter().try_for_each(|range| add(range.start(), range.end()))?,
        // The parser makes one of alternatives of a letter each.
        Class::Unicode(class) => class.iter().try_for_each(|range| {
            let ascii = |letter: char| u8::try_from(letter).ok().filter(u8::is_ascii);
            add(ascii(range.start())?, ascii(range.end())?)
        })?,
    }
    Some(bytes.into_iter().map(|byte| vec![byte]).collect())
}

/// What makes a set better than another; `None` if one of its texts is too short.
fn worth(texts: &Texts) -> Option<(bool, usize, usize)> {
    let shortest = texts.iter().map(Vec::len).min().unwrap_or(0);
    let rare =
        texts.iter().all(|text| !COMMON.contains(&text.trim_ascii()) && !is_ordinary(text.trim_ascii()));
    (shortest >= MIN_LITERAL)
        .then(|| (rare, shortest.min(MAX_LITERAL), usize::MAX.saturating_sub(texts.len())))
}

/// The set without common texts, then the one whose shortest text is longer, then the one with fewer texts.
/// Sets with too short texts are none.
fn better(left: Option<Required>, right: Option<Required>) -> Option<Required> {
    let left = left.and_then(|required| Some((worth(&required.texts)?, required)));
    let right = right.and_then(|required| Some((worth(&required.texts)?, required)));
    match (left, right) {
        (Some(left), Some(right)) => Some(if right.0 > left.0 { right.1 } else { left.1 }),
        (left, right) => left.or(right).map(|(_, required)| required),
    }
}

#[cfg(test)]
mod tests {
    fn check(pattern: &str, wanted: Option<&str>) {
        let hir = super::super::pattern::parse(pattern).expect(pattern);
        let found = super::required(&hir).map(|required| {
            required.texts.iter().map(|text| String::from_utf8_lossy(text)).collect::<Vec<_>>().join("|")
        });
        assert_eq!(found.as_deref(), wanted, "{pattern}");
    }

    #[test]
    fn finds_what_every_match_contains() {
        check("Out of memory", Some("out of memory"));
        check("(?-i:ERROR)", Some("error"));
        check(r"\bfailed\s+to connect\b", Some("to connect"));
        check(r"(connect|bind) failed", Some("bind failed|connect failed"));
        check(r"timed[ -]?out after \d+", Some("timed out after |timed-out after |timedout after "));
        check(r"(a.*refused|.*denied!)x", Some("denied!|refused"));
        check(r"(?:abc){2,}", Some("abc"));
        check(r"(?:x\d(?:panic|oops)\d)+", Some("oops|panic"));
        check(r"[a-z]+ error", Some(" error"));
        check(r"cron.*(failed|exited)", Some("cron"));
        check(r"fail[ :]+x\d", Some("fail |fail:"));
        check(r"no +\w+ -+> none", Some("-> none"));
        check(r"x(?:ab|c)+de", Some("abde|cde"));
    }

    #[test]
    fn promises_nothing_without_three_bytes_in_every_branch() {
        check(r"\d+:\d+", None);
        check("(refused|no)", None);
        check("(?:abc)?d", None);
        check("(?:abc)*x", None);
        check("ab", None);
        check("[^a]bc", None);
    }
}
