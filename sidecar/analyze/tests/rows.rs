//! A table in the shipper is kept up to date, over a paused clock: what it holds after restarts of either side, how soon
//! it hears of a verdict, and what one body and one second may hold.

#[allow(dead_code, reason = "each test file uses what it needs")]
mod fakes;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use fakes::{FakeClock, FakeEmbedder, FakeIndex, FakeStore, Mood};
use oddline_analyze::{
    Analyzer, Options, Ports, Settings,
    counts::pull::pull,
    feedback::Feedback,
    ports::{Analysis, Answer, BackendError, CountSource, Received, RowTable, Total},
    rows::{MAX_BODY_BYTES, push::Pusher},
};
use oddline_engine::{
    BARE_COUNTS, Engine, Flag, Flags, Level, RuleHit, Status, Summary, TemplateCount, TemplateId, Verdict,
    advice::row::{RowClass, SIDECAR_KEY, SidecarRow, TemplateRow},
    rules::RuleSet,
};
use tokio::{task::JoinHandle, time::Instant};

/// A table that forgets all with a restart, and remembers each body's length and time.
#[derive(Default)]
struct FakeTable {
    mood: Mutex<Mood>,
    connection: Mutex<u64>,
    rows: Mutex<BTreeMap<String, serde_json::Value>>,
    bodies: Mutex<Vec<(Instant, usize)>>,
    beats: Mutex<Vec<f64>>,
}

impl RowTable for FakeTable {
    fn write(&self, body: Vec<u8>) -> Answer<'_, u64> {
        let mood = *self.mood.lock().unwrap();
        Box::pin(async move {
            if mood == Mood::Down {
                return Err(BackendError::unavailable("fake table: connection refused"));
            }
            self.bodies.lock().unwrap().push((Instant::now(), body.len()));
            let mut body: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
                serde_json::from_slice(&body).unwrap();
            assert_eq!(body.len(), 1);
            let rows = body.remove("rows").unwrap();
            self.beats.lock().unwrap().extend(rows.get(SIDECAR_KEY).and_then(|row| row["at"].as_f64()));
            self.rows.lock().unwrap().extend(rows);
            Ok(*self.connection.lock().unwrap())
        })
    }
}

impl FakeTable {
    fn restart(&self) {
        *self.connection.lock().unwrap() += 1;
        self.rows.lock().unwrap().clear();
    }

    fn row(&self, key: &str) -> Option<TemplateRow> {
        let row = self.rows.lock().unwrap().get(key).cloned();
        row.map(|row| serde_json::from_value(row).unwrap())
    }

    fn len(&self) -> usize {
        self.rows.lock().unwrap().keys().filter(|key| *key != SIDECAR_KEY).count()
    }

    fn bodies(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }
}

struct World {
    clock: Arc<FakeClock>,
    table: Arc<FakeTable>,
    analyzer: Arc<Analyzer>,
    figures: Arc<oddline_analyze::rows::push::Pushed>,
    pushing: JoinHandle<()>,
}

impl World {
    async fn new() -> World {
        World::with(Arc::default()).await
    }

    async fn with(table: Arc<FakeTable>) -> World {
        let clock = FakeClock::at(1_000_000);
        let ports = Ports {
            embedder: Arc::new(FakeEmbedder::default()),
            index: Arc::new(FakeIndex::default()),
            state: Arc::new(FakeStore::default()),
            clock: clock.clone(),
        };
        let engine = Engine::new(oddline_engine::Settings::default(), Arc::new(RuleSet::builtin()));
        let settings = Settings::new(&Options::default()).unwrap();
        let analyzer = Arc::new(Analyzer::open(settings, ports, engine).await.unwrap());
        let mut pusher = Pusher::new(analyzer.clone(), table.clone());
        let figures = pusher.pushed();
        let pushing = tokio::spawn(async move { pusher.run().await });
        World { clock, table, analyzer, figures, pushing }
    }

