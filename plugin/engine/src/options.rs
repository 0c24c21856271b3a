//! What a user may write, in every shell: one table of names, defaults, ranges and meanings, and the struct they land in.
//!
//! [`OPTIONS`] is the only definition of a default or a range. Shells that get text (`name value`) call
//! [`Options::set`]; those that read a file, [`Options::from_toml`]. [`crate::Settings::new`] is the only reader.

mod file;

use serde::{Deserialize, Serialize};

/// One option: what the README's table prints and what [`Options::set`] and [`crate::Settings::new`] check against.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Its name on every front.
    pub name: &'static str,
    /// How text is read.
    pub kind: Kind,
    /// The default, as a user would write it; empty: not set.
    pub default: &'static str,
    /// Allowed values: `a|b` for choices, `low..=high` for numbers, prose for text.
    pub values: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// How an option's text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Free text or a path.
    Text,
    /// One of the words in `values`.
    Choice,
    /// true/false, on/off, yes/no.
    Bool,
    /// A whole number in the range of `values`.
    Int,
    /// A number in the range of `values`.
    Float,
    /// Comma-separated words.
    List,
}

const fn option(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    values: &'static str,
    doc: &'static str,
) -> OptionSpec {
    OptionSpec { name, kind, default, values, doc }
}

/// Every option, in the order of the README's table.
pub const OPTIONS: &[OptionSpec] = &[
    option(
        "key",
        Kind::Text,
        "anomaly",
        "1 to 64 bytes of A-Z a-z 0-9 _ . -",
        "the record field that receives the tags",
    ),
    option(
        "annotate",
        Kind::Choice,
        "all",
        "all|flagged",
        "which records get tags: all of them, or flagged ones only",
    ),
    option(
        "detail",
        Kind::Choice,
        "full",
        "full|minimal",
        "full tags, or only score, level, template_id, status, flags, rule and reason",
    ),
    option(
        "profile",
        Kind::Choice,
        "nested",
        "nested|flat|otel|ecs",
        "how tags are named: one object, anomaly_* fields, OpenTelemetry names, or ECS names",
    ),
    option(
        "mode",
        Kind::Choice,
        "divert",
        "divert|copy|inline",
        "questionable records: visit the sidecar (divert), flow on while the sidecar gets a copy (copy), or are judged in the plugin alone (inline)",
    ),
    option(
        "message_paths",
        Kind::List,
        "message,log,msg,MESSAGE,body,event.original,short_message,text",
        "1 to 32 dotted paths",
        "where the message is; the first path that holds text wins",
    ),
    option(
        "severity_paths",
        Kind::List,
        "level,severity,PRIORITY,log.level,severity_text,loglevel,levelname,lvl",
        "0 to 32 dotted paths",
        "where the record's own level is",
    ),
    option(
        "label_paths",
        Kind::List,
        "kubernetes.namespace_name,kubernetes.container_name,service.name,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT,container_name,service,app,program,ident,host",
        "0 to 32 dotted paths",
        "fields that, with the tag, make up a source: statistics are kept per source",
    ),
    option("builtin_rules", Kind::Bool, "true", "true|false", "whether the built-in rules apply"),
    option(
        "rule_categories",
        Kind::List,
        "auto",
        "auto, all, or WORD=CATEGORY+CATEGORY; WORD * stands for every other source",
        "which built-in rules apply to a source, by the words in its tag and labels; auto knows common programs, and where nothing is known all rules apply",
    ),
    option(
        "rules",
        Kind::Text,
        "",
        "a file or a folder",
        "rules of your own: a file, or all rule files of a folder (.toml, .rules, .txt); read again when one changes, comes or goes",
    ),
    option(
        "advice_dir",
        Kind::Text,
        "",
        "a directory",
        "where the sidecar leaves advice, heartbeat and secret; not set: no detour",
    ),
    option(
        "state_file",
        Kind::Text,
        "",
        "a file",
        "where learned state is kept over restarts; not set: it is learned anew",
    ),
    option(
        "state_interval_seconds",
        Kind::Int,
        "60",
        "0..=86400",
        "how often it is saved while the filter runs; 0: only when it stops",
    ),
    option(
        "threshold",
        Kind::Float,
        "0.5",
        "0.05..=0.95",
        "raw score at which a record is flagged; higher means fewer flags",
    ),
    option("sigma", Kind::Float, "4", "1..=20", "standard deviations from which a statistic counts as odd"),
    option(
        "similarity",
        Kind::Float,
        "0.5",
        "0.1..=1",
        "share of equal words from which two masked messages share a template",
    ),
    option(
        "warmup_records",
        Kind::Int,
        "300",
        "0..=1000000",
        "records a source must have sent before its new messages are flagged",
    ),
    option(
        "warmup_seconds",
        Kind::Int,
        "60",
        "0..=604800",
        "seconds a source must have been seen before its new messages are flagged",
    ),
    option(
        "window_seconds",
        Kind::Int,
        "60",
        "1..=86400",
        "length of the windows in which rates are compared",
    ),
    option(
        "max_message_bytes",
        Kind::Int,
        "65536",
        "256..=1048576",
        "bytes of a message that are analysed; the record passes whole",
    ),
    option(
        "max_templates_per_source",
        Kind::Int,
        "2000",
        "10..=100000",
        "templates kept per source; the least recently seen goes first",
    ),
    option("max_templates", Kind::Int, "100000", "10..=1000000", "templates kept in total"),
    option(
        "max_sources",
        Kind::Int,
        "10000",
        "1..=100000",
        "sources kept apart; later ones share one named _other",
    ),
    option(
        "divert_per_second",
        Kind::Int,
        "500",
        "0..=100000",
        "records per second that may go on the detour; more are tagged skipped",
    ),
    option(
        "summary_interval_seconds",
        Kind::Int,
        "10",
        "0..=3600",
        "how often counts are reported to the sidecar; 0: never",
    ),
    option(
        "node",
        Kind::Text,
        "",
        "up to 253 bytes of A-Z a-z 0-9 _ . -",
        "name of this node in these reports; not set: the host's name, where the filter can read it",
    ),
];

