//! What is cut while it runs: guests that do not end, take too much, or answer with nonsense.

use oddline_analyze::ports::{Leaf, Seen};
use oddline_component_host::{Detector, Fault, Refused};
use oddline_engine::Level;

use crate::guest::{GOOD, Guest};

fn record() -> Seen {
    Seen {
        tag: "app".to_owned(),
        message: "took 900 ms".to_owned(),
        severity: None,
        fields: vec![(vec!["http".to_owned(), "ms".to_owned()], Leaf::Int(900))],
    }
}

/// The fault of a guest whose `observe` is this; a second call finds a fresh instance, with the same fault.
fn fault(observe: &str) -> Fault {
    let mut detector = Guest { observe, ..GOOD }.open().unwrap();
    let first = detector.observe(record(), 0).unwrap_err();
    assert_eq!(detector.observe(record(), 0).unwrap_err(), first);
    first
}

/// A guest that writes to its verdict before it answers with it.
fn answering(stores: &str) -> String {
    format!("{stores} (i32.const 128)")
}

#[test]
fn a_good_guest_is_heard_again_and_again() {
    let mut detector = GOOD.open().unwrap();
    for _ in 0..1_000 {
        let verdict = detector.observe(record(), 0).unwrap();
        assert_eq!(
            (verdict.score, verdict.level, verdict.reason.as_deref()),
            (0.7, Level::Medium, Some("odd"))
        );
    }
    assert!(detector.snapshot().unwrap().is_empty());
    assert!(detector.restore(vec![1, 2, 3]).is_ok());
}

#[test]
fn an_endless_loop_is_cut() {
    let fault = fault("(loop $again (br $again)) (unreachable)");
    assert_eq!(fault.to_string(), "took more than 10 ms of processor time");
}

#[test]
fn traps_and_deep_recursion_are_cut() {
    assert_eq!(fault("(unreachable)").to_string(), "wasm `unreachable` instruction executed");
    let deeper =
        "(call $observe (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
        (local.get 6) (local.get 7) (local.get 8))";
    assert_eq!(fault(deeper).to_string(), "used up its stack of 524288 bytes");
    assert!(fault("(i32.load (i32.const -4))").to_string().contains("out of bounds memory access"));
}

#[test]
fn memory_grows_to_the_limit_and_not_beyond() {
    // Grows until it is told no, then says what it has in `actual`.
    let grow = answering(
        "(loop $more (br_if $more (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))
         (i32.store8 (i32.const 200) (i32.const 1))
         (f64.store (i32.const 208) (f64.convert_i32_u (memory.size)))",
    );
    let mut detector = Guest { observe: &grow, ..GOOD }.open().unwrap();
    assert_eq!(detector.observe(record(), 0).unwrap().actual, Some(512.0));
}

#[test]
fn scores_that_are_none_are_refused() {
    let scored = |score: &str| fault(&answering(&format!("(f32.store (i32.const 128) (f32.const {score}))")));
    assert_eq!(scored("nan").to_string(), "bad answer: score is NaN, not within 0..=1");
    assert_eq!(scored("inf").to_string(), "bad answer: score is inf, not within 0..=1");
    assert_eq!(scored("1.5").to_string(), "bad answer: score is 1.5, not within 0..=1");
    assert_eq!(scored("-1").to_string(), "bad answer: score is -1, not within 0..=1");
}

#[test]
fn answers_that_are_too_long_or_lie_elsewhere_are_refused() {
    let reason = |at: u32, length: u32| {
        answering(&format!(
            "(i32.store (i32.const 216) (i32.const {at})) (i32.store (i32.const 220) (i32.const {length}))"
        ))
    };
    // A gigabyte, of which the guest has two pages.
    let error = fault(&reason(512, 1 << 30)).to_string();
    assert!(error.contains("out of bounds"), "{error}");
    // As much as it may say, one more, ten times; from pages that it does have.
    let limit = oddline_component_host::limits::MAX_ANSWER_BYTES as u32;
    let said = |length: u32| {
        let observe = reason(65_536, length);
        Guest { pages: 200, observe: &observe, ..GOOD }.open().unwrap().observe(record(), 0)
    };
    let longest = said(limit - 1_024).unwrap().reason.unwrap();
    assert!(longest.len() <= 4_096, "what is kept of it is short");
    for length in [limit + 1, 10 * limit] {
        let error = said(length).unwrap_err().to_string();
        assert!(error.contains("too much") || error.contains("fuel"), "{error}");
    }
}

#[test]
fn answers_of_no_meaning_are_refused() {
    // The discriminant of an option is 0 or 1.
    let error = fault(&answering("(i32.store8 (i32.const 136) (i32.const 7))")).to_string();
    assert!(error.contains("discriminant"), "{error}");
    let error = fault(&answering("(i32.store8 (i32.const 512) (i32.const 255))")).to_string();
    assert!(error.contains("utf-8"), "{error}");
    let error = fault("(i32.const 129)").to_string();
    assert!(error.contains("aligned"), "{error}");
    let mut detector = GOOD.open().unwrap();
    let error = detector.observe_all(vec![record(), record()], 0).unwrap_err();
    assert_eq!(error.to_string(), "bad answer: 0 verdicts for 2 records");
}

#[test]
fn control_characters_stay_out() {
    let observe = answering("(i32.store8 (i32.const 513) (i32.const 27))");
    let verdict = Guest { observe: &observe, ..GOOD }.open().unwrap().observe(record(), 0).unwrap();
    assert_eq!(verdict.reason.as_deref(), Some("o\u{1b}d"), "cleaned when it is shown, see `convert`");
}

#[test]
fn options_that_are_refused_are_told_in_the_guests_words() {
    let error = Guest { configure: "(i32.store8 (i32.const 604) (i32.const 1)) (i32.store (i32.const 608) (i32.const 516)) (i32.store (i32.const 612) (i32.const 5)) (i32.const 604)", ..GOOD }.open().unwrap_err();
    assert_eq!(error, Refused::Options("guest".to_owned()));
    let error = Guest { configure: "(unreachable)", ..GOOD }.open().unwrap_err();
    assert_eq!(error.to_string(), "does not start: wasm `unreachable` instruction executed");
}

#[test]
fn options_are_bounded() {
    let component = GOOD.component();
    let options = |count: usize, bytes: usize| {
        let value = "v".repeat(bytes.saturating_sub(count * 3) / count);
        let option = |number: usize| (format!("{:03}", number % 1_000), value.clone());
        Detector::start(&component, &(0..count).map(option).collect::<Vec<_>>())
    };
    assert!(options(100, 0).is_ok());
    for count in [101, 1_000] {
        let words = format!(
            "refuses its options: {count} options of {} bytes, more than the limit of 100 options and 1048576 bytes",
            count * 3
        );
        assert_eq!(options(count, 0).unwrap_err().to_string(), words);
    }
    assert!(options(1, 10 << 20).is_err() && options(1, (1 << 20) + 1).is_err());
}
