//! Holds the shape of the project: who may depend on whom, what a file may look like, what the core must not touch.
//! Takes the checkout and `cargo metadata`, gives all faults at once, each with its file.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand};
use regex::Regex;

/// A package, the packages of ours that it may use, and the crates that it must not even reach through others.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Arrows point from sidecar to plugin, never back. Kept in the order of a record's way.
const DIRECTIONS: &[Row] = &[
    ("oddline-engine", &[], PURE),
    ("oddline-codec", &["oddline-engine"], PURE),
    ("oddline-shell", &["oddline-codec", "oddline-engine"], SYNCHRONOUS),
    ("oddline-fluentbit", &["oddline-shell", "oddline-codec", "oddline-engine"], SYNCHRONOUS),
    ("oddline-wasm", &["oddline-shell", "oddline-codec", "oddline-engine"], SYNCHRONOUS),
    ("oddline-vrl", &["oddline-codec", "oddline-engine"], PURE),
    ("oddline-component", &["oddline-engine"], PURE),
    ("oddline-lua", &["oddline-shell", "oddline-codec", "oddline-engine"], SYNCHRONOUS),
    ("oddline-analyze", &["oddline-engine"], NO_VENDOR),
    ("oddline-ingest", &["oddline-analyze", "oddline-codec", "oddline-engine"], NO_BACKEND),
    ("oddline-backends", &["oddline-analyze", "oddline-engine"], &["wasmtime"]),
    ("oddline-rulebook", &["oddline-engine"], SYNCHRONOUS),
    (
        "oddline-component-host",
        &["oddline-analyze", "oddline-engine"],
        &["axum", "oddline-backends", "reqwest"],
    ),
    ("oddline-serve", &["oddline-analyze", "oddline-engine"], NO_BACKEND),
    (
        "oddline",
        &[
            "oddline-analyze",
            "oddline-backends",
            "oddline-codec",
            "oddline-component-host",
            "oddline-engine",
            "oddline-ingest",
            "oddline-rulebook",
            "oddline-serve",
            // The demo is a shipper: it takes records the way that every plugin does.
            "oddline-shell",
            // `oddline vrl` writes the program for Vector.
            "oddline-vrl",
        ],
        &[],
    ),
    // Leaves: they measure and try what ships, and nothing may use them.
    (
        "oddline-oracles",
        &["oddline-codec", "oddline-engine", "oddline-ingest", "oddline-rulebook", "oddline-shell"],
        NO_BACKEND,
    ),
    ("oddline-peers", &["oddline-engine"], SYNCHRONOUS),
    ("oddline-quality", &["oddline", "oddline-codec", "oddline-engine"], &[]),
    ("xtask", &[], &["tokio"]),
];

/// No host, no threads, no logging, no randomness; see also `the_core_touches_nothing`.
const PURE: &[&str] = &[
    "axum",
    "chrono",
    "getrandom",
    "libc",
    "log",
    "rand",
    "reqwest",
    "tokio",
    "tonic",
    "tracing",
    "wasmtime",
];
/// Runs in the shipper's own thread.
const SYNCHRONOUS: &[&str] = &["axum", "hyper", "reqwest", "rusqlite", "tokio", "tonic", "wasmtime"];
/// The analysis knows no protocol, vendor or database.
const NO_VENDOR: &[&str] =
    &["axum", "hyper", "prost", "qdrant-client", "reqwest", "rusqlite", "rustls", "tonic", "wasmtime"];
/// The edges talk to the shipper and to people; what the analysis calls out to is not theirs.
const NO_BACKEND: &[&str] = &["model2vec-rs", "qdrant-client", "reqwest", "rusqlite", "wasmtime"];

/// Tests may use everything; nothing may use them.
const TESTS: &str = "acceptance";

#[test]
fn dependencies_point_one_way() {
    let metadata = metadata();
    let mut faults = Faults::default();
    let ours: BTreeSet<&str> = metadata.workspace_packages().iter().map(|it| it.name.as_str()).collect();
    for package in metadata.workspace_packages().into_iter().filter(|it| it.name != TESTS) {
        let Some((_, allowed, _)) = DIRECTIONS.iter().find(|row| package.name == row.0) else {
            faults.add(&package.manifest_path, "is not in the table of directions: add it");
            continue;
        };
        for used in package.dependencies.iter().filter(|it| ours.contains(it.name.as_str())) {
            if !allowed.contains(&used.name.as_str()) {
                faults.add(&package.manifest_path, &format!("must not use {}", used.name));
            }
        }
    }
    faults.none();
}

#[test]
fn plugin_does_not_know_the_sidecar() {
    let [plugin, sidecar] = ["plugin", "sidecar"].map(|folder| root().join(folder));
    let mut faults = Faults::default();
    for package in metadata().workspace_packages() {
        for used in
            package.dependencies.iter().filter(|_| package.manifest_path.as_std_path().starts_with(&plugin))
        {
            if used.path.as_ref().is_some_and(|path| path.as_std_path().starts_with(&sidecar)) {
                faults
                    .add(&package.manifest_path, &format!("must not use {}: it lies in sidecar/", used.name));
            }
        }
    }
    faults.none();
}

