//! What operators say and ask while records flow: learning beside the stream, checking, exceptions and reports that
//! outlive a restart, what was found lately.

#[expect(dead_code, reason = "shared with `analyzer.rs`, which uses the rest")]
mod fakes;

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use fakes::{FakeClock, FakeEmbedder, FakeIndex, FakeStore, Mood};
use oddline_analyze::{
    Analyzer, Options, Ports, Settings,
    operate::{Excepted, Exception, Refused},
    ports::{Analysis, Received},
};
use oddline_engine::{
    Body, Engine, Level, Record, Status, Summary, TemplateCount, TemplateId, Verdict, Visitor, rules::RuleSet,
};
use tokio::time::{Instant, sleep, timeout};

#[derive(Default)]
struct World {
    embedder: Arc<FakeEmbedder>,
    index: Arc<FakeIndex>,
    store: Arc<FakeStore>,
}

impl World {
    async fn open(&self) -> Analyzer {
        self.open_at(FakeClock::at(1_000_000)).await
    }

    async fn open_at(&self, clock: Arc<FakeClock>) -> Analyzer {
        let ports = Ports {
            embedder: self.embedder.clone(),
            index: self.index.clone(),
            state: self.store.clone(),
            clock,
        };
        let engine = Engine::new(oddline_engine::Settings::default(), Arc::new(RuleSet::builtin()));
        Analyzer::open(Settings::new(&Options::default()).unwrap(), ports, engine).await.unwrap()
    }
}

/// A record that is nothing but its message.
struct Bare;

impl Body for Bare {
    fn walk<'a>(&'a self, _: &mut dyn Visitor<'a>) {}
}

async fn check(analyzer: &Analyzer, message: &str) -> Verdict {
    analyzer.check(Record::from_line(b"check", message.as_bytes()), &Bare).await.unwrap()
}

fn received(text: &str, source: &str) -> Received {
    let local = Verdict {
        score: 0.55,
        level: Level::Low,
        status: Some(Status::Pending),
        template: Some(text.into()),
        template_id: TemplateId::of(text),
        reason: Some("new message".into()),
        ..Verdict::default()
    };
    Received { source: source.into(), local, arrived: Instant::now() }
}

