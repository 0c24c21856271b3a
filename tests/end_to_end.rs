//! The real Fluent Bit and the real Vector with the configurations that ship, and the real sidecar, killed under way:
//! every record that goes in comes out, annotated. Records are known by their sequence number; the stories are in
//! `scenarios/`.
//!
//! Runs where `ODDLINE_FLUENT_BIT` and `ODDLINE_VECTOR` name the programs or they are on the path; says loudly what was
//! skipped elsewhere.

#[path = "support/shipper.rs"]
mod shipper;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use serde_json::Value;
use shipper::{Run, Shipper};

/// A story, as its folder tells it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    shipper: Program,
    configuration: String,
    #[serde(default)]
    compiled: bool,
    mode: String,
    records: usize,
    kill: Vec<Victim>,
    expect: Expect,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Program {
    FluentBit,
    Vector,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Victim {
    Sidecar,
    Shipper,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    duplicates: bool,
    pending: bool,
    judged: usize,
}

/// A small generator of its own, so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    /// Of the seed that is asked for, or of one that is told, so that it can be.
    fn new(scenario: &str) -> Random {
        let given = std::env::var("ODDLINE_SEED").ok().map(|seed| seed.parse().expect("ODDLINE_SEED"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = given.unwrap_or(now.as_nanos() as u64);
        #[expect(clippy::print_stdout, reason = "without it, a failure cannot be played again")]
        {
            println!("{scenario}: ODDLINE_SEED={seed} plays these moments again");
        }
        Random(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

/// What came out: the statuses that each sequence number was seen with.
fn by_sequence(records: &[Value]) -> BTreeMap<usize, Vec<String>> {
    let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for record in records {
        // As Fluent Bit's tail names it, and as Vector's file source does.
        let Some(line) = record["log"].as_str().or(record["message"].as_str()) else { continue };
        let (_, number) = line.rsplit_once("seq=").unwrap_or_else(|| panic!("an unknown record: {record}"));
        let tags = &record["anomaly"];
        assert!(tags["score"].is_number() && tags["template_id"].is_string(), "not annotated: {record}");
        assert!(
            record["_oddline"].is_null() && record["oddline_summary"].is_null(),
            "our own field is left: {record}"
        );
        found
            .entry(number.parse().unwrap())
            .or_default()
            .push(tags["status"].as_str().unwrap_or("none").to_owned());
    }
    found
}

/// How many findings of the sidecar came out beside the records.
fn companions(records: &[Value]) -> usize {
    records.iter().filter(|record| record["oddline_reference"].is_object()).count()
}

/// How many records or findings bring a verdict of the sidecar.
fn judged(found: &BTreeMap<usize, Vec<String>>, records: &[Value]) -> usize {
    let is_judged = |status: &&String| ["confirmed", "cleared"].contains(&status.as_str());
    found.values().flatten().filter(is_judged).count() + companions(records)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// Logs all records while the victims die one after the other, and checks what came out once everything has arrived.
fn play(name: &str) {
    let read = |file: &str| fs::read_to_string(folder().join(name).join(file)).unwrap();
    let scenario: Scenario = toml::from_str(&read("scenario.toml")).unwrap();
    let input = read("input.log");
    let found = match scenario.shipper {
        Program::FluentBit => acceptance::fluent_bit().map(Shipper::FluentBit).ok_or("no fluent-bit"),
        Program::Vector => acceptance::vector().map(Shipper::Vector).ok_or("no vector"),
    };
    let shipper = match found {
        Ok(shipper) => shipper,
        Err(missing) => return acceptance::skipped(name, missing),
    };
    let compiled = std::env::var("ODDLINE_WASM_COMPILED").ok().filter(|_| scenario.compiled);
    if scenario.compiled && compiled.is_none() {
        return acceptance::skipped(name, "no flb-wamrc or wamrc");
    }
    let lines: Vec<&str> = input.lines().collect();
    let mut random = Random::new(name);
    let mut run = Run::start(&shipper, &scenario.configuration, &scenario.mode, compiled.as_deref());
    let parts = scenario.kill.len() + 1;
    for part in 0..parts {
        let range = scenario.records * part / parts..scenario.records * (part + 1) / parts;
        let middle = range.start + random.below(range.len());
        run.write(&lines, range.start..middle);
        if let Some(victim) = scenario.kill.get(part) {
            // Somewhere between "nothing of this has passed" and "nearly all has".
            run.wait_for(range.start + random.below(middle - range.start + 1));
            match victim {
                Victim::Sidecar => run.kill_sidecar(),
                Victim::Shipper => run.kill_shipper(),
            }
            // The heartbeat is still fresh: these go to a sidecar that is dead. A dead shipper finds them on its return.
            run.write(&lines, middle..range.end);
            match victim {
                Victim::Sidecar => run.start_sidecar(),
                Victim::Shipper => run.start_shipper(),
            }
        } else {
            run.write(&lines, middle..range.end);
        }
    }
    let pending_of = |found: &BTreeMap<usize, Vec<String>>| {
        found.values().filter(|seen| seen.iter().any(|status| status == "pending")).count()
    };
    let is_shipper_killed = scenario.kill.iter().any(|victim| matches!(victim, Victim::Shipper));
    run.wait_until("all records are out", |records| {
        let found = by_sequence(records);
        // In copy mode a record is out at once, and its companion follows, also where nothing comes out pending; where the
        // shipper is killed, some findings may be missed, never a record.
        let has_companions = is_shipper_killed || companions(records) >= pending_of(&found);
        found.len() == scenario.records && has_companions && judged(&found, records) >= scenario.expect.judged
    });
    let records = run.stop();
    let found = by_sequence(&records);
    let seen: usize = found.values().map(Vec::len).sum();
    #[expect(clippy::print_stdout, reason = "what a kill costs is worth knowing")]
    {
        println!(
            "{name}: {} records, {} came more than once, {} judged",
            found.len(),
            seen - found.len(),
            judged(&found, &records)
        );
    }
    assert_eq!(found.len(), scenario.records, "nothing is lost");
    assert!(scenario.expect.duplicates || seen == found.len(), "a record came more than once");
    let pending = pending_of(&found);
    assert_eq!(pending > 0, scenario.expect.pending, "{pending} records came out pending");
    if scenario.expect.pending && scenario.kill.is_empty() {
        assert_eq!(companions(&records), pending, "one companion for each record that the sidecar got");
        assert!(pending >= scenario.records / 10);
    }
    let judged = judged(&found, &records);
    assert!(judged >= scenario.expect.judged, "the sidecar has judged {judged}");
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            play(stringify!($name));
        })*

        #[test]
        fn every_folder_is_played() {
            let named = BTreeSet::from([$(stringify!($name).to_owned()),*]);
            let folders = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
            let names = folders.filter(|path| path.is_dir());
            let names = names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
            assert_eq!(names.collect::<BTreeSet<_>>(), named);
        }
    };
}

scenarios! {
    native_divert
    native_copy
    wasm_divert
    native_divert_sidecar_killed
    native_divert_shipper_killed
    native_divert_both_killed
    native_copy_sidecar_killed
    native_copy_both_killed
    native_divert_processors
    native_divert_processors_both_killed
    wasm_divert_sidecar_killed
    wasm_divert_compiled_sidecar_killed
    vector_divert_grpc
    vector_divert_grpc_sidecar_killed
    vector_divert_grpc_both_killed
    vector_divert_http
    vector_divert_http_sidecar_killed
    vector_copy
    vector_copy_sidecar_killed
    vector_copy_both_killed
    vector_lua
    vector_lua_sidecar_killed
}
