//! The engine as a shell sees it: whole streams in, verdicts out.

use std::sync::Arc;

use oddline_engine::{
    Advice, AdviceTable, Class, Engine, Flag, Level, Options, Record, Settings, Severity, Status,
    TemplateAdvice, TemplateId, UnixNanos, Verdict, rules::RuleSet,
};

const SECOND: i64 = 1_000_000_000;

fn settings(change: impl FnOnce(&mut Options)) -> Settings {
    let mut options = Options { warmup_records: Some(50), warmup_seconds: Some(0), ..Options::default() };
    change(&mut options);
    Settings::new(&options).unwrap()
}

fn engine(change: impl FnOnce(&mut Options)) -> Engine {
    Engine::new(settings(change), Arc::new(RuleSet::builtin()))
}

fn see(engine: &mut Engine, message: &str, seconds: i64) -> Verdict {
    engine.observe(&Record::from_line(b"app", message.as_bytes()), UnixNanos(seconds * SECOND))
}

/// A source that has said three ordinary things for ten minutes.
fn settled(change: impl FnOnce(&mut Options)) -> Engine {
    let mut engine = engine(change);
    for second in 0..600 {
        see(
            &mut engine,
            &format!("User 'user{}' logged in from IP 10.0.0.{}", second % 9, second % 200),
            second,
        );
        see(&mut engine, &format!("GET /api/items/{second} took {} ms", 20 + second % 13), second);
        see(&mut engine, &format!("cache refreshed, {} entries", 1000 + second % 50), second);
    }
    engine
}

#[test]
fn the_founding_example() {
    let mut engine = settled(|_| {});
    let login = see(&mut engine, "User 'guest' logged in from IP 192.168.1.50", 601);
    assert_eq!((login.level, login.status), (Level::None, None), "{login:?}");
    let failure = see(&mut engine, "CRITICAL: Failed to connect to primary database after 5 retries.", 602);
    assert_eq!(failure.level, Level::Critical, "{failure:?}");
    assert!(failure.flags.contains(Flag::Pattern) && failure.flags.contains(Flag::New));
    let reason = failure.reason.unwrap();
    assert!(reason.contains("new message") && reason.contains("rule DB_CONNECT_FAILED"), "{reason}");
}

#[test]
fn a_burst_a_drop_and_an_outlier_are_told_with_numbers() {
    let mut engine = settled(|_| {});
    let bursts: Vec<Verdict> =
        (0..600).map(|_| see(&mut engine, "cache refreshed, 1010 entries", 601)).collect();
    let burst = bursts.iter().find(|verdict| verdict.flags.contains(Flag::Burst)).unwrap();
    assert!(burst.actual.unwrap() >= 2.0 * burst.expected.unwrap());
    assert!(burst.reason.as_ref().unwrap().contains("a minute, usually at most 60"), "{burst:?}");
    assert!(
        bursts.iter().filter(|verdict| verdict.flags.contains(Flag::Burst)).count() < 6,
        "told once a doubling"
    );

    let slow = see(&mut engine, "GET /api/items/7 took 90000 ms", 603);
    assert!(slow.flags.contains(Flag::Value) && slow.level >= Level::Low, "{slow:?}");

    let mut engine = settled(|_| {});
    let mut dropped = Vec::new();
    for second in 600..760 {
        dropped.push(see(
            &mut engine,
            &format!("User 'user1' logged in from IP 10.0.0.{}", second % 200),
            second,
        ));
        dropped.push(see(&mut engine, &format!("GET /api/items/{second} took 25 ms"), second));
    }
    let told: Vec<_> = dropped.iter().filter(|verdict| verdict.flags.contains(Flag::Drop)).collect();
    assert!(!told.is_empty() && told.len() <= 2, "{told:?}");
    assert!(told[0].reason.as_ref().unwrap().contains("cache refreshed"), "{:?}", told[0].reason);
}

