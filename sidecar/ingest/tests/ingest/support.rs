//! What the tests share: an analysis and a return input under control, events as a plugin makes them, a bare sender.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use oddline_analyze::ports::{Analysis, Received};
use oddline_codec::{Edit, TagStyle, Tags, marker::Secret, msgpack};
use oddline_engine::{
    Level, Mode, Options, Picker, Profile, Record, Settings, Status, Summary, TemplateId, Verdict,
    rules::RuleSet,
};
use oddline_ingest::{
    Annotator, Budget, Deliver, DeliverError, Detour, Events, Failure, Limits, Outgoing, Screening,
    forward::{frame::read_ack, server::Server},
    http::Http,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

/// Judges by the word `odd`, so long after a record's arrival, and remembers what it was asked.
#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) late: Mutex<Duration>,
    pub(crate) judged: Mutex<Vec<Received>>,
    pub(crate) screened: Mutex<Vec<String>>,
    pub(crate) summaries: Mutex<Vec<Summary>>,
}

pub(crate) fn local(message: &str) -> Verdict {
    Verdict {
        score: 0.7,
        level: Level::Medium,
        template_id: TemplateId::of(message),
        status: Some(Status::Pending),
        template: Some(message.into()),
        reason: Some("new message".to_owned()),
        ..Verdict::default()
    }
}

impl Analysis for Judge {
    fn judge(&self, records: Vec<Received>) -> Pin<Box<dyn Future<Output = Vec<Verdict>> + Send + '_>> {
        let confirm = |received: &Received| Verdict {
            score: 0.9,
            level: Level::High,
            status: Some(Status::Confirmed),
            ..received.local.clone()
        };
        let verdicts = records.iter().map(confirm).collect();
        let late = *self.late.lock().unwrap();
        let due = records.iter().map(|record| record.arrived + late).max().unwrap();
        self.judged.lock().unwrap().extend(records);
        Box::pin(async move {
            if !late.is_zero() {
                sleep_until(due).await;
            }
            verdicts
        })
    }

    fn screen(&self, record: &Record<'_>) -> Verdict {
        let message = String::from_utf8_lossy(&record.message).into_owned();
        let verdict = if message.contains("odd") { local(&message) } else { Verdict::default() };
        self.screened.lock().unwrap().push(message);
        verdict
    }

    fn summary(&self, summary: Summary) {
        self.summaries.lock().unwrap().push(summary);
    }
}

/// A return input: keeps what arrives; waits for a permit per delivery; fails as often as it is told to.
pub(crate) struct Back {
    pub(crate) arrived: Mutex<Vec<Outgoing>>,
    pub(crate) entered: Semaphore,
    pub(crate) gate: Semaphore,
    pub(crate) failures: Mutex<usize>,
    /// So many deliveries are refused for good.
    pub(crate) rejections: Mutex<usize>,
}

impl Deliver for Back {
    fn deliver<'a>(
        &'a self,
        outgoing: &'a Outgoing,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliverError>> + Send + 'a>> {
        Box::pin(async move {
            self.entered.add_permits(1);
            self.gate.acquire().await.unwrap().forget();
            let mut rejections = self.rejections.lock().unwrap();
            if *rejections > 0 {
                *rejections -= 1;
                return Err(DeliverError {
                    address: "back".into(),
                    reason: "rejected".into(),
                    failure: Failure::Rejected,
                });
            }
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(DeliverError {
                    address: "back".into(),
                    reason: "told to fail".into(),
                    failure: Failure::Silent,
                });
            }
            self.arrived.lock().unwrap().push(outgoing.clone());
            Ok(())
        })
    }
}

impl Back {
    /// Refuses the next deliveries for good.
    pub(crate) fn reject(&self, deliveries: usize) {
        *self.rejections.lock().unwrap() = deliveries;
    }

    /// Waits until a delivery has begun.
    pub(crate) async fn entered(&self) {
        self.entered.acquire().await.unwrap().forget();
    }

    /// All events that arrived under a tag.
    pub(crate) fn events(&self, tag: &str) -> Vec<u8> {
        let arrived = self.arrived.lock().unwrap();
        arrived.iter().filter(|out| out.tag == tag.as_bytes()).flat_map(|out| out.events.clone()).collect()
    }
}

/// One ingest with everything around it.
pub(crate) struct World {
    pub(crate) judge: Arc<Judge>,
    pub(crate) back: Arc<Back>,
    pub(crate) events: Arc<Events>,
    pub(crate) settings: Settings,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
}

