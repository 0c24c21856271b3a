//! Rule files in TOML, changed: takes a file's text and what to change, gives the new text with comments and order kept.
//!
//! A change that would leave a broken file is refused with the reasons, so that what is written can always be read.

use oddline_engine::rules::{self, MAX_FILE_BYTES};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

use crate::draft::{Draft, Example};

/// Name that texts have while they are checked.
const CHECKED: &str = "changed.toml";

/// Why a change was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The text is no TOML.
    #[error("is not valid TOML: {0}")]
    NotToml(String),
    /// `rules` is something else than a list of tables.
    #[error("`rules` is not written as `[[rules]]`; write it so, and it can be changed")]
    Shape,
    /// The rule is not in the file.
    #[error("holds no rule {0}")]
    Unknown(String),
    /// What the file would be is not in order.
    #[error("would not be in order afterwards:\n{0}")]
    Broken(String),
}

/// A rule file being changed.
#[derive(Clone, Debug)]
pub struct Document {
    document: DocumentMut,
    /// What was wrong before is not this change's fault.
    known_problems: Vec<String>,
}

impl Document {
    /// Reads a file's text; an empty one is a file without rules.
    ///
    /// # Errors
    /// If it is no TOML.
    pub fn read(text: &str) -> Result<Document, ChangeError> {
        let document: DocumentMut = text
            .parse()
            .map_err(|error: toml_edit::TomlError| ChangeError::NotToml(error.message().to_owned()))?;
        let known_problems = problems(text).into_iter().map(|(_, reason)| reason).collect();
        Ok(Document { document, known_problems })
    }

