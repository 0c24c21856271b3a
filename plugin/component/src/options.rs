//! Options as text become an engine. The names are those of every shell; what a component cannot do is refused by name.

use std::sync::Arc;

use oddline_engine::{
    Engine, Options, Settings,
    rules::{self, RuleSet},
};

/// The one option that means something else here: there are no files, so it is the text of a TOML rule file itself.
const RULES: &str = "rules";
/// Options that name a file or speak of the sidecar.
const ELSEWHERE: [&str; 5] =
    ["advice_dir", "state_file", "state_interval_seconds", "summary_interval_seconds", "node"];

/// Templates unless an option says otherwise: the state of more would seldom fit into the 4 MiB that hosts keep of a component.
const MAX_TEMPLATES: u64 = 3_000;

/// An engine with these options.
///
/// # Errors
/// In one line: the option, and what it takes.
pub(crate) fn engine<'o>(given: impl Iterator<Item = (&'o str, &'o str)>) -> Result<Engine, String> {
    let mut options = Options { max_templates: Some(MAX_TEMPLATES), ..Options::default() };
    let mut own = "";
    for (name, value) in given {
        match name {
            RULES => own = value,
            name if ELSEWHERE.contains(&name) => {
                return Err(format!("option `{name}`: a component has no files; leave it out"));
            }
            name => options.set(name, value).map_err(|error| error.to_string())?,
        }
    }
    let settings = Settings::new(&options).map_err(|errors| errors.to_string())?;
    if own.is_empty() {
        return Ok(builtin(settings));
    }
    let mut all = if settings.builtin_rules() { rules::builtin_rules() } else { Vec::new() };
    let parsed = rules::parse("rules.toml", own);
    all.extend(parsed.rules);
    let compiled = RuleSet::compile(all);
    // There is no log to say it in, and a rule that is not there is not missed until it is too late.
    if let Some(problem) = parsed.problems.iter().chain(&compiled.problems).next() {
        return Err(format!("option `{RULES}`: {problem}"));
    }
    Ok(Engine::new(settings, Arc::new(compiled.set)))
}

/// An engine without rules of a user's own.
pub(crate) fn builtin(settings: Settings) -> Engine {
    let rules = if settings.builtin_rules() { RuleSet::builtin() } else { RuleSet::compile(Vec::new()).set };
    Engine::new(settings, Arc::new(rules))
}

#[cfg(test)]
mod tests {
    use oddline_engine::{Record, UnixNanos};

    use super::*;

    fn refused(given: &[(&str, &str)]) -> String {
        engine(given.iter().copied()).unwrap_err()
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(refused(&[("treshold", "1")]), "unknown option `treshold`; did you mean `threshold`?");
        assert_eq!(refused(&[("sigma", "21")]), "option `sigma` is `21`; allowed: 1..=20");
        assert_eq!(
            refused(&[("advice_dir", "/run/oddline")]),
            "option `advice_dir`: a component has no files; leave it out"
        );
        let broken = "[[rules]]\nname = \"BROKEN\"\npattern = \"(\"\nscore = 6\n";
        let error = refused(&[("builtin_rules", "false"), ("rules", broken)]);
        assert!(error.starts_with("option `rules`: ") && error.contains("BROKEN"), "{error}");
    }

    #[test]
    fn what_is_remembered_by_default_fits_into_what_hosts_keep() {
        let mut engine = engine([("builtin_rules", "false")].into_iter()).unwrap();
        let letters = |number: usize| {
            [26 * 26, 26, 1]
                .map(|place| char::from(b'a' + (number / place % 26) as u8))
                .iter()
                .collect::<String>()
        };
        for number in 0..2 * MAX_TEMPLATES as usize {
            // Nothing in common, and longer than what is kept of a template.
            let message = format!("{0} {0}", letters(number)).repeat(180);
            let tag = letters(number % 10);
            engine.observe(&Record::from_line(tag.as_bytes(), message.as_bytes()), UnixNanos(number as i64));
        }
        assert_eq!(engine.counters().templates, MAX_TEMPLATES);
        assert!(engine.snapshot().len() <= 4 << 20, "{}", engine.snapshot().len());
    }

    #[test]
    fn rules_of_ones_own_stand_beside_the_built_in_ones_or_alone() {
        let own = "[[rules]]\nname = \"PUMP_STOPPED\"\npattern = \"pump stopped\"\nscore = 6\n";
        let alone = engine([("builtin_rules", "false"), ("rules", own)].into_iter()).unwrap();
        assert_eq!(alone.rules().len(), 1);
        let beside = engine([("rules", own)].into_iter()).unwrap();
        assert_eq!(beside.rules().len(), RuleSet::builtin().len() + 1);
        assert_eq!(engine(std::iter::empty()).unwrap().rules().len(), RuleSet::builtin().len());
    }
}
