//! Classes such as `[Ff]` in patterns that ignore case anyway: takes a pattern, gives those classes.

use regex_syntax::ast::{self, Ast, ClassSet, ClassSetItem, LiteralKind, Visitor, parse::Parser, visit};

/// The classes whose letters are all one letter in both cases.
pub(super) fn doubled(pattern: &str) -> Vec<String> {
    // Where a part of the pattern minds case, such a class may be needed.
    if pattern.contains("-i") {
        return Vec::new();
    }
    let Ok(tree) = Parser::new().parse(pattern) else { return Vec::new() };
    visit(&tree, Classes { pattern, found: Vec::new() }).unwrap_or_default()
}

struct Classes<'p> {
    pattern: &'p str,
    found: Vec<String>,
}

impl Visitor for Classes<'_> {
    type Output = Vec<String>;
    type Err = ();

    fn finish(self) -> Result<Vec<String>, ()> {
        Ok(self.found)
    }

    fn visit_pre(&mut self, tree: &Ast) -> Result<(), ()> {
        if let Ast::ClassBracketed(class) = tree
            && !class.negated
            && let ClassSet::Item(ClassSetItem::Union(union)) = &class.kind
            && let [ClassSetItem::Literal(one), ClassSetItem::Literal(other)] = union.items.as_slice()
            && is_letter(one)
            && one.c.eq_ignore_ascii_case(&other.c)
        {
            let span = class.span;
            self.found.extend(self.pattern.get(span.start.offset..span.end.offset).map(str::to_owned));
        }
        Ok(())
    }
}

fn is_letter(literal: &ast::Literal) -> bool {
    literal.kind == LiteralKind::Verbatim && literal.c.is_ascii_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::doubled;

    #[test]
    fn only_both_cases_of_one_letter() {
        assert_eq!(doubled("[Ff]ailed [oO]n [ab] [a-z]"), ["[Ff]", "[oO]"]);
        assert_eq!(doubled("(?-i:[Ff])"), Vec::<String>::new());
        assert_eq!(doubled("[^Ff](("), Vec::<String>::new());
    }
}
