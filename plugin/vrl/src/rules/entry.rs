//! One rule, ready to be written: takes it as the engine has it, gives its regexes, conditions and what it leaves when it
//! hits, or why VRL cannot have it. Knows no other rule.

use std::sync::Arc;

use oddline_engine::{Settings, rules::Rule};

use crate::{text, verdict};

use super::{
    fields::{self, Condition},
    gate::{self, Depth, How, Piece},
    pattern::{self, Text},
};

/// A rule in the words of VRL.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The severity that is as good as a match.
    pub(crate) level: Option<u8>,
    /// What a hit adds to `rules_hits`, see [`super::best`]: the least is the best.
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
        let is_plain = |text: &str| !text.contains(['\t', '\n']);
        if !is_plain(name) || !is_plain(&rule.category) {
            return Err(
                "its name or category has a tab or a line end, which stand between them in the program"
                    .to_owned(),
            );
        }
        let weights = verdict::weights(settings, score);
        let mut reason = format!("rule {name}");
        if !rule.description.is_empty() {
            reason.push_str(&format!(" ({})", rule.description.replace(['\t', '\n'], " ")));
        }
        let key = format!("{rank:05}\t{name}\t{score:.3}\t{weights}\t{}\t{reason}\n", rule.category);
        let key = text::string(&key);
        let place = (Arc::clone(&rule.file), rule.line);
        let level = rule.level.map(|level| level as u8);
        Ok(Entry { level, key, matcher, fields, place, unless })
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

    /// The statement that notes a hit behind a gate.
    pub(crate) fn gated(&self, matcher: &Matcher) -> String {
        self.statement(Some(matches(&matcher.regex, matcher.text)), true)
    }

    /// The statement that notes a hit where `first` and the rule's own conditions hold; `has_stand_ins` where there are the
    /// texts with stand-ins.
    ///
    /// It is as short as can be, for Vector types a statement three times for each block around it, and copies it for each
    /// batch of events: which hit is the best, and whether it counts, is found once all are known. For the same reason there
    /// is one `if` for all conditions, and rules stand one after the other rather than in an `else` of the one before.
    pub(crate) fn statement(&self, first: Option<String>, has_stand_ins: bool) -> String {
        let unless = self.unless.iter().map(|(regex, text, original)| match has_stand_ins {
            true => format!("!{}", matches(regex, *text)),
            false => format!("!{}", matches(original, Text::Original)),
        });
        let fields = self.fields.iter().map(|fields| fields.text.clone());
        let all: Vec<String> = first.into_iter().chain(unless).chain(fields).collect();
        format!("if {} {{ rules_hits = rules_hits + {} }}\n", all.join(" && "), self.key)
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
            pieces: gate::pieces(&hir, How { depth: Depth::One, text: kind }),
            pairs: gate::pieces(&hir, How { depth: Depth::Two, text: kind }).unwrap_or_default(),
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