#[test]
fn a_value_that_was_always_there_is_missed() {
    let mut engine = settled(|_| {});
    let answer =
        |status: &str, id: i64| format!("answer {{\"id\": {id}, \"status\": {status}, \"host\": null}}");
    for second in 600..620 {
        see(&mut engine, &answer("\"available\"", second), second);
    }
    let empty = see(&mut engine, &answer("null", 7), 620);
    assert!(empty.level >= Level::Medium && empty.flags.contains(Flag::Value), "{empty:?}");
    let reason = empty.reason.unwrap();
    assert!(reason.contains("nothing where a value always stood (20 times): \"status\": null"), "{reason}");
    let again = see(&mut engine, &answer("null", 8), 621);
    assert!(!again.flags.contains(Flag::Value), "{again:?}");
    let number = see(&mut engine, "cache refreshed, NaN entries", 622);
    assert!(!number.flags.contains(Flag::Value), "the text does not say what stands there: {number:?}");
}

#[test]
fn a_refusal_that_is_written_as_an_error_counts_for_its_address() {
    let mut engine = engine(|_| {});
    let line =
        r#"{"level":"error","msg":"handled request","client_ip":"203.0.113.9","uri":"/","status":401}"#;
    let verdicts: Vec<Verdict> = (0..6).map(|second| see(&mut engine, line, second)).collect();
    assert!(verdicts.iter().all(|verdict| &*verdict.rule.as_ref().unwrap().name == "SEVERITY_ERROR"));
    assert!(verdicts[..5].iter().all(|verdict| !verdict.flags.contains(Flag::Burst)));
    let reason = verdicts[5].reason.as_ref().unwrap();
    assert!(reason.contains("6 refused or suspicious attempts from 203.0.113.9 in 5 s"), "{reason}");
}

#[test]
fn attempts_of_one_address_come_nearer_and_what_follows_the_telling_is_low() {
    let packets = |address: &dyn Fn(i64) -> i64| -> Vec<Verdict> {
        let mut engine = engine(|_| {});
        let line =
            |number| format!("[UFW BLOCK] IN=eth0 SRC=203.0.113.{} DST=10.0.0.1 DPT=22", address(number));
        (0..10).map(|number| see(&mut engine, &line(number), number)).collect()
    };
    let (one, many) = (packets(&|_| 9), packets(&|number| 10 + number));
    assert!(one[..7].is_sorted_by(|before, after| before.score < after.score), "{one:?}");
    assert!(one[..7].iter().chain(&many).all(|verdict| verdict.level == Level::None), "{one:?} {many:?}");
    assert!(one[7..].iter().all(|verdict| verdict.level == Level::Low), "{one:?}");
    let reason = one[8].reason.as_ref().unwrap();
    assert!(reason.contains("203.0.113.9 goes on: 9 attempts by now"), "{reason}");
    assert!(many.is_sorted_by(|before, after| before.score >= after.score), "{many:?}");
}

#[test]
fn statuses_follow_the_detour() {
    let odd = "CRITICAL: Failed to connect to primary database after 5 retries.";
    let status = |engine: &mut Engine| see(engine, odd, 700).status;
    assert_eq!(status(&mut settled(|_| {})), Some(Status::Inline), "no advice_dir: no detour");
    let with_dir = |options: &mut Options| options.advice_dir = Some("x".into());
    let mut absent = settled(with_dir);
    let verdict = see(&mut absent, odd, 700);
    assert_eq!(verdict.status, Some(Status::Skipped));
    assert!(verdict.reason.unwrap().contains("sidecar absent"));
    absent.set_detour(true);
    assert_eq!(status(&mut absent), Some(Status::Pending));
    absent.set_detour(false);
    assert_eq!(status(&mut absent), Some(Status::Skipped));

    for (budget, pending) in [(0, 0), (5, 5), (500, 50)] {
        let mut engine = settled(|options| {
            with_dir(options);
            options.divert_per_second = Some(budget);
        });
        engine.set_detour(true);
        let went = (0..50).filter(|_| status(&mut engine) == Some(Status::Pending)).count();
        assert_eq!(went, pending, "budget {budget}");
    }
}

