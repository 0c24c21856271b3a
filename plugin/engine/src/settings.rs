//! What the engine runs on: options checked once, nothing optional left. All faults are reported together.

use crate::{
    detect::rate::tail_of,
    options::{Annotate, Detail, Mode, OptionError, OptionSpec, Options, Profile, in_range},
    rules::Selection,
};

/// Checked settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    key: String,
    annotate: Annotate,
    detail: Detail,
    profile: Profile,
    mode: Mode,
    message_paths: Vec<String>,
    severity_paths: Vec<String>,
    label_paths: Vec<String>,
    builtin_rules: bool,
    pub(crate) rule_categories: Selection,
    rules: Option<String>,
    advice_dir: Option<String>,
    state_file: Option<String>,
    state_interval_seconds: u64,
    summary_interval_seconds: u64,
    node: String,
    pub(crate) threshold: f32,
    pub(crate) sigma: f64,
    pub(crate) similarity: f64,
    pub(crate) warmup_records: u64,
    pub(crate) warmup_nanos: i64,
    pub(crate) window_nanos: i64,
    pub(crate) max_message_bytes: usize,
    pub(crate) max_templates_per_source: usize,
    pub(crate) max_templates: usize,
    pub(crate) max_sources: usize,
    pub(crate) divert_per_second: u32,
}

/// Longest name of a node: that of a host.
pub const MAX_NODE_BYTES: usize = 253;

/// Everything that is wrong with a set of options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionErrors(pub Vec<OptionError>);

impl std::fmt::Display for OptionErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for OptionErrors {}

impl Settings {
    /// Checks options, with defaults for what is not set.
    ///
    /// # Errors
    /// Every option that is out of range, by name, value and what is allowed.
    pub fn new(options: &Options) -> Result<Settings, OptionErrors> {
        let all = Options::defaults().overlay(options.clone());
        let mut errors = Vec::new();
        let mut number = |name, value: Option<f64>| {
            let value = value.unwrap_or_default();
            in_range(name, value, &mut errors);
            value
        };
        let mut whole = |name, value: Option<u64>| number(name, value.map(|value| value as f64)) as u64;
        let warmup_records = whole("warmup_records", all.warmup_records);
        let warmup_seconds = whole("warmup_seconds", all.warmup_seconds);
        let window_seconds = whole("window_seconds", all.window_seconds);
        let max_message_bytes = whole("max_message_bytes", all.max_message_bytes);
        let max_templates_per_source = whole("max_templates_per_source", all.max_templates_per_source);
        let max_templates = whole("max_templates", all.max_templates);
        let max_sources = whole("max_sources", all.max_sources);
        let divert_per_second = whole("divert_per_second", all.divert_per_second);
        let state_interval_seconds = whole("state_interval_seconds", all.state_interval_seconds);
        let summary_interval_seconds = whole("summary_interval_seconds", all.summary_interval_seconds);
        let threshold = number("threshold", all.threshold);
        let sigma = number("sigma", all.sigma);
        let similarity = number("similarity", all.similarity);

        let key = all.key.unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if key.is_empty() || key.len() > 64 || !key.bytes().all(plain) || key == "_oddline" {
            errors.extend(OptionSpec::find("key").map(|spec| spec.refuse(&key)));
        }
        let node = all.node.unwrap_or_default();
        if node.len() > MAX_NODE_BYTES || !node.bytes().all(plain) {
            errors.extend(OptionSpec::find("node").map(|spec| spec.refuse(&node)));
        }
        let mut paths = |name, paths: Option<Vec<String>>, least: usize| {
            let paths = paths.unwrap_or_default();
            let bad = |path: &String| path.is_empty() || path.len() > 256 || path.split('.').count() > 8;
            if paths.len() < least || paths.len() > 32 || paths.iter().any(bad) {
                errors.extend(OptionSpec::find(name).map(|spec| spec.refuse(&paths.join(","))));
            }
            paths
        };
        let message_paths = paths("message_paths", all.message_paths, 1);
        let severity_paths = paths("severity_paths", all.severity_paths, 0);
        let label_paths = paths("label_paths", all.label_paths, 0);
        let words = all.rule_categories.unwrap_or_default();
        let rule_categories = Selection::new(&words).unwrap_or_else(|reason| {
            errors.push(OptionError::Part { name: "rule_categories", reason });
            Selection::everything()
        });
        if !errors.is_empty() {
            return Err(OptionErrors(errors));
        }
        let path = |path: Option<String>| path.filter(|path| !path.is_empty());
        Ok(Settings {
            key,
            annotate: all.annotate.unwrap_or_default(),
            detail: all.detail.unwrap_or_default(),
            profile: all.profile.unwrap_or_default(),
            mode: all.mode.unwrap_or_default(),
            message_paths,
            severity_paths,
            label_paths,
            builtin_rules: all.builtin_rules.unwrap_or(true),
            rule_categories,
            rules: path(all.rules),
            advice_dir: path(all.advice_dir),
            state_file: path(all.state_file),
            state_interval_seconds,
            summary_interval_seconds,
            node,
            threshold: threshold as f32,
            sigma,
            similarity,
            warmup_records,
            warmup_nanos: warmup_seconds as i64 * 1_000_000_000,
            window_nanos: window_seconds as i64 * 1_000_000_000,
            max_message_bytes: max_message_bytes as usize,
            max_templates_per_source: max_templates_per_source as usize,
            max_templates: max_templates as usize,
            max_sources: max_sources as usize,
            divert_per_second: divert_per_second as u32,
        })
    }

