//! Inputs to begin with: what each check takes, made of the cases in `tests/corpus`, the rules that ship and their examples.

use std::{collections::BTreeMap, io::Write as _, path::Path, sync::Arc};

use oddline_codec::{
    Edit, TagStyle, Tags, marker,
    msgpack::{self, write_head},
};
use oddline_engine::{
    Advice, Annotate, Class, Detail, Engine, Level, Profile, Record, Status, TemplateAdvice, TemplateId,
    UnixNanos, Verdict,
    rules::{Example, RuleSet, builtin_rules},
};
use oddline_ingest::forward::frame::packed;
use prost::Message;
use serde::Deserialize;

use crate::{
    setup::{NOW, TAG, secret, settings},
    vector_event::{Log, Metric, PushEventsRequest, Value as Field, array, float, integer, map, text, truth},
};

/// Of the rules that ship, one in so many is a seed of its own.
const SHARE: usize = 4;

/// What a file of `tests/corpus` has that is of use here.
#[derive(Deserialize)]
struct Case {
    rules: Option<String>,
    #[serde(default)]
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    text: Option<String>,
    record: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The inputs to begin with of every check, by its name.
pub fn all() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let cases = cases();
    let lines = || cases.iter().flat_map(|case| &case.lines);
    let mut texts: Vec<String> = lines().filter_map(|line| line.text.clone()).collect();
    texts.extend(examples());
    let mut records: Vec<serde_json::Map<_, _>> = lines().filter_map(|line| line.record.clone()).collect();
    records.extend(texts.iter().take(20).map(|text| one("log", text)));
    let rules: Vec<String> = cases.iter().filter_map(|case| case.rules.clone()).collect();
    BTreeMap::from([
        ("chunk", chunks(&records)),
        ("event", events(&texts)),
        ("finder", finder(&texts)),
        ("frame", frames(&records)),
        ("json", jsons(&records)),
        ("mask", masks(&texts)),
        ("memo", memos(&texts)),
        ("rules", rule_files(&rules)),
        ("state", states(&texts)),
        ("when", WHEN.iter().map(|condition| condition.as_bytes().to_vec()).collect()),
    ])
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("a folder that can be read").path()).collect();
    paths.sort();
    let read = |path: &_| toml::from_str(&std::fs::read_to_string(path).expect("a text")).expect("a case");
    paths.iter().map(read).collect()
}

fn examples() -> Vec<String> {
    let rules = builtin_rules();
    let each =
        rules.iter().step_by(SHARE).flat_map(|rule| rule.matches.iter().take(1).chain(rule.misses.first()));
    let message = |example: &Example| match example {
        Example::Message(text) => Some(text.clone()),
        Example::Record(_) => None,
    };
    each.filter_map(message).collect()
}

fn one(key: &str, text: &str) -> serde_json::Map<String, serde_json::Value> {
    [(key.to_owned(), text.into())].into_iter().collect()
}

/// Behind the byte that says how the check is set up.
fn with(choice: usize, input: impl AsRef<[u8]>) -> Vec<u8> {
    [&[choice as u8], input.as_ref()].concat()
}

fn tags(status: Status) -> Tags {
    let verdict = Verdict {
        score: 0.75,
        level: Level::Medium,
        status: Some(status),
        reason: Some("new".into()),
        ..Verdict::default()
    };
    Tags::of(&verdict, &"m".into())
}

fn style() -> TagStyle {
    TagStyle {
        key: "anomaly".into(),
        annotate: Annotate::All,
        detail: Detail::Full,
        profile: Profile::Nested,
    }
}

fn chunks(records: &[serde_json::Map<String, serde_json::Value>]) -> Vec<Vec<u8>> {
    let body = |record: &_| rmp_serde::to_vec(record).expect("is plain data");
    let mut chunks = Vec::new();
    for (number, some) in records.chunks(3).enumerate() {
        let mut chunk = Vec::new();
        for record in some {
            write_head(NOW.0, &mut chunk);
            chunk.extend(body(record));
        }
        // A group around a record in the older form, its time a float.
        chunk
            .extend(b"\x92\x92\xd7\x00\xff\xff\xff\xff\0\0\0\0\x80\x81\xa1g\x01\x92\xcb\x41\xda\0\0\0\0\0\0");
        chunk.extend(body(&some[0]));
        chunk.extend(b"\x92\xfe\x80");
        chunks.push(with(number * 7, chunk));
    }
    let came_back = returned();
    let poses = b"\x92\x05\x83\xa7anomaly\x01\xb0anomaly_original\x02\xa8_oddline\x03";
    chunks.extend([with(0, came_back), with(1, poses), with(0, b"\x92\x05\x81\xa3log\xa2ok\xc1\x93")]);
    chunks
}

