//! Sessions of events with a label each, as one stream of interleaved sessions, judged online: the first part is there to
//! learn from, unlabelled and with anomalies in it, the rest is scored. A session is flagged if one of its lines is.
//!
//! Read are rows `{"label", "templates", id}` (`*train*with_anomalies*` first, then `*test*`), and lines or tables of event
//! numbers. Numbers are spelled as sentences of made-up words, because a number in a log line is a variable.

use serde::Deserialize;

use crate::{
    bootstrap::estimate,
    detector::Event,
    harness::{Bench, Case, Figure, Outcome},
    input::{self, Folder},
    metrics::Counts,
};

/// A session begins every quarter of a second, and its lines come half a second apart.
const BETWEEN_SESSIONS: i64 = 250_000_000;
const BETWEEN_LINES: i64 = 500_000_000;
/// Share of odd sessions in a stream that is mixed here: that of the whole of the HDFS log (16,838 of 575,061).
const ODD_SHARE: f64 = 0.0293;
/// Share of such a stream that is not scored.
const UNSCORED: f64 = 0.5;

struct Session {
    id: String,
    is_odd: bool,
    lines: Vec<String>,
    is_scored: bool,
}

#[derive(Deserialize)]
struct Row {
    #[serde(alias = "session_id", alias = "id")]
    block_id: String,
    label: u8,
    templates: Vec<String>,
}

#[derive(Deserialize)]
struct Numbers {
    #[serde(rename = "Sequence")]
    sequence: String,
    label: u8,
}

pub(super) fn recognises(folder: &Folder) -> bool {
    folder.row_keys().iter().any(|key| key == "templates")
        || !sequence_files(folder).is_empty()
        || !tables(folder).is_empty()
}

/// Files of event numbers: they have no ending.
fn sequence_files(folder: &Folder) -> Vec<(String, &std::path::Path)> {
    let mut files = folder.ending("");
    files
        .retain(|(name, path)| !name.contains('.') && first_line(path).is_some_and(|line| is_numbers(&line)));
    files
}

fn tables(folder: &Folder) -> Vec<(String, &std::path::Path)> {
    let mut files = folder.ending(".csv");
    files.retain(|(_, path)| first_line(path).is_some_and(|line| line.starts_with(b"Sequence,")));
    files
}

fn first_line(path: &std::path::Path) -> Option<Vec<u8>> {
    Some(oddline::commands::lines::Lines::open(path).ok()?.next(1).ok()?.into_iter().next()?.text)
}

fn is_numbers(line: &[u8]) -> bool {
    !line.is_empty() && line.iter().all(|byte| byte.is_ascii_digit() || *byte == b' ')
}

pub(super) fn load(folder: &Folder) -> anyhow::Result<Bench> {
    let mut streams: Vec<Vec<Session>> = Vec::new();
    let rows = folder.ending(".jsonl");
    if !rows.is_empty() {
        let is_test = |name: &str| name.contains("test");
        let mut files: Vec<_> =
            rows.iter().filter(|(name, _)| is_test(name) || !name.contains("normal_only")).collect();
        files.sort_by_key(|(name, _)| is_test(name));
        let mut stream = Vec::new();
        for (name, path) in files {
            for row in input::json_lines::<Row>(path)? {
                stream.push(Session {
                    id: row.block_id,
                    is_odd: row.label != 0,
                    lines: row.templates,
                    is_scored: is_test(name),
                });
            }
        }
        streams.push(stream);
    }
    let mut sequences = Vec::new();
    for (name, path) in sequence_files(folder) {
        sequences.extend(
            input::lines(path)?
                .iter()
                .map(|line| (name.contains("abnormal"), String::from_utf8_lossy(line).into_owned())),
        );
    }
    let mut labelled = Vec::new();
    for (_, path) in tables(folder) {
        labelled.extend(input::table::<Numbers>(path)?.into_iter().map(|row| (row.label != 0, row.sequence)));
    }
    streams.extend([sequences, labelled].into_iter().filter(|sessions| !sessions.is_empty()).map(mixed));

    let cases = streams
        .iter()
        .enumerate()
        .map(|(at, stream)| (Case::new(format!("{} {}", folder.name, at + 1), Vec::new()), stream));
    let (cases, labels): (Vec<Case>, Vec<Labels>) = cases
        .map(|(case, stream)| {
            let (events, session_of) = events(stream);
            let sessions = stream.iter().map(|session| (session.is_odd, session.is_scored)).collect();
            (Case { events: events.into(), ..case }, Labels { session_of, sessions })
        })
        .unzip();
    let scored = || labels.iter().flat_map(|labels| &labels.sessions).filter(|(_, is_scored)| *is_scored);
    let about =
        format!("{} sessions scored, {} odd", scored().count(), scored().filter(|(odd, _)| *odd).count());
    Ok(Bench { about, cases, measure: Box::new(move |outcomes| measure(&labels, outcomes)) })
}

