//! Takes any text, gives it as VRL source that means that text and nothing else: strings, paths, comments, numbers.
//! Must not know what the text is for.

/// A string literal. Braces are escaped, because VRL reads `{{ name }}` in strings as a variable.
pub(crate) fn string(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' | '{' | '}' => literal.extend(['\\', character]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            '\0' => literal.push_str("\\0"),
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

/// A field of the event, nested by the dots of a path: `."log"."level"`.
pub(crate) fn nested(path: &str) -> String {
    path.split('.').map(field).collect()
}

/// A field of the event's top level, whatever is in its name: `."log.level"`.
pub(crate) fn field(name: &str) -> String {
    format!(".{}", string(name))
}

/// All places where a dotted path is looked for: nested, and as one key, because shippers write both.
pub(crate) fn places(path: &str) -> Vec<String> {
    let mut places = vec![field(path)];
    if path.contains('.') {
        places.insert(0, nested(path));
    }
    places
}

/// A text as JSON has it, quotes included.
pub(crate) fn json(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// A regex that matches this text, to be written between single quotes.
pub(crate) fn regex(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || character == '_' {
            out.push(character);
        } else {
            out.push_str(&format!("\\x{{{:x}}}", u32::from(character)));
        }
    }
    out
}

/// A comment of one line.
pub(crate) fn comment(text: &str) -> String {
    let line: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    format!("# {line}\n")
}

/// `if … else if …`, one branch for each condition; empty if there is none. The first line is not indented.
pub(crate) fn chain(branches: impl Iterator<Item = (String, String)>, indent: usize) -> String {
    let margin = " ".repeat(indent);
    let branches =
        branches.map(|(condition, then)| format!("if {condition} {{\n{margin}  {then}\n{margin}}}"));
    branches.collect::<Vec<_>>().join(" else ")
}

/// A number that VRL reads as the same float.
pub(crate) fn float(number: f64) -> String {
    let text = format!("{number}");
    if text.contains('.') { text } else { text + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_a_string() {
        assert_eq!(string(r#"a"b\ {{ . }}"#), r#""a\"b\\ \{\{ . \}\}""#);
        assert_eq!(string("1\n2\r3\t4\0'"), r#""1\n2\r3\t4\0'""#);
    }

    #[test]
    fn paths_are_looked_for_in_both_notations() {
        assert_eq!(places("level"), [r#"."level""#]);
        assert_eq!(places("log.level"), [r#"."log"."level""#, r#"."log.level""#]);
        assert_eq!(field("a\"]"), r#"."a\"]""#);
    }

    #[test]
    fn comments_and_numbers() {
        assert_eq!(comment("a\nb\u{b}c"), "# a b c\n");
        assert_eq!([float(0.5), float(1.0), float(0.8f32.into())], ["0.5", "1.0", "0.800000011920929"]);
    }
}
