//! Takes settings and a time, reads the files that change while a shell runs, gives what has changed since the last look.
//!
//! Must not know a host or a thread: the native filter polls from a thread of its own, the wasm filter once a second
//! between two records. A file that does not check out costs one notice; what was read last stays in use.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use oddline_codec::marker::Secret;
use oddline_engine::{
    Settings, UnixNanos,
    advice::{Advice, AdviceTable, MAX_ADVICE_BYTES},
    rules::{self, RuleSet},
};

use crate::{
    host,
    rule_files::{RuleFile, Stamp, read_limited, rule_files, stamp},
};

/// A heartbeat older than this closes the detour (and one that far in the future is not believed).
pub const HEARTBEAT_TTL_NANOS: u64 = 3_000_000_000;
/// Most lines that wait to be told; what is more is lost, and one line says so.
const MAX_NOTICES: usize = 100;
/// Most problems of rule files that are told one by one.
const MAX_TOLD_PROBLEMS: usize = 20;
/// Longest file with a secret.
const MAX_SECRET_BYTES: usize = 256;

/// What one look at the files found.
#[derive(Debug, Default)]
pub struct Changes {
    /// A new rule set.
    pub rules: Option<Arc<RuleSet>>,
    /// Times that changed rule files were taken.
    pub rules_reloaded: u64,
    /// Times that they were not, and the rules before stay.
    pub rules_refused: u64,
    /// A new advice table.
    pub advice: Option<Arc<AdviceTable>>,
    /// A new secret for markers.
    pub secret: Option<Secret>,
    /// The host's name, at the first look.
    pub host: Option<String>,
    /// Whether the sidecar's heartbeat is fresh: if so, as seen when.
    pub alive: Option<UnixNanos>,
    /// Lines for the operator, without a prefix.
    pub notices: Vec<String>,
}

impl Changes {
    /// Lays a later look over this one.
    pub fn merge(&mut self, later: Changes) {
        self.rules = later.rules.or(self.rules.take());
        self.rules_reloaded = self.rules_reloaded.saturating_add(later.rules_reloaded);
        self.rules_refused = self.rules_refused.saturating_add(later.rules_refused);
        self.advice = later.advice.or(self.advice.take());
        self.secret = later.secret.or(self.secret.take());
        self.host = later.host.or(self.host.take());
        self.alive = later.alive;
        for notice in later.notices {
            match self.notices.len() {
                ..MAX_NOTICES => self.notices.push(notice),
                MAX_NOTICES => self.notices.push("more was to be told while no records came".to_owned()),
                _ => {}
            }
        }
    }
}

/// One file of the advice directory, and what it was when it was read last.
#[derive(Debug, Default)]
struct Seen {
    stamp: Stamp,
    /// What was told of it last: the same is told once.
    told: Option<String>,
}

impl Seen {
    /// What is in the file, if it has changed; `None` too if that cannot be used, which is told.
    fn read<T>(
        &mut self,
        name: &str,
        dir: &Path,
        limit: usize,
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
        notices: &mut Vec<String>,
    ) -> Option<T> {
        let path = dir.join(name);
        let stamp = stamp(&path);
        if stamp == self.stamp {
            return None;
        }
        let read = match stamp {
            None => Ok(None),
            Some(_) => read_limited(&path, limit).map(Some),
        };
        // What the system keeps from us now it may give at the next look; what is in the file stays as it is.
        if read.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::Other) {
            self.stamp = stamp;
        }
        let parsed =
            read.map_err(|error| error.to_string()).and_then(|bytes| bytes.as_deref().map(parse).transpose());
        match parsed {
            Ok(content) => {
                self.told = None;
                content
            }
            Err(error) => {
                let line = format!("{name} {}: {error}; the last good one stays", path.display());
                if self.told.as_ref() != Some(&line) {
                    notices.push(line.clone());
                    self.told = Some(line);
                }
                None
            }
        }
    }
}

/// The files of one shell instance.
#[derive(Debug)]
pub struct Watch {
    builtin: bool,
    rules: Option<PathBuf>,
    advice_dir: Option<PathBuf>,
    /// The rule files at the last look that read them, or why there were none.
    seen_rules: Option<Result<Vec<RuleFile>, String>>,
    have_user_rules: bool,
    advice: Seen,
    secret: Seen,
    /// Not known before the first look.
    was_alive: Option<bool>,
    has_told_host: bool,
}

impl Watch {
    /// Nothing is read before the first [`Watch::poll`].
    pub fn new(settings: &Settings) -> Watch {
        Watch {
            builtin: settings.builtin_rules(),
            rules: settings.rules_path().map(PathBuf::from),
            advice_dir: settings.advice_dir().map(PathBuf::from),
            seen_rules: None,
            have_user_rules: false,
            advice: Seen::default(),
            secret: Seen::default(),
            was_alive: None,
            has_told_host: false,
        }
    }