/// A record with the marker of one that has been on the detour.
fn returned() -> Vec<u8> {
    let tags = tags(Status::Confirmed);
    let mark = marker::sign(&secret(), TAG, b"disk full", tags.template_id, tags.level, Status::Confirmed);
    let style = style();
    let mut chunk = Vec::new();
    write_head(NOW.0, &mut chunk);
    let edit = Edit { marker: Some(&mark), ..Edit::tag(&style, &tags) };
    msgpack::splice(b"\x81\xa3log\xa9disk full", &edit, &mut chunk).expect("a map");
    chunk
}

fn jsons(records: &[serde_json::Map<String, serde_json::Value>]) -> Vec<Vec<u8>> {
    let text = |record: &_| serde_json::to_vec(record).expect("is plain data");
    let plain = records.iter().enumerate().map(|(number, record)| with(number * 5, text(record)));
    let odd = [
        r#"{ "a" : [ 1 , -2.5e3 , [ { "b" : null } ] ] , "é\u00e9\ud83d\ude00" : true }"#,
        r#"{"log":nan,"x":inf,bare:1,"cut":"disk fu"#,
        r#"{"anomaly":{"score":9},"_oddline":"7","anomaly_original":1,"log":"disk full"}"#,
        r#"{"log":"\ud800","n":123456789012345678901234567890,"z":-0,"list":["x","y"]}"#,
    ];
    plain.chain(odd.iter().enumerate().map(|(number, text)| with(number, text))).collect()
}

fn memos(texts: &[String]) -> Vec<Vec<u8>> {
    let few = texts.chunks(4).map(|lines| lines.join("\n"));
    let mut inputs: Vec<_> = few.enumerate().map(|(number, lines)| with(number % 128, lines)).collect();
    inputs.push(with(
        128,
        "status (404|503)\nerror ?4\\d\\b\ncode=7x\n4711\n\\d{3}\\.php\0status 200 of 12 ms\ncode=1x, error 17\nat 12345 of 9471",
    ));
    inputs
}

fn masks(texts: &[String]) -> Vec<Vec<u8>> {
    let some = texts.chunks(6).enumerate().map(|(number, lines)| with(number, lines.join("\n")));
    let repeated = texts.iter().take(8).map(|line| with(0, format!("{line}\nother|{line} 7\n").repeat(6)));
    some.chain(repeated).collect()
}

fn finder(texts: &[String]) -> Vec<Vec<u8>> {
    let rules = builtin_rules();
    let with_text: Vec<_> = rules.iter().filter(|rule| !rule.pattern.is_empty()).collect();
    let shipped = texts.iter().enumerate().map(|(number, text)| with(number % 16, text));
    let own = with_text.chunks(4).zip(texts.iter().cycle()).map(|(rules, text)| {
        let patterns: Vec<&str> = rules.iter().map(|rule| rule.pattern.as_str()).collect();
        with(128, format!("{}\0{text}", patterns.join("\n")))
    });
    shipped.chain(own).collect()
}

const SIGMA: &str = "title: Reader of shadow\nid: 5c5a3b6e-0000-4000-8000-000000000001\nlogsource:\n  product: linux\n\
    detection:\n  one:\n    CommandLine|contains|all: ['cat ', /etc/shadow]\n    Image|endswith: [/cat, '/less']\n  \
    two:\n    - 'Failed password'\n    - 'bad*user?'\n  three:\n    EventID|re: '^47[0-9]+$'\n    ip|cidr: 10.0.0.0/8\n  \
    condition: (one or two) and not three\nlevel: high\ntags: [attack.t1003]\n";
const GROK: &str = "DISKFULL %{SYSLOGTIMESTAMP:time} .*(disk|volume) %{WORD:what} is full\nUSERNAME2 [a-z]+%{INT}\n\
    %{IP:from} refused by %{USERNAME2:user}: %{GREEDYDATA:why}\n";
const TEXT: &str = "# name regex score words\nDISK /disk (is )?full/ 4.5 no room\nBAD \"a\\\"b\" high\nNEXT timed out 3 waited\n";
const WHEN: [&str; 6] = [
    ".status == 503 && .http.path != \"/health\"",
    "contains(string!(.message), \"disk\") || exists(.took)",
    "to_int(.status) ?? 0 > 499",
    "match(string!(.user), r'^ali') && !(length(.message) > 7)",
    "if .a { true } else { [1, {\"b\": 2}] != [] }",
    "x = now(); .took > 0.25",
];

fn rule_files(cases: &[String]) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugin/rules");
    let shipped = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = shipped
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|it| it == "toml"))
        .collect();
    paths.sort();
    let mut files: Vec<Vec<u8>> = cases.iter().map(|rules| with(0, rules)).collect();
    for path in paths {
        let text = std::fs::read_to_string(path).expect("a text");
        let rules: Vec<&str> = text.split("[[rules]]").skip(1).step_by(10).collect();
        files.extend(rules.chunks(2).map(|two| with(0, format!("[[rules]]{}", two.join("[[rules]]")))));
    }
    files.extend([with(1, TEXT), with(2, SIGMA), with(3, GROK)]);
    files
}

