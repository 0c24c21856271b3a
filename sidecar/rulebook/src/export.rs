//! Rules out: our TOML, the text format, and alert rules for Prometheus and Loki; what a format cannot hold is listed.

use std::fmt::Write as _;

use oddline_engine::rules::{self, severity_word};

use crate::{
    document,
    draft::{Draft, Remark},
};

/// What rules are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Rule files of our own, complete.
    Toml,
    /// `NAME REGEX [score] [description]`.
    Text,
    /// Prometheus alert rules over the sidecar's metrics.
    Prometheus,
    /// Loki ruler alert rules over the tags on records.
    Loki,
}

/// What alert rules are made with.
#[derive(Clone, Debug)]
pub struct Alerting {
    /// Loki's stream selector, such as `{job="fluent-bit"}`.
    pub selector: String,
    /// The key of the tags on records (the option `key`).
    pub key: String,
    /// How far an alert looks back, as Prometheus writes durations.
    pub window: String,
    /// Alerts for rules from this score on only.
    pub min_score: f32,
}

impl Default for Alerting {
    fn default() -> Self {
        Alerting {
            selector: "{job=~\".+\"}".to_owned(),
            key: "anomaly".to_owned(),
            window: "5m".to_owned(),
            min_score: 3.5,
        }
    }
}

/// The text, and what is not in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// The whole file.
    pub text: String,
    /// What was lost, per rule.
    pub losses: Vec<Remark>,
}

/// Writes rules. Each comes with the place it was read from.
pub fn export(rules: &[(Draft, String)], target: Target, alerting: &Alerting) -> Exported {
    let mut losses = Vec::new();
    let mut lost = |draft: &Draft, place: &str, reason: String| {
        losses.push(Remark { file: place.to_owned(), rule: Some(draft.name.clone()), source: None, reason });
    };
    let text = match target {
        Target::Toml => {
            let drafts: Vec<Draft> = rules.iter().map(|(draft, _)| draft.clone()).collect();
            document::write(&drafts, "")
        }
        Target::Text => {
            let mut text = String::new();
            for (draft, place) in rules {
                match line(draft) {
                    Ok((line, missing)) => {
                        text.push_str(&line);
                        if !missing.is_empty() {
                            lost(draft, place, format!("the text format has no {}", missing.join(", ")));
                        }
                    }
                    Err(reason) => lost(draft, place, format!("left out: {reason}")),
                }
            }
            text
        }
        Target::Prometheus | Target::Loki => {
            let chosen = rules.iter().filter(|(draft, place)| match () {
                () if !draft.enabled => {
                    lost(draft, place, "left out: the rule is off".to_owned());
                    false
                }
                () if draft.score < alerting.min_score => {
                    let reason =
                        format!("left out: its score {} is below {}", draft.score, alerting.min_score);
                    lost(draft, place, reason);
                    false
                }
                () => true,
            });
            let drafts: Vec<&Draft> = chosen.map(|(draft, _)| draft).collect();
            alerts(&drafts, target, alerting)
        }
    };
    Exported { text, losses }
}

/// One rule as a line, and which of its keys the line cannot hold.
fn line(draft: &Draft) -> Result<(String, Vec<&'static str>), String> {
    let missing = missing(draft);
    let Some(pattern) = &draft.pattern else {
        return Err(format!("it has no pattern, and the text format has no {}", missing.join(", ")));
    };
    if !draft.enabled {
        return Err("the rule is off, which the text format cannot say".to_owned());
    }
    if !draft.unless.is_empty() || !draft.fields.is_empty() || draft.when.is_some() {
        // Without them it would hit more than it should.
        return Err(format!("the text format has no {}", missing.join(", ")));
    }
    let line = format!("{} {} {} {}", draft.name, quoted(pattern), draft.score, draft.description);
    let line = format!("{}\n", line.trim_end());
    // The format has its own ideas of quotes; what does not read back is no export.
    let read = rules::parse("line.rules", &line);
    match read.rules.as_slice() {
        [rule] if rule.pattern == *pattern && rule.score == draft.score => Ok((line, missing)),
        _ => Err("its pattern cannot be quoted in the text format".to_owned()),
    }
}

fn missing(draft: &Draft) -> Vec<&'static str> {
    let keys = [
        ("fields", !draft.fields.is_empty()),
        ("unless", !draft.unless.is_empty()),
        ("when", draft.when.is_some()),
        ("level", draft.level.is_some()),
        ("level_only", draft.level_only),
        ("category", draft.category.as_deref().is_some_and(|it| it != rules::DEFAULT_CATEGORY)),
        ("tags", !draft.tags.is_empty()),
        ("examples", !draft.matches.is_empty() || !draft.misses.is_empty()),
    ];
    keys.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key).collect()
}

/// A pattern between quotes: a backslash before a quote is only there for the quote.
fn quoted(pattern: &str) -> String {
    let quote = if pattern.contains('"') && !pattern.contains('/') { '/' } else { '"' };
    let mut out = String::from(quote);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                out.extend(chars.next());
            }
            c if c == quote => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// Alert rules in YAML, one group a category. Texts are written as JSON strings, which YAML reads as they are.