    /// Whether there is nothing to look at.
    pub fn is_idle(&self) -> bool {
        self.rules.is_none() && self.advice_dir.is_none()
    }

    /// Looks once at every file. Cheap when nothing changed: one `stat` per file, and the heartbeat's 20 bytes.
    pub fn poll(&mut self, now: UnixNanos) -> Changes {
        let mut changes = Changes::default();
        if !std::mem::replace(&mut self.has_told_host, true) {
            changes.host = Some(host::name());
        }
        self.poll_rules(&mut changes);
        if let Some(dir) = self.advice_dir.clone() {
            let notices = &mut changes.notices;
            let parse = |bytes: &[u8]| Advice::parse(bytes).map_err(|error| error.to_string());
            let advice = self.advice.read("advice", &dir, MAX_ADVICE_BYTES, parse, notices);
            changes.advice = advice.map(|advice| Arc::new(AdviceTable::new(advice)));
            let parse = |bytes: &[u8]| Secret::parse(bytes).map_err(|error| error.to_string());
            changes.secret = self.secret.read("secret", &dir, MAX_SECRET_BYTES, parse, notices);
            let alive = heartbeat(&dir.join("heartbeat"), now);
            changes.alive = alive.then_some(now);
            let before = self.was_alive.replace(alive);
            if before != Some(alive) {
                let dir = dir.display();
                changes.notices.push(match (alive, before) {
                    (true, _) => format!("detour open: the sidecar's heartbeat in {dir} is fresh"),
                    (false, Some(_)) => {
                        format!("detour closed: no heartbeat in {dir} for 3 s; records are judged in the plugin")
                    }
                    (false, None) => format!(
                        "detour closed: no heartbeat in {dir}; records are judged in the plugin until `oddline run` \
                         runs with `[advice] dir` set to this directory"
                    ),
                });
            }
        }
        changes
    }

    fn poll_rules(&mut self, changes: &mut Changes) {
        let listed = self.rules.as_deref().map_or(Ok(Vec::new()), rule_files);
        let listed = listed.map_err(|error| error.to_string());
        if self.seen_rules.as_ref() == Some(&listed) {
            return;
        }
        let first = self.seen_rules.is_none();
        let mut all = if self.builtin { rules::builtin_rules() } else { Vec::new() };
        let mut problems = Vec::new();
        let before = all.len();
        let path = self.rules.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
        match &listed {
            Err(fault) => problems.push(format!("rules {path}: {fault}")),
            Ok(files) => {
                for file in files {
                    match file.parse() {
                        Ok(parsed) => {
                            all.extend(parsed.rules);
                            problems.extend(parsed.problems.iter().map(ToString::to_string));
                        }
                        Err(fault) => problems.push(format!("rules {fault}")),
                    }
                }
            }
        }
        let user_rules = all.len().saturating_sub(before);
        let compiled = RuleSet::compile(all);
        problems.extend(compiled.problems.iter().map(ToString::to_string));
        let mut notes = Vec::new();
        // A first load takes what is sound; a later one is all or nothing, so that a slip of the editor disarms nobody.
        if !first && self.have_user_rules && !problems.is_empty() {
            changes.rules_refused = 1;
            problems.push("rules not reloaded: the ones read before stay in use".to_owned());
        } else {
            self.have_user_rules = user_rules > 0;
            changes.rules_reloaded = u64::from(!first);
            if self.rules.is_some() && listed.is_ok() {
                changes.notices.push(format!("rules loaded: {} of yours, {before} built in", user_rules));
            }
            notes = compiled.left_out.iter().map(ToString::to_string).collect();
            changes.rules = Some(Arc::new(compiled.set));
        }
        self.seen_rules = Some(listed);
        problems.append(&mut notes);
        tell(problems, &mut changes.notices);
    }
}

/// Whether the heartbeat's time is near `now`.
fn heartbeat(path: &Path, now: UnixNanos) -> bool {
    let beat = read_limited(path, 64).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let beat = beat.and_then(|text| text.trim().parse::<i64>().ok());
    beat.is_some_and(|beat| now.0.abs_diff(beat) <= HEARTBEAT_TTL_NANOS)
}

