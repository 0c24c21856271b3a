//! A small shop, written here: six programs that log for a quarter of an hour, and faults among them. It needs no data, so
//! it can always run; its labels come with the lines.

use fastrand::Rng;

use crate::{
    bootstrap::{estimate, share},
    detector::Event,
    harness::{Bench, Case, Figure, Outcome},
    metrics::{Parsing, Ranking},
};

/// The name of the set and of its folder, which there is none of.
pub const NAME: &str = "synthetic";
/// The seed of reports.
pub const SEED: u64 = 42;

/// Lines a second, and for how long.
const LINES_A_SECOND: usize = 12;
const SECONDS: usize = 15 * 60;
/// What comes before is for learning and is not scored.
const SCORED_FROM: usize = 5 * 60;
const SECOND: i64 = 1_000_000_000;

/// Ordinary messages by program, each with how often it comes. `{kind}` is a variable.
const ORDINARY: [(&str, u32, &str); 24] = [
    ("edge", 30, "{ip} - - \"GET /products/{number} HTTP/1.1\" {ok} {number} {millis}ms"),
    ("edge", 12, "{ip} - - \"GET /search?q={word} HTTP/1.1\" {ok} {number} {millis}ms"),
    ("edge", 6, "{ip} - - \"POST /cart HTTP/1.1\" {ok} {number} {millis}ms"),
    ("edge", 1, "{ip} - - \"GET /favicon.ico HTTP/1.1\" 404 {number} {millis}ms"),
    ("shop", 12, "INFO cart {id}: item {number} added by {user}"),
    ("shop", 8, "INFO order {id} accepted, total {amount} EUR"),
    ("shop", 8, "INFO order {id} paid after {millis} ms"),
    ("shop", 6, "INFO order {id} handed to {host} for shipping"),
    ("shop", 3, "WARN stock of item {number} is low: {number} left"),
    ("shop", 1, "INFO session of {user} expired"),
    ("ledger", 8, "INFO booked {amount} EUR on account {number} for order {id}"),
    ("ledger", 3, "INFO balance checked in {millis} ms"),
    ("ledger", 1, "INFO closing of the day written to /var/lib/ledger/{number}.csv"),
    ("database", 6, "LOG: connection authorized: user={user} database=shop"),
    ("database", 6, "LOG: disconnection: session time: {millis} ms user={user} database=shop"),
    ("database", 2, "LOG: checkpoint complete: wrote {number} buffers in {millis} ms"),
    ("database", 1, "LOG: automatic vacuum of table shop.public.{word}: index scans: {number}"),
    ("sshd", 2, "Accepted publickey for {user} from {ip} port {number} ssh2"),
    ("sshd", 2, "session opened for user {user} by (uid=0)"),
    ("sshd", 2, "session closed for user {user}"),
    ("sshd", 1, "Failed password for {user} from {ip} port {number} ssh2"),
    ("cron", 2, "(root) CMD (/usr/local/bin/rotate {word})"),
    ("cron", 1, "(backup) CMD (/usr/local/bin/copy /srv/{word} {host})"),
    ("cron", 1, "(root) INFO (job {number} finished in {millis} ms)"),
];

/// Name, rounds, and the lines of a round: program and text.
type Fault = (&'static str, usize, &'static [(&'static str, &'static str)]);

