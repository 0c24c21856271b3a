//! The whole analysis over fake ports and a paused clock: answers, deadlines, failures, learning, restarts.

#[allow(dead_code, reason = "other tests use the rest")]
mod fakes;

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use fakes::{FakeClock, FakeEmbedder, FakeIndex, FakeStore, Mood};
use oddline_analyze::{
    Analyzer, Options, Ports, Settings,
    events::SkipCause,
    feedback::Feedback,
    ports::{Analysis, Conditions, Received},
};
use oddline_engine::{
    Body, Class, Counters, Ending, Engine, Flag, Flags, Level, Record, RuleHit, Status, Summary,
    TemplateCount, TemplateId, Verdict, Visitor, rules::RuleSet,
};
use tokio::time::Instant;

struct World {
    embedder: Arc<FakeEmbedder>,
    index: Arc<FakeIndex>,
    store: Arc<FakeStore>,
    clock: Arc<FakeClock>,
    analyzer: Analyzer,
}

impl World {
    async fn new() -> World {
        World::with(Options::default()).await
    }

    async fn with(options: Options) -> World {
        let (embedder, index, store, clock) =
            (Arc::default(), Arc::default(), Arc::default(), FakeClock::at(1_000_000));
        World::over(options, embedder, index, store, clock).await
    }

    async fn over(
        options: Options,
        embedder: Arc<FakeEmbedder>,
        index: Arc<FakeIndex>,
        store: Arc<FakeStore>,
        clock: Arc<FakeClock>,
    ) -> World {
        let ports = Ports {
            embedder: embedder.clone(),
            index: index.clone(),
            state: store.clone(),
            clock: clock.clone(),
        };
        let analyzer = Analyzer::open(Settings::new(&options).unwrap(), ports, engine()).await.unwrap();
        World { embedder, index, store, clock, analyzer }
    }

    async fn teach(&self, texts: &[&str]) {
        let templates = texts.iter().map(|text| (TemplateId::of(text), Arc::from(*text))).collect();
        self.analyzer.teach(templates).await.unwrap();
    }

    async fn judge(&self, text: &str) -> Verdict {
        self.analyzer.judge(vec![record(text)]).await.remove(0)
    }

    fn embedded(&self) -> usize {
        self.embedder.texts.load(SeqCst)
    }
}

fn engine() -> Engine {
    Engine::new(oddline_engine::Settings::default(), Arc::new(RuleSet::builtin()))
}

fn record(text: &str) -> Received {
    let local = Verdict {
        score: 0.55,
        level: Level::Low,
        template_id: TemplateId::of(text),
        status: Some(Status::Pending),
        flags: [Flag::New].into_iter().collect::<Flags>(),
        template: Some(text.into()),
        reason: Some("new message".into()),
        ..Verdict::default()
    };
    Received { source: "app.log".into(), local, arrived: Instant::now() }
}

const LOGIN: &str = "INFO: User <*> logged in from IP <*>";
const DATABASE: &str = "CRITICAL: Failed to connect to primary database after <*> retries.";

