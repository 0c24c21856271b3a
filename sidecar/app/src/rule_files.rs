//! The rules in force: the built-in ones and a user's own, from a file or a folder of files, which are found as the filters
//! find them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use oddline_analyze::{Analyzer, ports::Conditions};
use oddline_engine::{
    Body, RuleHit, Settings,
    rules::{self, MAX_FILE_BYTES, Parsed, Rule, RuleSet},
};
use oddline_ingest::Screening;
use oddline_rulebook::conditions as rulebook;
use oddline_shell::{RuleFile, rule_files};

/// Between two looks at the files.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Problems of rule files that are told one by one.
const MAX_TOLD: usize = 20;

/// The rules that count, compiled.
#[derive(Clone)]
pub struct InForce {
    /// Those that the engine runs.
    pub set: Arc<RuleSet>,
    /// Those with a condition in VRL, if there are any.
    pub conditions: Option<Arc<dyn Conditions>>,
}

/// Where a user's own rules lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the built-in ones are all there are.
    #[default]
    Nowhere,
    /// A file or a folder that somebody named, and that has to be there.
    Named(PathBuf),
    /// The folder that is looked into if nothing is named; it may be absent.
    Usual(PathBuf),
}

impl Place {
    /// What the settings name, else nowhere.
    pub fn named_by(settings: &Settings) -> Place {
        settings.rules_path().map_or(Place::Nowhere, |path| Place::Named(path.into()))
    }

    /// The same; where nothing is named, the usual folder: `$XDG_CONFIG_HOME/oddline/rules`.
    #[must_use]
    pub fn or_usual(self) -> Place {
        match self {
            Place::Nowhere => usual_path().map_or(Place::Nowhere, Place::Usual),
            named => named,
        }
    }

    /// The files there.
    fn files(&self) -> io::Result<Vec<RuleFile>> {
        match self {
            Place::Nowhere => Ok(Vec::new()),
            Place::Usual(path) if !path.exists() => Ok(Vec::new()),
            Place::Named(path) | Place::Usual(path) => files(path),
        }
    }
}

/// Rule files that are looked at while the sidecar runs.
#[derive(Debug)]
pub struct RuleFiles {
    settings: Settings,
    place: Place,
    /// The files when they were read last, or why there were none.
    seen: Result<Vec<RuleFile>, String>,
}

impl RuleFiles {
    /// Reads and compiles what lies there, as [`load`] does.
    pub fn open(settings: &Settings, place: &Place) -> (RuleFiles, InForce) {
        let files = RuleFiles { settings: settings.clone(), place: place.clone(), seen: look(place) };
        (files, load(settings, place))
    }

    /// Looks at the files again: `None` if nothing changed.
    ///
    /// # Errors
    /// If there is anything wrong with them: a reload is all or nothing, as in the plugins, and the rules before stay in
    /// force. Says what is wrong.
    pub fn reload(&mut self) -> Option<Result<InForce, Vec<String>>> {
        let seen = look(&self.place);
        if seen == self.seen {
            return None;
        }
        self.seen = seen;
        Some(match read_and_compile(&self.settings, &self.place) {
            Ok((rules, problems)) if problems.is_empty() => Ok(rules),
            Ok((_, problems)) => Err(problems),
            Err(error) => Err(vec![format!("rules {error}")]),
        })
    }
}

/// Takes changed rule files while records come; what was learned stays.
pub async fn watch(mut files: RuleFiles, analyzer: Arc<Analyzer>, screening: Screening) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        // Compiling hundreds of rules takes a tenth of a second.
        let looked = tokio::task::spawn_blocking(move || {
            let reloaded = files.reload();
            (files, reloaded)
        });
        let Ok((returned, reloaded)) = looked.await else {
            tracing::error!("rule files are no longer watched: reading them failed");
            return;
        };
        files = returned;
        match reloaded {
            None => {}
            Some(Ok(rules)) => {
                let count = rules.set.len();
                analyzer.set_rules(rules.set, rules.conditions);
                screening.set(analyzer.picker(), analyzer.model());
                tracing::info!(rules = count, "rules reloaded");
            }
            Some(Err(problems)) => tell(&problems, "rules not reloaded: the ones read before stay in use"),
        }
    }
}

/// What tells files that changed from those that did not.
fn look(place: &Place) -> Result<Vec<RuleFile>, String> {
    place.files().map_err(|error| error.to_string())
}

fn tell(problems: &[String], what: &str) {
    for problem in problems.iter().take(MAX_TOLD) {
        tracing::warn!(problem, "{what}");
    }
    if let Some(more) = problems.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
        tracing::warn!(more, "{what}: more of the same");
    }
}

