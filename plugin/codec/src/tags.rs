//! Takes a verdict, gives the tags that a record carries, and back. Must not know: keys, profiles, msgpack, JSON.

use std::sync::Arc;

use oddline_engine::{Detail, Flag, Flags, Level, RuleHit, Status, TemplateId, Verdict};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};

use crate::profile::Field;

/// A verdict as records carry it: numbers rounded to three digits and finite. As serde value it is the nested object in
/// full.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Tags {
    /// 0..1.
    pub score: f64,
    /// For people and alert rules.
    pub level: Level,
    /// Hash of the template's text.
    pub template_id: TemplateId,
    /// Who judged.
    pub status: Option<Status>,
    /// Signals that fired; written on flagged records.
    pub flags: Flags,
    /// Name of the highest-scoring rule.
    pub rule: Option<Arc<str>>,
    /// Its category.
    pub category: Option<Arc<str>>,
    /// Its severity, 0..10.
    pub rule_score: Option<f64>,
    /// The masked message.
    pub template: Option<Arc<str>>,
    /// Cosine to the nearest known-normal template.
    pub similarity: Option<f64>,
    /// Its text.
    pub nearest: Option<Arc<str>>,
    /// What statistics expected.
    pub expected: Option<f64>,
    /// What was seen.
    pub actual: Option<f64>,
    /// One line of English.
    pub reason: Option<String>,
    /// `oddline/<version> rules:<hash>`; on flagged records.
    pub model: Option<Arc<str>>,
}

/// Tags of a record that is not flagged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Brief<'t> {
    pub(crate) score: f64,
    pub(crate) template_id: TemplateId,
    /// The rule that it hit, with category and score if they are written.
    pub(crate) rule: Option<(&'t str, Option<(&'t str, f64)>)>,
}

impl Brief<'_> {
    /// How many fields they are.
    pub(crate) fn count(&self) -> usize {
        match self.rule {
            None => 3,
            Some((_, None)) => 4,
            Some((_, Some(_))) => 6,
        }
    }
}

impl Tags {
    /// The tags of a verdict by a model. Allocates nothing for a quiet record.
    pub fn of(verdict: &Verdict, model: &Arc<str>) -> Tags {
        let flagged = verdict.is_flagged();
        let rule = verdict.rule.as_ref();
        Tags {
            score: rounded(verdict.score.into()).unwrap_or_default().clamp(0.0, 1.0),
            level: verdict.level,
            template_id: verdict.template_id,
            status: verdict.status,
            flags: if flagged { verdict.flags } else { Flags::default() },
            rule: rule.map(|rule| rule.name.clone()),
            category: rule.map(|rule| rule.category.clone()),
            rule_score: rule.and_then(|rule| rounded(rule.score.into())),
            template: verdict.template.clone(),
            similarity: verdict.similarity.and_then(|similarity| rounded(similarity.into())),
            nearest: verdict.nearest.clone(),
            expected: verdict.expected.and_then(rounded),
            actual: verdict.actual.and_then(rounded),
            reason: verdict.reason.clone(),
            model: flagged.then(|| model.clone()),
        }
    }

    /// The verdict again, but for digits lost in rounding.
    pub fn into_verdict(self) -> Verdict {
        let (category, score) =
            (self.category.unwrap_or_default(), self.rule_score.unwrap_or_default() as f32);
        Verdict {
            score: self.score as f32,
            level: self.level,
            template_id: self.template_id,
            status: self.status,
            flags: self.flags,
            rule: self.rule.map(|name| RuleHit { name, category, score }),
            template: self.template,
            similarity: self.similarity.map(|similarity| similarity as f32),
            nearest: self.nearest,
            expected: self.expected,
            actual: self.actual,
            reason: self.reason,
        }
    }

