//! The native filter's own state: saved under way and found again after a sudden end; panics caught at its border.

#[path = "hosts/chunk.rs"]
mod chunk;
#[path = "hosts/native.rs"]
mod native;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use chunk::{lines, records};
use native::Native;

const FAULT: &str = "CRITICAL: Failed to connect to primary database after 5 retries.";
const QUIET: &str = "INFO: User 'guest' logged in from IP 192.168.1.50";
const PATIENCE: Duration = Duration::from_secs(60);

fn start(properties: &[(&str, &str)]) -> Native {
    Native::start(properties).unwrap_or_else(|lines| panic!("{lines:?}"))
}

/// Messages of so many shapes, as one chunk.
fn shapes(count: usize) -> Vec<u8> {
    let letter = |number: usize| char::from(b'a' + u8::try_from(number % 26).unwrap());
    let word = |number: usize| [letter(number / 26), letter(number), 'x', 'y'].iter().collect::<String>();
    let texts: Vec<String> =
        (0..count).map(|number| format!("{} says something of its own", word(number))).collect();
    lines(texts.iter().map(String::as_str))
}

/// Waits until the file is there and differs from what it held before.
fn saved(path: &Path, before: &[u8]) -> Vec<u8> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::read(path) {
            Ok(bytes) if bytes != before => return bytes,
            _ => assert!(Instant::now() < deadline, "{} was not saved", path.display()),
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn two_instances_do_not_keep_one_state() {
    let dir = tempfile::tempdir().unwrap();
    let [path, other] = ["state", "other"].map(|name| dir.path().join(name).display().to_string());
    let first = start(&[("state_file", &path)]);
    let refused = Native::start(&[("state_file", &path)]).err().expect("two on one file");
    let told = format!(
        "state_file `{path}` is kept by another instance of this filter; give each a file of its own"
    );
    assert!(refused.iter().any(|line| line.contains(&told)), "{refused:?}");
    drop(start(&[("state_file", &other)]));
    drop(first);
    drop(start(&[("state_file", &path)]));
}

#[test]
fn a_sudden_end_forgets_at_most_what_was_learned_since_the_last_interval() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("state"), dir.path().join("copy"));
    let filter = start(&[("state_file", path.to_str().unwrap()), ("state_interval_seconds", "1")]);
    filter.filter("app", &shapes(30));
    let first = saved(&path, b"");
    filter.filter("app", &shapes(40));
    let second = saved(&path, &first);
    // What a process that is killed now leaves behind, and the next one finds.
    for (bytes, templates) in [(&first, 30), (&second, 40)] {
        fs::write(&copy, bytes).unwrap();
        native::log();
        drop(start(&[("state_file", copy.to_str().unwrap()), ("state_interval_seconds", "0")]));
        let log = native::log();
        assert!(log[0].ends_with("state_file: restored"), "{log:?}");
        assert!(log.last().unwrap().contains(&format!("templates={templates} ")), "{log:?}");
    }
}

#[test]
fn records_pass_while_a_large_state_is_saved_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let filter = start(&[("state_file", path.to_str().unwrap()), ("state_interval_seconds", "1")]);
    let chunk = shapes(90);
    let mut before = Vec::new();
    for round in 0..3 {
        for source in 0..200 {
            let out = filter.filter(&format!("source{source}"), &chunk).expect("tags");
            assert_eq!(records(&out).len(), 90, "round {round}");
        }
        before = saved(&path, &before);
    }
    assert!(before.len() > 1 << 20, "{} bytes are many slices", before.len());
    drop(filter);
    native::log();
    drop(start(&[("state_file", path.to_str().unwrap())]));
    assert!(native::log().last().unwrap().contains("templates=18000 "));
}

#[test]
fn a_disk_that_fails_under_way_is_told_once_and_costs_no_record() {
    let filter = start(&[("state_file", "/dev/full/state"), ("state_interval_seconds", "1")]);
    assert!(native::log()[0].ends_with("starting empty"));
    let deadline = Instant::now() + PATIENCE;
    let told = loop {
        assert_eq!(records(&filter.filter("app", &shapes(3)).unwrap()).len(), 3);
        let log = native::log();
        if !log.is_empty() {
            break log;
        }
        assert!(Instant::now() < deadline, "nobody was told");
        std::thread::park_timeout(Duration::from_millis(20));
    };
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("error ") && told[0].contains("state_file /dev/full/state: not saved: "));
}

#[test]
fn a_panic_in_the_filter_leaves_the_chunk_as_it_is_and_is_counted() {
    let filter = start(&[]);
    let chunk = shapes(2);
    native::log();
    native::break_clock();
    for _ in 0..3 {
        assert_eq!(filter.filter("app", &chunk), None, "the host keeps its own bytes");
    }
    native::hold_clock(None);
    let log = native::log();
    assert_eq!(log.len(), 1, "told once: {log:?}");
    assert!(log[0].starts_with("error ") && log[0].contains("bug: a panic while filtering"), "{log:?}");
    let after = filter.filter("app", &chunk).expect("filtering goes on");
    assert_eq!(records(&after).len(), 2);
    drop(filter);
    let log = native::log();
    assert!(log.last().unwrap().ends_with(" panics=3"), "{log:?}");
}

#[test]
fn state_comes_back_and_a_damaged_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let properties = [("state_file", path.to_str().unwrap())];
    let filter = start(&properties);
    filter.filter("app", &lines([QUIET, FAULT]));
    drop(filter);
    assert!(native::log().last().unwrap().contains("templates=2 "));
    let saved = fs::read(&path).unwrap();
    let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["state", "state.lock"], "no half-written file stays");
    drop(start(&properties));
    let log = native::log();
    assert!(
        log[0].ends_with("state_file: restored") && log.last().unwrap().contains("templates=2 "),
        "{log:?}"
    );
    for (bad, part) in [(&saved[..saved.len() - 1], "checksum mismatch"), (b"junk", "header line")] {
        fs::write(&path, bad).unwrap();
        drop(start(&properties));
        let log = native::log();
        assert!(
            log[0].contains("/state: ") && log[0].contains(part) && log[0].ends_with("starting empty"),
            "{log:?}"
        );
        assert!(log.last().unwrap().contains("templates=0 "), "{log:?}");
        assert_eq!(fs::read(dir.path().join("state.refused")).unwrap(), bad, "kept for whoever can mend it");
    }
}

#[test]
fn a_full_disk_costs_the_state_and_a_line() {
    let filter = start(&[("state_file", "/dev/full/state")]);
    filter.filter("app", &lines([QUIET]));
    drop(filter);
    let log = native::log().join("\n");
    assert!(log.contains("state_file /dev/full/state: not saved: "), "{log}");
}
