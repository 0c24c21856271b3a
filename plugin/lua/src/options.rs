//! Takes the table given to `oddline.new`, gives checked settings or one line that names everything that is wrong.
//!
//! The names are those of every other shell: see plugin/README.md. Must not know: files, events.

use mlua::{Table, Value};
use oddline_engine::{Options, Settings};

/// Most entries of the table that are looked at; there are about thirty options.
const MAX_ENTRIES: usize = 1_000;

/// Reads every entry: texts, numbers, truth values, and lists of texts.
///
/// # Errors
/// All faults: name, value, and what is allowed.
pub fn settings(table: Option<Table>) -> Result<Settings, String> {
    let mut options = Options::default();
    let mut faults = Vec::new();
    for entry in table.iter().flat_map(|table| table.pairs::<Value, Value>()).take(MAX_ENTRIES) {
        match entry {
            Ok((Value::String(name), value)) => {
                let name = name.to_string_lossy();
                match text(&value) {
                    Some(text) => faults.extend(options.set(&name, &text).err().map(|error| error.to_string())),
                    None => faults.push(format!(
                        "option `{name}` is a {}; allowed: text, number, true, false, or a list of texts without commas",
                        value.type_name()
                    )),
                }
            }
            Ok((key, _)) => faults.push(format!(
                "an option has a {} as its name; write them as `name = value`",
                key.type_name()
            )),
            Err(error) => faults.push(error.to_string()),
        }
    }
    let settings = Settings::new(&options).map_err(|errors| faults.push(errors.to_string()));
    // Lua's order is not that of the file; sorted, the same faults are the same line.
    faults.sort();
    match settings {
        Ok(settings) if faults.is_empty() => Ok(settings),
        _ => Err(faults.join("; ")),
    }
}

/// An option's value as it would stand in a file.
fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => text.to_str().ok()?.to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::Table(list) => {
            let words: Vec<String> = list
                .sequence_values::<Value>()
                .map(|word| match word {
                    Ok(Value::String(word)) => word.to_str().ok().map(|word| word.to_owned()),
                    _ => None,
                })
                .collect::<Option<_>>()?;
            if words.is_empty() != list.is_empty() || words.iter().any(|word| word.contains(',')) {
                return None;
            }
            words.join(",")
        }
        _ => return None,
    })
}