/// Faults: what each of them writes, line by line, and how many times over.
const FAULTS: [Fault; 8] = [
    (
        "database is gone",
        4,
        &[
            ("database", "FATAL: the database system is shutting down"),
            ("shop", "ERROR could not connect to database shop at {host}:5432: connection refused"),
            ("shop", "ERROR order {id} rejected: storage unavailable"),
        ],
    ),
    (
        "passwords are guessed",
        40,
        &[("sshd", "Failed password for invalid user {word} from 203.0.113.9 port {number} ssh2")],
    ),
    (
        "memory runs out",
        1,
        &[
            (
                "kernel",
                "Out of memory: Killed process {number} (ledger) total-vm:{number}kB, anon-rss:{number}kB",
            ),
            ("ledger", "INFO starting version 4.2.1"),
        ],
    ),
    (
        "a trace in the shop",
        2,
        &[
            ("shop", "ERROR unhandled exception in checkout"),
            (
                "shop",
                "java.lang.NullPointerException: Cannot invoke \"Basket.total()\" because \"basket\" is null",
            ),
            ("shop", "\tat com.example.shop.Checkout.sum(Checkout.java:118)"),
            ("shop", "\tat com.example.shop.Checkout.run(Checkout.java:41)"),
        ],
    ),
    (
        "the site is scanned",
        10,
        &[
            ("edge", "203.0.113.77 - - \"GET /../../../../etc/passwd HTTP/1.1\" 404 {number} {millis}ms"),
            (
                "edge",
                "203.0.113.77 - - \"GET /products/1%20UNION%20SELECT%20password%20FROM%20users HTTP/1.1\" 500 {number} {millis}ms",
            ),
        ],
    ),
    (
        "the disk fails",
        3,
        &[
            ("kernel", "blk_update_request: I/O error, dev sda, sector {number}"),
            (
                "kernel",
                "EXT4-fs error (device sda1): ext4_find_entry: inode #{number}: reading directory lblock 0",
            ),
        ],
    ),
    (
        "a certificate has expired",
        5,
        &[("edge", "upstream payments: TLS handshake failed: certificate has expired")],
    ),
    (
        "the books do not agree",
        2,
        &[("ledger", "CRITICAL balance of account {number} differs from its bookings by {amount} EUR")],
    ),
];

/// One line and what is true of it.
struct Line {
    event: Event,
    template: String,
    fault: Option<usize>,
    is_scored: bool,
}

/// The set. The same seed gives the same lines.
pub fn bench(seed: u64) -> Bench {
    let lines = lines(&mut Rng::with_seed(seed));
    let events: Vec<Event> = lines.iter().map(|line| line.event.clone()).collect();
    let about = format!("{} lines, {} faults", events.len(), FAULTS.len());
    let case = Case { parsed: true, ..Case::new("shop", events) };
    Bench { about, cases: vec![case], measure: Box::new(move |outcomes| measure(&lines, &outcomes[0])) }
}

fn lines(rng: &mut Rng) -> Vec<Line> {
    let weights: u32 = ORDINARY.iter().map(|(_, weight, _)| weight).sum();
    let mut lines = Vec::with_capacity(LINES_A_SECOND * SECONDS + 500);
    let mut fault = None;
    for second in 0..SECONDS {
        let is_scored = second >= SCORED_FROM;
        for part in 0..LINES_A_SECOND {
            let mut drawn = rng.u32(..weights);
            let kind = ORDINARY.iter().find(|(_, weight, _)| {
                let is_it = drawn < *weight;
                drawn = drawn.saturating_sub(*weight);
                is_it
            });
            let (program, _, text) = kind.unwrap_or(&ORDINARY[0]);
            let at = second as i64 * SECOND + part as i64 * SECOND / LINES_A_SECOND as i64;
            lines.push(line(rng, program, text, at, None, is_scored));
        }
        // One fault a minute from the sixth on, twenty seconds into it.
        let next =
            second.checked_sub(SCORED_FROM + 20).filter(|since| since % 60 == 0).map(|since| since / 60);
        if let Some(number) = next.filter(|number| *number < FAULTS.len()) {
            fault = Some((number, 0));
        }
        // A fault writes for as long as it has rounds, eight lines a second at most.
        if let Some((number, round)) = fault {
            let (_, rounds, texts) = FAULTS[number];
            let until = rounds.min(round + (8 / texts.len()).max(1));
            let at = second as i64 * SECOND + SECOND / 2;
            for _ in round..until {
                lines.extend(
                    texts.iter().map(|(program, text)| line(rng, program, text, at, Some(number), true)),
                );
            }
            fault = (until < rounds).then_some((number, until));
        }
    }
    lines
}

