//! One deadline for all of a batch, counted from its arrival: whatever is not known by then goes back, and is looked up
//! for the next time.

#[allow(dead_code, reason = "other tests use the rest")]
mod fakes;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use fakes::{FakeClock, FakeEmbedder, FakeIndex, FakeStore, Mood};
use oddline_analyze::{
    Analyzer, Options, Ports, Settings,
    events::{Figure, SkipCause},
    ports::{Analysis, Detectors, Opinion, Received, Seen},
};
use oddline_engine::{Engine, Status, TemplateId, Verdict, rules::RuleSet};
use tokio::time::{Instant, advance, sleep};

const DEADLINE: Duration = Duration::from_secs(2);
/// Records that the ways in judge together.
const GROUP: usize = 256;
/// Longer than all that is left to do takes.
const LONG: Duration = Duration::from_secs(600);

struct World {
    analyzer: Analyzer,
    embedder: Arc<FakeEmbedder>,
}

impl World {
    async fn new(options: Options, mood: Mood) -> World {
        World::with(options, mood, FakeEmbedder::default()).await
    }

    async fn with(options: Options, mood: Mood, embedder: FakeEmbedder) -> World {
        let embedder = Arc::new(embedder);
        let ports = Ports {
            embedder: embedder.clone(),
            index: Arc::new(FakeIndex::default()),
            state: Arc::new(FakeStore::default()),
            clock: FakeClock::at(1_000_000),
        };
        let engine = Engine::new(oddline_engine::Settings::default(), Arc::new(RuleSet::builtin()));
        let analyzer = Analyzer::open(Settings::new(&options).unwrap(), ports, engine).await.unwrap();
        *embedder.mood.lock().unwrap() = mood;
        World { analyzer, embedder }
    }

    /// A batch as a way in judges it: group after group.
    async fn batch(&self, records: usize, arrived: Instant) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let texts: Vec<String> = (0..records).map(|number| format!("template {number}")).collect();
        for group in texts.chunks(GROUP) {
            let group = group.iter().map(|text| record(text, arrived)).collect();
            verdicts.extend(self.analyzer.judge(group).await);
        }
        verdicts
    }

    fn put_off(&self) -> u64 {
        let figures = self.analyzer.figures();
        figures.iter().find(|figure| figure.name == "queue_put_off_templates").unwrap().value
    }
}

fn record(text: &str, arrived: Instant) -> Received {
    let local = Verdict {
        score: 0.55,
        template_id: TemplateId::of(text),
        status: Some(Status::Pending),
        template: Some(text.into()),
        reason: Some("new message".into()),
        ..Verdict::default()
    };
    Received { source: "app.log".into(), local, arrived }
}

fn count(verdicts: &[Verdict], status: Status) -> usize {
    verdicts.iter().filter(|verdict| verdict.status == Some(status)).count()
}

