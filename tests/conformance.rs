//! The same cases through every front: engine, native filter, wasm filter, Lua module, component, VRL program. Takes
//! tests/corpus/*.toml; all fronts must give the same tags, and those must be the expected ones.
//!
//! A case needs no Rust: see tests/corpus/founding.toml, which explains every key.

#[path = "hosts/chunk.rs"]
mod chunk;
#[path = "hosts/component.rs"]
mod component;
#[path = "hosts/lua.rs"]
mod lua;
#[path = "hosts/native.rs"]
mod native;
#[path = "hosts/vrl.rs"]
mod vrl;
#[path = "hosts/wasi.rs"]
mod wasi;
#[path = "hosts/wasm.rs"]
mod wasm;

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use native::Native;
use oddline_codec::{Tags, json};
use oddline_engine::{
    Engine, Mode, Options, Settings, UnixNanos,
    rules::{RuleSet, builtin_rules, parse},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use wasm::Wasm;

/// When every case begins.
const START: i64 = 1_700_000_000_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    options: Options,
    /// A TOML rule file, beside the built-in rules.
    #[serde(default)]
    rules: String,
    lines: Vec<Line>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// The message of a record with the one field `log`.
    #[serde(default)]
    text: String,
    /// Or several such messages, one after the other.
    #[serde(default)]
    texts: Vec<String>,
    /// Or the whole record.
    record: Option<Map<String, Value>>,
    #[serde(default = "app")]
    tag: String,
    /// Seconds after the line before.
    #[serde(default)]
    after: f64,
    /// How often it comes, `after` seconds apart; `{n}` in a text is its number, from 0.
    #[serde(default = "once")]
    times: u32,
    /// Parts of the tags of the last of them; null: absent.
    #[serde(default)]
    expect: Map<String, Value>,
    /// Parts that must be absent.
    #[serde(default)]
    absent: Vec<String>,
}

impl Line {
    /// What comes the so many-th time, from 0.
    fn records(&self, time: u32) -> Vec<Map<String, Value>> {
        let texts = if self.texts.is_empty() { std::slice::from_ref(&self.text) } else { &self.texts };
        let of = |text: &String| text.replace("{n}", &time.to_string());
        match &self.record {
            Some(record) => vec![record.clone()],
            None => texts.iter().map(|text| Map::from_iter([("log".to_owned(), of(text).into())])).collect(),
        }
    }
}

fn app() -> String {
    "app".to_owned()
}

fn once() -> u32 {
    1
}

/// One front; gives the tags of a record at a time.
trait Front {
    fn judge(&mut self, tag: &str, record: &Map<String, Value>, nanos: i64) -> Value;
}

struct EngineFront(Engine);

impl Front for EngineFront {
    fn judge(&mut self, tag: &str, record: &Map<String, Value>, nanos: i64) -> Value {
        let text = serde_json::to_vec(record).unwrap();
        let picker = self.0.picker();
        let mut picking = picker.start(tag.as_bytes());
        json::walk(&text, &mut picking).unwrap();
        let verdict = self.0.observe(&picking.finish(), UnixNanos(nanos));
        serde_json::to_value(Tags::of(&verdict, self.0.model())).unwrap()
    }
}

struct NativeFront(Native);

impl Front for NativeFront {
    fn judge(&mut self, tag: &str, record: &Map<String, Value>, nanos: i64) -> Value {
        native::hold_clock(Some(nanos));
        let event = chunk::event(1, b"\x80", &rmp_serde::to_vec(record).unwrap());
        let filtered = self.0.filter(tag, &event).expect("tagged");
        native::hold_clock(None);
        chunk::records(&filtered).remove(0)["anomaly"].take()
    }
}

