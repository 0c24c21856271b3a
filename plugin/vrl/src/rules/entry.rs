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
    /// Its name between two tabs, as a string literal.
    name: String,
    /// What the best hit becomes: rank, name, score, its weights, category and description, so that the least is the best.
    key: String,
    /// None for rules of fields alone.
    pub(crate) matcher: Option<Matcher>,
    fields: Option<Condition>,
    /// File and line.
    place: (Arc<str>, usize),
    /// Patterns of which none may match, with what they are for, and for the message as it came.
    unless: Vec<(String, Text, String)>,
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
            unless.push((regex, kind, pattern::translate_original(&hir)?));
        }
        let (name, score) = (&rule.name, rule.score);
        let weights = verdict::weights(settings, score);
        let key =
            format!("{rank:05}\t{name}\t{score:.3}\t{weights}\t{}\t{}", rule.category, rule.description);
        let key = text::string(&key);
        let place = (Arc::clone(&rule.file), rule.line);
        let level = rule.level.map(|level| level as u8);
        let name = text::string(&format!("\t{}\t", rule.name));
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

    /// What must hold: that no better rule has hit, `first`, the rule's own conditions, and that it is not silenced if it
    /// can be; `has_stand_ins` where there are the texts with stand-ins.
    ///
    /// One `if` for all of it, and rules one after the other rather than in an `else` of the one before: a statement is
    /// typed three times for each block around it.
    fn conditions(&self, first: Option<String>, has_stand_ins: bool, can_be_silenced: bool) -> String {
        let mut all = vec![format!("rules_best > \"{:05}\"", self.rank)];
        all.extend(first);
        all.extend(self.unless.iter().map(|(regex, text, original)| match has_stand_ins {
            true => format!("!{}", matches(regex, *text)),
            false => format!("!{}", matches(original, Text::Original)),
        }));
        all.extend(self.fields.iter().map(|fields| fields.text.clone()));
        all.extend(can_be_silenced.then(|| self.is_heard()));
        all.join(" && ")
    }

    /// An expression: that it is not silenced.
    fn is_heard(&self) -> String {
        format!("!contains(rules_known, {})", self.name)
    }

    /// The statement that records a hit behind a gate.
    pub(crate) fn gated(&self, matcher: &Matcher, category: Option<String>, can_be_silenced: bool) -> String {
        let first = matches(&matcher.regex, matcher.text);
        let first = category.into_iter().fold(first, |all, category| format!("{all} && {category}"));
        let all = self.conditions(Some(first), true, can_be_silenced);
        format!("if {all} {{ rules_best = {} }}\n", self.key)
    }

    /// The statement that records a hit where `first` and the rule's own conditions hold.
    pub(crate) fn statement(&self, first: Option<String>, silenced: Silenced<'_>) -> String {
        let record = format!("rules_best = {}\n", self.key);
        let record = match silenced {
            Silenced::Ask(statements) => {
                format!("{statements}if {} {{ {} }}\n", self.is_heard(), record.trim_end())
            }
            Silenced::Never | Silenced::Asked => record,
        };
        let all = self.conditions(first, false, matches!(silenced, Silenced::Asked));
        format!("if {all} {{\n{record}}}\n")
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
fn local(text: Text) -> &'static str {
    match text {
        Text::Lower => "rules_low",
        Text::Plain => "rules_text",
        Text::Original => "message",
    }
}