    /// The same for records that have no past: whatever is not known counts as new at once.
    #[must_use]
    pub fn without_warmup(self) -> Settings {
        Settings { warmup_records: 0, warmup_nanos: 0, ..self }
    }

    /// The record field that receives the tags.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Which records get tags.
    pub fn annotate(&self) -> Annotate {
        self.annotate
    }

    /// How much tags say.
    pub fn detail(&self) -> Detail {
        self.detail
    }

    /// How tags are named.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// What happens to questionable records.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Length of the windows in which rates are compared.
    pub fn window_nanos(&self) -> i64 {
        self.window_nanos
    }

    /// The probability below which a count is odd: that of `sigma` standard deviations to one side.
    pub fn tail(&self) -> f64 {
        tail_of(self.sigma)
    }

    /// Where messages are looked for, best first.
    pub fn message_paths(&self) -> &[String] {
        &self.message_paths
    }

    /// Where the record's own level is looked for, best first.
    pub fn severity_paths(&self) -> &[String] {
        &self.severity_paths
    }

    /// Fields that make up a source.
    pub fn label_paths(&self) -> &[String] {
        &self.label_paths
    }

    /// Whether the built-in rules apply.
    pub fn builtin_rules(&self) -> bool {
        self.builtin_rules
    }

    /// The user's rule file or directory.
    pub fn rules_path(&self) -> Option<&str> {
        self.rules.as_deref()
    }

    /// Where the sidecar leaves advice, heartbeat and secret.
    pub fn advice_dir(&self) -> Option<&str> {
        self.advice_dir.as_deref()
    }

    /// Where learned state is kept over restarts.
    pub fn state_file(&self) -> Option<&str> {
        self.state_file.as_deref()
    }

    /// Seconds between two savings of learned state; 0: none while the shell runs.
    pub fn state_interval_seconds(&self) -> u64 {
        self.state_interval_seconds
    }

    /// Seconds between summaries; 0: never.
    pub fn summary_interval_seconds(&self) -> u64 {
        self.summary_interval_seconds
    }

    /// The node's name in summaries; empty: the host's.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Raw score at which a record is flagged.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Which categories of rules apply to which sources.
    pub fn rule_categories(&self) -> &Selection {
        &self.rule_categories
    }

    /// Bytes of a message that are analysed.
    pub fn max_message_bytes(&self) -> usize {
        self.max_message_bytes
    }
}

impl Default for Settings {
    /// The defaults of [`crate::OPTIONS`], which a test holds valid.
    fn default() -> Self {
        Settings::new(&Options::default()).unwrap_or_else(|_| unreachable_defaults())
    }
}

#[expect(
    clippy::panic,
    reason = "only if the compiled-in table contradicts itself; `defaults_are_valid` proves it cannot"
)]
fn unreachable_defaults() -> Settings {
    panic!("the defaults of OPTIONS are not valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        Settings::new(&Options::default()).unwrap();
    }

    #[test]
    fn reports_all_faults_at_the_limit_one_over_and_ten_times() {
        let check = |sigma: f64, windows: u64| {
            let options = Options { sigma: Some(sigma), window_seconds: Some(windows), ..Options::default() };
            Settings::new(&options).map_or_else(|errors| errors.to_string(), |_| "ok".to_owned())
        };
        assert_eq!(check(20.0, 86_400), "ok");
        assert_eq!(
            check(21.0, 86_401),
            "option `window_seconds` is `86401`; allowed: 1..=86400; option `sigma` is `21`; allowed: 1..=20"
        );
        assert_eq!(check(200.0, 1), "option `sigma` is `200`; allowed: 1..=20");
    }

    #[test]
    fn a_node_has_a_plain_name() {
        let node = |node: &str| Settings::new(&Options { node: Some(node.into()), ..Options::default() });
        assert_eq!(node("edge-7.example").unwrap().node(), "edge-7.example");
        assert!(node("").is_ok() && node(&"n".repeat(253)).is_ok());
        for bad in ["n".repeat(254), "n".repeat(2_530), "a b".into(), "a\u{1b}[2J".into()] {
            assert!(node(&bad).unwrap_err().to_string().starts_with("option `node` is `"), "{bad}");
        }
    }

    #[test]
    fn keys_and_paths_are_checked() {
        let key = |key: &str| Settings::new(&Options { key: Some(key.into()), ..Options::default() }).is_ok();
        assert!(key("anomaly") && key(&"k".repeat(64)));
        assert!(!key("") && !key("a b") && !key(&"k".repeat(65)) && !key("_oddline"));
        let paths = |n: usize| {
            Settings::new(&Options { label_paths: Some(vec!["a.b".into(); n]), ..Options::default() }).is_ok()
        };
        assert!(paths(0) && paths(32) && !paths(33) && !paths(320));
    }
}
