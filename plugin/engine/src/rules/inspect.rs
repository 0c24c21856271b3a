//! What a pattern costs: takes its text, gives the literals that it requires and its size. For tools, not for the hot path.

use super::{MAX_COMPILED_BYTES, literal, pattern};

/// What is known about a pattern before it has seen a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Lower-case literals, one of which is in every match; none: the pattern is run on every message.
    pub literals: Vec<String>,
    /// Memory that it takes once compiled, in bytes.
    pub compiled_bytes: usize,
}

/// Looks into a pattern.
///
/// # Errors
/// What is wrong with it, as when a set is compiled.
pub fn inspect(text: &str) -> Result<Inspection, String> {
    let hir = pattern::parse(text)?;
    let matcher = pattern::Matcher::new(std::slice::from_ref(&hir), MAX_COMPILED_BYTES)?;
    let literals = literal::required(&hir).map_or_else(Vec::new, |required| required.texts);
    Ok(Inspection {
        literals: literals.iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect(),
        compiled_bytes: matcher.memory_usage(),
    })
}

#[cfg(test)]
mod tests {
    use super::inspect;

    #[test]
    fn literals_and_size_are_told() {
        let found = inspect(r"disk (full|failed)").unwrap();
        assert_eq!(found.literals, ["disk failed", "disk full"]);
        assert!((100..10_000).contains(&found.compiled_bytes), "{}", found.compiled_bytes);
        assert_eq!(inspect(r"\d+:\d+").unwrap().literals, Vec::<String>::new());
        assert!(inspect("(").unwrap_err().starts_with("is not a regex"));
    }
}
