//! Every story in `examples/` prints what its `expected.txt` says, word for word.
//!
//! The stories on research logs need `ODDLINE_DATA` (default `../shared/data` beside the checkout) and are skipped
//! loudly without it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn data() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    std::env::var_os("ODDLINE_DATA").map_or_else(beside, PathBuf::from)
}

fn tells(story: &str) {
    let folder = examples().join(story);
    let output = Command::new("sh")
        .arg(folder.join("run.sh"))
        .env("ODDLINE", acceptance::built("ODDLINE_BIN"))
        .env("ODDLINE_DATA", data())
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .output()
        .expect("sh starts");
    assert!(output.status.success(), "{story}: {}", String::from_utf8_lossy(&output.stderr));
    let expected = fs::read_to_string(folder.join("expected.txt")).expect("expected.txt is there");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{story}");
}

fn tells_on(story: &str, logs: &str) {
    let folder = data().join(logs);
    if folder.is_dir() {
        tells(story);
    } else {
        acceptance::skipped(story, &format!("no {}; set ODDLINE_DATA", folder.display()));
    }
}

#[test]
fn first_steps() {
    tells("first-steps");
}

#[test]
fn detector() {
    tells("detector");
}

#[test]
fn failed_build() {
    tells_on("failed-build", "cidiff-build-logs");
}

#[test]
fn attacked_website() {
    tells_on("attacked-website", "web-access");
}

#[test]
fn openstack_fault() {
    tells_on("openstack-fault", "openstack-fault-injection");
}

#[test]
fn every_story_is_told_and_listed() {
    let list = fs::read_to_string(examples().join("README.md")).expect("examples/README.md is there");
    let told =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples.rs")).expect("this file");
    for entry in
        fs::read_dir(examples()).expect("examples/ is there").flatten().filter(|entry| entry.path().is_dir())
    {
        let story = entry.file_name().to_string_lossy().into_owned();
        assert!(list.contains(&format!("({story}/)")), "examples/README.md does not list {story}");
        assert!(told.contains(&format!("\"{story}\"")), "no test tells {story}");
        assert!(entry.path().join("README.md").is_file(), "{story} has no README.md");
    }
}
