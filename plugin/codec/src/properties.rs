//! What holds for all records: tested on generated values and on arbitrary bytes.

use oddline_engine::{
    Flag, Level, MAX_ITEMS, Profile, RuleHit, Scalar, Status, TemplateId, Verdict, Visitor,
};
use proptest::{collection::vec, option, prelude::*};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::{
    Edit, MAX_DEPTH, MAX_FIELDS, TagStyle, Tags, json, msgpack,
    msgpack::tests::{style, values},
};

/// A value that both notations can hold.
#[derive(Clone, Debug)]
enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Array(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(value) => serializer.serialize_str(value),
            Value::Array(values) => serializer.collect_seq(values),
            Value::Map(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                pairs.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

impl Value {
    fn msgpack(&self) -> Vec<u8> {
        rmp_serde::to_vec(self).unwrap()
    }

    fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap()
    }
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z\"\\\\é]{0,8}",
        1 => proptest::sample::select(vec![
            "anomaly", "anomaly_original", "anomaly_original_2", "anomaly_score", "rule.name", "_oddline",
            "oddline_summary", "log.record.template",
        ]).prop_map(str::to_owned),
    ]
}

fn record() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        proptest::num::f64::NORMAL.prop_map(Value::Float),
        ".{0,12}".prop_map(Value::Text),
    ];
    let value = leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            vec((key(), inner), 0..6).prop_map(Value::Map),
        ]
    });
    vec((key(), value), 0..24).prop_map(Value::Map)
}

fn text() -> impl Strategy<Value = String> {
    ".{0,20}"
}

prop_compose! {
    fn tags()(
        score in 0f32..=1.0,
        id in any::<u64>(),
        status in option::of(proptest::sample::select(vec![Status::Inline, Status::Pending, Status::Skipped])),
        flags in vec(proptest::sample::select(Flag::ALL.to_vec()), 0..5),
        rule in option::of((text(), text(), 0f32..=10.0)),
        template in option::of(text()),
        similarity in option::of(-1f32..=1.0),
        numbers in (option::of(-1e9f64..1e9), option::of(-1e9f64..1e9)),
        reason in option::of(text()),
    ) -> Tags {
        let rule = rule.map(|(name, category, score)| RuleHit { name: name.into(), category: category.into(), score });
        let verdict = Verdict {
            score, level: Level::of(score), template_id: TemplateId(id), status, flags: flags.into_iter().collect(),
            rule, nearest: template.clone().map(Into::into), template: template.map(Into::into), similarity,
            expected: numbers.0, actual: numbers.1, reason,
        };
        Tags::of(&verdict, &"oddline/0 rules:0".into())
    }
}

fn any_style() -> impl Strategy<Value = TagStyle> {
    proptest::sample::select(vec![Profile::Nested, Profile::Flat, Profile::Otel, Profile::Ecs])
        .prop_map(style)
}

#[derive(Default)]
struct Seen(Vec<String>);

impl<'a> Visitor<'a> for Seen {
    fn enter(&mut self, key: &[u8]) -> bool {
        self.0.push(format!("{key:?} {{"));
        key.first() != Some(&b'a')
    }

    fn enter_list(&mut self, key: &[u8]) -> bool {
        self.0.push(format!("{key:?} ["));
        key.last() != Some(&b'b')
    }

    fn item(&mut self, value: Scalar<'a>) {
        self.0.push(format!("{value:?}"));
    }

    fn leave(&mut self) {
        self.0.push("}".into());
    }

    fn scalar(&mut self, key: &[u8], value: Scalar<'a>) {
        self.0.push(format!("{key:?} {value:?}"));
    }
}

#[test]
fn lists_are_shown_to_their_limits_in_both_notations() {
    let list = |items: usize| Value::Map(vec![("list".to_owned(), Value::Array(vec![Value::Int(7); items]))]);
    let deep = |levels: usize| {
        let inner = (0..levels).fold(Value::Int(7), |inner, _| Value::Array(vec![inner]));
        Value::Map(vec![("list".to_owned(), inner)])
    };
    let many = |lists: usize| {
        let pair = |number: usize| (number.to_string(), Value::Array(vec![Value::Int(7); MAX_ITEMS]));
        Value::Map((0..lists).map(pair).collect())
    };
    for (record, shown) in [
        (list(MAX_ITEMS), MAX_ITEMS),
        (list(MAX_ITEMS + 1), MAX_ITEMS),
        (list(10 * MAX_ITEMS), MAX_ITEMS),
        (deep(MAX_DEPTH - 1), 1),
        (deep(MAX_DEPTH), 0),
        (deep(10 * MAX_DEPTH), 0),
        // A list counts as a field, and so does each of its elements.
        (many(MAX_FIELDS / (MAX_ITEMS + 1)), MAX_FIELDS / (MAX_ITEMS + 1) * MAX_ITEMS),
        (many(10 * MAX_FIELDS / MAX_ITEMS), MAX_FIELDS - MAX_FIELDS.div_ceil(MAX_ITEMS + 1)),
    ] {
        let (packed, text) = (record.msgpack(), record.json());
        let (mut left, mut right) = (Seen::default(), Seen::default());
        msgpack::walk(&packed, &mut left).unwrap();
        json::walk(&text, &mut right).unwrap();
        let items = |seen: &Seen| seen.0.iter().filter(|line| *line == "Int(7)").count();
        assert_eq!((items(&left), items(&right)), (shown, shown));
    }
}

