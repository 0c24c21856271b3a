//! One rule, ready to be written: takes it as the engine has it, gives its regexes, conditions and what it leaves when it
//! hits, or why VRL cannot have it. Knows no other rule.

use std::sync::Arc;

use oddline_engine::{Settings, rules::Rule};

use crate::{text, verdict};

use super::{
    fields::{self, Condition},
    gate::{self, Depth, Piece},
    pattern::{self, Text},
};

/// A rule in the words of VRL.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its category.
    pub(crate) category: Arc<str>,
    /// The severity that is as good as a match.
    pub(crate) level: Option<u8>,
    /// Its place among all rules, best first.
    pub(crate) rank: usize,
    /// Its name, as a string literal.
    name: String,
    /// What the best hit becomes: rank, name, score, its weights, category and description, so that the least is the best.
    key: String,
    /// None for rules of fields alone.
    pub(crate) matcher: Option<Matcher>,
    fields: Option<Condition>,
    /// File and line.
    place: (Arc<str>, usize),
    /// Patterns of which none may match, for both texts.
    unless: Vec<(Option<String>, String)>,
}

/// A rule's own pattern.
#[derive(Debug)]
pub(crate) struct Matcher {
    /// The regex.
    pub(crate) regex: String,
    /// What it is for.
    pub(crate) text: Text,
    /// The same for the message as it came.
    pub(crate) original: String,
    /// What a gate of many rules may look for.
    pub(crate) pieces: Option<Vec<Piece>>,
    /// What a gate of few rules may look for.
    pub(crate) pairs: Vec<Piece>,
}

impl Entry {
    /// The rule that is the `rank`th best.
    ///
    /// # Errors
    /// What VRL cannot express.
    pub(crate) fn new(rank: usize, rule: &Rule, settings: &Settings) -> Result<Entry, String> {
        if rule.when.is_some() {
            return Err("when: conditions in VRL run in the sidecar, where they are checked; write this one into `fields`"
                .to_owned());
        }
        let fields = if rule.fields.is_empty() { None } else { Some(fields::condition(&rule.fields)?) };
        let matcher = if rule.pattern.is_empty() { None } else { Some(Matcher::new(&rule.pattern)?) };
        let mut unless = Vec::new();
        for text in &rule.unless {
            let hir = pattern::parse(text)?;
            let (regex, kind) = pattern::translate(&hir)?;
            unless.push(((kind == Text::Plain).then_some(regex), pattern::translate_original(&hir)?));
        }
        let (name, score) = (&rule.name, rule.score);
        let weights = verdict::weights(settings, score);
        let key =
            format!("{rank:05}\t{name}\t{score:.3}\t{weights}\t{}\t{}", rule.category, rule.description);
        let key = text::string(&key);
        let place = (Arc::clone(&rule.file), rule.line);
        let level = rule.level.map(|level| level as u8);
        let name = text::string(&rule.name);
        Ok(Entry {
            category: Arc::clone(&rule.category),
            level,
            rank,
            name,
            key,
            matcher,
            fields,
            place,
            unless,
        })
    }

    /// Whether a gate can stand for its pattern, and nothing else must be known but the message and fields.
    pub(crate) fn is_gated(&self) -> bool {
        let reads_level = self.fields.as_ref().is_some_and(|fields| fields.text.contains("severity"));
        self.matcher.as_ref().is_some_and(|matcher| matcher.pieces.is_some()) && !reads_level
    }

    /// What the best hit becomes, as a string literal.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Where it was written.
    pub(crate) fn place(&self) -> (Arc<str>, usize) {
        self.place.clone()
    }

    /// Fields of which one must be there; none: it may hit any event.
    pub(crate) fn needs(&self) -> &[String] {
        self.fields.as_ref().map_or(&[], |fields| &fields.needs)
    }

    /// Names at the top level under which the fields are that it reads.
    pub(crate) fn names(&self) -> &[String] {
        self.fields.as_ref().map_or(&[], |fields| &fields.names)
    }

    /// What must hold: `first`, the rule's own conditions, and that it is not silenced if it can be; `plain` where there
    /// is a text with stand-ins.
    pub(crate) fn conditions(
        &self,
        first: Option<String>,
        plain: bool,
        can_be_silenced: bool,
    ) -> Vec<String> {
        let mut all: Vec<String> = first.into_iter().collect();
        all.extend(self.unless.iter().map(|(with_stand_ins, original)| match with_stand_ins {
            Some(regex) if plain => format!("!{}", matches(regex, Text::Plain)),
            _ => format!("!{}", matches(original, Text::Original)),
        }));
        all.extend(self.fields.iter().map(|fields| fields.text.clone()));
        all.extend(can_be_silenced.then(|| format!("!includes(rules_silenced, {})", self.name)));
        all
    }

    /// The statement that records a hit where `first` and the rule's own conditions hold.
    pub(crate) fn statement(&self, first: Option<String>, silenced: Silenced<'_>) -> String {
        let record = format!("if {} < rules_best {{ rules_best = {} }}\n", self.key, self.key);
        let unless = format!("if !includes(rules_silenced, {}) {{ {} }}\n", self.name, record.trim_end());
        let record = match silenced {
            Silenced::Never => record,
            Silenced::Asked => unless,
            Silenced::Ask(statements) => format!("{statements}{unless}"),
        };
        let all = self.conditions(first, false, false);
        if all.is_empty() { record } else { format!("if {} {{\n{record}}}\n", all.join(" && ")) }
    }
}

/// How a statement knows which rules are silenced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Silenced<'s> {
    /// None can be.
    Never,
    /// It has been asked before.
    Asked,
    /// By these statements.
    Ask(&'s str),
}

impl<'s> Silenced<'s> {
    /// Where the statements that ask, if there are any, are to be run here.
    pub(crate) fn ask(statements: &'s str) -> Self {
        if statements.is_empty() { Silenced::Never } else { Silenced::Ask(statements) }
    }

    /// Where they have been run.
    pub(crate) fn asked(statements: &str) -> Self {
        if statements.is_empty() { Silenced::Never } else { Silenced::Asked }
    }
}

impl Matcher {
    fn new(text: &str) -> Result<Matcher, String> {
        let hir = pattern::parse(text)?;
        let (regex, kind) = pattern::translate(&hir)?;
        Ok(Matcher {
            regex,
            text: kind,
            original: pattern::translate_original(&hir)?,
            pieces: gate::pieces(&hir, Depth::One),
            pairs: gate::pieces(&hir, Depth::Two).unwrap_or_default(),
        })
    }
}

/// An expression: whether a regex matches.
///
/// The regex stands in a block because Vector clones a program for every batch of events. A regex that is an argument by
/// itself is compiled into the function, and loses with each clone all that it has built; one that is a value is shared.
pub(crate) fn matches(regex: &str, text: Text) -> String {
    format!("match({}, {{r'{regex}'}})", local(text))
}

/// The local that has the text.
pub(crate) fn local(text: Text) -> &'static str {
    match text {
        Text::Plain => "rules_text",
        Text::Original => "message",
    }
}
