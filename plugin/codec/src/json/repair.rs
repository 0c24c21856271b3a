//! Takes text that should have been a JSON object, gives one that any parser accepts, with as much of the record in it
//! as can be told. Must not know: what the fields mean.

/// Containers nested deeper than this become null: common parsers give up at 128.
const MAX_NESTING: usize = 100;

/// Appends a valid JSON object made of whatever `text` is: `nan` and `inf` become null, bare words and keys are quoted,
/// invalid UTF-8 and lone surrogates become U+FFFD, control characters are escaped, what is cut short is closed.
/// Answers `false` if nothing in it looked like an object; the text is then kept whole as `{"message": "..."}`.
pub fn repair(text: &[u8], out: &mut Vec<u8>) -> bool {
    let text = String::from_utf8_lossy(text);
    // Fluent Bit hands its C strings over with the NUL in some versions.
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
    let is_object = text.starts_with('{');
    if is_object {
        Repair { rest: text, out, open: Vec::new() }.run();
    } else {
        out.extend_from_slice(b"{\"message\":");
        quote(text, out);
        out.push(b'}');
    }
    is_object
}

#[derive(Clone, Copy, PartialEq)]
enum Container {
    Object,
    Array,
}

struct Repair<'t, 'o> {
    rest: &'t str,
    out: &'o mut Vec<u8>,
    /// Open containers, and whether something stands in them already.
    open: Vec<(Container, bool)>,
}

impl Repair<'_, '_> {
    /// One round per value or closing; each takes a character at least, or ends it.
    fn run(mut self) {
        self.value();
        while let Some((container, filled)) = self.open.last_mut() {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
            let Some(next) = self.rest.chars().next() else {
                self.close();
                continue;
            };
            if matches!(next, '}' | ']') {
                let closed = if next == '}' { Container::Object } else { Container::Array };
                self.advance(1);
                // A closing that nothing opened is dropped; one that skips others closes these as well.
                if self.open.iter().any(|(container, _)| *container == closed) {
                    while self.close() != Some(closed) {}
                }
                continue;
            }
            if std::mem::replace(filled, true) {
                self.out.push(b',');
            }
            if *container == Container::Object {
                self.key();
            }
            self.value();
        }
    }