fn states(texts: &[String]) -> Vec<Vec<u8>> {
    let mut engine = Engine::new(settings(0), Arc::new(RuleSet::default()));
    for (number, text) in (0..).zip(texts.iter().take(12).cycle().take(120)) {
        let tag = if number % 3 == 0 { &b"app"[..] } else { b"db" };
        engine.observe(&Record::from_line(tag, text.as_bytes()), UnixNanos(NOW.0 + number * 9_000_000_000));
    }
    let whole = engine.snapshot();
    let row = |text: &str| TemplateAdvice {
        text: text.into(),
        class: Class::Normal,
        score: 0.25,
        similarity: Some(0.875),
        nearest: Some("user <*>".into()),
        rate: Some(2.5),
        expires: Some(1_800_000_000),
    };
    let id = |text: &str| TemplateId::of(text);
    let advice = Advice {
        generation: 3,
        templates: [
            (id("disk full"), row("disk full")),
            (id("user <*> logged in"), row("user <*> logged in")),
        ]
        .into(),
        aliases: [(id("user 7 logged in"), id("user <*> logged in"))].into(),
        silenced_rules: [("DISK".to_owned(), 0)].into(),
        threshold_offset: 0.125,
    };
    let advice = advice.to_bytes();
    let body = |file: &[u8]| file.splitn(2, |byte| *byte == b'\n').last().unwrap_or_default().to_vec();
    let older = include_bytes!("../../../plugin/engine/tests/state-1.txt");
    let key = [&b"0f".repeat(32)[..], b"\n"].concat();
    vec![
        with(0, body(&advice)),
        with(1, &advice),
        with(2, body(&whole)),
        with(3, body(older)),
        with(4, &whole),
        with(4, older),
        with(5, key),
    ]
}

fn frames(records: &[serde_json::Map<String, serde_json::Value>]) -> Vec<Vec<u8>> {
    let mut event = Vec::new();
    write_head(NOW.0, &mut event);
    event.extend(rmp_serde::to_vec(&records[0]).expect("is plain data"));
    let (head, tail) = packed(b"app", event.len(), 1, "id");
    let forward = [b"\x93\xa3app\x91", &*event, b"\x82\xa4size\x01\xa5chunk\xa2id"].concat();
    let message =
        b"\x94\xa3app\xd7\x00\0\0\0\x01\0\0\0\x02\x81\xa1a\x01\x82\xa5chunk\xa2id\xa8metadata\x81\xa1m\x07"
            .to_vec();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&event.repeat(9)).expect("into memory");
    let gzip = encoder.finish().expect("into memory");
    let zstd = zstd::encode_all(&*event.repeat(9), 1).expect("into memory");
    let compressed = |data: &[u8], name: &str| {
        let mut frame = b"\x93\xa3app".to_vec();
        frame.extend([0xc5, (data.len() >> 8) as u8, data.len() as u8]);
        frame.extend(data);
        frame.extend(b"\x82\xa5chunk\xa2id\xaacompressed\xa4");
        frame.extend(name.as_bytes());
        frame
    };
    let frames = [
        [&head, &*event, &tail].concat(),
        forward,
        message,
        compressed(&gzip, "gzip"),
        compressed(&zstd, "zstd"),
        b"\x81\xa3ack\xa2id".to_vec(),
    ];
    frames.iter().enumerate().map(|(number, frame)| with(number * 9, frame)).collect()
}

fn events(texts: &[String]) -> Vec<Vec<u8>> {
    let log = |line: &str| {
        let fields = [
            ("message", text(line)),
            ("n", integer(-7)),
            ("f", float(2.5)),
            ("list", array(vec![truth(), map([("k", text("v"))])])),
            ("anomaly", text("forged")),
        ];
        let ours: [(&str, Field); 1] = [("oddline", map([("tag", text("app")), ("detour", truth())]))];
        Log::new(fields, ours)
    };
    let mut inputs: Vec<Vec<u8>> = texts
        .iter()
        .step_by(12)
        .enumerate()
        .map(|(number, line)| {
            let log = log(line);
            let log = if number % 2 == 0 { log } else { log.rooted() };
            let metric = Metric::count("0000000000000abc", "app", 3.0).event();
            with(number, PushEventsRequest { events: vec![log.event(), metric] }.encode_to_vec())
        })
        .collect();
    inputs.extend(texts.iter().step_by(30).map(|line| with(0, log(line).encode_to_vec())));
    inputs
}
