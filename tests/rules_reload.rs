//! The real Fluent Bit with the native filter and a rules file that changes under it: sound, broken, sound again; with either
//! filter and a folder of rules whose files come, break and go; and a Fluent Bit that reloads itself under way. What holds is seen in the tags of the records that flow
//! meanwhile, and in Fluent Bit's own log.
//!
//! Runs where `ODDLINE_FLUENT_BIT` names the program or it is on the path; says loudly that it was skipped elsewhere.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

const PUMP: &str = "PUMP_STOPPED /pump \\d+ stopped/ 6\n";
/// One sound rule and one that is none: at a reload it is all or nothing.
const BROKEN: &str = "PUMP_STOPPED /pump \\d+ halted/ 9\nVALVE_STUCK /valve (stuck/ 5\n";
const VALVE: &str = "VALVE_STUCK /valve \\d+ stuck/ 7\n";

/// Fluent Bit over one log file, in a folder that is gone afterwards.
struct Run {
    folder: tempfile::TempDir,
    process: Child,
    written: usize,
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Run {
    /// With the rules file `my.rules`.
    fn start(program: &Path, rules: &str) -> Run {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("my.rules");
        fs::write(&named, rules).unwrap();
        let filter = native(&named);
        Run::over(program, folder, &filter)
    }

    /// With this filter, an entry of the configuration's list.
    fn over(program: &Path, folder: tempfile::TempDir, filter: &str) -> Run {
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(at("input.log"), "").unwrap();
        let configuration = format!(
            "plugins: ['{library}']\n\
             service: {{flush: 0.2, grace: 1, log_level: info, hot_reload: on}}\n\
             pipeline:\n  \
               inputs: [{{name: tail, path: '{input}', db: '{db}', tag: app, read_from_head: on, refresh_interval: 1}}]\n  \
               filters: [{filter}]\n  \
               outputs: [{{name: file, match: '*', path: '{out}', file: out.log, format: plain}}]\n",
            library = acceptance::built("ODDLINE_NATIVE_FILTER"),
            input = at("input.log"),
            db = at("tail.db"),
            out = folder.path().display(),
        );
        fs::write(at("fluent-bit.yaml"), configuration).unwrap();
        let log = fs::File::create(at("shipper.log")).unwrap();
        let process = Command::new(program)
            .arg("-c")
            .arg(at("fluent-bit.yaml"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Run { folder, process, written: 0 }
    }

    /// Replaces the rules file at once, as an editor or a deployment does.
    fn rules(&self, text: &str) {
        let (new, old) = (self.folder.path().join("new"), self.folder.path().join("my.rules"));
        fs::write(&new, text).unwrap();
        fs::rename(new, old).unwrap();
    }

    /// Logs lines until the tags of one of them are as they should be; gives the rule that each line since then has.
    fn until(&mut self, what: &str, line: &str, enough: impl Fn(Option<&str>, &str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let number = self.write(line);
            let record = loop {
                if let Some(record) = self.record(number) {
                    break record;
                }
                self.wait_a_little(what, deadline);
            };
            let log = fs::read_to_string(self.folder.path().join("shipper.log")).unwrap();
            if enough(record["anomaly"]["rule"].as_str(), &log) {
                return;
            }
            self.wait_a_little(what, deadline);
        }
    }

    fn write(&mut self, line: &str) -> usize {
        self.written += 1;
        let path = self.folder.path().join("input.log");
        let mut input = fs::OpenOptions::new().append(true).open(path).unwrap();
        writeln!(input, "{line} seq={}", self.written).unwrap();
        self.written
    }

    fn record(&self, number: usize) -> Option<Value> {
        let text = fs::read_to_string(self.folder.path().join("out.log")).unwrap_or_default();
        let end = format!(" seq={number}");
        let mut records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.find(|record| record["log"].as_str().is_some_and(|line| line.ends_with(&end)))
    }

    fn wait_a_little(&mut self, what: &str, deadline: Instant) {
        let log = || fs::read_to_string(self.folder.path().join("shipper.log")).unwrap_or_default();
        let ended = self.process.try_wait().unwrap();
        assert!(ended.is_none(), "fluent-bit ended with {ended:?}:\n{}", log());
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}:\n{}", log());
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn native(rules: &Path) -> String {
    format!("{{name: oddline, match: '*', mode: inline, builtin_rules: false, rules: '{}'}}", rules.display())
}

/// The wasm filter, its options in a file of this directory.
fn wasm(directory: &Path, rules: &Path) -> String {
    let options = format!("mode = \"inline\"\nbuiltin_rules = false\nrules = '{}'\n", rules.display());
    fs::write(directory.join("oddline.toml"), options).unwrap();
    format!(
        "{{name: wasm, match: '*', event_format: json, wasm_path: '{}', function_name: oddline_filter, \
         accessible_paths: '{}', wasm_heap_size: 8M, wasm_stack_size: 1M}}",
        acceptance::built("ODDLINE_WASM_FILTER"),
        directory.display()
    )
}

fn told(log: &str, what: &str) -> usize {
    log.lines().filter(|line| line.contains(what)).count()
}

#[test]
fn a_folder_of_rules_is_followed_by_the_native_filter() {
    a_folder_is_followed("a_folder_of_rules_is_followed_by_the_native_filter", |_, rules| native(rules));
}

#[test]
fn a_folder_of_rules_is_followed_by_the_wasm_filter() {
    a_folder_is_followed("a_folder_of_rules_is_followed_by_the_wasm_filter", wasm);
}

fn a_folder_is_followed(name: &str, filter: fn(&Path, &Path) -> String) {
    let Some(program) = acceptance::fluent_bit() else { return acceptance::skipped(name, "no fluent-bit") };
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("accessible");
    let rules = directory.join("rules");
    fs::create_dir_all(&rules).unwrap();
    fs::write(rules.join("pump.rules"), PUMP).unwrap();
    fs::write(rules.join("notes.md"), "not a rule (").unwrap();
    let filter = filter(&directory, &rules);
    let mut run = Run::over(&program, folder, &filter);
    run.until("the file that was there holds", "pump 7 stopped", |rule, log| {
        rule == Some("PUMP_STOPPED") && told(log, "rules loaded: 1 of yours, 0 built in") == 1
    });
    let valve = "[[rules]]\nname = \"VALVE_STUCK\"\npattern = 'valve \\d+ stuck'\nscore = 7\n";
    fs::write(rules.join("valve.toml"), valve).unwrap();
    run.until("a new file holds", "valve 3 stuck", |rule, _| rule == Some("VALVE_STUCK"));
    fs::write(rules.join("broken.txt"), BROKEN).unwrap();
    run.until("a broken file is told", "pump 7 stopped", |rule, log| {
        assert_eq!(rule, Some("PUMP_STOPPED"), "what was read before stays in force");
        told(log, "broken.txt:2: rule VALVE_STUCK: pattern: is not a regex") == 1
            && told(log, "rules not reloaded: the ones read before stay in use") == 1
    });
    fs::remove_file(rules.join("broken.txt")).unwrap();
    fs::remove_file(rules.join("pump.rules")).unwrap();
    run.until("a file that went no longer holds", "pump 7 stopped", |rule, _| rule.is_none());
    run.until("the other one does", "valve 3 stuck", |rule, _| {
        assert_eq!(rule, Some("VALVE_STUCK"));
        true
    });
}

#[test]
fn rules_change_under_a_running_fluent_bit() {
    let Some(program) = acceptance::fluent_bit() else {
        return acceptance::skipped("rules_change_under_a_running_fluent_bit", "no fluent-bit");
    };
    let mut run = Run::start(&program, PUMP);
    run.until("the first rules hold", "pump 7 stopped", |rule, log| {
        rule == Some("PUMP_STOPPED") && told(log, "rules loaded: 1 of yours, 0 built in") == 1
    });

    // Broken: file, line, rule and reason in the log, and the rules read before stay in force, all of them.
    run.rules(BROKEN);
    run.until("the broken file is told", "pump 7 stopped", |rule, log| {
        assert_eq!(rule, Some("PUMP_STOPPED"));
        told(log, "rules not reloaded: the ones read before stay in use") == 1
            && told(log, "my.rules:2: rule VALVE_STUCK: pattern: is not a regex") == 1
    });
    run.until("no half of it holds", "pump 7 halted", |rule, _| {
        assert_eq!(rule, None);
        true
    });

    // Sound again: other rules hold, and the ones before no longer.
    run.rules(VALVE);
    run.until("the new rules hold", "valve 3 stuck", |rule, log| {
        rule == Some("VALVE_STUCK") && told(log, "rules loaded: 1 of yours, 0 built in") == 2
    });
    run.until("the old ones do not", "pump 7 stopped", |rule, _| {
        assert_eq!(rule, None);
        true
    });
}

/// `hot_reload: on` and SIGHUP, as `/api/v2/reload` does it: the old instance of the filter saves and lets go of its state
/// before the new one reads it, and each record comes out once.
#[test]
fn a_fluent_bit_that_reloads_itself_keeps_the_state_and_every_record() {
    const NAME: &str = "a_fluent_bit_that_reloads_itself_keeps_the_state_and_every_record";
    const IDLE: &str = "worker 7 is idle in hall seven";
    let Some(program) = acceptance::fluent_bit() else { return acceptance::skipped(NAME, "no fluent-bit") };
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let filter = format!("{{name: oddline, match: '*', mode: inline, state_file: '{}'}}", state.display());
    let mut run = Run::over(&program, folder, &filter);
    run.until("the first record", IDLE, |_, _| true);
    for reload in 1..=3 {
        (0..50).for_each(|_| _ = run.write(IDLE));
        let hang_up = Command::new("kill").args(["-HUP", &run.process.id().to_string()]).status().unwrap();
        assert!(hang_up.success());
        (0..50).for_each(|_| _ = run.write(IDLE));
        run.until("the reload", IDLE, |_, log| {
            assert_eq!(told(log, "is kept by another instance"), 0, "{log}");
            told(log, "successful reload done") == reload
        });
    }
    let log = fs::read_to_string(run.folder.path().join("shipper.log")).unwrap();
    assert_eq!(told(&log, "state_file: restored"), 3, "{log}");
    let deadline = Instant::now() + PATIENCE;
    (1..=run.written).for_each(|number| {
        while run.record(number).is_none() {
            run.wait_a_little("all records", deadline);
        }
    });
    let out = fs::read_to_string(run.folder.path().join("out.log")).unwrap();
    assert_eq!(out.lines().count(), run.written, "each of them once");
}
