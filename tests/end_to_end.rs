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
        let middle = range.start + range.len() / 2;
        run.write(range.start..middle);
        if part < parts - 1 {
            // Somewhere between "nothing of this has passed" and "nearly all has", the same in every run.
            let share = [2, 7, 4, 9, 1][part % 5];
            run.wait_for(range.start + (middle - range.start) * share / 10);
            let retries = run.retries();
            run.kill_sidecar();
            // The heartbeat is still fresh: these go to a sidecar that is dead.
            run.write(middle..range.end);
            run.wait_for_a_retry(retries);
            run.start_sidecar();
        } else {
            run.write(middle..range.end);
        }
    }
    run.wait_until("all records are out", |records| {
        let found = by_sequence(records);
        // In copy mode a pending record is out at once, and a companion for each follows.
        let pending = found.values().filter(|seen| seen.iter().any(|status| status == "pending")).count();
        found.len() == RECORDS && (mode == "copy") == (pending > 0) && companions(records) >= pending
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
        assert_eq!(
            companions(&records),
            count("pending"),
            "one companion for each record that the sidecar got"
        );
        assert!(count("pending") >= RECORDS / 10);
    } else {
        assert_eq!(count("pending"), 0);
        assert!(
            count("confirmed") + count("cleared") > 0,
            "the sidecar has judged: {:?}",
            found.values().next()
        );
    }
}

fn killed(configuration: &str, mode: &str) {
    let Some(records) = run(configuration, mode, 3) else { return };
    let found = by_sequence(&records);
    assert_eq!(found.len(), RECORDS, "nothing is lost");
    if mode != "copy" {
        assert!(
            found.values().flatten().all(|status| status != "pending"),
            "nothing pending reaches an output"
        );
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