pub(crate) fn secret() -> Secret {
    Secret::parse(&[b'7'; 64]).unwrap()
}

impl World {
    /// The way in that answers with the records.
    pub(crate) fn http(&self) -> Http {
        Http {
            annotator: self.annotator(),
            limits: self.limits.clone(),
            budget: self.budget.clone(),
            events: self.events.clone(),
        }
    }

    pub(crate) fn new() -> World {
        World::with(Mode::Divert, Profile::Nested)
    }

    pub(crate) fn with(mode: Mode, profile: Profile) -> World {
        let options = Options { mode: Some(mode), profile: Some(profile), ..Options::default() };
        let back = Back {
            arrived: Mutex::default(),
            entered: Semaphore::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS / 2),
            failures: Mutex::default(),
            rejections: Mutex::default(),
        };
        World {
            judge: Arc::default(),
            back: Arc::new(back),
            events: Arc::default(),
            settings: Settings::new(&options).unwrap(),
            limits: Limits::default(),
            budget: Budget::new(Limits::default().in_flight_bytes),
        }
    }

    /// Lets no delivery end until permits are added.
    pub(crate) fn close_gate(&self) {
        self.back.gate.forget_permits(usize::MAX);
    }

    pub(crate) fn annotator(&self) -> Annotator {
        Annotator {
            analysis: self.judge.clone(),
            style: TagStyle::of(&self.settings),
            screening: Screening::new(
                Arc::new(Picker::new(&self.settings, &RuleSet::default())),
                "oddline/test".into(),
            ),
        }
    }

    pub(crate) fn detour(&self) -> Detour {
        Detour::new(self.annotator(), self.settings.mode(), secret(), self.back.clone(), self.events.clone())
    }

    pub(crate) fn server(&self) -> Server {
        Server::new(Arc::new(self.detour()), self.limits.clone(), self.budget.clone(), self.events.clone())
    }

    pub(crate) async fn serve(&self, server: Server) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        Running { address, task: tokio::spawn(server.run(listener, shutdown.clone())), shutdown }
    }
}

/// A server that runs.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn sender(&self) -> Sender {
        Sender(TcpStream::connect(self.address).await.unwrap())
    }
}

/// A bare sender of frames.
pub(crate) struct Sender(pub(crate) TcpStream);

impl Sender {
    pub(crate) async fn send(&mut self, frame: &[u8]) {
        self.0.write_all(frame).await.unwrap();
    }

    /// The chunk that was acknowledged; `None`: the server closed instead.
    pub(crate) async fn ack(&mut self) -> Option<String> {
        let mut bytes = [0; 512];
        let read = self.0.read(&mut bytes);
        let length = tokio::time::timeout(Duration::from_secs(20), read)
            .await
            .expect("no answer in 20 s")
            .unwrap_or(0);
        (length > 0).then(|| String::from_utf8(read_ack(&bytes[..length]).unwrap().to_vec()).unwrap())
    }
}

/// `[[EventTime, {"m": 1}], body]`.
pub(crate) fn event(body: &[u8]) -> Vec<u8> {
    [b"\x92\x92\xd7\x00\x65\x00\x00\x00\x00\x00\x00\x07\x81\xa1m\x01", body].concat()
}

/// `{"log": message, "n": number, "x": <odd values>}`.
pub(crate) fn body(message: &str, number: u16) -> Vec<u8> {
    let mut out = b"\x83\xa3log".to_vec();
    rmp::encode::write_str(&mut out, message).unwrap();
    // An ext value, a NaN and bytes that are no UTF-8: what must not be rebuilt.
    out.extend_from_slice(b"\xa1n\xcd");
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(b"\xa1x\x93\xd4\x05\x01\xcb\x7f\xf8\0\0\0\0\0\x01\xa2\xff\xfe");
    out
}

/// A body as a plugin sends it on the detour.
pub(crate) fn pending(message: &str, number: u16, settings: &Settings) -> Vec<u8> {
    let style = TagStyle::of(settings).pending();
    let tags = Tags::of(&local(message), &"oddline/plugin".into());
    let mut out = Vec::new();
    msgpack::splice(&body(message, number), &Edit::tag(&style, &tags), &mut out).unwrap();
    out
}

/// A PackedForward frame.
pub(crate) fn packed(tag: &str, events: &[u8], chunk: &str) -> Vec<u8> {
    let (head, tail) = oddline_ingest::forward::frame::packed(tag.as_bytes(), events.len(), 1, chunk);
    [head.as_slice(), events, &tail].concat()
}