fn line(rng: &mut Rng, program: &str, text: &str, at: i64, fault: Option<usize>, is_scored: bool) -> Line {
    let (mut filled, mut template) = (String::new(), String::new());
    for (index, part) in text.split(['{', '}']).enumerate() {
        if index % 2 == 0 {
            filled.push_str(part);
            template.push_str(part);
        } else {
            filled.push_str(&variable(rng, part));
            template.push_str("<*>");
        }
    }
    if program == "edge" && text.contains('"') {
        // An access log is one message: what was asked for is its variable.
        template = "<*> - - \"<*>\" <*> <*> <*>".into();
    }
    let event = Event { source: program.into(), at: Some(at), ..Event::line(filled) };
    Line { event, template, fault, is_scored }
}

fn variable(rng: &mut Rng, kind: &str) -> String {
    const WORDS: [&str; 12] = [
        "lamp", "chair", "kettle", "rug", "mirror", "desk", "shelf", "vase", "clock", "sofa", "stool",
        "frame",
    ];
    const USERS: [&str; 10] = ["ann", "bela", "cem", "dora", "emil", "fay", "gus", "hana", "ivo", "jule"];
    match kind {
        "ip" => format!("198.51.{}.{}", rng.u8(..), rng.u8(1..)),
        "number" => rng.u32(1..100_000).to_string(),
        "amount" => format!("{}.{:02}", rng.u32(1..900), rng.u32(..100)),
        "millis" => rng.u32(1..400).to_string(),
        "ok" => if rng.u8(..8) == 0 { "304" } else { "200" }.into(),
        "id" => format!("{:016x}", rng.u64(..)),
        "host" => format!("node-{}", rng.u8(1..40)),
        "user" => USERS[rng.usize(..USERS.len())].into(),
        _ => WORDS[rng.usize(..WORDS.len())].into(),
    }
}

fn measure(lines: &[Line], outcome: &Outcome) -> Vec<Figure> {
    let scored = || lines.iter().zip(&outcome.answers).filter(|(line, _)| line.is_scored);
    let found: Vec<bool> = (0..FAULTS.len())
        .map(|fault| scored().any(|(line, answer)| line.fault == Some(fault) && answer.is_alert()))
        .collect();
    let quiet: Vec<bool> =
        scored().filter(|(line, _)| line.fault.is_none()).map(|(_, answer)| !answer.is_alert()).collect();
    let ranking = Ranking::new(
        &scored().map(|(line, answer)| (line.fault.is_some(), answer.score)).collect::<Vec<_>>(),
    );
    let mut figures = vec![
        Figure::new("faults found", share(&found)).at_least(0.95),
        Figure::new("ordinary lines without an alert", share(&quiet)).at_least(0.999),
        Figure::new("AUC, lines of faults", estimate(scored().count(), |weights| ranking.auc(weights))),
    ];
    if let Some(mined) = &outcome.templates {
        let truth: Vec<(String, String)> =
            lines.iter().map(|line| (line.template.clone(), line.template.clone())).collect();
        let parsing = Parsing::of(&truth, mined);
        let alone = |value| estimate(1, move |_| Some(value));
        figures.push(Figure::new("GA", alone(parsing.ga)).at_least(0.95));
        figures.push(Figure::new("PA", alone(parsing.pa)));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_shop_with_all_its_faults() {
        let texts = |seed| {
            lines(&mut Rng::with_seed(seed)).into_iter().map(|line| line.event.line).collect::<Vec<_>>()
        };
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
        let lines = lines(&mut Rng::with_seed(1));
        assert!(
            lines.is_sorted_by_key(|line| line.event.at.unwrap_or_default() / SECOND),
            "in order of time"
        );
        for (number, (name, rounds, texts)) in FAULTS.iter().enumerate() {
            let count = lines.iter().filter(|line| line.fault == Some(number)).count();
            assert_eq!(count, rounds * texts.len(), "{name}");
        }
        assert!(lines.iter().all(|line| !line.template.contains('{')));
    }
}
