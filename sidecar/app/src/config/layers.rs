//! Defaults < file < environment < flags, as TOML tables. The defaults are the schema: they name every key and its type.
//! Takes texts and maps, gives one table or every fault; reads no file and no environment itself.

use oddline_engine::{Kind, OPTIONS, OptionSpec};
use toml::{Table, Value};

/// The defaults, as printed by `--print-defaults`.
pub const DEFAULTS: &str = include_str!("../defaults.toml");
/// What environment variables of ours begin with.
pub const PREFIX: &str = "ODDLINE__";
/// The one section whose keys are defined elsewhere: by the engine, for every shell.
const ENGINE: &str = "engine";
/// Keys whose values no fault repeats: faults end up in logs.
const SECRETS: &[&str] = &["shared_key", "password", "token", "api_key"];

/// Layers laid over each other, and what was wrong with them.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) table: Table,
    pub(super) engine: oddline_engine::Options,
    pub(super) faults: Vec<String>,
}

impl Layers {
    /// The defaults alone.
    pub(super) fn new() -> Self {
        let (table, faults) = match DEFAULTS.parse() {
            Ok(table) => (table, Vec::new()),
            Err(error) => (Table::new(), vec![format!("defaults: {error}")]),
        };
        Layers { table, engine: oddline_engine::Options::default(), faults }
    }

    /// Lays the text of a configuration file over what is there.
    pub(super) fn file(&mut self, name: &str, text: &str) {
        let sections = match text.parse::<Table>() {
            Ok(sections) => sections,
            Err(error) => return self.faults.push(format!("{name}: {}", syntax(&error.to_string(), text))),
        };
        for (section, content) in sections {
            let Value::Table(content) = content else {
                self.faults.push(format!("{name}: `{section}` is {}, not a section", content.type_str()));
                continue;
            };
            for (key, value) in content {
                self.set(name, &section, &key, Given::Value(value));
            }
        }
    }

    /// Lays variables over what is there; those without our prefix are none of ours.
    pub(super) fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        let mut ours: Vec<_> = variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        ours.sort();
        for (name, text) in ours {
            match name[PREFIX.len()..].to_ascii_lowercase().split_once("__") {
                Some((section, key)) => self.set(&name, section, key, Given::Text(text)),
                None => self.faults.push(format!("{name}: the name of a setting is {PREFIX}SECTION__KEY")),
            }
        }
    }

    /// Lays one `SECTION.KEY=VALUE` over what is there.
    pub(super) fn flag(&mut self, text: &str) {
        match text.split_once('=').and_then(|(name, value)| Some((name.trim().split_once('.')?, value))) {
            Some(((section, key), value)) => self.set("--set", section, key, Given::Text(value.to_owned())),
            None => {
                let shown = if names_secret(text) { "…" } else { text };
                self.faults.push(format!("--set: `{shown}` is not SECTION.KEY=VALUE"));
            }
        }
    }

    fn set(&mut self, origin: &str, section: &str, key: &str, given: Given) {
        if section == ENGINE {
            if let Err(error) = self.engine.set(key, &given.text()) {
                self.faults.push(format!("{origin}: engine: {error}"));
            }
            return;
        }
        let known: Vec<String> = self.table.keys().cloned().collect();
        let Some(Value::Table(settings)) = self.table.get_mut(section) else {
            self.faults.push(format!("{origin}: no section `{section}`{}", nearest(section, &known)));
            return;
        };
        let known: Vec<String> = settings.keys().cloned().collect();
        let Some(setting) = settings.get_mut(key) else {
            self.faults.push(format!("{origin}: no setting `{section}.{key}`{}", nearest(key, &known)));
            return;
        };
        match given.like(setting) {
            Some(value) => *setting = value,
            None => self.faults.push(format!(
                "{origin}: `{section}.{key}` is {}, wanted: {}",
                if names_secret(key) { "`…`".to_owned() } else { given.shown() },
                match setting {
                    Value::Integer(_) => "a whole number, not negative",
                    Value::Boolean(_) => "true or false",
                    Value::Array(_) => "a list, in the file",
                    _ => "text",
                }
            )),
        }
    }
}

