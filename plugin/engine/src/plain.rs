//! Text from somebody's file as part of a line for an operator: takes any text, gives a short one without control
//! characters, so that it can neither forge a line of a log nor move a terminal's cursor.

/// The text with control characters escaped; cut, and marked as cut, after about `most` bytes.
pub fn plain(text: &str, most: usize) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() >= most {
            line.push('…');
            break;
        }
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn control_characters_are_escaped_and_long_texts_cut() {
        assert_eq!(plain("a `b`: \"é\"", 100), "a `b`: \"é\"");
        assert_eq!(plain("a\n\u{1b}[2J\0\u{85}", 100), "a\\n\\u{1b}[2J\\u{0}\\u{85}");
        assert_eq!(plain("abc", 3), "abc");
        assert_eq!((plain("abcd", 3), plain(&"é".repeat(30), 3)), ("abc…".into(), "éé…".into()));
    }
}
