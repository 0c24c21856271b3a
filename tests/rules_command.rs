//! `oddline rules` as a program: what it lists, changes, brings in and gives out, and how it refuses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// A home of its own for each test.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.oddline();
        command.arg("rules").args(arguments);
        command
    }

    fn oddline(&self) -> Command {
        let mut command = Command::new(acceptance::built("ODDLINE_BIN"));
        command.env_clear().env("HOME", self.0.path()).env("XDG_CONFIG_HOME", self.0.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it printed; it must have succeeded.
    fn told(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.told(&[arguments, &["--format", "json"]].concat())).unwrap()
    }

    /// Exit code and what it complained about.
    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Where rules of one's own go if nothing is said.
    fn own(&self) -> String {
        fs::read_to_string(self.path("oddline/rules/own.toml")).unwrap()
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap()).collect()
}

#[test]
fn the_built_in_rules_are_listed_tested_and_in_order() {
    let home = Home::new();
    let all = home.json(&["list", "--enabled"]);
    let rules = all.as_array().unwrap();
    assert!(rules.len() >= 320, "{} rules", rules.len());
    for rule in rules {
        let text = |key: &str| !rule[key].as_str().unwrap().is_empty();
        assert!(text("category") && text("description"), "{rule}");
        assert!(rule["examples"].as_u64().unwrap() >= 3, "{rule}");
    }
    let found = home.json(&["list", "--category", "security", "--min-score", "5", "--search", "brute"]);
    assert!(names(&found).contains(&"BRUTE_FORCE"), "{found}");
    let tested = home.json(&["test"]);
    assert_eq!(tested["failures"].as_array().unwrap().len(), 0, "{tested}");
    assert_eq!(home.json(&["lint"]).as_array().unwrap().len(), 0);
}

#[test]
fn the_rules_of_the_usual_folder_count_unless_they_are_left_out() {
    let home = Home::new();
    home.told(&["new", "PUMP_STOPPED", "--pattern", r"pump \d+ stopped", "--score", "6"]);
    let log = home.write("plant.log", "pump 7 stopped\n");
    let rule = |arguments: &[&str]| {
        let output = home.oddline().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        told["anomaly"]["rule"].as_str().map(str::to_owned)
    };
    let own = Some("PUMP_STOPPED".to_owned());
    assert_eq!(rule(&["scan", "--all", "--format", "json", &log]), own);
    assert_eq!(rule(&["scan", "--all", "--format", "json", "--no-user-rules", &log]), None);
    let state = ["--set".to_owned(), format!("state.dir={}", home.path("state").display())];
    let check = ["check", "--format", "json", &state[0], &state[1], "pump 7 stopped"];
    assert_eq!(rule(&check), own);
    assert_eq!(rule(&[&check[..], &["--no-user-rules"]].concat()), None);
    assert_eq!(home.json(&["list", "--search", "pump_stopped"]).as_array().unwrap().len(), 1);
    assert_eq!(
        home.json(&["list", "--no-user-rules", "--search", "pump_stopped"]).as_array().unwrap().len(),
        0
    );
}

#[test]
fn a_rule_is_made_changed_turned_off_and_deleted() {
    let home = Home::new();
    let new = ["new", "PUMP_STOPPED", "--pattern", r"pump \d+ stopped", "--severity", "critical"];
    let rest =
        ["--description", "a pump stands still", "--match", "pump 7 stopped", "--miss", "pump 7 started"];
    home.told(&[&new[..], &rest[..]].concat());
    let file = home.path("oddline/rules/own.toml");
    fs::write(&file, format!("# Mine.\n{}", home.own())).unwrap();
    assert_eq!(home.json(&["show", "PUMP_STOPPED"])["score"], 6.0);
    home.told(&["edit", "PUMP_STOPPED", "--score", "7.5", "--tag", "plant"]);
    let shown = home.json(&["show", "pump_stopped"]);
    assert_eq!(
        (&shown["score"], &shown["tags"][0], &shown["match"][0]),
        (&7.5.into(), &"plant".into(), &"pump 7 stopped".into())
    );
    home.told(&["disable", "PUMP_STOPPED"]);
    assert_eq!(home.json(&["show", "PUMP_STOPPED"])["enabled"], false);
    home.told(&["enable", "PUMP_STOPPED"]);
    assert_eq!(home.json(&["show", "PUMP_STOPPED"])["enabled"], true);
    assert!(home.own().starts_with("# Mine.\n"), "{}", home.own());
    assert_eq!(home.json(&["test", "PUMP_STOPPED"])["examples"], 2);
    home.told(&["delete", "PUMP_STOPPED"]);
    let (code, reason) = home.refused(&["show", "PUMP_STOPED"]);
    assert_eq!(code, 64, "{reason}");
}