struct WasmFront(Wasm, #[expect(dead_code, reason = "holds the directory")] tempfile::TempDir);

impl Front for WasmFront {
    fn judge(&mut self, tag: &str, record: &Map<String, Value>, nanos: i64) -> Value {
        self.0.set_clock(nanos);
        self.0.record(tag, &serde_json::to_vec(record).unwrap())["anomaly"].take()
    }
}

struct LuaFront(lua::Host);

impl Front for LuaFront {
    fn judge(&mut self, tag: &str, record: &Map<String, Value>, nanos: i64) -> Value {
        native::hold_clock(Some(nanos));
        let mut passed = self.0.process_as(record, Some(tag));
        native::hold_clock(None);
        passed.remove(0)["anomaly"].take()
    }
}

struct ComponentFront(component::Host);

impl Front for ComponentFront {
    fn judge(&mut self, tag: &str, record: &Map<String, Value>, nanos: i64) -> Value {
        let (verdict, model) = self.0.judge(tag, record, nanos);
        serde_json::to_value(Tags::of(&verdict, &model)).unwrap()
    }
}

/// Every front, started with a case's options and rules.
fn fronts(options: &Options, rules: &str) -> Vec<(&'static str, Box<dyn Front>)> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("case.toml");
    fs::write(&file, rules).unwrap();
    let options = Options { rules: Some(file.display().to_string()), ..options.clone() };
    let settings = Settings::new(&options).unwrap();
    let mut all = if settings.builtin_rules() { builtin_rules() } else { Vec::new() };
    all.extend(parse("case.toml", rules).rules);
    let engine = Engine::new(settings, Arc::new(RuleSet::compile(all).set));

    let Value::Object(set) = serde_json::to_value(&options).unwrap() else { panic!("options are an object") };
    let properties: Vec<(String, String)> = set
        .iter()
        .filter_map(|(name, value)| match value {
            Value::Null => None,
            Value::String(text) => Some((name.clone(), text.clone())),
            Value::Array(words) => {
                let words: Vec<_> = words.iter().map(|word| word.as_str().unwrap()).collect();
                Some((name.clone(), words.join(",")))
            }
            other => Some((name.clone(), other.to_string())),
        })
        .collect();
    let properties: Vec<_> = properties.iter().map(|(name, value)| (&**name, &**value)).collect();
    let native = Native::start(&properties).unwrap_or_else(|log| panic!("{log:?}"));

    let component = component::Host::start(&properties, rules);

    let set: Map<_, _> = set.into_iter().filter(|(_, value)| !value.is_null()).collect();
    fs::write(directory.path().join("oddline.toml"), toml::to_string(&set).unwrap()).unwrap();
    let wasm = Wasm::start(vec![directory.path().to_owned()]);

    let lua = lua::Host::start(&Value::Object(set)).unwrap_or_else(|fault| panic!("{fault}"));

    vec![
        ("engine", Box::new(EngineFront(engine))),
        ("native", Box::new(NativeFront(native))),
        ("wasm", Box::new(WasmFront(wasm, directory))),
        ("lua", Box::new(LuaFront(lua))),
        ("component", Box::new(ComponentFront(component))),
    ]
}

fn run(name: &str, case: &Case, faults: &mut Vec<String>) {
    let mut fronts = fronts(&case.options, &case.rules);
    let mut now = START;
    for (index, line) in case.lines.iter().enumerate() {
        for time in 0..line.times {
            now += (line.after * 1e9) as i64;
            let place = format!("{name}, line {}, time {}", index + 1, time + 1);
            let mut last = Value::Null;
            for record in line.records(time) {
                let found: Vec<(&str, Value)> = fronts
                    .iter_mut()
                    .map(|(front, host)| (*front, host.judge(&line.tag, &record, now)))
                    .collect();
                for (front, tags) in &found[1..] {
                    if *tags != found[0].1 {
                        let (of, said) = &found[0];
                        faults.push(format!("{place}: {front} says {tags}, {of} says {said}"));
                    }
                }
                last = found.into_iter().next().unwrap().1;
            }
            if time + 1 == line.times {
                let wrong = line.expect.iter().filter(|(key, value)| last[*key] != **value);
                faults.extend(wrong.map(|(key, value)| format!("{place}: expected {key} = {value}: {last}")));
                let present = line.absent.iter().filter(|key| last.get(key).is_some());
                faults.extend(present.map(|key| format!("{place}: {key} should be absent: {last}")));
            }
        }
    }
}

/// Every file of the corpus with its name.
fn cases() -> Vec<(String, Case)> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut paths: Vec<_> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(paths.len() >= 5, "the corpus is not there");
    let read = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let case = toml::from_str(&fs::read_to_string(path).unwrap());
        let case = case.unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, case)
    };
    paths.iter().map(read).collect()
}

