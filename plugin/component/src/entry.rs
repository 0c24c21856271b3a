//! The world's record as the engine sees it: picked from its fields by the engine's own paths, as every shell does; what
//! comes without fields is a message.

use std::borrow::Cow;

use oddline_engine::{Picker, Record, Scalar, Visitor};

use crate::bindings::exports::oddline::detector::detection::{Entry, Field, Severity, Value};

/// Fields and levels that are looked at, as in every codec.
const MAX_FIELDS: usize = 1_024;
/// See [`MAX_FIELDS`].
const MAX_DEPTH: usize = 32;

/// The record, borrowed from the entry.
pub(crate) fn record<'a>(entry: &'a Entry, picker: &Picker) -> Record<'a> {
    if entry.fields.is_empty() {
        let line = Record::from_line(entry.tag.as_bytes(), entry.message.as_bytes());
        return Record { severity: entry.severity.map(severity), ..line };
    }
    let mut picking = picker.start(entry.tag.as_bytes());
    walk(&entry.fields, &mut picking);
    let picked = picking.finish();
    // What the fields do not say, the host may know all the same.
    let message = if picked.message.is_empty() { entry.message.as_bytes().into() } else { picked.message };
    let severity = picked.severity.or(entry.severity.map(severity));
    Record { message, severity, ..picked }
}

/// Shows leaves to a visitor as a codec shows a nested record.
fn walk<'a>(fields: &'a [Field], visitor: &mut impl Visitor<'a>) {
    // The keys that were entered, and the key below them that was not.
    let mut within: Vec<&[u8]> = Vec::new();
    let mut refused: Option<&[u8]> = None;
    // Where the list entered last stands, and the one that was not entered.
    let mut list: Option<&[String]> = None;
    let mut closed_list: Option<&[String]> = None;
    let mut fields = fields.iter().take(MAX_FIELDS).filter(|field| field.path.len() <= MAX_DEPTH).peekable();
    while let Some(field) = fields.next() {
        let Some((leaf, above)) = field.path.split_last() else { continue };
        if closed_list.is_some_and(|closed| field.path.starts_with(closed)) {
            continue;
        }
        closed_list = None;
        list = list.filter(|list| field.path.starts_with(list));
        if list == Some(&field.path[..]) {
            within.drain(field.path.len().min(within.len())..).for_each(|_| visitor.leave());
            visitor.item(scalar(&field.value));
            continue;
        }
        let shared =
            within.iter().zip(above).take_while(|(entered, key)| **entered == key.as_bytes()).count();
        if shared < within.len() {
            within.drain(shared..).for_each(|_| visitor.leave());
            refused = None;
        }
        let mut is_open = true;
        for key in above.iter().skip(shared) {
            is_open = refused != Some(key.as_bytes()) && visitor.enter(key.as_bytes());
            if !is_open {
                refused = Some(key.as_bytes());
                break;
            }
            within.push(key.as_bytes());
            refused = None;
        }
        if !is_open {
            continue;
        }
        // A list, if others follow under its own path: those are its elements.
        let is_list = matches!(field.value, Value::Other)
            && fields.peek().is_some_and(|next| next.path.starts_with(&field.path));
        if is_list && visitor.enter_list(leaf.as_bytes()) {
            within.push(leaf.as_bytes());
            list = Some(&field.path);
            refused = None;
        } else {
            closed_list = is_list.then_some(&field.path);
            visitor.scalar(leaf.as_bytes(), scalar(&field.value));
        }
    }
    within.iter().for_each(|_| visitor.leave());
}

fn scalar(value: &Value) -> Scalar<'_> {
    match value {
        Value::None => Scalar::Null,
        Value::Boolean(value) => Scalar::Bool(*value),
        Value::Integer(number) => Scalar::Int(*number),
        Value::Decimal(number) => Scalar::Float(*number),
        Value::Text(text) => Scalar::Text(Cow::Borrowed(text.as_bytes())),
        Value::Other => Scalar::Opaque,
    }
}

fn severity(severity: Severity) -> oddline_engine::Severity {
    match severity {
        Severity::Trace => oddline_engine::Severity::Trace,
        Severity::Debug => oddline_engine::Severity::Debug,
        Severity::Info => oddline_engine::Severity::Info,
        Severity::Warn => oddline_engine::Severity::Warn,
        Severity::Error => oddline_engine::Severity::Error,
        Severity::Fatal => oddline_engine::Severity::Fatal,
    }
}

#[cfg(test)]
mod tests {
    use oddline_engine::{Settings, rules::RuleSet};

