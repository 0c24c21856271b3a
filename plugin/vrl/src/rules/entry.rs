//! One rule, ready to be written: takes it as the engine has it, gives its regexes, conditions and what it leaves when it
//! hits, or why VRL cannot have it. Knows no other rule.

use std::sync::Arc;

use oddline_engine::rules::Rule;

use crate::text;

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
    /// What is pushed onto the hits: rank, name, score, category and description, so that the least is the best.
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
    pub(crate) fn new(rank: usize, rule: &Rule) -> Result<Entry, String> {
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
        let key =
            format!("{rank:05}\t{}\t{:.3}\t{}\t{}", rule.name, rule.score, rule.category, rule.description);
        let key = text::string(&key);
        let place = (Arc::clone(&rule.file), rule.line);
        let level = rule.level.map(|level| level as u8);
        Ok(Entry { category: Arc::clone(&rule.category), level, key, matcher, fields, place, unless })
    }

    /// Whether there is nothing to ask beside the pattern.
    pub(crate) fn is_plain(&self) -> bool {
        self.fields.is_none() && self.unless.is_empty()
    }

    /// What is pushed onto the hits, as a string literal.
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

    /// The statement that records a hit where `first` and the rule's own conditions hold; `plain` where there is a text
    /// with stand-ins.
    pub(crate) fn statement(&self, first: Option<String>, plain: bool) -> String {
        let mut all: Vec<String> = first.into_iter().collect();
        all.extend(self.unless.iter().map(|(with_stand_ins, original)| match with_stand_ins {
            Some(regex) if plain => format!("!{}", matches(regex, Text::Plain)),
            _ => format!("!{}", matches(original, Text::Original)),
        }));
        all.extend(self.fields.iter().map(|fields| fields.text.clone()));
        let push = format!("rules_hits = push(rules_hits, {})", self.key);
        if all.is_empty() { format!("{push}\n") } else { format!("if {} {{ {push} }}\n", all.join(" && ")) }
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
