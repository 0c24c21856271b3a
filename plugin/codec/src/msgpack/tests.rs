//! Walk, splice and tags on msgpack at the limits and on hostile bytes.

use std::sync::Arc;

use oddline_engine::{Annotate, Detail, Flag, Level, RuleHit, Status, TemplateId, Verdict};

use super::*;

pub(crate) fn style(profile: Profile) -> TagStyle {
    TagStyle { key: "anomaly".into(), annotate: Annotate::All, detail: Detail::Full, profile }
}

pub(crate) fn flagged() -> Tags {
    let verdict = Verdict {
        score: 0.87,
        level: Level::High,
        template_id: TemplateId(0x00ff_00ff_0000_0001),
        status: Some(Status::Confirmed),
        flags: [Flag::Pattern, Flag::New].into_iter().collect(),
        rule: Some(RuleHit { name: "OOM".into(), category: "system".into(), score: 4.5 }),
        template: Some("killed <*>".into()),
        similarity: Some(0.3),
        nearest: Some("started <*>".into()),
        expected: Some(0.25),
        actual: Some(9.0),
        reason: Some("new message \"killed\"\n".into()),
    };
    Tags::of(&verdict, &Arc::from("oddline/0 rules:0"))
}

pub(crate) fn quiet() -> Tags {
    Tags::of(&Verdict { score: 0.125, ..Verdict::default() }, &Arc::from("m"))
}

pub(crate) fn ordinary() -> Tags {
    Tags { template_id: TemplateId(0x0123_4567_89ab_cdef), ..Tags::default() }
}

/// Tags of a record that hit a rule and is not flagged.
pub(crate) fn hit() -> Tags {
    let rule = Some(RuleHit { name: "LOGIN \"é\"".into(), category: "security".into(), score: 1.2 });
    Tags::of(&Verdict { score: 0.234, rule, ..Verdict::default() }, &Arc::from("m"))
}

#[test]
fn tags_that_are_written_at_once_are_as_field_by_field() {
    for (tags, detail) in
        [ordinary(), quiet(), hit()].iter().flat_map(|tags| [(tags, Detail::Full), (tags, Detail::Minimal)])
    {
        let style = TagStyle { detail, ..style(Profile::Nested) };
        assert!(tags.brief(detail).is_some());
        let (mut at_once, mut one_by_one) = (Vec::new(), Vec::new());
        append_tags(&style, tags, &mut at_once);
        write_text("anomaly", &mut one_by_one);
        map_header(u32::try_from(tags.count(detail)).unwrap(), &mut one_by_one);
        for (field, value) in tags.fields(detail) {
            write_text(field.as_str(), &mut one_by_one);
            write_value(value, &mut one_by_one);
        }
        assert_eq!(at_once, one_by_one);
    }
}

/// Shows a body as lines, to compare.
#[derive(Default)]
struct Lines(Vec<String>, bool);

impl<'a> Visitor<'a> for Lines {
    fn enter(&mut self, key: &[u8]) -> bool {
        self.0.push(format!("{}{{", key.escape_ascii()));
        !self.1
    }

    fn leave(&mut self) {
        self.0.push("}".into());
    }

    fn scalar(&mut self, key: &[u8], value: Scalar<'a>) {
        self.0.push(match value {
            Scalar::Text(text) => format!("{}={}", key.escape_ascii(), text.escape_ascii()),
            other => format!("{}={other:?}", key.escape_ascii()),
        });
    }
}

fn lines(body: &[u8]) -> Vec<String> {
    let mut lines = Lines::default();
    walk(body, &mut lines).unwrap();
    lines.0
}

fn spliced(body: &[u8], edit: &Edit<'_>) -> Vec<u8> {
    let mut out = b"before".to_vec();
    splice(body, edit, &mut out).unwrap();
    assert_eq!(&out[..6], b"before", "appends only");
    out.split_off(6)
}

