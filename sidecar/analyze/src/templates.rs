//! What is remembered per template, bounded in rows and in bytes: the least recently seen goes first.
//! Knows no clock and no backend.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use oddline_engine::{Class, TemplateId};

use crate::{
    batch::{Compared, Standing},
    head,
    names::Names,
    operate::{Excepted, Exception},
    ports::TemplateState,
};

/// Bytes of template text remembered in all, so that long lines cannot make a bounded number of rows large.
const MAX_TEXT_BYTES: usize = 32 << 20;
/// Templates that operators may have declared harmless at a time. Those are never forgotten for want of room ...
pub(crate) const MAX_EXCEPTIONS: usize = 1_000;
/// ... and so this is the longest text of one, in bytes.
pub(crate) const MAX_EXCEPTION_BYTES: usize = 8 << 10;
/// Longest text of a nearest template that is kept with a row, in bytes.
const MAX_NEAREST_BYTES: usize = 256;
/// Seconds for which "unlike anything known" counts: what is known grows, so it is looked up again.
const ANOMALOUS_FOR: u64 = 900;
/// Seconds for which "like a known one" counts.
const LIKE_FOR: u64 = 6 * 3_600;

/// The memory of templates.
#[derive(Debug)]
pub(crate) struct Templates {
    rows: HashMap<TemplateId, TemplateState>,
    unsaved: HashSet<TemplateId>,
    text_bytes: usize,
    max_rows: usize,
    changed: bool,
    /// Rows that differ from what was last taken for tables.
    untold: BTreeSet<TemplateId>,
    names: Names,
}

