//! One rule for each finding, and rules about which there is nothing to say.

use oddline_engine::rules::{builtin_rules, parse};

use super::{NEUTRAL, lint};

/// Everything that is said about a file, without its name.
fn found(text: &str) -> Vec<String> {
    let parsed = parse("my.toml", text);
    let findings = lint(&parsed.rules, &parsed.problems, &|_| true);
    findings.iter().map(|it| it.to_string().replacen("my.toml:", "", 1)).collect()
}

/// What is said about one rule that is described and has examples.
fn of(keys: &str) -> Vec<String> {
    found(&format!("[[rules]]\nname = \"A\"\ndescription = \"a thing\"\n{keys}\n"))
}

#[test]
fn a_good_rule_is_passed_over() {
    assert_eq!(
        of("pattern = 'pump \\d+ stopped'\nmatch = ['pump 7 stopped']\nmiss = ['pump 7 started']"),
        [""; 0]
    );
}

#[test]
fn what_keeps_a_rule_from_working_is_an_error() {
    for (keys, wanted) in [
        (
            "pattern = 'pump('\nmatch = ['pump']\nmiss = ['p']",
            "1: error: invalid: A: pattern: is not a regex",
        ),
        ("patern = 'pump'", "4: error: invalid: A: patern: is not a key; did you mean `pattern`?"),
        (
            "pattern = 'pump'\nmatch = ['pomp']\nmiss = ['p']",
            "1: error: example: A: match: the rule does not hit its example `pomp`",
        ),
        (
            "pattern = 'pump'\nmatch = ['pump']\nmiss = ['a pump']",
            "1: error: example: A: miss: the rule hits its counter-example `a pump`",
        ),
        (
            "pattern = 'pump^ed'\nmatch = []\nmiss = ['p']",
            "1: error: never-matches: A: pattern: no text can match it",
        ),
        (
            "pattern = 'pump 1'\nunless = 'pump'\nmatch = []\nmiss = ['p']",
            "1: error: never-matches: A: unless: `pump` matches wherever the pattern does",
        ),
        (
            "fields = 'a == 1 and a == 2'\nmatch = []\nmiss = ['p']",
            "1: error: never-matches: A: fields: a can never be both `1` and `2`",
        ),
        (
            "pattern = 'pump'\nwhen = '.a >='\nmatch = ['pump']\nmiss = ['p']",
            "1: error: invalid: A: when: column 6: syntax error",
        ),
    ] {
        let found = of(keys);
        assert!(found.iter().any(|it| it.starts_with(wanted)), "{keys}: {found:#?}");
    }
}

#[test]
fn what_makes_a_rule_doubtful_is_a_warning() {
    for (keys, wanted) in [
        (
            "pattern = '\\d\\d:\\d\\d'\nmatch = ['12:34']\nmiss = ['p']",
            "1: warning: slow: A: pattern: no text of three letters",
        ),
        (
            "pattern = 'pump.{1,900}x.{1,900}y'\nmatch = ['pump x y']\nmiss = ['p']",
            "1: warning: slow: A: compiled, it takes",
        ),
        (
            "pattern = 'pump.{0,80}valve.{0,60}stuck'\nmatch = ['pump valve stuck']\nmiss = ['p']",
            "1: warning: slow: A: on texts made of pieces of what `pump.{0,80}valve.{0,60}stuck` matches",
        ),
        (
            "fields = \"path matches 'pump[^/]{0,80}valve[^/]{0,60}stuck'\"\nmatch = [{ path = 'pump valve stuck' }]\nmiss = ['p']",
            "1: warning: slow: A: on texts made of pieces of what `pump[^/]{0,80}valve",
        ),
        (
            "pattern = '[Pp]ump on'\nmatch = ['pump on']\nmiss = ['p']",
            "1: warning: case: A: pattern: case is ignored, so `[Pp]`",
        ),
        ("pattern = 'session'\nmatch = ['session']\nmiss = ['p']", "1: warning: too-general: A: hits"),
        ("pattern = 'pump'", "1: warning: untested: A: match, miss"),
    ] {
        let found = of(keys);
        assert!(found.iter().any(|it| it.starts_with(wanted)), "{keys}: {found:#?}");
    }
    let told =
        of("pattern = 'pump.{0,80}valve.{0,60}stuck'\nmatch = ['pump valve stuck']\nmiss = ['p']").concat();
    assert!(told.contains("write `.*` for `.{0,80}`, or `[^x]*`"), "{told}");
    assert!(of("pattern = 'pump.*valve.*stuck'\nmatch = ['pump valve stuck']\nmiss = ['p']").is_empty());
    let found = found("[[rules]]\nname = \"A\"\npattern = 'pump'\nmatch = ['pump']\nmiss = ['p']\n");
    assert!(found[0].starts_with("1: warning: undescribed: A: "), "{found:#?}");
}

