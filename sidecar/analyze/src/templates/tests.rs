//! What is remembered, what is forgotten, and what an operator's word does.

use super::*;
use crate::batch::Screened;

fn templates_of(max_rows: usize) -> Templates {
    Templates::new(max_rows, Vec::new(), Reported::default())
}

fn compared(text: &str, standing: Standing) -> Compared {
    Compared { template: Screened { id: TemplateId::of(text), text: text.into() }, standing }
}

fn near(similarity: f32, nearest: &str) -> Standing {
    Standing::Near { similarity, nearest: nearest.into() }
}

#[test]
fn rows_stay_within_their_number_at_ten_times_the_limit_and_the_newest_stay() {
    let mut templates = templates_of(100);
    for second in 0..1_000u64 {
        templates.compared(&compared(&format!("template {second}"), Standing::Known), 0.6, 0.0, second);
        assert!(templates.len() <= 100);
    }
    assert!(templates.standing(TemplateId::of("template 999"), 999).is_some());
    assert!(templates.standing(TemplateId::of("template 0"), 999).is_none());
}

#[test]
fn text_stays_within_its_bytes() {
    let mut templates = templates_of(1_000_000);
    for number in 0..80 {
        let text = format!("{number}{}", "x".repeat(1 << 20));
        templates.compared(&compared(&text, Standing::Known), 0.6, 0.0, number);
    }
    assert!(templates.len() <= 32 && templates.text_bytes <= MAX_TEXT_BYTES, "{}", templates.len());
    let held: usize = templates.rows.values().map(|row| row.text.len()).sum();
    assert_eq!(held, templates.text_bytes);
}

#[test]
fn verdicts_expire_so_that_they_follow_what_is_known() {
    let mut templates = templates_of(10);
    templates.compared(&compared("a", near(0.2, "b")), 0.6, 0.7, 1_000);
    let id = TemplateId::of("a");
    assert_eq!(templates.standing(id, 1_000 + ANOMALOUS_FOR - 1), Some(near(0.2, "b")));
    assert_eq!(templates.standing(id, 1_000 + ANOMALOUS_FOR), None);
    templates.known(id, &"a".into(), 3_000);
    assert_eq!(templates.standing(id, u64::MAX), Some(Standing::Known));
}

#[test]
fn plugins_do_not_hear_of_what_was_judged_before_anything_was_known() {
    let mut templates = templates_of(10);
    templates.compared(&compared("a", Standing::Alone), 0.6, 0.5, 1);
    templates.compared(&compared("b", near(0.2, "c")), 0.6, 0.7, 1);
    assert_eq!(templates.standing(TemplateId::of("a"), 2), Some(Standing::Alone));
    let told: Vec<_> = templates.take_changed(2).unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(told, [TemplateId::of("b")]);
    assert!(templates.take_changed(2).is_none());
}

#[test]
fn counting_alone_gives_no_standing() {
    let mut templates = templates_of(10);
    assert_eq!(templates.count(TemplateId::of("a"), &"a".into(), 5, 0, 10).seen, 5);
    assert_eq!(templates.count(TemplateId::of("a"), &"a".into(), 2, 1, 20).seen, 7);
    assert_eq!(templates.standing(TemplateId::of("a"), 20), None);
}

#[test]
fn a_report_takes_with_it_what_was_cleared_for_its_sake() {
    let mut templates = templates_of(10);
    templates.known(TemplateId::of("b"), &"b".into(), 1);
    templates.compared(&compared("a", near(0.9, "b")), 0.6, 0.1, 1);
    templates.reported(TemplateId::of("b"), &"b".into(), 2);
    assert_eq!(templates.standing(TemplateId::of("b"), 2), None);
    assert_eq!(templates.standing(TemplateId::of("a"), 2), None);
}

#[test]
fn an_exception_stands_until_it_expires() {
    let mut templates = templates_of(10);
    templates.except(TemplateId::of("a"), &"a".into(), Some(100), 1);
    templates.compared(&compared("a", near(0.1, "b")), 0.6, 0.9, 50);
    assert_eq!(templates.standing(TemplateId::of("a"), 99), Some(Standing::Exception));
    templates.compared(&compared("a", near(0.1, "b")), 0.6, 0.9, 100);
    assert_eq!(templates.standing(TemplateId::of("a"), 101), Some(near(0.1, "b")));
}

