//! The program masks as the engine does: the id that it gives an unknown template is that of the engine's masked text.

use std::{fs, path::PathBuf};

use oddline_engine::{Mode, Options, TemplateId, mask::Masked};
use serde_json::json;

use crate::{host::Vrl, program};

/// A program that says the id of every message, and nothing of rules.
fn masking() -> Vrl {
    program(&Options { mode: Some(Mode::Inline), builtin_rules: Some(false), ..Options::default() })
}

fn engine(message: &str) -> String {
    let mut masked = Masked::default();
    masked.mask(message.as_bytes());
    String::from_utf8_lossy(&masked.text).into_owned()
}

fn is_alike(vrl: &Vrl, message: &str) -> bool {
    let (event, _) = vrl.json(json!({"message": message}));
    event["anomaly"]["template_id"] == json!(TemplateId::of(&engine(message)).to_string())
}

#[test]
fn the_engines_examples_mask_alike() {
    let vrl = masking();
    for message in [
        "took 17ms for 3 of 5 items (60%)",
        "from 10.0.0.1:8080 to fe80::1ff:fe23:4567:890a",
        "2026-11-21T02:03:04.123Z start",
        "Nov 21 02:03:04 host sshd[1234]: ok",
        "Nov  1 02:03:04 host sshd[1234]: ok",
        "id 550e8400-e29b-41d4-a716-446655440000 done",
        "id cafebab1-beef-dead-cafe-abcdefabcdef done",
        "[req-1234beef-1234-beef-1234-beefbeefbeef] 12345678-1234-beef-CAFE-beefbeefbeef",
        "abcdefab-1234-beef-1234-beefbeefbeef of 1.12345678-1234-beef-1234-beefbeefbeef",
        "x.12345678-1234-beef-1234-beefbeefbeef 7.5-12345678-1234-beef-1234-beefbeefbeef",
        "12345678-1234-beef-1234-beefbeefbeef7 12345678-1234-beef-1234 12 12345678-1234-beef-1234-beefbeefbeef kB",
        "blk_-1608999687919862906 of size 91178",
        "opened /var/log/app/x.log, closing",
        "GET https://example.org/a/b?c=1 now",
        "User 'alice' logged in from IP 192.168.1.50",
        "don't retry, it isn't up",
        r#"{"user":"bob","ms":12,"note":"","tags":[""],"k":"v"}"#,
        "{'user': 'bob', 'note': '', 'ms': 12}",
        "user1234 on node_7 at 0xdeadBEEF",
        "temp=-12.5 C",
        "a\t\tb  c\n",
        "  indented by two",
        "Progress (1): 0/1.9 MB, 12 kB of 3 Bob",
        "0\t+0",
        "[INFO] ------------ ... ==",
        "delete blk_7503483334202473044 blk_-16089996879199 12",
        "arch x86_64, req20261121ab, q4Zk9w, deadbeefdeadbeef, 1.2.3beta15, 2.0beta12, 3rd 12Z",
        "read/write error // and a/b/c ./x/y ~/z/w /lone",
        "20240223075525.8CD9941B67@mail",
        "12\u{b5}s at 21.5\u{b0}C for 10\u{20ac}",
        "соединение 7 потеряно",
        "",
        "   ",
        "=====",
        "5 -5 +5 (-5) [-5] =-5 :-5",
    ] {
        assert!(is_alike(&vrl, message), "{message}: the engine says {}", engine(message));
    }
}

#[test]
fn generated_lines_mask_alike() {
    let vrl = masking();
    let mut random = fastrand::Rng::with_seed(0x0dd1_11e5);
    for _ in 0..3_000 {
        let line = line(&mut random);
        assert!(is_alike(&vrl, &line), "{line}: the engine says {}", engine(&line));
    }
}

/// A line as programs write them: words with values among them, as text, pairs or an object.
fn line(random: &mut fastrand::Rng) -> String {
    const WORDS: [&str; 14] = [
        "request",
        "failed",
        "for",
        "user",
        "connection",
        "to",
        "closed",
        "Starting",
        "ERROR",
        "in",
        "can't",
        "pool-worker",
        "read/write",
        "retry",
    ];
    let style = random.u8(..4);
    let parts: Vec<String> = (0..random.usize(1..12))
        .map(|_| match (style, random.bool()) {
            (0, _) => format!(
                "\"{}\":{}",
                random.choice(["user", "took", "path", "x.y"]).unwrap(),
                json_value(random)
            ),
            (1, true) => format!("{}={}", random.choice(["id", "rhost", "took_ms"]).unwrap(), value(random)),
            (_, true) => value(random),
            (_, false) => (*random.choice(WORDS).unwrap()).to_owned(),
        })
        .collect();
    match style {
        0 => format!("{{{}}}", parts.join(",")),
        1 => parts.join(random.choice([", ", " "]).unwrap()),
        _ => parts.join(" "),
    }
}

