//! The real Fluent Bit with the configurations that ship, and the real sidecar: every record that goes in comes out,
//! annotated, also when the sidecar is killed under way. Records are known by their sequence number.
//!
//! Runs where `ODDLINE_FLUENT_BIT` names the program or it is on the path; says loudly that it was skipped elsewhere.

#[path = "support/shipper.rs"]
mod shipper;

use std::collections::BTreeMap;

use serde_json::Value;
use shipper::Run;

/// Records in one run.
const RECORDS: usize = 3_000;

/// What came out: the statuses that each sequence number was seen with.
fn by_sequence(records: &[Value]) -> BTreeMap<usize, Vec<String>> {
    let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for record in records {
        let Some(log) = record["log"].as_str() else { continue };
        let (_, number) = log.rsplit_once("seq=").unwrap_or_else(|| panic!("an unknown record: {record}"));
        let tags = &record["anomaly"];
        assert!(tags["score"].is_number() && tags["template_id"].is_string(), "not annotated: {record}");
        assert!(record["_oddline"].is_null() && record["oddline_summary"].is_null(), "our own field is left: {record}");
        found.entry(number.parse().unwrap()).or_default().push(tags["status"].as_str().unwrap_or("none").to_owned());
    }
    found
}

/// Feeds all records while `kills` sidecars die, and gives what came out once everything has arrived.
fn run(configuration: &str, mode: &str, kills: u64) -> Option<Vec<Value>> {
    let Some(fluent_bit) = acceptance::fluent_bit() else {
        acceptance::skipped(configuration, "no fluent-bit");
        return None;
    };
    let mut run = Run::start(&fluent_bit, configuration, mode);
    let parts = kills as usize + 1;
    for part in 0..parts {
        let range = RECORDS * part / parts..RECORDS * (part + 1) / parts;
        run.write(range.clone());
        if part < parts - 1 {
            // Somewhere between "nothing of this part has passed" and "nearly all has", the same in every run.
            let share = [2, 7, 4, 9, 1][part % 5];
            run.wait_for(range.start + range.len() * share / 10);
            run.kill_sidecar();
            run.start_sidecar();
        }
    }
    run.wait_until("all records are out", |records| {
        let found = by_sequence(records);
        let settled = mode == "copy" || found.values().all(|seen| seen.iter().any(|status| status != "pending"));
        found.len() == RECORDS && settled
    });
    Some(run.stop())
}

fn once(configuration: &str, mode: &str) {
    let Some(records) = run(configuration, mode, 0) else { return };
    let found = by_sequence(&records);
    assert_eq!(found.len(), RECORDS);
    let twice = found.values().filter(|seen| seen.len() != 1).count();
    assert_eq!(twice, 0, "records that came out more than once");
    let count = |status: &str| found.values().filter(|seen| seen[0] == status).count();
    if mode == "copy" {
        let companions = records.iter().filter(|record| record["oddline_reference"].is_object()).count();
        assert!(companions > 0, "the sidecar's findings come as companions");
    } else {
        assert_eq!(count("pending"), 0);
        assert!(count("confirmed") + count("cleared") > 0, "the sidecar has judged: {:?}", found.values().next());
    }
}

fn killed(configuration: &str, mode: &str) {
    let Some(records) = run(configuration, mode, 3) else { return };
    let found = by_sequence(&records);
    assert_eq!(found.len(), RECORDS, "nothing is lost");
    if mode != "copy" {
        assert!(found.values().flatten().all(|status| status != "pending"), "nothing pending reaches an output");
    }
}

#[test]
fn native_divert() {
    once("native-divert", "divert");
}

#[test]
fn native_divert_with_the_sidecar_killed() {
    killed("native-divert", "divert");
}

#[test]
fn native_copy() {
    once("native-copy", "copy");
}

#[test]
fn native_copy_with_the_sidecar_killed() {
    killed("native-copy", "copy");
}

#[test]
fn wasm_divert() {
    once("wasm-divert", "divert");
}

#[test]
fn wasm_divert_with_the_sidecar_killed() {
    killed("wasm-divert", "divert");
}