/// Options as written by a user: everything optional, so that sources can be laid over each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(
    missing_docs,
    reason = "every field is documented in OPTIONS, which a test holds equal to this struct"
)]
pub struct Options {
    pub key: Option<String>,
    pub annotate: Option<Annotate>,
    pub detail: Option<Detail>,
    pub profile: Option<Profile>,
    pub mode: Option<Mode>,
    pub message_paths: Option<Vec<String>>,
    pub severity_paths: Option<Vec<String>>,
    pub label_paths: Option<Vec<String>>,
    pub builtin_rules: Option<bool>,
    pub rule_categories: Option<Vec<String>>,
    pub rules: Option<String>,
    pub advice_dir: Option<String>,
    pub state_file: Option<String>,
    pub state_interval_seconds: Option<u64>,
    pub threshold: Option<f64>,
    pub sigma: Option<f64>,
    pub similarity: Option<f64>,
    pub warmup_records: Option<u64>,
    pub warmup_seconds: Option<u64>,
    pub window_seconds: Option<u64>,
    pub max_message_bytes: Option<u64>,
    pub max_templates_per_source: Option<u64>,
    pub max_templates: Option<u64>,
    pub max_sources: Option<u64>,
    pub divert_per_second: Option<u64>,
    pub summary_interval_seconds: Option<u64>,
    pub node: Option<String>,
}

/// Which records get tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Annotate {
    /// Every record.
    #[default]
    All,
    /// Flagged records only.
    Flagged,
}

/// How much a tag object says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// All that is known.
    #[default]
    Full,
    /// score, level, template_id, status, flags, rule and reason.
    Minimal,
}

/// How tags are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// One object under the key.
    #[default]
    Nested,
    /// `anomaly_score` and so on, at the top level.
    Flat,
    /// OpenTelemetry attribute names.
    Otel,
    /// Elastic Common Schema names.
    Ecs,
}

/// What happens to questionable records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They leave the stream, visit the sidecar and come back.
    #[default]
    Divert,
    /// They flow on; the sidecar gets a copy and emits a companion record.
    Copy,
    /// They are judged in the plugin alone.
    Inline,
}

/// What is wrong with one option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// No such option.
    #[error("unknown option `{name}`{}", suggestion.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    Unknown {
        /// As written.
        name: String,
        /// The nearest that exists.
        suggestion: Option<&'static str>,
    },
    /// A value that the option does not take.
    #[error("option `{name}` is `{value}`; allowed: {allowed}")]
    Value {
        /// The option.
        name: &'static str,
        /// As written, cut at 100 characters.
        value: String,
        /// What it takes.
        allowed: &'static str,
    },
    /// A part of a value that the option does not take.
    #[error("option `{name}`: {reason}")]
    Part {
        /// The option.
        name: &'static str,
        /// The part, and what to write instead.
        reason: String,
    },
}

impl OptionSpec {
    /// The option of that name.
    pub fn find(name: &str) -> Option<&'static OptionSpec> {
        OPTIONS.iter().find(|spec| spec.name == name)
    }

    /// The error for a value that this option does not take.
    pub(crate) fn refuse(&self, value: &str) -> OptionError {
        OptionError::Value { name: self.name, value: value.chars().take(100).collect(), allowed: self.values }
    }

    /// The range of a number, from `values`.
    fn allows(&self, number: f64) -> bool {
        let bounds = self
            .values
            .split_once("..=")
            .and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
        bounds.is_none_or(|(low, high): (f64, f64)| (low..=high).contains(&number))
    }
}