#[test]
fn banned_crates_are_out_of_reach() {
    let mut faults = Faults::default();
    for (name, _, banned) in DIRECTIONS {
        let reached = reached_from(name);
        for banned in banned.iter().filter(|banned| reached.contains(**banned)) {
            faults.add(
                name,
                &format!("reaches {banned}: see `cargo tree -p {name} -e normal,no-proc-macro -i {banned}`"),
            );
        }
    }
    faults.none();
}

#[test]
fn manifests_share_version_licence_and_lints() {
    let any_version = Regex::new(r#"["']\*["']"#).unwrap();
    let mut faults = Faults::default();
    for package in metadata().workspace_packages() {
        let text = read(package.manifest_path.as_std_path());
        let manifest: toml::Table = text.parse().unwrap();
        let inherits =
            |table: &toml::Value| table.get("workspace").and_then(toml::Value::as_bool) == Some(true);
        if !manifest.get("lints").is_some_and(inherits) {
            faults.add(&package.manifest_path, "lacks `[lints] workspace = true`");
        }
        for field in ["version", "edition", "rust-version", "license", "publish"] {
            if !manifest["package"].get(field).is_some_and(inherits) {
                faults.add(&package.manifest_path, &format!("lacks `{field}.workspace = true`"));
            }
        }
        for line in text.lines().filter(|line| any_version.is_match(line)) {
            faults.add(&package.manifest_path, &format!("takes any version: {line}"));
        }
    }
    faults.none();
}

#[test]
fn licence_files_are_complete() {
    assert!(read(&root().join("LICENSE-MIT")).contains("Permission is hereby granted, free of charge"));
    assert!(read(&root().join("LICENSE-APACHE")).contains("END OF TERMS AND CONDITIONS"));
}

#[test]
fn source_files_are_short_and_introduced() {
    let mut faults = Faults::default();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > 500 {
            faults.add(path.display(), &format!("has {lines} lines, more than 500: split it"));
        }
        if !text.starts_with("//! ") {
            faults.add(path.display(), "does not open with `//! ` and a sentence on what it is for");
        }
    }
    faults.none();
}

#[test]
fn links_in_texts_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut faults = Faults::default();
    for path in files().filter(|path| path.extension().is_some_and(|it| it == "md")) {
        let text = read(&root().join(&path));
        let targets = link.captures_iter(&text).map(|found| found[1].to_owned());
        for target in targets.filter(|target| !target.contains("://")) {
            let (place, heading) = target.split_once('#').unwrap_or((&target, ""));
            let folder = root().join(&path).parent().unwrap().to_owned();
            let mut place = if place.is_empty() { root().join(&path) } else { folder.join(place) };
            if !place.exists() {
                faults.add(path.display(), &format!("links to {target}, which is not there"));
                continue;
            }
            if place.is_dir() {
                place.push("README.md");
            }
            if !heading.is_empty() && !headings(&read(&place)).contains(heading) {
                faults.add(path.display(), &format!("links to {target}, where there is no such heading"));
            }
        }
    }
    faults.none();
}

/// The anchors of a text's headings, as forges make them.
fn headings(text: &str) -> BTreeSet<String> {
    let anchor = |title: &str| {
        let kept = title.to_lowercase().replace(' ', "-");
        kept.chars().filter(|it| it.is_alphanumeric() || "-_".contains(*it)).collect()
    };
    text.lines().filter_map(|line| Some(anchor(line.trim_start_matches('#').strip_prefix(' ')?))).collect()
}

#[test]
fn open_ends_carry_an_issue_number() {
    let note = Regex::new(&format!(r"\b({}|{}|XXX)\b(\(#\d+\))?", concat!("TO", "DO"), concat!("FIX", "ME")))
        .unwrap();
    let mut faults = Faults::default();
    for (path, text) in sources() {
        let comments = text.lines().enumerate().filter(|(_, line)| line.contains("//"));
        for (index, line) in comments {
            if note.captures_iter(line).any(|found| found.get(2).is_none()) {
                faults.add(
                    format!("{}:{}", path.display(), index + 1),
                    "open end without an issue, as in `(#12)`",
                );
            }
        }
    }
    faults.none();
}

/// No I/O, clock, environment, thread, or anything else that gives two hosts two verdicts.
#[test]
fn the_core_touches_nothing() {
    let mut faults = Faults::default();
    for (path, text) in sources() {
        let core = ["plugin/engine/src", "plugin/codec/src"].iter().any(|folder| path.starts_with(folder));
        for banned in core.then(|| std_paths(&code(&text))).into_iter().flatten() {
            faults.add(path.display(), &format!("uses {banned}: pass it in as an argument"));
        }
    }
    faults.none();
}