#[test]
fn rules_that_collide() {
    let rule = |name: &str, pattern: &str, score: f32, example: &str| {
        format!(
            "[[rules]]\nname = \"{name}\"\npattern = '{pattern}'\nscore = {score}\ndescription = \"x\"\nmatch = ['{example}']\nmiss = ['other']\n"
        )
    };
    let both = |a: String, b: String| found(&format!("{a}{b}"));
    let same = both(rule("A", "Pump", 1.0, "pump"), rule("B", "pump", 0.5, "pump"));
    assert!(
        same.iter().any(|it| it.starts_with("8: error: duplicate: B: says the same as A at my.toml:1")),
        "{same:#?}"
    );
    let name = both(rule("A", "pump", 1.0, "pump"), rule("A", "valve", 1.0, "valve"));
    assert!(
        name.iter().any(|it| it.starts_with("8: error: duplicate: A: name: is already used")),
        "{name:#?}"
    );
    let shadowed = both(rule("A", "pump", 6.0, "pump"), rule("B", r"pump \d+", 4.0, "pump 1"));
    assert!(
        shadowed.iter().any(|it| it.starts_with(
            "8: warning: shadowed: B: every message that it matches is matched by A too, which scores 6"
        )),
        "{shadowed:#?}"
    );
    let other = both(rule("A", "pump", 4.0, "pump"), rule("B", r"pump \d+", 6.0, "pump 1"));
    assert_eq!(other, [""; 0]);
    let beside = both(rule("A", "pump", 6.0, "pump"), rule("B", "pump|valve", 4.0, "pump"));
    assert_eq!(beside, [""; 0]);
}

#[test]
fn there_is_nothing_to_say_about_the_built_in_rules() {
    assert!(NEUTRAL.lines().count() >= 100);
    let found: Vec<String> = lint(&builtin_rules(), &[], &|_| true).iter().map(ToString::to_string).collect();
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_rule_about_the_level_alone_asks_for_nothing_else() {
    let rest = "match = []\nmiss = ['p']\nlevel_only = true";
    let said = |keys: &str| {
        let found = of(&format!("{keys}\n{rest}"));
        found.into_iter().filter(|it| it.contains("level-only")).collect::<Vec<_>>()
    };
    assert_eq!(said("pattern = 'GRAVE'\nfields = 'level == error'"), [""; 0]);
    assert_eq!(
        said("fields = 'level == error and not http.status < 500'"),
        [
            "1: warning: level-only: A: level_only: the rule asks for http.status as well; without the key it does not wear off"
        ]
    );
    assert!(said("pattern = 'GRAVE'\nwhen = '.a == 1'")[0].contains("asks for a condition in VRL as well"));
}

#[test]
fn a_rule_in_the_place_of_a_level_rule_is_one_too() {
    let own = "[[rules]]\nname = \"SEVERITY_ERROR\"\npattern = 'GRAVE'\nlevel = \"error\"\n";
    let said = |text: &str| found(text).iter().filter(|it| it.contains("level-only")).count();
    assert_eq!(said(own), 1);
    assert_eq!(said(&format!("{own}level_only = true\n")), 0);
}