    /// Both clocks go on.
    async fn seconds(&self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.forward(1);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn teach(&self, texts: impl IntoIterator<Item = String>) {
        let templates = texts.into_iter().map(|text| (TemplateId::of(&text), text.into())).collect();
        self.analyzer.teach(templates).await.unwrap();
    }

    async fn judge(&self, text: &str) -> Verdict {
        let received = Received { source: "app".into(), local: local(text), arrived: Instant::now() };
        self.analyzer.judge(vec![received]).await.remove(0)
    }

    fn figure(&self, name: &str) -> u64 {
        self.figures.figures().into_iter().find(|figure| figure.name == name).unwrap().value
    }
}

/// What a shipper thinks of a message that it has not seen before.
fn local(text: &str) -> Verdict {
    Verdict {
        score: 0.55,
        level: Level::Low,
        template: Some(text.into()),
        template_id: TemplateId::of(text),
        status: Some(Status::Pending),
        flags: [Flag::New].into_iter().collect::<Flags>(),
        ..Verdict::default()
    }
}

fn words(count: usize) -> impl Iterator<Item = String> {
    let letter = |number: usize| char::from(b'a' + (number % 26) as u8);
    (0..count).map(move |n| {
        format!("job {}{}{}{} done", letter(n), letter(n / 26), letter(n / 676), letter(n / 17_576))
    })
}

#[tokio::test(start_paused = true)]
async fn a_verdict_is_in_the_table_a_second_later_with_a_beat_every_second() {
    let world = World::new().await;
    world.teach(["session opened for user <*>".to_owned()]).await;
    world.seconds(3).await;
    let asked = Instant::now();
    let verdict = world.judge("disk of the database is full").await;
    while world.table.row("disk of the database is full").is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(asked.elapsed() <= Duration::from_millis(1_100), "{:?}", asked.elapsed());
    let row = world.table.row("disk of the database is full").unwrap();
    assert_eq!((row.id, row.class), (TemplateId::of("disk of the database is full"), RowClass::Anomalous));
    assert_eq!(row.similarity, verdict.similarity);
    assert_eq!(row.nearest.as_deref(), Some("session opened for user <*>"));
    assert_eq!(row.expires, Some(1_000_003 + 900));
    let known = world.table.row("session opened for user <*>").unwrap();
    assert_eq!((known.class, known.similarity, known.expires), (RowClass::Normal, None, None));
    let before = world.table.beats.lock().unwrap().len();
    world.seconds(5).await;
    let beats = world.table.beats.lock().unwrap();
    assert_eq!(beats.len(), before + 5);
    assert!((beats[beats.len() - 1] - 1_000_008.0).abs() <= 1.0, "{beats:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_judged_while_nothing_is_known_is_seen_and_no_more() {
    let world = World::new().await;
    world.judge("first of its kind").await;
    world.seconds(2).await;
    let row = world.table.row("first of its kind").unwrap();
    assert_eq!((row.class, row.similarity), (RowClass::Seen, None));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_table_is_filled_at_once_and_hears_the_heartbeat_last() {
    let world = World::new().await;
    world.teach(words(10_000)).await;
    world.seconds(2).await;
    assert_eq!(world.table.len(), 10_000);
    world.seconds(30).await;
    world.table.restart();
    let fills = world.figure("table_fills");
    world.seconds(1).await;
    assert_eq!((world.table.len(), world.figure("table_fills")), (10_000, fills + 1));

    // Away for a while: the same.
    world.seconds(30).await;
    *world.table.mood.lock().unwrap() = Mood::Down;
    world.seconds(5).await;
    assert!(world.figure("table_push_failures") >= 5);
    world.table.restart();
    let beats = world.table.beats.lock().unwrap().len();
    *world.table.mood.lock().unwrap() = Mood::Well;
    world.seconds(1).await;
    assert_eq!(world.table.len(), 10_000);
    let beats = world.table.beats.lock().unwrap().split_off(beats);
    let (last, before) = beats.split_last().unwrap();
    assert!(*last > 0.0 && before.iter().all(|at| *at == 0.0), "only when all is there: {beats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_changes_its_connection_all_the_time_is_not_filled_all_the_time() {
    let world = World::new().await;
    world.teach(words(100)).await;
    world.seconds(2).await;
    for _ in 0..60 {
        *world.table.connection.lock().unwrap() += 1;
        world.seconds(1).await;
    }
    assert!((6..=8).contains(&world.figure("table_fills")), "{}", world.figure("table_fills"));
}

#[tokio::test(start_paused = true)]
async fn every_row_is_written_again_before_the_table_forgets_it() {
    let world = World::new().await;
    world.teach(words(1_000)).await;
    world.seconds(3).await;
    // A reload of its configuration empties the table and leaves the connection.
    world.table.rows.lock().unwrap().clear();
    world.seconds(10).await;
    assert!((400..700).contains(&world.table.len()), "in slices: {}", world.table.len());
    world.seconds(15).await;
    assert_eq!(world.table.len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn what_the_table_lost_is_written_when_it_is_asked_for() {
    let world = World::new().await;
    world.teach(words(1_000)).await;
    world.seconds(3).await;
    world.table.rows.lock().unwrap().clear();
    world.judge("job zzaa done").await;
    world.seconds(1).await;
    assert!(world.table.row("job zzaa done").is_some());
}

#[tokio::test(start_paused = true)]
async fn bodies_are_bounded_and_what_cannot_be_a_key_is_left_out() {
    let world = World::new().await;
    let long: String = "x".repeat(4_000);
    world.teach((0..2_000).map(|number| format!("{number} {long}"))).await;
    world.teach(["y".repeat(4_096), "z".repeat(4_097), "w".repeat(40_960)]).await;
    world.teach([SIDECAR_KEY.to_owned()]).await;
    world.seconds(2).await;
    let bodies = world.table.bodies.lock().unwrap().clone();
    assert!(bodies.iter().all(|(_, bytes)| *bytes <= MAX_BODY_BYTES), "{bodies:?}");
    assert!(bodies.iter().any(|(_, bytes)| *bytes > MAX_BODY_BYTES - 5_000), "{bodies:?}");
    assert_eq!(world.table.len(), 2_001);
    assert!(world.table.row(&"y".repeat(4_096)).is_some());
    let rows = world.table.rows.lock().unwrap();
    let row: SidecarRow = serde_json::from_value(rows[SIDECAR_KEY].clone()).unwrap();
    assert_eq!((row.at > 0.0, row.silenced.as_str(), row.offset), (true, "", 0.0));
}

#[tokio::test(start_paused = true)]
async fn rules_and_offset_reach_the_table_and_the_advice() {
    let world = World::new().await;
    let silenced_rules: BTreeMap<String, u64> = [("DB_CONNECT_FAILED".to_owned(), 1_000_010)].into();
    let feedback = Feedback { silenced_rules, threshold_offset: -0.25 };
    world.analyzer.set_feedback(feedback.clone());
    world.seconds(2).await;
    let row = || {
        let row = world.table.rows.lock().unwrap()[SIDECAR_KEY].clone();
        serde_json::from_value::<SidecarRow>(row).unwrap()
    };
    assert_eq!((row().silenced.as_str(), row().offset), ("\tDB_CONNECT_FAILED\t", -0.25));
    let advice = world.analyzer.advice().await.unwrap();
    assert_eq!((advice.silenced_rules, advice.threshold_offset), (feedback.silenced_rules, -0.25));
    world.seconds(10).await;
    assert!(row().silenced.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_is_withdrawn_is_withdrawn_in_the_table() {
    let world = World::new().await;
    world.teach(["backup done".to_owned()]).await;
    world.seconds(2).await;
    world.analyzer.report(&"backup done".into()).await.unwrap();
    world.seconds(1).await;
    let row = world.table.row("backup done").unwrap();
    assert_eq!((row.expires, row.ttl), (Some(0), Some(1)));
}

/// Counts without texts, as Vector's metrics bring them every ten seconds.
fn counts(templates: &[(&str, u64)]) -> Summary {
    let count = |(text, count): &(&str, u64)| TemplateCount {
        id: TemplateId::of(text),
        text: String::new(),
        source: "app".into(),
        count: *count,
        rule_hits: 0,
    };
    let templates = templates.iter().map(count).collect();
    Summary { kind: BARE_COUNTS.into(), templates, ..Summary::default() }
}

#[tokio::test(start_paused = true)]
async fn counts_come_back_as_bursts_and_habits_in_the_rows() {
    let world = World::new().await;
    world.teach(["session opened".to_owned()]).await;
    world.judge("payment refused").await;
    for _ in 0..60 {
        world.analyzer.summary(counts(&[("payment refused", 5), ("never looked at", 50)]));
        world.seconds(10).await;
    }
    let row = world.table.row("payment refused").unwrap();
    assert_eq!((row.burst, row.habit), (None, false));
    assert!((25.0..=30.0).contains(&row.rate.unwrap()), "{row:?}");
    world.analyzer.summary(counts(&[("payment refused", 900), ("never looked at", 50)]));
    world.seconds(2).await;
    let burst = world.table.row("payment refused").unwrap().burst.unwrap();
    assert!(burst.expected <= 30.0 && burst.actual >= 900.0, "{burst:?}");
    for _ in 0..5 {
        world.analyzer.summary(counts(&[("payment refused", 5), ("never looked at", 50)]));
        world.seconds(10).await;
    }
    assert_eq!(world.table.row("payment refused").unwrap().burst, None);
    assert_eq!(world.table.row("never looked at"), None, "there is nothing to say but a rate");
    let sources = world.analyzer.figures().into_iter().find(|figure| figure.name == "source_records");
    assert_eq!(sources.unwrap().value, 65 * 55 + 950, "all are counted");

    world.clock.forward(3_600);
    world.judge("payment refused").await;
    world.seconds(2).await;
    let row = world.table.row("payment refused").unwrap();
    assert!(row.habit, "{row:?}");
}

/// A shipper that counts for whoever asks.
struct FakeCounts(Mutex<Result<u64, ()>>);

impl CountSource for FakeCounts {
    fn totals(&self) -> Answer<'_, Vec<Total>> {
        let records = *self.0.lock().unwrap();
        let id = TemplateId::of("payment refused");
        Box::pin(async move {
            match records {
                Ok(records) => Ok(vec![Total { id, source: "app".into(), rule_hit: false, records }]),
                Err(()) => Err(BackendError::unavailable("fake counts: connection refused")),
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn totals_of_before_we_came_and_while_we_were_away_are_no_counts() {
    let world = World::new().await;
    let source = Arc::new(FakeCounts(Mutex::new(Ok(1_000_000))));
    let _pulling = tokio::spawn(pull(world.analyzer.clone(), source.clone()));
    let counted = || {
        let records = world.analyzer.figures().into_iter().find(|figure| figure.name == "source_records");
        records.map_or(0, |figure| figure.value)
    };
    world.seconds(5).await;
    assert_eq!(counted(), 0);
    *source.0.lock().unwrap() = Ok(1_000_007);
    world.seconds(10).await;
    assert_eq!(counted(), 7);
    // One question that is not answered is made up for, and a longer silence is not.
    *source.0.lock().unwrap() = Err(());
    world.seconds(10).await;
    *source.0.lock().unwrap() = Ok(1_000_010);
    world.seconds(10).await;
    assert_eq!(counted(), 10);
    *source.0.lock().unwrap() = Err(());
    world.seconds(60).await;
    *source.0.lock().unwrap() = Ok(2_000_000);
    world.seconds(10).await;
    assert_eq!(counted(), 10);
    *source.0.lock().unwrap() = Ok(5);
    world.seconds(10).await;
    assert_eq!(counted(), 15, "it was restarted");
}

#[tokio::test(start_paused = true)]
async fn counts_without_a_text_earn_a_place_among_the_known() {
    let world = World::new().await;
    world.judge("heartbeat of the pump").await;
    let hit = RuleHit { name: "DB_CONNECT_FAILED".into(), category: "application".into(), score: 7.5 };
    let local = Verdict { rule: Some(hit), ..local("primary database is gone") };
    world.analyzer.judge(vec![Received { source: "app".into(), local, arrived: Instant::now() }]).await;
    for _ in 0..62 {
        let often = ["heartbeat of the pump", "unknown to us", "primary database is gone"];
        world.analyzer.summary(counts(&often.map(|text| (text, 10))));
        world.clock.forward(50);
        world.seconds(10).await;
    }
    let row = world.table.row("heartbeat of the pump").unwrap();
    assert_eq!((row.class, row.similarity), (RowClass::Normal, None));
    assert_eq!(
        world.analyzer.known().await.unwrap(),
        1,
        "not what nobody knows by its text, or a rule has hit"
    );
}

#[tokio::test(start_paused = true)]
async fn a_farewell_is_told_to_those_who_have_heard_of_us() {
    let world = World::new().await;
    world.seconds(2).await;
    world.pushing.abort();
    let beat = || world.table.beats.lock().unwrap().last().copied();
    assert!(beat().unwrap() > 0.0);
    let mut stranger = Pusher::new(world.analyzer.clone(), world.table.clone());
    let before = world.table.bodies();
    stranger.farewell().await;
    assert_eq!(world.table.bodies(), before);
    let _ = tokio::time::timeout(Duration::from_millis(1), stranger.run()).await;
    stranger.farewell().await;
    assert_eq!(beat(), Some(0.0));
}
