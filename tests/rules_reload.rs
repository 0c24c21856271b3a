//! The real Fluent Bit with the native filter, and a rules file that changes under it: sound, broken, sound again. What
//! holds is seen in the tags of the records that flow meanwhile, and in Fluent Bit's own log.
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
    fn start(program: &Path, rules: &str) -> Run {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(at("my.rules"), rules).unwrap();
        fs::write(at("input.log"), "").unwrap();
        let configuration = format!(
            "plugins: ['{filter}']\n\
             service: {{flush: 0.2, grace: 1, log_level: info}}\n\
             pipeline:\n  \
               inputs: [{{name: tail, path: '{input}', tag: app, read_from_head: on, refresh_interval: 1}}]\n  \
               filters: [{{name: oddline, match: '*', mode: inline, builtin_rules: false, rules: '{rules}'}}]\n  \
               outputs: [{{name: file, match: '*', path: '{out}', file: out.log, format: plain}}]\n",
            filter = acceptance::built("ODDLINE_NATIVE_FILTER"),
            input = at("input.log"),
            rules = at("my.rules"),
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

#[test]
fn rules_change_under_a_running_fluent_bit() {
    let Some(program) = acceptance::fluent_bit() else {
        return acceptance::skipped("rules_change_under_a_running_fluent_bit", "no fluent-bit");
    };
    let mut run = Run::start(&program, PUMP);
    let told = |log: &str, what: &str| log.lines().filter(|line| line.contains(what)).count();
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