/// A value from a file, or text from a variable or flag.
enum Given {
    Value(Value),
    Text(String),
}

impl Given {
    /// The value in the type of the default.
    fn like(&self, default: &Value) -> Option<Value> {
        match (self, default) {
            (Given::Value(Value::Integer(number)), Value::Integer(_)) => {
                (*number >= 0).then_some(Value::Integer(*number))
            }
            (Given::Text(text), Value::Integer(_)) => {
                text.trim().parse().ok().filter(|number| *number >= 0).map(Value::Integer)
            }
            (Given::Text(text), Value::Boolean(_)) => text.trim().parse().ok().map(Value::Boolean),
            (Given::Text(text), Value::String(_)) => Some(Value::String(text.clone())),
            (Given::Value(value), default) => value.same_type(default).then(|| value.clone()),
            (Given::Text(_), _) => None,
        }
    }

    /// As the engine's options are set: lists with commas.
    fn text(&self) -> String {
        match self {
            Given::Text(text) | Given::Value(Value::String(text)) => text.clone(),
            Given::Value(Value::Array(values)) => {
                let words = values
                    .iter()
                    .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                words.collect::<Vec<_>>().join(",")
            }
            Given::Value(value) => value.to_string(),
        }
    }

    /// For an error text: short, and quoted if it is text.
    fn shown(&self) -> String {
        let text: String = self.text().chars().take(100).collect();
        format!("`{text}`")
    }
}

/// Whether a text names a setting that is a secret.
fn names_secret(text: &str) -> bool {
    SECRETS.iter().any(|key| text.contains(key))
}

/// The parser's words about `text`: where it is wrong, that line, a mark below it, and why. The line is left out if there
/// may be a secret on it: by its key, or as a later line of a text over several, whose key is further up.
fn syntax(words: &str, text: &str) -> String {
    let lines: Vec<&str> = words.trim_end().lines().collect();
    let several = ["\"\"\"", "'''"].iter().any(|quotes| text.contains(quotes));
    match lines.as_slice() {
        [place, _, line, _, why @ ..] if names_secret(line) || several && names_secret(text) => {
            format!("{place}, in a line that is not shown because a secret may be on it\n{}", why.join("\n"))
        }
        _ => lines.join("\n"),
    }
}

fn nearest(name: &str, known: &[String]) -> String {
    let distance = |known: &&String| strsim::damerau_levenshtein(known, name);
    match known.iter().min_by_key(distance).filter(|known| distance(known) <= known.len() / 3 + 1) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; there are: {}", known.join(", ")),
    }
}

/// The defaults with the engine's options filled in, each as a comment with its meaning and as TOML that every shell
/// reads: nothing has to be looked up.
pub fn defaults_text() -> String {
    let option = |spec: &OptionSpec| {
        let list = || spec.default.split(',').map(Value::from).collect();
        let value = match spec.kind {
            _ if spec.default.is_empty() => "not set".to_owned(),
            Kind::Text | Kind::Choice => Value::from(spec.default).to_string(),
            Kind::Bool | Kind::Int | Kind::Float => spec.default.to_owned(),
            Kind::List => Value::Array(list()).to_string(),
        };
        format!("# {} = {value}\n#     {} ({})\n", spec.name, spec.doc, spec.values)
    };
    let options: String = OPTIONS.iter().map(option).collect();
    let place = "# key, annotate, detail, profile, mode, message_paths and so on: see the table of options in the README\n";
    // Of an empty list that is set, no `[[detectors.files]]` may follow.
    DEFAULTS.replace(place, &options).replace("\nfiles = [", "\n# files = [")
}
