//! The sidecar as a program on a vector index and an embedder that are killed at random moments while records flow over
//! Forward and HTTP: with honest fakes always, with the real Qdrant (`ODDLINE_QDRANT`, or `qdrant` on the path) and a
//! real Ollama (`ODDLINE_OLLAMA_URL`) where there are any. No record is lost or given again, none waits for a dead
//! backend, each says who judged it, and all is well again by itself.

#[path = "../sidecar/backends/tests/contracts/fake_http.rs"]
#[expect(dead_code, reason = "shared with the contract suites, which use the rest")]
mod fake_http;
#[path = "../sidecar/backends/tests/contracts/fake_qdrant.rs"]
#[expect(dead_code, reason = "shared with the contract suites, which use the rest")]
mod fake_qdrant;
#[path = "../sidecar/backends/tests/contracts/fakes.rs"]
#[expect(dead_code, reason = "shared with the contract suites, which use the rest")]
mod fakes;
#[path = "backends_killed/mortal.rs"]
mod mortal;
#[path = "sidecar/program.rs"]
#[expect(dead_code, reason = "shared with `sidecar_process.rs`, which uses the rest")]
mod program;
#[path = "sidecar/shipper.rs"]
#[expect(dead_code, reason = "shared with `sidecar.rs`, which uses the rest")]
mod shipper;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use mortal::{FakeOllama, FakeQdrant, Mortal, RealQdrant, RelayedOllama};
use program::{Program, Random, command};
use serde_json::Value;
use shipper::{ReturnInput, Returned, eventually, get, output, pending, post, send};
use tokio::time::{Instant, interval};

/// Records of a chunk, chunks a second.
const RECORDS: u64 = 10;
const EVERY: Duration = Duration::from_millis(10);
/// Taught before all else; whatever is unlike anything known names it.
const KNOWN: &str = "session opened for user backup";
/// Deaths of one run. Before the first, the backend has not been up since the sidecar started.
const ROUNDS: u64 = 4;

/// What dies.
#[derive(Clone, Copy)]
struct Part {
    /// As its breaker and its skips are called in `/metrics`.
    name: &'static str,
    /// As a skipped record's reason calls it.
    words: &'static str,
}

const INDEX: Part = Part { name: "index", words: "vector index" };
const EMBEDDER: Part = Part { name: "embedder", words: "embedder" };