fn keys(body: &[u8]) -> Vec<String> {
    let mut keys = Vec::new();
    pairs(body, &mut |pair| keys.push(pair.key.escape_ascii().to_string())).unwrap();
    keys
}

/// The values of a body, each as its own bytes.
pub(crate) fn values(body: &[u8]) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    pairs(body, &mut |pair| values.push(body[pair.key_span.end..pair.end].to_vec())).unwrap();
    values
}

/// A map of `count` pairs `{"k<number>": 1}`.
fn wide(count: u32) -> Vec<u8> {
    let mut body = Vec::new();
    map_header(count, &mut body);
    for number in 0..count {
        write_text(&format!("k{number}"), &mut body);
        body.push(1);
    }
    body
}

/// `levels` maps within each other.
fn deep(levels: usize) -> Vec<u8> {
    [&b"\x81\xa1d".repeat(levels)[..], b"\x01"].concat()
}

fn map_of(keys: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    map_header(u32::try_from(keys.len()).unwrap(), &mut body);
    for (number, key) in (0u8..).zip(keys) {
        write_text(key, &mut body);
        body.push(number);
    }
    body
}

#[test]
fn every_kind_of_value_is_shown() {
    let body = b"\x8b\xa1s\xa2\xffx\xa1b\xc4\x01y\xa1i\xff\xa1u\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa1f\xca\x7f\xc0\0\0\
                 \xa1n\xc0\xa1t\xc3\xa1a\x92\x01\x81\x01\x02\xa1e\xd4\x01\0\x05\xa5int k\xa1m\x82\xc4\x01k\xa1v\x90\x01";
    expect_test::expect![[r#"
        [
            "s=\\xffx",
            "b=y",
            "i=Int(-1)",
            "u=Float(1.8446744073709552e19)",
            "f=Float(NaN)",
            "n=Null",
            "t=Bool(true)",
            "a=Opaque",
            "e=Opaque",
            "m{",
            "k=v",
            "}",
        ]
    "#]]
    .assert_debug_eq(&lines(body));
}

#[test]
fn what_the_visitor_does_not_enter_is_skipped_and_not_left() {
    let mut seen = Lines(Vec::new(), true);
    walk(b"\x82\xa1m\x81\xa1k\x81\xa1l\x01\xa1z\x02", &mut seen).unwrap();
    assert_eq!(seen.0, ["m{", "z=Int(2)"]);
}

#[test]
fn at_most_1024_fields_are_shown() {
    for (count, shown) in [(1_024, 1_024), (1_025, 1_024), (10_240, 1_024), (100_000, 1_024)] {
        let body = wide(count);
        assert_eq!(lines(&body).len(), shown);
        let out = spliced(&body, &Edit::tag(&style(Profile::Nested), &quiet()));
        assert_eq!(keys(&out).len(), count as usize + 1);
    }
    // In nested maps the fields count together, and what was entered is left.
    let nested = [b"\x82\xa1m", &*wide(2_000), b"\xa1z\x01"].concat();
    let seen = lines(&nested);
    assert_eq!((seen.len(), seen.last().unwrap().as_str()), (1 + 1_023 + 1, "}"));
}

#[test]
fn at_most_32_levels_are_shown() {
    for (levels, entered) in [(32, 31), (33, 31), (320, 31), (100_000, 31)] {
        let body = deep(levels);
        let seen = lines(&body);
        assert_eq!(seen.iter().filter(|line| *line == "d{").count(), entered, "{levels}");
        assert_eq!(seen.contains(&"d=Int(1)".to_owned()), levels <= 32, "{levels}");
        let out = spliced(&body, &Edit::tag(&style(Profile::Nested), &quiet()));
        assert_eq!(out[1..body.len()], body[1..]);
    }
}

#[test]
fn the_header_grows_with_the_map() {
    for (count, header) in [
        (0, &b"\x81"[..]),
        (14, b"\x8f"),
        (15, b"\xde\0\x10"),
        (65_534, b"\xde\xff\xff"),
        (65_535, b"\xdf\0\x01\0\0"),
    ] {
        let body = wide(count);
        let old =
            body.len() - body.iter().position(|byte| *byte == 0xa2).map_or(0, |first| body.len() - first);
        let old = if count == 0 { 1 } else { old };
        let out = spliced(&body, &Edit::tag(&style(Profile::Nested), &quiet()));
        assert_eq!(&out[..header.len()], header);
        assert_eq!(out[header.len()..][..body.len() - old], body[old..]);
    }
}

#[test]
fn tags_come_back_in_every_profile() {
    for profile in [Profile::Nested, Profile::Flat, Profile::Otel, Profile::Ecs] {
        for tags in [flagged(), quiet(), ordinary(), hit()] {
            let style = style(profile);
            let out = spliced(b"\x81\xa3log\xa2ok", &Edit::tag(&style, &tags));
            assert_eq!(read_styled_tags(&out, &style).as_ref(), Some(&tags), "{profile:?}");
            assert!(out.windows(7).any(|bytes| bytes == b"\xa3log\xa2ok"));
        }
    }
    assert_eq!(read_styled_tags(b"\x80", &style(Profile::Flat)), None);
    assert_eq!(read_tags(b"\x81\xa7anomaly\x01", "anomaly"), None);
}

#[test]
fn names_in_every_profile() {
    let named = |profile| keys(&spliced(b"\x80", &Edit::tag(&style(profile), &flagged()))).join(" ");
    expect_test::expect![[r#"anomaly_score anomaly_level anomaly_template_id anomaly_status anomaly_flags anomaly_rule anomaly_category anomaly_rule_score anomaly_template anomaly_similarity anomaly_nearest anomaly_expected anomaly_actual anomaly_reason anomaly_model"#]].assert_eq(&named(Profile::Flat));
    expect_test::expect![[r#"anomaly.score anomaly.level anomaly.template_id anomaly.status anomaly.flags anomaly.rule anomaly.category anomaly.rule_score log.record.template anomaly.similarity anomaly.nearest anomaly.expected anomaly.actual anomaly.reason anomaly.model"#]].assert_eq(&named(Profile::Otel));
    expect_test::expect![[r#"event.risk_score_norm anomaly.level anomaly.template_id anomaly.status anomaly.flags rule.name rule.category anomaly.rule_score anomaly.template anomaly.similarity anomaly.nearest anomaly.expected anomaly.actual event.reason anomaly.model"#]].assert_eq(&named(Profile::Ecs));
    assert_eq!(named(Profile::Nested), "anomaly");
    let minimal = TagStyle { detail: Detail::Minimal, ..style(Profile::Flat) };
    expect_test::expect![[r#"["anomaly_score", "anomaly_level", "anomaly_template_id", "anomaly_status", "anomaly_flags", "anomaly_rule", "anomaly_reason"]"#]]
        .assert_eq(&format!("{:?}", keys(&spliced(b"\x80", &Edit::tag(&minimal, &flagged())))));
}

#[test]
fn a_field_that_poses_as_ours_is_moved_and_kept() {
    let check = |profile, brought: &[&str], expected: &[&str]| {
        let body = map_of(brought);
        let style = TagStyle { annotate: Annotate::Flagged, ..style(profile) };
        let out = spliced(&body, &Edit::tag(&style, &quiet()));
        assert_eq!(keys(&out), expected);
        let values: Vec<_> =
            lines(&out).iter().map(|line| line.split_once('=').unwrap().1.to_owned()).collect();
        assert_eq!(values, (0..brought.len()).map(|number| format!("Int({number})")).collect::<Vec<_>>());
    };
    check(Profile::Nested, &["a", "anomaly", "b"], &["a", "anomaly_original", "b"]);
    check(
        Profile::Nested,
        &["anomaly", "anomaly", "anomaly_original", "anomaly", "anomaly_original_3"],
        &[
            "anomaly_original_2",
            "anomaly_original_4",
            "anomaly_original",
            "anomaly_original_5",
            "anomaly_original_3",
        ],
    );
    check(
        Profile::Nested,
        &["_oddline", "oddline_summary"],
        &["_oddline_original", "oddline_summary_original"],
    );
    check(
        Profile::Nested,
        &["anomaly_score", "anomal", "anomaly2"],
        &["anomaly_score", "anomal", "anomaly2"],
    );
    check(
        Profile::Flat,
        &["anomaly", "anomaly_score", "anomaly_scor"],
        &["anomaly_original", "anomaly_score_original", "anomaly_scor"],
    );
    check(Profile::Ecs, &["rule.name", "rule.namer"], &["rule.name_original", "rule.namer"]);
    check(Profile::Otel, &["log.record.template"], &["log.record.template_original"]);
}

#[test]
fn a_hundred_thousand_posing_fields_are_all_kept() {
    let mut body = Vec::new();
    map_header(100_000, &mut body);
    body.extend(b"\xa7anomaly\x01".repeat(100_000));
    let mut keys = keys(&spliced(&body, &Edit::tag(&style(Profile::Nested), &quiet())));
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 100_001);
}

#[test]
fn the_way_back_from_the_detour() {
    let style = style(Profile::Flat);
    let pending = spliced(b"\x82\xa3log\xa2ok\x05\xc0", &Edit::tag(&style.pending(), &flagged()));
    let judged = flagged();
    let edit = Edit {
        remove: &["anomaly"],
        rename: &[],
        style: &style,
        reserved: &style,
        tags: Some(&judged),
        marker: Some("mark"),
    };
    let back = spliced(&pending, &edit);
    assert_eq!(read_styled_tags(&back, &style), Some(judged.clone()));
    assert_eq!(read_marker(&back), Some(&b"mark"[..]));
    assert_eq!(keys(&back).last().map(String::as_str), Some(MARKER_KEY));
    let done = spliced(&back, &Edit::remove(&style, &[MARKER_KEY]));
    assert_eq!(done, spliced(b"\x82\xa3log\xa2ok\x05\xc0", &Edit::tag(&style, &judged)));
    assert_eq!(read_marker(&done), None);
}

#[test]
fn remove_and_rename() {
    let style = style(Profile::Nested);
    let edit = Edit {
        remove: &["b"],
        rename: &[("a", "long name")],
        style: &style,
        reserved: &style,
        tags: None,
        marker: None,
    };
    assert_eq!(keys(&spliced(&map_of(&["b", "a", "b", "c", "b"]), &edit)), ["long name", "c"]);
    assert_eq!(spliced(&map_of(&["b"]), &edit), b"\x80");
}

#[test]
fn bodies_that_are_no_map_are_refused_and_out_is_left_alone() {
    let (style, tags) = (style(Profile::Nested), quiet());
    for body in [
        &b""[..],
        b"\xc0",
        b"\x90",
        b"\xa2ok",
        b"\x05",
        b"\xc1",
        b"\x80\x80",
        b"\x81\xa1k",
        b"\xdf\xff\xff\xff\xff",
    ] {
        let mut out = b"same".to_vec();
        assert!(splice(body, &Edit::tag(&style, &tags), &mut out).is_err(), "{body:x?}");
        assert_eq!(out, b"same");
    }
    let whole = spliced(b"\x81\xa3log\xa2ok", &Edit::tag(&style, &flagged()));
    for length in 0..whole.len() {
        assert!(splice(&whole[..length], &Edit::tag(&style, &tags), &mut Vec::new()).is_err(), "{length}");
        assert!(walk(&whole[..length], &mut Lines::default()).is_err(), "{length}");
    }
}