/// Reads and compiles the rules of a place, beside the built-in ones. A broken rule or file is left out with a warning; the
/// rest counts.
pub fn load(settings: &Settings, place: &Place) -> InForce {
    in_force(settings, place).unwrap_or_else(|error| {
        tracing::warn!(rules = ?place, %error, "rules cannot be read");
        compile(settings, builtin(settings)).0
    })
}

/// The built-in rules and those of a place. A broken rule or file is left out with a warning; the rest counts.
///
/// # Errors
/// If the place cannot be read.
pub fn in_force(settings: &Settings, place: &Place) -> io::Result<InForce> {
    let (rules, problems) = read_and_compile(settings, place)?;
    tell(&problems, "rule left out");
    Ok(rules)
}

/// The rules that are sound, and what is wrong with the others.
fn read_and_compile(settings: &Settings, place: &Place) -> io::Result<(InForce, Vec<String>)> {
    let (mut all, mut problems) = (builtin(settings), Vec::new());
    let files = place.files()?;
    for file in &files {
        match file.parse() {
            Ok(mut parsed) => {
                all.append(&mut parsed.rules);
                problems.extend(parsed.problems.iter().map(ToString::to_string));
            }
            // The only one, which somebody named.
            Err(error) if files.len() == 1 => return Err(error),
            Err(error) => problems.push(format!("rules {error}")),
        }
    }
    let (rules, found) = compile(settings, all);
    problems.extend(found);
    Ok((rules, problems))
}

fn builtin(settings: &Settings) -> Vec<Rule> {
    if settings.builtin_rules() { rules::builtin_rules() } else { Vec::new() }
}

fn compile(settings: &Settings, all: Vec<Rule>) -> (InForce, Vec<String>) {
    let (conditions, faulty) = rulebook::Conditions::compile(&effective(&all), settings);
    let compiled = RuleSet::compile(all);
    let problems = compiled.problems.iter().chain(&faulty).map(ToString::to_string).collect();
    let conditions =
        (!conditions.is_empty()).then(|| Arc::new(Conditioned(conditions)) as Arc<dyn Conditions>);
    (InForce { set: Arc::new(compiled.set), conditions }, problems)
}

/// Each name once: a user's rule in the place of a built-in one. One that only says `enabled = false` is the built-in
/// rule, turned off.
pub fn effective(all: &[Rule]) -> Vec<Rule> {
    let mut chosen: Vec<Rule> = Vec::new();
    let mut places = BTreeMap::new();
    for rule in all {
        match places.get(&rule.name).and_then(|place: &usize| chosen.get_mut(*place)) {
            Some(earlier) if earlier.is_builtin() && !rule.is_builtin() => {
                *earlier = if says_only_off(rule) {
                    let (file, line) = (rule.file.clone(), rule.line);
                    Rule { enabled: false, file, line, ..earlier.clone() }
                } else {
                    rule.clone()
                };
            }
            // The engine takes the first of two; `oddline rules lint` tells of the other.
            Some(_) => {}
            None => {
                places.insert(rule.name.clone(), chosen.len());
                chosen.push(rule.clone());
            }
        }
    }
    chosen
}

/// Whether a user's rule does nothing but turn another off.
pub fn says_only_off(rule: &Rule) -> bool {
    !rule.enabled && rule.pattern.is_empty() && rule.fields.is_empty() && rule.when.is_none()
}

/// The rulebook's conditions behind the analysis' port.
#[derive(Debug)]
struct Conditioned(rulebook::Conditions);

impl Conditions for Conditioned {
    fn best(&self, tag: &[u8], body: &dyn Body, is_silenced: &dyn Fn(&str) -> bool) -> Option<RuleHit> {
        self.0.matches(tag, body).into_iter().find(|hit| !is_silenced(&hit.name))
    }

    fn failed(&self) -> u64 {
        self.0.failed()
    }
}

impl std::fmt::Debug for InForce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InForce").field("rules", &self.set.len()).finish_non_exhaustive()
    }
}

/// Where a user's rules lie if nothing else is said: `$XDG_CONFIG_HOME/oddline/rules`.
pub fn usual_path() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    home.map(|home| home.join("oddline/rules"))
}

/// What the files of a path hold, in the order of their names. An error names the file or folder.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Parsed>> {
    files(path)?.iter().map(RuleFile::parse).collect()
}