/// Normal sessions in their order, odd ones spread evenly among them, as many as are usual.
fn mixed(sessions: Vec<(bool, String)>) -> Vec<Session> {
    let (odd, normal): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|(odd, _)| *odd);
    let wanted = (normal.len() as f64 * ODD_SHARE / (1.0 - ODD_SHARE)).round() as usize;
    let wanted = wanted.clamp(1, odd.len().max(1)).min(odd.len());
    let total = normal.len() + wanted;
    let gap = total.checked_div(wanted).unwrap_or(usize::MAX).max(1);
    let stride = odd.len() / wanted.max(1);
    let (mut normal, mut odd) = (normal.into_iter(), odd.into_iter().step_by(stride.max(1)).take(wanted));
    let mut stream = Vec::with_capacity(total);
    for at in 0..total {
        let next = if at % gap == gap - 1 {
            odd.next().or_else(|| normal.next())
        } else {
            normal.next().or_else(|| odd.next())
        };
        let Some((is_odd, numbers)) = next else { break };
        let lines = numbers.split_whitespace().map(sentence).collect();
        let id = format!("blk_{}", hash(at as u64));
        stream.push(Session { id, is_odd, lines, is_scored: at as f64 >= total as f64 * UNSCORED });
    }
    stream
}

/// Four made-up words that no other number has.
fn sentence(number: &str) -> String {
    const SYLLABLES: [&str; 16] =
        ["ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "wu", "za"];
    let seed = number.bytes().fold(17, |seed, byte| hash(seed ^ u64::from(byte)));
    let word = |at: u64| -> String {
        let bits = hash(seed.wrapping_add(at));
        (0..4).map(|syllable| SYLLABLES[(bits >> (syllable * 4)) as usize % SYLLABLES.len()]).collect()
    };
    (0..4).map(word).collect::<Vec<_>>().join(" ")
}

/// SplitMix64's finaliser.
fn hash(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

struct Labels {
    /// Session of each event.
    session_of: Vec<usize>,
    /// Odd, and scored.
    sessions: Vec<(bool, bool)>,
}

/// The sessions as one stream in order of time, with the id in each line.
fn events(sessions: &[Session]) -> (Vec<Event>, Vec<usize>) {
    let mut timed: Vec<(i64, usize, &str)> = Vec::new();
    for (at, session) in sessions.iter().enumerate() {
        let start = at as i64 * BETWEEN_SESSIONS;
        timed.extend(
            session
                .lines
                .iter()
                .enumerate()
                .map(|(line, text)| (start + line as i64 * BETWEEN_LINES, at, text.as_str())),
        );
    }
    timed.sort_by_key(|(at, _, _)| *at);
    let event = |(at, session, text): &(i64, usize, &str)| Event {
        at: Some(*at),
        ..Event::line(format!("{text} {}", sessions[*session].id))
    };
    (timed.iter().map(event).collect(), timed.iter().map(|(_, session, _)| *session).collect())
}

fn measure(labels: &[Labels], outcomes: &[Outcome]) -> Vec<Figure> {
    let mut pairs: Vec<Counts> = Vec::new();
    for (labels, outcome) in labels.iter().zip(outcomes) {
        let mut flagged = vec![false; labels.sessions.len()];
        for (session, answer) in labels.session_of.iter().zip(&outcome.answers) {
            flagged[*session] |= answer.is_flagged();
        }
        let scored = labels.sessions.iter().zip(&flagged).filter(|((_, is_scored), _)| *is_scored);
        pairs.extend(scored.map(|((is_odd, _), flagged)| Counts::of([(*is_odd, *flagged)])));
    }
    let of =
        |of: fn(&Counts) -> Option<f64>| estimate(pairs.len(), |weights| of(&Counts::sum(&pairs, weights)));
    vec![
        Figure::new("sessions, F1", of(Counts::f1)).at_least(0.90),
        Figure::new("sessions, precision", of(Counts::precision)),
        Figure::new("sessions, recall", of(Counts::recall)),
    ]
}