#[test]
fn exceptions_are_bounded_and_outlive_noise() {
    let mut templates = templates_of(2_000);
    for number in 0..10 * MAX_EXCEPTIONS {
        let text: Arc<str> = format!("exception {number}").into();
        let taken = templates.except(TemplateId::of(&text), &text, None, 1);
        assert_eq!(taken, number < MAX_EXCEPTIONS, "{number}");
    }
    let again: Arc<str> = "exception 0".into();
    assert!(
        templates.except(TemplateId::of(&again), &again, Some(30_000), 1),
        "one that is there may change"
    );
    for second in 2..20_000 {
        templates.compared(&compared(&format!("noise {second}"), Standing::Known), 0.6, 0.0, second);
    }
    assert!(templates.len() <= 2_000);
    assert_eq!(templates.exceptions(29_999).len(), MAX_EXCEPTIONS);
    assert_eq!(templates.exceptions(30_000).len(), MAX_EXCEPTIONS - 1, "one has expired");
    let id = TemplateId::of("exception 7");
    assert!(templates.unexcept(id, 9) && !templates.unexcept(id, 9));
    assert_eq!(templates.standing(id, 9), None, "it is looked up anew");
}

#[test]
fn a_new_threshold_reopens_only_what_it_decides_otherwise() {
    let mut templates = templates_of(10);
    templates.compared(&compared("a", near(0.62, "x")), 0.6, 0.1, 1);
    templates.compared(&compared("c", near(0.9, "x")), 0.6, 0.1, 1);
    templates.reclassify(0.7, 2);
    assert_eq!(templates.standing(TemplateId::of("a"), 2), None);
    assert!(templates.standing(TemplateId::of("c"), 2).is_some());
}

#[test]
fn what_could_not_be_saved_is_offered_again() {
    let mut templates = templates_of(10);
    templates.known(TemplateId::of("a"), &"a".into(), 1);
    let rows = templates.take_unsaved(10);
    assert!(rows.len() == 1 && templates.take_unsaved(10).is_empty());
    templates.not_saved(&rows);
    assert_eq!(templates.take_unsaved(10), rows);
}

#[test]
fn a_report_outlives_noise_and_its_row() {
    let mut templates = templates_of(100);
    let text: Arc<str> = "reported".into();
    let id = TemplateId::of(&text);
    templates.reported(id, &text, 1);
    for second in 2..1_000 {
        templates.compared(&compared(&format!("noise {second}"), Standing::Known), 0.6, 0.0, second);
    }
    assert!(templates.get(id).is_none(), "its row is forgotten");
    assert!(!templates.may_earn(id, 1_000));
    assert_eq!(templates.count(id, &text, 1_000, 0, 1_000).flagged_by_rule, 1);
}

#[test]
fn a_report_goes_over_to_the_template_that_takes_its_place() {
    let mut templates = templates_of(100);
    let (old, new) = (TemplateId::of("user 1"), TemplateId::of("user <*>"));
    templates.reported(old, &"user 1".into(), 1);
    for second in 2..1_000 {
        templates.compared(&compared(&format!("noise {second}"), Standing::Known), 0.6, 0.0, second);
    }
    templates.renamed(&[old], new, &"user <*>".into(), 1_000);
    assert!(!templates.may_earn(new, 1_000));
    assert!(templates.get(new).is_some_and(|row| row.flagged_by_rule > 0));
}

#[test]
fn what_an_operator_or_a_rule_has_spoken_on_may_not_earn() {
    let mut templates = templates_of(10);
    let [quiet, hit, excepted] = ["quiet", "hit", "excepted"].map(TemplateId::of);
    templates.count(hit, &"hit".into(), 1, 1, 1);
    templates.except(excepted, &"excepted".into(), Some(100), 1);
    assert_eq!([quiet, hit, excepted].map(|id| templates.may_earn(id, 99)), [true, false, false]);
    assert!(templates.may_earn(excepted, 100), "it has expired");
}

#[test]
fn what_was_reported_while_it_was_looked_up_is_looked_up_again() {
    let mut templates = templates_of(10);
    let id = TemplateId::of("a");
    templates.reported(id, &"a".into(), 1);
    templates.compared(&compared("a", Standing::Known), 0.6, 0.0, 1);
    assert_eq!(templates.standing(id, 60), Some(Standing::Known));
    assert_eq!(templates.standing(id, 61), None);
}
