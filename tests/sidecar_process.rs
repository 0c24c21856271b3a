//! The sidecar as a program: killed at random moments and resent to, two of them on one state, a full disk, exit codes.

#[path = "sidecar/program.rs"]
#[expect(dead_code, reason = "shared with `backends_killed.rs`, which uses the rest")]
mod program;
#[path = "sidecar/shipper.rs"]
#[expect(dead_code, reason = "shared with `sidecar.rs`, which uses the rest")]
mod shipper;

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use program::{Program, Random, command, free_address, program};
use shipper::{ReturnInput, eventually, get, output, pending, send};

fn messages(first: u64, count: u64) -> Vec<String> {
    (first..first + count)
        .map(|seq| format!("worker {} did something odd", "abcdefgh".repeat(seq as usize % 5 + 1)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_it_loses_nothing() {
    const CHUNKS: u64 = 300;
    const RECORDS: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    let back = ReturnInput::start().await;
    let mut program = Program::start("", folder.path(), &back.address, &[]);
    let to = output(&program.forward);
    let sending = tokio::spawn(async move {
        for chunk in 0..CHUNKS {
            send(&to, &pending(chunk * RECORDS, &messages(chunk * RECORDS, RECORDS))).await;
        }
    });
    let mut random = Random(7);
    for _ in 0..5 {
        let moment = back.all().len() + random.below(600) as usize;
        eventually("some more records", || back.all().len() >= moment.min(5_000) || sending.is_finished())
            .await;
        program.kill();
        program.restart();
    }
    sending.await.unwrap();
    let all = back.all();
    let seqs: BTreeSet<u64> = all.iter().map(shipper::Returned::seq).collect();
    assert_eq!(seqs, (0..CHUNKS * RECORDS).collect(), "every record came at least once");
    println!(
        "five kills: {} records sent, {} came more than once; {} MiB resident",
        seqs.len(),
        all.len() - seqs.len(),
        program.resident_kilobytes() / 1024
    );
    assert!(program.resident_kilobytes() < 300 << 10, "256 MiB beside the model");
    assert!(program.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_on_the_same_state_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let back = ReturnInput::start().await;
    let first = Program::start("", folder.path(), &back.address, &[]);
    first.is_up().await;
    let elsewhere =
        ["forward", "http", "admin"].map(|section| format!("{section}.listen={}", free_address()));
    let second = command("", "run", folder.path(), &elsewhere).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8(second.stderr).unwrap();
    let file = folder.path().join("oddline.db");
    assert!(error.contains(file.to_str().unwrap()) && error.contains("another process"), "{error}");
    send(&output(&first.forward), &pending(0, &messages(0, 3))).await;
    assert_eq!(back.all().len(), 3);
    assert!(first.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_memory_of_verdicts_and_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let back = ReturnInput::start().await;
    // No file may grow past 128 KiB, and the signal that would say so is ignored: writing fails as on a full disk.
    let program = Program::start("trap '' XFSZ; ulimit -f 256;", folder.path(), &back.address, &[]);
    program.is_up().await;
    let to = output(&program.forward);
    for chunk in 0..20 {
        let one = |number: u64| {
            let word = |at: u64| char::from(b'a' + ((number >> (4 * at)) & 15) as u8);
            format!("{} {}", (0..4).map(word).collect::<String>(), "long ".repeat(100))
        };
        let messages: Vec<_> = (chunk * 50..chunk * 50 + 50).map(one).collect();
        send(&to, &pending(chunk * 50, &messages)).await;
    }
    let back = back.all();
    assert_eq!(back.len(), 1_000);
    assert!(back.iter().all(|record| record.status() == "confirmed"), "judging needs no disk");
    let deadline = Instant::now() + Duration::from_secs(30);
    while get(&program.admin, "/metrics").await.1.contains("oddline_state_errors_total 0\n") {
        assert!(Instant::now() < deadline, "the metric does not tell");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(program.terminate().code(), Some(1), "and so does the exit code");
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } =
        Command::new(program()).args(arguments).env_clear().env("HOME", "/nonexistent").output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn bad_usage_and_bad_configuration_end_with_64_and_every_fault() {
    assert_eq!(run(&["run", "--nonsense"]).0, Some(64));
    let (code, error) = run(&["run", "--set", "analysis.deadline_ms=0", "--set", "http.listen=0.0.0.0:1"]);
    assert_eq!(code, Some(64));
    assert_eq!(
        error,
        "oddline: http.listen is 0.0.0.0:1, which others can reach: set http.token or listen on 127.0.0.1\n\
         oddline: analysis: deadline_ms is 0, not within 1..=60000\n"
    );
    let (code, error) = run(&["run", "--set", "state.dir=/dev/null/x"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("state.dir /dev/null/x cannot be made"), "{error}");
    assert_eq!(run(&["run", "--set", "state.dir=/tmp", "--check"]), (Some(0), String::new()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("oddline.toml");
    let refused = |content: &[u8]| {
        std::fs::write(&path, content).unwrap();
        let (code, error) = run(&["run", "--check", "--config", path.to_str().unwrap()]);
        assert_eq!(code, Some(64), "{error}");
        error.replace(path.to_str().unwrap(), "FILE")
    };
    let text = "oddline: configuration FILE: byte 9 is not UTF-8 text; save the file as UTF-8\n";
    assert_eq!(refused(b"[engine]\n\xff\0"), text);
    assert!(
        refused(&vec![b'#'; 10 << 20])
            .contains("configuration FILE: has 10485760 bytes, more than the limit")
    );
    let (code, error) = run(&["run", "--config", "/nonexistent/oddline.toml"]);
    assert_eq!(
        (code, error.contains("configuration /nonexistent/oddline.toml: No such file")),
        (Some(64), true)
    );
}

#[test]
fn the_printed_defaults_are_accepted_as_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut printing =
        Command::new(program()).args(["run", "--print-defaults"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut defaults = String::new();
    printing.stdout.take().unwrap().read_to_string(&mut defaults).unwrap();
    assert!(printing.wait().unwrap().success());
    let file = folder.path().join("oddline.toml");
    fs::write(&file, defaults).unwrap();
    let (code, error) = run(&["run", "--check", "--config", file.to_str().unwrap()]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
}