fn tell(problems: Vec<String>, notices: &mut Vec<String>) {
    let more = problems.len().saturating_sub(MAX_TOLD_PROBLEMS);
    notices.extend(problems.into_iter().take(MAX_TOLD_PROBLEMS));
    if more > 0 {
        notices.push(format!("and {more} more problems in rule files"));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use oddline_engine::{Advice, Options};

    use super::*;
    use crate::rule_files::MAX_RULE_FILES;

    const NOW: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

    fn watch(options: &Options) -> Watch {
        Watch::new(&Settings::new(options).unwrap())
    }

    fn text(path: &Path) -> Option<String> {
        Some(path.display().to_string())
    }

    fn rule(name: &str) -> String {
        format!("[[rules]]\nname = \"{name}\"\npattern = \"purple elephant\"\nscore = 6.0\n")
    }

    #[test]
    fn the_first_look_brings_rules_and_the_next_nothing() {
        let mut watch = watch(&Options::default());
        assert!(watch.poll(NOW).rules.is_some_and(|rules| !rules.is_empty()));
        let changes = watch.poll(NOW);
        assert!(changes.rules.is_none() && changes.notices.is_empty());
    }

    #[test]
    fn a_heartbeat_counts_for_three_seconds_either_way() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = watch(&Options { advice_dir: text(dir.path()), ..Options::default() });
        let ttl = i64::try_from(HEARTBEAT_TTL_NANOS).unwrap();
        for (age, alive) in
            [(0, true), (ttl, true), (ttl + 1, false), (-ttl, true), (-ttl - 1, false), (10 * ttl, false)]
        {
            fs::write(dir.path().join("heartbeat"), format!("{}\n", NOW.0 - age)).unwrap();
            assert_eq!(watch.poll(NOW).alive, alive.then_some(NOW), "{age}");
        }
        for odd in ["", "soon", "1e9", "99999999999999999999999", &"1".repeat(1_000)] {
            fs::write(dir.path().join("heartbeat"), odd).unwrap();
            assert_eq!(watch.poll(NOW).alive, None, "{odd}");
        }
    }

    #[test]
    fn a_sidecar_that_is_not_there_is_told_at_the_start_and_each_change_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = watch(&Options { advice_dir: text(dir.path()), ..Options::default() });
        let mut beat = |beat: Option<i64>| {
            if let Some(beat) = beat {
                fs::write(dir.path().join("heartbeat"), beat.to_string()).unwrap();
            }
            let mut notices = watch.poll(NOW).notices;
            assert!(notices.len() <= 1, "{notices:?}");
            notices.pop().unwrap_or_default()
        };
        let first = beat(None);
        assert!(first.starts_with("detour closed: no heartbeat in "), "{first}");
        assert!(
            first.contains(&*dir.path().to_string_lossy()) && first.contains("`[advice] dir`"),
            "{first}"
        );
        assert_eq!(beat(None), "");
        assert!(beat(Some(NOW.0)).starts_with("detour open: "));
        assert_eq!(beat(None), "");
        assert!(beat(Some(0)).ends_with(" for 3 s; records are judged in the plugin"));
        assert_eq!(beat(None), "");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_could_not_be_read_is_read_when_it_can_be_and_told_once() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("secret"), dir.path().join("target"));
        let mut watch = watch(&Options { advice_dir: text(dir.path()), ..Options::default() });
        watch.poll(NOW);
        // A folder can be looked at but not read, by whoever runs this.
        fs::create_dir(&target).unwrap();
        symlink(&target, &path).unwrap();
        let changes = watch.poll(NOW);
        assert!(changes.secret.is_none() && changes.notices.len() == 1, "{:?}", changes.notices);
        assert!(changes.notices[0].starts_with(&format!("secret {}: ", path.display())));
        assert_eq!(watch.poll(NOW).notices, [""; 0], "told once");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "7".repeat(64)).unwrap();
        assert!(watch.poll(NOW).secret.is_some());
        assert!(watch.poll(NOW).secret.is_none(), "nothing new");
    }

    #[cfg(unix)]
    #[test]
    fn a_change_of_mode_is_a_change() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "7".repeat(64)).unwrap();
        let before = stamp(&path);
        assert_eq!(stamp(&path), before);
        // The clock of the file system may tick slowly.
        let is_seen = (0..10_000).any(|turn| {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600 + turn % 2)).unwrap();
            stamp(&path) != before
        });
        assert!(is_seen);
    }

    #[test]
    fn what_waits_to_be_told_is_bounded() {
        let told = |count: usize| {
            let mut changes = Changes::default();
            for number in 0..count {
                changes.merge(Changes { notices: vec![number.to_string()], ..Changes::default() });
            }
            changes.notices.len()
        };
        let counts = [MAX_NOTICES, MAX_NOTICES + 1, 10 * MAX_NOTICES];
        assert_eq!(counts.map(told), [MAX_NOTICES, MAX_NOTICES + 1, MAX_NOTICES + 1]);
    }

    #[test]
    fn a_folder_that_is_too_full_is_told_and_disarms_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let write = |number: usize| {
            fs::write(dir.path().join(format!("{number}.toml")), rule(&format!("RULE_{number}"))).unwrap();
        };
        (0..MAX_RULE_FILES).for_each(write);
        let options = Options { rules: text(dir.path()), builtin_rules: Some(false), ..Options::default() };
        let mut running = watch(&options);
        let changes = running.poll(NOW);
        assert_eq!(changes.rules.unwrap().len(), MAX_RULE_FILES, "{:?}", changes.notices);
        write(MAX_RULE_FILES);
        let changes = running.poll(NOW);
        let told = format!("rules {}: more than 256 rule files; join some", dir.path().display());
        assert_eq!(changes.notices, [&*told, "rules not reloaded: the ones read before stay in use"]);
        assert!(changes.rules.is_none() && running.poll(NOW).notices.is_empty(), "told once");
        assert_eq!(watch(&options).poll(NOW).notices, [told], "who starts so has none of them");
    }

    #[test]
    fn a_folder_is_followed_file_by_file_and_a_broken_one_leaves_all_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let options = Options { rules: text(dir.path()), builtin_rules: Some(false), ..Options::default() };
        let mut watch = watch(&options);
        assert_eq!(watch.poll(NOW).rules.unwrap().len(), 0, "an empty folder is in order");
        fs::write(at("a.toml"), rule("A")).unwrap();
        assert_eq!(watch.poll(NOW).rules.unwrap().len(), 1);
        fs::write(at("b.rules"), "B \"purple elephant\" 6\n").unwrap();
        assert_eq!(watch.poll(NOW).rules.unwrap().len(), 2, "a new file");
        fs::write(at("b.rules"), "B \"purple elephant\" 6\nC \"green elephant\" 6\n").unwrap();
        assert_eq!(watch.poll(NOW).rules.unwrap().len(), 3, "a changed file");
        fs::write(at("c.rules"), "D \"(\" 6\n").unwrap();
        let refused = watch.poll(NOW);
        assert!(refused.rules.is_none() && refused.rules_refused == 1);
        let named = format!("{}:1: rule D: pattern: ", at("c.rules").display());
        assert!(refused.notices[0].starts_with(&named), "{:?}", refused.notices);
        fs::remove_file(at("a.toml")).unwrap();
        assert!(watch.poll(NOW).rules.is_none(), "as long as one is broken");
        fs::remove_file(at("c.rules")).unwrap();
        assert_eq!(watch.poll(NOW).rules.unwrap().len(), 2, "a removed file");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("nowhere"), at("link.toml")).unwrap();
            let refused = watch.poll(NOW);
            let named = format!("rules {}: ", at("link.toml").display());
            assert!(refused.rules.is_none() && refused.notices[0].starts_with(&named), "{refused:?}");
        }
        fs::remove_dir_all(dir.path()).unwrap();
        assert!(watch.poll(NOW).rules.is_none(), "a folder that is gone for a moment");
    }

    #[test]
    fn at_the_start_what_is_sound_is_used_and_later_it_is_all_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        let broken = "[[rules]]\nname = \"BROKEN\"\npattern = \"(\"\n";
        fs::write(&path, rule("SOUND") + broken).unwrap();
        let mut watch =
            watch(&Options { rules: text(&path), builtin_rules: Some(false), ..Options::default() });
        let first = watch.poll(NOW);
        assert_eq!(first.rules.unwrap().len(), 1);
        assert!(
            first.notices.iter().any(|line| line.contains("rule BROKEN: pattern: ")),
            "{:?}",
            first.notices
        );
        fs::write(&path, rule("OTHER") + broken + broken).unwrap();
        let second = watch.poll(NOW);
        assert!(second.rules.is_none() && second.notices.last().unwrap().contains("stay in use"));
        assert_eq!((second.rules_reloaded, second.rules_refused), (0, 1));
        fs::remove_file(&path).unwrap();
        assert!(watch.poll(NOW).rules.is_none(), "a file that is gone for a moment disarms nobody");
        assert!(watch.poll(NOW).notices.is_empty(), "and is told once");
        fs::write(&path, rule("OTHER")).unwrap();
        assert_eq!(watch.poll(NOW).rules.unwrap().len(), 1);
    }

    #[test]
    fn a_later_look_keeps_what_an_earlier_one_found() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("advice"), Advice::default().to_bytes()).unwrap();
        fs::write(dir.path().join("heartbeat"), NOW.0.to_string()).unwrap();
        let mut watch = watch(&Options { advice_dir: text(dir.path()), ..Options::default() });
        let mut changes = watch.poll(NOW);
        fs::remove_file(dir.path().join("heartbeat")).unwrap();
        changes.merge(watch.poll(NOW));
        assert!(changes.advice.is_some() && changes.rules.is_some() && changes.alive.is_none());
        assert_eq!(changes.notices.len(), 2, "{:?}", changes.notices);
    }
}
