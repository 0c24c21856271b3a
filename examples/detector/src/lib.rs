//! A detector for Oddline: a record is odd if one of its fields says that something took longer than it may.
//!
//! Options: `field`, the dotted path of the field (`duration_ms`), and `limit_ms` (1000). Takes records, gives verdicts;
//! learns nothing.

use std::cell::RefCell;

use exports::oddline::detector::detection::{
    Description, Entry, Guest, OptionSetting, Signals, Value, Verdict,
};

wit_bindgen::generate!({ path: "../../wit", world: "detector" });
export!(SlowRequests);

struct SlowRequests;

/// What can be set.
struct Options {
    field: Vec<String>,
    limit_ms: f64,
}

impl Default for Options {
    fn default() -> Self {
        Options { field: vec!["duration_ms".to_owned()], limit_ms: 1000.0 }
    }
}

thread_local! {
    static OPTIONS: RefCell<Options> = RefCell::default();
}

impl Guest for SlowRequests {
    fn describe() -> Description {
        Description { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    fn configure(settings: Vec<OptionSetting>) -> Result<(), String> {
        let mut options = Options::default();
        for OptionSetting { name, value } in settings {
            match name.as_str() {
                "field" => options.field = value.split('.').map(str::to_owned).collect(),
                "limit_ms" => {
                    let limit = value.trim().parse().ok().filter(|limit: &f64| limit.is_finite() && *limit > 0.0);
                    options.limit_ms =
                        limit.ok_or_else(|| format!("limit_ms is `{value}`, wanted: a number above 0"))?;
                }
                _ => return Err(format!("no option `{name}`; there are: field, limit_ms")),
            }
        }
        OPTIONS.set(options);
        Ok(())
    }

    fn observe(entry: Entry) -> Verdict {
        OPTIONS.with_borrow(|options| judge(options, &entry))
    }

    fn observe_all(entries: Vec<Entry>) -> Vec<Verdict> {
        entries.into_iter().map(Self::observe).collect()
    }

    fn snapshot() -> Vec<u8> {
        Vec::new()
    }

    fn restore(_: Vec<u8>) -> Result<(), String> {
        Ok(())
    }
}

/// At the limit a record is just odd; the longer it took, the nearer to 1.
fn judge(options: &Options, entry: &Entry) -> Verdict {
    let found = entry.fields.iter().find(|field| field.path == options.field);
    let took = match found.map(|field| &field.value) {
        Some(Value::Integer(number)) => *number as f64,
        Some(Value::Decimal(number)) => *number,
        Some(Value::Text(text)) => text.trim().parse().unwrap_or(0.0),
        _ => 0.0,
    };
    let limit = options.limit_ms;
    if !(took.is_finite() && took > limit) {
        return verdict(0.0, None, String::new());
    }
    let reason = format!("{} is {took}, more than {limit}", options.field.join("."));
    verdict((1.0 - limit / took / 2.0) as f32, Some((limit, took)), reason)
}

fn verdict(score: f32, measured: Option<(f64, f64)>, reason: String) -> Verdict {
    Verdict {
        score,
        signals: if measured.is_some() { Signals::VALUE } else { Signals::empty() },
        rule: None,
        template: None,
        expected: measured.map(|(limit, _)| limit),
        actual: measured.map(|(_, took)| took),
        reason,
    }
}