#[tokio::test(start_paused = true)]
async fn a_batch_costs_one_deadline_with_one_group_one_over_and_ten_times() {
    for records in [GROUP, GROUP + 1, 10 * GROUP] {
        let world = World::new(Options::default(), Mood::Late(Duration::from_secs(3))).await;
        let started = Instant::now();
        let verdicts = world.batch(records, started).await;
        let took = started.elapsed();
        assert!((DEADLINE..DEADLINE + Duration::from_millis(5)).contains(&took), "{records}: {took:?}");
        assert_eq!(count(&verdicts, Status::Skipped), records);
        let reason = Some("new message; sidecar: no answer within 2 s");
        assert!(verdicts.iter().all(|verdict| verdict.reason.as_deref() == reason), "{:?}", verdicts.last());
        assert_eq!(world.analyzer.events().skipped(SkipCause::Deadline), records as u64);
        // Each of them has waited since its arrival, whatever its group has.
        let (seconds, _) = world.analyzer.events().latency();
        assert!(seconds >= 2.0 * records as f64, "{seconds}");

        // The next time all of them are known, without one more call.
        sleep(LONG).await;
        assert_eq!((world.put_off(), world.embedder.texts.load(SeqCst)), (0, records));
        let started = Instant::now();
        assert_eq!(count(&world.batch(records, started).await, Status::Confirmed), records);
        assert_eq!((started.elapsed(), world.embedder.texts.load(SeqCst)), (Duration::ZERO, records));
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_has_what_is_left_of_its_time_at_the_limit_one_over_and_ten_times() {
    let world = World::new(Options::default(), Mood::Well).await;
    let arrived = Instant::now();
    world.analyzer.judge(vec![record("known", arrived)]).await;
    *world.embedder.mood.lock().unwrap() = Mood::Hung;
    advance(DEADLINE - Duration::from_millis(1)).await;
    for (number, left) in [(1, 1), (2, 0), (20, 0)] {
        let started = Instant::now();
        let unknown = format!("unknown {number}");
        let group = vec![record("known", arrived), record(&unknown, arrived)];
        let verdicts = world.analyzer.judge(group).await;
        assert!(started.elapsed() <= Duration::from_millis(2 * left), "{number}: {:?}", started.elapsed());
        assert_eq!(
            (verdicts[0].status, verdicts[1].status),
            (Some(Status::Confirmed), Some(Status::Skipped)),
            "what is in memory is answered however late it is"
        );
        advance(DEADLINE * number).await;
    }
}

#[tokio::test(start_paused = true)]
async fn late_ones_of_the_queue_are_learned_too_and_keep_nobody_waiting() {
    let options = Options { batch_templates: Some(1), batches_in_flight: Some(1), ..Options::default() };
    let world = World::new(options, Mood::Late(Duration::from_millis(1_500))).await;
    let verdicts = world.batch(20, Instant::now()).await;
    assert_eq!((count(&verdicts, Status::Confirmed), count(&verdicts, Status::Skipped)), (1, 19));
    sleep(Duration::from_secs(4)).await;
    assert!(world.put_off() > 10, "{}", world.put_off());
    // Who waits comes before them, but for the one that is being looked up.
    *world.embedder.mood.lock().unwrap() = Mood::Late(Duration::from_millis(100));
    let started = Instant::now();
    let fresh = world.analyzer.judge(vec![record("fresh", started)]).await;
    assert_eq!(fresh[0].status, Some(Status::Confirmed));
    assert!(world.put_off() > 10, "{}", world.put_off());
    sleep(LONG).await;
    assert_eq!((world.put_off(), world.embedder.texts.load(SeqCst)), (0, 21));
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_turn_is_not_held_against_the_embedder() {
    // As many batches as are worked on at a time, each slower than the records wait, all together than a call may take.
    let embedder = FakeEmbedder { at_once: 1, ..FakeEmbedder::default() };
    let world = World::with(Options::default(), Mood::Late(Duration::from_secs(3)), embedder).await;
    // More than that would be more than one source may have waiting.
    for records in [GROUP, 8 * GROUP] {
        let calls = world.embedder.calls.load(SeqCst);
        let texts = (calls * 64..calls * 64 + records)
            .map(|number| record(&format!("template {number}"), Instant::now()));
        let verdicts = world.analyzer.judge(texts.collect()).await;
        assert_eq!(count(&verdicts, Status::Skipped), records);
        sleep(LONG).await;
        let asked = (world.embedder.calls.load(SeqCst) - calls, world.put_off());
        assert_eq!(asked, (records / 64, 0), "each once");
    }
}

/// Never answers.
#[derive(Debug)]
struct Silent;

impl Detectors for Silent {
    fn look(&self, _: Vec<Seen>, _: i64) -> Pin<Box<dyn Future<Output = Vec<Option<Opinion>>> + Send + '_>> {
        Box::pin(std::future::pending())
    }

    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }
}

#[tokio::test(start_paused = true)]
async fn detectors_are_waited_for_no_longer() {
    let world = World::new(Options::default(), Mood::Well).await;
    world.analyzer.set_detectors(Arc::new(Silent));
    let started = Instant::now();
    for _ in 0..10 {
        let verdicts = world.analyzer.judge_seen(vec![record("a", started)], vec![Seen::default()]).await;
        assert_eq!(verdicts[0].status, Some(Status::Confirmed));
    }
    assert_eq!(started.elapsed(), DEADLINE);
}