    fn close(&mut self) -> Option<Container> {
        let (container, _) = self.open.pop()?;
        self.out.push(if container == Container::Object { b'}' } else { b']' });
        Some(container)
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// A key and its colon: a string, a bare word, or what stands there up to the colon.
    fn key(&mut self) {
        let length = match self.rest.chars().next() {
            Some('"') => {
                self.string();
                return self.colon();
            }
            Some('{' | '[') => balanced(self.rest),
            _ => self.rest.find([':', ',', '}', '"']).unwrap_or(self.rest.len()),
        };
        let (word, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        quote(word.trim_ascii_end(), self.out);
        self.rest = rest;
        self.colon();
    }

    fn colon(&mut self) {
        self.rest = self.rest.trim_ascii_start();
        self.rest = self.rest.strip_prefix(':').unwrap_or(self.rest);
        self.out.push(b':');
    }

    fn value(&mut self) {
        self.rest = self.rest.trim_ascii_start();
        match self.rest.chars().next() {
            Some('"') => self.string(),
            Some(next @ ('{' | '[')) => {
                if self.open.len() >= MAX_NESTING {
                    let length = balanced(self.rest);
                    self.advance(length);
                    return self.out.extend_from_slice(b"null");
                }
                self.advance(1);
                self.out.push(next as u8);
                self.open.push((if next == '{' { Container::Object } else { Container::Array }, false));
            }
            // A stray colon would otherwise never be taken.
            Some(':') => {
                self.advance(1);
                self.out.extend_from_slice(b"null");
            }
            _ => self.word(),
        }
    }

    /// A literal, a number, or a bare word; nothing at all is null.
    fn word(&mut self) {
        let end = self.rest.find([',', ':', '}', ']', '{', '[', '"', '\n']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        let word = word.trim_ascii_end();
        let is_valid = matches!(word, "true" | "false" | "null")
            || (word.starts_with(|c: char| c == '-' || c.is_ascii_digit())
                && serde_json::from_str::<f64>(word).is_ok());
        let name = word.trim_start_matches(['+', '-']);
        let is_nothing = name.is_empty()
            || ["nan", "inf", "infinity", "null", "undefined"]
                .iter()
                .any(|odd| name.eq_ignore_ascii_case(odd));
        if is_valid {
            self.out.extend_from_slice(word.as_bytes());
        } else if is_nothing {
            self.out.extend_from_slice(b"null");
        } else {
            quote(word, self.out);
        }
        self.rest = rest;
    }

    /// A string from its opening quote to the closing one, or to the end.
    fn string(&mut self) {
        let end = string_end(self.rest);
        let (text, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        if serde_json::from_str::<String>(text).is_ok() {
            self.out.extend_from_slice(text.as_bytes());
        } else {
            let inner = text.strip_prefix('"').unwrap_or(text);
            quote(&unescaped(inner.strip_suffix('"').unwrap_or(inner)), self.out);
        }
    }
}

/// Where the string that begins `text` ends, its closing quote included.
fn string_end(text: &str) -> usize {
    let mut escaped = true; // the opening quote
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at.saturating_add(1),
            _ => {}
        }
    }
    text.len()
}

/// Where the container that begins `text` ends.
fn balanced(text: &str) -> usize {
    let (mut at, mut depth) = (0usize, 0usize);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(found) = rest.find(['"', '{', '[', '}', ']']) else { break };
        let (_, from) = rest.split_at_checked(found).unwrap_or((rest, ""));
        at = at.saturating_add(found);
        match from.bytes().next() {
            Some(b'"') => {
                at = at.saturating_add(string_end(from));
                continue;
            }
            Some(b'{' | b'[') => depth = depth.saturating_add(1),
            _ => depth = depth.saturating_sub(1),
        }
        at = at.saturating_add(1);
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Reads what escapes there are; a backslash that starts none stays.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let unicode = |text: &str| {
            let digits = text.strip_prefix('u')?.get(..4)?;
            u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
        };
        let mut length = 1usize;
        plain.push(match after.bytes().next() {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(kept @ (b'"' | b'\\' | b'/')) => kept.into(),
            Some(b'u') if unicode(after).is_some() => {
                length = 5;
                let first = unicode(after).unwrap_or_default();
                let second = after.get(5..).and_then(|next| next.strip_prefix('\\')).and_then(unicode);
                match (first, second) {
                    (0xd800..=0xdbff, Some(second @ 0xdc00..=0xdfff)) => {
                        length = 11;
                        let pair = char::decode_utf16([first as u16, second as u16]).next();
                        pair.and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER)
                    }
                    _ => char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
                }
            }
            _ => {
                length = 0;
                '\\'
            }
        });
        rest = after.get(length..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

fn quote(text: &str, out: &mut Vec<u8>) {
    // A Vec takes all bytes.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: impl AsRef<[u8]>, expected: &str) {
        let mut out = Vec::new();
        repair(text.as_ref(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok(), "{expected}");
    }

    #[test]
    fn what_is_valid_stays() {
        check(
            r#"{"a":1,"b":[true,null,{"c":"\u00e9\n"}],"d":-1.5e3}"#,
            r#"{"a":1,"b":[true,null,{"c":"\u00e9\n"}],"d":-1.5e3}"#,
        );
    }

    #[test]
    fn numbers_that_json_lacks() {
        check(
            r#"{"a":nan,"b":-nan,"c":inf,"d":-Infinity,"e":1e999}"#,
            r#"{"a":null,"b":null,"c":null,"d":null,"e":"1e999"}"#,
        );
        check(r#"{"a":007,"b":0x1f,"c":+1}"#, r#"{"a":"007","b":"0x1f","c":"+1"}"#);
    }

    #[test]
    fn bare_and_odd_keys() {
        check(r#"{1:"a",nil:2,true:3}"#, r#"{"1":"a","nil":2,"true":3}"#);
        check(r#"{{"x":1}:2,[1,"]"]:3,:4}"#, r#"{"{\"x\":1}":2,"[1,\"]\"]":3,"":4}"#);
        check(r#"{"a" 1, "b"}"#, r#"{"a":1,"b":null}"#);
    }

    #[test]
    fn strings() {
        check("{\"a\":\"tab\there\0\"}", r#"{"a":"tab\there\u0000"}"#);
        check(r#"{"a":"\q \u12 \ud800 \ud83d\ude00"}"#, "{\"a\":\"\\\\q \\\\u12 \u{fffd} \u{1f600}\"}");
        check(b"{\"a\":\"\xff\"}", "{\"a\":\"\u{fffd}\"}");
    }

    #[test]
    fn cut_short_and_unbalanced() {
        check(r#"{"a":{"b":[1,{"c":"tex"#, r#"{"a":{"b":[1,{"c":"tex"}]}}"#);
        check(r#"{"a""#, r#"{"a":null}"#);
        check(r#"{"a":"x\"#, r#"{"a":"x\\"}"#);
        check(r#"{"a":[1}"#, r#"{"a":[1]}"#);
        check(r#"{"a":1]]],"b":2}"#, r#"{"a":1,"b":2}"#);
        check("{,,}", "{}");
        check("{", "{}");
    }

    #[test]
    fn what_is_no_object_is_kept_as_text() {
        let mut out = Vec::new();
        assert!(!repair(b"[1]", &mut out));
        assert_eq!(out, br#"{"message":"[1]"}"#);
        check("", r#"{"message":""}"#);
        check(b"\xff\"\0a", "{\"message\":\"\u{fffd}\\\"\\u0000a\"}");
    }

    #[test]
    fn nesting_is_cut_at_the_limit() {
        let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        check(nested(100), &nested(100));
        check(nested(101), &nested(100).replace('1', "null"));
        check(nested(1_000), &nested(100).replace('1', "null"));
    }
}
