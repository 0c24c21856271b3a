//! The two ends of a shipper that the sidecar talks to: an output that resends until it is acknowledged, and a return
//! input that remembers what came. Both speak real Forward over loopback.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use oddline_codec::{Edit, TagStyle, Tags, msgpack};
use oddline_engine::{Flag, Level, Settings, Status, TemplateId, Verdict};
use oddline_ingest::{
    Deliver, Events, Outgoing,
    forward::{
        client::{Client, ClientSettings},
        receive::receive,
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A record that came back.
#[derive(Clone, Debug)]
pub(crate) struct Returned {
    pub(crate) tag: String,
    pub(crate) body: Value,
}

impl Returned {
    pub(crate) fn seq(&self) -> u64 {
        self.body["seq"].as_u64().unwrap()
    }

    pub(crate) fn status(&self) -> &str {
        self.body["anomaly"]["status"].as_str().unwrap()
    }

    pub(crate) fn reason(&self) -> &str {
        self.body["anomaly"]["reason"].as_str().unwrap()
    }
}

/// The shipper's return input.
#[derive(Clone)]
pub(crate) struct ReturnInput {
    pub(crate) address: String,
    came: Arc<Mutex<Vec<Returned>>>,
    /// Whether it acknowledges; if not, it closes the connection after taking the records.
    pub(crate) acknowledges: Arc<AtomicBool>,
    _stop: Arc<tokio_util::sync::DropGuard>,
}

impl ReturnInput {
    pub(crate) async fn start() -> ReturnInput {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (came, acknowledges) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(AtomicBool::new(true)));
        let (records, acknowledge, stop) = (came.clone(), acknowledges.clone(), CancellationToken::new());
        tokio::spawn(receive(listener, stop.clone(), move |tag, events| {
            let tag = String::from_utf8(tag.to_vec()).unwrap();
            let read = |event: msgpack::Event<'_>| Returned {
                tag: tag.clone(),
                body: rmp_serde::from_slice(event.body).unwrap(),
            };
            records.lock().unwrap().extend(msgpack::events(events).map(|event| read(event.unwrap())));
            acknowledge.load(SeqCst)
        }));
        ReturnInput { address, came, acknowledges, _stop: Arc::new(stop.drop_guard()) }
    }

    pub(crate) fn count(&self) -> usize {
        self.came.lock().unwrap().len()
    }

    pub(crate) fn all(&self) -> Vec<Returned> {
        self.came.lock().unwrap().clone()
    }

    /// Waits until `count` records are there.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Returned> {
        eventually(&format!("{count} records back"), || self.came.lock().unwrap().len() >= count).await;
        self.all()
    }
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An output that gives up soon, so that its caller sees every failure.
pub(crate) fn output(address: &str) -> Client {
    let settings = ClientSettings {
        timeout: Duration::from_secs(10),
        attempt: Duration::from_secs(10),
        ..ClientSettings::new(address)
    };
    Client::new(settings, Arc::new(Events::default()))
}

/// Sends until it is acknowledged, as an output with `retry_limit no_limits` does. Gives the number of attempts.
pub(crate) async fn send(output: &Client, chunk: &Outgoing) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let mut attempts = 1;
    while output.deliver(chunk).await.is_err() {
        assert!(Instant::now() < deadline, "not acknowledged within {PATIENCE:?}");
        attempts += 1;
    }
    attempts
}

/// A chunk of pending records, one per message, numbered from `first`.
pub(crate) fn pending(first: u64, messages: &[String]) -> Outgoing {
    let mut events = Vec::new();
    let style = TagStyle::of(&Settings::default()).pending();
    for (seq, message) in (first..).zip(messages) {
        let body = rmp_serde::to_vec_named(&json!({ "log": message, "seq": seq })).unwrap();
        let template: String = message.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
        let verdict = Verdict {
            score: 0.55,
            level: Level::Low,
            template_id: TemplateId::of(&template),
            status: Some(Status::Pending),
            flags: [Flag::New].into_iter().collect(),
            template: Some(template.into()),
            reason: Some("new message".into()),
            ..Verdict::default()
        };
        let tags = Tags::of(&verdict, &"oddline/test rules:0".into());
        msgpack::write_head(1_700_000_000_000_000_000, &mut events);
        msgpack::splice(&body, &Edit::tag(&style, &tags), &mut events).unwrap();
    }
    Outgoing { tag: b"oddline.pending.app.log".to_vec(), events, records: messages.len() }
}

/// A plain HTTP/1.1 GET: status and body.
pub(crate) async fn get(address: &str, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path}"), "", b"").await
}

/// A plain HTTP/1.1 POST: status and body.
pub(crate) async fn post(address: &str, path: &str, content_type: &str, body: &[u8]) -> (u16, String) {
    let headers = format!("content-type: {content_type}\r\ncontent-length: {}\r\n", body.len());
    ask(address, &format!("POST {path}"), &headers, body).await
}

/// `headers` each end with a line's end.
pub(crate) async fn ask(address: &str, what: &str, headers: &str, body: &[u8]) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("{what} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    // Whoever refuses a body may close before all of it is written.
    let _ = socket.write_all(body).await;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}