#[tokio::test(flavor = "multi_thread")]
async fn a_fake_qdrant_is_killed() {
    killed_while_records_flow(INDEX, FakeQdrant::new(), 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_qdrant_is_killed() {
    let Some(program) = acceptance::qdrant() else {
        let why = "no Qdrant: set ODDLINE_QDRANT or put `qdrant` on the path";
        return acceptance::skipped("the_real_qdrant_is_killed", why);
    };
    killed_while_records_flow(INDEX, RealQdrant::new(&program), 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fake_ollama_is_killed() {
    killed_while_records_flow(EMBEDDER, FakeOllama::new(), 13).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_a_real_ollama_is_cut() {
    let Some(url) = std::env::var("ODDLINE_OLLAMA_URL").ok().filter(|url| !url.is_empty()) else {
        let why = "no Ollama: set ODDLINE_OLLAMA_URL";
        return acceptance::skipped("the_way_to_a_real_ollama_is_cut", why);
    };
    let model = std::env::var("ODDLINE_OLLAMA_MODEL").unwrap_or_else(|_| "all-minilm".to_owned());
    killed_while_records_flow(EMBEDDER, RelayedOllama::new(&url, model), 14).await;
}

async fn killed_while_records_flow(part: Part, mut backend: impl Mortal, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    backend.start().await;
    teach(folder.path(), &backend.settings());
    backend.kill();
    let back = ReturnInput::start().await;
    let program = Program::start("", folder.path(), &back.address, &backend.settings());
    program.is_up().await;
    let flow = Flow::start(&program);
    let mut random = Random(seed);
    for round in 0..ROUNDS {
        let when = format!("{}, seed {seed}, round {round}", part.name);
        // Down, and it is noticed.
        let breaker = format!("oddline_{}_breaker_open", part.name);
        until(&program, &when, &breaker, |open| open == 1).await;
        let since = back.count();
        some_more(&back, &flow, random.below(400)).await;
        let down = back.all().split_off(since);
        let skipped = down.iter().filter(|record| record.status() == "skipped");
        let words = format!("sidecar: {}: ", part.words);
        assert!(skipped.clone().count() > 0, "{when}: new templates cannot be judged");
        assert!(skipped.into_iter().all(|record| record.reason().contains(&words)), "{when}: {:?}", down[0]);
        // Up, and nobody needs to tell the sidecar.
        backend.start().await;
        until(&program, &when, &breaker, |open| open == 0).await;
        let since = back.count();
        eventually(&format!("{when}: verdicts again"), || judged_by_meaning(&back, since)).await;
        some_more(&back, &flow, random.below(400)).await;
        // Killed with look-ups in hand.
        backend.kill();
    }
    until(&program, part.name, &format!("oddline_records_skipped_total{{cause=\"{}\"}}", part.name), |n| {
        n > 0
    })
    .await;
    let Flowed { sent, attempts, asked, slowest } = flow.stop().await;
    let all = back.all();
    let seqs: BTreeSet<u64> = all.iter().map(Returned::seq).collect();
    assert_eq!(seqs, (0..sent).collect(), "every record came back");
    assert_eq!((all.len() as u64, attempts), (sent, sent / RECORDS), "once, and none had to be sent again");
    let settled = |record: &Returned| matches!(record.status(), "confirmed" | "cleared" | "skipped");
    assert!(all.iter().all(settled), "each says how it was judged");
    assert!(slowest < Duration::from_secs(10), "none waits for a dead backend: {slowest:?}");
    let skipped = all.iter().filter(|record| record.status() == "skipped").count();
    #[expect(clippy::print_stdout, reason = "what a kill costs is worth knowing")]
    {
        println!(
            "{} killed {ROUNDS} times: {sent} records sent, all back, {skipped} skipped, the slowest chunk in \
         {slowest:?}; {asked} more over HTTP",
            part.name
        );
    }
    assert!(program.terminate().success());
}

/// Teaches by `oddline learn`, as people do.
fn teach(folder: &Path, settings: &[String]) {
    let file = folder.join("normal.log");
    std::fs::write(&file, format!("{KNOWN}\n")).unwrap();
    let taught = command("", "learn", folder, settings).arg(&file).output().unwrap();
    assert!(taught.status.success(), "{}", String::from_utf8_lossy(&taught.stderr));
}

fn judged_by_meaning(back: &ReturnInput, since: usize) -> bool {
    let nearest = |record: &Returned| record.body["anomaly"]["nearest"] == KNOWN;
    back.all().split_off(since).iter().any(|record| record.status() == "confirmed" && nearest(record))
}

async fn some_more(back: &ReturnInput, flow: &Flow, records: u64) {
    let moment = back.count() + (records + RECORDS) as usize;
    eventually("some more records", || back.count() >= moment || flow.sending.is_finished()).await;
}

/// Waits until a metric is as wanted.
async fn until(program: &Program, when: &str, metric: &str, is_right: impl Fn(u64) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (_, metrics) = get(&program.admin, "/metrics").await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(metric)?.trim().parse().ok());
        if value.is_some_and(&is_right) {
            return;
        }
        assert!(Instant::now() < deadline, "{when}: {metric} is {value:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Records on their way over both ways in, until they are to stop.
struct Flow {
    stop: Arc<AtomicBool>,
    sending: tokio::task::JoinHandle<(u64, Duration)>,
    asking: tokio::task::JoinHandle<u64>,
    attempts: Arc<AtomicU64>,
}

struct Flowed {
    sent: u64,
    attempts: u64,
    asked: u64,
    slowest: Duration,
}

impl Flow {
    fn start(program: &Program) -> Flow {
        let (stop, attempts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (to, http) = (output(&program.forward), program.http.clone());
        let (is_over, tried) = (stop.clone(), attempts.clone());
        let sending = tokio::spawn(async move {
            let (mut sent, mut slowest, mut pace) = (0, Duration::ZERO, interval(EVERY));
            while !is_over.load(SeqCst) {
                pace.tick().await;
                let begun = Instant::now();
                tried.fetch_add(send(&to, &pending(sent, &messages(sent))).await as u64, SeqCst);
                slowest = slowest.max(begun.elapsed());
                sent += RECORDS;
            }
            (sent, slowest)
        });
        let is_over = stop.clone();
        let asking = tokio::spawn(async move {
            let (mut asked, mut pace) = (0, interval(EVERY * 5));
            while !is_over.load(SeqCst) {
                pace.tick().await;
                let record =
                    serde_json::json!({"message": format!("asked for {}", word(asked)), "seq": asked});
                let body = format!("[{record}]");
                let (status, answer) = post(&http, "/v1/records", "application/json", body.as_bytes()).await;
                assert_eq!(status, 200, "{answer}");
                let answer: Value = serde_json::from_str(&answer).unwrap();
                assert_eq!(answer[0]["seq"], asked);
                assert!(
                    answer[0]["anomaly"]["score"].is_number() && answer[0]["anomaly"]["status"] != "pending"
                );
                asked += 1;
            }
            asked
        });
        Flow { stop, sending, asking, attempts }
    }

    async fn stop(self) -> Flowed {
        self.stop.store(true, SeqCst);
        let (sent, slowest) = self.sending.await.unwrap();
        let asked = self.asking.await.unwrap();
        Flowed { sent, attempts: self.attempts.load(SeqCst), asked, slowest }
    }
}

/// A chunk's messages: most never seen before, one that is.
fn messages(first: u64) -> Vec<String> {
    let new =
        (first..first + RECORDS - 1).map(|seq| format!("{} turned {} at once", word(seq), word(seq / 7)));
    new.chain([KNOWN.to_owned()]).collect()
}

/// A word of letters for a number; numbers themselves would be masked.
fn word(number: u64) -> String {
    (0..5).map(|at| char::from(b'a' + ((number >> (4 * at)) & 15) as u8)).collect()
}
