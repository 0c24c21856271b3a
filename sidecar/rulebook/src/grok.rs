//! Grok in: takes pattern files and expressions, gives rules with the names written out as regexes.
//!
//! A rule says whether a line is worth a look; it takes no fields out of it, so captures become plain groups. What
//! backtracking engines offer beyond regular languages is either widened (possessive and atomic groups) and told, or
//! refused (look-around, back-references).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    draft::{Draft, Imported, Remark, Taken, name_of, unique_name},
    import::Importing,
};

/// Largest file of patterns, in bytes.
pub const MAX_GROK_BYTES: usize = 1 << 20;
/// Deepest nesting of names.
const MAX_DEPTH: usize = 16;
/// Longest pattern while names are written out, in bytes: well above what a rule may have.
const MAX_EXPANDED_BYTES: usize = 64 << 10;
/// Most lines of a file that become rules.
const MAX_LINES: usize = 10_000;

const BASE: &str = include_str!("grok/base.txt");

/// Named patterns: the well-known ones, and a person's own over them.
#[derive(Clone, Debug)]
pub struct Patterns(BTreeMap<String, String>);

impl Default for Patterns {
    fn default() -> Self {
        Patterns(
            BASE.lines().filter_map(definition).map(|(name, regex)| (name.into(), regex.into())).collect(),
        )
    }
}

/// A grok expression, written out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The regex.
    pub regex: String,
    /// Fields that grok would have taken out.
    pub captures: Vec<String>,
    /// Whether it matches more than grok's would: a possessive or atomic part was loosened.
    pub widened: bool,
}

impl Patterns {
    /// Writes an expression out.
    ///
    /// # Errors
    /// Names what is not known, not finite, or not matched in linear time.
    pub fn expand(&self, expression: &str) -> Result<Expanded, String> {
        let mut captures = Vec::new();
        let spelled = self.spell(expression, 0, &mut captures)?;
        let mut expanded = Expanded { captures, ..Expanded::default() };
        plain(&spelled, &mut expanded)?;
        Ok(expanded)
    }

    fn spell(&self, expression: &str, depth: usize, captures: &mut Vec<String>) -> Result<String, String> {
        if depth > MAX_DEPTH {
            return Err(format!("names are nested more than {MAX_DEPTH} deep; does one contain itself?"));
        }
        let (mut spelled, mut rest) = (String::new(), expression);
        while let Some(start) = rest.find("%{") {
            let (before, from) = rest.split_at(start);
            let Some(end) = from.find('}') else { return Err("`%{` has no closing `}`".to_owned()) };
            let mut parts = from[2..end].split(':');
            let name = parts.next().unwrap_or_default().trim();
            captures.extend(parts.next().map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned));
            let known = self.0.get(name).ok_or_else(|| self.unknown(name))?;
            spelled.push_str(before);
            spelled.push_str("(?:");
            spelled.push_str(&self.spell(known, depth + 1, captures)?);
            spelled.push(')');
            if spelled.len() > MAX_EXPANDED_BYTES {
                return Err(format!("written out, it has more than {MAX_EXPANDED_BYTES} bytes"));
            }
            rest = &from[end + 1..];
        }
        spelled.push_str(rest);
        Ok(spelled)
    }

    fn unknown(&self, name: &str) -> String {
        let near = self.0.keys().find(|known| known.eq_ignore_ascii_case(name));
        let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        format!("`%{{{}}}` is not a known pattern{hint}", name.escape_debug())
    }
}

/// Reads a file of patterns (`NAME REGEX`) or of expressions, one a line. A name that only serves others is no rule.
pub fn import(file: &str, text: &str, importing: &Importing, taken: &mut BTreeSet<String>) -> Imported {
    let mut imported = Imported::default();
    let remark = |rule: Option<&str>, reason: String| Remark {
        file: file.to_owned(),
        rule: rule.map(str::to_owned),
        source: Some("grok".to_owned()),
        reason,
    };
    if text.len() > MAX_GROK_BYTES {
        let reason = format!("has {} bytes, more than the limit of {MAX_GROK_BYTES}; split it", text.len());
        imported.left_out.push(remark(None, reason));
        return imported;
    }
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#')).collect();
    let mut patterns = Patterns::default();
    for (name, regex) in lines.iter().filter_map(|line| definition(line)) {
        patterns.0.insert(name.to_owned(), regex.to_owned());
    }
    let used: BTreeSet<&str> = lines.iter().flat_map(|line| names_in(line)).collect();
    let stem = file.rsplit(['/', '\\']).next().unwrap_or(file).split('.').next().unwrap_or(file);
    for (number, line) in lines.iter().enumerate() {
        if number >= MAX_LINES {
            let reason = format!("has {} patterns, more than the limit of {MAX_LINES}", lines.len());
            imported.left_out.push(remark(None, reason));
            break;
        }
        let (name, expression) = match definition(line) {
            Some((name, _)) if used.contains(name) => {
                let reason = "only serves other patterns of the file, and is written out in them".to_owned();
                imported.notes.push(remark(Some(name), reason));
                continue;
            }
            Some((name, regex)) => (name.to_owned(), regex),
            None => (format!("{stem} {}", number + 1), *line),
        };
        match patterns.expand(expression) {
            Ok(expanded) => {
                let mut draft = Draft::named(&unique_name(&name_of(&importing.prefix, &name), taken));
                // Grok minds case.
                draft.pattern = Some(format!("(?-i:{})", expanded.regex));
                draft.category = importing.category.clone();
                draft.description = format!("grok pattern {name}");
                draft.comments = vec![format!("grok: {expression}")];
                if !expanded.captures.is_empty() {
                    let fields = expanded.captures.join(", ");
                    imported.notes.push(remark(Some(&name), format!("takes no fields out: {fields}")));
                }
                if expanded.widened {
                    let reason =
                        "possessive or atomic parts became ordinary ones: it may match more".to_owned();
                    imported.notes.push(remark(Some(&name), reason));
                }
                imported.rules.push(Taken { draft, file: file.to_owned(), source: "grok".to_owned() });
            }
            Err(reason) => imported.left_out.push(remark(Some(&name), reason)),
        }
    }
    imported
}