    /// Those of a record that is not flagged, as most are, where they say no more than [`Brief`] can: the same fields in all of
    /// them. Codecs write such tags at once.
    pub(crate) fn brief(&self, detail: Detail) -> Option<Brief<'_>> {
        let score = self.rule_score.filter(|score| score.is_finite());
        let in_full = self.category.as_deref().zip(score).filter(|_| detail == Detail::Full);
        let rule = self.rule.as_deref().map(|rule| (rule, in_full));
        let brief = Brief { score: self.score, template_id: self.template_id, rule };
        (!self.is_flagged() && brief.count() == self.count(detail)).then_some(brief)
    }

    /// How many fields [`Tags::fields`] gives, without a look at each.
    pub(crate) fn count(&self, detail: Detail) -> usize {
        let number = |value: Option<f64>| value.is_some_and(f64::is_finite);
        let always = [self.status.is_some(), self.is_flagged(), self.rule.is_some(), self.reason.is_some()];
        let in_full = [
            self.category.is_some(),
            number(self.rule_score),
            self.template.is_some(),
            number(self.similarity),
            self.nearest.is_some(),
            number(self.expected),
            number(self.actual),
            self.model.is_some(),
        ];
        let present = |fields: &[bool]| fields.iter().map(|is_there| usize::from(*is_there)).sum::<usize>();
        let in_full = if detail == Detail::Full { present(&in_full) } else { 0 };
        // Score, level and template id are always there.
        present(&always).saturating_add(in_full).saturating_add(3)
    }

    /// The fields that are present at a detail, in the order of the contract.
    pub(crate) fn fields(&self, detail: Detail) -> impl Iterator<Item = (Field, Value<'_>)> {
        let number = |value: Option<f64>| value.filter(|value| value.is_finite()).map(Value::Number);
        Field::ALL.into_iter().filter(move |field| field.is_in(detail)).filter_map(move |field| {
            let value = match field {
                Field::Score => Value::Number(self.score),
                Field::Level => Value::Text(self.level.as_str()),
                Field::TemplateId => Value::Id(self.template_id),
                Field::Status => Value::Text(self.status?.as_str()),
                Field::Flags if self.is_flagged() => Value::Flags(self.flags),
                Field::Flags => return None,
                Field::Rule => Value::Text(self.rule.as_deref()?),
                Field::Category => Value::Text(self.category.as_deref()?),
                Field::RuleScore => number(self.rule_score)?,
                Field::Template => Value::Text(self.template.as_deref()?),
                Field::Similarity => number(self.similarity)?,
                Field::Nearest => Value::Text(self.nearest.as_deref()?),
                Field::Expected => number(self.expected)?,
                Field::Actual => number(self.actual)?,
                Field::Reason => Value::Text(self.reason.as_deref()?),
                Field::Model => Value::Text(self.model.as_deref()?),
            };
            Some((field, value))
        })
    }
}

/// To three digits after the point; none if not finite.
fn rounded(value: f64) -> Option<f64> {
    // Beyond this there are no such digits, and the product could overflow.
    if value.abs() > 1e12 {
        return value.is_finite().then_some(value);
    }
    // By a conversion, which cuts: to round is a call where this is interpreted. Halves go away from zero.
    let thousandths = value * 1_000.0;
    value.is_finite().then(|| (thousandths + 0.5f64.copysign(thousandths)) as i64 as f64 / 1_000.0)
}

/// A tag's value, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Finite.
    Number(f64),
    /// A word, a line, a template.
    Text(&'a str),
    /// Written as 16 hex digits.
    Id(TemplateId),
    /// Written as a list of words.
    Flags(Flags),
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Number(number) => serializer.serialize_f64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Id(id) => id.serialize(serializer),
            Value::Flags(flags) => serializer.collect_seq(flags.iter().map(Flag::as_str)),
        }
    }
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields(Detail::Full).count()))?;
        for (field, value) in self.fields(Detail::Full) {
            map.serialize_entry(field.as_str(), &value)?;
        }
        map.end()
    }
}

/// A tag that is out of range or missing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TagError {
    /// Not there.
    #[error("tag `score` is missing")]
    NoScore,
    /// Neither of them is there.
    #[error("tags `template_id` and `template` are missing")]
    NoTemplate,
    /// Out of range.
    #[error("tag `{name}` is {value}, not within {low}..={high}")]
    Range {
        /// Which one.
        name: &'static str,
        /// What it says.
        value: f64,
        /// Least.
        low: f64,
        /// Greatest.
        high: f64,
    },
}

/// Tags as they are read, not yet believed. Unknown keys and flags are those of a newer version, and ignored.
#[derive(Deserialize)]
struct Unchecked {
    score: Option<f64>,
    /// The score in the profile `ecs`, 0..100.
    risk_score_norm: Option<f64>,
    level: Level,
    /// Not every host can work it out; then the template's text is there.
    template_id: Option<TemplateId>,
    status: Option<Status>,
    #[serde(default)]
    flags: Vec<String>,
    rule: Option<Arc<str>>,
    category: Option<Arc<str>>,
    rule_score: Option<f64>,
    template: Option<Arc<str>>,
    similarity: Option<f64>,
    nearest: Option<Arc<str>>,
    expected: Option<f64>,
    actual: Option<f64>,
    reason: Option<String>,
    model: Option<Arc<str>>,
}

impl TryFrom<Unchecked> for Tags {
    type Error = TagError;

