//! State and advice files as hostile hands leave them: what fuzzing found, each as a case of its own.

use std::sync::Arc;

use oddline_engine::{Advice, Engine, Options, Record, Settings, UnixNanos, rules::RuleSet};

fn framed(word: &str, body: &str) -> Vec<u8> {
    format!("{word} {:016x}\n{body}", twox_hash::XxHash3_64::oneshot(body.as_bytes())).into_bytes()
}

fn engine(max_sources: u64) -> Engine {
    let options = Options { max_sources: Some(max_sources), ..Options::default() };
    Engine::new(Settings::new(&options).unwrap(), Arc::new(RuleSet::default()))
}

/// What the parser repeats of the file would otherwise reach the operator's terminal as it is.
#[test]
fn a_refusal_is_one_plain_line() {
    let key = format!("\\u001b[2J\\n{}", "x".repeat(5_000));
    let advice = framed("oddline-advice 1", &format!("{{\"{key}\":1}}"));
    let state = framed("oddline-state 3", &format!("{{\"sources\":[{{\"{key}\":1}}]}}"));
    for told in
        [Advice::parse(&advice).unwrap_err().to_string(), engine(4).restore(&state).unwrap_err().to_string()]
    {
        assert!(told.contains("unknown field `\\u{1b}[2J\\nxxx") && told.len() < 500, "{told:?}");
        assert!(!told.contains(char::is_control), "{told:?}");
    }
}

/// One of them was forgotten at every restart: the one that was silent longest.
#[test]
fn a_restart_keeps_every_source_and_the_one_that_all_others_share() {
    for sources in [3, 4, 5, 40] {
        let mut before = engine(4);
        for number in 0..sources {
            let tag = format!("source{number}");
            before.observe(&Record::from_line(tag.as_bytes(), b"disk full"), UnixNanos(number));
        }
        let mut after = engine(4);
        after.restore(&before.snapshot()).unwrap();
        assert_eq!(after.counters().sources, sources.min(5) as u64);
        assert_eq!(after.snapshot(), before.snapshot());
        // Smaller settings keep what they allow.
        let mut small = engine(2);
        small.restore(&before.snapshot()).unwrap();
        assert_eq!(small.counters().sources, if sources > 4 { 3 } else { 2 });
    }
}

#[test]
fn a_restart_keeps_which_rules_concern_a_source() {
    let rules = Arc::new(RuleSet::builtin());
    for (words, hits) in [("all", true), ("nginx=media", true), ("nginx=docker", false), ("auto", false)] {
        let mut options = Options::default();
        options.set("rule_categories", words).unwrap();
        let engine = || Engine::new(Settings::new(&options).unwrap(), Arc::clone(&rules));
        // What is saved of a name is cut, and what a source is may stand behind that.
        for tag in ["nginx".to_owned(), format!("{}nginx", "var.log.pods.".repeat(20))] {
            let line = Record::from_line(tag.as_bytes(), b"FFmpeg exited with code 1");
            let is_hit = |engine: &mut Engine, seconds: i64| {
                let rule = engine.observe(&line, UnixNanos(seconds * 1_000_000_000)).rule;
                rule.is_some_and(|rule| &*rule.name == "TRANSCODE_FAILED")
            };
            let (mut before, mut after) = (engine(), engine());
            assert_eq!(is_hit(&mut before, 0), hits, "{words}, {tag}");
            after.restore(&before.snapshot()).unwrap();
            assert_eq!(is_hit(&mut after, 1), hits, "{words}, {tag}, restored");
        }
    }
}
