//! Holds what Vector's users copy: every file of vector-config/ keeps records safe, loads, and passes the unit tests that
//! it carries. Takes the files and, where there is one, the real Vector; gives all faults at once.

#[path = "support/shipper/vector.rs"]
mod vector;

use std::{fs, path::Path, process::Command};

use serde_json::Value;

/// Each file, and the mode that its first comment tells to use.
const CONFIGURATIONS: [(&str, &str); 4] =
    [("copy", "copy"), ("divert-grpc", "divert"), ("divert-http", "divert"), ("lua", "divert")];

/// Sinks that carry no records.
const NO_RECORDS: [&str; 1] = ["oddline_count_page"];

#[test]
fn every_file_is_here() {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().into_string().ok()?.strip_suffix(".yaml").map(str::to_owned)
        })
        .collect();
    names.sort();
    assert_eq!(names, CONFIGURATIONS.map(|(name, _)| name));
}

#[test]
fn configurations_keep_records_safe() {
    let faults: Vec<String> = CONFIGURATIONS
        .iter()
        .flat_map(|(name, _)| {
            faults(&read(name)).into_iter().map(move |fault| format!("{name}.yaml: {fault}"))
        })
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn unsafe_settings_are_seen() {
    let of = |text: &str| faults(&serde_saphyr::from_str(text).unwrap());
    let safe = "{data_dir: d, tests: [{}], sinks: {a: {type: file, acknowledgements: {enabled: true}}}}";
    assert_eq!(of(safe), [""; 0]);
    assert_eq!(of("{data_dir: d, tests: [{}], sinks: {a: {type: file}}}").len(), 1);
    assert_eq!(of("{data_dir: d, tests: [{}], sources: {a: {type: vector, address: '0.0.0.0:1'}}}").len(), 1);
    assert_eq!(of("{data_dir: d, tests: [{}], transforms: {a: {type: remap, file: f}}}").len(), 2);
    let detour = "{type: vector, address: '127.0.0.1:24288', acknowledgements: {enabled: true}";
    assert_eq!(of(&format!("{{data_dir: d, tests: [{{}}], sinks: {{a: {detour}}}}}}}")).len(), 1);
    assert_eq!(of("{}").len(), 2);
}

#[test]
fn vector_accepts_every_file_and_their_tests_pass() {
    let Some(program) = acceptance::vector() else {
        return acceptance::skipped("vector_accepts_every_file_and_their_tests_pass", "no vector");
    };
    for (name, mode) in CONFIGURATIONS {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("buffer")).unwrap();
        // Nothing listens: `validate` without the environment opens no port, and unit tests have no sources.
        let nowhere = vector::Listeners { grpc: 1, http: 2, back: 3, rows: 4, counts: 5 };
        vector::configure(name, mode, folder.path(), nowhere);
        for arguments in [&["validate", "--no-environment"][..], &["test"]] {
            let mut command = Command::new(&program);
            command.current_dir(folder.path()).args(arguments).arg(vector::file(folder.path()));
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}.yaml: vector {}:\n{said}", arguments[0]);
        }
    }
}

/// What would lose records, or open a port to the network, by Vector's defaults.
fn faults(configuration: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut needs = |fine: bool, what: String| {
        if !fine {
            faults.push(what);
        }
    };
    needs(configuration["data_dir"].is_string(), "data_dir: buffers and positions have no place".to_owned());
    needs(configuration["tests"].as_array().is_some_and(|it| !it.is_empty()), "has no unit tests".to_owned());
    let listening = parts(&configuration["sources"]).chain(parts(&configuration["sinks"]));
    for (name, part) in listening {
        if let Some(address) = part["address"].as_str() {
            needs(address.starts_with("127.0.0.1:"), format!("{name} is at {address}, not on loopback"));
        }
    }
    for (name, transform) in parts(&configuration["transforms"]) {
        // Our program; the small ones of the files cannot fail.
        if transform["file"].is_string() {
            for setting in ["drop_on_error", "drop_on_abort"] {
                needs(transform[setting] == false, format!("transform {name} needs {setting}: false"));
            }
        }
    }
    for (name, sink) in parts(&configuration["sinks"]).filter(|(name, _)| !NO_RECORDS.contains(name)) {
        needs(
            sink["acknowledgements"]["enabled"] == true,
            format!("sink {name} needs acknowledgements: {{enabled: true}}"),
        );
        let target = sink["address"].as_str().or(sink["uri"].as_str()).unwrap_or_default();
        if target.contains("127.0.0.1:2428") {
            needs(
                sink["buffer"]["type"] == "disk",
                format!("sink {name} needs a disk buffer: a sidecar that is away must not hold the memory"),
            );
        }
    }
    faults
}

fn parts(section: &Value) -> impl Iterator<Item = (&str, &Value)> {
    section.as_object().into_iter().flatten().map(|(name, part)| (name.as_str(), part))
}

fn read(name: &str) -> Value {
    let path = folder().join(format!("{name}.yaml"));
    let text = fs::read_to_string(&path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vector-config")
}