#[test]
fn advice_settles_a_template() {
    let message = "replica lag is back to normal";
    let row = |class| TemplateAdvice {
        text: message.into(),
        class,
        score: 0.9,
        similarity: Some(0.31),
        nearest: Some("cache refreshed, <*> entries".into()),
        rate: None,
        expires: Some(800),
    };
    let judged = |class, second| {
        let mut engine = settled(|options| options.advice_dir = Some("x".into()));
        engine.set_detour(true);
        let mut advice = Advice { generation: 1, ..Advice::default() };
        advice.templates.insert(TemplateId::of(message), row(class));
        let advice = Advice::parse(&advice.to_bytes()).unwrap();
        engine.set_advice(Arc::new(AdviceTable::new(advice)));
        see(&mut engine, message, second)
    };
    assert_eq!(judged(Class::Normal, 700).status, None);
    assert_eq!(judged(Class::Exception, 700).score, 0.0);
    let confirmed = judged(Class::Anomalous, 700);
    assert_eq!((confirmed.status, confirmed.level), (Some(Status::Confirmed), Level::High));
    assert!(confirmed.flags.contains(Flag::Semantic));
    assert!(confirmed.reason.unwrap().contains("nearest 0.31: \"cache refreshed, <*> entries\""));
    assert_eq!(judged(Class::Normal, 800).status, Some(Status::Pending), "expired");
}

#[test]
fn advice_files_that_do_not_check_out_are_refused_by_name() {
    let good = Advice::default().to_bytes();
    let refused = |bytes: &[u8]| Advice::parse(bytes).unwrap_err().to_string();
    assert!(Advice::parse(&good).is_ok());
    assert!(refused(b"").contains("header"));
    assert!(refused(&good[..good.len() - 1]).contains("checksum"));
    let other = String::from_utf8(good.clone()).unwrap().replacen("oddline-advice 1", "oddline-advice 2", 1);
    assert!(refused(other.as_bytes()).contains("version 2 is not the supported 1"));
    assert!(
        refused(&vec![b'x'; oddline_engine::advice::MAX_ADVICE_BYTES + 1]).contains("more than the limit")
    );
}

#[test]
fn same_stream_same_verdicts_and_a_restart_in_the_middle_changes_little() {
    let lines: Vec<String> = (0..2_000)
        .map(|index| match index % 7 {
            0 => format!("job {index} finished in {} ms", index % 90),
            1 | 2 => format!("connection from 10.1.{}.{} accepted", index % 256, index % 199),
            3 => "ERROR: cannot write to disk: No space left on device".to_owned(),
            _ => format!("queue {} has {} items", ["a", "b", "c", "d", "e", "f"][index % 6], index),
        })
        .collect();
    let run = |engine: &mut Engine, from: usize, to: usize| -> Vec<Verdict> {
        lines[from..to].iter().enumerate().map(|(at, line)| see(engine, line, (from + at) as i64)).collect()
    };
    let (mut left, mut right) = (engine(|_| {}), engine(|_| {}));
    assert_eq!(run(&mut left, 0, 1_500), run(&mut right, 0, 1_500));
    assert_eq!(left.snapshot(), right.snapshot());

    let mut restarted = engine(|_| {});
    restarted.restore(&left.snapshot()).unwrap();
    assert_eq!(restarted.counters().templates, left.counters().templates);
    let ids = |verdicts: Vec<Verdict>| -> Vec<TemplateId> {
        verdicts.iter().map(|verdict| verdict.template_id).collect()
    };
    assert_eq!(ids(run(&mut restarted, 1_500, 2_000)), ids(run(&mut left, 1_500, 2_000)));
}

#[test]
fn snapshots_of_another_version_are_refused_and_leave_the_engine_as_it_is() {
    let mut engine = settled(|_| {});
    let saved = engine.snapshot();
    let other = String::from_utf8(saved.clone()).unwrap().replacen("oddline-state 3", "oddline-state 9", 1);
    for (bytes, word) in
        [(other.as_bytes(), "version 9"), (&saved[..saved.len() / 2], "checksum"), (b"junk", "header")]
    {
        let error = engine.restore(bytes).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert_eq!(engine.snapshot(), saved);
    }
}

