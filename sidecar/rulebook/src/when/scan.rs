//! Looks over a condition before VRL does: takes its text, refuses what would let its cost grow without bound.

/// Deepest nesting of brackets: VRL's parser and evaluation recurse.
const MAX_DEPTH: usize = 64;

/// Refuses assignments (a text may be doubled again and again), `*` (it repeats texts) and deep nesting.
pub(super) fn one_expression(source: &str) -> Result<(), String> {
    if source.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    let mut depth = 0usize;
    let mut chars = source.chars().enumerate().peekable();
    let mut before = ' ';
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map_or(' ', |(_, next)| *next);
        let fault = |what: &str| Err(format!("column {}: {what}", at + 1));
        match c {
            '#' => while chars.next_if(|(_, c)| *c != '\n').is_some() {},
            // Double quotes, and the single ones of r'…', s'…' and t'…'.
            '"' | '\'' => {
                while let Some((_, inner)) = chars.next() {
                    match inner {
                        '\\' => {
                            chars.next();
                        }
                        inner if inner == c => break,
                        _ => {}
                    }
                }
            }
            '(' | '[' | '{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return fault(&format!("nested deeper than the limit of {MAX_DEPTH}"));
                }
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '!' if next == '!' => {
                return fault("`!!` says nothing; leave it out");
            }
            '=' if next == '=' => {
                chars.next();
            }
            '=' if !matches!(before, '!' | '<' | '>') => {
                return fault("`=` would set something; a condition only reads: write `==`");
            }
            '*' => {
                let reason =
                    "`*` is not available, because it also repeats texts; divide the other side instead";
                return fault(reason);
            }
            _ => {}
        }
        before = c;
    }
    Ok(())
}