#[test]
fn a_built_in_rule_is_turned_off_and_on_and_replaced() {
    let home = Home::new();
    let before = names(&home.json(&["list", "--enabled"])).len();
    home.told(&["disable", "OOM_KILL"]);
    assert_eq!(names(&home.json(&["list", "--enabled"])).len(), before - 1);
    assert!(home.own().contains("name = \"OOM_KILL\"\nenabled = false"), "{}", home.own());
    home.told(&["enable", "OOM_KILL"]);
    assert!(!home.own().contains("OOM_KILL"), "{}", home.own());
    home.told(&["edit", "OOM_KILL", "--score", "3"]);
    let shown = home.json(&["show", "OOM_KILL"]);
    assert_eq!((&shown["score"], &shown["builtin"]), (&3.0.into(), &false.into()));
    assert_eq!(names(&home.json(&["list", "--enabled"])).len(), before);
    let told = home.told(&["delete", "OOM_KILL"]);
    assert!(told.contains("the built-in one counts again"), "{told}");
    let (code, reason) = home.refused(&["delete", "OOM_KILL"]);
    assert!(code == 64 && reason.contains("is built in and cannot be deleted"), "{reason}");
}

#[test]
fn a_rule_of_the_level_alone_stays_one_when_it_is_changed() {
    let home = Home::new();
    let marked = |name: &str| home.json(&["show", name])["level_only"].clone();
    assert_eq!((marked("SEVERITY_ERROR"), marked("OOM_KILL")), (true.into(), false.into()));
    home.told(&["edit", "SEVERITY_ERROR", "--score", "3"]);
    assert!(home.own().contains("level = \"error\"\nlevel_only = true\nscore = 3"), "{}", home.own());
    home.told(&["edit", "SEVERITY_ERROR", "--level-only=false"]);
    assert!(!home.own().contains("level_only") && marked("SEVERITY_ERROR") == false, "{}", home.own());
    home.told(&["new", "GRAVE_WORDS", "--pattern", "gravely", "--level-only"]);
    assert_eq!(marked("GRAVE_WORDS"), true);
    let listed = home.json(&["list", "--own"]);
    assert_eq!(listed.as_array().unwrap().iter().filter(|rule| rule["level_only"] == true).count(), 1);
}

#[test]
fn what_is_wrong_is_refused_with_the_reason_and_changes_nothing() {
    let home = Home::new();
    home.told(&[
        "new",
        "GOOD",
        "--pattern",
        "good thing",
        "--match",
        "a good thing",
        "--miss",
        "a bad thing",
    ]);
    let before = home.own();
    for (arguments, wanted) in [
        (&["new", "BAD", "--pattern", "("][..], "is not a regex"),
        (&["new", "bad", "--pattern", "x"], "is not a name in capitals"),
        (&["new", "GOOD", "--pattern", "x"], "is there already"),
        (&["new", "BAD", "--pattern", "abc", "--match", "xyz"], "does not hit its example"),
        (&["new", "BAD", "--fields", "status >"], "column"),
        (&["new", "BAD", "--when", ".a >"], "when: column"),
        (&["new", "BAD"], "is missing; a rule needs a pattern or fields"),
        (&["edit", "GOOD", "--score", "11"], "is not within 0..=10"),
        (&["edit", "GOOD"], "EDITOR is not set"),
        (&["disable", "GOD"], "did you mean GOOD?"),
        (&["list", "--category", "scurity"], "no rule is of it; there are application, custom"),
        (&["export", "--as", "text", "--min-score", "11"], "is not within 0..=10"),
        (&["lint", "GOD"], "did you mean GOOD?"),
        (&["show", "NOPE"], "there is no rule NOPE\n"),
        (&["nosuch"], "unrecognized subcommand"),
        (&["import", "--map", "x", "--output", "-", "Cargo.toml"], "is not written FROM=TO"),
    ] {
        let (code, reason) = home.refused(arguments);
        assert_eq!(code, 64, "{arguments:?}: {reason}");
        assert!(reason.contains(wanted), "{arguments:?}: {reason}");
        assert_eq!(home.own(), before);
    }
    let (code, reason) =
        home.refused(&["list", "--rules", "/nonexistent/config", "--config", "/nonexistent"]);
    assert!(code != 0 && reason.contains("/nonexistent"), "{reason}");
}

