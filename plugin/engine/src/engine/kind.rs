//! What is asked of every hit of a rule, worked out once a rule. Takes a rule set, gives one answer for each of its rules, in
//! their order.

use crate::{detect::address::Family, rules::RuleSet, verdict::RuleHit};

/// What a rule's hits have in common.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kind {
    pub(super) family: Family,
    pub(super) is_level_only: bool,
}

impl Kind {
    /// The kind of a hit, also of a rule that is not in the set.
    pub(super) fn of(hit: &RuleHit, rules: &RuleSet) -> Kind {
        Kind { family: Family::of(hit), is_level_only: rules.is_level_only(&hit.name) }
    }

    /// The kinds of a set's rules.
    pub(super) fn of_all(rules: &RuleSet) -> Box<[Kind]> {
        rules.hits().map(|hit| Kind::of(&hit, rules)).collect()
    }
}
