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
    reported::Reported,
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
/// Seconds for which a verdict counts that may be outdated at once.
const LOOK_AGAIN: u64 = 60;
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
    /// Outlive their rows.
    reported: Reported,
}

impl Templates {
    pub(crate) fn new(max_rows: usize, saved: Vec<TemplateState>, reported: Reported) -> Self {
        let mut templates = Templates {
            rows: HashMap::new(),
            unsaved: HashSet::new(),
            text_bytes: 0,
            max_rows,
            changed: true,
            untold: BTreeSet::new(),
            names: Names::default(),
            reported,
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
            // It may have been reported while it was looked up: then it is soon looked up again.
            Standing::Known if self.reported.contains(row.id) => {
                (Class::Normal, None, None, Some(now + LOOK_AGAIN))
            }
            Standing::Known => (Class::Normal, None, None, None),
            Standing::Alone => (Class::Anomalous, None, None, Some(now + LOOK_AGAIN)),
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

    /// Notes that a template is known from now on; an operator's exception stays one, for it says more.
    pub(crate) fn known(&mut self, id: TemplateId, text: &Arc<str>, now: u64) {
        let row = self.take_or_new(id, text, now);
        if is_exception(&row, now) {
            self.put(row);
            return;
        }
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
        self.reported.add(id);
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

    /// Whether a template may become known by itself now: nobody reported it, no rule hit it, and no operator has declared
    /// it harmless, which says more than being known.
    pub(crate) fn may_earn(&self, id: TemplateId, now: u64) -> bool {
        let spoken = |row: &TemplateState| row.flagged_by_rule > 0 || is_exception(row, now);
        !self.reported.contains(id) && !self.rows.get(&id).is_some_and(spoken)
    }

    /// Reports that are not saved yet, as a text; see [`Reported::take_unsaved`].
    pub(crate) fn take_unsaved_reports(&mut self) -> Option<String> {
        self.reported.take_unsaved()
    }

    pub(crate) fn reports_not_saved(&mut self) {
        self.reported.not_saved();
    }

    /// A template has taken the place of these. What is known of them is known of it, unless it has a standing of its own
    /// or they do not agree: then it is looked up when it comes.
    pub(crate) fn renamed(&mut self, olds: &[TemplateId], new: TemplateId, text: &Arc<str>, now: u64) {
        self.names.renamed(olds, new);
        if olds.iter().any(|old| self.reported.contains(*old)) {
            self.reported.add(new);
        }
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
            // Of a reported template the row may have been forgotten, the report is not.
            flagged_by_rule: u64::from(self.reported.contains(id)),
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
mod tests;