#[test]
fn a_state_of_the_version_before_is_read() {
    let mut engine = engine(|_| {});
    engine.restore(include_bytes!("state-1.txt")).unwrap();
    assert_eq!((engine.counters().templates, engine.counters().sources), (3, 1));
    let known = see(&mut engine, "job 9999 finished in 21 ms", 1_700_000_400);
    assert_eq!((known.level, known.template_id), (Level::None, TemplateId::of("job <*> finished in <*>")));
    assert!(engine.snapshot().starts_with(b"oddline-state 3 "));
}

#[test]
fn a_burst_of_what_never_came_before_is_as_grave_as_its_level() {
    let burst = |level: &str| {
        let mut engine = settled(|_| {});
        let line = |number: u32| format!("{level} oslo.config option {number} is registered");
        let all = (0..400).map(|number| see(&mut engine, &line(number), 700)).skip(1);
        all.filter(|verdict| verdict.flags.contains(Flag::Burst)).map(|verdict| verdict.level).max()
    };
    assert_eq!(burst("DEBUG"), Some(Level::Low), "a service writes out its options");
    assert_eq!(burst("INFO"), Some(Level::Low));
    assert!(burst("ERROR") >= Some(Level::Medium));
}

#[test]
fn a_level_word_says_as_much_as_it_is_seldom() {
    let last = |each: usize| {
        let mut engine = engine(|_| {});
        let letters = |number: usize| (0..4).map(move |at| (b'a' + (number >> (4 * at) & 15) as u8) as char);
        for number in 0..3_000 {
            let word: String = letters(number / each).collect();
            match number % each {
                0 => see(&mut engine, &format!("FATAL {word} interrupt on node card"), number as i64),
                other => see(&mut engine, &format!("INFO step {other} of the cycle"), number as i64),
            };
        }
        let failure = "FATAL the third wheel fell off";
        (see(&mut engine, failure, 3_001), see(&mut engine, failure, 3_601))
    };
    let ((seldom, seldom_again), (often, often_again)) = (last(1_000), last(6));
    assert!(often.score + 0.05 < seldom.score, "a new one: {seldom:?} {often:?}");
    assert_eq!((seldom_again.level, often_again.level), (Level::Medium, Level::Low), "one that is known");
    assert_eq!(often.rule.map(|rule| rule.name), seldom.rule.map(|rule| rule.name), "the rule stays on it");
}

#[test]
fn a_line_that_belongs_to_a_flagged_one_is_just_shown_with_it() {
    let mut engine = settled(|_| {});
    let (failure, next) = ("FATAL: the third wheel fell off", "ERROR: the third wheel rolled on");
    see(&mut engine, next, 700);
    see(&mut engine, failure, 701);
    (0..9).for_each(|_| _ = see(&mut engine, next, 701));
    let belongs = see(&mut engine, next, 701);
    assert!(belongs.flags.contains(Flag::Sequence), "{belongs:?}");
    assert_eq!((belongs.score, belongs.level), (0.5, Level::Low), "{belongs:?}");
}

#[test]
fn a_restart_keeps_what_was_told_and_how_a_source_talks() {
    let failure = "FATAL: the third wheel fell off";
    let mut engine = settled(|_| {});
    let first = see(&mut engine, failure, 700);
    let second = see(&mut engine, failure, 701);
    assert!(first.score > second.score, "{first:?} {second:?}");
    see(&mut engine, "cache refreshed, 1001 entries", 701);
    let mut restarted = self::engine(|_| {});
    restarted.restore(&engine.snapshot()).unwrap();
    let third = see(&mut restarted, failure, 702);
    assert_eq!(third, see(&mut engine, failure, 702));
    assert!(third.score < second.score, "{second:?} {third:?}");
}