fn alerts(drafts: &[&Draft], target: Target, alerting: &Alerting) -> String {
    let category =
        |draft: &Draft| draft.category.clone().unwrap_or_else(|| rules::DEFAULT_CATEGORY.to_owned());
    let mut categories: Vec<String> = drafts.iter().map(|draft| category(draft)).collect();
    categories.sort();
    categories.dedup();
    let mut text = String::from("groups:\n");
    if categories.is_empty() {
        text = String::from("groups: []\n");
    }
    for group in categories {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  - name: {}\n    rules:", yaml(&format!("oddline-{group}")));
        for draft in drafts.iter().filter(|draft| category(draft) == group) {
            let expr = match target {
                Target::Loki => loki(draft, alerting),
                _ => format!(
                    "sum(increase(oddline_rule_hits_total{{rule={}}}[{}])) > 0",
                    yaml(&draft.name),
                    alerting.window
                ),
            };
            let _ = writeln!(text, "      - alert: {}", yaml(&format!("Oddline{}", camel(&draft.name))));
            let _ = writeln!(text, "        expr: {}", yaml(&expr));
            let (severity, summary) = (severity_word(draft.score), &draft.description);
            let _ = writeln!(
                text,
                "        labels: {{severity: {severity}, category: {}, rule: {}}}",
                yaml(&group),
                yaml(&draft.name)
            );
            let _ = writeln!(text, "        annotations: {{summary: {}}}", yaml(summary));
        }
    }
    text
}

fn loki(draft: &Draft, alerting: &Alerting) -> String {
    let label: String =
        alerting.key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!(
        "sum(count_over_time({} | json | {label}_rule={} [{}])) > 0",
        alerting.selector,
        yaml(&draft.name),
        alerting.window
    )
}

/// A string in double quotes, as JSON, YAML, PromQL and LogQL agree on it.
fn yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `LOGIN_FAILED` as `LoginFailed`.
fn camel(name: &str) -> String {
    let word = |word: &str| {
        let (head, tail) = word.split_at(word.len().min(1));
        format!("{head}{}", tail.to_ascii_lowercase())
    };
    name.split('_').map(word).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn rules() -> Vec<(Draft, String)> {
        let login = Draft {
            pattern: Some(r#"login "\w+" failed/denied"#.to_owned()),
            score: 4.0,
            category: Some("security".to_owned()),
            description: "it's a \"bad\" login".to_owned(),
            ..Draft::named("LOGIN_FAILED")
        };
        let slow = Draft { fields: vec!["ms > 500".to_owned()], score: 5.5, ..Draft::named("SLOW") };
        let quiet = Draft {
            pattern: Some("quiet".to_owned()),
            level_only: true,
            score: 1.0,
            ..Draft::named("QUIET")
        };
        [login, slow, quiet].into_iter().enumerate().map(|(n, rule)| (rule, format!("my.toml:{n}"))).collect()
    }

    fn told(target: Target) -> String {
        let exported = export(&rules(), target, &Alerting::default());
        let losses: Vec<String> = exported.losses.iter().map(ToString::to_string).collect();
        format!("{}--\n{}\n", exported.text, losses.join("\n"))
    }

    #[test]
    fn text_says_what_it_cannot_hold() {
        expect![[r#"
            LOGIN_FAILED "login \"\w+\" failed/denied" 4 it's a "bad" login
            QUIET "quiet" 1
            --
            my.toml:0: LOGIN_FAILED: the text format has no category
            my.toml:1: SLOW: left out: it has no pattern, and the text format has no fields
            my.toml:2: QUIET: the text format has no level_only
        "#]]
        .assert_eq(&told(Target::Text));
    }

    #[test]
    fn alert_rules() {
        expect![[r#"
            groups:
              - name: "oddline-custom"
                rules:
                  - alert: "OddlineSlow"
                    expr: "sum(increase(oddline_rule_hits_total{rule=\"SLOW\"}[5m])) > 0"
                    labels: {severity: critical, category: "custom", rule: "SLOW"}
                    annotations: {summary: ""}
              - name: "oddline-security"
                rules:
                  - alert: "OddlineLoginFailed"
                    expr: "sum(increase(oddline_rule_hits_total{rule=\"LOGIN_FAILED\"}[5m])) > 0"
                    labels: {severity: high, category: "security", rule: "LOGIN_FAILED"}
                    annotations: {summary: "it's a \"bad\" login"}
            --
            my.toml:2: QUIET: left out: its score 1 is below 3.5
        "#]]
        .assert_eq(&told(Target::Prometheus));
        assert!(told(Target::Loki).contains(
            r#"expr: "sum(count_over_time({job=~\".+\"} | json | anomaly_rule=\"SLOW\" [5m])) > 0""#
        ));
    }

    #[test]
    fn toml_reads_back_as_it_was() {
        let exported = export(&rules(), Target::Toml, &Alerting::default());
        assert_eq!(exported.losses, []);
        let read: Vec<Draft> = rules::parse("a.toml", &exported.text).rules.iter().map(Draft::from).collect();
        let mut wanted: Vec<Draft> = rules().into_iter().map(|(draft, _)| draft).collect();
        wanted
            .iter_mut()
            .filter(|it| it.category.is_none())
            .for_each(|it| it.category = Some("custom".to_owned()));
        assert_eq!(read, wanted);
    }
}