impl Templates {
    pub(crate) fn new(max_rows: usize, saved: Vec<TemplateState>) -> Self {
        let mut templates = Templates {
            rows: HashMap::new(),
            unsaved: HashSet::new(),
            text_bytes: 0,
            max_rows,
            changed: true,
            untold: BTreeSet::new(),
            names: Names::default(),
        };
        for row in saved {
            templates.put(row);
        }
        templates.unsaved.clear();
        templates
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The standing of a template, if it has one that still counts.
    pub(crate) fn standing(&self, id: TemplateId, now: u64) -> Option<Standing> {
        let row = self.rows.get(&id).filter(|row| counts(row, now))?;
        Some(match (row.class, row.similarity, &row.nearest) {
            (Class::Exception, ..) => Standing::Exception,
            (_, Some(similarity), Some(nearest)) => Standing::Near { similarity, nearest: nearest.clone() },
            (Class::Normal, ..) => Standing::Known,
            (Class::Anomalous, ..) => Standing::Alone,
        })
    }

    /// Notes the outcome of a comparison. What an operator has declared stays.
    pub(crate) fn compared(&mut self, compared: &Compared, threshold: f32, score: f32, now: u64) {
        let template = &compared.template;
        let mut row = self.take_or_new(template.id, &template.text, now);
        if row.class == Class::Exception && counts(&row, now) {
            self.put(row);
            return;
        }
        row.last_seen = now;
        (row.class, row.similarity, row.nearest, row.expires) = match &compared.standing {
            Standing::Exception => (Class::Exception, None, None, row.expires),
            Standing::Known => (Class::Normal, None, None, None),
            Standing::Alone => (Class::Anomalous, None, None, Some(now + 60)),
            Standing::Near { similarity, nearest } => {
                // Rules are weighed where they are found, on each record: the class is about likeness alone.
                let like = *similarity >= threshold;
                let (class, seconds) =
                    if like { (Class::Normal, LIKE_FOR) } else { (Class::Anomalous, ANOMALOUS_FOR) };
                (class, Some(*similarity), Some(shorten(nearest)), Some(now + seconds))
            }
        };
        row.score = if row.class == Class::Anomalous { score.max(0.5) } else { score };
        self.change(row.id);
        self.put(row);
    }

    /// Notes that a template is known from now on.
    pub(crate) fn known(&mut self, id: TemplateId, text: &Arc<str>, now: u64) {
        let row = self.take_or_new(id, text, now);
        self.change(id);
        let (class, score) = (Class::Normal, row.score.min(0.1));
        self.put(TemplateState {
            class,
            score,
            similarity: None,
            nearest: None,
            expires: None,
            last_seen: now,
            ..row
        });
    }

    /// An operator's word: harmless until `expires` (Unix seconds; `None`: for ever). Gives whether there was room for it.
    pub(crate) fn except(&mut self, id: TemplateId, text: &Arc<str>, expires: Option<u64>, now: u64) -> bool {
        let is_one = self.rows.get(&id).is_some_and(|row| is_exception(row, now));
        if !is_one && self.rows.values().filter(|row| is_exception(row, now)).count() >= MAX_EXCEPTIONS {
            return false;
        }
        let row = self.take_or_new(id, text, now);
        self.change(id);
        self.put(TemplateState { class: Class::Exception, score: 0.0, expires, last_seen: now, ..row });
        true
    }

    /// The operator has thought better of it: the template is looked up anew. Gives whether it was an exception.
    pub(crate) fn unexcept(&mut self, id: TemplateId, now: u64) -> bool {
        let Some(row) = self.rows.get_mut(&id).filter(|row| is_exception(row, now)) else { return false };
        (row.class, row.expires) = (Class::Anomalous, Some(0));
        self.unsaved.insert(id);
        self.change(id);
        true
    }

    /// What operators have declared harmless, by id.
    pub(crate) fn exceptions(&self, now: u64) -> Vec<Exception> {
        let excepted = self.rows.values().filter(|row| is_exception(row, now));
        let mut rows: Vec<_> = excepted.map(|row| (row.id, row.text.clone(), row.expires)).collect();
        rows.sort_unstable();
        let exception = |(id, text, expires)| Exception { what: Excepted::Template { id, text }, expires };
        rows.into_iter().map(exception).collect()
    }

    /// The texts with a variable part in them: what a message may have to be called.
    pub(crate) fn general_texts(&self) -> Vec<(TemplateId, Arc<str>)> {
        let general = self.rows.values().filter(|row| row.text.contains("<*>"));
        general.map(|row| (row.id, row.text.clone())).collect()
    }

    /// A template is known no longer: it cannot earn it again, and what was cleared for its sake is looked up anew.
    pub(crate) fn reported(&mut self, id: TemplateId, text: &Arc<str>, now: u64) {
        let mut row = self.take_or_new(id, text, now);
        self.change(id);
        row.flagged_by_rule += 1;
        (row.class, row.expires) = (Class::Anomalous, Some(0));
        let text = shorten(&row.text);
        self.put(row);
        let near: Vec<_> =
            self.rows.values().filter(|row| row.nearest.as_ref() == Some(&text)).map(|row| row.id).collect();
        for id in near {
            if let Some(row) = self.rows.get_mut(&id) {
                row.expires = Some(0);
                self.unsaved.insert(id);
                self.change(id);
            }
        }
    }

    /// A template has taken the place of these. What is known of them is known of it, unless it has a standing of its own
    /// or they do not agree: then it is looked up when it comes.
    pub(crate) fn renamed(&mut self, olds: &[TemplateId], new: TemplateId, text: &Arc<str>, now: u64) {
        self.names.renamed(olds, new);
        self.change(new);
        let standing: Vec<TemplateState> =
            olds.iter().filter_map(|old| self.rows.get(old).cloned()).collect();
        let mut row = self.take_or_new(new, text, now);
        for old in &standing {
            row.seen = row.seen.saturating_add(old.seen);
            row.flagged_by_rule = row.flagged_by_rule.saturating_add(old.flagged_by_rule);
            (row.first_seen, row.last_seen) =
                (row.first_seen.min(old.first_seen), row.last_seen.max(old.last_seen));
        }
        let standing: Vec<_> = standing.iter().filter(|old| counts(old, now) && takes_sides(old)).collect();
        let agree = standing.windows(2).all(|pair| pair[0].class == pair[1].class);
        if let Some(old) = standing.first()
            && agree
            && !counts(&row, now)
        {
            (row.class, row.score, row.similarity) = (old.class, old.score, old.similarity);
            (row.nearest, row.expires) = (old.nearest.clone(), old.expires);
        }
        self.put(row);
    }

    /// Old names of templates that have a row which counts, for plugins that still use them.
    pub(crate) fn aliases(&self, now: u64) -> BTreeMap<TemplateId, TemplateId> {
        let has_row =
            |id: &TemplateId| self.rows.get(id).is_some_and(|row| counts(row, now) && takes_sides(row));
        self.names.pairs().filter(|(old, new)| has_row(new) && !has_row(old)).collect()
    }

    /// Adds a plugin's counts and gives the row.
    pub(crate) fn count(
        &mut self,
        id: TemplateId,
        text: &Arc<str>,
        records: u64,
        rule_hits: u64,
        now: u64,
    ) -> &TemplateState {
        let mut row = self.take_or_new(id, text, now);
        row.seen = row.seen.saturating_add(records);
        row.flagged_by_rule = row.flagged_by_rule.saturating_add(rule_hits);
        row.last_seen = row.last_seen.max(now);
        self.put(row)
    }

    /// A rule has hit on a record of this template.
    pub(crate) fn flagged(&mut self, id: TemplateId) {
        if let Some(row) = self.rows.get_mut(&id).filter(|row| row.flagged_by_rule == 0) {
            row.flagged_by_rule = 1;
            self.unsaved.insert(id);
        }
    }

    /// Applies a new threshold to what was cleared or confirmed under the old one.
    pub(crate) fn reclassify(&mut self, threshold: f32, now: u64) {
        let otherwise = |row: &TemplateState| {
            row.class != Class::Exception
                && row.similarity.is_some_and(|s| (s >= threshold) != (row.class == Class::Normal))
        };
        for row in self.rows.values_mut().filter(|row| counts(row, now) && otherwise(row)).collect::<Vec<_>>()
        {
            row.expires = Some(0);
            self.changed = true;
            self.untold.insert(row.id);
            self.unsaved.insert(row.id);
        }
    }

    /// Up to `limit` rows that are not saved yet. Give them back to [`Templates::not_saved`] if saving fails.
    pub(crate) fn take_unsaved(&mut self, limit: usize) -> Vec<TemplateState> {
        let ids: Vec<_> = self.unsaved.iter().take(limit).copied().collect();
        ids.iter().filter(|id| self.unsaved.remove(id)).filter_map(|id| self.rows.get(id).cloned()).collect()
    }

    pub(crate) fn not_saved(&mut self, rows: &[TemplateState]) {
        self.unsaved.extend(rows.iter().map(|row| row.id).filter(|id| self.rows.contains_key(id)));
    }

    /// All rows that plugins should hear of, if any verdict changed since the last call. What was judged before anything
    /// was known is not among them: it says nothing about the template.
    pub(crate) fn take_changed(&mut self, now: u64) -> Option<Vec<TemplateState>> {
        let rows =
            || self.rows.values().filter(|row| counts(row, now) && takes_sides(row)).cloned().collect();
        self.changed.then(rows).inspect(|_| self.changed = false)
    }

    /// Someone should hear of a row who has not, or not any more; advice as a whole stays as it is.
    pub(crate) fn asked(&mut self, id: TemplateId) {
        if self.rows.contains_key(&id) {
            self.untold.insert(id);
        }
    }

    /// The rows whose verdict changed, or was asked for, since the last call.
    pub(crate) fn take_untold(&mut self) -> BTreeSet<TemplateId> {
        std::mem::take(&mut self.untold)
    }

    /// All rows that count, with the second at which each was last seen.
    pub(crate) fn told(&self, now: u64) -> Vec<(u64, TemplateId)> {
        self.rows.values().filter(|row| counts(row, now)).map(|row| (row.last_seen, row.id)).collect()
    }

    pub(crate) fn get(&self, id: TemplateId) -> Option<&TemplateState> {
        self.rows.get(&id)
    }

    /// Notes that all advice must be told anew, or a template's row.
    pub(crate) fn change(&mut self, id: impl Into<Option<TemplateId>>) {
        self.changed = true;
        self.untold.extend(id.into());
    }

    fn take_or_new(&mut self, id: TemplateId, text: &Arc<str>, now: u64) -> TemplateState {
        if let Some(row) = self.rows.remove(&id) {
            self.text_bytes -= row.text.len();
            return row;
        }
        TemplateState {
            id,
            text: text.clone(),
            // Counted, not judged: the class does not count before a comparison has set it.
            class: Class::Anomalous,
            expires: Some(0),
            score: 0.0,
            similarity: None,
            nearest: None,
            seen: 0,
            first_seen: now,
            last_seen: now,
            flagged_by_rule: 0,
        }
    }

    fn put(&mut self, row: TemplateState) -> &TemplateState {
        let id = row.id;
        self.text_bytes += row.text.len();
        self.unsaved.insert(id);
        if let Some(old) = self.rows.insert(id, row) {
            self.text_bytes -= old.text.len();
        }
        self.evict(id);
        &self.rows[&id]
    }

    /// Frees a twentieth at once, so that the sorting is paid rarely.
    fn evict(&mut self, keep: TemplateId) {
        if self.rows.len() <= self.max_rows && self.text_bytes <= MAX_TEXT_BYTES {
            return;
        }
        // Noise must not make an operator's word forgotten: exceptions are few, and stay.
        let now = self.rows.values().map(|row| row.last_seen).max().unwrap_or_default();
        let mine = |row: &&TemplateState| !is_exception(row, now);
        let mut by_age: Vec<_> = self.rows.values().filter(mine).map(|row| (row.last_seen, row.id)).collect();
        by_age.sort_unstable();
        let (rows, bytes) = (self.max_rows - self.max_rows / 20, MAX_TEXT_BYTES - MAX_TEXT_BYTES / 20);
        for (_, id) in by_age {
            if self.rows.len() <= rows && self.text_bytes <= bytes {
                break;
            }
            if id != keep
                && let Some(row) = self.rows.remove(&id)
            {
                self.text_bytes -= row.text.len();
                self.unsaved.remove(&id);
                self.untold.remove(&id);
                self.changed = true;
            }
        }
    }
}

pub(crate) fn counts(row: &TemplateState, now: u64) -> bool {
    row.expires.is_none_or(|expires| now < expires)
}

fn is_exception(row: &TemplateState, now: u64) -> bool {
    row.class == Class::Exception && counts(row, now)
}

/// Whether it was compared with something, or an operator has spoken.
pub(crate) fn takes_sides(row: &TemplateState) -> bool {
    row.class != Class::Anomalous || row.similarity.is_some()
}

fn shorten(text: &Arc<str>) -> Arc<str> {
    match head(text, MAX_NEAREST_BYTES) {
        whole if whole.len() == text.len() => text.clone(),
        head => head.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Screened;

    fn compared(text: &str, standing: Standing) -> Compared {
        Compared { template: Screened { id: TemplateId::of(text), text: text.into() }, standing }
    }

    fn near(similarity: f32, nearest: &str) -> Standing {
        Standing::Near { similarity, nearest: nearest.into() }
    }

    #[test]
    fn rows_stay_within_their_number_at_ten_times_the_limit_and_the_newest_stay() {
        let mut templates = Templates::new(100, Vec::new());
        for second in 0..1_000u64 {
            templates.compared(&compared(&format!("template {second}"), Standing::Known), 0.6, 0.0, second);
            assert!(templates.len() <= 100);
        }
        assert!(templates.standing(TemplateId::of("template 999"), 999).is_some());
        assert!(templates.standing(TemplateId::of("template 0"), 999).is_none());
    }

    #[test]
    fn text_stays_within_its_bytes() {
        let mut templates = Templates::new(1_000_000, Vec::new());
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
        let mut templates = Templates::new(10, Vec::new());
        templates.compared(&compared("a", near(0.2, "b")), 0.6, 0.7, 1_000);
        let id = TemplateId::of("a");
        assert_eq!(templates.standing(id, 1_000 + ANOMALOUS_FOR - 1), Some(near(0.2, "b")));
        assert_eq!(templates.standing(id, 1_000 + ANOMALOUS_FOR), None);
        templates.known(id, &"a".into(), 3_000);
        assert_eq!(templates.standing(id, u64::MAX), Some(Standing::Known));
    }

    #[test]
    fn plugins_do_not_hear_of_what_was_judged_before_anything_was_known() {
        let mut templates = Templates::new(10, Vec::new());
        templates.compared(&compared("a", Standing::Alone), 0.6, 0.5, 1);
        templates.compared(&compared("b", near(0.2, "c")), 0.6, 0.7, 1);
        assert_eq!(templates.standing(TemplateId::of("a"), 2), Some(Standing::Alone));
        let told: Vec<_> = templates.take_changed(2).unwrap().into_iter().map(|row| row.id).collect();
        assert_eq!(told, [TemplateId::of("b")]);
        assert!(templates.take_changed(2).is_none());
    }

    #[test]
    fn counting_alone_gives_no_standing() {
        let mut templates = Templates::new(10, Vec::new());
        assert_eq!(templates.count(TemplateId::of("a"), &"a".into(), 5, 0, 10).seen, 5);
        assert_eq!(templates.count(TemplateId::of("a"), &"a".into(), 2, 1, 20).seen, 7);
        assert_eq!(templates.standing(TemplateId::of("a"), 20), None);
    }

    #[test]
    fn a_report_takes_with_it_what_was_cleared_for_its_sake() {
        let mut templates = Templates::new(10, Vec::new());
        templates.known(TemplateId::of("b"), &"b".into(), 1);
        templates.compared(&compared("a", near(0.9, "b")), 0.6, 0.1, 1);
        templates.reported(TemplateId::of("b"), &"b".into(), 2);
        assert_eq!(templates.standing(TemplateId::of("b"), 2), None);
        assert_eq!(templates.standing(TemplateId::of("a"), 2), None);
    }

    #[test]
    fn an_exception_stands_until_it_expires() {
        let mut templates = Templates::new(10, Vec::new());
        templates.except(TemplateId::of("a"), &"a".into(), Some(100), 1);
        templates.compared(&compared("a", near(0.1, "b")), 0.6, 0.9, 50);
        assert_eq!(templates.standing(TemplateId::of("a"), 99), Some(Standing::Exception));
        templates.compared(&compared("a", near(0.1, "b")), 0.6, 0.9, 100);
        assert_eq!(templates.standing(TemplateId::of("a"), 101), Some(near(0.1, "b")));
    }

    #[test]
    fn exceptions_are_bounded_and_outlive_noise() {
        let mut templates = Templates::new(2_000, Vec::new());
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
        let mut templates = Templates::new(10, Vec::new());
        templates.compared(&compared("a", near(0.62, "x")), 0.6, 0.1, 1);
        templates.compared(&compared("c", near(0.9, "x")), 0.6, 0.1, 1);
        templates.reclassify(0.7, 2);
        assert_eq!(templates.standing(TemplateId::of("a"), 2), None);
        assert!(templates.standing(TemplateId::of("c"), 2).is_some());
    }

    #[test]
    fn what_could_not_be_saved_is_offered_again() {
        let mut templates = Templates::new(10, Vec::new());
        templates.known(TemplateId::of("a"), &"a".into(), 1);
        let rows = templates.take_unsaved(10);
        assert!(rows.len() == 1 && templates.take_unsaved(10).is_empty());
        templates.not_saved(&rows);
        assert_eq!(templates.take_unsaved(10), rows);
    }
}