#[tokio::test(start_paused = true)]
async fn the_founding_example() {
    let world = World::new().await;
    world.teach(&[LOGIN]).await;
    let login = world.judge(LOGIN).await;
    assert_eq!((login.status, login.level), (Some(Status::Cleared), Level::None));

    let mut failed = record(DATABASE);
    failed.local.rule =
        Some(RuleHit { name: "DB_CONNECT_FAILED".into(), category: "application".into(), score: 7.0 });
    failed.local.score = 0.85;
    let failed = world.analyzer.judge(vec![failed]).await.remove(0);
    assert_eq!(failed.status, Some(Status::Confirmed));
    assert!(failed.level >= Level::High && failed.flags.contains(Flag::Semantic));
    let reason = failed.reason.unwrap();
    assert!(reason.starts_with("new message, unlike anything known (nearest 0."), "{reason}");
    assert!(reason.ends_with(&format!(": \"{LOGIN}\"); rule DB_CONNECT_FAILED")), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn duplicates_share_one_embedding_and_later_ones_need_none() {
    let world = World::new().await;
    world.teach(&[LOGIN]).await;
    let before = world.embedded();
    let verdicts = world.analyzer.judge((0..1_000).map(|_| record(DATABASE)).collect()).await;
    assert!(verdicts.iter().all(|verdict| verdict.status == Some(Status::Confirmed)));
    let (one, other) = tokio::join!(world.judge("twice at once"), world.judge("twice at once"));
    assert_eq!(one.status, other.status);
    world.judge(DATABASE).await;
    assert_eq!(world.embedded() - before, 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_many_templates_costs_few_calls() {
    let world = World::new().await;
    world.teach(&[LOGIN]).await;
    let before = world.embedder.calls.load(SeqCst);
    world.analyzer.judge((0..256).map(|number| record(&format!("template {number}"))).collect()).await;
    assert_eq!(world.embedder.calls.load(SeqCst) - before, 4);
}

#[tokio::test(start_paused = true)]
async fn a_hung_backend_costs_the_deadline_and_never_more() {
    let world = World::new().await;
    world.teach(&[LOGIN]).await;
    *world.embedder.mood.lock().unwrap() = Mood::Hung;
    let started = Instant::now();
    let verdicts = world.analyzer.judge(vec![record("a"), record(LOGIN), record("b")]).await;
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_millis(2_002), "{took:?}");
    assert_eq!(verdicts[1].status, Some(Status::Cleared), "what is known needs no backend");
    assert_eq!(verdicts[0].status, Some(Status::Skipped));
    assert_eq!(verdicts[0].reason.as_deref(), Some("new message; sidecar: no answer within 2 s"));
    assert_eq!(verdicts[0].score, 0.55, "the local verdict stands");
}

#[tokio::test(start_paused = true)]
async fn a_dead_backend_costs_no_deadline_and_recovers() {
    for down in [Mood::Down, Mood::Lying] {
        let world = World::new().await;
        world.teach(&[LOGIN]).await;
        *world.embedder.mood.lock().unwrap() = down;
        let started = Instant::now();
        for number in 0..100 {
            let verdict = world.judge(&format!("message {number}")).await;
            assert_eq!(verdict.status, Some(Status::Skipped));
            assert!(verdict.reason.unwrap().contains("sidecar: embedder: "));
        }
        assert!(started.elapsed() < Duration::from_secs(1));
        let calls = world.embedder.calls.load(SeqCst);
        assert_eq!(calls, 1 + 3, "the breaker opened after three failures");
        assert_eq!(world.analyzer.events().skipped(SkipCause::Embedder), 100);

        *world.embedder.mood.lock().unwrap() = Mood::Well;
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(world.judge("message 0").await.status, Some(Status::Confirmed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_or_lying_index_is_told_apart_from_the_embedder() {
    for down in [Mood::Down, Mood::Lying] {
        let world = World::new().await;
        *world.index.mood.lock().unwrap() = down;
        let verdict = world.judge("a").await;
        assert_eq!(verdict.status, Some(Status::Skipped));
        assert!(verdict.reason.unwrap().contains("sidecar: vector index: fake"));
    }
}

#[tokio::test(start_paused = true)]
async fn one_text_that_the_embedder_refuses_does_not_sink_its_batch() {
    let world = World::new().await;
    world.teach(&[LOGIN]).await;
    *world.embedder.mood.lock().unwrap() = Mood::Picky;
    let verdicts = world.analyzer.judge(vec![record("a"), record("poison"), record("b")]).await;
    let statuses: Vec<_> = verdicts.iter().map(|verdict| verdict.status.unwrap()).collect();
    assert_eq!(statuses, [Status::Confirmed, Status::Skipped, Status::Confirmed]);
}

#[tokio::test(start_paused = true)]
async fn texts_at_which_the_embedder_fails_are_searched_out_and_left_alone_for_a_while() {
    let world = World::new().await;
    world.teach(&[LOGIN]).await;
    *world.embedder.mood.lock().unwrap() = Mood::Stumbling;
    let is_poison = |number: usize| [7, 8, 40].contains(&number);
    let text =
        |number: usize| if is_poison(number) { format!("poison {number}") } else { format!("t{number}") };
    let all = || (0..64).map(|number| record(&text(number))).collect::<Vec<_>>();
    let before = world.embedder.calls.load(SeqCst);
    let verdicts = world.analyzer.judge(all()).await;
    let skipped: Vec<usize> =
        (0..64).filter(|number| verdicts[*number].status == Some(Status::Skipped)).collect();
    assert_eq!(skipped, [7, 8, 40]);
    assert!(
        verdicts[7].reason.as_ref().unwrap().ends_with("embedder: fake embedder: NaN"),
        "{:?}",
        verdicts[7]
    );
    let calls = world.embedder.calls.load(SeqCst) - before;
    assert!((2..=41).contains(&calls), "{calls}");
    let open = || {
        let figures = world.analyzer.figures();
        figures.iter().find(|figure| figure.name == "embedder_breaker_open").unwrap().value
    };
    assert_eq!(open(), 0, "it is well");
    for (seconds, again) in [(1, false), (58, false), (2, true)] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        let before = world.embedder.calls.load(SeqCst);
        assert_eq!(world.judge("poison 7").await.status, Some(Status::Skipped));
        assert_eq!(world.embedder.calls.load(SeqCst) > before, again, "{seconds}");
    }
    // What fails at everything is called a few times a batch, and then not at all.
    *world.embedder.mood.lock().unwrap() = Mood::Failing;
    let before = world.embedder.calls.load(SeqCst);
    for batch in 0..10 {
        let texts = (0..64).map(|number| record(&format!("batch {batch} text {number}")));
        let verdicts = world.analyzer.judge(texts.collect()).await;
        assert!(verdicts.iter().all(|verdict| verdict.status == Some(Status::Skipped)));
    }
    let calls = world.embedder.calls.load(SeqCst) - before;
    assert!(calls <= 4 * 9, "{calls}");
    assert_eq!(open(), 1);
    // It is back, and the first batch that finds it so has a text at which it fails.
    *world.embedder.mood.lock().unwrap() = Mood::Stumbling;
    tokio::time::advance(Duration::from_secs(60)).await;
    let texts = ["poison again", "first again", "second again"].map(record);
    let statuses: Vec<_> = world.analyzer.judge(texts.into()).await.iter().map(|it| it.status).collect();
    assert_eq!(statuses, [Status::Skipped, Status::Confirmed, Status::Confirmed].map(Some));
    assert_eq!(open(), 0);
}

#[tokio::test(start_paused = true)]
async fn overload_is_refused_at_once() {
    let options = Options {
        queue_templates: Some(10),
        batch_templates: Some(1),
        batches_in_flight: Some(1),
        ..Options::default()
    };
    let world = World::with(options).await;
    *world.embedder.mood.lock().unwrap() = Mood::Hung;
    let from =
        |number: usize, source: &str| Received { source: source.into(), ..record(&format!("t{number}")) };
    let all_at_once = (0..100).map(|number| from(number, "noisy"));
    let late = (100..110).map(|number| from(number, &format!("quiet {number}")));
    let verdicts = world.analyzer.judge(all_at_once.chain(late).collect()).await;
    let ending = |end: &str| {
        let reasons = verdicts.iter().filter_map(|verdict| verdict.reason.as_deref());
        reasons.filter(|reason| reason.ends_with(end)).count()
    };
    assert_eq!(ending("sidecar: overloaded, 5 templates of this source are waiting"), 95);
    assert_eq!(ending("sidecar: overloaded, 10 templates are waiting"), 5);
    let skipped = |cause| world.analyzer.events().skipped(cause);
    assert_eq!((skipped(SkipCause::Share), skipped(SkipCause::Overload)), (95, 5));
    assert_eq!(skipped(SkipCause::Deadline), 10, "five of the noisy one, five of others");
}

#[tokio::test(start_paused = true)]
async fn closing_answers_whoever_waits_and_saves() {
    let world = World::new().await;
    world.teach(&[LOGIN]).await;
    *world.embedder.mood.lock().unwrap() = Mood::Hung;
    let (verdict, saved) = tokio::join!(world.judge("a"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.analyzer.close().await
    });
    assert!(saved && verdict.reason.unwrap().ends_with("sidecar: stopping"));
    assert!(world.store.rows.lock().unwrap().contains_key(&TemplateId::of(LOGIN)));
    assert_eq!(world.judge("b").await.status, Some(Status::Skipped), "after the end as well");
}

#[tokio::test(start_paused = true)]
async fn verdicts_outlive_a_restart() {
    let world = World::new().await;
    world.teach(&[LOGIN]).await;
    world.judge(DATABASE).await;
    assert!(world.analyzer.close().await);
    let World { embedder, index, store, clock, .. } = world;
    let before = embedder.texts.load(SeqCst);
    let world = World::over(Options::default(), embedder, index, store, clock).await;
    assert_eq!(world.judge(LOGIN).await.status, Some(Status::Cleared));
    assert_eq!(world.judge(DATABASE).await.status, Some(Status::Confirmed));
    assert_eq!(world.embedded(), before);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_delays_saving_and_nothing_else() {
    let world = World::new().await;
    *world.store.mood.lock().unwrap() = Mood::Down;
    world.teach(&[LOGIN]).await;
    assert_eq!(world.judge(LOGIN).await.status, Some(Status::Cleared));
    assert!(!world.analyzer.close().await, "and it says so");
    *world.store.mood.lock().unwrap() = Mood::Well;
    assert!(world.analyzer.close().await);
    assert_eq!(world.store.rows.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn advice_is_given_once_per_change() {
    let world = World::new().await;
    assert!(
        world.analyzer.advice().await.unwrap().templates.is_empty(),
        "the first one, so that a file exists"
    );
    assert!(world.analyzer.advice().await.is_none());
    world.teach(&[LOGIN]).await;
    world.judge(DATABASE).await;
    let advice = world.analyzer.advice().await.unwrap();
    assert_eq!(advice.generation, 2);
    assert_eq!(advice.templates[&TemplateId::of(LOGIN)].class, Class::Normal);
    let row = &advice.templates[&TemplateId::of(DATABASE)];
    assert_eq!(row.class, Class::Anomalous);
    assert!(row.score >= 0.5 && row.nearest.as_deref() == Some(LOGIN) && row.expires.is_some());
    assert!(world.analyzer.advice().await.is_none());
}

fn summary(text: &str, count: u64, rule_hits: u64) -> Summary {
    let template =
        TemplateCount { id: TemplateId::of(text), text: text.into(), source: "app".into(), count, rule_hits };
    Summary { kind: "v1".into(), templates: vec![template], ..Summary::default() }
}

#[tokio::test(start_paused = true)]
async fn a_template_earns_its_place_and_a_flagged_or_reported_one_does_not() {
    let world = World::new().await;
    for (text, rule_hits) in [("quiet work done", 0), ("attack seen", 1)] {
        world.analyzer.summary(summary(text, 100, rule_hits));
        world.clock.forward(3_600);
        world.analyzer.summary(summary(text, 1, 0));
    }
    let forged = Summary {
        templates: vec![TemplateCount {
            id: TemplateId::of("quiet work done"),
            ..summary("attack seen", 1_000_000, 0).templates.remove(0)
        }],
        ..Summary::default()
    };
    world.analyzer.summary(forged);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let known: Vec<_> = world.index.known.lock().unwrap().keys().copied().collect();
    assert_eq!(known, [TemplateId::of("quiet work done")]);
    assert_eq!(world.judge("quiet work done").await.status, Some(Status::Cleared));

    world.analyzer.report(&"quiet work done".into()).await.unwrap();
    world.clock.forward(36_000);
    world.analyzer.summary(summary("quiet work done", 1_000, 0));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.index.known.lock().unwrap().is_empty(), "a report outweighs any count");
}

#[tokio::test(start_paused = true)]
async fn sequences_that_ended_oddly_are_counted_and_kept_among_the_findings() {
    let world = World::new().await;
    let ending = |number: u64| Ending {
        source: "app|web".into(),
        id: format!("req-{number}"),
        time: 1_763_000_000_000_000_000,
        template_id: TemplateId::of("begin <*>"),
        template: "begin <*>".into(),
        score: 0.52,
        level: Level::Low,
        reason: format!("sequence ended: req-{number}"),
        record: 0,
    };
    let counters = Counters { endings: 300, endings_untold: 44, ..Counters::default() };
    let endings = (0..256).map(ending).collect();
    world.analyzer.summary(Summary { kind: "v1".into(), counters, endings, ..Summary::default() });
    let figures = world.analyzer.figures();
    let figure = |name: &str| figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
    assert_eq!(figure("sequences_ended"), Some(256));
    assert_eq!((figure("plugin_endings"), figure("plugin_endings_untold")), (Some(300), Some(44)));
    let kept = world.analyzer.findings(usize::MAX);
    assert_eq!(kept.len(), 256);
    assert_eq!((&*kept[0].source, &*kept[0].reason), ("app|web", "sequence ended: req-255"));
}

#[tokio::test(start_paused = true)]
async fn learning_lines_makes_their_templates_known() {
    let world = World::new().await;
    let lines: Vec<String> =
        (0..2_500).map(|number| format!("job {} done", ["a", "b", "c"][number % 3])).collect();
    let learned = world
        .analyzer
        .learn(lines.iter().map(|line| Record::from_line(b"learn", line.as_bytes())))
        .await
        .unwrap();
    assert!(learned >= 1);
    assert_eq!(world.analyzer.known().await.unwrap(), learned);
}

#[tokio::test(start_paused = true)]
async fn an_exception_clears_and_listeners_hear_of_it() {
    let world = World::new().await;
    let mut listener = world.analyzer.subscribe();
    world.analyzer.except(DATABASE, None).unwrap();
    assert_eq!(world.judge(DATABASE).await.status, Some(Status::Cleared));
    assert_eq!(listener.recv().await.unwrap().verdict.status, Some(Status::Cleared));
    world.analyzer.except("b", Some(1_000_000)).unwrap();
    assert_ne!(world.judge("b").await.status, Some(Status::Cleared), "it has expired");
}

/// Two of them hit where the whole record has a field `slow`.
#[derive(Debug)]
struct Slow;

impl Conditions for Slow {
    fn best(&self, _: &[u8], body: &dyn Body, is_silenced: &dyn Fn(&str) -> bool) -> Option<RuleHit> {
        #[derive(Default)]
        struct Seek(bool);
        impl<'a> Visitor<'a> for Seek {
            fn enter(&mut self, _: &[u8]) -> bool {
                false
            }
            fn leave(&mut self) {}
            fn scalar(&mut self, key: &[u8], _: oddline_engine::Scalar<'a>) {
                self.0 |= key == b"slow";
            }
        }
        let mut seek = Seek::default();
        body.walk(&mut seek);
        let hit =
            |(name, score): (&str, f32)| RuleHit { name: name.into(), category: "custom".into(), score };
        let mut hits = [("SLOW", 7.0), ("TARDY", 6.0)].into_iter().filter(|(name, _)| !is_silenced(name));
        hits.next().filter(|_| seek.0).map(hit)
    }

    fn failed(&self) -> u64 {
        3
    }
}

/// A record of fields without values.
struct Keys(&'static [&'static str]);

impl Body for Keys {
    fn walk<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
        self.0.iter().for_each(|key| visitor.scalar(key.as_bytes(), oddline_engine::Scalar::Bool(true)));
    }
}

#[tokio::test(start_paused = true)]
async fn rules_that_the_engine_cannot_run_count_where_records_are_screened() {
    let world = World::new().await;
    let record = Record::from_line(b"app", b"served");
    let rule =
        |keys| world.analyzer.screen_whole(&record, &Keys(keys)).rule.map(|rule| rule.name.to_string());
    assert_eq!(rule(&["slow"]), None);
    world.analyzer.set_rules(Arc::default(), Some(Arc::new(Slow)));
    assert_eq!(rule(&["slow", "x"]).as_deref(), Some("SLOW"));
    assert_eq!(rule(&["x"]), None);
    let verdict = world.analyzer.screen_whole(&record, &Keys(&["slow"]));
    assert!(verdict.is_pending() && verdict.level >= Level::Medium, "{verdict:?}");
    world
        .analyzer
        .judge(vec![Received { source: "app".into(), local: verdict, arrived: Instant::now() }])
        .await;
    // And on records that a plugin has judged in part: there the stronger rule counts.
    let local = || Verdict { score: 0.3, status: Some(Status::Pending), ..Verdict::default() };
    let completed = |local, keys| world.analyzer.complete(local, b"app", &Keys(keys), "tags");
    let found = completed(local(), &["slow"]);
    assert!(found.level >= Level::Medium && found.reason.as_deref() == Some("rule SLOW"), "{found:?}");
    assert_eq!(completed(local(), &["x"]), local());
    assert_eq!(world.analyzer.complete(local(), b"app", &Keys(&["slow"]), "slow"), local(), "a tag of ours");
    let graver = RuleHit { name: "GRAVER".into(), category: "app".into(), score: 9.0 };
    let graver = Verdict { rule: Some(graver), ..local() };
    assert_eq!(completed(graver.clone(), &["slow"]), graver);
    let silence = |rules: &[&str]| {
        let silenced_rules = rules.iter().map(|rule| ((*rule).to_owned(), 0)).collect();
        world.analyzer.set_feedback(Feedback { silenced_rules, ..Feedback::default() });
        (completed(local(), &["slow"]), rule(&["slow"]))
    };
    let (found, screened) = silence(&["SLOW"]);
    assert_eq!((found.reason.as_deref(), screened.as_deref()), (Some("rule TARDY"), Some("TARDY")));
    assert_eq!(silence(&["SLOW", "TARDY"]), (local(), None), "an operator has silenced both");
    let figures = world.analyzer.figures();
    let value = |name: &str| figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
    assert_eq!((value("rule_conditions_failed"), value("rule_hits")), (Some(3), Some(1)));
}