    /// Whether a rule of this name is in it.
    pub fn contains(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// Adds a rule at the end, or replaces the one of its name.
    ///
    /// # Errors
    /// If `rules` is not a list of tables.
    pub fn put(&mut self, draft: &Draft) -> Result<(), ChangeError> {
        let category = self.document.get("category").and_then(Item::as_str).map(str::to_owned);
        let mut table = table(draft, category.as_deref());
        let place = self.place(&draft.name);
        let rules = self.rules()?;
        match place.and_then(|place| rules.get_mut(place)) {
            Some(old) => {
                let above = old.decor().prefix().cloned();
                if let Some(above) = above.filter(|_| draft.comments.is_empty()) {
                    table.decor_mut().set_prefix(above);
                }
                table.set_position(old.position());
                *old = table;
            }
            None => rules.push(table),
        }
        Ok(())
    }

    /// Sets one key of a rule, or removes it.
    ///
    /// # Errors
    /// If the rule is not in the file.
    pub fn set(&mut self, name: &str, key: &str, to: Option<Setting>) -> Result<(), ChangeError> {
        let place = self.place(name).ok_or_else(|| ChangeError::Unknown(name.to_owned()))?;
        let rule = self.rules()?.get_mut(place).ok_or_else(|| ChangeError::Unknown(name.to_owned()))?;
        match to {
            None => {
                rule.remove(key);
            }
            Some(to) => {
                // One of the two only.
                rule.remove(match key {
                    "score" => "severity",
                    "severity" => "score",
                    _ => "",
                });
                let to = to.value();
                match rule.get_mut(key).and_then(Item::as_value_mut) {
                    // What stands beside the value stays there.
                    Some(old) => {
                        let decor = old.decor().clone();
                        *old = to;
                        *old.decor_mut() = decor;
                    }
                    None => {
                        rule.insert(key, Item::Value(to));
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a rule out, with the comments right above it.
    ///
    /// # Errors
    /// If the rule is not in the file.
    pub fn delete(&mut self, name: &str) -> Result<(), ChangeError> {
        let place = self.place(name).ok_or_else(|| ChangeError::Unknown(name.to_owned()))?;
        self.rules()?.remove(place);
        Ok(())
    }

    /// The new text.
    ///
    /// # Errors
    /// If it would not load without a problem that was not there before; all of them are named.
    pub fn finish(&self) -> Result<String, ChangeError> {
        let text = self.document.to_string();
        if text.len() > MAX_FILE_BYTES {
            let reason =
                format!("it would have {} bytes, more than the limit of {MAX_FILE_BYTES}", text.len());
            return Err(ChangeError::Broken(reason));
        }
        let new: Vec<String> = problems(&text)
            .into_iter()
            .filter(|(_, reason)| !self.known_problems.contains(reason))
            .map(|(line, reason)| format!("line {line}: {reason}"))
            .collect();
        if new.is_empty() { Ok(text) } else { Err(ChangeError::Broken(new.join("\n"))) }
    }

    fn place(&self, name: &str) -> Option<usize> {
        let rules = self.document.get("rules")?.as_array_of_tables()?;
        rules.iter().position(|rule| rule.get("name").and_then(Item::as_str) == Some(name))
    }

    fn rules(&mut self) -> Result<&mut ArrayOfTables, ChangeError> {
        let rules = self.document.entry("rules").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        rules.as_array_of_tables_mut().ok_or(ChangeError::Shape)
    }
}

/// A new value of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// A text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// A number.
    Number(f32),
    /// Yes or no.
    Bool(bool),
}

impl Setting {
    fn value(self) -> Value {
        match self {
            Setting::Text(text) => Value::from(text),
            Setting::Texts(texts) => Value::from(texts.into_iter().collect::<Array>()),
            Setting::Number(number) => Value::from(shortest(number)),
            Setting::Bool(yes) => Value::from(yes),
        }
    }
}

/// A whole rule file with these rules. What all of them share as category stands at the top.
pub fn write(drafts: &[Draft], above: &str) -> String {
    let first = drafts.first().and_then(|draft| draft.category.clone());
    let shared = first.filter(|first| drafts.iter().all(|draft| draft.category.as_ref() == Some(first)));
    let mut document = DocumentMut::new();
    if let Some(category) = &shared {
        document.insert("category", value(category.as_str()));
    }
    let mut rules = ArrayOfTables::new();
    drafts.iter().for_each(|draft| rules.push(table(draft, shared.as_deref())));
    if !rules.is_empty() {
        document.insert("rules", Item::ArrayOfTables(rules));
    }
    let mut text = String::new();
    above.lines().for_each(|line| comment(line, &mut text));
    text.push_str(&document.to_string());
    text
}

/// Appends a line for people. TOML has no way to say control characters there: they become blanks.
fn comment(line: &str, out: &mut String) {
    let line = line.replace(|c: char| c.is_control() && c != '\t', " ");
    out.push_str(&format!("# {line}\n"));
}

/// One rule as a table. Keys at their defaults are left out, and so is the file's own category.
fn table(draft: &Draft, category: Option<&str>) -> Table {
    let mut table = Table::new();
    let mut above = String::from("\n");
    draft.comments.iter().for_each(|line| comment(line, &mut above));
    table.decor_mut().set_prefix(above);
    table.insert("name", value(draft.name.as_str()));
    if let Some(pattern) = &draft.pattern {
        table.insert("pattern", value(pattern.as_str()));
    }
    insert_list(&mut table, "fields", &draft.fields);
    insert_list(&mut table, "unless", &draft.unless);
    if let Some(when) = &draft.when {
        table.insert("when", value(when.as_str()));
    }
    if let Some(level) = &draft.level {
        table.insert("level", value(level.as_str()));
    }
    if draft.level_only {
        table.insert("level_only", value(true));
    }
    let is_bare = draft.pattern.is_none() && draft.fields.is_empty() && draft.when.is_none();
    if !is_bare || draft.enabled {
        table.insert("score", value(shortest(draft.score)));
    }
    if let Some(own) = draft.category.as_deref().filter(|own| Some(*own) != category) {
        table.insert("category", value(own));
    }
    if !draft.description.is_empty() {
        table.insert("description", value(draft.description.as_str()));
    }
    if !draft.tags.is_empty() {
        table.insert("tags", value(draft.tags.iter().map(String::as_str).collect::<Array>()));
    }
    if !draft.enabled {
        table.insert("enabled", value(false));
    }
    insert_examples(&mut table, "match", &draft.matches);
    insert_examples(&mut table, "miss", &draft.misses);
    table
}

fn insert_list(table: &mut Table, key: &str, items: &[String]) {
    match items {
        [] => {}
        [one] => {
            table.insert(key, value(one.as_str()));
        }
        several => {
            table.insert(key, value(several.iter().map(String::as_str).collect::<Array>()));
        }
    }
}

fn insert_examples(table: &mut Table, key: &str, examples: &[Example]) {
    if examples.is_empty() {
        return;
    }
    let examples = examples.iter().map(|example| match example {
        Example::Message(text) => Value::from(text.as_str()),
        Example::Record(fields) => Value::InlineTable(inline(fields)),
    });
    table.insert(key, value(examples.collect::<Array>()));
}

fn inline(fields: &serde_json::Map<String, serde_json::Value>) -> InlineTable {
    fields.iter().filter_map(|(key, field)| Some((key.as_str(), to_toml(field)?))).collect()
}

/// TOML has no null: such a field is as good as absent.
fn to_toml(field: &serde_json::Value) -> Option<Value> {
    Some(match field {
        serde_json::Value::Null => return None,
        serde_json::Value::Bool(yes) => Value::from(*yes),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => Value::from(whole),
            None => Value::from(number.as_f64()?),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::Array(items.iter().filter_map(to_toml).collect()),
        serde_json::Value::Object(fields) => Value::InlineTable(inline(fields)),
    })
}

/// `0.1` rather than `0.10000000149011612`.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// Everything that keeps the rules of a text from counting, with its line.
fn problems(text: &str) -> Vec<(usize, String)> {
    let parsed = rules::parse(CHECKED, text);

    let compiled = rules::RuleSet::compile(parsed.rules);
    let all = parsed.problems.into_iter().chain(compiled.problems);
    all.map(|problem| {
        let rule = problem.rule.map_or(String::new(), |rule| format!("rule {rule}: "));
        (problem.line, format!("{rule}{}: {}", problem.key, problem.reason))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# My rules.\ncategory = \"shop\"\n\n# The till.\n[[rules]]\nname = \"TILL_OPEN\" # loud\npattern = 'till \\d+ open' # as it is\nscore = 3.0\n\n# The door.\n[[rules]]\nname = \"DOOR\"\npattern = \"door\"\nseverity = \"high\"\n";

    fn changed(change: impl FnOnce(&mut Document) -> Result<(), ChangeError>) -> Result<String, ChangeError> {
        let mut document = Document::read(FILE)?;
        change(&mut document)?;
        document.finish()
    }

    #[test]
    fn a_change_leaves_everything_else_as_it_was() {
        let text =
            changed(|it| it.set("TILL_OPEN", "pattern", Some(Setting::Text("till open".into())))).unwrap();
        assert_eq!(text, FILE.replace(r"'till \d+ open'", "\"till open\""));
        let text = changed(|it| it.set("DOOR", "enabled", Some(Setting::Bool(false)))).unwrap();
        assert_eq!(text, format!("{FILE}enabled = false\n"));
        let text = changed(|it| it.set("DOOR", "score", Some(Setting::Number(0.1)))).unwrap();
        assert_eq!(text, FILE.replace("severity = \"high\"", "score = 0.1"));
        let text = changed(|it| it.delete("TILL_OPEN")).unwrap();
        assert!(
            text.starts_with("# My rules.\ncategory = \"shop\"\n\n# The door.\n[[rules]]\nname = \"DOOR\""),
            "{text}"
        );
        assert!(!text.contains("till"), "{text}");
    }

    #[test]
    fn rules_are_added_and_replaced() {
        let mut draft = Draft::named("LAMP");
        draft.pattern = Some(r"lamp \d+ out".to_owned());
        draft.category = Some("shop".to_owned());
        let text = changed(|it| it.put(&draft)).unwrap();
        assert_eq!(
            text,
            format!("{FILE}\n[[rules]]\nname = \"LAMP\"\npattern = 'lamp \\d+ out'\nscore = 2.5\n")
        );
        draft.name = "DOOR".to_owned();
        let text = changed(|it| it.put(&draft)).unwrap();
        assert!(
            text.contains("# The door.\n[[rules]]\nname = \"DOOR\"\npattern = 'lamp \\d+ out'"),
            "{text}"
        );
    }

    #[test]
    fn what_would_break_the_file_is_refused_with_the_reasons() {
        let set = |key: &'static str, to: &str| {
            changed(|it| it.set("DOOR", key, Some(Setting::Text(to.to_owned())))).unwrap_err().to_string()
        };
        assert!(set("pattern", "(").contains("line 11: rule DOOR: pattern: is not a regex"));
        assert!(set("patern", "x").contains("did you mean `pattern`?"));
        assert!(set("name", "TILL_OPEN").contains("is already used"));
        assert_eq!(changed(|it| it.delete("NONE")).unwrap_err(), ChangeError::Unknown("NONE".to_owned()));
        assert!(matches!(Document::read("rules = [").unwrap_err(), ChangeError::NotToml(_)));
        let mut shape = Document::read("rules = 3\n").unwrap();
        assert_eq!(shape.put(&Draft::named("A")).unwrap_err(), ChangeError::Shape);
    }

    /// Found by fuzzing: such a comment made the whole file unreadable.
    #[test]
    fn comments_are_of_letters_only() {
        let mut draft = Draft::named("A");
        draft.pattern = Some("abc".to_owned());
        draft.comments = vec!["grok: a\0b\u{1b}[2J\r\n[[rules]]".to_owned()];
        let text = write(&[draft], "made\u{7f}");
        assert!(text.starts_with("# made \n\n# grok: a b [2J  [[rules]]\n[[rules]]\n"), "{text}");
        let parsed = rules::parse("a.toml", &text);
        assert_eq!((parsed.problems.len(), parsed.rules.len()), (0, 1), "{text}");
    }

    #[test]
    fn a_whole_file_reads_back() {
        let mut draft = Draft::named("A");
        draft.pattern = Some("it's \"quoted\" \\d".to_owned());
        draft.category = Some("shop".to_owned());
        draft.comments = vec!["from somewhere".to_owned()];
        draft.level_only = true;
        draft.matches = vec![Example::Message("it's \"quoted\" 1".to_owned())];
        let text = write(&[draft.clone(), Draft { name: "B".to_owned(), ..draft }], "Made today.");
        assert!(
            text.starts_with(
                "# Made today.\ncategory = \"shop\"\n\n# from somewhere\n[[rules]]\nname = \"A\"\n"
            ),
            "{text}"
        );
        let parsed = rules::parse("a.toml", &text);
        assert_eq!((parsed.problems.len(), parsed.rules.len()), (0, 2), "{text}");
        assert_eq!(parsed.rules[1].pattern, "it's \"quoted\" \\d");
        assert!(parsed.rules[1].level_only);
        assert_eq!(&*parsed.rules[1].category, "shop");
    }
}