#[test]
fn a_snapshot_taken_in_slices_between_records_is_whole_and_bounded() {
    let mut engine = settled(|_| {});
    let whole = engine.snapshot();
    let saved = |engine: &mut Engine, limit: usize, most: usize, between: bool| {
        let mut saving = engine.start_saving(limit);
        let mut slices = 1;
        while !engine.save_some(&mut saving, most) {
            slices += 1;
            if between {
                see(engine, &format!("a message of shape {}", "x".repeat(slices)), 5_000);
            }
        }
        (saving.finish().concat(), slices)
    };
    assert_eq!(saved(&mut engine, 1 << 20, usize::MAX, false).0, whole);
    let (sliced, slices) = saved(&mut engine, 1 << 20, 1, false);
    assert_eq!(sliced, whole);
    assert!(slices as u64 > engine.counters().templates, "{slices}");
    for limit in [whole.len() - 100, whole.len() / 2, 100, 0] {
        let (cut, _) = saved(&mut engine, limit, 2, false);
        assert!(cut.len() <= limit.max(64) + 64, "{} of {limit}", cut.len());
        self::engine(|_| {}).restore(&cut).unwrap();
    }
    let (moving, _) = saved(&mut engine, 1 << 20, 1, true);
    let mut restored = self::engine(|_| {});
    restored.restore(&moving).unwrap();
    assert!(restored.counters().templates >= 2);
}

#[test]
fn memory_stays_within_the_settings_whatever_comes() {
    let mut engine = engine(|options| {
        options.max_templates_per_source = Some(100);
        options.max_templates = Some(250);
        options.max_sources = Some(5);
    });
    for index in 0..20_000u64 {
        // Letters only, so that nothing is masked: every line is a shape of its own.
        let word: String = (0..12)
            .map(|place| char::from(b'a' + ((index >> place) % 26) as u8 + (place % 3) as u8))
            .collect();
        let line = format!("{word} {} happened", word.chars().rev().collect::<String>());
        let tag = format!("source-{}", index % 20);
        engine.observe(
            &Record::from_line(tag.as_bytes(), line.as_bytes()),
            UnixNanos(index as i64 * SECOND / 100),
        );
        assert!(engine.counters().templates <= 250 && engine.counters().sources <= 6);
    }
    assert!(engine.counters().evicted > 0);
}

#[test]
fn a_noisy_source_does_not_evict_another() {
    let mut engine = engine(|options| options.max_templates_per_source = Some(50));
    see(&mut engine, "the one thing this source says", 0);
    for index in 0..5_000u64 {
        let line = format!("noise {}", char::from_u32(0x4e00 + index as u32).unwrap());
        engine.observe(&Record::from_line(b"noisy", line.repeat(3).as_bytes()), UnixNanos(0));
    }
    let summary = engine.take_summary(UnixNanos(SECOND));
    assert!(summary.templates.iter().any(|count| count.text == "the one thing this source says"));
}

#[test]
fn summaries_count_everything_once() {
    let mut engine = settled(|_| {});
    let total = |engine: &mut Engine| {
        engine.take_summary(UnixNanos(0)).templates.iter().map(|t| t.count).sum::<u64>()
    };
    assert_eq!(total(&mut engine), 1_800);
    assert_eq!(total(&mut engine), 0);
    see(&mut engine, "cache refreshed, 5 entries", 700);
    let summary = engine.take_summary(UnixNanos(700 * SECOND));
    assert_eq!((summary.time, summary.templates.len(), summary.templates[0].count), (700, 1, 1));
}

#[test]
fn hostile_input_costs_nothing_but_its_own_verdict() {
    let mut engine = engine(|_| {});
    let huge = vec![b'a'; 1 << 20];
    let words = "x ".repeat(500_000);
    let digits = "1".repeat(1 << 20);
    for line in [
        &huge[..],
        words.as_bytes(),
        digits.as_bytes(),
        b"",
        b"\0\0\0",
        b"\xff\xfe\xfd",
        b"<*> <*>",
        b"\"\"''//",
    ] {
        let verdict = engine.observe(&Record::from_line(b"", line), UnixNanos(i64::MAX));
        assert!((0.0..=1.0).contains(&verdict.score));
        engine.observe(&Record::from_line(b"", line), UnixNanos(i64::MIN));
    }
}

