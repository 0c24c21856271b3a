//! Walk, splice and tags on JSON text.

use oddline_engine::{Annotate, Detail};
use serde_json::value::RawValue;

use super::*;
use crate::msgpack::tests::{flagged, hit, ordinary, quiet};

fn style(profile: Profile) -> TagStyle {
    TagStyle { key: "anomaly".into(), annotate: Annotate::All, detail: Detail::Full, profile }
}

fn spliced(text: &str, edit: &Edit<'_>) -> String {
    let mut out = b"before".to_vec();
    splice(text.as_bytes(), edit, &mut out).unwrap();
    let out = String::from_utf8(out.split_off(6)).unwrap();
    serde_json::from_str::<&RawValue>(&out).unwrap();
    out
}

#[derive(Default)]
struct Lines(Vec<String>);

impl<'a> Visitor<'a> for Lines {
    fn enter(&mut self, key: &[u8]) -> bool {
        self.0.push(format!("{}{{", key.escape_ascii()));
        true
    }

    fn leave(&mut self) {
        self.0.push("}".into());
    }

    fn scalar(&mut self, key: &[u8], value: Scalar<'a>) {
        self.0.push(format!("{}={value:?}", key.escape_ascii()));
    }
}

fn lines(text: &str) -> Vec<String> {
    let mut lines = Lines::default();
    walk(text.as_bytes(), &mut lines).unwrap();
    lines.0
}

#[test]
fn every_kind_of_value_is_shown() {
    expect_test::expect![[r#"
        [
            "s=Text([97])",
            "e=Text([34, 10])",
            "i=Int(-1)",
            "u=Float(1.8446744073709552e19)",
            "f=Float(1.5)",
            "h=Float(inf)",
            "n=Null",
            "t=Bool(true)",
            "a=Opaque",
            "m{",
            "k=Bool(false)",
            "}",
        ]
    "#]]
    .assert_debug_eq(&lines(
        r#" {"s":"a", "e" : "\"\n","i":-1,"u":18446744073709551615,"f":1.5,"h":1e999,"n":null,"t":true,"a":[{"x":1}],"m":{"\u006b":false}} "#,
    ));
}

#[test]
fn limits_on_fields_and_levels() {
    for (count, shown) in [(1_024, 1_024), (1_025, 1_024), (10_240, 1_024)] {
        let fields: Vec<_> = (0..count).map(|number| format!(r#""k{number}":1"#)).collect();
        assert_eq!(lines(&format!("{{{}}}", fields.join(","))).len(), shown);
    }
    for (levels, entered) in [(32, 31), (33, 31), (320, 31), (100_000, 31)] {
        let text = format!("{}1{}", r#"{"d":"#.repeat(levels), "}".repeat(levels));
        let seen = lines(&text);
        assert_eq!(seen.iter().filter(|line| *line == "d{").count(), entered);
        assert_eq!(seen.contains(&"d=Int(1)".to_owned()), levels <= 32);
        assert!(
            spliced(&text, &Edit::tag(&style(Profile::Nested), &quiet()))
                .starts_with(&text[..text.len() - 1])
        );
    }
}

#[test]
fn only_our_key_is_added_whatever_the_spacing() {
    let tags = r#""anomaly":{"score":0.125,"level":"none","template_id":"0000000000000000"}"#;
    let check = |text: &str, expected: String| {
        assert_eq!(spliced(text, &Edit::tag(&style(Profile::Nested), &quiet())), expected);
    };
    check("{}", format!("{{{tags}}}"));
    check(" { }\n", format!(" {{{tags} }}\n"));
    check(r#"{"a":1}"#, format!(r#"{{"a":1,{tags}}}"#));
    check("{ \"a\" :\t1e999 ,\n \"a\": [ ] }\r\n", format!("{{ \"a\" :\t1e999 ,\n \"a\": [ ],{tags} }}\r\n"));
}

#[test]
fn removing_leaves_valid_objects() {
    let nested = style(Profile::Nested);
    let edit = Edit {
        remove: &["b"],
        rename: &[("r", "new \"name\"")],
        style: &nested,
        reserved: &nested,
        tags: None,
        marker: None,
    };
    assert_eq!(spliced(r#"{"b":1 , "a":2,"b":3}"#, &edit), r#"{ "a":2}"#);
    assert_eq!(spliced(r#"{"b":1, "b":2 }"#, &edit), r#"{ }"#);
    assert_eq!(spliced(r#"{"b":1,"r" : 2,"c":3}"#, &edit), r#"{"new \"name\"" : 2,"c":3}"#);
    let marked = Edit { marker: Some("m"), ..edit };
    assert_eq!(spliced(r#"{"b":1}"#, &marked), r#"{"_oddline":"m"}"#);
    assert_eq!(read_marker(br#"{"_oddline":"m"}"#).as_deref(), Some(&b"m"[..]));
}

#[test]
fn a_field_that_poses_as_ours_is_moved_even_if_its_key_is_escaped() {
    let quietly = TagStyle { annotate: Annotate::Flagged, ..style(Profile::Flat) };
    let text = r#"{"an\u006fmaly":{"status":"pending"},"anomaly_score":1,"anomaly_original":2}"#;
    assert_eq!(
        spliced(text, &Edit::tag(&quietly, &quiet())),
        r#"{"anomaly_original_2":{"status":"pending"},"anomaly_score_original":1,"anomaly_original":2}"#
    );
}

#[test]
fn tags_are_as_serde_json_writes_them() {
    for tags in [ordinary(), quiet(), hit(), flagged()] {
        let written = spliced("{}", &Edit::tag(&style(Profile::Nested), &tags));
        assert_eq!(written, format!("{{\"anomaly\":{}}}", serde_json::to_string(&tags).unwrap()));
    }
    let style = TagStyle { detail: Detail::Minimal, ..style(Profile::Nested) };
    let written = spliced("{}", &Edit::tag(&style, &hit()));
    assert_eq!(
        written,
        r#"{"anomaly":{"score":0.234,"level":"none","template_id":"0000000000000000","rule":"LOGIN \"é\""}}"#
    );
}

#[test]
fn tags_come_back_in_every_profile() {
    for profile in [Profile::Nested, Profile::Flat, Profile::Otel, Profile::Ecs] {
        for tags in [flagged(), quiet(), ordinary(), hit()] {
            let style = style(profile);
            let out = spliced(r#"{"log":"ok"}"#, &Edit::tag(&style, &tags));
            assert_eq!(read_styled_tags(out.as_bytes(), &style).as_ref(), Some(&tags), "{profile:?}: {out}");
        }
    }
}

#[test]
fn what_is_no_object_is_refused_and_out_is_left_alone() {
    let (style, tags) = (style(Profile::Nested), quiet());
    for text in [
        &b""[..],
        b"[]",
        b"1",
        b"null",
        b"{",
        b"{}}",
        b"{} x",
        b"{\"a\":nan}",
        b"{a:1}",
        b"{1:1}",
        b"{\"a\":1,}",
        b"{\"a\"}",
        b"{\"\xff\":1}",
        b"{\"a\":\"long enough, then \\n \xc3\"}",
        b"{\"a\":\"\xe9t\xe9\"}",
        b"{\"a\n\":1}",
        b"{\"a\":\"\0\"}",
        b"{\"\\ud800\":1}",
        b"{\"a\":01}",
    ] {
        let mut out = b"same".to_vec();
        assert!(splice(text, &Edit::tag(&style, &tags), &mut out).is_err(), "{}", text.escape_ascii());
        assert_eq!(out, b"same");
        assert!(walk(text, &mut Lines::default()).is_err(), "{}", text.escape_ascii());
    }
}