    use super::*;

    /// Writes down what it is shown; does not look into what is called `closed`.
    #[derive(Default)]
    struct Scribe(String);

    impl<'a> Visitor<'a> for Scribe {
        fn enter(&mut self, key: &[u8]) -> bool {
            let open = key != b"closed";
            self.0.push_str(&format!("{}{} ", String::from_utf8_lossy(key), if open { "{" } else { "-" }));
            open
        }

        fn enter_list(&mut self, key: &[u8]) -> bool {
            let open = key != b"closed";
            self.0.push_str(&if open {
                format!("{}[ ", String::from_utf8_lossy(key))
            } else {
                String::new()
            });
            open
        }

        fn item(&mut self, _: Scalar<'a>) {
            self.0.push_str("* ");
        }

        fn leave(&mut self) {
            self.0.push_str("} ");
        }

        fn scalar(&mut self, key: &[u8], _: Scalar<'a>) {
            self.0.push_str(&format!("{} ", String::from_utf8_lossy(key)));
        }
    }

    fn field(path: &str) -> Field {
        Field { path: path.split('/').map(str::to_owned).collect(), value: Value::Text(path.to_owned()) }
    }

    fn shown(paths: &[&str]) -> String {
        let fields: Vec<_> = paths.iter().map(|path| field(path)).collect();
        let mut scribe = Scribe::default();
        walk(&fields, &mut scribe);
        scribe.0.trim_end().to_owned()
    }

    #[test]
    fn leaves_are_shown_as_the_nested_record_they_come_from() {
        assert_eq!(shown(&["a", "b/c", "b/d/e", "b/f", "g"]), "a b{ c d{ e } f } g");
        assert_eq!(shown(&["a/b/c", "d/b/c"]), "a{ b{ c } } d{ b{ c } }");
        assert_eq!(shown(&["closed/a", "closed/b/c", "d", "x/closed/y", "x/z"]), "closed- d x{ closed- z }");
        assert_eq!(shown(&["a.b", "a/b"]), "a.b a{ b }");
    }

    #[test]
    fn what_follows_a_list_under_its_path_are_its_elements() {
        let shown = |paths: &[&str]| {
            let other = |path: &&str| match path.strip_suffix("[]") {
                Some(path) => Field { value: Value::Other, ..field(path) },
                None => field(path),
            };
            let fields: Vec<_> = paths.iter().map(other).collect();
            let mut scribe = Scribe::default();
            walk(&fields, &mut scribe);
            scribe.0.trim_end().to_owned()
        };
        assert_eq!(shown(&["a/b[]", "a/b", "a/b/c", "a/b", "a/d", "e"]), "a{ b[ * c * } d } e");
        assert_eq!(shown(&["a[]", "a/b/c", "a/b/d", "a", "f[]", "f"]), "a[ b{ c d } * } f[ * }");
        assert_eq!(shown(&["a[]", "b"]), "a b");
        assert_eq!(shown(&["closed[]", "closed", "closed/x", "b"]), "closed b");
    }

    #[test]
    fn what_is_too_much_or_too_deep_is_passed_over() {
        let deep = |depth: usize| vec!["k"; depth].join("/");
        assert!(
            shown(&[&deep(32)]).ends_with("k } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } }")
        );
        assert_eq!(shown(&[&deep(33), &deep(330), "a"]), "a");
        let many: Vec<String> = (0..10 * MAX_FIELDS).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (given, last) in [(MAX_FIELDS, "1023"), (MAX_FIELDS + 1, "1023"), (10 * MAX_FIELDS, "1023")] {
            assert_eq!(shown(&many[..given]).rsplit(' ').next(), Some(last), "{given} fields");
        }
    }

    #[test]
    fn fields_come_before_what_the_host_has_picked() {
        let picker = Picker::new(&Settings::default(), &RuleSet::default());
        let mut entry = Entry {
            time: 0,
            tag: "app".to_owned(),
            message: "picked".to_owned(),
            severity: Some(Severity::Error),
            fields: Vec::new(),
        };
        assert_eq!(&*record(&entry, &picker).message, b"picked");
        entry.fields = vec![field("log")];
        let with_fields = record(&entry, &picker);
        assert_eq!(
            (&*with_fields.message, with_fields.severity),
            (&b"log"[..], Some(oddline_engine::Severity::Error))
        );
        entry.fields = vec![Field { path: vec!["n".to_owned()], value: Value::Integer(1) }];
        assert_eq!(&*record(&entry, &picker).message, b"picked");
    }
}
