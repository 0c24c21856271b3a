//! A plugin as a shell has it, without files: settings chosen by a byte, a few rules, the detour open. Knows no format.

use std::sync::{Arc, LazyLock};

use oddline_codec::marker::Secret;
use oddline_engine::{
    Annotate, Detail, Mode, Options, Profile, Settings, UnixNanos,
    rules::{self, Rule, RuleSet},
};
use oddline_shell::{Changes, Plugin};

/// The host's tag of all records.
pub(crate) const TAG: &[u8] = b"app.web";
/// When all records come.
pub(crate) const NOW: UnixNanos = UnixNanos(1_763_000_000_000_000_000);

/// Most patterns that an input brings along.
const MOST_PATTERNS: usize = 8;

const RULES: &str = r#"
category = "shop"
[[rules]]
name = "DB_CONNECT_FAILED"
pattern = 'failed to connect to .{0,40}database'
score = 7.5
[[rules]]
name = "DISK"
pattern = '(disk|volume) (is )?full'
unless = 'not full'
level = "fatal"
[[rules]]
name = "STATUS"
fields = 'http.status in 500..599 and not path starts_with "/health"'
score = 4
[[rules]]
name = "ANY_ITEM"
fields = 'list any contains "x"'
"#;

static SET: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    let parsed = rules::parse("oracle.toml", RULES);
    Arc::new(RuleSet::compile(parsed.rules).set)
});

/// Rules with an input's own patterns, one a line; the later ones count more.
pub(crate) fn rules_of(patterns: &str) -> Vec<Rule> {
    let file = Arc::from("patterns");
    let rules = patterns.lines().take(MOST_PATTERNS).enumerate().map(|(number, pattern)| {
        let mut rule = Rule::new(&format!("RULE_{number}"), &file, number + 1);
        rule.pattern = pattern.to_owned();
        rule.score = number as f32;
        rule
    });
    rules.filter(|rule| !rule.pattern.is_empty()).collect()
}

/// The secret by which seeds are signed.
pub(crate) fn secret() -> Secret {
    Secret::parse(&[b'7'; 64]).expect("64 hex digits")
}

/// Settings by the bits of a byte; sources need no time to be known, so that much is flagged.
pub(crate) fn settings(choice: u8) -> Settings {
    let profile = [Profile::Nested, Profile::Flat, Profile::Otel, Profile::Ecs][usize::from(choice & 3)];
    let mode = [Mode::Divert, Mode::Copy, Mode::Inline, Mode::Divert][usize::from(choice >> 4 & 3)];
    let options = Options {
        profile: Some(profile),
        annotate: Some(if choice & 4 == 0 { Annotate::All } else { Annotate::Flagged }),
        detail: Some(if choice & 8 == 0 { Detail::Full } else { Detail::Minimal }),
        mode: Some(mode),
        advice_dir: Some("unused".to_owned()),
        summary_interval_seconds: Some(0),
        max_templates_per_source: Some(20),
        max_templates: Some(40),
        max_sources: Some(4),
        ..Options::default()
    };
    Settings::new(&options).expect("these are allowed").without_warmup()
}

/// A plugin with these settings that has seen nothing.
pub(crate) fn plugin(choice: u8) -> Plugin {
    let mut plugin = Plugin::new(settings(choice));
    plugin.apply(Changes {
        rules: Some(Arc::clone(&SET)),
        secret: Some(secret()),
        alive: Some(UnixNanos(0)),
        ..Changes::default()
    });
    plugin
}