    fn try_from(tags: Unchecked) -> Result<Tags, TagError> {
        let within = |name, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                Ok(value)
            } else {
                Err(TagError::Range { name, value, low, high })
            }
        };
        let score = match (tags.score, tags.risk_score_norm) {
            (Some(score), _) => within("score", score, 0.0, 1.0)?,
            (None, Some(score)) => within("risk_score_norm", score, 0.0, 100.0)
                .map(|score| rounded(score / 100.0).unwrap_or_default())?,
            (None, None) => return Err(TagError::NoScore),
        };
        Ok(Tags {
            score,
            level: tags.level,
            template_id: tags
                .template_id
                .or_else(|| tags.template.as_deref().map(TemplateId::of))
                .ok_or(TagError::NoTemplate)?,
            status: tags.status,
            flags: Flag::ALL
                .into_iter()
                .filter(|flag| tags.flags.iter().any(|word| word == flag.as_str()))
                .collect(),
            rule: tags.rule,
            category: tags.category,
            rule_score: tags.rule_score.map(|score| within("rule_score", score, 0.0, 10.0)).transpose()?,
            template: tags.template,
            // Rounding errors of embedders reach a little beyond one.
            similarity: tags
                .similarity
                .map(|cosine| within("similarity", cosine, -1.01, 1.01))
                .transpose()?,
            nearest: tags.nearest,
            expected: tags.expected,
            actual: tags.actual,
            reason: tags.reason,
            model: tags.model,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict() -> Verdict {
        Verdict {
            score: 0.934_56,
            level: Level::Critical,
            template_id: TemplateId(0xabc),
            status: Some(Status::Confirmed),
            flags: [Flag::New, Flag::ErrorRate].into_iter().collect(),
            rule: Some(RuleHit {
                name: "DB_CONNECT_FAILED".into(),
                category: "application".into(),
                score: 7.5,
            }),
            template: Some("Failed to connect after <*> retries".into()),
            similarity: Some(0.41),
            nearest: Some("session opened for user <*>".into()),
            expected: Some(1.0 / 3.0),
            actual: Some(12.0),
            reason: Some("new message".into()),
        }
    }

    #[test]
    fn numbers_are_rounded_to_three_digits_halves_away_from_zero() {
        let cases = [
            (0.0, 0.0),
            (0.000_499, 0.0),
            (0.000_5, 0.001),
            (-0.000_5, -0.001),
            (0.062_5, 0.063),
            (-0.062_5, -0.063),
            (12.345_4, 12.345),
            (999_999_999_999.999_9, 1e12),
            (1e12, 1e12),
            (-1e12, -1e12),
            (1.5e300, 1.5e300),
        ];
        for (value, expected) in cases {
            assert_eq!(rounded(value), Some(expected), "{value}");
        }
        for none in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(rounded(none), None);
        }
        for score in (0..=1_000_000u32).map(|millionths| f64::from(millionths as f32 / 1_000_000.0)) {
            assert_eq!(rounded(score), Some((score * 1_000.0).round() / 1_000.0), "{score}");
        }
    }

    #[test]
    fn a_flagged_verdict_in_full() {
        let tags = Tags::of(&verdict(), &"oddline/1 rules:2".into());
        expect_test::expect![[r#"{"score":0.935,"level":"critical","template_id":"0000000000000abc","status":"confirmed","flags":["new","error_rate"],"rule":"DB_CONNECT_FAILED","category":"application","rule_score":7.5,"template":"Failed to connect after <*> retries","similarity":0.41,"nearest":"session opened for user <*>","expected":0.333,"actual":12.0,"reason":"new message","model":"oddline/1 rules:2"}"#]]
        .assert_eq(&serde_json::to_string(&tags).unwrap());
        assert_eq!(serde_json::from_str::<Tags>(&serde_json::to_string(&tags).unwrap()).unwrap(), tags);
        let again = tags.into_verdict();
        assert_eq!(again, Verdict { score: 0.935, expected: Some(0.333), ..verdict() });
    }

    #[test]
    fn a_quiet_verdict_says_three_things() {
        let quiet = Verdict { score: 0.12, flags: [Flag::Rare].into_iter().collect(), ..Verdict::default() };
        let tags = Tags::of(&quiet, &"oddline/1 rules:2".into());
        expect_test::expect![[r#"{"score":0.12,"level":"none","template_id":"0000000000000000"}"#]]
            .assert_eq(&serde_json::to_string(&tags).unwrap());
    }

    #[test]
    fn brief_tags_are_those_of_records_that_are_not_flagged() {
        let quiet = Tags { score: 0.12, template_id: TemplateId(7), ..Tags::default() };
        let hit = Tags {
            rule: Some("RULE".into()),
            category: Some("system".into()),
            rule_score: Some(2.0),
            ..quiet.clone()
        };
        let fields = |tags: &Tags, detail| tags.brief(detail).map(|brief| brief.count());
        assert_eq!([Detail::Full, Detail::Minimal].map(|detail| fields(&quiet, detail)), [Some(3), Some(3)]);
        assert_eq!([Detail::Full, Detail::Minimal].map(|detail| fields(&hit, detail)), [Some(6), Some(4)]);
        let more = [
            Tags { level: Level::Low, ..hit.clone() },
            Tags { status: Some(Status::Pending), ..hit.clone() },
            Tags { reason: Some("why".into()), ..hit.clone() },
        ];
        assert!(
            more.iter().all(|tags| fields(tags, Detail::Full).or(fields(tags, Detail::Minimal)).is_none())
        );
        let more_in_full = [
            Tags { rule: None, ..hit.clone() },
            Tags { category: None, ..hit.clone() },
            Tags { rule_score: None, ..hit.clone() },
            Tags { rule_score: Some(f64::NAN), ..hit.clone() },
            Tags { template: Some("a <*>".into()), ..hit.clone() },
            Tags { similarity: Some(0.5), ..hit.clone() },
            Tags { nearest: Some("b".into()), ..hit.clone() },
            Tags { expected: Some(1.0), ..hit.clone() },
            Tags { actual: Some(1.0), ..hit.clone() },
            Tags { model: Some("m".into()), ..hit },
        ];
        for tags in &more_in_full {
            assert_eq!(fields(tags, Detail::Full), None, "{tags:?}");
            assert_eq!(fields(tags, Detail::Minimal), Some(tags.fields(Detail::Minimal).count()));
        }
    }

    #[test]
    fn fields_are_as_many_as_are_counted() {
        let whole = Tags::of(&verdict(), &"m".into());
        let same = |tags: &Tags| {
            for detail in [Detail::Full, Detail::Minimal] {
                assert_eq!(tags.count(detail), tags.fields(detail).count(), "{detail:?}: {tags:?}");
            }
        };
        same(&whole);
        same(&Tags::default());
        same(&Tags { status: None, ..whole.clone() });
        same(&Tags { rule: None, category: None, rule_score: None, ..whole.clone() });
        same(&Tags { expected: Some(f64::NAN), similarity: None, nearest: None, ..whole.clone() });
        same(&Tags { level: Level::None, status: None, reason: None, template: None, model: None, ..whole });
    }

    #[test]
    fn numbers_are_finite_and_in_range() {
        let odd = Verdict {
            score: f32::NAN,
            similarity: Some(f32::INFINITY),
            expected: Some(f64::NAN),
            actual: Some(1e300),
            ..verdict()
        };
        let tags = Tags::of(&odd, &"m".into());
        assert_eq!((tags.score, tags.similarity, tags.expected, tags.actual), (0.0, None, None, Some(1e300)));
        assert_eq!(Tags::of(&Verdict { score: 7.0, ..verdict() }, &"m".into()).score, 1.0);
    }

    #[test]
    fn forged_or_broken_tags_are_refused_by_name() {
        let check = |text: &str, error: &str| {
            let told = serde_json::from_str::<Tags>(text).unwrap_err().to_string();
            assert!(told.contains(error), "{text}: {told}");
        };
        check(r#"{"level":"none","template_id":"0000000000000000"}"#, "`score` is missing");
        check(
            r#"{"score":1.01,"level":"none","template_id":"0000000000000000"}"#,
            "`score` is 1.01, not within 0..=1",
        );
        check(r#"{"score":-1,"level":"none","template_id":"0000000000000000"}"#, "`score` is -1");
        check(r#"{"score":1,"level":"huge","template_id":"0000000000000000"}"#, "huge");
        check(r#"{"score":1,"level":"none","template_id":"xyz"}"#, "16 hex digits");
        check(r#"{"score":1,"level":"none"}"#, "`template_id` and `template` are missing");
        check(
            r#"{"score":1,"level":"none","template_id":"0000000000000000","rule_score":11}"#,
            "`rule_score` is 11",
        );
        let named: Tags = serde_json::from_str(r#"{"score":1,"level":"none","template":"x"}"#).unwrap();
        assert_eq!(named.template_id, TemplateId::of("x"));
        let newer = r#"{"score":1,"level":"none","template_id":"0000000000000000","flags":["new","odour"],"more":{}}"#;
        let tags: Tags = serde_json::from_str(newer).unwrap();
        assert_eq!(tags.flags.iter().collect::<Vec<_>>(), [Flag::New]);
    }
}
