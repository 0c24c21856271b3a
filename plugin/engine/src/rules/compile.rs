//! Builds a [`RuleSet`]: takes rules as written, gives the set and every rule that had to be left out, with the reason.
//!
//! Each rule is filed under what a message or a field must contain for it to hit; a rule that is refused leaves no trace.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use regex_syntax::hir::Hir;
use twox_hash::XxHash3_64;

use super::{
    Categories, MAX_COMPILED_BYTES, MAX_FIELD_PATHS, MAX_RULES, MAX_SET_BYTES, Rule, RuleProblem,
    field::{
        self, Expr, FieldPath, Test,
        test::{Check, Needs, Slot},
    },
    finder::Literals,
    literal::{self, Texts},
    numerals::Numerals,
    outline::Outline,
    pattern::{self, Matcher},
    set::{Entry, Hook, Pattern, RuleSet},
};

/// Most memory of the rules that require no literal, as one automaton.
const MAX_OPEN_BYTES: usize = 8 << 20;
/// Most rules that can hit records without any of their fields, and so are tried on every record.
const MAX_ALWAYS: usize = 64;
/// What a byte of literal may cost in the compact automaton.
const LITERAL_BYTE_COST: usize = 64;

/// A set of rules and what had to be left out of it.
#[derive(Debug)]
pub struct Compiled {
    /// The rules that are good.
    pub set: RuleSet,
    /// Those that are not, and why.
    pub problems: Vec<RuleProblem>,
    /// Good rules that only another host can run: those with `when`.
    pub left_out: Vec<RuleProblem>,
}

pub(super) fn compile(rules: Vec<Rule>) -> Compiled {
    let (mut problems, mut left_out) = (Vec::new(), Vec::new());
    let mut chosen = choose(rules, &mut problems);
    chosen.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.name.cmp(&b.name)));
    let mut builder = Builder::default();
    // Also those that another host runs: it asks this engine what their hits are worth.
    let level_only: BTreeSet<Arc<str>> =
        chosen.iter().filter(|rule| rule.level_only).map(|rule| Arc::clone(&rule.name)).collect();
    for rule in chosen {
        if rule.when.is_some() {
            let reason = "is VRL, which runs in the sidecar and in `oddline scan`, not in the shipper: the rule is left \
                          out here; write the condition into `fields` to have it here too";
            left_out.push(RuleProblem::of(&rule, "when", reason));
            continue;
        }
        let before = builder.mark();
        if let Err((key, reason)) = builder.add(&rule) {
            builder.back_to(before);
            problems.push(RuleProblem::of(&rule, key, &reason));
        }
    }
    let mut set = builder.finish(&mut problems);
    set.level_only = level_only;
    Compiled { set, problems, left_out }
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
                problems.push(RuleProblem::of(&rule, "name", &reason));
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
        problems.push(RuleProblem::of(first, "rules", &reason));
        chosen.truncate(MAX_RULES);
    }
    chosen
}

/// A set under construction.
#[derive(Default)]
struct Builder {
    set: RuleSet,
    literals: Literals,
    /// For each slot in use: the rules that need a value there, and those that need a text in it.
    hooks: Vec<(Slot, Vec<u32>, Literals)>,
    open: Vec<Hir>,
    bytes: usize,
    open_bytes: usize,
    digest: String,
}

/// What of a builder a refused rule may have changed.
struct Mark {
    matchers: usize,
    paths: usize,
    bytes: usize,
    open_bytes: usize,
}

