//! Sequences that end oddly, as a host meets them: found when they have been quiet for too long, handed out with the
//! summary, or alone, and never more than there is room for.

use std::{collections::BTreeMap, sync::Arc};

use oddline_engine::{
    Advice, AdviceTable, Class, Engine, Flag, Level, MAX_ENDINGS, Options, Record, Settings, Status,
    TemplateAdvice, TemplateId, UnixNanos, rules::RuleSet,
};

const SECOND: i64 = 1_000_000_000;
const STEPS: [&str; 3] = ["begin job", "copy data of job", "close job"];

struct Host {
    engine: Engine,
    now: i64,
    jobs: u64,
    records: u64,
}

impl Host {
    fn new(options: &Options) -> Host {
        let settings = Settings::new(options).unwrap();
        Host { engine: Engine::new(settings, Arc::new(RuleSet::default())), now: 0, jobs: 0, records: 0 }
    }

    /// A job of so many steps; the jobs follow each other, a second a line.
    fn job(&mut self, steps: usize) {
        self.jobs += 1;
        for step in &STEPS[..steps] {
            self.now += SECOND;
            self.records += 1;
            let line = format!("{step} job_{:08x}f00", 0x1000_0000 + self.jobs * 7);
            let verdict =
                self.engine.observe(&Record::from_line(b"app", line.as_bytes()), UnixNanos(self.now));
            assert!(!verdict.flags.contains(Flag::Sequence), "no line is odd by itself: {verdict:?}");
        }
    }

    fn jobs(&mut self, count: usize) {
        (0..count).for_each(|_| self.job(STEPS.len()));
    }
}

#[test]
fn an_ending_is_told_with_the_summary_and_on_the_last_record() {
    let mut host = Host::new(&Options::default());
    host.jobs(1_000);
    host.job(2);
    let (last, time, job) = (host.records, host.now, host.jobs);
    host.jobs(20);
    let summary = host.engine.take_summary(UnixNanos(host.now));
    let [ending] = &summary.endings[..] else { panic!("{:?}", summary.endings) };
    assert_eq!((ending.record, ending.time, &*ending.source), (last, time, "app"));
    assert_eq!(ending.id, format!("job_{:08x}f00", 0x1000_0000 + job * 7));
    assert_eq!(ending.template, "copy data of job <*>");
    assert_eq!(ending.template_id, TemplateId::of(&ending.template));
    assert_eq!(ending.level, Level::Low);
    let words = "ended after \"copy data of job <*>\"; 100 % of ";
    assert!(ending.reason.contains(words) && ending.reason.ends_with("have \"close job <*>\""), "{ending:?}");
    assert_eq!((summary.counters.endings, summary.counters.endings_untold), (1, 0));
    let verdict = ending.clone().verdict();
    assert_eq!((verdict.status, verdict.level), (Some(Status::Inline), Level::Low));
    assert!(verdict.flags.contains(Flag::Sequence) && verdict.flags.len() == 1);
    assert_eq!(host.engine.take_summary(UnixNanos(host.now)).endings, [], "told once");
}

#[test]
fn an_ending_is_found_though_no_line_comes_any_more() {
    let mut host = Host::new(&Options::default());
    host.jobs(1_000);
    host.job(1);
    assert_eq!(host.engine.take_endings(UnixNanos(host.now)), [], "it may still go on");
    assert_eq!(host.engine.take_endings(UnixNanos(host.now + 60 * SECOND)).len(), 1);
}

impl Host {
    /// Stops the engine and starts another with what was saved.
    fn restart(&mut self) {
        let saved = self.engine.snapshot();
        let mut engine = Host::new(&Options::default()).engine;
        engine.restore(&saved).unwrap();
        assert_eq!(String::from_utf8(engine.snapshot()), String::from_utf8(saved), "nothing is lost");
        self.engine = engine;
    }
}

#[test]
fn a_restart_keeps_the_habits_of_sequences() {
    let mut host = Host::new(&Options::default());
    host.jobs(1_000);
    host.restart();
    host.jobs(20);
    host.job(2);
    host.jobs(20);
    let endings = host.engine.take_endings(UnixNanos(host.now));
    let [ending] = &endings[..] else { panic!("{endings:?}") };
    assert_eq!(ending.template, "copy data of job <*>");
    assert!(ending.reason.contains("have \"close job <*>\""), "{ending:?}");
}

#[test]
fn what_was_under_way_at_a_restart_is_not_judged_by_what_it_lacks() {
    let mut host = Host::new(&Options::default());
    host.jobs(1_000);
    host.restart();
    // The end of a job that began before.
    host.now += SECOND;
    let line = format!("close job job_{:08x}f00", 0x2000_0000);
    host.engine.observe(&Record::from_line(b"app", line.as_bytes()), UnixNanos(host.now));
    host.jobs(100);
    assert_eq!(host.engine.take_endings(UnixNanos(host.now)), []);
    // The same later cannot have begun before.
    host.now += SECOND;
    let line = format!("close job job_{:08x}f00", 0x3000_0000);
    host.engine.observe(&Record::from_line(b"app", line.as_bytes()), UnixNanos(host.now));
    host.jobs(100);
    assert_eq!(host.engine.take_endings(UnixNanos(host.now)).len(), 1);
}