fn files(path: &Path) -> io::Result<Vec<RuleFile>> {
    rule_files(path).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A file's text, which has to be UTF-8: to change it.
pub(crate) fn read_one(file: &Path) -> io::Result<String> {
    let bytes = fs::metadata(file).map_err(|error| named(file, &error))?.len();
    if bytes > MAX_FILE_BYTES as u64 {
        let fault = io::Error::other(format!("{bytes} bytes, the limit is {MAX_FILE_BYTES}"));
        return Err(named(file, &fault));
    }
    String::from_utf8(fs::read(file).map_err(|error| named(file, &error))?)
        .map_err(|error| io::Error::other(format!("{}: {error}; save the file as UTF-8", file.display())))
}

#[cfg(test)]
mod tests {
    use oddline_engine::Options;

    use super::*;

    fn rules(path: &Path, builtin: bool) -> usize {
        let options = Options {
            rules: Some(path.display().to_string()),
            builtin_rules: Some(builtin),
            ..Options::default()
        };
        {
            let settings = Settings::new(&options).unwrap();
            load(&settings, &Place::named_by(&settings)).set.len()
        }
    }

    #[test]
    fn a_file_or_a_directory_beside_the_built_in_ones() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine.rules"), "PUMP_STOPPED \"pump stopped\" 6\n").unwrap();
        fs::write(
            folder.path().join("more.toml"),
            "[[rules]]\nname = \"VALVE\"\npattern = \"valve stuck\"\nscore = 3\n",
        )
        .unwrap();
        for left_alone in [".hidden.rules", "own.toml.bak", "notes.md"] {
            fs::write(folder.path().join(left_alone), "HIDDEN \"hidden words\" 6\n").unwrap();
        }
        assert_eq!(rules(folder.path(), false), 2);
        assert_eq!(rules(&folder.path().join("mine.rules"), false), 1);
        assert_eq!(rules(folder.path(), true), 2 + RuleSet::builtin().len());
    }

    #[test]
    fn changed_files_are_taken_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.rules");
        let options = Options {
            rules: Some(folder.path().display().to_string()),
            builtin_rules: Some(false),
            ..Options::default()
        };
        fs::write(&file, "PUMP_STOPPED \"pump stopped\" 6\n").unwrap();
        let settings = Settings::new(&options).unwrap();
        let (mut files, first) = RuleFiles::open(&settings, &Place::named_by(&settings));
        assert_eq!(first.set.len(), 1);
        assert!(files.reload().is_none(), "nothing changed");
        fs::write(&file, "PUMP_STOPPED \"pump stopped\" 6\nVALVE \"valve stuck\" 3\n").unwrap();
        assert_eq!(files.reload().unwrap().unwrap().set.len(), 2);
        fs::write(&file, "PUMP_STOPPED \"pump stopped\" 6\nVALVE \"(\" 3\nDOOR \"door open\" 3\n").unwrap();
        assert_eq!(files.reload().unwrap().unwrap_err().len(), 1, "the two before stay in force");
        assert!(files.reload().is_none(), "told once");
        fs::write(folder.path().join("more.rules"), "DOOR \"door open\" 3\n").unwrap();
        fs::write(&file, "PUMP_STOPPED \"pump stopped\" 6\nVALVE \"valve stuck hard\" 3\n").unwrap();
        assert_eq!(files.reload().unwrap().unwrap().set.len(), 3);
        // One fault mended and another made: still not whole.
        fs::write(&file, "VALVE \"(\" 3\n").unwrap();
        assert!(files.reload().unwrap().is_err());
        fs::write(&file, "PUMP_STOPPED \"(\" 6\n").unwrap();
        assert!(files.reload().unwrap().is_err());
        // More files than there may be, and one that cannot be read: named, and what was there stays.
        fs::remove_file(&file).unwrap();
        assert_eq!(files.reload().unwrap().unwrap().set.len(), 1, "a file less");
        std::os::unix::fs::symlink(folder.path().join("nowhere"), &file).unwrap();
        let told = files.reload().unwrap().unwrap_err();
        assert!(told.len() == 1 && told[0].starts_with(&format!("rules {}: ", file.display())), "{told:?}");
        for number in 0..oddline_shell::MAX_RULE_FILES {
            fs::write(folder.path().join(format!("{number}.rules")), "").unwrap();
        }
        let told = files.reload().unwrap().unwrap_err();
        assert_eq!(told, [format!("rules {}: more than 256 rule files; join some", folder.path().display())]);
        assert!(files.reload().is_none(), "told once");
    }

    #[test]
    fn what_is_broken_or_absent_leaves_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine.rules"), "BROKEN \"(\" 6\nPUMP_STOPPED \"pump stopped\" 6\n")
            .unwrap();
        assert_eq!(rules(folder.path(), false), 1);
        assert_eq!(rules(&folder.path().join("absent"), true), RuleSet::builtin().len());
    }
}
