//! Detections and conditions of Sigma: takes the tree, gives one expression, or the first thing in it that has none here.

use std::collections::BTreeMap;

use rsigma_parser::{
    ArrayQuantifier, ConditionExpr, Detection, DetectionItem, Detections, FieldSpec, Quantifier, SigmaValue,
};

use super::{source::SourceNames, value};
use crate::expression::{Expr, Op};

/// Most combinations that `N of …` may be written out as.
const MAX_COMBINATIONS: usize = 64;
/// Deepest nesting of conditions and detections.
const MAX_DEPTH: usize = 32;

/// The whole detection section; several conditions are alternatives.
pub(super) fn expression(detections: &Detections, names: &SourceNames<'_>) -> Result<Expr, String> {
    let named = detections.named.iter().map(|(name, detection)| (name.as_str(), detection)).collect();
    let scope = Scope { named, names };
    let conditions: Result<Vec<Expr>, String> =
        detections.conditions.iter().map(|condition| scope.condition(condition, 0)).collect();
    match conditions? {
        none if none.is_empty() => Err("has no condition".to_owned()),
        conditions => Ok(Expr::any(conditions)),
    }
}

struct Scope<'a> {
    named: BTreeMap<&'a str, &'a Detection>,
    names: &'a SourceNames<'a>,
}

impl Scope<'_> {
    fn condition(&self, condition: &ConditionExpr, depth: usize) -> Result<Expr, String> {
        if depth > MAX_DEPTH {
            return Err(format!("its condition is nested more than {MAX_DEPTH} deep"));
        }
        let all = |parts: &[ConditionExpr]| {
            parts.iter().map(|part| self.condition(part, depth + 1)).collect::<Result<Vec<_>, _>>()
        };
        match condition {
            ConditionExpr::And(parts) => all(parts).map(Expr::all),
            ConditionExpr::Or(parts) => all(parts).map(Expr::any),
            ConditionExpr::Not(part) => self.condition(part, depth + 1).map(Expr::not),
            ConditionExpr::Identifier(name) => {
                let detection = self.named.get(name.as_str());
                let detection =
                    detection.ok_or_else(|| format!("its condition names `{name}`, which it lacks"))?;
                self.detection(detection, 0)
            }
            ConditionExpr::Selector { quantifier, pattern } => {
                let chosen = self.named.iter().filter(|(name, _)| pattern.matches_detection_name(name));
                let parts: Result<Vec<Expr>, String> =
                    chosen.map(|(_, detection)| self.detection(detection, 0)).collect();
                let parts = parts?;
                if parts.is_empty() {
                    return Err(format!("its condition says `{condition}`, and nothing is named so"));
                }
                match quantifier {
                    Quantifier::Any => Ok(Expr::any(parts)),
                    Quantifier::All => Ok(Expr::all(parts)),
                    Quantifier::Count(count) => some(parts, usize::try_from(*count).unwrap_or(usize::MAX)),
                }
            }
        }
    }

    fn detection(&self, detection: &Detection, depth: usize) -> Result<Expr, String> {
        if depth > MAX_DEPTH {
            return Err(format!("its detection is nested more than {MAX_DEPTH} deep"));
        }
        let each = |parts: &[Detection]| {
            parts.iter().map(|part| self.detection(part, depth + 1)).collect::<Result<Vec<_>, _>>()
        };
        match detection {
            Detection::AllOf(items) => {
                let tests: Result<Vec<Expr>, String> = items.iter().map(|item| self.item(item)).collect();
                match tests? {
                    none if none.is_empty() => Err("has an empty detection".to_owned()),
                    tests => Ok(Expr::all(tests)),
                }
            }
            Detection::AnyOf(parts) => each(parts).map(Expr::any),
            Detection::And(parts) => each(parts).map(Expr::all),
            Detection::Keywords(values) => self.keywords(values),
            Detection::ArrayMatch { field, quantifier: ArrayQuantifier::Any, body } => {
                self.member(field, body, depth + 1)
            }
            Detection::ArrayMatch { field, .. } => Err(format!(
                "{field}: asks something of every member of a list, which expressions here cannot"
            )),
            Detection::Conditional { .. } => Err("has a condition within a list's members".to_owned()),
        }
    }

    /// What some member of a list must be. Paths lead through lists and any element will do, so one test means the same
    /// here; several of one and the same member do not.
    fn member(&self, list: &str, body: &Detection, depth: usize) -> Result<Expr, String> {
        if depth > MAX_DEPTH {
            return Err(format!("its detection is nested more than {MAX_DEPTH} deep"));
        }
        let found = match body {
            Detection::AllOf(items) if items.len() == 1 => Expr::all(
                items.iter().map(|item| self.item(&below(list, item))).collect::<Result<Vec<_>, _>>()?,
            ),
            Detection::AnyOf(parts) => Expr::any(
                parts.iter().map(|part| self.member(list, part, depth + 1)).collect::<Result<Vec<_>, _>>()?,
            ),
            _ => return Err(of_one_member(list)),
        };
        if is_one_test(&found) { Ok(found) } else { Err(of_one_member(list)) }
    }

    fn keywords(&self, values: &[SigmaValue]) -> Result<Expr, String> {
        let field = FieldSpec::new(None, Vec::new());
        self.item(&DetectionItem { field, values: values.to_vec() })
    }

    fn item(&self, item: &DetectionItem) -> Result<Expr, String> {
        match &item.field.name {
            Some(name) => value::test(item, self.names.of(name), false),
            None => value::test(item, "message", true),
        }
    }
}

/// An item of a list's member, as one of the record.
fn below(list: &str, item: &DetectionItem) -> DetectionItem {
    let name = item.field.name.as_ref().map_or_else(|| list.to_owned(), |name| format!("{list}.{name}"));
    DetectionItem {
        field: FieldSpec::new(Some(name), item.field.modifiers.clone()),
        values: item.values.clone(),
    }
}

/// Whether it holds for a list where, and only where, it holds for one of its members alone.
fn is_one_test(expression: &Expr) -> bool {
    match expression {
        Expr::Test(test) => test.op != Op::Missing,
        Expr::Any(parts) => parts.iter().all(is_one_test),
        Expr::All(_) | Expr::Not(_) => false,
    }
}

fn of_one_member(list: &str) -> String {
    format!(
        "{list}: asks for several things of one and the same member of a list, which expressions here cannot"
    )
}

/// At least `count` of these, written out.
fn some(parts: Vec<Expr>, count: usize) -> Result<Expr, String> {
    if count == 0 || count > parts.len() {
        return Err(format!("asks for {count} of {} detections", parts.len()));
    }
    let mut chosen: Vec<Vec<Expr>> = vec![Vec::new()];
    for (place, part) in parts.iter().enumerate() {
        let left = parts.len() - place;
        let with: Vec<Vec<Expr>> = chosen
            .iter()
            .filter(|group| group.len() < count)
            .map(|group| group.iter().chain([part]).cloned().collect())
            .collect();
        // A group that can no longer be filled is dropped.
        chosen.retain(|group| group.len() + left > count || group.len() == count);
        chosen.extend(with);
        if chosen.len() > MAX_COMBINATIONS * 4 {
            return Err(format!("`{count} of` {} detections is too many combinations", parts.len()));
        }
    }
    chosen.retain(|group| group.len() == count);
    Ok(Expr::any(chosen.into_iter().map(Expr::all).collect()))
}
