//! Takes a tag's field, gives the key it has in the user's profile, and back. Must not know: values, msgpack, JSON.
//!
//! The profiles flat, otel and ecs use plain keys at the top level. Dotted names are not turned into nested objects:
//! Elasticsearch expands `event.reason` by itself (and merges it with an `event` object the record may have, which is
//! the record's own and stays as it is), and OpenTelemetry attributes are flat dotted keys.

use std::fmt;

use oddline_engine::{Annotate, Detail, Level, Profile, Settings};

use crate::{DETOUR_KEY, MARKER_KEY, SUMMARY_KEY, TAG_KEY, Tags, tags::Value};

/// How tags are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagStyle {
    /// Key of the object, or the first part of the keys.
    pub key: String,
    /// Which records get tags.
    pub annotate: Annotate,
    /// How much they say.
    pub detail: Detail,
    /// How they are named.
    pub profile: Profile,
}

/// A tag, in the order of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the public contract; the fields of `Tags` explain them")]
pub enum Field {
    Score,
    Level,
    TemplateId,
    Status,
    Flags,
    Rule,
    Category,
    RuleScore,
    Template,
    Similarity,
    Nearest,
    Expected,
    Actual,
    Reason,
    Model,
}

impl Field {
    /// All tags, in the order in which they are written.
    pub const ALL: [Field; 15] = [
        Field::Score,
        Field::Level,
        Field::TemplateId,
        Field::Status,
        Field::Flags,
        Field::Rule,
        Field::Category,
        Field::RuleScore,
        Field::Template,
        Field::Similarity,
        Field::Nearest,
        Field::Expected,
        Field::Actual,
        Field::Reason,
        Field::Model,
    ];

    /// The name within the nested object.
    pub fn as_str(self) -> &'static str {
        match self {
            Field::Score => "score",
            Field::Level => "level",
            Field::TemplateId => "template_id",
            Field::Status => "status",
            Field::Flags => "flags",
            Field::Rule => "rule",
            Field::Category => "category",
            Field::RuleScore => "rule_score",
            Field::Template => "template",
            Field::Similarity => "similarity",
            Field::Nearest => "nearest",
            Field::Expected => "expected",
            Field::Actual => "actual",
            Field::Reason => "reason",
            Field::Model => "model",
        }
    }

    /// Whether it is written at this detail.
    pub fn is_in(self, detail: Detail) -> bool {
        detail == Detail::Full
            || matches!(
                self,
                Field::Score
                    | Field::Level
                    | Field::TemplateId
                    | Field::Status
                    | Field::Flags
                    | Field::Rule
                    | Field::Reason
            )
    }
}

/// A key in parts, so that writing it allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a>(pub(crate) [&'a str; 3]);

impl<'a> Name<'a> {
    /// The parts, to be joined.
    pub fn parts(self) -> [&'a str; 3] {
        self.0
    }

    /// The key, if it is in one part: always within the nested object, and for keys that are not in the profile.
    pub fn whole(self) -> Option<&'a str> {
        match self.0 {
            ["", "", word] => Some(word),
            _ => None,
        }
    }

    pub(crate) fn len(self) -> usize {
        self.0.iter().map(|part| part.len()).fold(0, usize::saturating_add)
    }

    fn is(self, key: &[u8]) -> bool {
        if key.len() != self.len() {
            return false;
        }
        self.0
            .iter()
            .try_fold(key, |key, part| key.strip_prefix(part.as_bytes()))
            .is_some_and(<[u8]>::is_empty)
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| f.write_str(part))
    }
}

impl TagStyle {
    /// The style that a plugin's settings ask for.
    pub fn of(settings: &Settings) -> TagStyle {
        TagStyle {
            key: settings.key().to_owned(),
            annotate: settings.annotate(),
            detail: settings.detail(),
            profile: settings.profile(),
        }
    }

    /// The style of records on the detour: nested and in full, whatever the user sees in the end.
    pub fn pending(&self) -> TagStyle {
        TagStyle {
            key: self.key.clone(),
            annotate: Annotate::All,
            detail: Detail::Full,
            profile: Profile::Nested,
        }
    }

    /// Whether a record with these tags is annotated at all.
    pub fn writes(&self, tags: &Tags) -> bool {
        self.annotate == Annotate::All || tags.is_flagged()
    }