#[tokio::test(start_paused = true)]
async fn what_flows_meanwhile_is_not_learned() {
    let world = World::default();
    let analyzer = world.open().await;
    let known: Vec<String> = (0..2_500).map(|n| format!("job {n} of user u{n} done")).collect();
    analyzer.screen(&Record::from_line(b"http", b"an attack that comes in over HTTP"));
    let learned = analyzer.learn(known.iter().map(|line| Record::from_line(b"learn", line.as_bytes())));
    let (learned, _) = tokio::join!(learned, async {
        for _ in 0..100 {
            analyzer.screen(&Record::from_line(b"http", b"another attack over HTTP"));
            tokio::task::yield_now().await;
        }
    });
    assert!(learned.unwrap() > 0);
    let texts: Vec<String> =
        world.index.known.lock().unwrap().values().map(|row| row.text.to_string()).collect();
    assert!(texts.iter().all(|text| !text.contains("attack")), "{texts:?}");
    assert!(texts.iter().any(|text| text.starts_with("job")), "{texts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_check_says_what_a_record_would_get_and_leaves_no_trace_in_what_is_learned() {
    let world = World::default();
    let analyzer = world.open().await;
    analyzer.learn([Record::from_line(b"learn", b"user 17 logged in")]).await.unwrap();
    let known = check(&analyzer, "user 99 logged in").await;
    assert_eq!((known.status, known.similarity), (Some(Status::Cleared), Some(1.0)), "{known:?}");
    let failed = check(&analyzer, "CRITICAL: Failed to connect to primary database after 5 retries.").await;
    assert_eq!(failed.status, Some(Status::Confirmed));
    assert!(failed.level >= Level::High && failed.rule.is_some(), "{failed:?}");
    assert_eq!(world.index.known.lock().unwrap().len(), 1);
    assert_eq!(check(&analyzer, "").await.status, Some(Status::Confirmed), "any message will do");
}

#[tokio::test(start_paused = true)]
async fn a_message_has_the_template_that_it_has_in_the_stream() {
    let world = World::default();
    let analyzer = world.open().await;
    let general = "session of <*> opened";
    analyzer.teach(vec![(TemplateId::of(general), general.into())]).await.unwrap();
    let (id, text) = analyzer.template_of(b"session of carol opened").await.unwrap();
    assert_eq!((id, &*text), (TemplateId::of(general), general));
    let (_, text) = analyzer.template_of(b"job 17 failed").await.unwrap();
    assert_eq!(&*text, "job <*> failed");
}

#[tokio::test(start_paused = true)]
async fn exceptions_and_silence_outlive_a_restart() {
    let world = World::default();
    let analyzer = world.open().await;
    analyzer.except("odd but harmless", None).unwrap();
    analyzer.except("for a while", Some(1_000_060)).unwrap();
    analyzer.silence("OOM_KILLED", None).await.unwrap();
    analyzer.silence("EXPIRED", Some(999_999)).await.unwrap();
    let judged = analyzer.judge(vec![received("odd but harmless", "app")]).await.remove(0);
    assert_eq!(judged.status, Some(Status::Cleared));
    assert!(analyzer.close().await);

    let again = world.open().await;
    let named = |exception: Exception| match exception.what {
        Excepted::Template { text, .. } => text.to_string(),
        Excepted::Rule(rule) => rule,
    };
    let mut names: Vec<String> = again.exceptions().into_iter().map(named).collect();
    names.sort();
    assert_eq!(names, ["OOM_KILLED", "for a while", "odd but harmless"]);
    let advice = again.advice().await.unwrap();
    assert!(advice.silenced_rules.contains_key("OOM_KILLED"));
    again.unexcept(TemplateId::of("odd but harmless")).unwrap();
    again.unsilence("OOM_KILLED").await.unwrap();
    assert!(matches!(again.unexcept(TemplateId::of("odd but harmless")), Err(Refused::Unknown(_))));
    assert!(matches!(again.unsilence("OOM_KILLED").await, Err(Refused::Unknown(_))));
    assert!(!again.advice().await.unwrap().silenced_rules.contains_key("OOM_KILLED"));
}

#[tokio::test(start_paused = true)]
async fn a_word_that_cannot_be_saved_is_not_taken() {
    let world = World::default();
    let analyzer = world.open().await;
    *world.store.mood.lock().unwrap() = Mood::Down;
    let refused = analyzer.silence("OOM_KILLED", None).await.unwrap_err();
    assert!(refused.to_string().contains("fake store"), "{refused}");
    assert!(analyzer.exceptions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn silence_is_bounded_at_the_limit_one_over_and_ten_times() {
    let world = World::default();
    let analyzer = world.open().await;
    for number in 0..10_000 {
        let taken = analyzer.silence(&format!("RULE_{number}"), None).await;
        assert_eq!(taken.is_ok(), number < 1_000, "{number}");
    }
    analyzer.silence("RULE_7", Some(2_000_000)).await.unwrap();
    assert!(analyzer.silence(&"R".repeat(200), None).await.is_err(), "full");
    analyzer.unsilence("RULE_7").await.unwrap();
    analyzer.silence(&"R".repeat(200), None).await.unwrap();
    analyzer.unsilence(&"R".repeat(200)).await.unwrap();
    for bytes in [0, 201, 2_000] {
        let refused = analyzer.silence(&"R".repeat(bytes), None).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("rule has {bytes} bytes, not within 1..=200"));
    }
    let refused = analyzer.except(&"x".repeat(8_193), None).unwrap_err();
    assert_eq!(refused.to_string(), "template has 8193 bytes, the limit of an exception is 8192");
    analyzer.except(&"x".repeat(8_192), None).unwrap();
}

#[tokio::test(start_paused = true)]
async fn notes_of_another_version_are_refused_by_name() {
    let rules = r#"{"version":2,"silenced_rules":{},"threshold_offset":0.0}"#;
    for (name, note, words) in [
        ("feedback", rules, "version 2 is not the supported 1"),
        ("feedback", r#"{"version":1,"silenced_rules":7,"threshold_offset":0.0}"#, "note `feedback`"),
        ("feedback", "{", "note `feedback`"),
        (
            "reported",
            r#"{"version":2,"template_ids":[]}"#,
            "note `reported`: version 2 is not the supported 1",
        ),
        ("reported", r#"{"version":1,"template_ids":["x"]}"#, "`x` is not the id of a template"),
    ] {
        let world = World::default();
        world.store.notes.lock().unwrap().insert(name.to_owned(), note.to_owned());
        let ports = Ports {
            embedder: world.embedder.clone(),
            index: world.index.clone(),
            state: world.store.clone(),
            clock: FakeClock::at(1),
        };
        let engine = Engine::new(oddline_engine::Settings::default(), Arc::new(RuleSet::builtin()));
        let error = Analyzer::open(Settings::default(), ports, engine).await.unwrap_err();
        assert!(error.message.contains(words), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_confirmed_lately_is_told_newest_first() {
    let world = World::default();
    let analyzer = world.open().await;
    analyzer.teach(vec![(TemplateId::of("known"), "known".into())]).await.unwrap();
    for (text, source) in [("first odd thing", "a"), ("known", "a"), ("second odd thing", "b")] {
        analyzer.judge(vec![received(text, source)]).await;
    }
    let found: Vec<_> = analyzer.findings(10).into_iter().map(|it| (it.template, it.source, it.at)).collect();
    assert_eq!(found[0], ("second odd thing".into(), "b".into(), 1_000_000));
    assert_eq!((found.len(), &*found[1].0), (2, "first odd thing"), "what was cleared is no finding");
    assert_eq!(analyzer.findings(1).len(), 1);
}

#[tokio::test]
async fn what_a_full_disk_refuses_holds_and_is_said_not_to_be_kept() {
    let world = World::default();
    let analyzer = world.open().await;
    *world.store.mood.lock().unwrap() = Mood::Down;
    analyzer.except("pump started", None).unwrap();
    assert!(!analyzer.keep().await);
    assert_eq!(analyzer.exceptions().len(), 1);
    *world.store.mood.lock().unwrap() = Mood::Well;
    assert!(analyzer.keep().await);
    assert_eq!(world.open().await.exceptions().len(), 1);
}

/// The state of a world in which a template waits to become known while the embedder is down.
async fn earned_while_the_embedder_is_down(world: &World, text: &str) -> (Analyzer, Arc<FakeClock>) {
    let clock = FakeClock::at(1_000_000);
    let analyzer = world.open_at(clock.clone()).await;
    *world.embedder.mood.lock().unwrap() = Mood::Down;
    for _ in 0..2 {
        analyzer.summary(counted(text, 100));
        clock.forward(3_600);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    (analyzer, clock)
}

fn counted(text: &str, count: u64) -> Summary {
    let template = TemplateCount {
        id: TemplateId::of(text),
        text: text.into(),
        source: "app".into(),
        count,
        rule_hits: 0,
    };
    Summary { kind: "v1".into(), templates: vec![template], ..Summary::default() }
}

#[tokio::test(start_paused = true)]
async fn what_was_reported_while_it_waited_does_not_become_known() {
    let world = World::default();
    let (analyzer, _) = earned_while_the_embedder_is_down(&world, "attack").await;
    analyzer.report(&"attack".into()).await.unwrap();
    *world.embedder.mood.lock().unwrap() = Mood::Well;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(world.index.known.lock().unwrap().is_empty());

    let world = World::default();
    let (_analyzer, _) = earned_while_the_embedder_is_down(&world, "attack").await;
    *world.embedder.mood.lock().unwrap() = Mood::Well;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(world.index.known.lock().unwrap().len(), 1, "not reported, it does");
}

#[tokio::test(start_paused = true)]
async fn a_report_outlives_a_restart_even_without_its_row() {
    let world = World::default();
    let analyzer = world.open().await;
    analyzer.report(&"attack".into()).await.unwrap();
    assert!(analyzer.close().await);
    world.store.rows.lock().unwrap().clear();
    let clock = FakeClock::at(1_000_000);
    let again = world.open_at(clock.clone()).await;
    for _ in 0..2 {
        again.summary(counted("attack", 100));
        clock.forward(3_600);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(world.index.known.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_taught_leaves_exceptions_what_they_are() {
    let world = World::default();
    let analyzer = world.open().await;
    let text = "disk sda1 is failing";
    analyzer.except(text, None).unwrap();
    analyzer.teach(vec![(TemplateId::of(text), text.into())]).await.unwrap();
    assert_eq!(analyzer.exceptions().len(), 1);
    let verdicts = analyzer.judge(vec![received(text, "app")]).await;
    assert_eq!(verdicts[0].status, Some(Status::Cleared));
}

#[tokio::test(start_paused = true)]
async fn who_refuses_all_texts_is_found_out_and_the_teacher_is_told() {
    let world = World::default();
    let analyzer = world.open().await;
    *world.embedder.mood.lock().unwrap() = Mood::Picky;
    let lines: Vec<String> = (1..60).map(|count| "poison ".repeat(count)).collect();
    let records = || lines.iter().map(|line| Record::from_line(b"learn", line.as_bytes()));
    let error = analyzer.learn(records()).await.unwrap_err();
    assert!(error.message.contains("does not like this text"), "who teaches is told: {error}");
    let calls = world.embedder.calls.load(SeqCst);
    assert!(calls <= 10, "{calls}");
    // One that refuses eight at the head of a batch may like the others: they are asked again with the next.
    *world.embedder.mood.lock().unwrap() = Mood::Well;
    sleep(Duration::from_secs(61)).await;
    assert_eq!(analyzer.learn(records()).await.unwrap(), lines.len());
}

#[tokio::test(start_paused = true)]
async fn a_threshold_that_could_not_be_found_at_the_start_is_looked_for_again() {
    let world = World::default();
    let teacher = world.open().await;
    let texts =
        (0..300).map(|number| format!("worker of pool {} is ready for the next {number}", number % 7));
    teacher.teach(texts.map(|text| (TemplateId::of(&text), text.into())).collect()).await.unwrap();
    let known = teacher.threshold();
    assert!(known > 0.7, "{known}");
    teacher.close().await;
    *world.index.mood.lock().unwrap() = Mood::Down;
    let analyzer = world.open().await;
    assert!(analyzer.threshold() < known);
    *world.index.mood.lock().unwrap() = Mood::Well;
    sleep(Duration::from_secs(40)).await;
    assert_eq!(analyzer.threshold(), known);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_did_not_wait_for_is_saved_all_the_same() {
    let world = World::default();
    let analyzer = world.open().await;
    let is_left = async || {
        *world.store.mood.lock().unwrap() = Mood::Hung;
        let left = timeout(Duration::from_millis(10), analyzer.keep()).await.is_err();
        *world.store.mood.lock().unwrap() = Mood::Well;
        left
    };
    analyzer.except("disk sda1 is failing", None).unwrap();
    assert!(is_left().await, "while the row is written");
    assert!(analyzer.keep().await);
    assert!(world.store.rows.lock().unwrap().contains_key(&TemplateId::of("disk sda1 is failing")));
    analyzer.report(&"not harmless at all".into()).await.unwrap();
    assert!(is_left().await, "while the note is written");
    assert!(analyzer.close().await);
    let noted: Vec<String> = world.store.notes.lock().unwrap().values().cloned().collect();
    let id = TemplateId::of("not harmless at all").to_string();
    assert!(noted.iter().any(|note| note.contains(&id)), "{noted:?}");
}
