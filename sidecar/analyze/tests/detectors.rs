//! Detectors beside the analysis, over fake ports: what they hold against a record counts, settled or not, and a dead
//! embedder or an operator's word is what it was before.

#[allow(dead_code, reason = "other tests use the rest")]
mod fakes;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
};

use fakes::{FakeClock, FakeEmbedder, FakeIndex, FakeStore, Mood};
use oddline_analyze::{
    Analyzer, Options, Ports, Settings,
    events::Figure,
    ports::{Analysis, Detectors, Opinion, Received, Seen},
};
use oddline_engine::{Engine, Flag, Level, Status, TemplateId, Verdict, rules::RuleSet};
use tokio::time::Instant;

/// Holds every record for odd that says "slow"; remembers when it was asked.
#[derive(Debug, Default)]
struct Slow(Mutex<Vec<i64>>);

impl Detectors for Slow {
    fn look(
        &self,
        records: Vec<Seen>,
        now: i64,
    ) -> Pin<Box<dyn Future<Output = Vec<Option<Opinion>>> + Send + '_>> {
        self.0.lock().unwrap().push(now);
        let opinion = |seen: &Seen| Opinion { score: 0.7, reason: format!("slow: {}", seen.message) };
        let opinions =
            records.iter().map(|seen| seen.message.contains("slow").then(|| opinion(seen))).collect();
        Box::pin(std::future::ready(opinions))
    }

    fn figures(&self) -> Vec<Figure> {
        let help = "Times that it was asked";
        let value = self.0.lock().unwrap().len() as u64;
        vec![Figure { name: "asked".into(), help, label: None, counter: true, value }]
    }
}

async fn analyzer(mood: Mood) -> (Analyzer, Arc<Slow>) {
    let embedder = FakeEmbedder::default();
    *embedder.mood.lock().unwrap() = mood;
    let ports = Ports {
        embedder: Arc::new(embedder),
        index: Arc::new(FakeIndex::default()),
        state: Arc::new(FakeStore::default()),
        clock: FakeClock::at(1_000_000),
    };
    let engine = Engine::new(oddline_engine::Settings::default(), Arc::new(RuleSet::builtin()));
    let analyzer = Analyzer::open(Settings::new(&Options::default()).unwrap(), ports, engine).await.unwrap();
    assert!(!analyzer.looks());
    let detectors = Arc::new(Slow::default());
    analyzer.set_detectors(detectors.clone());
    assert!(analyzer.looks());
    (analyzer, detectors)
}

fn record(text: &str, status: Option<Status>) -> (Received, Seen) {
    let template = status.map(|_| Arc::from(text));
    let local =
        Verdict { score: 0.2, template_id: TemplateId::of(text), status, template, ..Verdict::default() };
    let seen = Seen { message: text.to_owned(), ..Seen::default() };
    (Received { source: "app.log".into(), local, arrived: Instant::now() }, seen)
}

async fn judge(analyzer: &Analyzer, records: Vec<(Received, Seen)>) -> Vec<Verdict> {
    let (records, seen) = records.into_iter().unzip();
    analyzer.judge_seen(records, seen).await
}

#[tokio::test(start_paused = true)]
async fn pending_and_settled_records_are_looked_at_and_keep_their_order() {
    let (analyzer, detectors) = analyzer(Mood::Well).await;
    let mut findings = analyzer.subscribe();
    let records = vec![
        record("a slow settled one", None),
        record("a quick settled one", None),
        record("a slow pending one", Some(Status::Pending)),
        record("a quick pending one", Some(Status::Pending)),
    ];
    let quiet = records[1].0.local.clone();
    let verdicts = judge(&analyzer, records).await;
    assert_eq!((verdicts[0].status, verdicts[0].level), (Some(Status::Confirmed), Level::Medium));
    assert_eq!(verdicts[0].template.as_deref(), Some("a slow settled one"));
    assert_eq!(verdicts[1], quiet, "nothing is changed where nothing is said");
    assert!(
        verdicts[2].flags.contains(Flag::Model)
            && verdicts[2].reason.as_ref().unwrap().ends_with("pending one")
    );
    assert!(
        verdicts[2].reason.as_ref().unwrap().starts_with("message; no known messages"),
        "{:?}",
        verdicts[2]
    );
    assert!(!verdicts[3].flags.contains(Flag::Model) && verdicts[3].status == Some(Status::Confirmed));
    assert_eq!(
        *detectors.0.lock().unwrap(),
        [1_000_000 * 1_000_000_000],
        "all of them at once, at the clock's time"
    );
    assert!(analyzer.figures().iter().any(|figure| figure.name == "asked" && figure.value == 1));
    // Whoever listens hears of the raised ones and of those that were judged.
    let heard: Vec<Option<Status>> =
        std::iter::from_fn(|| findings.try_recv().ok()).map(|judged| judged.verdict.status).collect();
    assert_eq!(heard, [Some(Status::Confirmed); 3]);
}

#[tokio::test(start_paused = true)]
async fn an_operators_word_outweighs_a_detectors() {
    let (analyzer, _) = analyzer(Mood::Well).await;
    let text = "slow but harmless";
    analyzer.except(text, None).unwrap();
    let verdicts = judge(&analyzer, vec![record(text, Some(Status::Pending)), record(text, None)]).await;
    assert_eq!((verdicts[0].status, verdicts[0].level), (Some(Status::Cleared), Level::None));
    assert_eq!((verdicts[1].status, verdicts[1].level), (None, Level::None));
}

#[tokio::test(start_paused = true)]
async fn a_dead_embedder_does_not_silence_them() {
    let (analyzer, _) = analyzer(Mood::Down).await;
    let verdicts = judge(&analyzer, vec![record("a slow one", Some(Status::Pending))]).await;
    assert_eq!((verdicts[0].status, verdicts[0].level), (Some(Status::Skipped), Level::Medium));
    assert!(verdicts[0].reason.as_ref().unwrap().ends_with("; slow: a slow one"), "{:?}", verdicts[0].reason);
}

#[tokio::test(start_paused = true)]
async fn without_what_they_see_all_is_as_before() {
    let (analyzer, detectors) = analyzer(Mood::Well).await;
    let verdict = analyzer.judge(vec![record("a slow one", Some(Status::Pending)).0]).await.remove(0);
    assert!(!verdict.flags.contains(Flag::Model));
    assert!(detectors.0.lock().unwrap().is_empty());
}