    /// The key of a field at its place: within the object (nested) or at the top level.
    pub fn name(&self, field: Field) -> Name<'_> {
        let word = field.as_str();
        Name(match (self.profile, field) {
            (Profile::Nested, _) => ["", "", word],
            (Profile::Flat, _) => [&self.key, "_", word],
            (Profile::Otel, Field::Template) => ["log.record.", "", word],
            (Profile::Ecs, Field::Score) => ["event.", "", "risk_score_norm"],
            (Profile::Ecs, Field::Rule) => ["rule.", "", "name"],
            (Profile::Ecs, Field::Category) => ["rule.", "", "category"],
            (Profile::Ecs, Field::Reason) => ["event.", "", "reason"],
            (Profile::Otel | Profile::Ecs, _) => [&self.key, ".", word],
        })
    }

    /// The field that has this top-level key; none if the profile is nested.
    #[inline]
    pub(crate) fn field(&self, key: &[u8]) -> Option<Field> {
        if self.profile == Profile::Nested {
            return None;
        }
        Field::ALL.into_iter().find(|field| self.name(*field).is(key))
    }

    /// A field's value as this profile writes it.
    pub(crate) fn rendered<'v>(&self, field: Field, value: Value<'v>) -> Value<'v> {
        match (self.profile, field, value) {
            // One digit after the point is the third of the score.
            (Profile::Ecs, Field::Score, Value::Number(score)) => {
                Value::Number((score * 1_000.0).round() / 10.0)
            }
            _ => value,
        }
    }

    /// The name under which [`Tags`] reads a field of this profile.
    pub(crate) fn gathered(&self, field: Field) -> &'static str {
        match (self.profile, field) {
            (Profile::Ecs, Field::Score) => "risk_score_norm",
            _ => field.as_str(),
        }
    }

    /// Keys and values of tags, for hosts that hold a record as a map of their own and not as bytes: of one object under
    /// [`TagStyle::key`] if the profile is nested, else of the top level.
    pub fn entries<'a>(&'a self, tags: &'a Tags) -> impl Iterator<Item = (Name<'a>, Value<'a>)> {
        tags.fields(self.detail).map(|(field, value)| (self.name(field), self.rendered(field, value)))
    }

    /// Every key that [`TagStyle::reserves`] speaks of.
    pub fn reserved(&self) -> impl Iterator<Item = Name<'_>> {
        let fields = (self.profile != Profile::Nested).then_some(Field::ALL).into_iter().flatten();
        let ours = [self.key.as_str(), MARKER_KEY, SUMMARY_KEY, DETOUR_KEY, TAG_KEY];
        ours.into_iter().map(|key| Name(["", "", key])).chain(fields.map(|field| self.name(field)))
    }

    /// Whether a record that brings this top-level key along would pose as ours. The plain key always would: what
    /// routes records on the detour reads the nested form in every profile.
    pub fn reserves(&self, key: &[u8]) -> bool {
        key == self.key.as_bytes()
            || key == MARKER_KEY.as_bytes()
            || key == SUMMARY_KEY.as_bytes()
            || key == DETOUR_KEY.as_bytes()
            || key == TAG_KEY.as_bytes()
            || self.field(key).is_some()
    }
}

impl Tags {
    /// Whether these are the tags of a flagged record; see [`oddline_engine::Verdict::is_flagged`].
    pub fn is_flagged(&self) -> bool {
        self.level > Level::None || self.status.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_listed_and_nothing_else_is() {
        for profile in [Profile::Nested, Profile::Flat, Profile::Otel, Profile::Ecs] {
            let style = TagStyle {
                key: "anomaly".to_owned(),
                annotate: Annotate::All,
                detail: Detail::Full,
                profile,
            };
            let names: Vec<String> = style.reserved().map(|name| name.to_string()).collect();
            assert_eq!(names.len(), if profile == Profile::Nested { 5 } else { 20 });
            assert!(names.iter().all(|name| style.reserves(name.as_bytes())), "{names:?}");
            for free in ["message", "anomaly_original", "_oddline_original", "_oddline_", "event.x", ""] {
                assert!(!style.reserves(free.as_bytes()), "{free}");
            }
        }
    }

    #[test]
    fn entries_are_what_the_profile_writes() {
        let tags = Tags { score: 0.25, ..Tags::default() };
        let written = |profile| {
            let style =
                TagStyle { key: "a".to_owned(), annotate: Annotate::All, detail: Detail::Minimal, profile };
            style
                .entries(&tags)
                .map(|(name, value)| format!("{name}={value:?}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            written(Profile::Nested),
            r#"score=Number(0.25) level=Text("none") template_id=Id(TemplateId(0))"#
        );
        assert_eq!(
            written(Profile::Ecs),
            r#"event.risk_score_norm=Number(25.0) a.level=Text("none") a.template_id=Id(TemplateId(0))"#
        );
    }
}