#[test]
fn every_queue_is_bounded() {
    let name = concat!("unbounded", "_channel");
    let mut faults = Faults::default();
    for (path, text) in sources().filter(|(_, text)| code(text).contains(name)) {
        let line = text.lines().position(|line| line.contains(name)).map_or(0, |index| index + 1);
        faults.add(format!("{}:{line}", path.display()), "has a queue without a bound");
    }
    faults.none();
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    let mut paths = vec![format!("{}/", root().display())];
    paths.extend(["CARGO_HOME", "RUSTUP_HOME"].iter().filter_map(|name| std::env::var(name).ok()));
    paths.extend(
        std::env::var("HOME").iter().flat_map(|home| [format!("{home}/.cargo"), format!("{home}/.rustup")]),
    );
    let text_files = ["rs", "toml", "md", "yml", "yaml", "sh", "lua", "vrl", "wit", "json", "py"];
    let mut faults = Faults::default();
    for path in
        files().filter(|path| path.extension().is_some_and(|it| text_files.iter().any(|text| it == *text)))
    {
        let text = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
        for named in paths.iter().filter(|named| named.len() > 2 && text.contains(named.as_str())) {
            faults.add(path.display(), &format!("names {named}"));
        }
    }
    faults.none();
}

/// Nothing that was only downloaded or built here is kept: what is no text is the embedding model's weights.
#[test]
fn every_file_is_text_but_the_model() {
    let is_text = |path: &PathBuf| String::from_utf8(std::fs::read(root().join(path)).unwrap()).is_ok();
    let binary: Vec<_> = files().filter(|path| !is_text(path)).collect();
    assert_eq!(binary, [Path::new("sidecar/backends/model/model.safetensors")]);
}

/// The checks above are only as good as these two readers of source text.
#[test]
fn the_readers_see_what_they_should() {
    let seen = |text| std_paths(&code(text)).into_iter().collect::<Vec<_>>();
    assert_eq!(seen("use std::fs;"), ["std::fs"]);
    assert_eq!(seen("use std::{collections::BTreeMap, time::{Duration, Instant}};"), ["std::time::Instant"]);
    assert_eq!(seen("let t = std::time::SystemTime::now();"), ["std::time::SystemTime"]);
    assert_eq!(seen("use std::{\n    env,\n    sync::Arc,\n};"), ["std::env"]);
    assert_eq!(seen("use std::time::Duration; use std::fmt; // not std::fs\nlet x = y.env;"), [""; 0]);
    assert_eq!(seen("fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }"), [""; 0]);
}

/// The banned parts of the standard library that this code names, written out or inside a `use` group.
fn std_paths(code: &str) -> BTreeSet<String> {
    let banned =
        Regex::new(r"\b(fs|net|env|thread|process|time::(?:\{[^}]*)?(?:SystemTime|Instant))\b").unwrap();
    let statement = Regex::new(r"\bstd::(\{[^;]*;|[\w:]+(\{[^}]*\})?)").unwrap();
    let mut found = BTreeSet::new();
    for path in statement.captures_iter(code) {
        let grouped = path[1].starts_with('{');
        for part in banned.captures_iter(&path[1]).filter(|part| grouped || part.get(0).unwrap().start() == 0)
        {
            let name = part[1].rsplit(['{', ' ', ',', ':']).next().unwrap_or_default();
            let module = if part[1].starts_with("time") { "time::" } else { "" };
            found.insert(format!("std::{module}{name}"));
        }
    }
    found
}

/// The part of a source file that ships: without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    shipped.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// All crates that the package holds on this machine; what only its tests and the compiler use is left out. From `cargo tree`,
/// for the graph in `cargo metadata` has the features of tests switched on.
fn reached_from(package: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "tree",
        "--package",
        package,
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let output = cargo.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    names.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn metadata() -> Metadata {
    MetadataCommand::new().current_dir(root()).no_deps().exec().unwrap()
}

fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    files().filter(|path| path.extension().is_some_and(|it| it == "rs")).map(|path| {
        let text = read(&root().join(&path));
        (path, text)
    })
}

/// Every file of the checkout by its path from the root; build output and version control left out.
fn files() -> impl Iterator<Item = PathBuf> {
    let visible = |entry: &walkdir::DirEntry| {
        entry.depth() == 0 || !matches!(entry.file_name().to_str(), Some(".git" | "target"))
    };
    let entries = walkdir::WalkDir::new(root()).sort_by_file_name().into_iter().filter_entry(visible);
    let files = entries.map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    files.map(|entry| entry.path().strip_prefix(root()).unwrap().to_owned())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Everything that is wrong, so that one run shows it all.
#[derive(Default)]
struct Faults(String);

impl Faults {
    fn add(&mut self, place: impl std::fmt::Display, fault: &str) {
        let place = place.to_string();
        let place = place.strip_prefix(root().to_str().unwrap()).unwrap_or(&place).trim_start_matches('/');
        writeln!(self.0, "{place}: {fault}").unwrap();
    }

    fn none(self) {
        assert!(self.0.is_empty(), "\n{}", self.0);
    }
}