impl Options {
    /// Sets one option from text, as shippers and environments give it.
    ///
    /// # Errors
    /// If there is no such option (with a suggestion), or it does not take the value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        let Some(spec) = OptionSpec::find(name) else {
            let suggestion = OPTIONS
                .iter()
                .map(|spec| (strsim::damerau_levenshtein(spec.name, &name.to_ascii_lowercase()), spec.name))
                .min()
                .filter(|(distance, near)| *distance <= near.len() / 3 + 1)
                .map(|(_, near)| near);
            return Err(OptionError::Unknown { name: name.chars().take(100).collect(), suggestion });
        };
        let trimmed = value.trim();
        let json = match spec.kind {
            Kind::Text => value.into(),
            Kind::Choice => trimmed.to_ascii_lowercase().into(),
            Kind::Bool => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "on" | "yes" | "1" => true.into(),
                "false" | "off" | "no" | "0" => false.into(),
                _ => return Err(spec.refuse(value)),
            },
            Kind::Int => trimmed.parse::<u64>().map_err(|_| spec.refuse(value))?.into(),
            Kind::Float => trimmed
                .parse::<f64>()
                .ok()
                .filter(|f| f.is_finite())
                .ok_or_else(|| spec.refuse(value))?
                .into(),
            Kind::List => trimmed.split(',').map(str::trim).filter(|word| !word.is_empty()).collect(),
        };
        let one = serde_json::Value::Object([(name.to_owned(), json)].into_iter().collect());
        let one: Options = serde_json::from_value(one).map_err(|_| spec.refuse(value))?;
        *self = std::mem::take(self).overlay(one);
        Ok(())
    }

    /// These options with those that `over` sets laid over them.
    #[must_use]
    pub fn overlay(self, over: Options) -> Options {
        Options {
            key: over.key.or(self.key),
            annotate: over.annotate.or(self.annotate),
            detail: over.detail.or(self.detail),
            profile: over.profile.or(self.profile),
            mode: over.mode.or(self.mode),
            message_paths: over.message_paths.or(self.message_paths),
            severity_paths: over.severity_paths.or(self.severity_paths),
            label_paths: over.label_paths.or(self.label_paths),
            builtin_rules: over.builtin_rules.or(self.builtin_rules),
            rule_categories: over.rule_categories.or(self.rule_categories),
            rules: over.rules.or(self.rules),
            advice_dir: over.advice_dir.or(self.advice_dir),
            state_file: over.state_file.or(self.state_file),
            state_interval_seconds: over.state_interval_seconds.or(self.state_interval_seconds),
            threshold: over.threshold.or(self.threshold),
            sigma: over.sigma.or(self.sigma),
            similarity: over.similarity.or(self.similarity),
            warmup_records: over.warmup_records.or(self.warmup_records),
            warmup_seconds: over.warmup_seconds.or(self.warmup_seconds),
            window_seconds: over.window_seconds.or(self.window_seconds),
            max_message_bytes: over.max_message_bytes.or(self.max_message_bytes),
            max_templates_per_source: over.max_templates_per_source.or(self.max_templates_per_source),
            max_templates: over.max_templates.or(self.max_templates),
            max_sources: over.max_sources.or(self.max_sources),
            divert_per_second: over.divert_per_second.or(self.divert_per_second),
            summary_interval_seconds: over.summary_interval_seconds.or(self.summary_interval_seconds),
            node: over.node.or(self.node),
        }
    }

    /// All defaults of [`OPTIONS`].
    pub(crate) fn defaults() -> Options {
        let mut options = Options::default();
        for spec in OPTIONS.iter().filter(|spec| !spec.default.is_empty()) {
            // A test sets every default, so none can be refused here.
            let _ = options.set(spec.name, spec.default);
        }
        options
    }
}

/// Checks a number against its option's range; `None` and an error if it is outside.
pub(crate) fn in_range(name: &'static str, number: f64, errors: &mut Vec<OptionError>) {
    if let Some(spec) = OptionSpec::find(name)
        && !spec.allows(number)
    {
        errors.push(spec.refuse(&number.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_and_struct_are_the_same() {
        let mut options = Options::default();
        for spec in OPTIONS {
            let sample = if spec.default.is_empty() { "x" } else { spec.default };
            options.set(spec.name, sample).unwrap_or_else(|error| panic!("{}: {error}", spec.name));
        }
        let serde_json::Value::Object(fields) = serde_json::to_value(&options).unwrap() else { panic!() };
        assert!(
            fields.values().all(|value| !value.is_null()),
            "an option of the struct is not in the table: {fields:?}"
        );
        assert_eq!(fields.len(), OPTIONS.len());
    }

    #[test]
    fn names_the_unknown_and_the_refused() {
        let mut options = Options::default();
        let error = |result: Result<(), OptionError>| result.unwrap_err().to_string();
        assert_eq!(
            error(options.set("treshold", "1")),
            "unknown option `treshold`; did you mean `threshold`?"
        );
        assert_eq!(error(options.set("qqqqqq", "1")), "unknown option `qqqqqq`");
        assert_eq!(
            error(options.set("mode", "sideways")),
            "option `mode` is `sideways`; allowed: divert|copy|inline"
        );
        assert_eq!(error(options.set("sigma", "NaN")), "option `sigma` is `NaN`; allowed: 1..=20");
        assert_eq!(options, Options::default());
    }
}