proptest! {
    #[test]
    fn both_notations_show_the_same(record in record()) {
        let (packed, text) = (record.msgpack(), record.json());
        let (mut left, mut right) = (Seen::default(), Seen::default());
        msgpack::walk(&packed, &mut left).unwrap();
        json::walk(&text, &mut right).unwrap();
        prop_assert_eq!(left.0, right.0);
    }

    #[test]
    fn msgpack_keeps_every_other_byte_and_the_tags(record in record(), tags in tags(), style in any_style()) {
        let (body, mut out, mut twice) = (record.msgpack(), Vec::new(), Vec::new());
        msgpack::splice(&body, &Edit::tag(&style, &tags), &mut out).unwrap();
        prop_assert_eq!(msgpack::read_styled_tags(&out, &style), Some(tags.clone()));
        // Tagged again, the first tags are user data; the second ones are read.
        msgpack::splice(&out, &Edit::tag(&style, &tags), &mut twice).unwrap();
        prop_assert_eq!(msgpack::read_styled_tags(&twice, &style), Some(tags));
        if let Value::Map(pairs) = record {
            let poses = pairs.iter().any(|(key, _)| style.reserves(key.as_bytes()));
            let header = if pairs.len() < 16 { 1 } else { 3 };
            let rest = &body[header..];
            let kept = out.windows(rest.len().max(1)).any(|window| window == rest) || rest.is_empty();
            prop_assert!(poses || kept);
            let plain: Vec<_> = pairs.iter().map(|(_, value)| value.msgpack()).collect();
            prop_assert_eq!(&plain[..], &values(&out)[..pairs.len()]);
        }
    }

    #[test]
    fn json_keeps_everything_else_and_the_tags(record in record(), tags in tags(), style in any_style()) {
        let (text, mut out) = (record.json(), Vec::new());
        json::splice(&text, &Edit::tag(&style, &tags), &mut out).unwrap();
        prop_assert_eq!(json::read_styled_tags(&out, &style), Some(tags));
        let Value::Map(pairs) = record else { return Ok(()) };
        if !pairs.iter().any(|(key, _)| style.reserves(key.as_bytes())) {
            prop_assert_eq!(&out[..text.len() - 1], &text[..text.len() - 1]);
        }
        let mut same = Vec::new();
        prop_assert!(json::repair(&out, &mut same));
        prop_assert_eq!(same, out);
    }

    #[test]
    fn tags_appended_by_the_outline_are_those_spliced_in(record in record(), tags in tags(), style in any_style()) {
        let Value::Map(pairs) = &record else { return Ok(()) };
        prop_assume!(!pairs.iter().any(|(key, _)| style.reserves(key.as_bytes())));
        let (packed, text) = (record.msgpack(), record.json());
        let (mut spliced, mut appended) = (vec![7], vec![7]);
        let outline = msgpack::walk(&packed, &mut Seen::default()).unwrap();
        prop_assert!(msgpack::append(&packed, &outline, &style, &tags, &mut appended));
        msgpack::splice(&packed, &Edit::tag(&style, &tags), &mut spliced).unwrap();
        let outline = json::walk(&text, &mut Seen::default()).unwrap();
        prop_assert!(json::append(&text, &outline, &style, &tags, &mut appended));
        json::splice(&text, &Edit::tag(&style, &tags), &mut spliced).unwrap();
        prop_assert_eq!(spliced, appended);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200), tags in tags(), style in any_style()) {
        let edit = Edit { remove: &["a"], rename: &[("b", "c")], style: &style, reserved: &style, tags: Some(&tags), marker: Some("m") };
        for map in [bytes.clone(), [&[0x83], &*bytes].concat(), [b"{\"a\":", &*bytes].concat()] {
            let mut out = Vec::new();
            let _ = msgpack::walk(&map, &mut Seen::default());
            if msgpack::splice(&map, &edit, &mut out).is_ok() {
                prop_assert_eq!(msgpack::read_marker(&out), Some(&b"m"[..]));
            }
            let events = msgpack::events(&map);
            let whole: usize = events.clone().flatten().map(|event| event.raw.len()).sum();
            let broken = events.filter_map(Result::err).next();
            prop_assert_eq!(whole, broken.map_or(map.len(), |broken| broken.offset));
            let _ = msgpack::read_styled_tags(&map, &style);
            let _ = crate::read_summary(&map);
            let _ = json::walk(&map, &mut Seen::default());
            let _ = json::splice(&map, &edit, &mut out);
        }
    }

    #[test]
    fn repaired_text_is_always_an_object(
        bytes in vec(any::<u8>(), 0..100),
        near in "[\\{\\}\\[\\]:,\"\\\\ua0-9d nNife.\n+-]{0,80}",
        record in record(),
        cut in any::<proptest::sample::Index>(),
    ) {
        let text = record.json();
        let cut_text = text[..cut.index(text.len()) ].to_vec();
        let open = format!("{{{near}");
        for hostile in [&*bytes, near.as_bytes(), open.as_bytes(), &cut_text] {
            let mut out = Vec::new();
            json::repair(hostile, &mut out);
            let value: serde_json::Value = serde_json::from_slice(&out)
                .map_err(|error| TestCaseError::fail(format!("{error}: {}", out.escape_ascii())))?;
            prop_assert!(value.is_object());
            prop_assert!(json::walk(&out, &mut Seen::default()).is_ok());
        }
    }
}