#[test]
fn every_front_gives_the_expected_tags() {
    let mut faults = Vec::new();
    for (name, case) in cases() {
        run(&name, &case, &mut faults);
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Lines of the corpus on which the generated VRL program differs, and why. VRL remembers nothing from one event to the
/// next; what it can know of others it has from the sidecar's table, which is not there in these cases.
/// Each with what must be the same all the same.
const EXCUSES: [(&str, &[usize], &[&str], &str); 5] = [
    (
        "novelty.toml",
        &[3],
        &["template_id", "rule"],
        "new: no memory of what was seen; with a table, a message without a row is new",
    ),
    (
        "rates.toml",
        &[2],
        &["template_id", "rule"],
        "burst: no counts; with a table, the sidecar's row says it",
    ),
    (
        "statistics.toml",
        &[3, 6, 8, 10, 12, 14, 16, 17],
        &["template_id", "rule"],
        "every flag there is about what came before",
    ),
    (
        "text.toml",
        &[1],
        &["score", "level", "rule"],
        "an odd quote beside a NUL: the masking passes use NUL to set quotes aside",
    ),
    (
        "rules.toml",
        &[6, 7],
        &["template_id"],
        "elements of a list, also through a list of maps: the program does not look into lists",
    ),
];

#[test]
fn the_vrl_program_differs_only_where_it_must() {
    let (mut found, mut faults) = (BTreeSet::new(), Vec::new());
    for (name, case) in cases() {
        for (line, time, said, expected) in vrl_differences(&case) {
            found.insert((name.clone(), line));
            let excuse = EXCUSES.iter().find(|it| it.0 == name && it.1.contains(&line));
            let excused =
                excuse.is_some_and(|it| it.2.iter().all(|part| said.get(part) == expected.get(part)));
            if !excused {
                faults.push(format!(
                    "{name}, line {line}, time {time}: vrl says {said}, engine says {expected}"
                ));
            }
        }
    }
    let excused = EXCUSES.iter().flat_map(|it| it.1.iter().map(|line| (it.0.to_owned(), *line)));
    let stale = excused.filter(|it| !found.contains(it));
    faults.extend(stale.map(|(name, line)| format!("{name}, line {line}: needs no excuse")));
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Line, time, and the tags of both, where the program and the engine do not agree.
fn vrl_differences(case: &Case) -> Vec<(usize, u32, Value, Value)> {
    // The table is asked in the other modes, and there is none.
    let mode = case.options.mode.or(Some(Mode::Inline));
    let settings = Settings::new(&Options { mode, ..case.options.clone() }).unwrap();
    let mut rules = if settings.builtin_rules() { builtin_rules() } else { Vec::new() };
    rules.extend(parse("case.toml", &case.rules).rules);
    let program = oddline_vrl::program(&settings, &rules);
    let vrl = vrl::Vrl::compile(&program.text).unwrap_or_else(|fault| panic!("{fault}"));
    let mut engine = EngineFront(Engine::new(settings, Arc::new(RuleSet::compile(rules).set)));
    let (mut now, mut differences) = (START, Vec::new());
    for (index, line) in case.lines.iter().enumerate() {
        for time in 0..line.times {
            now += (line.after * 1e9) as i64;
            for record in line.records(time) {
                let expected = engine.judge(&line.tag, &record, now);
                let said = vrl.judge(&line.tag, &record)["anomaly"].take();
                if said != expected {
                    differences.push((index + 1, time + 1, said, expected));
                }
            }
        }
    }
    differences
}