type Refusal = (&'static str, String);
/// A rule's field expressions, joined, and what a record must have for them to hold.
type Conditions = (Option<Box<Expr<Check>>>, Needs);

impl Builder {
    fn mark(&self) -> Mark {
        Mark {
            matchers: self.set.matchers.len(),
            paths: self.set.paths.paths.len(),
            bytes: self.bytes,
            open_bytes: self.open_bytes,
        }
    }

    fn back_to(&mut self, mark: Mark) {
        self.set.matchers.truncate(mark.matchers);
        self.set.paths.paths.truncate(mark.paths);
        (self.bytes, self.open_bytes) = (mark.bytes, mark.open_bytes);
    }

    /// Nothing that [`Builder::back_to`] does not undo happens before the last refusal.
    fn add(&mut self, rule: &Rule) -> Result<(), Refusal> {
        let has_fields = !rule.fields.is_empty();
        let hir = if rule.pattern.is_empty() && has_fields {
            None
        } else {
            Some(pattern::parse(&rule.pattern).map_err(|reason| ("pattern", reason))?)
        };
        let required = hir.as_ref().and_then(literal::required);
        let (fields, needs) = self.fields(rule).map_err(|reason| ("fields", reason))?;
        let mut unless = Vec::new();
        for text in &rule.unless {
            let matcher = pattern::parse(text).and_then(|hir| self.matcher(&hir));
            unless.push(matcher.map_err(|reason| ("unless", reason))?);
        }
        let outlines = hir.as_ref().zip(required.as_ref());
        let outlines = outlines.map(|(hir, required)| Outline::by_literals(hir, required));
        let pattern = match &hir {
            None => Pattern::None,
            Some(hir) if required.is_some() || needs != Needs::Nothing => {
                Pattern::Own(self.matcher(hir).map_err(|reason| ("pattern", reason))?)
            }
            Some(hir) => {
                let matcher = Matcher::new(std::slice::from_ref(hir), MAX_COMPILED_BYTES);
                let bytes = matcher.map_err(|reason| ("pattern", reason))?.memory_usage();
                charge(&mut self.open_bytes, bytes, MAX_OPEN_BYTES, " that contain no text of three letters")
                    .map_err(|reason| ("pattern", reason))?;
                Pattern::Open
            }
        };
        self.file_under(outlines, needs, pattern, rule)?;
        if let (Pattern::Open, Some(hir)) = (pattern, hir) {
            let way = self.way(rule, Outline::default());
            self.set.open_ways.push(way);
            self.open.push(hir);
        }
        self.digest.push_str(&format!(
            "{}\0{}\0{:?}\0{:?}\0{}\0{}\0{:?}\0{}\n",
            rule.name,
            rule.pattern,
            rule.fields,
            rule.unless,
            rule.score,
            rule.category,
            rule.level,
            rule.level_only
        ));
        if let Some(level) = rule.level {
            let way = self.way(rule, Outline::default());
            self.set.levels.push((level, way));
        }
        self.set.entries.push(Entry {
            name: Arc::clone(&rule.name),
            category: Arc::clone(&rule.category),
            description: Arc::clone(&rule.description),
            score: rule.score,
            pattern,
            fields,
            unless: unless.into_boxed_slice(),
        });
        Ok(())
    }

    /// A new way to the rule that is being added; its number.
    fn way(&mut self, rule: &Rule, outline: Outline) -> u32 {
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let way = number(self.set.ways.len());
        self.set.ways.push(outline);
        self.set.selectors.push(Categories::of(&rule.category));
        self.set.owners.push(number(self.set.entries.len()));
        way
    }

    fn fields(&mut self, rule: &Rule) -> Result<Conditions, String> {
        if rule.fields.is_empty() {
            return Ok((None, Needs::Nothing));
        }
        let parsed: Result<Vec<Expr>, String> = rule.fields.iter().map(|text| field::parse(text)).collect();
        let whole = Expr::All(parsed?);
        let paths = &mut self.set.paths.paths;
        let mut slot_of = |path: &FieldPath| -> Result<Slot, String> {
            let known = paths.iter().position(|known| known == path);
            let index = known.unwrap_or(paths.len());
            if index >= MAX_FIELD_PATHS {
                return Err(format!(
                    "asks for `{path}`, and all rules together already ask for the limit of {MAX_FIELD_PATHS} fields"
                ));
            }
            if known.is_none() {
                paths.push(path.clone());
            }
            Ok(Slot::new(index, path))
        };
        let placed = whole.try_map(&mut |test: Test| {
            let slot = slot_of(&test.path)?;
            Ok::<_, String>((slot, test))
        })?;
        let needs = Needs::of(&placed);
        let matchers = &mut self.set.matchers;
        let bytes = &mut self.bytes;
        let checks = placed.try_map(&mut |(slot, test): (Slot, Test)| {
            Check::new(test, slot, &mut |hir| matcher(matchers, bytes, hir))
        })?;
        Ok((Some(Box::new(checks)), needs))
    }

    fn matcher(&mut self, hir: &Hir) -> Result<u32, String> {
        matcher(&mut self.set.matchers, &mut self.bytes, hir)
    }

    /// Files the rule under the texts that its pattern requires, else under what its fields need.
    fn file_under(
        &mut self,
        outlines: Option<BTreeMap<Texts, Outline>>,
        needs: Needs,
        pattern: Pattern,
        rule: &Rule,
    ) -> Result<(), Refusal> {
        if let Some(outlines) = outlines {
            let texts = outlines.keys().flatten().map(Vec::len);
            let bytes = texts.sum::<usize>().saturating_mul(LITERAL_BYTE_COST);
            charge(&mut self.bytes, bytes, MAX_SET_BYTES, "").map_err(|reason| ("pattern", reason))?;
            for (texts, outline) in outlines {
                let way = self.way(rule, outline);
                self.literals.add(texts, way);
            }
            return Ok(());
        }
        match needs {
            Needs::OneOf(needs) => {
                let texts = needs.iter().flat_map(|need| &need.text);
                let bytes = texts.map(Vec::len).sum::<usize>().saturating_mul(LITERAL_BYTE_COST);
                charge(&mut self.bytes, bytes, MAX_SET_BYTES, "").map_err(|reason| ("fields", reason))?;
                let way = self.way(rule, Outline::default());
                for need in needs {
                    let known = self.hooks.iter().position(|(slot, ..)| *slot == need.slot);
                    let place = known.unwrap_or_else(|| {
                        self.hooks.push((need.slot, Vec::new(), Literals::default()));
                        self.hooks.len().saturating_sub(1)
                    });
                    let Some((_, there, literals)) = self.hooks.get_mut(place) else { continue };
                    match need.text {
                        Some(text) => literals.add(vec![text], way),
                        None if there.last() == Some(&way) => {}
                        None => there.push(way),
                    }
                }
            }
            Needs::Nothing if pattern == Pattern::None => {
                if self.set.always.len() >= MAX_ALWAYS {
                    return Err((
                        "fields",
                        format!(
                            "can hold for a record that has none of its fields, as {MAX_ALWAYS} other rules can, which is \
                             the limit; ask for one that exists: `({}) and … exists`",
                            rule.fields.first().map_or("", String::as_str)
                        ),
                    ));
                }
                let way = self.way(rule, Outline::default());
                self.set.always.push(way);
            }
            Needs::Nothing => {}
        }
        Ok(())
    }

    fn finish(mut self, problems: &mut Vec<RuleProblem>) -> RuleSet {
        self.set.hash = XxHash3_64::oneshot(self.digest.as_bytes());
        if !self.set.paths.paths.is_empty() {
            let text: String = self.set.paths.paths.iter().map(|path| format!("{path}\n")).collect();
            self.set.paths.stamp = XxHash3_64::oneshot(text.as_bytes());
        }
        if !self.open.is_empty() {
            // Twice the sum of its parts is enough; were it not, the problem would say so.
            match Matcher::new(&self.open, MAX_OPEN_BYTES.saturating_mul(2)) {
                Ok(matcher) => {
                    self.set.open = Some(self.set.matchers.len());
                    self.set.matchers.push(matcher);
                }
                Err(reason) => problems.push(whole(&reason)),
            }
        }
        let mut built = |literals: Literals| {
            literals.build().unwrap_or_else(|reason| {
                problems.push(whole(&reason));
                Default::default()
            })
        };
        self.set.finder = built(self.literals);
        self.set.numerals = Numerals::new(&self.set.finder);
        self.hooks.sort_by_key(|(slot, ..)| !slot.has_stand_in());
        self.set.hooks_with_stand_in = self.hooks.iter().take_while(|(slot, ..)| slot.has_stand_in()).count();
        let hooks = self.hooks.into_iter();
        self.set.hooks =
            hooks.map(|(slot, there, literals)| Hook { slot, there, finder: built(literals) }).collect();
        self.set
    }
}

/// Adds a matcher to a set's; gives its number.
fn matcher(matchers: &mut Vec<Matcher>, bytes: &mut usize, hir: &Hir) -> Result<u32, String> {
    let matcher = Matcher::new(std::slice::from_ref(hir), MAX_COMPILED_BYTES)?;
    charge(bytes, matcher.memory_usage(), MAX_SET_BYTES, "")?;
    let number = u32::try_from(matchers.len()).map_err(|_| "there are too many patterns".to_owned())?;
    matchers.push(matcher);
    Ok(number)
}

fn charge(used: &mut usize, bytes: usize, limit: usize, kind: &str) -> Result<(), String> {
    *used = used.saturating_add(bytes);
    if *used > limit {
        return Err(format!(
            "with this one, the rules{kind} need more than {limit} bytes; remove or shorten some"
        ));
    }
    Ok(())
}

fn whole(reason: &str) -> RuleProblem {
    RuleProblem::new(&Arc::from("rules"), 0, None, "pattern", &format!("all rules together: {reason}"))
}