#[test]
fn threshold_and_exceptions_hold_for_endings_too() {
    let told = |options: &Options, advice: Option<Class>| {
        let mut host = Host::new(options);
        host.jobs(1_000);
        let text = "copy data of job <*>".to_owned();
        let row = |class| TemplateAdvice {
            text: text.clone(),
            class,
            score: 0.0,
            similarity: None,
            nearest: None,
            rate: None,
            expires: None,
        };
        let templates = BTreeMap::from_iter(advice.map(|class| (TemplateId::of(&text), row(class))));
        host.engine.set_advice(Arc::new(AdviceTable::new(Advice { templates, ..Advice::default() })));
        host.job(2);
        host.engine.take_endings(UnixNanos(host.now + 60 * SECOND)).len()
    };
    assert_eq!(told(&Options::default(), None), 1);
    assert_eq!(told(&Options { threshold: Some(0.6), ..Options::default() }, None), 0);
    assert_eq!(told(&Options::default(), Some(Class::Exception)), 0);
    assert_eq!(
        told(&Options::default(), Some(Class::Normal)),
        1,
        "its last line is normal, that it is the last is not"
    );
}

#[test]
fn those_that_wait_to_be_told_are_bounded_and_the_rest_is_counted() {
    let mut host = Host::new(&Options::default());
    host.jobs(2_000);
    let mut odd = 0;
    for most in [MAX_ENDINGS, MAX_ENDINGS + 1, 10 * MAX_ENDINGS] {
        while odd < most {
            odd += 1;
            host.job(2);
            host.jobs(120);
        }
        // Two flows are looked at with each record, of 2,048 that are remembered.
        host.jobs(400);
        let counters = host.engine.counters();
        assert_eq!(counters.endings, odd as u64);
        assert_eq!(counters.endings_untold, odd.saturating_sub(MAX_ENDINGS) as u64);
    }
    assert_eq!(host.engine.take_endings(UnixNanos(host.now)).len(), MAX_ENDINGS);
    host.job(2);
    assert_eq!(host.engine.take_endings(UnixNanos(host.now + 60 * SECOND)).len(), 1, "there is room again");
}

#[test]
fn what_was_held_up_has_not_ended() {
    let mut host = Host::new(&Options::default());
    host.jobs(1_000);
    // Two jobs are under way when the input stands still. What was written meanwhile comes all at once, and the end of the
    // first is among the last of it; the other one has none.
    host.job(2);
    let held_up = host.jobs;
    host.job(2);
    host.now += 60 * SECOND;
    for _ in 0..700 {
        host.jobs += 1;
        for step in STEPS {
            let line = format!("{step} job_{:08x}f00", 0x1000_0000 + host.jobs * 7);
            host.engine.observe(&Record::from_line(b"app", line.as_bytes()), UnixNanos(host.now));
        }
    }
    let line = format!("close job job_{:08x}f00", 0x1000_0000 + held_up * 7);
    host.engine.observe(&Record::from_line(b"app", line.as_bytes()), UnixNanos(host.now));
    assert_eq!(host.engine.take_endings(UnixNanos(host.now)), []);
    host.jobs(20);
    let endings = host.engine.take_endings(UnixNanos(host.now));
    let ids: Vec<&str> = endings.iter().map(|ending| &*ending.id).collect();
    assert_eq!(ids, [format!("job_{:08x}f00", 0x1000_0000 + (held_up + 1) * 7)]);
}

#[test]
fn a_summary_tells_the_most_frequent_and_the_next_one_the_rest() {
    for templates in [1_000, 1_001, 10_000u64] {
        let options = Options { max_templates_per_source: Some(20_000), ..Options::default() };
        let mut engine = Host::new(&options).engine;
        for number in 0..templates {
            // Nothing in common, the later ones more often.
            let word = |place: u64| char::from(b'a' + (number / place % 26) as u8).to_string().repeat(4);
            let line = [1, 26, 676].map(word).join(" ");
            let record = Record::from_line(b"app", line.as_bytes());
            (0..1 + number / 100).for_each(|_| drop(engine.observe(&record, UnixNanos(0))));
        }
        let mut told = Vec::new();
        for summary in std::iter::from_fn(|| Some(engine.take_summary(UnixNanos(SECOND)).templates)) {
            assert!(summary.len() <= 1_000);
            if summary.is_empty() {
                break;
            }
            told.extend(summary.into_iter().map(|count| count.count));
        }
        assert!(told.is_sorted_by(|before, after| before >= after));
        assert_eq!(told.iter().sum::<u64>(), (0..templates).map(|number| 1 + number / 100).sum::<u64>());
    }
}

#[test]
fn a_source_that_writes_in_bursts_is_judged_one_burst_later() {
    let mut host = Host::new(&Options::default());
    host.jobs(1_000);
    let mut told = 0;
    for burst in 0..8 {
        host.now += 600 * SECOND;
        // Each in one moment, with one job in the second that has no end.
        for number in 0..300 {
            host.jobs += 1;
            let steps = if (burst, number) == (1, 150) { 2 } else { 3 };
            for step in &STEPS[..steps] {
                let line = format!("{step} job_{:08x}f00", 0x1000_0000 + host.jobs * 7);
                host.engine.observe(&Record::from_line(b"app", line.as_bytes()), UnixNanos(host.now));
            }
        }
        told += u64::from(burst > 1) * host.engine.counters().endings;
    }
    assert!(told > 0, "{:?}", host.engine.counters());
}

#[test]
fn a_clock_that_ran_ahead_keeps_no_sequence_open() {
    let mut host = Host::new(&Options::default());
    host.jobs(1_000);
    let now = host.now;
    host.now += 86_400 * SECOND;
    host.jobs(2);
    host.now = now;
    host.jobs(2);
    host.job(2);
    host.jobs(20);
    assert_eq!(host.engine.take_endings(UnixNanos(host.now)).len(), 1);
}
