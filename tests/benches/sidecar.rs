//! The sidecar under load: questionable records over Forward, annotated records back; what is lost, how late, how large.
//!
//! `ODDLINE_BIN run` as a process of its own with embedded defaults; frames of 20 records at a fixed rate, half of them
//! with a template that was never seen. `ODDLINE_BENCH_SECONDS` (default 60) and `ODDLINE_BENCH_RATE` (default 2000
//! records a second). Prints one JSON line.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench reports on the terminal")]

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use oddline_codec::{Edit, TagStyle, Tags, msgpack};
use oddline_engine::{Level, Settings, Status, TemplateId, Verdict};
use oddline_ingest::{
    Deliver, Events, Outgoing,
    forward::{
        client::{Client, ClientSettings},
        receive::receive,
    },
};
use tokio::{net::TcpListener, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Records in one frame.
const FRAME: u64 = 20;

/// Ends with the bench, however that ends.
struct Sidecar(Child);

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Ok(program) = std::env::var("ODDLINE_BIN") else {
        eprintln!("SKIPPED: ODDLINE_BIN is not set; run `cargo xtask bench`");
        return Ok(());
    };
    let (seconds, rate) = (setting("ODDLINE_BENCH_SECONDS", 60), setting("ODDLINE_BENCH_RATE", 2_000));
    let folder = tempfile::tempdir()?;
    let returns = TcpListener::bind("127.0.0.1:0").await?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let set = |name: &str, value: String| ["--set".to_owned(), format!("{name}={value}")];
    let child = Command::new(&program)
        .args(["run", "--no-user-rules"])
        .args(set("forward.listen", format!("127.0.0.1:{port}")))
        .args(set("return.address", returns.local_addr()?.to_string()))
        .args(set("http.listen", String::new()))
        .args(set("vector.listen", String::new()))
        .args(set("admin.listen", String::new()))
        .args(set("state.dir", folder.path().display().to_string()))
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    let sidecar = Sidecar(child);

    let start = Instant::now();
    let latencies = Arc::new(Mutex::new(Vec::<f32>::new()));
    let skipped = Arc::new(AtomicU64::new(0));
    let (late, missed) = (latencies.clone(), skipped.clone());
    let shutdown = CancellationToken::new();
    tokio::spawn(receive(returns, shutdown.clone(), move |_, events| {
        let now = start.elapsed().as_nanos() as i64;
        for event in msgpack::events(events).flatten() {
            let tags = msgpack::read_tags(event.body, "anomaly");
            if tags.is_none_or(|tags| tags.status == Some(Status::Skipped)) {
                missed.fetch_add(1, Ordering::Relaxed);
            }
            if let Ok(mut latencies) = late.lock() {
                latencies.push((now - event.time_nanos) as f32 / 1e6);
            }
        }
        true
    }));
    let client =
        Arc::new(Client::new(ClientSettings::new(format!("127.0.0.1:{port}")), Arc::new(Events::default())));
    let style = TagStyle::of(&Settings::default()).pending();
    // The first frame waits until the sidecar listens; it is not counted.
    let warm = outgoing(0, 0, &style);
    while client.deliver(&warm).await.is_err() {}
    if let Ok(mut latencies) = latencies.lock() {
        latencies.clear();
    }
    skipped.store(0, Ordering::Relaxed);

    let mut ticks = tokio::time::interval(Duration::from_secs_f64(FRAME as f64 / rate as f64));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut frames = tokio::task::JoinSet::new();
    let total = seconds * rate / FRAME;
    for frame in 1..=total {
        ticks.tick().await;
        let outgoing = outgoing(frame, start.elapsed().as_nanos() as i64, &style);
        let client = client.clone();
        frames.spawn(async move { client.deliver(&outgoing).await.is_ok() });
    }
    let mut acknowledged = 0;
    while let Some(outcome) = frames.join_next().await {
        acknowledged += u64::from(outcome?) * FRAME;
    }
    let took = start.elapsed().as_secs_f64();
    let resident = resident_mib(sidecar.0.id());
    shutdown.cancel();
    let mut latencies = latencies.lock().map(|latencies| latencies.clone()).unwrap_or_default();
    latencies.sort_by(f32::total_cmp);
    let at =
        |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!(
        r#"{{"bench":"sidecar","records":{},"acknowledged":{acknowledged},"arrived":{},"skipped":{},"records_per_second":{:.0},"p50_ms":{:.1},"p99_ms":{:.1},"max_ms":{:.1},"rss_mib":{resident:.0}}}"#,
        total * FRAME,
        latencies.len(),
        skipped.load(Ordering::Relaxed),
        (total * FRAME) as f64 / took,
        at(0.5),
        at(0.99),
        latencies.last().copied().unwrap_or_default(),
    );
    Ok(())
}

/// One frame; half of its templates are new.
fn outgoing(frame: u64, now: i64, style: &TagStyle) -> Outgoing {
    let model = Arc::from("oddline/bench");
    let mut events = Vec::new();
    for place in 0..FRAME {
        let number = if place % 2 == 0 { frame * FRAME + place } else { place };
        // Letters, because digits would be masked.
        let word: String = number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
        let message = format!("worker {word} lost its connection to shard {word} and retries the transfer");
        let verdict = Verdict {
            score: 0.6,
            level: Level::Low,
            status: Some(Status::Pending),
            template_id: TemplateId::of(&message),
            template: Some(message.as_str().into()),
            reason: Some("new message".into()),
            ..Verdict::default()
        };
        let mut body = vec![0x81];
        let _ = rmp_serde::encode::write(&mut body, "message");
        let _ = rmp_serde::encode::write(&mut body, &message);
        msgpack::write_head(now, &mut events);
        let _ = msgpack::splice(&body, &Edit::tag(style, &Tags::of(&verdict, &model)), &mut events);
    }
    Outgoing { tag: b"oddline.pending.bench".to_vec(), events, records: FRAME as usize }
}

fn resident_mib(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}
