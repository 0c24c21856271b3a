//! What templates were called before they generalised: the id of now for an old one, and the old one whose advice goes on
//! to hold for the id of now. Bounded; must not know how templates come to generalise.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    advice::{AdviceTable, Class},
    memory::IdMap,
    summary::{Alias, MAX_SUMMARY_ALIASES},
    verdict::TemplateId,
};

/// Renamed templates remembered; past it the memory is emptied (advice carries the aliases that matter).
const MAX_ALIASES: usize = 10_000;
/// Renamings that are followed one after the other.
const MAX_STEPS: usize = 16;

/// The names.
#[derive(Debug, Default)]
pub(crate) struct Aliases {
    /// Old id to the one that took its place.
    next: IdMap<TemplateId>,
    /// Id of now to an old one with a row of advice.
    former: IdMap<TemplateId>,
    /// What no summary has told yet; past the bound the oldest are not told at all.
    untold: VecDeque<Alias>,
}

impl Aliases {
    /// Notes that `new`, with this text, has taken the place of these.
    pub(crate) fn renamed(
        &mut self,
        olds: &[TemplateId],
        new: TemplateId,
        text: &Arc<str>,
        advice: &AdviceTable,
    ) {
        if self.next.len() >= MAX_ALIASES {
            self.next.clear();
            self.former.clear();
        }
        let olds = olds.iter().copied().filter(|old| *old != new);
        let mut advised = Vec::new();
        for old in olds {
            self.next.insert(old.0, new);
            // A name that comes back is nobody's old one.
            self.next.remove(&new.0);
            if self.untold.len() >= MAX_SUMMARY_ALIASES {
                self.untold.pop_front();
            }
            self.untold.push_back(Alias { old, new, text: text.to_string() });
            let former = self.former.remove(&old.0);
            advised.extend(if advice.class(old).is_some() { Some(old) } else { former });
        }
        self.inherit(new, advised, advice);
    }

    /// The id of now.
    pub(crate) fn current(&self, id: TemplateId) -> TemplateId {
        let mut current = id;
        for _ in 0..MAX_STEPS {
            match self.next.get(&current.0) {
                Some(next) => current = *next,
                None => break,
            }
        }
        current
    }

    /// The old id whose advice holds for this one, if it has none of its own.
    pub(crate) fn former(&self, id: TemplateId) -> Option<TemplateId> {
        self.former.get(&id.0).copied()
    }

    /// Other advice is in force.
    pub(crate) fn reread(&mut self, advice: &AdviceTable) {
        self.former.clear();
        let advised = self.next.keys().map(|old| TemplateId(*old)).filter(|old| advice.class(*old).is_some());
        let mut pairs: Vec<_> = advised.map(|old| (self.current(old), old)).collect();
        pairs.sort_unstable();
        for group in pairs.chunk_by(|left, right| left.0 == right.0) {
            let olds = group.iter().map(|(_, old)| *old).collect();
            if let Some((new, _)) = group.first() {
                self.inherit(*new, olds, advice);
            }
        }
    }

    /// What goes into the next summary, in the order in which it happened.
    pub(crate) fn take_untold(&mut self) -> Vec<Alias> {
        std::mem::take(&mut self.untold).into()
    }

    /// For the snapshot, in order.
    pub(crate) fn pairs(&self) -> Vec<(TemplateId, TemplateId)> {
        let mut pairs: Vec<_> = self.next.iter().map(|(old, new)| (TemplateId(*old), *new)).collect();
        pairs.sort_unstable();
        pairs
    }

    /// From the snapshot.
    pub(crate) fn restore(&mut self, pairs: Vec<(TemplateId, TemplateId)>, advice: &AdviceTable) {
        self.next = pairs.into_iter().take(MAX_ALIASES).map(|(old, new)| (old.0, new)).collect();
        self.reread(advice);
    }

    /// Where all of them agree, their advice holds; where they do not, the sidecar is asked anew.
    fn inherit(&mut self, new: TemplateId, mut olds: Vec<TemplateId>, advice: &AdviceTable) {
        olds.sort_unstable();
        let mut classes = olds.iter().filter_map(|old| advice.class(*old));
        let first: Option<Class> = classes.next();
        if classes.all(|class| Some(class) == first)
            && let Some(old) = olds.first()
        {
            self.former.insert(new.0, *old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::{Advice, TemplateAdvice};

    fn id(text: &str) -> TemplateId {
        TemplateId::of(text)
    }

    fn advice(rows: &[(&str, Class)]) -> AdviceTable {
        let row = |(text, class): &(&str, Class)| {
            let row = TemplateAdvice {
                text: (*text).to_owned(),
                class: *class,
                score: 0.0,
                similarity: None,
                nearest: None,
                rate: None,
                expires: None,
            };
            (id(text), row)
        };
        AdviceTable::new(Advice { templates: rows.iter().map(row).collect(), ..Advice::default() })
    }

    fn rename(aliases: &mut Aliases, olds: &[&str], new: &str, advice: &AdviceTable) {
        let olds: Vec<_> = olds.iter().map(|old| id(old)).collect();
        aliases.renamed(&olds, id(new), &new.into(), advice);
    }

    #[test]
    fn advice_follows_a_name_over_every_step() {
        let advice = advice(&[("a", Class::Exception)]);
        let mut aliases = Aliases::default();
        rename(&mut aliases, &["a", "b"], "c", &advice);
        rename(&mut aliases, &["c"], "d", &advice);
        assert_eq!((aliases.former(id("d")), aliases.former(id("c"))), (Some(id("a")), None));
        assert_eq!(aliases.current(id("b")), id("d"));
        let told: Vec<_> = aliases.take_untold().into_iter().map(|alias| (alias.old, alias.text)).collect();
        assert_eq!(told, [(id("a"), "c".into()), (id("b"), "c".into()), (id("c"), "d".into())]);
        assert!(aliases.take_untold().is_empty());
        // New advice and a restart tell the same.
        let mut restored = Aliases::default();
        restored.restore(aliases.pairs(), &advice);
        assert_eq!(restored.former(id("d")), Some(id("a")));
        restored.reread(&AdviceTable::default());
        assert_eq!(restored.former(id("d")), None);
    }

    #[test]
    fn where_the_old_ones_do_not_agree_nothing_is_taken_over() {
        let advice = advice(&[("a", Class::Normal), ("b", Class::Anomalous), ("c", Class::Normal)]);
        let mut aliases = Aliases::default();
        rename(&mut aliases, &["a", "b"], "d", &advice);
        assert_eq!(aliases.former(id("d")), None);
        rename(&mut aliases, &["a", "c"], "e", &advice);
        assert!(aliases.former(id("e")).is_some());
        aliases.reread(&advice);
        assert_eq!(aliases.former(id("d")), Some(id("b")), "only b leads there now");
    }

    #[test]
    fn bounded_at_ten_times_the_limit_and_names_may_go_round() {
        let (mut aliases, advice) = (Aliases::default(), AdviceTable::default());
        for number in 0..10 * MAX_ALIASES {
            rename(&mut aliases, &[&format!("old {number}")], &format!("new {number}"), &advice);
            assert!(aliases.next.len() <= MAX_ALIASES && aliases.untold.len() <= MAX_SUMMARY_ALIASES);
        }
        rename(&mut aliases, &["x"], "y", &advice);
        rename(&mut aliases, &["y"], "x", &advice);
        assert_eq!((aliases.current(id("x")), aliases.current(id("y"))), (id("x"), id("x")));
    }
}