#[test]
fn a_habit_of_the_source_stops_being_flagged_by_rule_and_a_grave_one_does_not() {
    let level = |message: &str, every: i64, hours: i64| {
        let mut engine = engine(|_| {});
        let levels: Vec<Level> =
            (0..hours * 3600 / every).map(|step| see(&mut engine, message, step * every).level).collect();
        (levels[0], levels[2], *levels.last().unwrap())
    };
    let failed = "Failed password for root";
    assert_eq!(level(failed, 30, 2), (Level::Low, Level::None, Level::None), "one finding");
    assert_eq!(
        level(failed, 600, 2),
        (Level::Low, Level::Low, Level::None),
        "one every ten minutes, then a habit"
    );
    let fatal = "FATAL: out of handles";
    assert_eq!(
        level(fatal, 1, 1),
        (Level::Medium, Level::Low, Level::None),
        "low: it goes on with the line before"
    );
    let grave = "CRITICAL: Failed to connect to primary database after 5 retries.";
    assert_eq!(
        level(grave, 30, 2),
        (Level::Critical, Level::Medium, Level::Medium),
        "an alert as long as it lasts"
    );
}

#[test]
fn the_frames_of_a_flagged_trace_are_flagged_with_it() {
    let mut engine = settled(|_| {});
    let frame = "\tat org.example.Shop.buy(Shop.java:12)";
    see(&mut engine, frame, 610);
    see(&mut engine, "GET /api/items/7 took 21 ms", 611);
    assert_eq!(see(&mut engine, frame, 700).level, Level::None);
    assert!(see(&mut engine, "java.lang.IllegalStateException: no such basket", 701).level >= Level::Low);
    let verdict = see(&mut engine, frame, 701);
    assert!(verdict.level == Level::Low && verdict.flags.contains(Flag::Sequence), "{verdict:?}");
    assert_eq!(verdict.reason.as_deref(), Some("belongs to the flagged line before it"));
    see(&mut engine, "GET /api/items/7 took 21 ms", 701);
    assert_eq!(see(&mut engine, frame, 702).level, Level::None);
}

#[test]
fn every_id_that_was_merged_away_leads_to_the_template_that_took_it() {
    let mut engine = engine(|_| {});
    let ids: Vec<TemplateId> = ["ann", "bob", "cyd", "dan", "eve"]
        .iter()
        .zip(0..)
        .map(|(user, second)| see(&mut engine, &format!("basket of our {user} is full"), second).template_id)
        .collect();
    assert_ne!(ids[0], ids[1]);
    let general = TemplateId::of("basket of our <*> is full");
    assert!(ids.iter().all(|id| engine.current_id(*id) == general), "{ids:?}");
}

/// The score of the last of so many records that are all errors, which alone hits this rule.
fn last_error(keys: &str, records: i64) -> f32 {
    let file = format!("[[rules]]\npattern = 'GRAVE'\nscore = 6\n{keys}\n");
    let parsed = oddline_engine::rules::parse("my.toml", &file);
    assert_eq!(parsed.problems, []);
    let mut engine = Engine::new(settings(|_| {}), Arc::new(RuleSet::compile(parsed.rules).set));
    let mut score = 0.0;
    for second in 0..records {
        let what = if second + 1 == records { "GRAVE" } else { "usual" };
        let text = format!("{what}: request {second} failed");
        let mut record = Record::from_line(b"app", text.as_bytes());
        record.severity = Some(Severity::Error);
        score = engine.observe(&record, UnixNanos(second * SECOND)).score;
    }
    score
}

#[test]
fn a_rule_is_about_the_level_alone_by_its_key_and_not_by_its_name() {
    let named = |records| last_error("name = \"SEVERITY_OF_MINE\"", records);
    let marked = |records| last_error("name = \"GRAVE_WORDS\"\nlevel_only = true", records);
    assert_eq!(named(1), marked(1), "the first error of a source counts in full");
    assert!(marked(2_000) < named(2_000) - 0.1, "{} {}", marked(2_000), named(2_000));
}