#[test]
fn a_rule_is_looked_over_by_its_name_without_what_others_have() {
    let home = Home::new();
    let files = "GOOD /good thing/ 3\nOPEN /(/ 3\n";
    home.write("oddline/rules/my.rules", files);
    let (code, _) = home.refused(&["lint"]);
    assert_eq!(code, 1);
    let found = home.run(&["lint", "GOOD", "OOM_KILL", "--format", "json"]);
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let rules: Vec<_> = found.as_array().unwrap().iter().map(|it| it["rule"].as_str()).collect();
    assert!(!rules.is_empty() && rules.iter().all(|rule| *rule == Some("GOOD")), "{found}");
}

#[test]
fn programs_get_one_line_and_a_closed_pipe_is_no_fault() {
    let home = Home::new();
    let log = home.write("a.log", "ERROR: no space left on device\n");
    let json = ["--format", "json"];
    for arguments in [&["list"][..], &["test"], &["lint"], &["show", "OOM_KILL"], &["backtest", &log]] {
        let text = home.told(&[arguments, &json].concat());
        assert_eq!(text.lines().count(), 1, "{arguments:?}");
    }
    for arguments in
        [&["rules", "list", "--format", "json"][..], &["rules", "list"], &["completions", "bash"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = home.oddline().args(arguments).stdout(writer).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn an_editor_changes_a_copy() {
    let home = Home::new();
    home.told(&[
        "new",
        "GOOD",
        "--pattern",
        "good thing",
        "--match",
        "a good thing",
        "--miss",
        "a bad thing",
    ]);
    let edit = |script: &str| {
        let editor = home.write("editor.sh", format!("#!/bin/sh\n{script}\n"));
        let path = std::env::var_os("PATH").unwrap();
        home.command(&["edit", "GOOD"])
            .env("EDITOR", format!("sh {editor}"))
            .env("PATH", path)
            .output()
            .unwrap()
    };
    assert!(edit("sed -i 's/good/great/' \"$1\"").status.success());
    assert!(home.own().contains("pattern = \"great thing\""), "{}", home.own());
    let before = home.own();
    for broken in ["echo '[[' > \"$1\"", "sed -i 's/great thing/(/' \"$1\"", ": > \"$1\"", "exit 3"] {
        assert!(!edit(broken).status.success(), "{broken}");
        assert_eq!(home.own(), before, "{broken}");
    }
}

const SIGMA: &str = "title: Shell in a request\nid: 7d0c\nlogsource: {category: webserver}\ndetection:\n  a:\n    cs-uri-query|contains: ['/bin/sh', 'cmd.exe']\n  ok: {sc-status: 404}\n  condition: a and not ok\nlevel: high\ntags: [attack.t1190]\n";

#[test]
fn a_folder_of_sigma_rules_is_brought_in_with_a_report() {
    let home = Home::new();
    home.write("sigma/web/shell.yml", SIGMA);
    home.write("sigma/linux/words.yml", "title: Words\nlogsource: {product: linux}\ndetection: {k: ['odd words', 'odder ones'], condition: k}\n");
    home.write(
        "sigma/linux/when.yml",
        "title: At night\nlogsource: {product: linux}\ndetection: {k: {a|hour: 3}, condition: k}\n",
    );
    home.write("sigma/broken.yml", "title: [");
    home.write("sigma/latin.yml", b"title: \xe9\n");
    home.write("sigma/notes.md", "# not a rule\n");
    let folder = home.path("sigma").display().to_string();
    let output = home.path("sigma.toml").display().to_string();
    let report = home.json(&["import", &folder, "--output", &output]);
    assert_eq!(
        (&report["taken"], &report["sources"]["webserver"]["taken"]),
        (&2.into(), &1.into()),
        "{report}"
    );
    let left: Vec<String> = report["left_out"].as_array().unwrap().iter().map(ToString::to_string).collect();
    for wanted in ["part of the time", "broken.yml", "is not UTF-8 (byte 7)"] {
        assert!(left.iter().any(|it| it.contains(wanted)), "{wanted}: {left:?}");
    }
    assert_eq!(left.len(), 3, "{left:?}");
    let shown = home.json(&["show", "SIGMA_SHELL_IN_A_REQUEST", "--rules", &output]);
    assert_eq!(shown["fields"][0], r#"path contains "/bin/sh" or path contains "cmd.exe""#);
    let (code, reason) = home.refused(&["import", &folder, "--output", &output]);
    assert!(code == 64 && reason.contains("--force"), "{reason}");
    // What came in works: one record hits, another does not.
    let log = home.write(
        "app.json",
        "{\"path\":\"/x?q=/bin/sh\",\"code\":200}\n{\"path\":\"/x?q=/bin/sh\",\"code\":404}\nodd words\n",
    );
    let tested = home.json(&["backtest", &log, "--rules", &output, "--no-builtin"]);
    assert_eq!((&tested["hit"], &tested["records"]), (&2.into(), &2.into()), "{tested}");
}

#[test]
fn what_is_given_out_comes_in_again() {
    let home = Home::new();
    let everything = home.path("all.toml").display().to_string();
    home.told(&["export", "--output", &everything]);
    let again = home.path("again.toml").display().to_string();
    let report = home.json(&["import", &everything, "--output", &again, "--no-builtin"]);
    assert_eq!(report["left_out"].as_array().unwrap().len(), 0, "{report}");
    let listed = |path: &str| {
        let mut list = home.json(&["list", "--rules", path, "--no-builtin"]);
        list.as_array_mut().unwrap().iter_mut().for_each(|rule| {
            let rule = rule.as_object_mut().unwrap();
            rule.remove("file");
            rule.remove("line");
        });
        list
    };
    assert_eq!(listed(&everything), listed(&again));
    let losses = home.json(&["export", "--as", "text", "--category", "security"]);
    assert!(losses["text"].as_str().unwrap().contains("LOGIN_FAILED "), "{losses}");
    for (target, wanted) in
        [("prometheus", "oddline_rule_hits_total{rule="), ("loki", "| json | anomaly_rule=")]
    {
        let text = home.told(&["export", "--as", target, "--min-score", "5"]);
        let alerts: Value = serde_saphyr::from_str(&text).unwrap();
        let rules = alerts["groups"][0]["rules"].as_array().unwrap();
        assert!(rules.iter().all(|rule| rule["expr"].as_str().unwrap().contains(wanted)), "{text}");
    }
}

#[test]
fn backtest_compares_two_sets() {
    let home = Home::new();
    let before = home.write("before.toml", "[[rules]]\nname = \"A\"\npattern = 'alpha'\nscore = 5\n");
    let after = home.write("after.toml", "[[rules]]\nname = \"B\"\npattern = 'beta'\nscore = 5\n[[rules]]\nname = \"SLOW\"\nwhen = '.took > 1.0'\nscore = 4\n");
    let log = home.write("x.log", "alpha one\nbeta two\n{\"message\":\"gamma\",\"took\":2.5}\n{\"message\":\"gamma\",\"took\":\"long\"}\n");
    let arguments = ["backtest", &log, "--rules", &before, "--compare", &after, "--no-builtin"];
    let report = home.json(&arguments);
    let change = &report["change"];
    assert_eq!((&change["new"], &change["gone"]), (&2.into(), &1.into()), "{report}");
    assert_eq!(change["rules"]["SLOW"], serde_json::json!([0, 1]), "{report}");
    assert_eq!(change["first_gone"][0]["line"], 1);
    assert!(home.told(&arguments).contains("compared: 2 lines more are flagged, 1 no longer"));
}

#[test]
fn large_and_many_are_bounded() {
    let home = Home::new();
    let big = home.write("big.yml", vec![b'#'; 10 << 20]);
    let (code, reason) = home.refused(&["import", &big, "--output", "-", "--format", "json"]);
    assert!(code == 1 && reason.contains("more than the limit of 1048576"), "{reason}");
    let many: String = (0..10_000).map(|n| format!("RULE_{n} \"thing{n} failed\" 5\n")).collect();
    let many = home.write("many.rules", many);
    let output = home.path("many.toml").display().to_string();
    assert_eq!(home.json(&["import", &many, "--output", &output, "--no-builtin"])["taken"], 10_000);
    assert_eq!(names(&home.json(&["list", "--rules", &output, "--no-builtin"])).len(), 10_000);
    assert!(!Path::new(&home.path("oddline")).exists(), "nothing is written that was not asked for");
}