fn json_value(random: &mut fastrand::Rng) -> String {
    match random.u8(..3) {
        0 => random.u32(..).to_string(),
        1 => "true".to_owned(),
        _ => format!("\"{}\"", value(random)),
    }
}

fn value(random: &mut fastrand::Rng) -> String {
    match random.u8(..15) {
        0 => random.u32(..100_000).to_string(),
        1 => format!("{:.2}", random.f64() * 100.0),
        2 => format!(
            "{}.{}.{}.{}:{}",
            random.u8(..),
            random.u8(..),
            random.u8(..),
            random.u8(..),
            random.u16(..)
        ),
        3 => format!("{:032x}", random.u128(..)),
        4 => format!(
            "2026-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            11,
            21,
            1,
            2,
            random.u8(..60),
            random.u16(..999)
        ),
        5 => format!("Nov {:2} {:02}:{:02}:{:02}", random.u8(1..30), 1, 2, 3),
        6 => format!("/var/lib/{}/data.db", random.alphabetic()),
        7 => format!("https://example.org/a/{}?q={}", random.u16(..), random.u8(..)),
        8 => format!("'name {}'", random.alphabetic()),
        9 => format!("\"quoted {}\"", random.u8(..)),
        10 => format!("{}ms", random.u16(..)),
        11 => format!("{} {}", random.u16(..), random.choice(["kB", "MiB", "s", "ms", "bytes"]).unwrap()),
        12 => format!("node-{}", random.u8(..)),
        13 => uuid(random),
        _ => format!("worker_{}", random.u8(..)),
    }
}

/// A UUID, with groups of letters or digits alone more often than by chance.
fn uuid(random: &mut fastrand::Rng) -> String {
    let lengths = [8, 4, 4, 4, 12].into_iter();
    let groups = lengths.map(|length| {
        let digits = random.choice(["0123456789", "abcdef", "0123456789abcdef"]).unwrap();
        (0..length).map(|_| char::from(*random.choice(digits.as_bytes()).unwrap())).collect::<String>()
    });
    groups.collect::<Vec<_>>().join("-")
}

/// What regular expressions without a look behind do not tell. Held here so that the README's list stays true.
#[test]
fn known_differences_are_these() {
    let vrl = masking();
    for message in [
        // A sign after other punctuation than = : ( [ belongs to the number.
        "a|-1|b",
        // A digit within the key of an object.
        r#"{"p95":"x"}"#,
        // A letter that is not ASCII beside digits of a word that begins with a letter.
        "Route ID\u{ff1a}f3d4d4ef",
        // Longer than 4 KiB, and short when it is masked.
        &format!("{} the end", "7 ".repeat(2_048)),
    ] {
        assert!(!is_alike(&vrl, message), "{message} masks alike: the README names it as a difference");
    }
}

#[test]
fn long_messages_are_cut_alike() {
    let vrl = masking();
    for count in [1_023, 1_024, 1_025, 2_000, 10_240] {
        assert!(is_alike(&vrl, &"x".repeat(count)), "{count} letters");
        assert!(is_alike(&vrl, &"ab ".repeat(count)), "{count} words");
    }
}

/// On real logs, if they are there: at least 99 of 100 lines, in every file.
#[test]
fn real_logs_mask_alike() {
    let folder = std::env::var_os("ODDLINE_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let Ok(systems) = fs::read_dir(folder.join("loghub2k")) else {
        return acceptance::skipped("real_logs_mask_alike", "no logs of loghub2k: set ODDLINE_DATA");
    };
    let vrl = masking();
    for system in systems.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let name = system.file_name().unwrap().to_string_lossy().into_owned();
        let log = fs::read(system.join(format!("{name}_2k.log"))).unwrap();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let alike = lines.iter().filter(|line| is_alike(&vrl, line)).count();
        assert!(alike * 100 >= lines.len() * 99, "{name}: {alike} of {} lines", lines.len());
    }
}
