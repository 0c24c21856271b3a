//! Field conditions that no record can meet: takes a rule's expressions, gives the two tests that exclude each other.

use std::collections::BTreeMap;

use oddline_engine::rules::field::{self, Expr, Literal, Number, Op, Test};

/// Why no record meets all of these expressions; `None` if one might.
pub(super) fn find(fields: &[String]) -> Option<String> {
    let parsed: Vec<Expr> = fields.iter().filter_map(|text| field::parse(text).ok()).collect();
    let mut tests = Vec::new();
    parsed.iter().for_each(|expr| conjuncts(expr, &mut tests));
    let mut paths: BTreeMap<String, Vec<&Op>> = BTreeMap::new();
    for Test { path, op } in tests {
        paths.entry(path.to_string()).or_default().push(op);
    }
    paths.into_iter().find_map(|(path, ops)| {
        ops.iter().enumerate().find_map(|(place, one)| {
            let other =
                ops.iter().skip(place + 1).find(|other| exclude(one, other) || exclude(other, one))?;
            Some(format!("{path} can never be both {} and {}", told(one), told(other)))
        })
    })
}

/// The tests that must all hold.
fn conjuncts<'e>(expr: &'e Expr, out: &mut Vec<&'e Test>) {
    match expr {
        Expr::All(parts) => parts.iter().for_each(|part| conjuncts(part, out)),
        Expr::Test(test) => out.push(test),
        Expr::Any(_) | Expr::Not(_) => {}
    }
}

fn exclude(one: &Op, other: &Op) -> bool {
    match (one, other) {
        (Op::Missing, Op::Missing) => false,
        (Op::Missing, _) => true,
        (Op::Is(a), Op::Is(b)) => differ(a, b),
        (Op::Is(a), Op::In(list)) => list.iter().all(|b| differ(a, b)),
        (Op::Is(a), Op::IsNot(b)) => !differ(a, b),
        (Op::In(a), Op::In(b)) => a.iter().all(|a| b.iter().all(|b| differ(a, b))),
        (Op::Is(Literal { number: Some(number), .. }), range) => outside(*number, range),
        (Op::Is(Literal { text, number: None }), Op::Contains(part)) => {
            !holds(text, part, |a, b| a.contains(b))
        }
        (Op::Is(Literal { text, number: None }), Op::StartsWith(part)) => {
            !holds(text, part, |a, b| a.starts_with(b))
        }
        (Op::Is(Literal { text, number: None }), Op::EndsWith(part)) => {
            !holds(text, part, |a, b| a.ends_with(b))
        }
        (Op::More(low) | Op::AtLeast(low), Op::Less(high)) => low >= high,
        (Op::More(low), Op::AtMost(high)) => low >= high,
        (Op::AtLeast(low), Op::AtMost(high)) => low > high,
        (Op::Between(low, high), Op::Less(limit)) => low >= limit || low > high,
        (Op::Between(low, _), Op::AtMost(limit)) => low > limit,
        (Op::Between(_, high), Op::More(limit)) => high <= limit,
        (Op::Between(_, high), Op::AtLeast(limit)) => high < limit,
        (Op::Between(low, high), Op::Between(other_low, other_high)) => high < other_low || other_high < low,
        _ => false,
    }
}

fn differ(a: &Literal, b: &Literal) -> bool {
    match (a.number, b.number) {
        (Some(a), Some(b)) => a.as_f64() != b.as_f64(),
        _ => !a.text.eq_ignore_ascii_case(&b.text),
    }
}

fn holds(text: &str, part: &str, test: fn(&str, &str) -> bool) -> bool {
    test(&text.to_ascii_lowercase(), &part.to_ascii_lowercase())
}

fn outside(number: Number, range: &Op) -> bool {
    match range {
        Op::Less(limit) => number >= *limit,
        Op::AtMost(limit) => number > *limit,
        Op::More(limit) => number <= *limit,
        Op::AtLeast(limit) => number < *limit,
        Op::Between(low, high) => number < *low || number > *high,
        _ => false,
    }
}

fn told(op: &Op) -> String {
    match op {
        Op::Exists => "there".to_owned(),
        Op::Missing => "missing".to_owned(),
        Op::Is(value) => format!("`{}`", value.text),
        Op::IsNot(value) => format!("other than `{}`", value.text),
        Op::In(_) => "in that list".to_owned(),
        Op::Less(limit) => format!("below {limit}"),
        Op::AtMost(limit) => format!("at most {limit}"),
        Op::More(limit) => format!("above {limit}"),
        Op::AtLeast(limit) => format!("at least {limit}"),
        Op::Between(low, high) => format!("within {low}..{high}"),
        Op::Contains(part) => format!("a text with `{part}`"),
        Op::StartsWith(part) => format!("a text that begins with `{part}`"),
        Op::EndsWith(part) => format!("a text that ends with `{part}`"),
        Op::Matches(regex) => format!("a text that `{regex}` matches"),
    }
}

#[cfg(test)]
mod tests {
    fn check(fields: &[&str], wanted: Option<&str>) {
        let fields: Vec<String> = fields.iter().map(|&it| it.to_owned()).collect();
        assert_eq!(super::find(&fields).as_deref(), wanted, "{fields:?}");
    }

    #[test]
    fn what_no_record_can_meet() {
        check(&["a == 1 and a == 2"], Some("a can never be both `1` and `2`"));
        check(&["a == x", "a missing"], Some("a can never be both `x` and missing"));
        check(&["a == 404", "a >= 500"], Some("a can never be both `404` and at least 500"));
        check(&["a > 5 and a < 5"], Some("a can never be both above 5 and below 5"));
        check(&["a in 1..4 and a in 5..9"], Some("a can never be both within 1..4 and within 5..9"));
        check(&["a == GET and a in [POST, PUT]"], Some("a can never be both `GET` and in that list"));
        check(
            &["a == apple and a starts_with \"b\""],
            Some("a can never be both `apple` and a text that begins with `b`"),
        );
    }

    #[test]
    fn what_a_record_may_meet() {
        check(&["a == 1 or a == 2"], None);
        check(&["a == GET and a in [get]"], None);
        check(&["a >= 5 and a <= 5"], None);
        check(&["a == 1 and b == 2"], None);
        check(&["not a == 1", "a == 1.0"], None);
        check(&["a contains x and a contains y"], None);
    }
}