/// `NAME REGEX`; a line that does not begin with a name is an expression.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, regex) = line.split_once([' ', '\t'])?;
    let is_name = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    (is_name && !regex.trim().is_empty()).then(|| (name, regex.trim()))
}

fn names_in(line: &str) -> impl Iterator<Item = &str> {
    line.split("%{").skip(1).filter_map(|rest| rest.split([':', '}']).next())
}

/// Rewrites what only backtracking engines know.
fn plain(regex: &str, expanded: &mut Expanded) -> Result<(), String> {
    let (mut rest, mut in_class) = (regex, false);
    let out = &mut expanded.regex;
    while let Some(c) = rest.chars().next() {
        let mut step = c.len_utf8();
        match c {
            '\\' => {
                let next = rest.chars().nth(1);
                step += next.map_or(0, char::len_utf8);
                match next {
                    Some('h') => out.push_str(if in_class { "0-9A-Fa-f" } else { "[0-9A-Fa-f]" }),
                    Some('Z') if !in_class => out.push_str("\\z"),
                    Some('k' | 'g') if !in_class => {
                        return Err("a back-reference cannot be matched in linear time".to_owned());
                    }
                    _ => out.push_str(&rest[..step]),
                }
            }
            '[' if !in_class => {
                in_class = true;
                out.push(c);
                // A bracket right at the start stands for itself.
                let inner = rest[1..].strip_prefix('^').map_or(1, |_| 2);
                if rest[inner..].starts_with(']') {
                    step = inner + 1;
                    out.push_str(&rest[1..inner]);
                    out.push_str("\\]");
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(c);
            }
            '(' if !in_class && rest.starts_with("(?") => {
                let (replaced, length) = group(rest, &mut expanded.captures)?;
                expanded.widened |= rest.starts_with("(?>");
                out.push_str(&replaced);
                step = length;
            }
            '*' | '+' | '?' | '}' if !in_class && rest[1..].starts_with('+') => {
                expanded.widened = true;
                out.push(c);
                step = 2;
            }
            other => out.push(other),
        }
        rest = &rest[step..];
    }
    Ok(())
}

/// What a group that begins with `(?` is replaced by, and how many bytes that takes the place of.
fn group(rest: &str, captures: &mut Vec<String>) -> Result<(String, usize), String> {
    for look in ["(?=", "(?!", "(?<=", "(?<!"] {
        if rest.starts_with(look) {
            return Err(format!(
                "look-around `{look}` cannot be matched in linear time; write the text around it out"
            ));
        }
    }
    if rest.starts_with("(?>") {
        return Ok(("(?:".to_owned(), 3));
    }
    for (open, close) in [("(?<", '>'), ("(?P<", '>'), ("(?'", '\'')] {
        if let Some(name) = rest.strip_prefix(open)
            && let Some(end) = name.find(close)
        {
            captures.push(name[..end].to_owned());
            return Ok(("(?:".to_owned(), open.len() + end + 1));
        }
    }
    Ok(("(?".to_owned(), 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(expression: &str) -> String {
        match Patterns::default().expand(expression) {
            Ok(expanded) => {
                let more = if expanded.widened { " (widened)" } else { "" };
                format!("{} <{}>{more}", expanded.regex, expanded.captures.join(","))
            }
            Err(reason) => reason,
        }
    }

    #[test]
    fn names_are_written_out() {
        for (given, wanted) in [
            ("%{WORD:verb} %{INT:n:int}", r"(?:\w+) (?:[+-]?\d+) <verb,n>"),
            ("(?<id>[0-9]+) x", "(?:[0-9]+) x <id>"),
            (r"a++ (?>b|c) \++ [*+]+", r"a+ (?:b|c) \++ [*+]+ <> (widened)"),
            (r"\h{4} []x] (?i:y)", r"[0-9A-Fa-f]{4} [\]x] (?i:y) <>"),
            ("%{NOPE}", "`%{NOPE}` is not a known pattern"),
            ("%{word}", "`%{word}` is not a known pattern; did you mean WORD?"),
            ("%{WORD", "`%{` has no closing `}`"),
            ("(?<!x)y", "look-around `(?<!` cannot be matched in linear time; write the text around it out"),
            (r"(\w+) \k<1>", "a back-reference cannot be matched in linear time"),
        ] {
            assert_eq!(expand(given), wanted, "{given}");
        }
    }

    #[test]
    fn every_known_name_is_a_regex_that_finds_its_kind() {
        for (name, example) in [
            ("USER", "jane.doe-1"),
            ("EMAILADDRESS", "a.b+c@example.org"),
            ("NUMBER", "-12.5"),
            ("UUID", "0b1c2d3e-0000-4000-8000-0123456789ab"),
            ("MAC", "00:1b:44:11:3a:b7"),
            ("IP", "203.0.113.9"),
            ("IP", "fe80::1"),
            ("IPORHOST", "db-1.example.org"),
            ("HOSTPORT", "db:5432"),
            ("PATH", "/var/log/syslog"),
            ("PATH", r"C:\Windows\System32"),
            ("URI", "https://u:p@example.org:8443/a/b?c=d"),
            ("QS", r#""a \" b""#),
            ("TIMESTAMP_ISO8601", "2026-11-21T05:02:27.123Z"),
            ("SYSLOGTIMESTAMP", "Nov 21 05:02:27"),
            ("HTTPDATE", "21/Nov/2026:05:02:27 +0000"),
            ("DATESTAMP", "21.11.2026 05:02:27"),
            ("DATESTAMP_RFC2822", "Sat, 21 Nov 2026 05:02:27 +0000"),
            ("LOGLEVEL", "WARNING"),
            ("SYSLOGBASE", "Nov 21 05:02:27 web sshd[411]:"),
            (
                "COMBINEDAPACHELOG",
                r#"203.0.113.9 - jane [21/Nov/2026:05:02:27 +0000] "GET /a HTTP/1.1" 200 512 "-" "curl/8""#,
            ),
        ] {
            let regex = Patterns::default().expand(&format!("^(?:%{{{name}}})$")).unwrap().regex;
            let regex = regex_automata::meta::Regex::new(&regex).unwrap();
            assert!(regex.is_match(example), "{name}: {example}");
        }
        for name in Patterns::default().0.keys() {
            let regex = Patterns::default().expand(&format!("%{{{name}}}")).unwrap().regex;
            assert!(regex.len() < 900, "{name} has {} bytes", regex.len());
            regex_automata::meta::Regex::new(&regex).unwrap();
        }
    }

    #[test]
    fn a_file_of_patterns_becomes_rules() {
        let text = "# mine\nPUMP pump %{INT:number}\nPUMP_FAILED %{PUMP} failed\nBACK (a)(?=b)\n%{IP:client} refused\nSELF x%{SELF}\n";
        let importing = Importing { prefix: String::new(), ..Importing::default() };
        let imported = import("plant.grok", text, &importing, &mut BTreeSet::new());
        let rules: Vec<_> = imported
            .rules
            .iter()
            .map(|it| (it.draft.name.as_str(), it.draft.pattern.as_deref().unwrap()))
            .collect();
        assert_eq!(rules[0], ("PUMP_FAILED", r"(?-i:(?:pump (?:[+-]?\d+)) failed)"));
        assert_eq!(rules[1].0, "PLANT_4");
        let notes: Vec<String> = imported.notes.iter().map(ToString::to_string).collect();
        assert!(
            notes.contains(
                &"plant.grok: PUMP: only serves other patterns of the file, and is written out in them"
                    .to_owned()
            )
        );
        assert!(
            notes.contains(&"plant.grok: PUMP_FAILED: takes no fields out: number".to_owned()),
            "{notes:?}"
        );
        assert_eq!(imported.left_out.len(), 1, "{:?}", imported.left_out);
    }

    #[test]
    fn names_that_grow_without_end_are_stopped() {
        let mut patterns = Patterns::default();
        patterns.0.insert("A0".into(), "x".repeat(100));
        for level in 1..15 {
            patterns.0.insert(format!("A{level}"), format!("%{{A{}}}", level - 1).repeat(10));
        }
        assert!(patterns.expand("%{A14}").unwrap_err().contains("more than 65536 bytes"));
        patterns.0.insert("SELF".into(), "x%{SELF}".into());
        assert!(patterns.expand("%{SELF}").unwrap_err().contains("does one contain itself?"));
    }
}
